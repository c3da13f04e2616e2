"""A moment of training on this machine: by how much runs are faster or slower here than `pace` says.

Arms that differ in neither trainer, net, optimizer, batch nor measures are one class. A few steps of one arm of a class
are trained, those with the most work first, until the moment is over; the classes that are left take the factors of the
nearest one that was tried. Nothing is written. Trials are timed by the processor's clock, since each is too short to tell
what other programs take; how much they take is the median over all trials, so one that comes and goes does not count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import log
from statistics import median
from typing import Any

import numpy as np

from initbench.config.arm import Run
from initbench.config.groups import EvaluateConfig, MeasureConfig
from initbench.engine.trainers import Trainer, named
from initbench.study.launch import chunks_of, functions
from initbench.study.pace import Pace, counts, pace, run_seconds
from initbench.study.plan import PlannedArm

MOMENT = 2.0  # seconds after which no other class is tried
TRIAL = 0.06  # seconds of one of a class's trials, about
STEPS, RUNS = 40, 64  # most steps and runs of a trial
LEAST, MOST = 0.05, 50.0  # factors beyond are taken for a slip of the clock
REFERENCE = 1.65e-3  # seconds of `speed` on the machine of docs/performance.md


@dataclass(frozen=True)
class Calibration:
    """Factors of the classes that were tried, and how the others find theirs."""

    known: Mapping[str, tuple[str, float, Pace]]  # class -> trainer, seconds of its step by `pace`, factors
    compiled: bool = True  # whether the kernel could be tried, or the torch path stood for it
    waited: float = 1.0  # times as long as it was at work one process took, since others were too

    @classmethod
    def of(cls, known: Mapping[str, tuple[str, float, Pace]], compiled: bool, waits: Sequence[float]) -> Calibration:
        return cls(known, compiled, max(1.0, median(waits)) if waits else 1.0)

    def crowded(self, processes: int, cores: int) -> float:
        """How many times as long so many processes take as on idle cores.

        >>> Calibration({}, waited=1.0).crowded(2, 2), Calibration({}, waited=2.0).crowded(2, 2)
        (1.0, 2.5)
        """
        others = max(self.waited * cores - 1, 0.0) if self.waited > 1.1 else 0.0
        return max(1.0, (processes + others) / cores)

    def factors(self, arm: PlannedArm) -> Pace:
        """What the seconds of an arm's pace are multiplied by: the factors of its class, or of the one with the nearest
        step, of the same trainer if there is one."""
        if class_of(arm) in self.known:
            return self.known[class_of(arm)][2]
        if not self.known:
            return Pace(1.0, 1.0, 1.0, 1.0)
        trainer, step = arm.trainer[0].name, pace(arm).step
        *_, near = min(self.known.values(), key=lambda one: (one[0] != trainer, abs(log(step / one[1]))))
        return near._replace(seed=1.0) if arm.sees_whole_net else near


def class_of(arm: PlannedArm) -> str:
    """What arms of one class have in common."""
    config = arm.config
    optim = replace(config.optim, lr=0.1)
    start = config.init.name if arm.sees_whole_net else ""
    measured = config.measure.name, config.measure.metrics
    return repr((arm.trainer[0].name, config.model, config.sharing, optim, config.data, config.train.loss,
                 config.train.eval_samples, measured, config.engine, start))  # fmt: skip


def calibrated(arms: Sequence[PlannedArm], moment: float = MOMENT) -> Calibration:
    """Try the classes of these arms for a moment; an arm whose own code fails is left to its training."""
    from initbench.study import worker

    compiled = kernel_is_compiled(arms)
    if compiled:
        worker.ready(functions(arms))
    work: dict[str, float] = {}
    first: dict[str, PlannedArm] = {}
    for arm in arms:
        first.setdefault(class_of(arm), arm)
        work[class_of(arm)] = work.get(class_of(arm), 0.0) + len(arm.config.runs) * run_seconds(arm)
    known: dict[str, tuple[str, float, Pace]] = {}
    waits: list[float] = []
    began = time.perf_counter()
    with worker.one_thread():
        # a start that sees a whole net may take longer than the moment
        for of in sorted(work, key=lambda of: (first[of].sees_whole_net, -work[of])):
            if known and time.perf_counter() > began + moment:
                break
            with suppress(Exception):
                arm = first[of]
                found = tried(arm, compiled, waits)
                known[of] = arm.trainer[0].name, pace(arm).step, found
    return Calibration.of(known, compiled, waits)


def kernel_is_compiled(arms: Sequence[PlannedArm]) -> bool:
    """Whether what these arms need of the kernel lies in the cache; without that a trial would take half a minute."""
    needed = functions(arms)
    if not needed:
        return True
    from initbench.engine.kernel.compiled import cache_folder

    folder = cache_folder()
    return folder is not None and all((folder / f"{kind}-{name}.o").is_file() for kind, name in needed)


@dataclass(frozen=True)
class Trial:
    """Runs of an arm that are trained for a moment."""

    arm: PlannedArm
    runs: Sequence[Run]
    trainer: Trainer
    waits: list[float]  # times as long as at work each training took, if long enough to tell

    def timed(self, steps: int, dense: int = 0, measured: bool = False) -> float:
        """Processor seconds of a short training."""
        config = self.arm.config
        evaluate = EvaluateConfig(dense, 1e9)
        train = replace(config.train, steps=steps, evaluate=evaluate, stop_when_reached=False)
        measure = replace(config.measure, schedule={"every": 1}) if measured else MeasureConfig(name="none")
        short = replace(config, train=train, measure=measure)
        began, busy = time.perf_counter(), time.thread_time()
        self.trainer.train(short, self.runs, self.arm.data, lambda done: None)
        worked = time.thread_time() - busy
        if worked > TRIAL / 4:
            self.waits.append((time.perf_counter() - began) / worked)
        return worked


def tried(arm: PlannedArm, compiled: bool, waits: list[float]) -> Pace:
    """The factors of an arm's class, from short trainings: of no step, of some, with evaluations, with measures."""
    stands_for = arm.trainer[0].name == "kernel" and not compiled
    trainer = named("stacked") if stands_for else arm.trainer[0]
    nominal = pace(arm)
    if stands_for:
        nominal = pace(replace(arm, config=replace(arm.config, engine=replace(arm.config.engine, name="stacked"))))
    runs = chunks_of(arm, arm.config.runs, 1)[0]
    if arm.sees_whole_net:  # which takes long enough once
        runs = [run for run in runs if run.seed == runs[0].seed]
    least = 1 if trainer.name == "single" else 2  # a lone run is trained beside a copy
    runs = runs[: int(min(RUNS, max(least, TRIAL / 4 / nominal.step)))]
    r, seeds = max(len(runs), least), len({run.seed for run in runs})
    trial = Trial(arm, runs, trainer, waits)

    def shortest(*asked: Any) -> float:
        took = trial.timed(*asked)
        return took if took > 4 * TRIAL else min(took, trial.timed(*asked))

    first = trial.timed(0)
    none = shortest(0)
    # evaluated are the first step, its next and the last, or all
    n = int(min(STEPS, max(3, TRIAL / nominal.step / r)))
    some, dense = shortest(n), shortest(n, n)
    evaluation = (dense - some) / (n - 2)
    step = (some - none - 2 * evaluation) / n
    start = (first if arm.sees_whole_net else none) - evaluation
    look = nominal.look * r
    if counts(arm).look:
        m = int(min(STEPS, max(2, TRIAL / nominal.look / r)))
        look = (shortest(m, 0, True) - none - 2 * evaluation - step * m) / (m + 1)
    found = Pace(start / seeds, step / r, evaluation / r, look / r)
    return Pace(*(min(max(a / b, LEAST), MOST) for a, b in zip(found, nominal)))


def speed() -> float:
    """How many times as long as the machine of docs/performance.md this one takes for plain Python and small arrays."""

    def once() -> float:
        began = time.thread_time()
        total, array = 0.0, np.arange(1000.0)
        for i in range(4000):
            total += float(array[i % 1000]) + len(str(i))
            if i % 10 == 0:
                array = np.sqrt(array * array)
        return time.thread_time() - began

    return min(once() for _ in range(5)) / REFERENCE
