"""Two commands on one folder: the second waits for the first and says so; `store gc` works when nobody else does.

The files lie in `locks/` of the store: `<study>.run` of the command that trains, `<study>.files` of whoever writes frames,
report or records, `store` of everyone who writes runs. A lock ends with its holder (startup/locks.py), so nothing has to
be removed after a kill, and the files stay.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path

from initbench.disk import naming
from initbench.errors import refusal
from initbench.startup.locks import lock

FOLDER = "locks"
MOMENTS, MOMENT = 5, 0.02  # how often, and seconds apart
MOST_WAIT = 30.0  # seconds that a reader waits for files that are being written
NONE = "its file system has no locks: give no second command for this study meanwhile"


@contextmanager
def running(root: Path, study: str, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, this process alone trains and writes a study; `root`: of the store. `say` is told in one line who is waited for."""
    place = root.parent / study
    with (
        held(root / FOLDER / "store", say, str(root), shared=True),
        held(root / FOLDER / f"{study}.run", say, f"study {place}"),
    ):
        yield


@contextmanager
def writing(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, this process alone writes the files of a study folder. One without a store beside it has no lock."""
    file = of_files(folder)
    if not file.parent.parent.is_dir():
        yield
        return
    with held(file, say, f"study {folder}"):
        yield


def of_files(folder: Path) -> Path:
    """The lock of whoever writes the files of a study folder."""
    place = Path(os.path.abspath(folder))
    return place.parent / "store" / FOLDER / f"{place.name}.files"


@contextmanager
def held(file: Path, say: Callable[[str], None], what: str, shared: bool = False) -> Iterator[None]:
    """Inside, this process holds a lock; it waits for another holder."""
    with opened(file) as number:
        got = soon(number, shared)
        if got is False:
            say(f"{what}: {holder(file)} is at work in it; waiting until it has ended")
            got = lock(number, shared, wait=True)
        if got is None and file.suffix == ".run":  # once is enough
            say(f"{what}: {NONE}")
        with nullcontext() if shared else signed(number):
            yield


@contextmanager
def at_once(file: Path, what: object) -> Iterator[None]:
    """Inside, this process holds a lock, to remove what it is about. Raises InputError where another holds it, and where
    nobody can tell."""
    with opened(file) as number:
        got = soon(number)
        if got is None:
            raise refusal(what, "its file system has no locks, so nobody can tell who uses it", "remove it by hand")
        if not got:
            raise refusal(what, f"{holder(file)} is at work in it", "wait until it has ended")
        with signed(number):
            yield


@contextmanager
def opened(file: Path) -> Iterator[int]:
    """The file of a lock, which others in this process take for free meanwhile."""
    with naming(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        number = os.open(file, os.O_CREAT | os.O_RDWR, 0o666)
    _mine.add(file)
    try:
        yield number
    finally:
        _mine.discard(file)
        os.close(number)


_mine: set[Path] = set()  # files whose locks this process holds


def soon(number: int, shared: bool = False) -> bool | None:
    """Lock an open file that another may hold for a moment, only to see whether it can."""
    for _ in range(MOMENTS):
        got = lock(number, shared)
        if got is not False:
            return got
        time.sleep(MOMENT)
    return False


@contextmanager
def signed(number: int) -> Iterator[None]:
    """Inside, the file of a lock says who holds it, for those who wait."""
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    text = json.dumps({"process": os.getpid(), "machine": platform.node(), "since": now})
    with suppress(OSError):  # a full disk: nobody is named
        os.pwrite(number, text.encode(), 0)
        os.ftruncate(number, len(text))
    try:
        yield
    finally:
        with suppress(OSError):
            os.ftruncate(number, 0)


def holder(file: Path) -> str:
    """Who holds a lock, in words."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        since = datetime.fromisoformat(found["since"])
        machine = "" if found["machine"] == platform.node() else f" on {found['machine']}"
        return f"another command (process {int(found['process'])}{machine}, since {since:%Y-%m-%d %H:%M})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another command"


def held_by(file: Path) -> str | None:
    """Who else holds a lock, in words; empty where nobody does, None where that cannot be told."""
    if file in _mine:
        return ""
    try:
        number = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    except OSError:
        return None
    try:
        got = lock(number, shared=True)
    finally:
        os.close(number)
    return None if got is None else "" if got else holder(file)


def written(folder: Path) -> bool:
    """Whether the files of a folder were being written just now; returns when they are."""
    file = of_files(folder)
    deadline = time.monotonic() + MOST_WAIT
    waited = False
    while held_by(file) and time.monotonic() < deadline:
        waited = True
        time.sleep(0.1)
    return waited
