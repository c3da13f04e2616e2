"""Where a study writes: checked before it trains, so that nothing is in the way of its results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from initbench.disk import clear
from initbench.errors import InputError, refusal, shown
from initbench.startup import scratch
from initbench.store import lock

if TYPE_CHECKING:
    from initbench.study.command import Study

FOLDERS = ("hydra", "figures")
FILES = (
    *("study.json", "runs.parquet", "history.parquet", "report.html", "report.md", "report.tex", "study.zip"),
    *("leaderboard.csv", "comparisons.csv", "effects.csv", "summary.csv"),
)


def check_places(outputs: str, study: str, arm_keys: Iterable[str] = ()) -> None:
    """Raise InputError if the outputs, the store, its arms or the study's folder cannot be what they have to be."""
    what = f"outputs={shown(outputs)}"
    root = Path(outputs)
    if outputs.startswith("~"):
        raise refusal(what, "~ is not expanded here", f"write outputs={Path.home()}")
    if root.resolve() == Path(root.resolve().anchor):
        raise refusal(what, "the root of the file system", "choose a folder, e.g. outputs=outputs")
    folder = root / study
    store, inside = root / "store", [folder / name for name in FOLDERS]
    arms = [store / key for key in arm_keys]
    for place in (*reversed(root.parents), root, store, folder, *inside, *arms):
        if os.path.lexists(place) and not place.is_dir():
            raise in_the_way(what, place, "a link to nothing" if place.is_symlink() else "a file, not a folder")
    for name in FILES:
        if (folder / name).is_dir():
            raise in_the_way(what, folder / name, "a folder, not a file")
    check_writable(root)
    for place in (store, folder, *inside, *arms):
        if place.is_dir():
            check_writable(place)


@contextmanager
def taken(study: Study, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, no other command is at work on this study, and what killed ones have left unfinished is gone. `say` is told
    in one line who is waited for."""
    if study.config.dry_run:
        yield
        return
    with lock.running(study.root, study.config.name, say):
        scratch.clear()
        places = [study.folder, study.folder / "figures", *(study.root / arm.key for arm in study.arms)]
        clear(places)
        yield
        clear(places)  # a process beside this one may have been killed


def check_writable(folder: Path) -> None:
    """Raise InputError if nothing can be written below `folder`, before anything is trained."""
    try:  # in the lowest folder above that exists: a command that is refused later leaves none
        probe = next(one for one in (folder, *folder.parents) if one.exists()) / f".tmp-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise refusal(
            f"outputs={shown(folder)}", f"cannot be written ({reason})", "choose a writable folder with outputs=DIR"
        ) from None


def in_the_way(what: str, place: Path, kind: str) -> InputError:
    """The refusal of what stands where the study wants to write."""
    return refusal(
        what, f"cannot be written ({place} is {kind})", "move it away, or choose another folder with outputs=DIR"
    )
