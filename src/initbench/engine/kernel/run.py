"""A chunk of runs on the kernel: all that stands around the compiled loop.

Light measures are taken inside it (measured.py). For others it stops at every measured step, and a stack in torch
takes them all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from initbench.config.arm import ArmConfig, Run
from initbench.data import Dataset
from initbench.engine import optim, stacked
from initbench.engine.kernel import compiled, measured
from initbench.engine.kernel import places as at
from initbench.engine.kernel.layout import BLOCK, Buffers, constants, layout, means_over, net_table
from initbench.engine.kernel.plan import Plan
from initbench.engine.loop import Progress
from initbench.engine.material import Material, Seeds, batch_size
from initbench.engine.recorder import Recorder
from initbench.engine.schedule import Schedule
from initbench.measure import PROBE_SAMPLES
from initbench.store.chunk import Chunk

LONGEST = 2**15  # samples of a segment's batches, whose numbers are held at once


def run_chunk(arm: ArmConfig, runs: Sequence[Run], data: Dataset, progress: Progress = lambda done: None) -> Chunk:
    """Train the runs (seed, lr) of an arm; as `stacked.run_chunk`, in float32 on the processor."""
    with torch.no_grad():
        return Training(Material(arm, data), list(runs)).train(progress)


def stored_after(arm: ArmConfig, run: Run, data: Dataset, updates: int) -> dict[str, np.ndarray]:
    """Every stored tensor of one run after so many updates."""
    with torch.no_grad():
        return Training(Material(arm, data), [run]).after(updates)


class Training:
    """R runs: their parameters and optimizer state (R, P), and the plan of their training."""

    def __init__(self, material: Material, runs: list[Run]) -> None:
        self.material, self.runs = material, runs
        arm, scheme = material.arm, material.scheme
        self.schedule = Schedule.of(arm, material.data.classes is not None)
        # Where torch takes the measures it does so on the whole stack; a lone run would take another path through BLAS.
        padded = runs if len(runs) > 1 else [runs[0], runs[0]]
        self.seeds = Seeds(material, tuple(sorted({seed for seed, _ in runs})))
        self.row = torch.tensor([self.seeds.seeds.index(seed) for seed, _ in padded])
        rates = torch.tensor([lr for _, lr in padded], dtype=material.dtype)
        self.stack = stacked.Stack(material, self.seeds, self.row, rates)
        self.tensors, size = layout(scheme)
        self.plan = Plan()
        state = (len(padded), size)
        self.parameters = torch.from_numpy(self.plan.put(at.STATE, np.zeros(state)))
        self.previous: Tensor | None = None
        for name, tensor in self.tensors.items():
            tensor.view(self.parameters).copy_(self.stack.stored[name])
        for place in (at.MOMENTS, at.SQUARES):
            self.plan.put(place, np.zeros(state))
        self.plan.put(at.GRADIENTS, np.zeros(size))
        self.plan.put(at.ROW, self.row, np.int64)
        self.plan.put(at.BROKEN, np.zeros(len(padded)), np.int64)
        self.diverged = self.plan.put(at.DIVERGED, np.full(len(padded), -1), np.int64)
        self.stopped = self.plan.put(at.STOPPED, np.full(len(padded), -1), np.int64)
        self.plan.put(at.CLIP, [arm.optim.clip or 0.0])
        shared = self.plan.put(at.MEAN_OVER, means_over(scheme, self.tensors), np.int64)
        self.plan.sizes(RUNS=len(padded), LAYERS=len(material.layers), PARAMETERS=size, SHARED=len(shared))
        self.put_data()
        self.put_goal()
        self.put_functions()
        parts = [self.seeds.first(part, arm.train.eval_samples).numpy() for part in ("train", "val")]
        held = self.plan.put(at.HELD_INDEX, np.concatenate(parts, axis=1), np.int32)
        batch = batch_size(arm, len(self.seeds.splits[0].train))
        self.plan.sizes(BATCH=batch, HELD=held.shape[1], CUT=parts[0].shape[1])
        self.buffers = Buffers(material.layers, self.plan.values, min(batch, BLOCK), held.shape[1])
        table = self.plan.put(at.NET, net_table(material.layers, scheme, self.tensors, self.buffers), np.int64)
        probed = self.seeds.first("train", PROBE_SAMPLES).shape[1]
        # the probe batch must be among the samples that are evaluated
        names = self.schedule.measures
        inside = bool(names) and set(names) <= set(measured.MEASURES) and probed <= parts[0].shape[1]
        about = (scheme, self.tensors, table, arm.model.activation, probed)
        self.looks = measured.Looks(self.plan, *about) if inside else None

    def put_data(self) -> None:
        """The data in their frame, and each seed's mean and scale."""
        m, s, plan = self.material, self.seeds, self.plan
        plan.put(at.X, m.x)
        plan.put(at.MEAN, s.mean[:, 0])
        plan.put(at.INVERSE, s.inverse_scale[:, 0, 0])
        squared, classes = m.loss == "squared_error", m.data.classes is not None
        if classes:
            plan.put(at.LABELS, m.data.y)
        if squared:
            shape = (len(s.seeds), m.data.outputs)
            plan.put(at.TARGETS, m.y)
            # the one-hot targets of classes are taken as they are
            plan.put(at.TARGET_MEAN, np.zeros(shape) if classes else s.target_mean[:, 0])
            plan.put(at.TARGET_INVERSE, np.ones(shape[0]) if classes else s.target_inverse_scale[:, 0, 0])
        plan.sizes(INPUTS=m.data.inputs, OUTPUTS=m.data.outputs, CLASSES=classes, SQUARED=squared)

    def put_goal(self) -> None:
        """Where runs stop early: which evaluation, at what value."""
        goal = self.schedule.goal
        self.plan.sizes(STOP=-1 if goal is None else self.evaluations.index(goal.metric))
        self.plan.put(at.GOAL, [goal.value if goal is not None else 0.0])

    def put_functions(self) -> None:
        """Addresses of what this net is made of."""
        arm = self.material.arm
        kinds = {
            at.PRODUCT_AT: ("product", "all"),
            at.PHI_AT: ("phi", arm.model.activation),
            at.PULL_AT: ("pull", arm.model.activation),
            at.LOSS_AT: ("loss", self.material.loss),
            at.RULE_AT: ("rule", arm.optim.name),
        }
        for place, kind in kinds.items():
            self.plan.values[place] = compiled.address(*kind)

    def train(self, progress: Progress) -> Chunk:
        """All steps with what is evaluated and measured on the way."""
        schedule, steps = self.schedule, self.schedule.steps
        recorder = Recorder(self.material.scheme, self.runs, len(self.row))
        by_torch = schedule.measures and self.looks is None
        stops = schedule.measured if by_torch else frozenset()
        batches = self.seeds.batches()
        longest = max(1, LONGEST // int(self.plan.values[at.BATCH]))
        for first, last in pairwise(bounds(steps, stops, longest)):
            if first in stops:
                recorder.add(first, self.measure(first))
                self.previous = None
            if last in stops:
                self.previous = self.parameters.clone()
            losses, values = self.segment(range(first, last), batches)
            for t in range(first, last):
                if t in schedule.evaluated:
                    recorder.add(t, dict(zip(self.evaluations, values[:, t - first].unbind(1))))
                if t in schedule.measured:
                    recorder.add(t, {"loss/batch": losses[:, t - first]})
            if self.looks is not None:
                for t, found in self.looks.values(schedule.measures):
                    recorder.add(t, found)
            progress((min(last, steps) - first) * len(self.runs))
        recorder.end(torch.from_numpy(self.diverged))
        chunk = recorder.chunk(may_stop=False)
        return chunk if schedule.goal is None else stopped_early(chunk, self.stopped, schedule.evaluated - {steps})

    def after(self, updates: int) -> dict[str, np.ndarray]:
        """The stored tensors of the first run after so many updates."""
        longest = max(1, LONGEST // int(self.plan.values[at.BATCH]))
        batches = self.seeds.batches()
        for first, last in pairwise(sorted({updates, *range(0, updates, longest)})):
            self.segment(range(first, last), batches)
        return {name: tensor.view(self.parameters)[0].numpy().copy() for name, tensor in self.tensors.items()}

    @property
    def evaluations(self) -> tuple[str, ...]:
        """What an evaluation gives."""
        accuracies = ("accuracy/train", "accuracy/val") if self.material.data.classes is not None else ()
        return ("loss/train", "loss/val", *accuracies)

    def segment(self, steps: range, batches: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """Train these steps; batch losses (R, T), and evaluations (R, T, 4) at evaluated steps."""
        plan, c, length = self.plan, self.material.arm.optim, self.material.arm.train.steps
        factors = torch.tensor([optim.lr_factor(c, t, max(length, 1)) for t in steps], dtype=self.material.dtype)
        plan.put(at.BATCH_INDEX, np.stack([next(batches).numpy() for _ in steps], axis=1), np.int32)
        plan.put(at.EVALUATED, [t in self.schedule.evaluated for t in steps], np.int64)
        plan.put(at.RATES, self.stack.lr[:, None] * factors)
        plan.put(at.CONSTANTS, constants(c, steps))
        if self.looks is None:
            plan.put(at.MEASURED, np.full(len(steps) + 1, -1), np.int64)
        else:
            self.looks.expect(steps, self.schedule.measured)
        shape = (len(self.row), len(steps))
        losses = plan.put(at.BATCH_LOSSES, np.full(shape, np.nan))
        values = plan.put(at.EVALUATIONS, np.full((*shape, 4), np.nan))
        plan.sizes(STEPS=len(steps), FIRST_STEP=steps[0], UPDATE_LAST=steps[-1] < length)
        compiled.entry()(plan.values.ctypes.data)
        return torch.from_numpy(losses), torch.from_numpy(values)

    def measure(self, step: int) -> dict[str, Tensor]:
        """The measures of a stack in torch on the runs' present parameters."""
        stack = self.stack
        if self.previous is not None:
            stack.previous = {name: tensor.view(self.previous).contiguous() for name, tensor in self.tensors.items()}
        for name, tensor in self.tensors.items():
            stack.stored[name].copy_(tensor.view(self.parameters))
        return stack.measure(step, self.schedule.measures)


def stopped_early(chunk: Chunk, stopped: np.ndarray, evaluated: frozenset[int]) -> Chunk:
    """The chunk with each run's values ending where it reached the target, or at the evaluation that saw it diverge."""
    taken = np.array(sorted(evaluated))
    last = stopped[: len(chunk.runs)].copy()
    for i in np.flatnonzero((last < 0) & (chunk.diverged_at >= 0)):
        seen = taken[taken >= chunk.diverged_at[i]]
        last[i] = seen[0] if len(seen) else -1
    for one in chunk.series.values():
        one.values[(last[:, None] >= 0) & (np.array(one.steps)[None, :] > last[:, None])] = np.nan
    return replace(chunk, stopped_at=last)


def bounds(steps: int, stops: Collection[int], longest: int) -> list[int]:
    """Where segments begin, and steps + 1: at stops and the step before each, and after `longest` steps.

    >>> bounds(10, {0, 1, 4, 10}, 100), bounds(10, set(), 5)
    ([0, 1, 3, 4, 9, 10, 11], [0, 5, 11])
    """
    cuts = {0, steps + 1} | {t for stop in stops for t in (stop - 1, stop) if t >= 0}
    return sorted(cuts | set(range(0, steps, longest)))
