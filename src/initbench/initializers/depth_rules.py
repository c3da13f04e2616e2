"""Normal and uniform laws whose scale follows a rule of its own: depth, activation or place in the net."""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import init as torch_init

from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable, refusal
from initbench.initializers._draw import fans, put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.gains import activation, activation_name, gaussian_mean
from initbench.initializers.laws import TwoSigma
from initbench.initializers.registry import catalogued
from initbench.initializers.variance import variance_scaling_
from initbench.startup.late import stats

Generator = torch.Generator | None

RANDOM_WALK_GAINS = {
    "relu": lambda n: math.sqrt(2) * math.exp(1.2 / (max(n, 6) - 2.4)),
    "linear": lambda n: math.exp(1 / (2 * n)),
    "tanh": lambda n: 1.13,  # a constant that works; no theory
}


def _walk_std(c: Case) -> float:
    name = c.activation("nonlinearity")
    log_gain = {
        "relu": 0.5 * math.log(2) + 1.2 / (max(c.n, 6) - 2.4),
        "linear": 0.5 / c.n,
        "tanh": math.log(1.13),
    }
    return math.exp(log_gain[name]) / math.sqrt(c.n)


@catalogued(
    formula="W ~ N(0, g^2/n), g = sqrt2 exp(1.2/(max(n,6)-2.4)) relu | exp(1/2n) linear | 1.13 tanh",
    source="Sussillo & Abbott 2014; TensorFlow 0.x _random_walk",
    meant_for="very deep narrow nets: the log of the gradient norm has no drift",
    contract=Contract(
        "normal, mean 0, variance g^2/n",
        law=lambda c: stats.norm(0, _walk_std(c)),
        refuses=lambda c: None if c.activation("nonlinearity") in ("relu", "linear", "tanh") else "relu, linear, tanh",
        activations=("relu", "linear", "tanh", "gelu"),
    ),
)
def random_walk_(
    weight: Tensor, *, generator: Generator = None, layer: LayerSpec | None = None, nonlinearity: str = "auto"
) -> Tensor:
    """Normal with variance g^2/n so that log gradient norms have no drift over depth; (fan_out, fan_in).

    g = sqrt2 exp(1.2/(max(n,6)-2.4)) for relu, exp(1/(2n)) linear, 1.13 tanh; other activations:
    NotApplicable.
    Source: Sussillo & Abbott 2014; TensorFlow 0.x init_ops.py.

    >>> round(float(random_walk_(torch.empty(200, 200), nonlinearity="linear").std() * 200**0.5), 1)
    1.0
    """
    n, _ = fans(weight)
    name = activation_name(nonlinearity, layer)
    if name not in RANDOM_WALK_GAINS:
        raise inapplicable(
            "init=random_walk",
            f"it has no gain for {name}",
            f"choose one of model.activation={', '.join(RANDOM_WALK_GAINS)}",
        )
    return variance_scaling_(weight, generator=generator, scale=RANDOM_WALK_GAINS[name](n) ** 2)


def _siren_bound(c: Case) -> float:
    bound = 1 / c.n if c.layer.first else math.sqrt(6 / c.n) / c["omega0"]
    return bound * _fold(c)


def _fold(c: Case) -> float:
    return c["omega0"] if c["fold"] and not c.layer.last else 1.0


@catalogued(
    formula="first layer U(+-1/n), others U(+-sqrt(6/n)/omega0)",
    source="Sitzmann et al. 2020; vsitzmann/siren",
    meant_for="sin(omega0 (W x + b)); fold=true moves omega0 into W and b for a net of plain sin",
    contract=Contract(
        "uniform with these bounds (times omega0 if folded)",
        law=lambda c: stats.uniform(-_siren_bound(c), 2 * _siren_bound(c)),
        positions=("first", "hidden", "last"),
        fills_bias=True,
        variants=({"fold": True, "omega0": 10.0},),
        activations=("sin",),
        checks={
            # the bias is handed over as ones
            "fold multiplies the bias by omega0": lambda c, w, b: bool((b == _fold(c)).all())
        },
    ),
)
def siren_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    omega0: float = 30.0,
    fold: bool = False,
) -> Tensor:
    """SIREN: first layer U(+-1/n), all others, the last included, U(+-sqrt(6/n)/omega0); (fan_out, fan_in).

    Meant for sin(omega0 (W x + b)) with the bias rule `torch`. A net of plain sin(W x + b) computes the same
    at the start with `fold=true`, which multiplies W and b of the sine layers by omega0 (not of the linear
    last layer).
    Source: Sitzmann et al. 2020; vsitzmann/siren modules.py.

    >>> w = siren_(torch.empty(4, 2), layer=LayerSpec(0, 2, 2, 4, "sin"))
    >>> bool(w.abs().max() <= 0.5)
    True
    """
    n, _ = fans(weight)
    bound = 1 / n if layer.first else math.sqrt(6 / n) / omega0
    torch_init.uniform_(weight, -bound, bound, generator=generator)
    if not fold or layer.last:
        return weight
    if bias is not None:
        put_(bias, bias * omega0)
    return put_(weight, weight * omega0)


