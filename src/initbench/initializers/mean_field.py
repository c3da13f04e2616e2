"""Mean field: weight and bias variances at which signals neither die nor explode, and laws that standardize rows."""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import init as torch_init

from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable, refusal, shown
from initbench.initializers._draw import fans, gaussian, put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.gains import activation, activation_name, gain_value, gaussian_mean
from initbench.initializers.laws import sphere_entry
from initbench.initializers.option_files import base as base_of
from initbench.initializers.orthogonal import orthogonal_
from initbench.initializers.registry import catalogued
from initbench.initializers.variance import variance_scaling_
from initbench.startup.late import optimize, special, stats

Generator = torch.Generator | None


def _point(name: str, q: float) -> tuple[float, float]:
    """sigma_w^2 = 1/E phi'(sqrt q z)^2 and sigma_b^2 = q - sigma_w^2 E phi(sqrt q z)^2, unchecked."""
    phi, slope = activation(name).phi, activation(name).slope
    sigma_w2 = 1 / gaussian_mean(lambda x: slope(x) ** 2, variance=q)
    sigma_b2 = q - sigma_w2 * gaussian_mean(lambda x: phi(x) ** 2, variance=q)
    return sigma_w2, 0.0 if abs(sigma_b2) < 1e-12 * q else sigma_b2


@cache
def critical_point(name: str, q: float) -> tuple[float, float]:
    """(sigma_w^2, sigma_b^2) on the edge of chaos at length q: chi = sigma_w^2 E phi'^2 = 1 and q a fixed point.

    NotApplicable where sigma_b^2 would be negative (sigmoid, always). relu has (2, 0) for every q.
    Source: Poole et al. 2016; Schoenholz et al. 2017.

    >>> [round(value, 5) for value in critical_point("tanh", 1.0)]
    [2.1533, 0.15096]
    """
    if not q > 0:
        raise refusal(f"init.q={q}", "not allowed", "must be a number above 0")
    sigma_w2, sigma_b2 = _point(name, q)
    if sigma_b2 < 0:
        raise inapplicable(
            f"init.q={q:g}",
            f"{name} has no edge of chaos there (sigma_b^2 would be {sigma_b2:.3g}, below 0)",
            "use an activation that has one: relu, tanh, erf, gelu, silu, elu",
        )
    return sigma_w2, sigma_b2


@cache
def critical_length(name: str, sigma_b: float) -> float:
    """The length q at which the edge of chaos has this sigma_b: the inverse of `critical_point`.

    NotApplicable where no q in (1e-8, 1e3) has it, e.g. relu, whose sigma_b is 0.

    >>> round(critical_length("tanh", 0.05**0.5), 4)
    0.57
    """
    grid = np.geomspace(1e-8, 1e3, 120)
    gaps = np.array([_point(name, float(q))[1] - sigma_b**2 for q in grid])
    rises = np.nonzero((gaps[:-1] <= 0) & (gaps[1:] > 0))[0]
    if not sigma_b > 0 or len(rises) == 0:
        raise inapplicable(
            f"init.sigma_b={sigma_b:g}", f"{name} has no edge of chaos with sigma_b={sigma_b:g}", "set init.q instead"
        )
    low, high = grid[rises[0]], grid[rises[0] + 1]
    return float(optimize.brentq(lambda q: _point(name, q)[1] - sigma_b**2, low, high, xtol=1e-14, rtol=1e-13))


def _choose(name: str, q: float | str, sigma_b: float | None, layer: LayerSpec | None) -> tuple[float, float]:
    """(sigma_w, sigma_b) from q (a number, or auto = 1/L) or, if given, from sigma_b."""
    if sigma_b is not None:
        return math.sqrt(critical_point(name, critical_length(name, float(sigma_b)))[0]), float(sigma_b)
    if q == "auto":
        if layer is None or layer.depth < 1:
            raise refusal("init.q=auto", "1/L needs a net with hidden layers", "must be a number above 0")
        q = 1 / layer.depth
    if isinstance(q, (str, bool)):
        raise refusal(f"init.q={shown(q)}", "not allowed", "must be a number above 0 or auto (1/L)")
    sigma_w2, sigma_b2 = critical_point(name, float(q))
    return math.sqrt(sigma_w2), math.sqrt(sigma_b2)


