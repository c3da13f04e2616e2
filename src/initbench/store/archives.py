"""A study out of its archive: only the three files of a study, and only if what they claim to be large fits the disk."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from initbench.errors import InputError, refusal
from initbench.startup import scratch
from initbench.store.reading import FILES, MOST_JSON, check_file

MOST_RATIO = 200  # unpacked to packed: a frame is packed already, study.json shrinks about thirtyfold
PIECE = 2**20  # bytes
AGAIN = "name the study.zip that a report wrote"


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A folder, for a while, with the files of the study in the archive. Raises InputError in one line."""
    check_file(path)
    try:
        with (
            zipfile.ZipFile(path) as content,
            tempfile.TemporaryDirectory(prefix="study-", dir=scratch.folder()) as name,
        ):
            folder = Path(name)
            left = shutil.disk_usage(folder).free
            for entry in _members(path, content):
                if entry.file_size > left:
                    wrong = (
                        f"{entry.filename} unpacks to {entry.file_size:,} bytes, {left:,} are free in {folder.parent}"
                    )
                    raise refusal(path, wrong, "free some space, or set TMPDIR to a larger disk")
                left -= _extract(path, content, entry, folder / entry.filename)
            yield folder
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise refusal(path, f"not an archive of a study ({error})", AGAIN) from None


def _members(path: Path, content: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries of the study's files, each once. Names of others are never looked at."""
    found = []
    for name in FILES:
        entries = [entry for entry in content.infolist() if entry.filename == name]
        if len(entries) != 1:
            raise refusal(path, f"{name} is {'not in it' if not entries else 'in it more than once'}", AGAIN)
        entry = entries[0]
        mode = entry.external_attr >> 16
        if entry.flag_bits & 1:
            raise refusal(path, f"{name} is encrypted", "unpack it and name the folder")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise refusal(path, f"{name} is not a regular file", AGAIN)
        if entry.file_size > MOST_RATIO * max(entry.compress_size, 1000) or (
            name == "study.json" and entry.file_size > MOST_JSON
        ):
            wrong = f"{name} unpacks from {entry.compress_size:,} to {entry.file_size:,} bytes, which no study does"
            raise refusal(path, wrong, AGAIN)
        found.append(entry)
    return found


def _extract(path: Path, content: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> int:
    """Bytes written; never more than the entry declares."""
    written = 0
    with content.open(entry) as source, target.open("wb") as out:
        while piece := source.read(PIECE):
            written += len(piece)
            if written > entry.file_size:
                raise refusal(path, f"{entry.filename} is longer than it declares", AGAIN)
            out.write(piece)
    return written
