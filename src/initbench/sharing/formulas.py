"""Weights that are small formulas of stored tensors, each with its pull-back written out.

R runs, m = fan_out, n = fan_in. Every operation acts on one run at a time, and products and sums are separate (no fused
multiply-add over a whole stack), so that a run's bits do not depend on its stack-mates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from initbench import rng
from initbench.sharing.scheme import Formula

if TYPE_CHECKING:
    from torch import Tensor


class Named(Formula):
    """A formula whose fields of text name the stored tensors that it reads, in their order."""

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(value for value in vars(self).values() if isinstance(value, str))


@dataclass(frozen=True)
class Transposed(Named):
    """W_dec = W_enc^T (tied autoencoders; Press & Wolf 2017)."""

    encoder: str  # (R, m, n)

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        return stored[self.encoder].transpose(1, 2)

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        return {self.encoder: grad.transpose(1, 2)}


@dataclass(frozen=True)
class Itself(Named):
    """W = stored: a layer that uses its group's tensor as it is, beside layers that do not."""

    base: str

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        return stored[self.base]

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        return {self.base: grad}


@dataclass(frozen=True)
class LowRankDelta(Named):
    """W_l = W0 + B_l A_l, B (m, r), A (r, n) (relaxed recursive sharing, 2410.20672)."""

    base: str
    left: str
    right: str
    flops: int

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        return stored[self.base] + stored[self.left] @ stored[self.right]

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        return {
            self.base: grad,
            self.left: grad @ stored[self.right].transpose(1, 2),
            self.right: stored[self.left].transpose(1, 2) @ grad,
        }


@dataclass(frozen=True)
class Scaled(Named):
    """W_l = diag(s_l) W0 diag(t_l), s (m,), t (n,) (BatchEnsemble)."""

    base: str
    out: str
    into: str
    flops: int

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        return stored[self.base] * stored[self.out].unsqueeze(2) * stored[self.into].unsqueeze(1)

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        s, t = stored[self.out].unsqueeze(2), stored[self.into].unsqueeze(1)
        product = grad * stored[self.base]
        return {
            self.base: grad * s * t,
            self.out: (product * t).sum(2),
            # rows first: a sum down the columns may be taken in an order that depends on the stack
            self.into: (product * s).transpose(1, 2).contiguous().sum(2),
        }


@dataclass(frozen=True)
class Coefficients(Named):
    """W_l = sum_j a_lj T_j over a bank T (k, m, n) (Savarese & Maire 2019)."""

    bank: str
    coefficients: str
    flops: int

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        bank, a = stored[self.bank], stored[self.coefficients][:, :, None, None]
        total = a[:, 0] * bank[:, 0]
        for j in range(1, bank.shape[1]):
            total = total + a[:, j] * bank[:, j]
        return total

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        bank, a = stored[self.bank], stored[self.coefficients][:, :, None, None]
        return {
            self.bank: a * grad.unsqueeze(1),
            self.coefficients: (bank * grad.unsqueeze(1)).flatten(2).sum(2),
        }


@dataclass(frozen=True)
class Basis(Named):
    """W_l = B C_l, B (m, r) common to all layers, C_l (r, n) (2410.03765)."""

    basis: str
    own: str
    flops: int

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        return stored[self.basis] @ stored[self.own]

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        return {
            self.basis: grad @ stored[self.own].transpose(1, 2),
            self.own: stored[self.basis].transpose(1, 2) @ grad,
        }


@dataclass(frozen=True)
class Turned(Named):
    """W_l = P_l W0 Q_l, P (m, m) and Q (n, n) orthogonal and frozen: permutations or rotations."""

    base: str
    out: str
    into: str
    flops: int

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        return stored[self.out] @ stored[self.base] @ stored[self.into]

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        return {self.base: stored[self.out].transpose(1, 2) @ grad @ stored[self.into].transpose(1, 2)}


