"""Laws that include the bias: weight and bias are drawn together, so the bias rule of the option is overruled."""

import math

import torch
from torch import Tensor
from torch.nn import init as torch_init

from initbench.config.checks import unknown
from initbench.config.groups import LayerSpec
from initbench.errors import refusal, shown
from initbench.initializers._draw import fans, gaussian, put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.gains import activation_name
from initbench.initializers.laws import Mixture
from initbench.initializers.registry import catalogued
from initbench.initializers.variance import lecun_uniform_
from initbench.startup.late import stats

Generator = torch.Generator | None

RAI_SCALE = 0.6007


def _rai_law(c: Case) -> Mixture:
    return Mixture(1 / (c.n + 1), stats.beta(2, 1), stats.norm(0, 0.6007 / math.sqrt(c.n)))


def _beta_threshold(c: Case) -> float:
    return 6 * 0.6007 / math.sqrt(c.n)  # no normal entry gets there


@catalogued(
    formula="V = [W | b]: N(0, .6007^2/n); in each row one random entry replaced by Beta(2, 1)",
    source="Lu et al. 2019 (1903.06733)",
    meant_for="deep narrow ReLU nets: fewer are dead at birth",
    note="not confirmed: why .6007; the law is that of several public copies of one function",
    contract=Contract(
        "Beta(2,1) with probability 1/(n+1), else N(0, .6007^2/n); one Beta entry per row, bias included",
        law=_rai_law,
        independent="rows",
        fills_bias=True,
        bias_law=_rai_law,
        checks={
            "at most one entry per row beyond 6 sigma": lambda c, w, b: bool(
                (torch.cat([w, b[:, None]], 1).gt(_beta_threshold(c)).sum(1) <= 1).all()
            )
        },
        statistics={
            "share of rows with a Beta entry beyond 6 sigma": (
                lambda c, w, b: float(torch.cat([w, b[:, None]], 1).gt(_beta_threshold(c)).any(1).double().mean()),
                lambda c: 1 - _beta_threshold(c) ** 2 if _beta_threshold(c) < 1 else None,
            )
        },
    ),
)
def rai_(weight: Tensor, *, generator: Generator = None, bias: Tensor | None = None) -> Tensor:
    """Randomized asymmetric initialization of [W | b]; shapes (fan_out, fan_in) and (fan_out,).

    Every entry N(0, .6007^2/n); then in each row one of the n+1 entries, drawn uniformly, becomes Beta(2, 1)
    (density 2x on 0..1). Without a bias the row keeps its draw where the bias is chosen.
    Source: Lu et al. 2019, 1903.06733 (not confirmed: the derivation of .6007). For deep narrow ReLU nets.

    >>> b = torch.empty(4000)
    >>> w = rai_(torch.empty(4000, 3), bias=b)
    >>> abs(float(w.mean()) - 1 / 6) < 0.03  # 2/3 in one of four entries
    True
    """
    n, m = fans(weight)
    v = RAI_SCALE / math.sqrt(n) * gaussian(weight, m, n + 1, generator=generator)
    column = torch.randint(n + 1, (m,), generator=generator)
    # the distribution function of Beta(2, 1) is x^2
    v[torch.arange(m), column] = torch.empty_like(v[:, 0]).uniform_(generator=generator).sqrt()
    if bias is not None:
        put_(bias, v[:, n])
    return put_(weight, v[:, :n])


ACTIVE_RANGES = {"tanh": (-2.0, 2.0), "erf": (-2.0, 2.0), "sigmoid": (-4.0, 4.0), "linear": (-1.0, 1.0)}


def _beta(c: Case) -> float:
    return 0.7 * c.m ** (1 / c.n)


def _span(c: Case) -> tuple[float, float]:
    low, high = ACTIVE_RANGES[c.layer.activation] if c["active"] == "auto" else c["active"]
    return (high + low) / 2, (high - low) / 2


def _plain_inputs(c: Case) -> bool:
    return tuple(c["input_range"]) == (-1.0, 1.0)


