"""How many runs of some arms are stored, counted while other processes train: from part files as they appear.

A part that was seen is not read again, and of a new one only its footer. `train.rerun=true` writes the same parts again,
which is not seen here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OFTEN, SHARE = 1.0, 50  # seconds between two looks, or so many times as long as a look takes: network folders are slow


@dataclass
class Watched:
    """The arms of a store at `root`; `asked`: runs of each arm key that are asked for, `stored`: those that are there when
    watching begins. Only parts that appear later are counted."""

    root: Path
    asked: Mapping[str, int]
    stored: dict[str, int]
    seen: set[tuple[str, str]] = field(default_factory=set)  # (arm key, name) of parts
    next: float = 0.0

    def __post_init__(self) -> None:
        self.seen |= {(key, name) for key in self.asked for name in names(self.root / key)}

    def counts(self) -> dict[str, int]:
        """Stored runs by arm key, at most as many as are asked for; a look at the disk now and then."""
        now = time.monotonic()
        if now >= self.next:
            self.look()
            ended = time.monotonic()
            self.next = ended + max(OFTEN, SHARE * (ended - now))
        return self.stored

    def look(self) -> None:
        """Count the parts that have appeared. One that cannot be read yet is tried again at the next look."""
        for key, asked in self.asked.items():
            if self.stored[key] >= asked:
                continue
            for name in names(self.root / key):
                if (key, name) in self.seen:
                    continue
                try:
                    runs = pq.read_metadata(self.root / key / name).num_rows
                except (OSError, pa.ArrowException):
                    continue
                self.seen.add((key, name))
                self.stored[key] = min(asked, self.stored[key] + runs)


def names(folder: Path) -> list[str]:
    """Names of the parts in an arm's folder; none where it is not there yet.

    >>> names(Path("no such folder"))
    []
    """
    try:
        return [name for name in os.listdir(folder) if name.startswith("part-") and name.endswith(".parquet")]
    except OSError:
        return []