_HERMITE = np.polynomial.hermite_e.hermegauss(150)
_PHI: dict[str, Any] = {  # written out a second time, with derivatives: the contract does not ask the solver
    "relu": (lambda x: x * (x > 0), lambda x: 1.0 * (x > 0)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "erf": (lambda x: special.erf(x), lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "gelu": (
        lambda x: x * stats.norm.cdf(x),
        lambda x: stats.norm.cdf(x) + x * stats.norm.pdf(x),
    ),
}


def _stated(c: Case) -> tuple[float, float]:
    """The stated (sigma_w, sigma_b) of a case."""
    name = c.activation("nonlinearity")
    if c["sigma_b"] is not None:
        return _given_bias(name, c["sigma_b"])
    return _by_hermite(name, 1 / c.layer.depth if c["q"] == "auto" else c["q"])


@cache
def _given_bias(name: str, sigma_b: float) -> tuple[float, float]:
    q = optimize.brentq(lambda q: _by_hermite(name, q)[1] - sigma_b, 0.01, 5.0)
    return _by_hermite(name, q)


@cache
def _by_hermite(name: str, q: float) -> tuple[float, float]:
    phi, slope = _PHI[name]
    x, weights = math.sqrt(q) * _HERMITE[0], _HERMITE[1] / _HERMITE[1].sum()
    sigma_w2 = 1 / (weights @ slope(x) ** 2)
    return math.sqrt(sigma_w2), math.sqrt(max(0.0, q - sigma_w2 * (weights @ phi(x) ** 2)))


def _bias_law(c: Case) -> object:
    sigma_b = _stated(c)[1]
    return stats.norm(0, sigma_b) if sigma_b > 1e-6 else None


def _no_edge(c: Case) -> str | None:
    return "has no edge of chaos" if c.activation("nonlinearity") == "sigmoid" else None


_EDGE: dict[str, Any] = {
    "fills_bias": True,
    "bias_law": _bias_law,
    "checks": {"bias 0 where sigma_b is 0": lambda c, w, b: _bias_law(c) is not None or bool((b == 0).all())},
    "refuses": _no_edge,
    "variants": (
        {"q": 1.0},
        {"q": 0.5, "nonlinearity": "tanh"},
        *({"sigma_b": sigma_b, "nonlinearity": "tanh"} for sigma_b in (0.1, 0.25)),
    ),
    "activations": ("relu", "tanh", "erf", "gelu", "sigmoid"),
}


@catalogued(
    formula="sigma_w^2 = 1/E phi'(sqrt q z)^2, sigma_b^2 = q - sigma_w^2 E phi(sqrt q z)^2; "
    "W ~ N(0, sigma_w^2/n), b ~ N(0, sigma_b^2)",
    source="Poole et al. 2016; Schoenholz et al. 2017; brain-research/mean-field-cnns",
    meant_for="very deep nets: signals and gradients keep their size",
    contract=Contract(
        "normal, variances sigma_w^2/n and sigma_b^2 on the edge of chaos",
        law=lambda c: stats.norm(0, _stated(c)[0] / math.sqrt(c.n)),
        **_EDGE,
    ),
)
def edge_of_chaos_(
    weight: Tensor,
    *,
    generator: Generator = None,
    bias: Tensor | None = None,
    layer: LayerSpec | None = None,
    q: float | str = "auto",
    sigma_b: float | None = None,
    nonlinearity: str = "auto",
) -> Tensor:
    """Normal weights and biases on the edge of chaos, chi = 1; shapes (fan_out, fan_in) and (fan_out,).

    W ~ N(0, sigma_w^2/n), b ~ N(0, sigma_b^2): sigma_w^2 = 1/E phi'(sqrt q z)^2,
    sigma_b^2 = q - sigma_w^2 E phi(sqrt q z)^2. `q`: a number, or auto = 1/L; `sigma_b`, if given, sets q.
    NotApplicable where there is no solution (sigmoid). relu: sigma_w^2 = 2, b = 0: He.
    Source: Poole et al. 2016; Schoenholz et al. 2017; the mean-field-cnns notebook for q = 1/L.

    >>> w = edge_of_chaos_(torch.empty(300, 200), q=1.0, nonlinearity="tanh")
    >>> round(float(w.var() * 200))
    2
    """
    sigma_w, noise = _choose(activation_name(nonlinearity, layer), q, sigma_b, layer)
    variance_scaling_(weight, generator=generator, scale=sigma_w**2)
    if bias is not None:
        torch_init.normal_(bias, 0.0, noise, generator=generator)
    return weight


@catalogued(
    formula="W = sigma_w Q, Q orthogonal; b ~ N(0, sigma_b^2); (sigma_w, sigma_b) of edge_of_chaos",
    source="Pennington et al. 2017; brain-research/mean-field-cnns",
    meant_for="dynamical isometry of deep tanh nets",
    contract=Contract(
        "an isometry times sigma_w of the edge of chaos, b ~ N(0, sigma_b^2)",
        isometry=lambda c: _stated(c)[0] if c.activation("nonlinearity") != "relu" else math.sqrt(2),
        law=lambda c: sphere_entry(max(c.n, c.m), _stated(c)[0]),
        independent="one",
        tolerance=1e-5,
        **_EDGE,
    ),
)
def critical_orthogonal_(
    weight: Tensor,
    *,
    generator: Generator = None,
    bias: Tensor | None = None,
    layer: LayerSpec | None = None,
    q: float | str = "auto",
    sigma_b: float | None = None,
    nonlinearity: str = "auto",
) -> Tensor:
    """Orthogonal times sigma_w, b ~ N(0, sigma_b^2), with the two of `edge_of_chaos_`; (fan_out, fan_in).

    Source: Pennington et al. 2017. NotApplicable where there is no edge of chaos (sigmoid).

    >>> w = critical_orthogonal_(torch.empty(2, 2), q=1.0, nonlinearity="relu")
    >>> torch.allclose(w @ w.T, 2 * torch.eye(2), atol=1e-5)
    True
    """
    sigma_w, noise = _choose(activation_name(nonlinearity, layer), q, sigma_b, layer)
    orthogonal_(weight, generator=generator, gain=sigma_w)
    if bias is not None:
        torch_init.normal_(bias, 0.0, noise, generator=generator)
    return weight


def standardizing_gain(name: str) -> float:
    """1/std of phi(z), z ~ N(0, 1): relu sqrt(2/(1 - 1/pi)) = 1.71286.

    timm's table has 1.71396, an estimate from samples.

    >>> round(standardizing_gain("relu"), 5)
    1.71286
    """
    phi = activation(name).phi
    mean = gaussian_mean(phi)
    return 1 / math.sqrt(gaussian_mean(lambda z: (phi(z) - mean) ** 2))


def _stated_gamma(c: Case) -> float:
    if c["gamma"] != "auto":
        return float(c["gamma"])
    return {"relu": math.sqrt(2 / (1 - 1 / math.pi)), "linear": 1.0, "abs": 1 / math.sqrt(1 - 2 / math.pi)}[
        c.layer.activation
    ]


@catalogued(
    formula="each row centred, divided by its std, times gamma n^-1/2; gamma = 1/std phi(z), relu 1.71286",
    source="timm layers/std_conv.py (NF-nets' scaled weight standardization), once",
    meant_for="no mean shift from layer to layer with relu",
    contract=Contract(
        "every row has mean 0 and norm gamma",
        row_norm=_stated_gamma,
        checks={"rows have mean 0": lambda c, w, b: bool((w.mean(1).abs() < 1e-5).all())},
        law=lambda c: sphere_entry(c.n - 1, _stated_gamma(c) * math.sqrt((c.n - 1) / c.n)),
        independent="rows",
        refuses=lambda c: "fan_in of at least 2" if c.n == 1 else None,
        variants=({"gamma": 2.0},),
        activations=("relu", "linear", "abs"),
    ),
)
def row_standardized_(
    weight: Tensor,
    *,
    generator: Generator = None,
    layer: LayerSpec | None = None,
    gamma: float | str = "auto",
) -> Tensor:
    """Gaussian rows, each centred and rescaled to norm gamma: entries of variance gamma^2/n; (fan_out, fan_in).

    W_i <- gamma n^-1/2 (W_i - mean_i)/std_i, std over n (not n - 1) entries. gamma auto = 1/std of phi(z):
    1.71286 for relu. Done once, at the start; NF-nets keep it up during training.
    Source: timm layers/std_conv.py. NotApplicable for fan_in 1.

    >>> w = row_standardized_(torch.empty(3, 50), gamma=2.0)
    >>> torch.allclose(w.norm(dim=1), 2 * torch.ones(3))
    True
    """
    n, _ = fans(weight)
    if n < 2:
        raise inapplicable(
            "init=row_standardized", f"it needs a fan_in of at least 2 to standardize rows, got {n}", "use wider layers"
        )
    norm = standardizing_gain(activation_name(gamma, layer)) if isinstance(gamma, str) else gamma
    rows = gaussian(weight, generator=generator).double()
    rows = rows - rows.mean(1, keepdim=True)
    return put_(weight, norm * rows / rows.norm(dim=1, keepdim=True))


@catalogued(
    formula="W_i = g v_i/|v_i|, v Gaussian",
    source="weight normalization without data (Salimans & Kingma 2016)",
    meant_for="every unit hears its inputs equally loudly",
    contract=Contract(
        "every row has norm g, its direction uniform",
        row_norm=lambda c: c["norm"],
        law=lambda c: sphere_entry(c.n, c["norm"]),
        independent="rows",
        variants=({"norm": 3.0},),
    ),
)
def row_normalized_(weight: Tensor, *, generator: Generator = None, norm: float = 1.0) -> Tensor:
    """Rows uniform on the sphere of radius `norm`, shape (fan_out, fan_in): W_i = norm v_i/|v_i|.

    Source: weight normalization (Salimans & Kingma 2016) without its data-dependent part.

    >>> torch.allclose(row_normalized_(torch.empty(2, 3), norm=2.0).norm(dim=1), torch.tensor(2.0))
    True
    """
    rows = gaussian(weight, generator=generator)
    return put_(weight, norm * rows / rows.norm(dim=1, keepdim=True))


@catalogued(
    formula="W_i = gain sqrt(n/m) v_i/|v_i|, v of the base; gain sqrt 2 for relu",
    source="Arpit et al. 2019 (1906.02341)",
    meant_for="weight-normalized relu nets: lengths are kept by the norms of rows, whatever their directions",
    contract=Contract(
        "every row has norm gain sqrt(n/m), its direction that of the base (orthogonal)",
        row_norm=lambda c: c.gain() * math.sqrt(c.n / c.m),
        law=lambda c: sphere_entry(c.n, c.gain() * math.sqrt(c.n / c.m)) if c["base"] != "eye" else None,
        values=lambda c: c.gain() * math.sqrt(c.n / c.m) * np.eye(c.m, c.n) if c["base"] == "eye" else None,
        independent="one",
        refuses=lambda c: "row" if c["base"] == "eye" and c.m > c.n else None,
        variants=({"gain": 2.0}, {"base": {"name": "normal", "std": 3.0}}, {"base": "eye"}),
        activations=("relu", "linear"),
        fills_bias=True,
        checks={"the bias is left to its rule": lambda c, w, b: bool((b == 1).all())},
    ),
)
def weight_norm_rows_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    gain: float | str = "auto",
    base: str | Mapping[str, Any] = "orthogonal",
) -> Tensor:
    """Rows of norm gain sqrt(n/m) along those of a base, so that a weight-normalized layer keeps lengths; (fan_out, fan_in).

    gain^2 is Arpit's gamma: auto takes the activation's gain, 2 under the root for relu. Weight normalization's g folded
    into W. NotApplicable where the base leaves a row of zeros, which has no direction.
    Source: Arpit et al. 2019, 1906.02341.

    >>> w = weight_norm_rows_(torch.empty(2, 8), layer=LayerSpec(1, 2, 8, 2), gain=1.0)
    >>> torch.allclose(w.norm(dim=1), torch.tensor(2.0))
    True
    """
    n, m = fans(weight)
    base_of(base).call_(weight, bias, layer=layer, generator=generator)
    sizes = weight.detach().norm(dim=1, keepdim=True)
    if not bool((sizes > 0).all()):
        raise inapplicable("init=weight_norm_rows", "its base leaves a row of zeros", "choose another init.base")
    return put_(weight, weight / sizes * (gain_value(gain, layer) * math.sqrt(n / m)))
