"""What a command is about to do, in its study's folder before it trains: whatever ends it, `sync` knows the study.

The record is a study.json ahead of time. It is gone once the study's frames and report are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from initbench.disk import make_folder, write_text
from initbench.store.reading import MOST_JSON, PLANNED
from initbench.store.study_file import checked_study, text_of
from initbench.study.described import describe

if TYPE_CHECKING:
    from initbench.study.command import Study

RECORD = PLANNED


def begin(study: Study) -> None:
    """Write down what is about to be trained."""
    content = describe(study, 0.0)
    make_folder(study.folder)
    # in its order, which is that of the frames' columns
    write_text(study.folder / RECORD, text_of(content, by_name=False))


def end(folder: Path) -> None:
    """All that the study leaves is in its folder."""
    (folder / RECORD).unlink(missing_ok=True)


def read(folder: Path) -> dict[str, Any] | None:
    """What a command that has not ended asked for; None where there is none. Raises InputError for a damaged record."""
    path = folder / RECORD
    return checked_study(path, MOST_JSON) if path.is_file() else None
