"""From a study to a page that answers it: report.html, report.md, leaderboard.csv, comparisons.csv, report.tex.

>>> sorted(FORMATS)
['csv', 'html', 'latex', 'md']
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from initbench.errors import InputError
from initbench.report.source import Source, open_source

FORMATS = ("html", "md", "csv", "latex")


def build(
    results: Any,
    *,
    baseline: str | None = None,
    target: Any = None,
    formats: Iterable[str] | str = ("html", "md", "csv"),
) -> dict[str, Path]:
    """Write the report of a study beside its frames; gives {file name: path}.

    `results`: a study folder, or an object with `runs`, `history`, `study` and `folder`. `baseline`: a setup's label or
    an initializer's name. `target`: a number of the study's metric, or "accuracy/val:0.9", "loss/train:0.1"; steps to
    target are then recomputed from the history. `formats`: of html, md, csv, latex. The same study gives the same bytes.
    Raises InputError for a folder that is none, an unknown format, baseline or target; nothing is written then.
    """
    wanted = [name.strip() for name in formats.split(",")] if isinstance(formats, str) else list(formats)
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        raise InputError(f"format {', '.join(unknown) or 'none'}: allowed are {', '.join(FORMATS)}")
    source = open_source(results, baseline=baseline, target=target)
    texts = {name: text for form in FORMATS if form in wanted for name, text in _texts(form, source).items()}
    source.folder.mkdir(parents=True, exist_ok=True)
    return {name: _write(source.folder / name, text) for name, text in texts.items()}


def _texts(form: str, source: Source) -> dict[str, str]:
    # imported when asked for: a CSV needs no matplotlib
    if form == "html":
        from initbench.report.page import page

        return {"report.html": page(source)}
    from initbench.report import text

    if form == "md":
        return {"report.md": text.report_markdown(source)}
    if form == "latex":
        return {"report.tex": text.report_latex(source)}
    return {"leaderboard.csv": text.csv(source.board), "comparisons.csv": text.csv(source.pairs)}


def _write(path: Path, text: str) -> Path:
    """Whole or not at all: a reader never sees half a page."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as out:
            out.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


__all__ = ["FORMATS", "Source", "build", "open_source"]