def _widrow_bias(c: Case) -> object:
    if not _plain_inputs(c) or c["bias_mode"] != "uniform":
        return None
    middle, half = _span(c)
    return stats.uniform(middle - half * _beta(c), 2 * half * _beta(c))


def _linspace_bias(c: Case, w: Tensor, b: Tensor) -> bool:
    if c["bias_mode"] != "linspace":
        return True
    middle, half = _span(c)
    p, q = c["input_range"]
    even = torch.linspace(-1, 1, c.m, dtype=torch.float64) if c.m > 1 else torch.zeros(1, dtype=torch.float64)
    expected = half * _beta(c) * even * torch.sign(w[:, 0]) + middle
    shift = w.sum(1) * (q - p) / 2 * (1 - 2 * q / (q - p))  # W before the input scaling
    return torch.allclose(b, expected + shift, rtol=1e-4, atol=1e-4)


@catalogued(
    formula="rows of norm beta = .7 m^(1/n), direction U(-1,1)^n normalized; bias U(-beta, beta) or "
    "beta linspace(-1,1) sign W_i0",
    source="Nguyen & Widrow 1990, as in MATLAB initnw and neurolab",
    meant_for="one hidden layer of tanh or sigmoid: the units tile the input range",
    note="not confirmed: the 1990 text was not read",
    contract=Contract(
        "row norm beta times half the active range (times 2/(q-p) for inputs in [p, q]); its bias rule",
        row_norm=lambda c: _beta(c) * _span(c)[1] * 2 / (c["input_range"][1] - c["input_range"][0]),
        mean=lambda c: 0.0,
        fills_bias=True,
        bias_law=_widrow_bias,
        checks={"b = beta linspace sign(W_i0)": _linspace_bias},
        statistics={
            "fourth moment of a direction in two dimensions": (
                lambda c, w, b: float((w**4).sum(1).mean() / (w**2).sum(1).mean() ** 2),
                lambda c: _square_fourth() if c.n == 2 else None,
            )
        },
        variants=(
            {"bias_mode": "linspace"},
            {"active": (-2.0, 2.0)},
            {"active": (-1.0, 3.0), "input_range": (0.0, 1.0), "bias_mode": "linspace"},
            {"active": "auto"},
        ),
        activations=("tanh", "sigmoid"),
    ),
)
def nguyen_widrow_(
    weight: Tensor,
    *,
    generator: Generator = None,
    bias: Tensor | None = None,
    layer: LayerSpec | None = None,
    bias_mode: str = "uniform",
    active: str | tuple[float, float] = (-1.0, 1.0),
    input_range: tuple[float, float] = (-1.0, 1.0),
) -> Tensor:
    """Nguyen-Widrow: rows of norm beta = .7 m^(1/n) and biases that spread the units; (fan_out, fan_in).

    Direction U(-1,1)^n normalized (n = 1: signs). b ~ U(-beta, beta), or `linspace`: beta linspace(-1,1,m)_i
    sign(W_i0), 0 for m = 1. Then for the active range [lo, hi] of phi (`auto`: tanh, erf +-2, sigmoid +-4,
    else +-1): W *= (hi-lo)/2, b = (hi-lo)/2 b + (hi+lo)/2; then for inputs in [p, q]: b += W (1 - 2q/(q-p))
    summed over the inputs, W *= 2/(q-p). Source: MATLAB initnw.m, neurolab (not confirmed: the 1990 text).

    >>> nguyen_widrow_(torch.empty(2, 1)).abs()
    tensor([[1.4000],
            [1.4000]])
    """
    n, m = fans(weight)
    low, high = _active(active, layer)
    p, q = _pair("input_range", input_range)
    beta = 0.7 * m ** (1 / n)
    rows = torch.empty_like(weight).uniform_(-1, 1, generator=generator)
    rows = beta * rows / rows.norm(dim=1, keepdim=True)
    if bias_mode == "uniform":
        shift = torch.empty_like(rows[:, 0]).uniform_(-beta, beta, generator=generator)
    elif bias_mode == "linspace":
        even = torch.linspace(-1, 1, m, dtype=weight.dtype) if m > 1 else torch.zeros(1, dtype=weight.dtype)
        shift = beta * even * rows[:, 0].sign()
    else:
        raise unknown("init.bias_mode", bias_mode, ("uniform", "linspace"))
    half, middle = (high - low) / 2, (high + low) / 2
    rows, shift = half * rows, half * shift + middle
    if bias is not None:
        put_(bias, shift + rows.sum(1) * (1 - 2 * q / (q - p)))
    return put_(weight, rows * (2 / (q - p)))


