"""How a command ends: what is refused or goes wrong is one line, with its exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from initbench.cli import streams
from initbench.errors import InputError, printable

# what a disk may answer to any write: full, over quota, read-only, not ours, a file or a folder in the way
NO_FAULT = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.EMFILE, errno.ENOENT),
)
GOES_ON = "finished runs are stored, the same command goes on"


def answered(name: str, body: Callable[[], int], goes_on: bool = False) -> int:
    """The exit status of a command, which says in one line after `name` why it did not go through: 2 wrong input, 130
    Ctrl-C, 1 a disk that refuses. `goes_on`: what is finished is stored, and the same command goes on.

    >>> answered("initbench", lambda: 0)
    0
    """
    streams.encodable()
    then = f"; {GOES_ON}" if goes_on else ""
    try:
        return body()
    except InputError as error:
        return ended(f"{name}: {error}", 2, error)
    except BrokenPipeError:  # | head
        streams.unread(sys.stdout)
        return 0
    except OSError as error:
        if error.errno not in NO_FAULT:
            raise
        return ended(f"{name}: {disk_said(error)}{then}", 1 if goes_on else 2, error)
    except KeyboardInterrupt as error:
        return ended(f"{name}: interrupted{then}", 130, error)
    finally:
        streams.flush()


def disk_said(error: OSError) -> str:
    """What a disk answered, after the file that it is about where that is known.

    >>> disk_said(OSError(28, "No space left on device", "runs.parquet"))
    'runs.parquet: No space left on device'
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{error.filename}: {reason}" if error.filename else f"{error.strerror or reason}"


def ended(text: str, status: int, error: BaseException) -> int:
    """Say in one line how a command ended; returns its status. INITBENCH_TRACEBACK=1 shows where it comes from."""
    if os.environ.get("INITBENCH_TRACEBACK"):
        raise error
    streams.write(printable(text), sys.stderr)
    return status
