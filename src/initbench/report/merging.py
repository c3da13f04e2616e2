"""Parts of one study, from folders or archives, as a study folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from initbench.errors import refusal, shown
from initbench.report.source import read_study
from initbench.store.joined import Part
from initbench.store.merge import merged, place_of, save


def merge(sources: Sequence[Path], out: str | None = None) -> Path:
    """Write the data of the whole; gives its folder, by default beside the first part.

    Raises InputError for fewer than two parts, and for what cannot be merged; nothing is written then.
    """
    if len({source.resolve() for source in sources}) < 2:
        raise refusal("--merge", "it takes two studies or more", "name another part of the study")
    parts = [Part(str(source), *read_study(source)[1]) for source in sources]
    runs, history, study = merged(parts)
    folder = Path(out) if out is not None else place_of(sources[0], study)
    if folder.resolve() in {source.resolve() for source in sources}:
        raise refusal(f"--out {shown(folder)}", "this is one of the parts", "name a new folder")
    save(folder, runs, history, study)
    return folder
