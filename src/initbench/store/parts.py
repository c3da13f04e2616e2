"""The store of finished runs: part files by arm key, each written once and never changed.

A part holds some runs of one arm, one row per run, one list column per quantity. Its name carries the SHA-256 of its bytes,
it is written under a temporary name, flushed, and published by a hard link, which never replaces a file: a killed
process leaves no torn part, two writers of the same runs do no harm, and a damaged file is noticed. Parts hold no times
and no host names, so the same runs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from initbench.config.arm import NUMERICS_VERSION, Run, run_key
from initbench.disk import make_folder, published
from initbench.errors import refusal
from initbench.store.chunk import Chunk, Series

NUMERICS = "numerics"  # in a part's metadata: the NUMERICS_VERSION that trained it, which its folder's name hides
KEPT = 32 * 2**20  # bytes of an arm's parts that are kept while its series are read; of more, each is read anew


@dataclass(frozen=True)
class Store:
    """Part files below `root`, one folder per arm key."""

    root: Path

    def parts(self, arm_key: str) -> list[Path]:
        """Published parts of an arm, in a fixed order."""
        return sorted((self.root / arm_key).glob("part-*.parquet"))

    def runs(self, arm_key: str) -> set[Run]:
        """(seed, lr) of every run stored for an arm."""
        found: set[Run] = set()
        for path in self.parts(arm_key):
            table = intact(path)
            if table is not None:
                found.update(map(Run, table["seed"].to_pylist(), table["lr"].to_pylist()))
        return found

    def write(self, arm_key: str, chunk: Chunk) -> Path:
        """Publish a chunk as a part; returns its path. Writing the same chunk again changes nothing."""
        folder = self.root / arm_key
        make_folder(folder)
        out = pa.BufferOutputStream()
        pq.write_table(
            table_of(arm_key, chunk), out, compression="zstd", use_dictionary=False, write_page_checksum=True
        )
        content = out.getvalue()
        path = folder / f"part-{hashlib.sha256(content).hexdigest()}.parquet"
        with published(path, once=True) as new, open(new, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return path

    def read(self, arm_key: str, runs: Iterable[Run]) -> Stored | None:
        """The stored ones among the asked runs, sorted by (seed, lr); None if there are none."""
        wanted = set(runs)
        heads: dict[Run, tuple[Part, int]] = {}
        size = 0
        for path in self.parts(arm_key):
            table = intact(path)
            if table is not None:
                size += table.nbytes
                part = Part.of(path, table, keep=size <= KEPT)
                for i, run in enumerate(part.runs):
                    if run in wanted:
                        heads.setdefault(run, (part, i))
        if not heads:
            return None
        return Stored.of({run: heads[run] for run in sorted(heads)})


Axes = dict[str, tuple[tuple[int, ...], tuple[int, ...] | None]]  # steps and layers of every series


@dataclass(frozen=True, eq=False)
class Part:
    """What a part file holds beside its series, which are read when they are asked for if they are not kept."""

    path: Path
    table: pa.Table | None
    runs: list[Run]
    columns: dict[str, np.ndarray]  # those of ONE_A_RUN that it has
    axes: Axes

    @staticmethod
    def of(path: Path, table: pa.Table, keep: bool) -> Part:
        found = [name for name in ONE_A_RUN if name in table.column_names]
        axes = json.loads(table.schema.metadata[b"axes"])
        return Part(
            path,
            table if keep else None,
            list(map(Run, table["seed"].to_pylist(), table["lr"].to_pylist())),
            {name: table[name].to_numpy() for name in found},
            {name: (tuple(s), None if k is None else tuple(k)) for name, (s, k) in axes.items()},
        )

    def values(self, name: str) -> np.ndarray:
        """A series of all runs of the part: (runs, steps) or (runs, steps, k)."""
        steps, layers = self.axes[name]
        table = pq.ParquetFile(self.path).read([name], use_threads=False) if self.table is None else self.table
        flat = table[name].combine_chunks().flatten()
        shape = (len(self.runs), len(steps)) if layers is None else (len(self.runs), len(steps), len(layers))
        return flat.to_numpy(zero_copy_only=False).reshape(shape).astype(np.float64)


# numbers of a run, and what stands for them where a part has no such column; the first has every part
ONE_A_RUN = {"diverged_at": -1, "stopped_at": -1, "init_flops": np.nan}


@dataclass(frozen=True, eq=False)
class Stored:
    """R runs of an arm in the store, as `Chunk` has them; a series is read from the parts when it is asked for."""

    runs: tuple[Run, ...]
    diverged_at: np.ndarray
    stopped_at: np.ndarray | None
    init_flops: np.ndarray | None
    axes: Axes
    places: list[tuple[Part, np.ndarray, np.ndarray]]  # of each part: its rows that are used, and where they stand here

    @staticmethod
    def of(rows: Mapping[Run, tuple[Part, int]]) -> Stored:
        """`rows`: the part and the row in it of each run."""
        used: dict[Part, list[tuple[int, int]]] = {}
        for place, (part, row) in enumerate(rows.values()):
            used.setdefault(part, []).append((row, place))
        places = [(part, *np.array(pairs).T) for part, pairs in used.items()]

        def column(name: str, missing: float) -> np.ndarray | None:
            """One number a run from its part's column, `missing` where that has none; None where no part has one."""
            kinds = [part.columns[name].dtype for part in used if name in part.columns]
            if not kinds:
                return None
            values = np.full(len(rows), missing, dtype=kinds[0])
            for part, own, place in places:
                if name in part.columns:
                    values[place] = part.columns[name][own]
            return values

        diverged, stopped, flops = (column(*one) for one in ONE_A_RUN.items())
        assert diverged is not None
        return Stored(tuple(rows), diverged, stopped, flops, joint_axes(used), places)

    def series(self, name: str) -> Series:
        """One quantity of all runs; NaN at steps that a run's part does not have."""
        steps, layers = self.axes[name]
        values = np.full((len(self.runs), len(steps), *([] if layers is None else [len(layers)])), np.nan)
        for part, own, place in self.places:
            if name in part.axes:
                there = np.searchsorted(steps, part.axes[name][0])
                values[place[:, None], there] = part.values(name)[own]
        return Series(steps, layers, values)


