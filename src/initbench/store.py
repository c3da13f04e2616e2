"""The store of finished runs: part files by arm key, each written once and never changed.

A part holds some runs of one arm, a row a run, one list column a quantity. Its name carries the SHA-256 of its bytes,
it is written under a temporary name, flushed, and published by a hard link, which never replaces a file: a killed
process leaves no torn part, two writers of the same runs do no harm, and a damaged file is noticed. Parts hold no times
and no host names, so the same runs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from initbench.config import run_key
from initbench.engine.chunk import Chunk, Series
from initbench.errors import InputError


@dataclass(frozen=True)
class Store:
    """Part files below `root`, one folder an arm key."""

    root: Path

    def parts(self, arm_key: str) -> list[Path]:
        """Published parts of an arm, in a fixed order."""
        return sorted((self.root / arm_key).glob("part-*.parquet"))

    def runs(self, arm_key: str) -> set[tuple[int, float]]:
        """(seed, lr) of every run stored for an arm."""
        found: set[tuple[int, float]] = set()
        for path in self.parts(arm_key):
            table = intact(path)
            if table is not None:
                found.update(zip(table["seed"].to_pylist(), table["lr"].to_pylist()))
        return found

    def write(self, arm_key: str, chunk: Chunk) -> Path:
        """Publish a chunk as a part; returns its path. Writing the same chunk again changes nothing."""
        folder = self.root / arm_key
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"tmp-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            with open(temporary, "wb") as file:
                pq.write_table(
                    table_of(arm_key, chunk),
                    file,
                    compression="zstd",
                    use_dictionary=False,
                    write_page_checksum=True,
                )
                file.flush()
                os.fsync(file.fileno())
            path = folder / f"part-{hashlib.sha256(temporary.read_bytes()).hexdigest()}.parquet"
            try:
                os.link(temporary, path)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                os.rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def read(self, arm_key: str, runs: Iterable[tuple[int, float]]) -> Chunk | None:
        """The stored ones among the asked runs, sorted by (seed, lr); None if there are none."""
        wanted = set(runs)
        chunks = []
        for path in self.parts(arm_key):
            table = intact(path)
            if table is not None:
                chunks.append(chunk_of(table))
        rows: dict[tuple[int, float], tuple[Chunk, int]] = {}
        for chunk in chunks:
            for i, run in enumerate(chunk.runs):
                if run in wanted:
                    rows.setdefault(run, (chunk, i))
        if not rows:
            return None
        order = sorted(rows)
        used = [rows[run] for run in order]
        axes = joint_axes([chunk for chunk, _ in used])
        series = {
            name: Series(steps, layers, np.stack([on_axis(chunk, i, name, steps, layers) for chunk, i in used]))
            for name, (steps, layers) in axes.items()
        }
        diverged = np.array([chunk.diverged_at[i] for chunk, i in used], dtype=np.int64)
        stopped = of_runs([(chunk.stopped_at, i) for chunk, i in used], -1)
        return Chunk(
            tuple(order), diverged, series, stopped, of_runs([(chunk.init_flops, i) for chunk, i in used], np.nan)
        )


def of_runs(columns: Sequence[tuple[np.ndarray | None, int]], missing: float) -> np.ndarray | None:
    """One number a run from its chunk's column, `missing` where that has none; None where no chunk has one."""
    present = next((column for column, _ in columns if column is not None), None)
    if present is None:
        return None
    return np.array([missing if column is None else column[i] for column, i in columns], dtype=present.dtype)


Axes = dict[str, tuple[tuple[int, ...], tuple[int, ...] | None]]


def joint_axes(chunks: Sequence[Chunk]) -> Axes:
    """Steps and layers of every series that some chunk holds: the chunks' steps differ where runs stopped early."""
    axes: Axes = {}
    for chunk in {id(chunk): chunk for chunk in chunks}.values():
        for name, one in chunk.series.items():
            steps = axes[name][0] if name in axes else ()
            axes[name] = one.steps if steps in ((), one.steps) else tuple(sorted({*steps, *one.steps})), one.layers
    return axes


def on_axis(chunk: Chunk, i: int, name: str, steps: tuple[int, ...], layers: tuple[int, ...] | None) -> np.ndarray:
    """Values of one run at these steps, `(steps,)` or `(steps, k)`; NaN where its chunk has none."""
    one = chunk.series.get(name)
    if one is not None and one.steps == steps:
        return one.values[i]
    values = np.full((len(steps),) if layers is None else (len(steps), len(layers)), np.nan)
    if one is not None:
        values[np.isin(steps, one.steps)] = one.values[i]
    return values


def check_writable(folder: Path) -> None:
    """Raise InputError if nothing can be written below `folder`, before anything is trained."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".tmp-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"outputs={folder}: cannot be written ({reason}); choose a writable folder with outputs=DIR"
        ) from None


def table_of(arm_key: str, chunk: Chunk) -> pa.Table:
    """A chunk as a table: run, seed, lr, diverged_at, and a list column a series; the axes stand in the metadata."""
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
    return pa.table(columns).replace_schema_metadata({"axes": json.dumps(axes, sort_keys=True)})


def chunk_of(table: pa.Table) -> Chunk:
    """The chunk that a table came from."""
    axes = json.loads(table.schema.metadata[b"axes"])
    series = {}
    for name, (steps, layers) in axes.items():
        flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        shape = (table.num_rows, len(steps)) if layers is None else (table.num_rows, len(steps), len(layers))
        series[name] = Series(
            tuple(steps), None if layers is None else tuple(layers), flat.reshape(shape).astype(np.float64)
        )
    runs = tuple(zip(table["seed"].to_pylist(), table["lr"].to_pylist()))
    stopped = table["stopped_at"].to_numpy().astype(np.int64) if "stopped_at" in table.column_names else None
    flops = table["init_flops"].to_numpy() if "init_flops" in table.column_names else None
    return Chunk(runs, table["diverged_at"].to_numpy().astype(np.int64), series, stopped, flops)


def intact(path: Path) -> pa.Table | None:
    """The table of a part whose bytes are what its name says; a damaged part is set aside and trained anew."""
    content = path.read_bytes()
    if f"part-{hashlib.sha256(content).hexdigest()}.parquet" != path.name:
        path.rename(path.with_name(f"damaged-{path.name}"))
        return None
    return pq.read_table(pa.BufferReader(content))
