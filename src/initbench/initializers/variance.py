"""Laws whose variance follows the fans: one family, `variance_scaling_`, and the classics as one line over it."""

import math

import torch
from torch import Tensor
from torch.nn import init as torch_init

from initbench.config.checks import unknown
from initbench.config.groups import LayerSpec
from initbench.errors import refusal
from initbench.initializers._draw import fans, put_, signs
from initbench.initializers.contract import Case, Contract
from initbench.initializers.gains import activation_name, calculate_gain, gain_value
from initbench.initializers.laws import Signs, TwoSigma, arcsine
from initbench.initializers.plain import trunc_normal_scaled_
from initbench.initializers.registry import catalogued
from initbench.startup.late import stats

Generator = torch.Generator | None

DISTRIBUTIONS = ("normal", "truncated_normal", "uniform", "rademacher", "laplace", "student_t", "arcsine")
MODES = {
    "fan_in": lambda n, m: n,
    "fan_out": lambda n, m: m,
    "fan_avg": lambda n, m: (n + m) / 2,
    "fan_geo_avg": lambda n, m: math.sqrt(n * m),
}


def draw_(weight: Tensor, distribution: str, std: float, *, degrees: float, generator: Generator = None) -> Tensor:
    """Fill with draws of mean 0 and standard deviation `std` from a named distribution; shape (fan_out, fan_in).

    rademacher = +-std; student_t has `degrees` degrees of freedom (> 2); arcsine = sqrt 2 std sin(U(0, 2 pi)).

    >>> draw_(torch.empty(1, 2), "rademacher", 3.0, degrees=5.0).abs()
    tensor([[3., 3.]])
    """
    if distribution == "normal":
        return torch_init.normal_(weight, 0.0, std, generator=generator)
    if distribution == "uniform":
        bound = math.sqrt(3) * std
        return torch_init.uniform_(weight, -bound, bound, generator=generator)
    if distribution == "truncated_normal":
        return trunc_normal_scaled_(weight, generator=generator, std=std)
    if distribution == "rademacher":
        return put_(weight, std * signs(weight, generator=generator))
    if distribution == "laplace":
        size = torch.empty_like(weight).exponential_(generator=generator)
        return put_(weight, std / math.sqrt(2) * size * signs(weight, generator=generator))
    if distribution == "student_t":
        return put_(weight, std * _student_t(weight, degrees, generator))
    if distribution == "arcsine":
        torch_init.uniform_(weight, 0.0, 2 * math.pi, generator=generator)
        return put_(weight, math.sqrt(2) * std * weight.detach().sin())
    raise unknown("init.distribution", distribution, DISTRIBUTIONS)


def _student_t(weight: Tensor, degrees: float, generator: Generator) -> Tensor:
    """Student t of unit variance by Bailey's polar formula: sqrt(nu (u^(-2/nu) - 1)) cos(2 pi v)."""
    if not degrees > 2:
        raise refusal(f"init.degrees={degrees}", "the variance would be infinite", "must be a number above 2")
    u = 1 - torch.empty_like(weight, dtype=torch.float64).uniform_(generator=generator)  # (0, 1]
    v = torch.empty_like(u).uniform_(generator=generator)
    t = (degrees * (u ** (-2 / degrees) - 1)).sqrt() * (2 * math.pi * v).cos()
    return (t * math.sqrt((degrees - 2) / degrees)).to(weight.dtype)


def _law(distribution: str, std: float, degrees: float = 5.0) -> object:
    """The stated law of each distribution, for the contracts."""
    return {
        "normal": lambda: stats.norm(0, std),
        "uniform": lambda: stats.uniform(-math.sqrt(3) * std, 2 * math.sqrt(3) * std),
        "truncated_normal": lambda: TwoSigma(0.0, std / 0.87962566103423978),
        "rademacher": lambda: Signs(std),
        "laplace": lambda: stats.laplace(0, std / math.sqrt(2)),
        "student_t": lambda: stats.t(degrees, 0, std * math.sqrt((degrees - 2) / degrees)),
        "arcsine": lambda: arcsine(math.sqrt(2) * std),
    }[distribution]()


def _denominator(c: Case) -> float:
    return {"fan_in": c.n, "fan_out": c.m, "fan_avg": (c.n + c.m) / 2, "fan_geo_avg": (c.n * c.m) ** 0.5}[c["mode"]]