def joint_axes(parts: Iterable[Part]) -> Axes:
    """Steps and layers of every series that some part holds: their steps differ where runs stopped early."""
    axes: Axes = {}
    for part in parts:
        for name, (steps, layers) in part.axes.items():
            axes[name] = tuple(sorted({*steps, *axes.get(name, ((), None))[0]})), layers
    return axes


def table_of(arm_key: str, chunk: Chunk) -> pa.Table:
    """A chunk as a table: run, seed, lr, diverged_at, and a list column a series; axes and numerics stand in the metadata."""
    columns: dict[str, pa.Array] = {
        "run": pa.array([run_key(arm_key, seed, lr) for seed, lr in chunk.runs]),
        "seed": pa.array([seed for seed, _ in chunk.runs], pa.int64()),
        "lr": pa.array([lr for _, lr in chunk.runs], pa.float64()),
        "diverged_at": pa.array(chunk.diverged_at, pa.int64()),
    }
    if chunk.stopped_at is not None:
        columns["stopped_at"] = pa.array(chunk.stopped_at, pa.int64())
    if chunk.init_flops is not None:
        columns["init_flops"] = pa.array(chunk.init_flops, pa.float64())
    for name, one in sorted(chunk.series.items()):
        flat = one.values.reshape(len(chunk.runs), -1)
        offsets = np.arange(0, flat.size + 1, flat.shape[1], dtype=np.int32)
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.ravel()))
    axes = {name: [list(s.steps), None if s.layers is None else list(s.layers)] for name, s in chunk.series.items()}
    told = {"axes": json.dumps(axes, sort_keys=True), NUMERICS: str(NUMERICS_VERSION)}
    return pa.table(columns).replace_schema_metadata(told)


NEEDED = ("run", "seed", "lr", "diverged_at")
damaged: list[str] = []  # a line for each part that this process has set aside and nobody has been told of


def told() -> list[str]:
    """The lines of `damaged`, each once."""
    lines = damaged.copy()
    damaged.clear()
    return lines


def intact(path: Path) -> pa.Table | None:
    """The table of a part whose bytes are what its name says; a damaged part is set aside and trained anew.

    Raises InputError for one that can neither be read nor set aside.
    """
    aside = path.with_name(f"damaged-{path.name}")
    try:
        table, why = examined(path)
        if table is None:
            path.rename(aside)
            damaged.append(f"{path}: damaged ({why}); set aside as {aside.name}, its runs are trained again")
        return table
    except FileNotFoundError:  # another process has set it aside
        return None
    except OSError as error:
        raise refusal(
            path, f"cannot be used ({error.strerror or error})", "move it away: its runs are trained again"
        ) from None


def examined(path: Path) -> tuple[pa.Table | None, str]:
    """The table of a part, or why it is none of this arm: its name is that of its bytes, but whoever can name a file can
    write others, or copy one from another arm."""
    content = path.read_bytes()
    if f"part-{hashlib.sha256(content).hexdigest()}.parquet" != path.name:
        return None, "empty" if not content else "its bytes are not those that were written"
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)  # a quarter of the time of read_table
        json.loads((table.schema.metadata or {})[b"axes"])
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None, "it is no part of a store"
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        return None, f"without {', '.join(missing)}"
    first = [table[name][0].as_py() for name in ("run", "seed", "lr")] if len(table) else []
    if first and first[0] != run_key(path.parent.name, *first[1:]):
        return None, "it is a part of another arm"
    return table, ""