@dataclass(frozen=True, eq=False)
class Indexed(Named):
    """W_ij = sign_ij v_index(i,j): every entry of the weight is plus or minus one stored number.

    Hashed weights, circulant and block-circulant matrices are this with another index; see `hashed`, `circulant`,
    `block_circulant`. `index`, `sign` (m, n).
    """

    values: str
    index: np.ndarray
    sign: np.ndarray

    @property
    def flops(self) -> int:  # type: ignore[override]
        return 3 * self.index.size

    @cached_property
    def _flat(self) -> tuple[Tensor, Tensor]:
        import torch

        return torch.from_numpy(self.index.reshape(-1)), torch.from_numpy(self.sign.reshape(-1))

    def _on(self, like: Tensor) -> tuple[Tensor, Tensor]:
        index, sign = self._flat
        return index.to(like.device), sign.to(like)

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        index, sign = self._on(stored[self.values])
        return (stored[self.values].index_select(1, index) * sign).unflatten(1, self.index.shape)

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        index, sign = self._on(grad)
        total = grad.new_zeros(stored[self.values].shape)
        return {self.values: total.scatter_add_(1, index.expand(len(grad), -1), grad.flatten(1) * sign)}

    def start(self, matrix: Tensor) -> Tensor:
        """Values from a full matrix (m, n) of the initializer: v_k = sign W at the first entry that uses v_k, so that
        each value follows the law of an entry with the layer's true fans."""
        first = np.unique(self.index, return_index=True)[1]
        _, sign = self._flat
        return matrix.reshape(-1)[first] * sign[first].to(matrix)


def compact(index: np.ndarray) -> np.ndarray:
    """The index renumbered to 0..K-1 so that only values in use are stored.

    >>> compact(np.array([[5, 2], [2, 9]]))
    array([[1, 0],
           [0, 2]])
    """
    return np.unique(index, return_inverse=True)[1].reshape(index.shape).astype(np.int64)


def hashed(shape: tuple[int, int], ratio: float, layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Index and sign of hashed weights: each entry goes to one of ceil(ratio m n) values with a random sign; values
    that no entry hits are not stored (HashedNets, Chen et al. 2015).

    The hash belongs to the scheme and the layer, not to the seed of a run.

    >>> index, sign = hashed((4, 5), 0.25, layer=1)
    >>> int(index.max()) < 5, sorted(set(sign.ravel().tolist()))
    (True, [-1.0, 1.0])
    """
    draw = rng.numpy_stream(0, "hashed", layer)
    values = math.ceil(ratio * prod(shape) - 1e-9)
    index = draw.integers(values, size=shape)
    return compact(index), draw.choice([-1.0, 1.0], size=shape)


def hashed_together(
    shapes: Mapping[int, tuple[int, int]], ratio: float
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Index and sign of several layers' weights in one bucket array: the entries of all of them, by layer, go to one of
    ceil(ratio sum m n) values with a random sign; values that no entry hits are not stored.

    >>> index, sign = hashed_together({1: (4, 5), 2: (2, 4)}, 0.25)
    >>> max(int(one.max()) for one in index.values()) < 7, index[2].shape
    (True, (2, 4))
    """
    values = math.ceil(ratio * sum(prod(shape) for shape in shapes.values()) - 1e-9)
    index: list[np.ndarray] = []
    sign: dict[int, np.ndarray] = {}
    for layer, shape in shapes.items():
        draw = rng.numpy_stream(0, "hashed_global", layer)
        index.append(draw.integers(values, size=prod(shape)))
        sign[layer] = draw.choice([-1.0, 1.0], size=shape)
    parts = np.split(compact(np.concatenate(index)), np.cumsum([len(part) for part in index])[:-1])
    return {layer: part.reshape(shapes[layer]) for layer, part in zip(shapes, parts)}, sign


def circulant(shape: tuple[int, int], layer: int) -> tuple[np.ndarray, np.ndarray]:
    """Index and sign of W = R D: R circulant, R_ij = r_(j-i mod n), D random signs of the inputs; m > n stacks
    ceil(m / n) circulants and cuts the last, m < n keeps the first m rows (Cheng et al. 2015).

    >>> circulant((3, 3), layer=1)[0]
    array([[0, 1, 2],
           [2, 0, 1],
           [1, 2, 0]])
    """
    n = shape[1]
    i, j = np.indices(shape)
    index = i // n * n + (j - i) % n
    signs = rng.numpy_stream(0, "circulant", layer).choice([-1.0, 1.0], size=n)
    return compact(index), np.broadcast_to(signs, shape).copy()


def block_circulant(shape: tuple[int, int], block: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of blocks (b, b), each circulant from a vector of b values; blocks at the edge are cut (CirCNN, Ding et
    al. 2017). All signs are +1.

    >>> block_circulant((4, 2), 2)[0]
    array([[0, 1],
           [1, 0],
           [2, 3],
           [3, 2]])
    """
    i, j = np.indices(shape)
    across = -(-shape[1] // block)
    index = (i // block * across + j // block) * block + (j - i) % block
    return compact(index), np.ones(shape)
