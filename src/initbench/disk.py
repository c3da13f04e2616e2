"""The folders of the package's own files, and files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from initbench.errors import refusal


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
    new = path.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
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
