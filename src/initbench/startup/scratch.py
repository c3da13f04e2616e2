"""The folder below TMPDIR for what a process and those beside it need while they live, sockets of multiprocessing included.

It goes with the process. What a killed one has left, its semaphores too, is removed by the next: nobody holds its lock.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from multiprocessing import process
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from initbench.startup.locks import lock, unclaimed

NAME = re.compile(r"initbench_([a-z0-9_]{8})")
LONGEST = 80  # characters of TMPDIR; the name of a socket has at most 107
SEMAPHORES = Path("/dev/shm")


def folder() -> str | None:
    """This process's folder, made when it is first asked for, or that of the process that started it; None where TMPDIR
    takes none. Processes and semaphores of multiprocessing that are made afterwards use it too."""
    config: dict[str, Any] = getattr(process.current_process(), "_config", {})
    if "tempdir" in config:
        return str(config["tempdir"])
    try:
        made = _locked(_place())
    except OSError:
        return None
    config["tempdir"] = made
    config["semprefix"] = f"/ib-{made[-8:]}"
    Finalize(None, shutil.rmtree, args=(made, True), exitpriority=-100)  # last, as multiprocessing removes its own
    return made


def _place() -> str:
    place = tempfile.gettempdir()
    return place if len(place) <= LONGEST else "/tmp"


def _locked(place: str) -> str:
    """A new folder that this process holds until its end."""
    while True:
        made = tempfile.mkdtemp(prefix="initbench_", dir=place)
        with suppress(FileNotFoundError):  # taken for abandoned before it was locked
            number = os.open(made, os.O_RDONLY)
            if lock(number, wait=True) is None or os.path.isdir(made):
                return made
            os.close(number)


def clear() -> None:
    """Remove what killed processes of this user have left."""
    try:
        there = list(os.scandir(_place()))
    except OSError:
        return
    for entry in there:
        name = NAME.fullmatch(entry.name)
        if (
            not name
            or not entry.is_dir(follow_symlinks=False)
            or entry.stat(follow_symlinks=False).st_uid != os.getuid()
        ):
            continue
        with unclaimed(entry.path) as abandoned:
            if abandoned:
                for semaphore in SEMAPHORES.glob(f"sem.ib-{name[1]}-*"):
                    semaphore.unlink(missing_ok=True)
                shutil.rmtree(entry.path, ignore_errors=True)