def _active(active: str | tuple[float, float], layer: LayerSpec | None) -> tuple[float, float]:
    if active == "auto":
        return ACTIVE_RANGES.get(activation_name("auto", layer), (-1.0, 1.0))
    return _pair("active", active)


def _pair(key: str, value: object) -> tuple[float, float]:
    good = not isinstance(value, str) and hasattr(value, "__len__") and len(value) == 2  # type: ignore[arg-type]
    if not good or not float(value[0]) < float(value[1]):  # type: ignore[index]
        raise refusal(f"init.{key}={shown(value)}", "not allowed", "must be two numbers [low, high], low below high")
    return float(value[0]), float(value[1])  # type: ignore[index]


def _square_fourth() -> float:
    """E (cos^4 t + sin^4 t) for the direction t of a uniform point of the square: 3/2 - pi/4.

    On (0, pi/4) the angle has density sec^2 t, and sec^2 (cos^4 + sin^4) = sec^2 - 2 sin^2.
    """
    return 1.5 - math.pi / 4


def _sklearn_bound(c: Case) -> float:
    factor = (2.0 if c.layer.activation == "sigmoid" else 6.0) if c["factor"] == "auto" else c["factor"]
    return math.sqrt(factor / (c.n + c.m))


@catalogued(
    formula="W, b ~ U(+-sqrt(f/(n+m))), f = 6, or 2 for sigmoid",
    source="scikit-learn MLPClassifier",
    meant_for="reproducing scikit-learn's MLP: Glorot's bound for the bias too",
    contract=Contract(
        "weights and biases U(+-sqrt(f/(n+m)))",
        law=lambda c: stats.uniform(-_sklearn_bound(c), 2 * _sklearn_bound(c)),
        fills_bias=True,
        bias_law=lambda c: stats.uniform(-_sklearn_bound(c), 2 * _sklearn_bound(c)),
        variants=({"factor": 3.0},),
        activations=("relu", "sigmoid"),
    ),
)
def sklearn_mlp_(
    weight: Tensor,
    *,
    generator: Generator = None,
    bias: Tensor | None = None,
    layer: LayerSpec | None = None,
    factor: float | str = "auto",
) -> Tensor:
    """scikit-learn's MLP: W and b ~ U(+-sqrt(f/(n+m))), f = 6, or 2 in sigmoid nets; (fan_out, fan_in).

    Source: sklearn.neural_network, _init_coef.

    >>> bool(sklearn_mlp_(torch.empty(3, 3), factor=6).abs().max() <= 1)
    True
    """
    n, m = fans(weight)
    if factor == "auto":
        factor = 2.0 if layer is not None and layer.activation == "sigmoid" else 6.0
    if isinstance(factor, (str, bool)):
        raise refusal(f"init.factor={shown(factor)}", "not allowed", "must be a number or auto")
    bound = math.sqrt(factor / (n + m))
    torch_init.uniform_(weight, -bound, bound, generator=generator)
    if bias is not None:
        torch_init.uniform_(bias, -bound, bound, generator=generator)
    return weight


def _convex_moments(n: int, rho: float) -> tuple[float, float]:
    """(E w)^2 and Var w of the weights of an input-convex ReLU layer with fixed points variance 1, correlation rho."""
    mixed = math.sqrt(1 - rho**2) + rho * math.acos(-rho)
    f = n * (math.pi - n + (n - 1) * mixed) / (2 * math.pi)
    return rho / f, 2 * (1 - rho) / n


