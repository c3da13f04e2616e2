"""How the compiled code finds things in memory: tensors of a run, work buffers, the table of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from initbench.config.groups import LayerSpec, OptimConfig
from initbench.engine.kernel import places as at
from initbench.engine.optim import betas_of, momentum_at
from initbench.sharing import Scheme

LANES = 16  # floats of a vector
BLOCK = 128  # samples at once: activations of a wide layer stay in the second cache
FLOAT = 4  # bytes
LINE = 64  # bytes of a cache line


def padded(n: int) -> int:
    """n floats in whole vectors.

    >>> padded(16), padded(17)
    (16, 32)
    """
    return -(-n // LANES) * LANES


def row_length(n: int) -> int:
    """Floats from one row of n to the next: whole vectors, an odd number of them where rows are long, so that a column
    does not crowd into few places of the first cache.

    >>> row_length(10), row_length(64), row_length(128)
    (16, 64, 144)
    """
    vectors = padded(n) // LANES
    return LANES * (vectors + (vectors % 2 == 0 and vectors >= 8))


@dataclass(frozen=True)
class Place:
    """Where a stored tensor lies among a run's floats: the first, its shape, floats from row to row."""

    first: int
    shape: tuple[int, ...]  # (fan_out, fan_in) or (fan_out,)
    ld: int

    @property
    def size(self) -> int:
        """Floats taken, padding included."""
        return math.prod(self.shape[:-1]) * self.ld

    def view(self, floats: Tensor) -> Tensor:
        """(R, *shape) of (R, P)."""
        return floats[:, self.first : self.first + self.size].unflatten(1, (*self.shape[:-1], self.ld))[
            ..., : self.shape[-1]
        ]


def layout(scheme: Scheme) -> tuple[dict[str, Place], int]:
    """The place of every stored tensor, and the floats P of a run. Padding is zero and stays it."""
    found: dict[str, Place] = {}
    end = 0
    for slot in scheme.slots:
        found[slot.name] = Place(end, slot.shape, row_length(slot.shape[-1]))
        end += found[slot.name].size
    return found, end


def means_over(scheme: Scheme, tensors: dict[str, Place]) -> np.ndarray:
    """(shared tensors, 3): first float, floats, and uses that the gradient is the mean of; empty if it is the sum."""
    shared = [s for s in scheme.slots if scheme.reduce == "mean" and len(s.layers) > 1]
    rows = [[tensors[s.name].first, tensors[s.name].size, len(s.layers)] for s in shared]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


class Buffers:
    """Work memory of one thread, zeros at first. Notes its addresses and row lengths in the plan."""

    def __init__(self, layers: Sequence[LayerSpec], plan: np.ndarray, batch: int, held: int) -> None:
        ld, ld_held = row_length(batch), row_length(min(held, BLOCK))
        ldx, ldr = row_length(layers[0].fan_in), row_length(max(layer.fan_in for layer in layers))
        plan[[at.LD, at.LD_HELD, at.LDX, at.LDR]] = ld, ld_held, ldx, ldr
        lanes, blocks = max(ld, ld_held), -(-held // BLOCK)
        inputs, outputs = padded(layers[0].fan_in), layers[-1].fan_out
        parts = {
            at.BATCH_X: inputs * ld,
            at.BATCH_LABELS: ld,
            at.BATCH_TARGETS: outputs * ld,
            at.X_ROWS: lanes * ldx,
            at.H_ROWS: lanes * ldr,
            at.HELD_X: blocks * inputs * ld_held,
            at.HELD_LABELS: blocks * ld_held,
            at.HELD_TARGETS: blocks * outputs * ld_held,
            **dict.fromkeys((at.ZEROS, at.LIVE, at.LOSS, at.TOP, at.TOTAL), max(lanes, LANES)),
        }
        units = [padded(layer.fan_out) * lanes for layer in layers]
        widest = max(units)
        # gradients of two layers live at once: they take turns
        lengths = [*parts.values(), *units, *units, widest, widest]
        self.memory = np.zeros(sum(lengths) + LINE, dtype=np.float32)
        start = -(-self.memory.ctypes.data // LINE) * LINE
        ends = start + FLOAT * np.cumsum(lengths)
        addresses = [start, *ends[:-1].tolist()]
        plan[list(parts)] = addresses[: len(parts)]
        rest = addresses[len(parts) :]
        self.z, self.h, self.dz = rest[: len(units)], rest[len(units) : -2], rest[-2:]


def net_table(layers: Sequence[LayerSpec], scheme: Scheme, tensors: dict[str, Place], buffers: Buffers) -> np.ndarray:
    """The table of layers that net.py reads, (layers, 12)."""
    rows = []
    for layer in layers:
        i = layer.index
        weight, w = scheme.weight_slot[i], tensors[scheme.weight_slot[i].name]
        bias = scheme.bias_slot[i] if scheme.biases else None
        b = -1 if bias is None else tensors[bias.name].first * FLOAT
        rows.append(
            [
                *(layer.fan_out, layer.fan_in, w.ld, w.first * FLOAT, b, w.first * FLOAT, b),
                *(buffers.z[i], buffers.h[i], buffers.dz[i % 2]),
                *(i == weight.layers[-1], bias is not None and i == bias.layers[-1]),
            ]
        )
    return np.array(rows, dtype=np.int64)


def constants(c: OptimConfig, steps: range) -> np.ndarray:
    """(T, 8): what an update rule uses at a step (see rules.py): weight decay, momentum, 1 - beta1, beta2 or alpha and
    1 - that, eps, and Adam's corrections for moments that start at 0, sqrt(1 - beta2^t) and 1 - beta1^t."""
    beta1, beta2 = betas_of(c)
    keep = (0.99 if c.alpha is None else c.alpha) if c.name == "rmsprop" else beta2
    eps = (1e-10 if c.name == "adagrad" else 1e-8) if c.eps is None else c.eps
    fixed = [1 - beta1, keep, 1 - keep, eps]
    rows = [
        [c.weight_decay, momentum_at(c, t), *fixed, math.sqrt(1 - beta2 ** (t + 1)), 1 - beta1 ** (t + 1)]
        for t in steps
    ]
    return np.array(rows)
