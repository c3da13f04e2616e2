"""What memory and disk a planned command needs, and its refusal where there is less, before anything is trained.

Both are estimates: what is refused needs more than there is also if they are MARGIN times too high.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initbench.errors import InputError, refusal, shown
from initbench.grammar import megabytes
from initbench.memory import available, resident
from initbench.study.launch import chunks_of, needs_hydra, workers_of
from initbench.study.pace import PROBE
from initbench.study.plan import PlannedArm, train_batch
from initbench.study.sample import TABLES, Weights, values_of

if TYPE_CHECKING:
    from initbench.study.command import Study

MARGIN = 1.5
WITH_ROOM = 20  # so many times what the values alone need, all fits
# bytes, of memory as proportional set sizes; docs/performance.md
ALONE, ALONE_TRACKED = 530e6, 120e6  # a command that does all itself, and MLflow
TRAINING, WORKER = 670e6, 150e6  # the command and its processes while workers train, and each of these
RESULTS, RESULTS_TRACKED = 690e6, 120e6  # the command, and the process that draws
RUN, ARM = 95_000, 1.8e6  # in the frames, the bootstrap, the figures and the records
PAGE, PAGE_ARM = 1e5, 1e4  # of report and tables
DATABASE, ROW = 9e5, 225.0  # of MLflow's, and of a row with its indices


@dataclass(frozen=True)
class Memory:
    """Bytes of all processes together, while runs train and while their results are written."""

    training: float
    results: float

    @property
    def total(self) -> float:
        return max(self.training, self.results)


@dataclass(frozen=True)
class Disk:
    """Bytes by what takes them: in the folder of outputs, and where the tracking store is (0 where that is elsewhere)."""

    parts: float
    frames: float
    report: float
    mlflow: float

    @property
    def total(self) -> float:
        return self.parts + self.frames + self.report + self.mlflow


def memory_of(study: Study, workers: int, left: Mapping[str, int]) -> Memory:
    """Memory that a command takes at its peak; of other machines, that jobs are sent to, nothing is known."""
    chunk = max((chunk_bytes(arm) for arm in study.arms if left[arm.key]), default=0.0)
    results = study.runs * RUN + len(study.arms) * ARM
    if not has_help(study):
        return Memory(ALONE + chunk, ALONE + ALONE_TRACKED * bool(study.uri) + results)
    return Memory(
        TRAINING + (workers * (WORKER + chunk) if workers > 1 and chunk else chunk),
        RESULTS + RESULTS_TRACKED * bool(study.uri) + results,
    )


def has_help(study: Study) -> bool:
    """Whether a process beside the command draws the report, see `__main__.sweep`."""
    return study.arms[0].config.engine.workers != 1 and not needs_hydra(study)


def check_needs(study: Study) -> None:
    """Raise InputError where a command needs more memory or disk than there is, with both numbers."""
    try:
        check(study, study.left(dict.fromkeys((arm.key for arm in study.arms), 0)))
    except InputError:  # as if nothing were stored: reading the store may take seconds
        check(study, study.left(study.stored()))


def check(study: Study, left: Mapping[str, int]) -> None:
    """Raise InputError where training so many runs of each arm needs too much."""
    workers = workers_of(study, left)
    memory, there = memory_of(study, workers, left), available() + resident()
    if memory.total / MARGIN > there:
        many, most = memory.training > memory.results, max(study.arms, key=chunk_bytes)
        if many and workers > 1:
            what, do = f"engine.workers={workers}", "ask for fewer"
        elif many:
            what, do = f"model.width={most.config.model.width}", "a smaller engine.chunk, or a narrower net"
        else:
            what, do = (
                f"{study.runs} runs of {len(study.arms)} arms",
                "ask for fewer seeds, or sweep in several studies",
            )
        raise too_much(what, "memory", memory.total, there, do)
    outputs = Path(study.config.outputs)
    tracked = database_of(study)
    least = 4.0 * sum(left[arm.key] * values_of(arm) for arm in study.arms if left[arm.key])
    if WITH_ROOM * least < min(free(outputs), free(tracked or outputs)):
        return  # weighing takes a second
    disk, _ = disk_of(study, Weights(study), left, workers)
    own, theirs = disk.total - disk.mlflow, disk.mlflow
    if tracked is not None and not same_disk(outputs, tracked):
        if theirs / MARGIN > free(tracked):
            raise too_much(
                f"track.uri={study.uri}", "disk", theirs, free(tracked), "free some space, or track.uri=null"
            )
        theirs = 0.0
    if (own + theirs) / MARGIN > free(outputs):
        do = "free some space, or choose another folder with outputs=DIR"
        raise too_much(f"outputs={shown(outputs)}", "disk", own + theirs, free(outputs), do)


def too_much(what: str, of: str, needed: float, there: float, do: str) -> InputError:
    """The refusal of what needs more than there is.

    >>> str(too_much("outputs=outputs", "disk", 5e9, 1e9, "free some space"))
    'outputs=outputs: needs about 5,000 MB of disk, 1,000 MB are free; free some space'
    """
    return refusal(what, f"needs about {megabytes(needed)} of {of}, {megabytes(there)} are free", do)


def database_of(study: Study) -> Path | None:
    """The file that MLflow's records go to; None where they go to a server or nowhere."""
    from initbench.track.uri import sqlite_file

    return sqlite_file(study.uri) if study.uri else None