def _stated_convex(c: Case) -> tuple[float, float]:
    """(mu, sigma) of log W, from the law's mean and variance."""
    rho, n = c["rho"], c.n
    angle = math.pi / 2 + math.asin(rho)  # acos(-rho)
    square = rho * 2 * math.pi / n / (math.pi - n + (n - 1) * (math.cos(math.asin(rho)) + rho * angle))
    spread = math.log1p((2 - 2 * rho) / n / square)
    return 0.5 * math.log(square) - spread / 2, math.sqrt(spread)


def _convex_law(c: Case) -> object:
    if c.layer.first:
        return stats.uniform(-math.sqrt(3 / c.n), 2 * math.sqrt(3 / c.n))
    mu, sigma = _stated_convex(c)
    return stats.lognorm(sigma, scale=math.exp(mu))


def _convex_bias(c: Case, w: Tensor, b: Tensor) -> bool:
    if c.layer.first:
        return bool((b == 1).all())  # handed over as ones, not touched
    mu, sigma = _stated_convex(c)
    mean = math.exp(mu + sigma**2 / 2)
    return torch.allclose(b, torch.full_like(b, -c.n * mean / math.sqrt(2 * math.pi)), rtol=1e-5)


@catalogued(
    formula="log-normal, (E w)^2 = rho/f(n), Var w = 2(1-rho)/n; b = -n E w/sqrt(2 pi); first layer LeCun",
    source="ml-jku/convex-init (Hoedt & Klambauer 2023)",
    meant_for="non-negative weights (input-convex ReLU nets)",
    contract=Contract(
        "log-normal weights with the stated moments, all positive, constant bias",
        law=_convex_law,
        moments=False,
        fills_bias=True,
        checks={"b = -n E w/sqrt(2 pi)": _convex_bias},
        statistics={
            "mean of log W": (
                lambda c, w, b: float(w.abs().log().mean()),
                lambda c: None if c.layer.first else _stated_convex(c)[0],
            ),
            "mean square of log W - mu": (
                lambda c, w, b: float((w.abs().log() - _stated_convex(c)[0]).square().mean()),
                lambda c: None if c.layer.first else _stated_convex(c)[1] ** 2,
            ),
        },
        positions=("first", "hidden", "last"),
        variants=({"rho": 0.2},),
    ),
)
def convex_init_(
    weight: Tensor,
    *,
    generator: Generator = None,
    bias: Tensor | None = None,
    layer: LayerSpec | None = None,
    rho: float = 0.5,
) -> Tensor:
    """Log-normal, so non-negative, weights that keep a ReLU layer's variance 1 and correlation rho; (fan_out, fan_in).

    (E w)^2 = rho/f, Var w = 2(1-rho)/n, f = n(pi - n + (n-1)(sqrt(1-rho^2) + rho acos(-rho)))/(2 pi);
    b = -n E w/sqrt(2 pi). The first layer, which may have any sign, is LeCun's uniform and keeps its bias.
    Source: ml-jku/convex-init.

    >>> bool((convex_init_(torch.empty(5, 5)) > 0).all())
    True
    """
    if not 0 < rho < 1:
        raise refusal(
            f"init.rho={rho}",
            "not allowed",
            "must be a number above 0 and below 1 (the correlation at the fixed point)",
        )
    if layer is not None and layer.first:
        return lecun_uniform_(weight, generator=generator)
    n, _ = fans(weight)
    square, variance = _convex_moments(n, rho)
    spread = math.log(1 + variance / square)
    if bias is not None:
        put_(bias, torch.full_like(bias, -n * math.sqrt(square / (2 * math.pi))))
    log_w = (math.log(square) - spread) / 2 + math.sqrt(spread) * gaussian(weight, generator=generator)
    return put_(weight, log_w.exp())
