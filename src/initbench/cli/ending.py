"""How a command ends: what is refused or goes wrong is one line, with its exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from initbench.cli import streams
from initbench.errors import InputError, printable

# what a disk may answer to any write, and what to do then
ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make its folder writable"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY), "move it away"),
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "make its folder",
    errno.EIO: "check the disk",
}
STORED = "finished runs are stored"


def answered(name: str, body: Callable[[], int], goes_on: bool = False) -> int:
    """The exit status of a command, which says in one line after `name` why it did not go through: 2 wrong input, 130
    Ctrl-C (128 and its number for another signal), 1 a disk that refuses. `goes_on`: what is finished is stored, and the same command goes on.

    >>> answered("initbench", lambda: 0)
    0
    """
    streams.encodable()
    try:
        return body()
    except InputError as error:
        return ended(f"{name}: {error}", 2, error)
    except BrokenPipeError:  # | head
        streams.unread(sys.stdout)
        return 0
    except OSError as error:
        if error.errno not in ADVICE and not error.filename:
            raise
        then = f": {STORED}" if goes_on else ""
        return ended(f"{name}: {disk_said(error)}{then}", 1 if goes_on else 2, error)
    except KeyboardInterrupt as error:
        getattr(error, "heard", lambda: None)()
        then = f"; {STORED}, the same command goes on" if goes_on else ""
        return ended(f"{name}: {str(error) or 'interrupted'}{then}", 128 + getattr(error, "number", 2), error)
    finally:
        streams.flush()


def disk_said(error: OSError) -> str:
    """What a disk answered, after the file that it is about where that is known, and what to do.

    >>> disk_said(OSError(28, "No space left on device", "runs.parquet"))
    'runs.parquet: No space left on device; free some space, then run the same command again'
    """
    if error.errno == errno.ENOENT and not error.filename:  # Python's tempfile
        return f"{error.strerror}; set TMPDIR to a folder that can be written"
    said = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{said}; {ADVICE.get(error.errno or 0, ADVICE[errno.EIO])}, then run the same command again"


def ended(text: str, status: int, error: BaseException) -> int:
    """Say in one line how a command ended; returns its status. INITBENCH_TRACEBACK=1 shows where it comes from."""
    if os.environ.get("INITBENCH_TRACEBACK"):
        raise error
    streams.write(printable(text), sys.stderr)
    return status