@catalogued(
    formula="W ~ N(0, 1/(n phi'(0)^2 (1 + phi(0)^2)))",
    source="Kumar 2017 (1704.08863)",
    meant_for="smooth activations: tanh 1/n, sigmoid 12.8/n",
    note="not confirmed: derived from the formula, the paper was not read",
    contract=Contract(
        "normal, mean 0, variance 1/(n phi'(0)^2 (1 + phi(0)^2))",
        law=lambda c: stats.norm(0, math.sqrt(_kumar_scale(c.activation("nonlinearity")) / c.n)),
        refuses=lambda c: "use init=kaiming_normal" if c.activation("nonlinearity") in ("relu", "abs") else None,
        activations=("tanh", "sigmoid", "gelu", "silu", "softplus", "relu", "abs"),
    ),
)
def kumar_(
    weight: Tensor, *, generator: Generator = None, layer: LayerSpec | None = None, nonlinearity: str = "auto"
) -> Tensor:
    """Normal with variance 1/(n phi'(0)^2 (1 + phi(0)^2)), shape (fan_out, fan_in); bias 0.

    tanh 1/n, sigmoid 12.8/n. NotApplicable for activations with a kink at 0 (use He).
    Source: Kumar 2017, 1704.08863 (not confirmed: derived from the formula).

    >>> round(float(kumar_(torch.empty(300, 100), nonlinearity="sigmoid").var() * 100))
    13
    """
    name = activation_name(nonlinearity, layer)
    if not activation(name).smooth:
        raise inapplicable(
            "init=kumar", f"it needs an activation that is smooth at 0, and {name} is not", "use init=kaiming_normal"
        )
    phi, slope = activation(name).phi, activation(name).slope
    at_zero, slope_at_zero = float(phi(_ZERO)), float(slope(_ZERO))
    scale = 1 / (slope_at_zero**2 * (1 + at_zero**2))
    return variance_scaling_(weight, generator=generator, scale=scale)


_ZERO = torch.zeros((), dtype=torch.float64).numpy()


def _kumar_scale(name: str) -> float:
    half = 1 / 0.25
    return {
        "tanh": 1.0,
        "sigmoid": 12.8,
        "gelu": half,
        "silu": half,
        "softplus": half / (1 + math.log(2) ** 2),
    }[name]


@catalogued(
    formula="W ~ N(0, 2/(5 d)), d = fan_in unless init.width says otherwise",
    source="Nguyen & Salazar 2019; gpt-neox small_init",
    meant_for="transformers; d is the model's width",
    contract=Contract(
        "normal, mean 0, variance 2/(5 d)",
        law=lambda c: stats.norm(0, math.sqrt(0.4 / (c["width"] or c.n))),
        variants=({"width": 100},),
    ),
)
def small_init_(weight: Tensor, *, generator: Generator = None, width: int | None = None) -> Tensor:
    """Normal with variance 2/(5 d), d = `width` or the layer's fan_in; shape (fan_out, fan_in).

    Source: gpt-neox small_init_init_method, where d is the width of the model.

    >>> round(float(small_init_(torch.empty(300, 100)).var() * 100), 1)
    0.4
    """
    return torch_init.normal_(weight, 0.0, math.sqrt(2 / (5 * _width(weight, width))), generator=generator)


@catalogued(
    formula="W ~ N(0, (2/(L sqrt d))^2), L = hidden layers, d = fan_in unless init.width says otherwise",
    source="Wang (mesh-transformer-jax); gpt-neox default for output layers",
    meant_for="the output matrices of residual branches",
    contract=Contract(
        "normal, mean 0, std 2/(L sqrt d)",
        law=lambda c: stats.norm(0, 2 / (c.layer.depth * math.sqrt(c["width"] or c.n))),
        variants=({"width": 100},),
    ),
)
def wang_init_(weight: Tensor, *, layer: LayerSpec, generator: Generator = None, width: int | None = None) -> Tensor:
    """Normal with std 2/(L sqrt d), L = hidden layers, d = `width` or fan_in; shape (fan_out, fan_in).

    Source: gpt-neox wang_init_method, its default for output layers of branches.

    >>> w = wang_init_(torch.empty(300, 100), layer=LayerSpec(1, 2, 100, 300))
    >>> round(float(w.std()), 1)
    0.1
    """
    if layer.depth < 1:
        raise inapplicable(
            "init=wang_init", "a net without hidden layers has no depth to divide by", "use a net with hidden layers"
        )
    return torch_init.normal_(weight, 0.0, 2 / (layer.depth * math.sqrt(_width(weight, width))), generator=generator)


