"""Starts of neural fields, whose nets fit one signal: sines of scaled weights, and preactivations of a set size."""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable, refusal, shown
from initbench.initializers._draw import put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.depth_rules import siren_
from initbench.initializers.gains import activation, activation_name, gaussian_mean
from initbench.initializers.registry import catalogued
from initbench.initializers.variance import variance_scaling_
from initbench.startup.late import optimize, stats

Generator = torch.Generator | None


def _scaled_siren_bound(c: Case) -> float:
    bound = 1 / c.n if c.layer.first else math.sqrt(6 / c.n) / c["omega0"]
    return bound if c.layer.last else bound * c["alpha"] * (c["omega0"] if c["fold"] else 1.0)


@catalogued(
    formula="siren, every layer but the last times alpha",
    source="Yeom et al. 2024 (2410.04779, weight scaling)",
    meant_for="sine nets that fit a signal in fewer steps; alpha trades speed against generalization",
    contract=Contract(
        "uniform with siren's bounds, times alpha but in the last layer (and omega0 if folded)",
        law=lambda c: stats.uniform(-_scaled_siren_bound(c), 2 * _scaled_siren_bound(c)),
        positions=("first", "hidden", "last"),
        fills_bias=True,
        variants=({"fold": False, "omega0": 10.0, "alpha": 1.5},),
        activations=("sin",),
        checks={
            "the bias has no alpha": lambda c, w, b: bool(
                (b == (c["omega0"] if c["fold"] and not c.layer.last else 1.0)).all()
            )
        },
    ),
)
def siren_ws_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    omega0: float = 30.0,
    fold: bool = True,
    alpha: float = 2.5,
) -> Tensor:
    """SIREN with weight scaling: `siren_`, every weight but the last layer's times alpha; shape (fan_out, fan_in).

    `fold` moves omega0 into W and b of the sine layers, as nets of plain sin need it; biases keep their rule (`torch`).
    Source: Yeom et al. 2024, 2410.04779; alpha 2.5 by their script.

    >>> w = siren_ws_(torch.empty(4, 2), layer=LayerSpec(0, 2, 2, 4, "sin"), fold=False, alpha=2.0)
    >>> bool(w.abs().max() <= 1)
    True
    """
    siren_(weight, layer=layer, generator=generator, bias=bias, omega0=omega0, fold=fold)
    return weight if layer.last else put_(weight, weight * alpha)


@cache
def kept_size(name: str) -> float:
    """sigma_p of preactivations sigma_p z that a layer without biases keeps forward and backward at once.

    E phi(sigma_p z)^2 = sigma_p^2 E phi'(sigma_p z)^2. Of relu and its like every size is kept: 1. NotApplicable where
    none is: tanh, sin, gelu and others keep both in the limit of size 0 alone.

    >>> kept_size("relu"), round(kept_size("sigmoid"), 1)
    (1.0, 6.8)
    """
    phi, slope = activation(name).phi, activation(name).slope
    if activation(name).slopes is not None:
        return 1.0

    def gap(size: float) -> float:
        back = gaussian_mean(lambda z: np.square(size * slope(z)), variance=size * size)
        return back - gaussian_mean(lambda z: np.square(phi(z)), variance=size * size)

    grid = np.geomspace(0.01, 100.0, 80)
    gaps = np.array([gap(float(size)) for size in grid])
    meets = np.nonzero((gaps[:-1] > 0) != (gaps[1:] > 0))[0]
    meets = meets[np.abs(gaps[meets]) > 1e-9 * np.square(grid[meets])]
    if not len(meets):
        raise inapplicable(
            "init.sigma_p=auto",
            f"no size of preactivations is kept by {name} both forward and backward",
            "set init.sigma_p, e.g. 1: then forward alone",
        )
    return float(optimize.brentq(gap, grid[meets[0]], grid[meets[0] + 1], xtol=1e-13, rtol=1e-13))


