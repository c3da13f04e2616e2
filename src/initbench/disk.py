"""The folders of the package's own files, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from initbench.errors import refusal
from initbench.startup.locks import claimed, unclaimed

HIDDEN = re.compile(r"\.[0-9a-f]{8}-.+")  # what a file is called until it is whole


def cache_folder() -> Path | None:
    """INITBENCH_CACHE, else initbench's folder below XDG_CACHE_HOME or ~/.cache; None without a home."""
    own, home = os.environ.get("INITBENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(own) if own else Path(home or Path("~/.cache").expanduser()) / "initbench"
    except RuntimeError:
        return None


@cache
def conf_folder() -> Path:
    """The folder conf/: at the top of the repository in a clone, inside the package in a wheel.

    >>> (conf_folder() / "init" / "eye.yaml").exists()
    True
    """
    package = Path(__file__).parent
    # the repository first: an editable install may have left a stale copy in site-packages
    for folder in (package.parents[1] / "conf", package / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise refusal("conf", f"no configuration found beside {package}", "install initbench again")


@contextmanager
def published(path: Path, once: bool = False) -> Iterator[Path]:
    """A new path in the same folder; what the block writes there takes the name `path`, or is gone if the block raises.

    once: a file that is there by then stays. Readers see no half of a file, whoever is killed, however many write.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with published(path) as new:
    ...     _ = new.write_text("whole")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('whole', 1)
    """
    new = path.with_name(f".{secrets.token_hex(4)}-{path.name}")  # the end says how to pack it: .csv.gz
    with naming(path):
        try:
            with claimed(new):
                yield new
                if not once:
                    new.replace(path)
                    return
                try:
                    os.link(new, path)
                except FileExistsError:  # another process was faster
                    pass
                except OSError:  # a file system without hard links
                    new.rename(path)
        finally:
            with suppress(OSError):
                new.unlink()


def write_text(path: Path, text: str) -> None:
    """Write text to a file that appears whole or not at all."""
    with published(path) as new:
        new.write_text(text, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there yet."""
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)


def unfinished(folder: Path) -> list[Path]:
    """Files in a folder whose writers were killed before they were whole.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / ".0a1b2c3d-a.txt").touch()
    >>> with published(folder / "b.txt") as new:
    ...     new.exists(), [path.name for path in unfinished(folder)]
    (True, ['.0a1b2c3d-a.txt'])
    """
    try:
        hidden = sorted(name for name in os.listdir(folder) if HIDDEN.fullmatch(name))
    except OSError:
        return []
    found = []
    for name in hidden:
        with unclaimed(folder / name) as abandoned:
            if abandoned:
                found.append(folder / name)
    return found


def clear(folders: Iterable[Path]) -> None:
    """Remove what killed writers have left in folders."""
    for folder in folders:
        for path in unfinished(folder):
            with suppress(OSError):
                path.unlink()


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
        if error.filename and not os.path.basename(error.filename).startswith("."):
            raise  # it names one, and none that is here for a moment only
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error