def _width(weight: Tensor, width: int | None) -> int:
    if width is not None and width < 1:
        raise refusal(f"init.width={width}", "not allowed", "must be a whole number, 1 or more, or null (fan_in)")
    return weight.shape[1] if width is None else width


@catalogued(
    formula="hidden-to-hidden N(0, std^2/(r L)), first and last N(0, std^2); std .02, r additions a block",
    source="GPT-2",
    meant_for="residual branches of transformers",
    contract=Contract(
        "normal, mean 0, std as stated",
        law=lambda c: stats.norm(
            0,
            c["std"] / (1 if c.layer.first or c.layer.last else math.sqrt(c["additions"] * c.layer.depth)),
        ),
        positions=("first", "hidden", "last"),
        variants=({"additions": 2, "std": 1.0},),
    ),
)
def scaled_normal_(
    weight: Tensor, *, layer: LayerSpec, generator: Generator = None, std: float = 0.02, additions: int = 1
) -> Tensor:
    """GPT-2's rule: hidden matrices N(0, std^2/(r L)), first and last N(0, std^2); shape (fan_out, fan_in).

    L = hidden layers, r = `additions` to the residual stream a layer (2 in a transformer block, 1 for an
    MLP).
    Source: GPT-2; gpt-neox scaled_init_method.

    >>> w = scaled_normal_(torch.empty(99, 99), layer=LayerSpec(1, 4, 99, 99))
    >>> round(float(w.std()), 2)
    0.01
    """
    branch = not (layer.first or layer.last)
    factor = 1 / math.sqrt(additions * layer.depth) if branch else 1.0
    return torch_init.normal_(weight, 0.0, std * factor, generator=generator)


@cache
def _square_after(name: str, variance: float) -> float:
    """E phi(z)^2, z ~ N(0, variance); cached, because every layer of every run asks for it."""
    phi = activation(name).phi
    return gaussian_mean(lambda z: phi(z) ** 2, variance=variance)


def _autoinit_std(c: Case) -> float:
    # mean square of the input: of the data, or of phi(z), z ~ N(0, signal)
    square = {"relu": 0.5, "linear": 1.0, "abs": 1.0}[c.layer.activation] * c["signal"]
    return math.sqrt(c["signal"] / (c.n * (c["var"] + c["mean"] ** 2 if c.layer.first else square)))


@catalogued(
    formula="truncated normal (scaled) of variance signal/(n (v + mu^2)), (mu, v) of the layer's input",
    source="Bingham & Miikkulainen 2023 (2109.08958); cognizant-ai-labs/autoinit",
    meant_for="any activation: every pre-activation starts at mean 0, variance signal",
    contract=Contract(
        "normal cut at 2 std, variance signal/(n E x^2)",
        law=lambda c: TwoSigma(0.0, _autoinit_std(c) / 0.87962566103423978),
        mean_square=lambda c: _autoinit_std(c) ** 2,
        positions=("first", "hidden", "last"),
        variants=({"signal": 2.0, "mean": 2.0, "var": 3.0},),
        activations=("relu", "linear", "abs"),
    ),
)
def autoinit_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    mean: float = 0.0,
    var: float = 1.0,
    signal: float = 1.0,
) -> Tensor:
    """AutoInit: truncated normal of variance signal/(n (v + mu^2)), shape (fan_out, fan_in); bias 0.

    (mu, v) is the mean and variance of the layer's input: (`mean`, `var`) of the data, then those of phi(z),
    z ~ N(0, signal), by integration. relu: 1/n in the first layer, then 2/n. Sees no data.
    Source: cognizant-ai-labs/autoinit.

    >>> w = autoinit_(torch.empty(200, 200), layer=LayerSpec(1, 2, 200, 200))
    >>> round(float(w.var() * 200), 1)
    2.0
    """
    if not (signal > 0 and var >= 0 and var + abs(mean) > 0):
        raise refusal(
            f"init.mean={mean}, init.var={var}, init.signal={signal}",
            "a variance would not be above 0",
            "write init.signal above 0, and init.var or init.mean other than 0",
        )
    square = var + mean**2 if layer.first else _square_after(layer.activation, signal)
    scale = signal / square
    return variance_scaling_(weight, generator=generator, scale=scale, distribution="truncated_normal")
