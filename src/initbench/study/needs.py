"""What memory and disk a planned command needs, and its refusal where there is less, before anything is trained.

Both are estimates: what is refused needs more than there is also if they are MARGIN times too high.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initbench.study.launch import chunks_of, needs_hydra
from initbench.study.plan import PlannedArm, train_batch
from initbench.study.sample import TABLES, Weights, values_of

if TYPE_CHECKING:
    from initbench.study.command import Study

MARGIN = 1.5
# bytes, proportional set sizes; docs/performance.md
COMMAND = 300e6  # the command with what its processes share
DRAWING = 150e6  # frames, verdicts and the report
TRACKING = 150e6  # MLflow
WORKER = 60e6
RUN = 30_000  # a run in the frames, the bootstrap and the records
ARM = 200_000  # an arm in study.json, the report and the records
PAGE = 1.2e6  # of the report without its arms
PAGE_ARM = 6_000
DATABASE = 900e3  # of an MLflow database without runs
ROW = 170.0  # of a row, its indices included


@dataclass(frozen=True)
class Memory:
    """Bytes of all processes together, by what takes them."""

    command: float
    workers: float
    results: float

    @property
    def total(self) -> float:
        return self.command + self.workers + self.results


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
    training = [arm for arm in study.arms if left[arm.key]]
    chunk = max((chunk_bytes(arm) for arm in training), default=0.0)
    here = 0 if needs_hydra(study) else workers
    return Memory(
        COMMAND + DRAWING + (TRACKING if study.uri else 0.0),
        here * (WORKER * (here > 1) + chunk) if training else 0.0,
        study.runs * RUN + len(study.arms) * ARM,
    )


def chunk_bytes(arm: PlannedArm) -> float:
    """Bytes of the runs of a chunk in training: parameters, gradients and state, activations, series; and the data."""
    runs = max(map(len, chunks_of(arm, arm.config.runs, 1)))
    item = 8 if arm.config.model.dtype == "float64" else 4
    costs, units = arm.costs(), sum(layer.fan_out for layer in arm.layers)
    batch = train_batch(arm.config, arm.data)
    at_once = 1 if arm.trainer[0].name == "single" else runs
    weights = at_once * (costs["state_bytes"] + 3 * item * costs["stored_parameters"])
    activations = item * units * 4 * max(batch, 256) * (at_once if arm.trainer[0].name == "stacked" else 4)
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
    if study.uri is not None and study.uri.startswith("sqlite"):
        database = DATABASE + ROW * sum(rows.values()) + frames + page
    return Disk(parts, frames, page + archived, database), {name: round(n) for name, n in rows.items()}


def free(place: Path) -> float:
    """Bytes that are free where a path will be written."""
    there = next(one for one in (place, *place.absolute().parents) if one.exists())
    return float(shutil.disk_usage(there).free)
