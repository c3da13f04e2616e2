"""A chunk of runs on the kernel: everything around the compiled loop. Measures are those of the torch path.

Steps go in segments that end where something is measured, so the compiled loop is called a few dozen times a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from initbench.config import ArmConfig
from initbench.data import Dataset
from initbench.engine import fused, optim
from initbench.engine.chunk import Chunk
from initbench.engine.kernel import compiled, rules, training
from initbench.engine.kernel.net import FLOAT
from initbench.engine.kernel.vector import LANES
from initbench.engine.material import Material, Seeds, batch_size
from initbench.engine.recorder import Recorder
from initbench.measure import chosen, measure
from initbench.schedule import evaluation_steps, measure_steps
from initbench.sharing import Scheme, Slot

LONGEST = 256  # steps of a segment: sample numbers of that many batches are held at once


def padded(n: int) -> int:
    """n floats in whole vectors."""
    return -(-n // LANES) * LANES


def row_length(n: int) -> int:
    """Floats between rows of n: whole vectors, an odd number of them for long rows, so that a column does not fall on
    few places of the first cache."""
    vectors = padded(n) // LANES
    return LANES * (vectors + (vectors % 2 == 0 and vectors >= 8))


@dataclass(frozen=True)
class Place:
    """Where a stored tensor lies in a run's parameters: first float, rows, columns, floats between rows."""

    first: int
    rows: int
    columns: int
    ld: int

    def view(self, parameters: Tensor) -> Tensor:
        """(R, rows, columns) of (R, P)."""
        return parameters[:, self.first : self.first + self.rows * self.ld].unflatten(1, (self.rows, self.ld))[
            ..., : self.columns
        ]


def layout(scheme: Scheme) -> tuple[dict[str, Place], int]:
    """The place of every stored tensor, and the floats of a run; rows are padded by zeros."""
    places, end = {}, 0
    for slot in scheme.slots:
        rows, columns = slot.shape if len(slot.shape) == 2 else (1, slot.shape[0])
        places[slot.name] = Place(end, rows, columns, row_length(columns))
        end += rows * places[slot.name].ld
    return places, end


