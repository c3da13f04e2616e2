"""Where a study writes: checked before it trains, so that nothing is in the way of its results."""

from __future__ import annotations

import os
from pathlib import Path

from initbench.errors import InputError, refusal, shown
from initbench.store import check_writable

FOLDERS = ("hydra", "figures")
FILES = (
    *("study.json", "runs.parquet", "history.parquet", "report.html", "report.md", "report.tex", "study.zip"),
    *("leaderboard.csv", "comparisons.csv", "effects.csv", "summary.csv"),
)


def check_places(outputs: str, study: str) -> None:
    """Raise InputError if the outputs, the store or the study's folder cannot be what they have to be."""
    what = f"outputs={shown(outputs)}"
    root = Path(outputs)
    if outputs.startswith("~"):
        raise refusal(what, "~ is your shell's, and is not written out here", f"write outputs={Path.home()}")
    if root.resolve() == Path(root.resolve().anchor):
        raise refusal(what, "the root of the file system", "choose a folder, e.g. outputs=outputs")
    folder = root / study
    for place in (*reversed(root.parents), root, root / "store", folder, *(folder / name for name in FOLDERS)):
        if os.path.lexists(place) and not place.is_dir():
            raise in_the_way(what, place, "a link to nothing" if place.is_symlink() else "a file, not a folder")
    for name in FILES:
        if (folder / name).is_dir():
            raise in_the_way(what, folder / name, "a folder, not a file")
    check_writable(root)
    for place in (root / "store", folder):
        if place.is_dir():
            check_writable(place)


def in_the_way(what: str, place: Path, kind: str) -> InputError:
    """The refusal of what stands where the study wants to write."""
    return refusal(
        what, f"cannot be written ({place} is {kind})", "move it away, or choose another folder with outputs=DIR"
    )
