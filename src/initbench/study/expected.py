"""What a planned command will take on this machine: operations, time, memory, disk and rows of MLflow.

Training is tried for a moment (calibrate.py), what its results weigh is weighed (sample.py); what a command does besides
was timed on one machine (docs/performance.md) and is scaled by how fast this one runs Python. The estimate of time holds
within a factor of SURE.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initbench.startup.processes import cores
from initbench.study.calibrate import Calibration, calibrated, speed
from initbench.study.launch import chunks_of, workers_of
from initbench.study.needs import Disk, Memory, disk_of, free, has_help, memory_of
from initbench.study.pace import counts, pace
from initbench.study.plan import PlannedArm
from initbench.study.sample import Weights, values_of

if TYPE_CHECKING:
    from initbench.study.command import Study

SURE = 1.5  # the estimate of time holds within this factor; docs/performance.md

# processor seconds on the machine of docs/performance.md
INTERPRETER = 0.15  # before the command's own clock
POOL = 0.3  # until workers train
COMPILING = 25.0  # the kernel's functions
CHUNK = 0.02  # of a chunk: its way to a worker, its part file
IMPORTS = 1.3  # what frames and report need, by a process beside
BESIDE = 2.1  # that process, and what others are forked from, in all
FRAMES, FRAMES_ARM, VALUE = 0.15, 5e-3, 1.5e-7  # and for each value of the history
REPORT, REPORT_ARM = 0.85, 0.1
MLFLOW, TRACKED, ROW = 1.7, 0.3, 8.5e-6  # its import, the study, and each row
LOOK = 1.0  # of a round of a study that goes on: frames, verdicts
END = 0.3  # leaderboard, other processes


@dataclass(frozen=True)
class Seconds:
    """Of the whole command, by what it does one after another."""

    start: float
    compile: float
    training: float
    frames: float
    report: float  # with MLflow's records, which are written meanwhile

    @property
    def total(self) -> float:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Expected:
    """What a command will take."""

    study: str
    arms: int
    runs: int
    stored: int
    workers: int
    run_steps: int
    operations: float
    core_seconds: float
    processor_seconds: float  # of the whole command, all processes
    seconds: Seconds
    memory: Memory
    disk: Disk
    rows: Mapping[str, int]
    free: float  # bytes of disk
    compiled: bool  # whether the kernel was tried, or is not compiled yet
    factor: float = SURE

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; docs/performance.md names every key."""
        left = self.runs - self.stored
        return {
            "study": self.study,
            "arms": self.arms,
            "runs": {"asked": self.runs, "stored": self.stored, "to_train": left},
            "workers": self.workers,
            "run_steps": self.run_steps,
            "operations": self.operations,
            "core_seconds": round(self.core_seconds, 2),
            "processor_seconds": round(self.processor_seconds, 2),
            "seconds": totalled(asdict(self.seconds), 2),
            "memory_bytes": {**totalled(asdict(self.memory)), "total": round(self.memory.total)},
            "disk_bytes": totalled(asdict(self.disk)),
            "mlflow_rows": totalled(self.rows),
            "kernel_tried": self.compiled,
            "factor": self.factor,
        }


def totalled(parts: Mapping[str, float], digits: int | None = None) -> dict[str, float]:
    """Amounts with their sum, rounded.

    >>> totalled({"a": 1.2, "b": 2.4})
    {'a': 1, 'b': 2, 'total': 4}
    """
    return {name: round(n, digits) for name, n in {**parts, "total": sum(parts.values())}.items()}


