"""history.parquet: every measured value, long; written arm by arm and read metric by metric, so that memory stays flat.

Columns: run (categorical), step, metric (categorical), layer (null = whole net), value. A row group holds one metric of
some arms: rows come arm by arm, BLOCK of them are collected and written metric by metric. A reader skips the row groups of
other metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from initbench.errors import InputError, refusal

BLOCK = 2**20  # rows, of 19 bytes
KEPT = 32 * 2**20  # bytes of metrics that a reader keeps for the next time
EMPTY = pd.DataFrame(
    {
        "run": pd.Categorical([]),
        "step": np.empty(0, np.int32),
        "metric": pd.Categorical([]),
        "layer": pd.array([], dtype="Int16"),
        "value": np.empty(0),
    }
)
NAMES = pa.dictionary(pa.int32(), pa.string())
TYPES = {"run": NAMES, "step": pa.int32(), "metric": NAMES, "layer": pa.int16(), "value": pa.float64()}
CODED = ["run", "step", "metric", "layer"]
# with what pandas reads the columns back by
HISTORY_SCHEMA = pa.schema(TYPES, metadata=pa.Schema.from_pandas(EMPTY, preserve_index=False).metadata)


@dataclass(frozen=True)
class HistoryFile:
    """The history of a study on disk, read as it is asked for. Raises InputError where the file cannot be read."""

    path: Path
    kept: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)

    def metric(self, name: str) -> pd.DataFrame:
        """The rows of one metric."""
        if name not in self.kept:
            self.kept[name] = self._where("metric", name)
            while len(self.kept) > 1 and sum(map(size, self.kept.values())) > KEPT:
                self.kept.pop(next(iter(self.kept)))  # the oldest
        return self.kept[name]

    def at_step(self, step: int) -> pd.DataFrame:
        """The rows of one step."""
        return self._where("step", step)

    def frame(self) -> pd.DataFrame:
        """All rows."""
        with readable(self.path):
            return pq.ParquetFile(self.path).read().to_pandas()

    @cached_property
    def metrics(self) -> dict[str, bool]:
        """Names of the metrics, sorted, and whether there are values of the whole net (without a layer)."""
        found: dict[str, bool] = {}
        with readable(self.path):
            file = pq.ParquetFile(self.path)
            for i in range(file.num_row_groups):
                group = file.read_row_group(i, columns=["metric", "layer"])
                whole_net = group.filter(pc.field("layer").is_null())["metric"].unique().to_pylist()
                for name in group["metric"].unique().to_pylist():
                    found[name] = found.get(name, False) or name in whole_net
        return dict(sorted(found.items()))

    @cached_property
    def columns(self) -> list[str]:
        with readable(self.path):
            return list(pq.read_schema(self.path).names)

    @property
    def empty(self) -> bool:
        with readable(self.path):
            return bool(pq.read_metadata(self.path).num_rows == 0)

    def _where(self, column: str, value: Any) -> pd.DataFrame:
        with readable(self.path):
            file = pq.ParquetFile(self.path)
            at, found = self.columns.index(column), [file.schema_arrow.empty_table()]
            for i in range(file.num_row_groups):
                known = file.metadata.row_group(i).column(at).statistics
                if known is not None and known.has_min_max and not known.min <= value <= known.max:
                    continue
                found.append(file.read_row_group(i).filter(pc.field(column) == value))
            return pa.concat_tables(found).to_pandas()


History = pd.DataFrame | HistoryFile  # whole in memory, or on disk


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What goes wrong while a file is read, in one line. Raises InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a damaged file makes Arrow and pandas raise nearly anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refusal(path, f"cannot be read ({reason})", "run the study's command again") from None


def size(frame: pd.DataFrame) -> int:
    """Bytes of its columns."""
    return int(frame.memory_usage(index=False).sum())


def whole(history: History) -> pd.DataFrame:
    """The history as one frame, wherever it is."""
    return history.frame() if isinstance(history, HistoryFile) else history


def names_of(history: History) -> dict[str, bool]:
    """Names of metrics, sorted, and whether there are values of the whole net (without a layer)."""
    if isinstance(history, HistoryFile):
        return history.metrics
    whole_net = history["layer"].isna().groupby(history["metric"].astype(str)).any()
    return {str(name): bool(found) for name, found in whole_net.items()}


def history_of(results: Any) -> History:
    """The history of results without reading a file whole; of anything that has `history`."""
    return results.measured if hasattr(results, "measured") else results.history


@contextmanager
def writing(path: Path) -> Iterator[Callable[[str, pa.Table], None]]:
    """Gives a function that takes a metric and rows of it, as a table of HISTORY_SCHEMA; they are written by blocks."""
    waiting: dict[str, list[pa.Table]] = {}
    count = 0

    def flush() -> None:
        for name in sorted(waiting):
            out.write_table(pa.concat_tables(waiting.pop(name)).unify_dictionaries().combine_chunks())

    def add(name: str, table: pa.Table) -> None:
        nonlocal count
        waiting.setdefault(name, []).append(table)
        count += len(table)
        if count >= BLOCK:
            flush()
            count = 0

    # no dictionary of values: nearly all differ, and it takes a third more bytes and five times as long
    with pq.ParquetWriter(path, HISTORY_SCHEMA, compression="zstd", use_dictionary=CODED) as out:
        yield add
        flush()
