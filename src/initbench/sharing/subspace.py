"""Training in a random subspace: theta = theta_0 + P z, all weights and biases from a few trained numbers z (Li et al. 2018,
1804.08838).

theta_0 is what the initializer draws by the seed, and stays. P has columns of norm 1; it belongs to the scheme and the
shape of the net, not to the seed of a run, so that all runs of a stack use one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from initbench import rng
from initbench.config.groups import LayerSpec, SharingConfig
from initbench.errors import inapplicable
from initbench.memory import check_fits
from initbench.sharing.composed import zeros
from initbench.sharing.parts import Parts, main_slots
from initbench.sharing.scheme import Formula, Slot

if TYPE_CHECKING:
    from torch import Tensor


@lru_cache(maxsize=2)
def dense(rows: int, columns: int) -> np.ndarray:
    """Gaussian columns of norm 1, (rows, columns).

    >>> bool(np.allclose(np.linalg.norm(dense(50, 3), axis=0), 1))
    True
    """
    drawn = rng.numpy_stream(0, "intrinsic", "dense").standard_normal((rows, columns))
    drawn /= np.sqrt(np.square(drawn).sum(0))
    return drawn


def entries_of(rows: int) -> int:
    """Entries that are not 0 in each column of a sparse P: ceil sqrt(rows).

    >>> entries_of(100), entries_of(101)
    (10, 11)
    """
    return math.isqrt(rows - 1) + 1


@lru_cache(maxsize=2)
def sparse(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and values of the entries that are not 0, by row: k = ceil sqrt(rows) a column, +-1/sqrt k at places
    drawn without replacement (after Li, Hastie & Church 2006, whose entries are not 0 with probability 1/sqrt(rows)).
    """
    draw, k = rng.numpy_stream(0, "intrinsic", "sparse"), entries_of(rows)
    row = np.concatenate([draw.choice(rows, size=k, replace=False) for _ in range(columns)])
    column = np.repeat(np.arange(columns), k)
    value = draw.choice([-1.0, 1.0], size=k * columns) / math.sqrt(k)
    order = np.lexsort((column, row))
    return row[order], column[order], value[order]


@dataclass(frozen=True, eq=False)
class Projected(Formula):
    """theta_0 + P z of one weight or bias: the rows `first` to `first + size - 1` of P (rows, columns)."""

    start: str  # theta_0
    moved: str  # z
    shape: tuple[int, ...]
    first: int
    rows: int
    columns: int
    kind: str  # dense | sparse
    held: dict[Any, Any] = field(default_factory=dict)  # the rows of P as tensors, by type and device

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.start, self.moved)

    @property
    def flops(self) -> int:  # type: ignore[override]
        share = 1.0 if self.kind == "dense" else entries_of(self.rows) / self.rows
        return round(prod(self.shape) * (1 + 4 * self.columns * share))

    def table(self) -> tuple[np.ndarray, ...]:
        """Its rows of P: (size, columns), or rows, columns and values of the entries that are not 0."""
        last = self.first + prod(self.shape)
        if self.kind == "dense":
            return (dense(self.rows, self.columns)[self.first : last],)
        row, column, value = sparse(self.rows, self.columns)
        inside = slice(*np.searchsorted(row, [self.first, last]))
        return row[inside] - self.first, column[inside], value[inside]

    def on(self, like: Tensor) -> tuple[Tensor, ...]:
        import torch

        key = (like.dtype, like.device)
        if key not in self.held:
            found = [torch.from_numpy(np.ascontiguousarray(one)) for one in self.table()]
            self.held[key] = tuple(one.to(like) if one.is_floating_point() else one.to(like.device) for one in found)
        return tuple(self.held[key])

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        start, z = stored[self.start], stored[self.moved]
        if self.kind == "dense":
            (p,) = self.on(z)
            step = (p.expand(len(z), -1, -1) @ z.unsqueeze(2)).squeeze(2)
        else:
            row, column, value = self.on(z)
            parts = z.index_select(1, column) * value
            step = z.new_zeros(len(z), prod(self.shape)).scatter_add_(1, row.expand(len(z), -1), parts)
        return start + step.unflatten(1, self.shape)

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        flat, count = grad.flatten(1), len(grad)
        if self.kind == "dense":
            (p,) = self.on(grad)
            back = (flat.unsqueeze(1) @ p.expand(count, -1, -1)).squeeze(1)
        else:
            row, column, value = self.on(grad)
            parts = flat.index_select(1, row) * value
            back = grad.new_zeros(count, self.columns).scatter_add_(1, column.expand(count, -1), parts)
        return {self.start: grad, self.moved: back}


def intrinsic(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """theta = theta_0 + P z: sharing.dimension trained numbers z, 0 at the start, for all weights and biases of the net."""
    every = range(len(layers))
    parts: list[tuple[str, tuple[int, ...]]] = [(f"weight_{i:02d}", layers[i].shape) for i in every]
    parts += [(f"bias_{i:02d}", (layers[i].fan_out,)) for i in every if layers[i].bias]
    rows, columns = sum(prod(shape) for _, shape in parts), config.dimension
    if columns > rows:
        raise inapplicable(
            f"sharing.dimension={columns}", f"the net has {rows} weights and biases", f"must be at most {rows}"
        )
    if config.projection == "dense":
        check_fits(
            f"sharing.dimension={columns}", 8 * rows * columns, "set sharing.projection=sparse, or a smaller one"
        )
    formulas, first = {}, 0
    for name, shape in parts:
        formulas[name] = Projected(name, "z", shape, first, rows, columns, config.projection)
        first += prod(shape)
    return Parts(
        main_slots([[i] for i in every], layers),
        extras=(Slot("z", (columns,), tuple(every)),),
        formulas={i: formulas[f"weight_{i:02d}"] for i in every},
        bias_formulas={i: formulas[f"bias_{i:02d}"] for i in every if layers[i].bias},
        fills={"z": zeros((columns,))},
        frozen=frozenset(formulas),
    )