@catalogued(
    formula="Var W = scale / d, d = n | m | (n+m)/2 | sqrt(n m)",
    source="jax variance_scaling; keras; timm",
    meant_for="the family that He, Glorot and LeCun are members of; any distribution of that variance",
    contract=Contract(
        "mean 0, variance scale/d, the named law",
        law=lambda c: _law(c["distribution"], math.sqrt(c["scale"] / _denominator(c)), c["degrees"]),
        variants=(
            *({"distribution": name, "scale": 2.0} for name in DISTRIBUTIONS),
            *({"mode": mode} for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")),
        ),
    ),
)
def variance_scaling_(
    weight: Tensor,
    *,
    generator: Generator = None,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "normal",
    degrees: float = 5.0,
) -> Tensor:
    """Draws of mean 0 and variance scale/d: d = n, m, (n+m)/2 or sqrt(nm) by `mode`; shape (fan_out, fan_in).

    `distribution`: normal, truncated_normal (cut at 2 std, then rescaled), uniform, rademacher, laplace,
    student_t (with `degrees`) or arcsine: the same variance from another law. Raises InputError for an
    unknown name.
    Source: jax.nn.initializers.variance_scaling.

    >>> w = variance_scaling_(torch.empty(400, 200), scale=2.0, distribution="laplace")
    >>> round(float(w.var() * 200), 1)
    2.0
    """
    if mode not in MODES:
        raise unknown("init.mode", mode, tuple(MODES))
    if scale < 0:
        raise refusal(f"init.scale={scale}", "not allowed", "must be a number, 0 or more")
    std = math.sqrt(scale / MODES[mode](*fans(weight)))
    return draw_(weight, distribution, std, generator=generator, degrees=degrees)


def _glorot_contract(distribution: str) -> Contract:
    return Contract(
        f"{distribution}, mean 0, variance gain^2 2/(n+m)",
        law=lambda c: _law(distribution, c.gain() * math.sqrt(2 / (c.n + c.m))),
        variants=({"gain": 2.0}, {"gain": "auto"}, {"gain": "tanh"}),
        activations=("relu", "tanh"),
    )


@catalogued(
    formula="W ~ U(+-a), a = gain sqrt(6/(n+m)); Var = 2 gain^2/(n+m)",
    source="Glorot & Bengio 2010",
    meant_for="tanh and other units that are linear around 0: forward and backward signal at once",
    contract=_glorot_contract("uniform"),
)
def xavier_uniform_(
    weight: Tensor, *, generator: Generator = None, layer: LayerSpec | None = None, gain: float | str = 1.0
) -> Tensor:
    """Glorot's uniform: W ~ U(+-gain sqrt(6/(n+m))), shape (fan_out, fan_in).

    `gain`: a number, `auto` (of the layer's activation) or an activation's name.
    Source: Glorot & Bengio 2010. Same numbers as torch.nn.init.xavier_uniform_ from the same generator.

    >>> bool(xavier_uniform_(torch.empty(3, 3)).abs().max() <= 1)
    True
    """
    scale = gain_value(gain, layer) ** 2
    return variance_scaling_(weight, generator=generator, scale=scale, mode="fan_avg", distribution="uniform")


@catalogued(
    formula="W ~ N(0, 2 gain^2/(n+m))",
    source="Glorot & Bengio 2010",
    meant_for="tanh and other units that are linear around 0",
    contract=_glorot_contract("normal"),
)
def xavier_normal_(
    weight: Tensor, *, generator: Generator = None, layer: LayerSpec | None = None, gain: float | str = 1.0
) -> Tensor:
    """Glorot's normal: W ~ N(0, 2 gain^2/(n+m)), shape (fan_out, fan_in).

    `gain`: a number, `auto` (of the layer's activation) or an activation's name.
    Source: Glorot & Bengio 2010. Same numbers as torch.nn.init.xavier_normal_ from the same generator.

    >>> round(float(xavier_normal_(torch.empty(300, 100), gain=10.0).std()), 1)
    0.7
    """
    scale = gain_value(gain, layer) ** 2
    return variance_scaling_(weight, generator=generator, scale=scale, mode="fan_avg", distribution="normal")


def _he_contract(distribution: str) -> Contract:
    return Contract(
        f"{distribution}, mean 0, variance gain^2/n (fan_in) or /m (fan_out)",
        law=lambda c: _law(distribution, c.gain("nonlinearity", c["a"]) / math.sqrt(_denominator(c))),
        variants=({"mode": "fan_out"}, {"nonlinearity": "leaky_relu", "a": 0.3}, {"nonlinearity": "linear"}),
        activations=("relu", "tanh", "selu"),
    )


@catalogued(
    formula="W ~ U(+-gain sqrt(3/n)) (or /m)",
    source="He et al. 2015",
    meant_for="ReLU and its relatives",
    contract=_he_contract("uniform"),
)
def kaiming_uniform_(
    weight: Tensor,
    *,
    generator: Generator = None,
    layer: LayerSpec | None = None,
    mode: str = "fan_in",
    nonlinearity: str = "auto",
    a: float | None = None,
) -> Tensor:
    """He's uniform: W ~ U(+-gain sqrt(3/fan)), fan = n or m by `mode`, shape (fan_out, fan_in).

    gain is that of `nonlinearity` (auto: the layer's activation); `a` is the slope of a leaky ReLU (null:
    .01).
    Source: He et al. 2015. Same numbers as torch.nn.init.kaiming_uniform_ from the same generator.

    >>> bool(kaiming_uniform_(torch.empty(8, 6), nonlinearity="relu").abs().max() <= 1)
    True
    """
    scale = _he_scale(nonlinearity, layer, a)
    return variance_scaling_(weight, generator=generator, scale=scale, mode=mode, distribution="uniform")


@catalogued(
    formula="W ~ N(0, gain^2/n) (or /m)",
    source="He et al. 2015",
    meant_for="ReLU and its relatives",
    contract=_he_contract("normal"),
)
def kaiming_normal_(
    weight: Tensor,
    *,
    generator: Generator = None,
    layer: LayerSpec | None = None,
    mode: str = "fan_in",
    nonlinearity: str = "auto",
    a: float | None = None,
) -> Tensor:
    """He's normal: W ~ N(0, gain^2/fan), fan = n or m by `mode`, shape (fan_out, fan_in).

    gain is that of `nonlinearity` (auto: the layer's activation); `a` is the slope of a leaky ReLU (null:
    .01).
    Source: He et al. 2015. Same numbers as torch.nn.init.kaiming_normal_ from the same generator.

    >>> w = kaiming_normal_(torch.empty(300, 200), nonlinearity="relu")
    >>> round(float(w.var() * 200), 1)
    2.0
    """
    scale = _he_scale(nonlinearity, layer, a)
    return variance_scaling_(weight, generator=generator, scale=scale, mode=mode, distribution="normal")


def _he_scale(nonlinearity: str, layer: LayerSpec | None, a: float | None) -> float:
    return calculate_gain(activation_name(nonlinearity, layer), a) ** 2


def _lecun_contract(distribution: str) -> Contract:
    return Contract(
        f"{distribution}, mean 0, variance 1/n",
        law=lambda c: _law(distribution, 1 / math.sqrt(c.n)),
    )


@catalogued(
    formula="W ~ U(+-sqrt(3/n)); Var = 1/n",
    source="LeCun et al. 1998",
    meant_for="linear-like units, and SELU",
    contract=_lecun_contract("uniform"),
)
def lecun_uniform_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """LeCun's uniform: W ~ U(+-sqrt(3/n)), shape (fan_out, fan_in).

    Source: LeCun et al. 1998; Klambauer et al. 2017 for SELU.

    >>> bool(lecun_uniform_(torch.empty(8, 3)).abs().max() <= 1)
    True
    """
    return variance_scaling_(weight, generator=generator, distribution="uniform")


@catalogued(
    formula="W ~ N(0, 1/n)",
    source="LeCun et al. 1998",
    meant_for="linear-like units, and SELU",
    contract=_lecun_contract("normal"),
)
def lecun_normal_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """LeCun's normal: W ~ N(0, 1/n), shape (fan_out, fan_in).

    Source: LeCun et al. 1998; Klambauer et al. 2017 for SELU.

    >>> round(float(lecun_normal_(torch.empty(300, 100)).std()), 1)
    0.1
    """
    return variance_scaling_(weight, generator=generator, distribution="normal")


@catalogued(
    formula="W ~ U(+-1/sqrt n) = kaiming_uniform(a=sqrt 5); bias U(+-1/sqrt n)",
    source="torch nn.Linear.reset_parameters",
    meant_for="what every torch net starts from if nothing is said",
    contract=Contract(
        "U(+-1/sqrt n), variance 1/(3n)",
        law=lambda c: stats.uniform(-1 / math.sqrt(c.n), 2 / math.sqrt(c.n)),
    ),
)
def torch_default_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """torch's nn.Linear: W ~ U(+-1/sqrt n), shape (fan_out, fan_in); its bias is the rule `torch`, the same law.

    Source: torch.nn.Linear.reset_parameters, which writes it as kaiming_uniform_(a=sqrt 5).

    >>> bool(torch_default_(torch.empty(9, 4)).abs().max() <= 0.5)
    True
    """
    return variance_scaling_(weight, generator=generator, scale=1 / 3, distribution="uniform")
