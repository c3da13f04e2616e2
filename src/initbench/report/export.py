"""Every figure as a file of its own (SVG, PDF), and the study as one archive from which its tables can be rebuilt."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import zipfile
from collections.abc import Iterable
from typing import IO

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from initbench.report.palette import TONES
from initbench.report.source import Source
from initbench.store.history import whole
from initbench.store.reading import FRAMES, sha256
from initbench.store.study_file import text_of

_COLOURS = {tone.placeholder: tone.light for tone in TONES.values()}
_PROPERTIES = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
_STAMP = (1980, 1, 1, 0, 0, 0)  # the same study, the same bytes
_README = """A study of initbench: its frames and what was asked. To rebuild every table and the page:

    pip install initbench
    python -m initbench.report {name}
"""


def figure_files(figures: Iterable[tuple[str, str, Figure]]) -> dict[str, bytes]:
    """{figures/<key>.svg | .pdf: content} of (key, title, figure): light, on white, text as text.

    Recolours the figures for good: they are drawn no more afterwards.
    """
    out = {}
    for key, title, figure in figures:
        recolour(figure)
        figure.set_facecolor("white")
        for form in ("svg", "pdf"):
            out[f"figures/{key}.{form}"] = _saved(figure, key, title, form)
    return out


def _saved(figure: Figure, key: str, title: str, form: str) -> bytes:
    content = io.BytesIO()
    stamps = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}}
    with mpl.rc_context({"svg.hashsalt": key, "pdf.fonttype": 42}):
        figure.savefig(content, format=form, metadata={"Title": title, **stamps[form]})
    return re.sub(rb' target="_blank"', b"", content.getvalue()) if form == "svg" else content.getvalue()


def recolour(figure: Figure) -> None:
    """Placeholders of the palette to its light colours, in every artist."""
    found = figure.findobj(Artist)
    arrows = [one.arrow_patch for one in found if isinstance(one, Annotation) and one.arrow_patch is not None]
    for artist in [*found, *arrows]:  # an arrow is no child of its annotation
        artist.set_url(None)  # leads to a row of the page
        for name in _PROPERTIES:
            get, put = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if get is None or put is None:
                continue
            value = get()
            try:
                many = [to_rgba(v) for v in value] if getattr(value, "ndim", 1) == 2 else None
                hexes = [to_hex(v) for v in many] if many else [to_hex(value)]
            except (TypeError, ValueError):  # "auto", "none", or an array of values
                continue
            if not set(hexes) & set(_COLOURS):
                continue
            alpha = artist.get_alpha()
            new = [to_rgba(_COLOURS.get(colour, colour), alpha) for colour in hexes]
            put(new if many else new[0])


def archive(source: Source, name: str, file: IO[bytes]) -> None:
    """Write a zip of both frames and study.json into `file`: as they are on disk, else as they would be.

    Stored, not packed again, and copied piece by piece: a history may be large.
    """
    digests = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as out:
        for frame in FRAMES:
            path = source.folder / frame
            if path.is_file():
                entry = zipfile.ZipInfo(frame, _STAMP)
                entry.file_size = path.stat().st_size
                with path.open("rb") as content, out.open(entry, "w") as copy:
                    shutil.copyfileobj(content, copy)
                digests[frame] = sha256(path)
            else:
                own = source.own_runs if frame == "runs.parquet" else whole(source.history)
                data = _parquet(own)
                out.writestr(zipfile.ZipInfo(frame, _STAMP), data)
                digests[frame] = hashlib.sha256(data).hexdigest()
        study = text_of({**source.own_study, "frames": digests})
        out.writestr(zipfile.ZipInfo("study.json", _STAMP), study)
        out.writestr(zipfile.ZipInfo("README.txt", _STAMP), _README.format(name=name))


def _parquet(frame: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content, index=False, compression="zstd")
    return content.getvalue()
