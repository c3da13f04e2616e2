"""How results are written: a file appears whole or not at all, and what goes wrong names the file."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside: an OSError names `path`; Arrow and a full disk name no file.

    >>> with naming(Path("runs.parquet")):
    ...     raise OSError(28, "Error writing bytes to file")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'runs.parquet'
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the temporary name to write to; `path` is replaced at the end, and nothing is left where that fails.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing(path) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('all of it', 1)
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")  # the end says how to pack it: .csv.gz
    with naming(path):
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