_PHI: dict[str, Any] = {  # written out a second time: the contract does not ask the solver
    "relu": lambda x: x * (x > 0),
    "linear": lambda x: x,
    "abs": np.abs,
    "tanh": np.tanh,
    "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
}


@cache
def _stated_square(name: str, size: float) -> float:
    phi = _PHI[name]
    return float(stats.norm.expect(lambda z: phi(size * z) ** 2 + phi(-size * z) ** 2, lb=0))


@cache
def _stated_kept(name: str) -> float:
    if name != "sigmoid":
        return 1.0  # relu, linear and abs keep any

    def gap(size: float) -> float:
        slope = lambda z: _PHI[name](z) * (1 - _PHI[name](z))  # noqa: E731
        return size**2 * 2 * stats.norm.expect(lambda z: slope(size * z) ** 2, lb=0) - _stated_square(name, size)

    return float(optimize.brentq(gap, 5.0, 9.0))


def _stated_size(c: Case) -> float:
    return _stated_kept(c.activation("nonlinearity")) if c["sigma_p"] == "auto" else float(c["sigma_p"])


def _stated_std(c: Case) -> float:
    size = _stated_size(c)
    square = c["var"] + c["mean"] ** 2 if c.layer.first else _stated_square(c.activation("nonlinearity"), size)
    return size / math.sqrt(c.n * square)


@catalogued(
    formula="W ~ N(0, sigma_p^2/(n E x^2)), x the data in the first layer, phi(sigma_p z) in the others",
    source="Hewa Koneputugodage et al. 2025 (VI3NR, 2504.19270)",
    meant_for="any activation: every preactivation starts at std sigma_p; auto: and gradients keep their size",
    contract=Contract(
        "normal, mean 0, std sigma_p/sqrt(n E x^2)",
        law=lambda c: stats.norm(0, _stated_std(c)),
        positions=("first", "hidden", "last"),
        variants=({"sigma_p": 1.5, "mean": 2.0, "var": 3.0}, {"sigma_p": 0.5, "nonlinearity": "tanh"}),
        activations=("relu", "linear", "abs", "tanh", "sigmoid"),
        refuses=lambda c: (
            "set init.sigma_p" if c["sigma_p"] == "auto" and c.activation("nonlinearity") == "tanh" else None
        ),
    ),
)
def vi3nr_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    sigma_p: float | str = "auto",
    mean: float = 0.0,
    var: float = 1.0,
    nonlinearity: str = "auto",
) -> Tensor:
    """Normal weights that keep every preactivation at standard deviation sigma_p, without biases; (fan_out, fan_in).

    std = sigma_p/sqrt(n E x^2): in the first layer E x^2 = `var` + `mean`^2 of the data, in the others
    E phi(sigma_p z)^2. `sigma_p`: a number, or auto: that at which also gain^2 E phi'(sigma_p z)^2 = 1, the edge of
    chaos without biases; NotApplicable where there is none (tanh, sin, gelu ...).
    Source: Hewa Koneputugodage et al. 2025, 2504.19270; chumbyte/vi3nr.

    >>> w = vi3nr_(torch.empty(200, 200), layer=LayerSpec(1, 2, 200, 200))
    >>> round(float(w.var() * 200), 1)
    2.0
    """
    name = activation_name(nonlinearity, layer)
    if isinstance(sigma_p, (str, bool)) and sigma_p != "auto":
        raise refusal(f"init.sigma_p={shown(sigma_p)}", "not allowed", "must be a number above 0, or auto")
    size = kept_size(name) if isinstance(sigma_p, str) else float(sigma_p)
    phi = activation(name).phi
    square = var + mean * mean if layer.first else gaussian_mean(lambda z: np.square(phi(z)), variance=size * size)
    if not (size > 0 and square > 0):
        raise refusal(
            f"init.sigma_p={sigma_p}, init.mean={mean}, init.var={var}",
            "a variance would not be above 0",
            "write init.sigma_p above 0, and init.var or init.mean other than 0",
        )
    return variance_scaling_(weight, generator=generator, scale=size * size / square)