class Buffers:
    """Work memory of one thread, zeros at first; `at` holds the addresses of its parts."""

    def __init__(self, material: Material, batch: int, held: int) -> None:
        layers = material.layers
        block = padded(min(training.BLOCK, batch))
        held_block = padded(min(training.BLOCK, held))
        blocks = -(-held // training.BLOCK)
        self.ld, self.ld_held = row_length(block), row_length(held_block)
        lanes, inputs, outputs = max(self.ld, self.ld_held), padded(layers[0].fan_in), layers[-1].fan_out
        self.ldx = row_length(layers[0].fan_in)
        self.ldr = row_length(max(layer.fan_in for layer in layers))
        widest = max(padded(max(layer.fan_in, layer.fan_out)) for layer in layers)
        lengths = {
            training.X: inputs * lanes,
            training.X_ROWS: lanes * self.ldx,
            training.DZ: widest * lanes,
            training.DZ_OTHER: widest * lanes,
            training.H_ROWS: lanes * self.ldr,
            **dict.fromkeys((training.ZEROS, training.TOP, training.TOTAL, training.LOSS), lanes),
            **dict.fromkeys((training.LABELS, training.LIVE), lanes),
            training.TARGETS: outputs * lanes,
            training.HELD_X: blocks * inputs * self.ld_held,
            training.HELD_LABELS: blocks * self.ld_held,
            training.HELD_TARGETS: blocks * outputs * self.ld_held,
        }
        units = [padded(layer.fan_out) * lanes for layer in layers]
        total = sum(map(padded, (*lengths.values(), *units, *units))) + LANES
        self.memory = np.zeros(total, dtype=np.float32)
        start = -(-self.memory.ctypes.data // 64) * 64
        self.at = np.zeros(len(lengths), dtype=np.int64)
        for place, length in lengths.items():
            self.at[place] = start
            start += padded(length) * FLOAT
        self.z, self.h = [], []
        for count in units:
            self.z.append(start)
            self.h.append(start + count * FLOAT)
            start += 2 * count * FLOAT

    def table(self, material: Material, places: dict[str, Place]) -> np.ndarray:
        """The table of layers that net.py reads, (layers, 9)."""
        scheme = material.scheme
        rows = []
        for layer in material.layers:
            weight = scheme.weight_slot[layer.index]
            bias = scheme.bias_slot[layer.index] if scheme.biases else None
            rows.append(
                [
                    *(layer.fan_out, layer.fan_in, places[weight.name].ld, places[weight.name].first * FLOAT),
                    -1 if bias is None else places[bias.name].first * FLOAT,
                    *(self.z[layer.index], self.h[layer.index]),
                    layer.index == weight.layers[-1],
                    bias is not None and layer.index == bias.layers[-1],
                ]
            )
        return np.array(rows, dtype=np.int64)


def run_chunk(
    arm: ArmConfig, runs: Sequence[tuple[int, float]], data: Dataset, progress: fused.Progress = lambda done: None
) -> Chunk:
    """Train the runs (seed, lr) of an arm; as `fused.run_chunk`, in float32 on the processor."""
    with torch.no_grad():
        return Training(Material(arm, data), list(runs)).train(progress)


class Training:
    """R runs, their parameters (R, P) and optimizer state, and what the compiled loop needs."""

    def __init__(self, material: Material, runs: list[tuple[int, float]]) -> None:
        self.material, self.runs = material, runs
        arm = material.arm
        # Measures are taken by torch on the whole stack; a lone run would take another path through BLAS there.
        stacked = runs if len(runs) > 1 else [runs[0], runs[0]]
        self.seeds = Seeds(material, tuple(sorted({seed for seed, _ in runs})))
        self.row = np.array([self.seeds.seeds.index(seed) for seed, _ in stacked], dtype=np.int64)
        rates = torch.tensor([lr for _, lr in stacked], dtype=material.dtype)
        self.stack = fused.Stack(material, self.seeds, torch.from_numpy(self.row), rates)
        self.places, size = layout(material.scheme)
        self.parameters = torch.zeros(len(stacked), size)
        self.previous = torch.zeros(0)
        self.from_stack()
        self.first, self.second = (np.zeros((len(stacked), size), dtype=np.float32) for _ in range(2))
        self.gradients = np.zeros(size, dtype=np.float32)
        self.broken = np.zeros(len(stacked), dtype=bool)
        self.diverged = np.full(len(stacked), -1, dtype=np.int64)
        parts = [self.seeds.first(part, arm.train.eval_samples).numpy() for part in ("train", "val")]
        self.cut = parts[0].shape[1]
        self.held = np.ascontiguousarray(np.concatenate(parts, axis=1), dtype=np.int32)
        self.batch = batch_size(arm, len(self.seeds.splits[0].train))
        self.buffers = Buffers(material, self.batch, self.held.shape[1])
        self.net = self.buffers.table(material, self.places)
        self.to = np.array(compiled.addresses(arm.model.activation, arm.optim.name), dtype=np.int64)
        self.uses = uses(material.scheme, self.places)
        self.load_data()

    def load_data(self) -> None:
        """Data as float32 arrays: labels as numbers, targets where the loss looks at values."""
        m, s = self.material, self.seeds
        count = len(m.data.x)
        self.x = np.ascontiguousarray(m.x.numpy())
        values = m.loss == "squared_error"
        classes = m.data.classes is not None
        self.labels = m.data.y.astype(np.float32) if classes else np.zeros(count, dtype=np.float32)
        self.targets = np.ascontiguousarray(m.y.numpy()) if values else np.zeros((count, 0), dtype=np.float32)
        k = self.targets.shape[1]
        self.mean = np.ascontiguousarray(s.mean[:, 0].numpy())
        self.inverse = np.ascontiguousarray(s.inverse_scale[:, 0, 0].numpy())
        plain = values and not classes
        seeds = len(s.seeds)
        self.target_mean = np.ascontiguousarray(s.target_mean[:, 0].numpy()) if plain else np.zeros((seeds, k), "f4")
        scale = s.target_inverse_scale[:, 0, 0].numpy() if plain else np.ones(seeds, dtype=np.float32)
        self.target_inverse = np.ascontiguousarray(scale)

    def train(self, progress: fused.Progress) -> Chunk:
        """All steps with what is evaluated and measured on the way."""
        arm = self.material.arm
        train = arm.train
        evaluated = set(evaluation_steps(train.steps, train.evaluate.dense, train.evaluate.ratio))
        names = chosen(arm.measure)
        measured = set(measure_steps(train.steps, arm.measure.schedule)) if names else set()
        recorder = Recorder(self.material.scheme)
        probe = self.stack.on_runs(*self.seeds.probe()) if names else None
        batches = self.seeds.batches()
        for first, last in pairwise(bounds(train.steps, measured)):
            if first in measured and probe is not None:
                recorder.add(first, self.measure(probe, first, names))
            self.previous = self.parameters.clone() if last in measured else self.previous
            steps = range(first, last)
            losses, values = self.segment(steps, np.array([t in evaluated for t in steps]), batches)
            for t in steps:
                if t in evaluated:
                    recorder.add(t, {name: values[:, t - first, i] for i, name in enumerate(self.evaluated_names)})
                if t in measured:
                    recorder.add(t, {"loss/batch": losses[:, t - first]})
            progress(min(last, train.steps) * len(self.runs) - first * len(self.runs))
        return recorder.chunk(self.runs, torch.from_numpy(self.diverged))

    @property
    def evaluated_names(self) -> tuple[str, ...]:
        """What evaluation gives."""
        accuracies = ("accuracy/train", "accuracy/val") if self.material.data.classes is not None else ()
        return ("loss/train", "loss/val", *accuracies)

    def segment(self, steps: range, evaluated: np.ndarray, batches: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
        """Train these steps; returns batch losses (R, T) and evaluations (R, T, 4), NaN where there are none."""
        arm, runs, b = self.material.arm, len(self.row), self.buffers
        index = np.stack([next(batches).numpy() for _ in steps], axis=1).astype(np.int32)
        factors = np.array([optim.lr_factor(arm.optim, t, max(arm.train.steps, 1)) for t in steps])
        losses = np.full((runs, len(steps)), np.nan, dtype=np.float32)
        values = np.full((runs, len(steps), 4), np.nan, dtype=np.float32)
        size = np.zeros(11, dtype=np.int64)
        size[[training.LD, training.LDX, training.LDR, training.LD_HELD]] = b.ld, b.ldx, b.ldr, b.ld_held
        size[[training.INPUTS, training.OUTPUTS]] = self.x.shape[1], self.material.layers[-1].fan_out
        size[[training.CUT, training.CLASSES]] = self.cut, self.material.data.classes is not None
        size[training.SQUARED] = self.material.loss == "squared_error"
        size[training.UPDATE_LAST] = steps[-1] < arm.train.steps
        size[training.FIRST_STEP] = steps[0]
        compiled.segment()(
            *(self.net, self.parameters.numpy(), self.first, self.second, self.gradients),
            *(self.x, self.labels, self.targets, self.row),
            *(self.mean, self.inverse, self.target_mean, self.target_inverse),
            *(index, self.held, evaluated),
            (self.stack.lr.numpy()[:, None] * factors.astype(np.float32)).astype(np.float32),
            np.array([rules.constants(arm.optim, t + 1) for t in steps], dtype=np.float32),
            *(self.uses, np.float32(arm.optim.clip or 0.0), b.at, size, self.to),
            *(losses, values, self.broken, self.diverged),
        )
        return torch.from_numpy(losses), torch.from_numpy(values)

    def measure(self, probe: tuple[Tensor, Tensor], step: int, names: Sequence[str]) -> dict[str, Tensor]:
        """The measures of the torch path on the stack's present parameters."""
        previous = None
        if step > 0:
            previous = {
                name: place.view(self.previous).reshape_as(self.stack.stored[name])
                for name, place in self.places.items()
            }
        self.to_stack()
        return measure(self.stack.probe(probe, *self.stack.weights(), previous), names)

    def from_stack(self) -> None:
        """Parameters as the stack holds them into the kernel's padded rows."""
        for name, place in self.places.items():
            place.view(self.parameters).copy_(self.stack.stored[name].reshape(-1, place.rows, place.columns))

    def to_stack(self) -> None:
        """And back."""
        for name, place in self.places.items():
            stored = self.stack.stored[name]
            stored.copy_(place.view(self.parameters).reshape_as(stored))


def uses(scheme: Scheme, places: dict[str, Place]) -> np.ndarray:
    """(shared tensors, 3): first float, floats, and uses to average over; empty unless `reduce` is mean."""
    shared: list[Slot] = [s for s in scheme.slots if scheme.reduce == "mean" and len(s.layers) > 1]
    rows = [[places[s.name].first, places[s.name].rows * places[s.name].ld, len(s.layers)] for s in shared]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def bounds(steps: int, measured: set[int]) -> list[int]:
    """Where segments begin, and steps + 1: at measured steps and the step before each, and after LONGEST steps.

    >>> bounds(10, {0, 1, 4, 10})
    [0, 1, 3, 4, 9, 10, 11]
    """
    cuts = {0, steps + 1} | {t for m in measured for t in (m - 1, m) if t >= 0}
    cuts |= set(range(0, steps, LONGEST))
    return sorted(cuts)
