"""What the results of a study weigh: runs with made-up values, in the form in which real ones are stored and tracked.

The values are random, which packs no tighter than real ones. Bytes of part files and of frames and rows of MLflow are
counted on a few arms and runs, by the functions that write the real ones, and grow with the runs and arms of the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from initbench.config.arm import Run, runs_of
from initbench.startup import scratch
from initbench.store.chunk import Chunk, Series
from initbench.study.plan import PlannedArm

if TYPE_CHECKING:
    from initbench.study.command import Study

FEW, MANY = 2, 10  # seeds of the two samples
ARMS = 3  # most arms that are sampled
TABLES = ("runs", "params", "tags", "metrics", "latest_metrics")


def values_of(arm: PlannedArm) -> int:
    """Numbers in the series of one run."""
    return sum(len(steps) * columns for steps, columns in series_of(arm).values())


def series_of(arm: PlannedArm) -> dict[str, tuple[tuple[int, ...], int]]:
    """Steps of each series of a run, and how many numbers it has at each."""
    from initbench import measure
    from initbench.engine.schedule import Schedule

    classes = arm.data.classes is not None
    schedule = Schedule.of(arm.config, classes)
    evaluated, measured = (tuple(sorted(steps)) for steps in (schedule.evaluated, schedule.measured))
    names = ("loss/train", "loss/val", *(("accuracy/train", "accuracy/val") if classes else ()))
    found = dict.fromkeys(names, (evaluated, 1))
    if measured:
        found["loss/batch"] = measured, 1
        axes = {name: measure.axis(name, arm.scheme) for name in schedule.measures}
        found |= {name: (measured, 1 if axis is None else len(axis)) for name, axis in axes.items()}
    return {name: one for name, one in found.items() if one[1]}


def made_up(arm: PlannedArm, runs: Sequence[Run]) -> Chunk:
    """Runs of an arm with random values; accuracies go up to 1, so that the target is reached."""
    from initbench import measure

    draw, series = np.random.default_rng(0), {}
    for name, (steps, columns) in series_of(arm).items():
        axis = measure.axis(name, arm.scheme) if name in measure.MEASURES else None
        layers = None if axis is None else tuple(axis)
        shape = (len(runs), len(steps), *(() if layers is None else (columns,)))
        values = draw.integers(0, 513, shape) / 512 if name.startswith("accuracy") else draw.lognormal(0, 1, shape)
        series[name] = Series(steps, layers, values.astype(np.float32).astype(np.float64))
    return Chunk(tuple(runs), np.full(len(runs), -1), series)


@dataclass(frozen=True)
class Line:
    """An amount that grows with a number: `fixed + each * n`."""

    fixed: float
    each: float

    @staticmethod
    def through(n: int, few: float, m: int, many: float) -> Line:
        """The line through two points.

        >>> Line.through(2, 10.0, 4, 14.0)
        Line(fixed=6.0, each=2.0)
        """
        each = (many - few) / (m - n)
        return Line(few - each * n, each)

    def at(self, n: float) -> float:
        return self.fixed + self.each * n


@dataclass(frozen=True)
class Sample:
    """Of an arm, by its runs: bytes of a part, of both frames, of its entry in study.json; rows of each table of MLflow."""

    part: Line
    frames: Line
    entry: float
    rows: Mapping[str, Line]


class Weights:
    """What the arms of a study weigh, from samples of a few of them: of those with the most values of a run."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.values = {arm.key: values_of(arm) for arm in study.arms}

    @cached_property
    def samples(self) -> list[tuple[int, Sample]]:
        """(values of a run, sample), of arms with different numbers of values: the smallest, the largest, one between."""
        distinct: dict[int, PlannedArm] = {}
        for arm in self.study.arms:
            distinct.setdefault(self.values[arm.key], arm)
        sizes = sorted(distinct)
        chosen = sorted({sizes[round(i * (len(sizes) - 1) / (ARMS - 1))] for i in range(ARMS)})
        return [(size, sampled(distinct[size], self.study)) for size in chosen]

    def of(self, arm: PlannedArm) -> tuple[Sample, float]:
        """The sample nearest to an arm, and how many times its values of a run the arm has."""
        values = self.values[arm.key]
        size, sample = min(self.samples, key=lambda one: abs(one[0] - values))
        return sample, values / max(size, 1)


def sampled(arm: PlannedArm, study: Study) -> Sample:
    """Store, frame and track made-up runs of an arm in a temporary folder, few seeds and more."""
    few, many = (weighed(arm, study, range(n)) for n in (FEW, MANY))
    lrs = len(arm.config.optim.lrs)
    ends = (FEW * lrs, MANY * lrs)

    def line(name: str) -> Line:
        return Line.through(ends[0], few[name], ends[1], many[name])

    return Sample(line("part"), line("frames"), few["entry"], {name: line(name) for name in TABLES})


def weighed(arm: PlannedArm, study: Study, seeds: Sequence[int]) -> dict[str, float]:
    """Bytes and rows of an arm's runs at these seeds."""
    from initbench.store.parts import Store
    from initbench.store.reading import FRAMES
    from initbench.study.results import Results, frames

    config = replace(arm.config, seeds=tuple(seeds), dropped=())
    arm = replace(arm, config=config)
    runs = runs_of(config.seeds, config.optim.lrs)
    with TemporaryDirectory(prefix="sample-", dir=scratch.folder(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        store = Store(folder / "store")
        part = store.write(arm.key, made_up(arm, runs)).stat().st_size
        target = study.target
        content = {
            "study": study.config.name,
            "created": "1970-01-01T00:00:00+00:00",
            "git": "0" * 40,
            "arms": [{**arm.describe(), "status": "done"}],
            "target": None if target is None else {"metric": target.metric, "value": target.value},
            "baseline": None,
            "family": None,
        }
        made, history = frames(content, store, folder)
        results = Results(made, history, content, folder)
        results.save()
        size, entry = sum((folder / one).stat().st_size for one in FRAMES), (folder / "study.json").stat().st_size
        rows = tracked(results, study) if study.uri else dict.fromkeys(TABLES, 0)
        return {"part": part, "frames": size, "entry": entry, **rows}


def tracked(results: Any, study: Study) -> dict[str, float]:
    """Rows of MLflow's tables for the arms of results."""
    from initbench.track.records import arms_of

    rows = dict.fromkeys(TABLES, 0.0)
    for arm in arms_of(results, study.config.track.children):
        for record in (arm.parent, *arm.runs):
            rows["runs"] += 1
            rows["params"] += len(record.params)
            rows["tags"] += len(record.tags) + 1 + (record is not arm.parent)  # the run's name, and its parent
            rows["metrics"] += len(record.points)
            rows["latest_metrics"] += len(set(record.points.key))
    return rows
