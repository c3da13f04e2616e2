"""Locks that the kernel releases when their holder ends, however it ends: how to tell whether somebody is still at work.

`flock`, which Linux carries to the server of a network file system too. It belongs to an open file, is not handed on to
processes that are started by exec, and so dies with the process that took it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def lock(number: int, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file: True if it is ours now, False if another holds it, None where there are no locks.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     lock(file.fileno())
    True
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(number, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without them, or a folder on a network file system
        return None
    return True


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """A new file that is known to be in use inside."""
    number = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o666)
    if lock(number) is None:
        os.close(number)  # nothing to hold
        yield
        return
    try:
        yield
    finally:
        os.close(number)


@contextmanager
def unclaimed(path: str | Path) -> Iterator[bool]:
    """Whether a file or folder is there and nobody holds it; inside, this process does.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file, unclaimed(file.name) as before, unclaimed(file.name) as now:
    ...     before, now
    (True, False)
    """
    try:
        number = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    except OSError:  # gone, or not ours
        yield False
        return
    try:
        yield lock(number) is True
    finally:
        os.close(number)