def existing(place: Path) -> Path:
    """The lowest folder above a path that is there."""
    return next(one for one in (place, *place.absolute().parents) if one.exists())


def free(place: Path) -> float:
    """Bytes that are free where a path will be written."""
    return float(shutil.disk_usage(existing(place)).free)


def same_disk(one: Path, other: Path) -> bool:
    return existing(one).stat().st_dev == existing(other).stat().st_dev


def chunk_bytes(arm: PlannedArm) -> float:
    """Bytes of the runs of a chunk in training: parameters, gradients and state, activations, series; and the data."""
    runs = max(map(len, chunks_of(arm, arm.config.runs, 1)))
    item = 8 if arm.config.model.dtype == "float64" else 4
    costs, units = arm.costs(), sum(layer.fan_out for layer in arm.layers)
    batch = train_batch(arm.config, arm.data)
    at_once = 1 if arm.trainer[0].name == "single" else runs
    weights = at_once * (costs["state_bytes"] + item * costs["stored_parameters"])
    activations = item * units * 2 * max(batch, PROBE) * (at_once if arm.trainer[0].name == "stacked" else 4)
    series = 24.0 * runs * values_of(arm)
    return float(weights + activations + series + arm.data.x.size * (arm.data.x.itemsize + item))


def disk_of(study: Study, weights: Weights, left: Mapping[str, int], workers: int) -> tuple[Disk, dict[str, int]]:
    """Disk that a command takes, and rows of MLflow's tables."""
    parts = frames = page = 0.0
    fixed = 0.0
    rows = dict.fromkeys(TABLES, 0.0)
    for arm in study.arms:
        sample, times = weights.of(arm)
        count = len(chunks_of(arm, arm.config.runs[: left[arm.key]], workers))
        parts += count * sample.part.fixed + left[arm.key] * sample.part.each * times
        runs = len(arm.config.runs)
        frames += runs * sample.frames.each * times + sample.entry
        fixed = max(fixed, sample.frames.fixed)
        for name, line in sample.rows.items():
            rows[name] += line.at(runs)
    frames += fixed
    page = PAGE + PAGE_ARM * len(study.arms)
    if study.uri:
        rows["runs"] += 1  # the report
        rows["tags"] += 8
    archived = frames if "archive" in study.config.report.formats else 0.0
    database = 0.0
    if database_of(study) is not None:
        database = DATABASE + ROW * sum(rows.values()) + frames + page
    return Disk(parts, frames, page + archived, database), {name: round(n) for name, n in rows.items()}
