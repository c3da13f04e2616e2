"""Sparse laws: by column as torch has them, by row as Martens meant them, and both."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import init as torch_init

from initbench.config.groups import LayerSpec
from initbench.errors import refusal
from initbench.initializers._draw import fans, put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.gains import gain_value
from initbench.initializers.registry import catalogued
from initbench.startup.late import stats

Generator = torch.Generator | None


def _order(weight: Tensor, dim: int, generator: Generator) -> Tensor:
    """Random ranks along a dimension, `(fan_out, fan_in)`: a permutation of 0.. in each column (dim 0) or row."""
    noise = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
    return noise.argsort(dim).argsort(dim).to(weight.device)


@catalogued(
    formula="N(0, std^2), then ceil(sparsity m) random entries of each column set to 0",
    source="torch (Martens 2010 is per row: sparse_k)",
    meant_for="torch's sparse_: each input loses a share of its outgoing weights",
    contract=Contract(
        "exactly ceil(sparsity m) zeros in every column, the others N(0, std^2)",
        law=lambda c: stats.norm(0, c["std"]),
        zeros=lambda c: c.n * math.ceil(c["sparsity"] * c.m),
        checks={
            "the same number of zeros in every column": lambda c, w, b: bool(
                ((w == 0).sum(0) == math.ceil(c["sparsity"] * c.m)).all()
            )
        },
        statistics={  # which entries go is random: the first row loses its share
            "share of zeros in row 0": (
                lambda c, w, b: float((w[0] == 0).double().mean()),
                lambda c: math.ceil(c["sparsity"] * c.m) / c.m,
            )
        },
        variants=({"sparsity": 0.5, "std": 1.0}, {"sparsity": 0.9, "std": 0.3}),
    ),
)
def sparse_(weight: Tensor, *, generator: Generator = None, sparsity: float = 0.1, std: float = 0.01) -> Tensor:
    """Normal draws with a share of zeros per COLUMN (outgoing weights of an input), shape (fan_out, fan_in).

    W ~ N(0, std^2), then in every column exactly ceil(sparsity m) entries, without replacement, become 0.
    Source: torch.nn.init.sparse_ (there the positions come from the global generator, here from `generator`).

    >>> int((sparse_(torch.empty(10, 4), sparsity=0.25) == 0).sum(0)[0])
    3
    """
    if not 0 <= sparsity <= 1:
        raise refusal(f"init.sparsity={sparsity}", "not allowed", "must be the share of zeros in a column, 0 to 1")
    torch_init.normal_(weight, 0.0, std, generator=generator)
    kept = _order(weight, 0, generator) >= math.ceil(sparsity * weight.shape[0])
    return put_(weight, weight * kept)


def _factor(c: Case) -> float:
    return c["std"] * (0.25 if c["tanh_rule"] and c.layer.activation == "tanh" else 1.0)


def _half_bias(c: Case, b: Tensor) -> bool:
    # the bias is handed over as ones; the last layer has no tanh behind it
    shifted = c["tanh_rule"] and c.layer.activation == "tanh" and not c.layer.last
    return bool((b == (0.5 if shifted else 1.0)).all())


@catalogued(
    formula="each row has exactly min(k, n) non-zeros, N(0, std^2); tanh_rule: times .25 and bias .5",
    source="Martens 2010, as restated in Sutskever et al. 2013",
    meant_for="every unit has k inputs at any width: no saturation, no symmetry",
    contract=Contract(
        "exactly min(k, n) non-zeros in every row, N(0, std^2) (times .25 by the tanh rule)",
        law=lambda c: stats.norm(0, _factor(c)),
        zeros=lambda c: c.m * max(0, c.n - c["k"]),
        checks={
            "min(k, n) non-zeros in every row": lambda c, w, b: bool(((w != 0).sum(1) == min(c["k"], c.n)).all()),
            "bias .5 by the tanh rule": lambda c, w, b: _half_bias(c, b),
        },
        statistics={
            "share of non-zeros in column 0": (
                lambda c, w, b: float((w[:, 0] != 0).double().mean()),
                lambda c: min(c["k"], c.n) / c.n,
            )
        },
        fills_bias=True,
        variants=({"k": 3, "std": 0.5}, {"tanh_rule": True}),
        activations=("relu", "tanh"),
        positions=("hidden", "last"),
    ),
)
def sparse_k_(
    weight: Tensor,
    *,
    generator: Generator = None,
    bias: Tensor | None = None,
    layer: LayerSpec | None = None,
    k: int = 15,
    std: float = 1.0,
    tanh_rule: bool = False,
) -> Tensor:
    """Each unit keeps min(k, n) incoming weights N(0, std^2), the others are 0; shape (fan_out, fan_in).

    `tanh_rule`: in tanh nets weights times .25, and hidden biases .5, which turns a start made for sigmoid
    into one for tanh. Source: Martens 2010, as restated in Sutskever et al. 2013.

    >>> (sparse_k_(torch.empty(2, 40)) != 0).sum(1)
    tensor([15, 15])
    """
    if k < 1:
        raise refusal(
            f"init.k={k}", "not allowed", "must be the number of incoming weights that a unit keeps, 1 or more"
        )
    scale = _tanh_rule(std, bias, layer, tanh_rule)
    torch_init.normal_(weight, 0.0, scale, generator=generator)
    return put_(weight, weight * (_order(weight, 1, generator) < k))


def _tanh_rule(std: float, bias: Tensor | None, layer: LayerSpec | None, on: bool) -> float:
    if not on or layer is None or layer.activation != "tanh":
        return std
    if bias is not None and not layer.last:
        put_(bias, torch.full_like(bias, 0.5))
    return std * 0.25


@catalogued(
    formula="k per row AND k per column kept (union of the masks), N(0, std^2); tanh_rule: hidden bias .5",
    source="google/init2winit sparse_init",
    meant_for="sparse_k in which no input is lost",
    contract=Contract(
        "at least min(k, n) non-zeros per row and min(k, m) per column, N(0, std^2)",
        law=lambda c: stats.norm(0, c["std"]),
        zero_share=lambda c: max(0.0, 1 - c["k"] / c.n) * max(0.0, 1 - c["k"] / c.m),
        checks={
            "at least k a row, k a column": lambda c, w, b: bool(
                ((w != 0).sum(1) >= min(c["k"], c.n)).all() and ((w != 0).sum(0) >= min(c["k"], c.m)).all()
            ),
            "bias .5 by the tanh rule": lambda c, w, b: _half_bias(c, b),
        },
        fills_bias=True,
        variants=({"k": 3, "std": 0.5}, {"tanh_rule": True}),
        activations=("relu", "tanh"),
        positions=("hidden", "last"),
    ),
)
def sparse_k_both_(
    weight: Tensor,
    *,
    generator: Generator = None,
    bias: Tensor | None = None,
    layer: LayerSpec | None = None,
    k: int = 15,
    std: float = 1.0,
    tanh_rule: bool = False,
) -> Tensor:
    """k weights kept per row and k per column, the union of two random masks; N(0, std^2), (fan_out, fan_in).

    `tanh_rule`: hidden biases .5 in tanh nets. Source: google/init2winit, init_lib/sparse_init.py.

    >>> w = sparse_k_both_(torch.empty(30, 40), k=2)
    >>> bool(((w != 0).sum(0) >= 2).all() and ((w != 0).sum(1) >= 2).all())
    True
    """
    if k < 1:
        raise refusal(
            f"init.k={k}", "not allowed", "must be the number of weights kept in each row and column, 1 or more"
        )
    _tanh_rule(std, bias, layer, tanh_rule)
    torch_init.normal_(weight, 0.0, std, generator=generator)
    kept = (_order(weight, 1, generator) < k) | (_order(weight, 0, generator) < k)
    return put_(weight, weight * kept)


def rotated(rows: int, columns: int, density: float, generator: Generator) -> tuple[np.ndarray, int]:
    """(columns, rows) with orthonormal columns and about this density, and the rotations it took; rows <= columns.

    From the identity, random pairs are rotated by random angles, which fills each of the two with the non-zeros of both,
    until the density is reached; then the nearer of the last two.
    """
    matrix, filled, wanted, turns = np.eye(columns, rows), rows, density * rows * columns, 0
    for one, two, turned in _draws(generator):
        if filled >= wanted:
            break
        pair = [int(one * columns), int(two * columns)]
        if pair[0] == pair[1]:
            continue
        turns += 1
        old, (cos, sin) = matrix[pair], (math.cos(math.tau * turned), math.sin(math.tau * turned))
        matrix[pair] = np.array([[cos, sin], [-sin, cos]]) @ old
        more = np.count_nonzero(matrix[pair]) - np.count_nonzero(old)
        if wanted - filled < filled + more - wanted:
            matrix[pair] = old
            break
        filled += int(more)
    return matrix, turns


def _draws(generator: Generator) -> Iterator[list[float]]:
    """Three uniform numbers at a time, without end."""
    while True:
        yield from torch.rand(64, 3, dtype=torch.float64, generator=generator).tolist()


def _at_the_density(c: Case, w: Tensor) -> bool:
    # a rotation adds at most the shorter side to the non-zeros, so the nearer of two is off by half of that at most
    off = abs(float((w != 0).double().mean()) - max(c["density"], 1 / max(c.n, c.m)))
    return off <= 0.5 / max(c.n, c.m) + 1e-12


def _still_identity(c: Case) -> Any:
    if c["density"] > 1 / max(c.n, c.m):
        return None
    return c.gain() * torch.eye(c.m, c.n, dtype=torch.float64).numpy()


@catalogued(
    formula="gain I_{m,n}; random pairs of columns (of rows if m > n) rotated by U(0, 2 pi) until the density is reached",
    source="Nowak et al. 2024 (2406.01755, EOI); woocash2/sparser-better-deeper-stronger",
    meant_for="exactly orthogonal matrices of few non-zeros, from the identity to dense ones",
    contract=Contract(
        "an isometry times gain whose share of non-zeros is as near to density as a rotation allows",
        isometry=lambda c: c.gain(),
        values=_still_identity,
        mean=lambda c: 0.0 if c["density"] == 1 and max(c.n, c.m) > 1 else None,
        checks={"the density": lambda c, w, b: _at_the_density(c, w)},
        variants=({"density": 0.5, "gain": 2.0}, {"density": 1.0, "gain": "auto"}),
    ),
)
def eoi_(
    weight: Tensor,
    *,
    generator: Generator = None,
    layer: LayerSpec | None = None,
    density: float = 0.1,
    gain: float | str = 1.0,
) -> Tensor:
    """Exact orthogonal initialization: sparse and (semi-)orthogonal, times gain; shape (fan_out, fan_in).

    Starts from the identity, padded with zeros, and rotates random pairs of columns (of rows, if m > n) by random angles
    until `density` of the entries are not 0; the nearer of the last two is kept. At most 1/max(m, n): the identity.
    Source: Nowak et al. 2024, 2406.01755; woocash2/sparser-better-deeper-stronger, orthogonal/ortho.py.

    >>> w = eoi_(torch.empty(20, 20), density=0.3)
    >>> torch.allclose(w @ w.T, torch.eye(20), atol=1e-6), round(float((w != 0).float().mean()), 1)
    (True, 0.3)
    """
    if not 0 < density <= 1:
        raise refusal(
            f"init.density={density}", "not allowed", "must be the share of entries other than 0: above 0, at most 1"
        )
    n, m = fans(weight)
    matrix, _ = rotated(min(n, m), max(n, m), density, generator)
    return put_(weight, gain_value(gain, layer) * torch.from_numpy(matrix if m > n else matrix.T))