def expected(study: Study, left: Mapping[str, int], started: float) -> Expected:
    """What a planned command will take. `left`: runs to train by arm key; `started`: when it began, by time.monotonic()."""
    planning, planned = time.monotonic() - started + INTERPRETER, time.process_time()
    training = [arm for arm in study.arms if left[arm.key]]
    workers = workers_of(study, left)
    calibration = calibrated(training)
    chunks = [seconds for arm in training for seconds in chunk_seconds(arm, left[arm.key], workers, calibration)]
    disk, rows = disk_of(study, Weights(study), left, workers)
    rounds, more = rounds_of(study)
    operations = sum(left[arm.key] * arm.costs()["flops_per_step"] * arm.config.train.steps for arm in training)
    return Expected(
        study=study.config.name,
        arms=len(study.arms),
        runs=study.runs,
        stored=study.runs - sum(left.values()),
        workers=workers,
        run_steps=sum(left[arm.key] * arm.config.train.steps for arm in training),
        operations=operations,
        core_seconds=sum(chunks) * more,
        processor_seconds=planned + sum(chunks) * more + besides(study, rows),
        seconds=phases(study, planning, chunks, (rounds, more), workers, rows, calibration),
        memory=memory_of(study, workers, left),
        disk=disk,
        rows=rows,
        free=free(Path(study.config.outputs)),
        compiled=calibration.compiled,
    )


def chunk_seconds(arm: PlannedArm, left: int, workers: int, calibration: Calibration) -> Iterable[float]:
    """Seconds of each chunk of an arm's last runs."""
    here = pace(arm).times(calibration.factors(arm))
    each = sum(here.times(counts(arm))[1:])
    least = 1 if arm.trainer[0].name == "single" else 2
    for runs in chunks_of(arm, arm.config.runs[-left:], workers):
        yield CHUNK + here.seed * len({run.seed for run in runs}) + each * max(len(runs), least)


def makespan(chunks: Iterable[float], workers: int) -> float:
    """Seconds until the last chunk is done, each taken by the first worker that is free.

    >>> makespan([3.0, 1.0, 1.0, 2.0], 2)
    4.0
    """
    free = [0.0] * workers
    for seconds in chunks:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def rounds_of(study: Study) -> tuple[int, float]:
    """How many rounds a study probably has, and how many times the work of the first in all."""
    if not study.goes_on:
        return 0, 1.0
    from initbench.study.limits import likely

    rounds = likely(study.config.decide, study.arms)
    return len(rounds), sum(work for *_, work in rounds) / max(rounds[0][2], 1e-9)


def besides(study: Study, rows: Mapping[str, int]) -> float:
    """Processor seconds of all that is neither plan nor training."""
    frames, report, records = results(study, rows)
    imports = (BESIDE if has_help(study) else IMPORTS) + (MLFLOW if study.uri else 0.0) + END
    return frames + report + records + speed() * imports


def results(study: Study, rows: Mapping[str, int]) -> tuple[float, float, float]:
    """Processor seconds of frames, of the report, and of MLflow's records."""
    slow, arms = speed(), len(study.arms)
    values = sum(len(arm.config.runs) * values_of(arm) for arm in study.arms)
    records = slow * (TRACKED + ROW * sum(rows.values())) if study.uri else 0.0
    return slow * (FRAMES + FRAMES_ARM * arms + VALUE * values), slow * (REPORT + REPORT_ARM * arms), records


def phases(
    study: Study,
    planning: float,
    chunks: Sequence[float],
    rounds: tuple[int, float],
    workers: int,
    rows: Mapping[str, int],
    calibration: Calibration,
) -> Seconds:
    """The command's time, phase by phase, as far as one waits for the other."""
    slow, there = speed(), cores()
    one, two, all_of = (calibration.crowded(n, there) for n in (1, 2, workers))
    beside = has_help(study) and there > 1
    frames, report, records = results(study, rows)
    imports = slow * ((MLFLOW if study.uri else 0.0) + IMPORTS)  # while others train
    training = 0.0
    if chunks:
        training = POOL * (workers > 1) + makespan(chunks, workers) * rounds[1] + rounds[0] * slow * LOOK
        if workers >= there:  # they take the cores of those that train
            training += imports / there
    waiting = max(0.0, imports / (1 + beside) - training * beside)
    return Seconds(
        planning,
        0.0 if calibration.compiled else COMPILING * slow * all_of,
        training * all_of,
        (frames + waiting) * one,
        (max(report, records) * two if beside else (report + records) * one) + END * slow,
    )
