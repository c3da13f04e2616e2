"""Plain laws: constants, and draws that do not look at the shape of the matrix."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import init as torch_init

from initbench.errors import inapplicable, refusal
from initbench.initializers._draw import put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.laws import Mirrored, TwoSigma
from initbench.initializers.registry import catalogued
from initbench.startup.late import stats

Generator = torch.Generator | None

# Standard deviation of a standard normal cut at +-2: the number JAX, Keras and timm divide by.
TRUNCATED_STD = 0.87962566103423978


@catalogued(
    formula="W = value",
    source="torch",
    meant_for="the textbook failure: all units of a layer stay identical",
    contract=Contract(
        "every entry equals value",
        deterministic=True,
        values=lambda c: np.full((c.m, c.n), c["value"]),
        variants=({"value": 42.0}, {"value": -0.5}),
    ),
)
def constant_(weight: Tensor, *, generator: Generator = None, value: float = 1.0) -> Tensor:
    """Every entry equals `value`: W_ij = value, shape (fan_out, fan_in).

    Source: torch.nn.init.constant_. The textbook failure: all units of a layer stay identical.

    >>> constant_(torch.empty(1, 2), value=42.0)
    tensor([[42., 42.]])
    """
    return torch_init.constant_(weight, value)


@catalogued(
    formula="W = 1",
    source="torch",
    meant_for="a constant: units stay identical",
    contract=Contract("every entry is 1", deterministic=True, values=lambda c: np.ones((c.m, c.n))),
)
def ones_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Every entry is one: `constant_` with value 1, shape (fan_out, fan_in).

    Source: torch.nn.init.ones_.

    >>> ones_(torch.empty(1, 2))
    tensor([[1., 1.]])
    """
    return constant_(weight, value=1.0)


@catalogued(
    formula="W = 0",
    source="torch",
    meant_for="a head that starts silent; everywhere: a net that cannot move",
    contract=Contract(
        "every entry is 0",
        deterministic=True,
        values=lambda c: np.zeros((c.m, c.n)),
        zeros=lambda c: c.n * c.m,
    ),
)
def zeros_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Every entry is zero: `constant_` with value 0, shape (fan_out, fan_in).

    Source: torch.nn.init.zeros_. In every layer at once, a ReLU or tanh net cannot move.

    >>> zeros_(torch.empty(1, 2))
    tensor([[0., 0.]])
    """
    return constant_(weight, value=0.0)


@catalogued(
    formula="W ~ U(a, b)",
    source="torch",
    meant_for="a law chosen by hand",
    contract=Contract(
        "U(a, b)",
        law=lambda c: stats.uniform(c["a"], c["b"] - c["a"]),
        variants=({"a": 0.0, "b": 1.0}, {"a": 3.0, "b": 5.0}),
    ),
)
def uniform_(weight: Tensor, *, generator: Generator = None, a: float = -0.05, b: float = 0.05) -> Tensor:
    """Uniform draws: W_ij ~ U(a, b), shape (fan_out, fan_in).

    Source: torch.nn.init.uniform_, whose default is U(0, 1); the default here is Keras' symmetric +-.05.

    >>> bool(uniform_(torch.empty(2, 3), a=1.0, b=2.0).min() >= 1)
    True
    """
    return torch_init.uniform_(weight, a, b, generator=generator)


@catalogued(
    formula="W ~ N(mean, std^2)",
    source="torch",
    meant_for="a law chosen by hand, e.g. the small N(0, .01^2)",
    contract=Contract(
        "N(mean, std^2)",
        law=lambda c: stats.norm(c["mean"], c["std"]),
        variants=({"mean": 0.0, "std": 1.0}, {"mean": 0.3, "std": 0.5}),
    ),
)
def normal_(weight: Tensor, *, generator: Generator = None, mean: float = 0.0, std: float = 0.01) -> Tensor:
    """Normal draws: W_ij ~ N(mean, std^2), shape (fan_out, fan_in).

    Source: torch.nn.init.normal_, whose default std is 1; .01 is what textbooks fill by hand.

    >>> normal_(torch.empty(2, 3), generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    return torch_init.normal_(weight, mean, std, generator=generator)


def _inside(w: Tensor, low: float, high: float) -> bool:
    """Whether all draws lie between the bounds, but for rounding."""
    rounding = 1e-6 * max(1.0, abs(low), abs(high))
    return bool(w.min() >= low - rounding) and bool(w.max() <= high + rounding)


@catalogued(
    formula="N(mean, std^2) conditioned on the absolute interval [a, b]",
    source="torch, timm",
    meant_for="torch's trunc_normal_: with std .02 and bounds +-2 nothing is cut",
    contract=Contract(
        "N(mean, std^2) given a <= W <= b",
        law=lambda c: stats.truncnorm(
            (c["a"] - c["mean"]) / c["std"], (c["b"] - c["mean"]) / c["std"], c["mean"], c["std"]
        ),
        variants=({"std": 0.02}, {"a": -0.5, "b": 1.0}, {"mean": 0.5, "std": 0.5, "a": -0.1, "b": 1.7}),
        checks={"a <= W <= b": lambda c, w, b: _inside(w, c["a"], c["b"])},
    ),
)
def trunc_normal_(
    weight: Tensor,
    *,
    generator: Generator = None,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
) -> Tensor:
    """Truncated normal with ABSOLUTE bounds: N(mean, std^2) given a <= W_ij <= b, shape (fan_out, fan_in).

    Source: torch.nn.init.trunc_normal_. Two relatives cut at 2 std instead: `trunc_normal_2sigma_`
    (true std .87962566 std) and `trunc_normal_scaled_` (true std as asked).

    >>> bool(trunc_normal_(torch.empty(20, 20), a=-1.0, b=0.5).max() <= 0.5)
    True
    """
    if not a < b:
        raise refusal(f"init.a={a}, init.b={b}", "the interval is empty", "write init.a below init.b")
    return torch_init.trunc_normal_(weight, mean, std, a, b, generator=generator)


@catalogued(
    formula="W = mean + std z, z ~ N(0,1) cut at +-2; true std = .87962566 std",
    source="jax truncated_normal, keras TruncatedNormal, timm trunc_normal_tf_",
    meant_for="reproducing JAX and Keras, where truncation silently shrinks the std",
    contract=Contract(
        "N cut at 2 std, true std .87962566 std",
        law=lambda c: TwoSigma(c["mean"], c["std"]),
        mean_square=lambda c: c["mean"] ** 2 + (0.87962566 * c["std"]) ** 2,
        variants=({"std": 0.05}, {"mean": 1.0, "std": 0.5}),
        checks={"|W - mean| <= 2 std": lambda c, w, b: _inside(w - c["mean"], -2 * c["std"], 2 * c["std"])},
    ),
)
def trunc_normal_2sigma_(weight: Tensor, *, generator: Generator = None, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal cut at 2 std, not corrected: W = mean + std z, |z| <= 2, true std .87962566 std, (fan_out, fan_in).

    Source: jax.nn.initializers.truncated_normal, keras TruncatedNormal, timm trunc_normal_tf_.

    >>> bool(trunc_normal_2sigma_(torch.empty(20, 20), std=0.1).abs().max() <= 0.2)
    True
    """
    torch_init.trunc_normal_(weight, 0.0, 1.0, -2.0, 2.0, generator=generator)
    return put_(weight, mean + std * weight.detach())


@catalogued(
    formula="W = mean + std z / .87962566, z ~ N(0,1) cut at +-2; true std = std",
    source="jax, keras and timm variance_scaling(truncated_normal); flax' default",
    meant_for="the truncated law of keras glorot_normal, he_normal, lecun_normal",
    contract=Contract(
        "N cut at 2 std, then rescaled: true std as asked",
        law=lambda c: TwoSigma(c["mean"], c["std"] / 0.87962566103423978),
        mean_square=lambda c: c["mean"] ** 2 + c["std"] ** 2,
        variants=({"std": 0.05}, {"mean": 1.0, "std": 0.5}),
    ),
)
def trunc_normal_scaled_(weight: Tensor, *, generator: Generator = None, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal cut at 2 std, rescaled so that the true std is the asked one; shape (fan_out, fan_in).

    W = mean + std z / .87962566103423978, z ~ N(0,1) given |z| <= 2.
    Source: variance_scaling(truncated_normal) of jax, keras, timm; flax' default kernel.

    >>> round(float(trunc_normal_scaled_(torch.empty(300, 300), std=2.0).std()), 1)
    2.0
    """
    return trunc_normal_2sigma_(weight, generator=generator, mean=mean, std=std / TRUNCATED_STD)


@catalogued(
    formula="W ~ U(low, high) w.p. 1/4, U(-high, -low) w.p. 1/4, 0 w.p. 1/2",
    source="the custom initializer of the notes: U(-10, 10), values below 5 in size set to 0",
    meant_for="an example of your own initializer; much too large to train",
    contract=Contract(
        "half the entries 0, the others +-U(low, high)",
        law=lambda c: Mirrored(stats.uniform(c["low"], c["high"] - c["low"])),
        zero_share=lambda c: c["low"] / c["high"],
        checks={"low <= |W| < high or W = 0": lambda c, w, b: _two_sided(c, w)},
        variants=({"low": 0.1, "high": 0.2},),
    ),
)
def two_sided_uniform_(weight: Tensor, *, generator: Generator = None, low: float = 5.0, high: float = 10.0) -> Tensor:
    """Uniform on both sides of a gap: W = U(-high, high), then 0 where |W| < low; shape (fan_out, fan_in).

    With low = high/2: U(low, high) and U(-high, -low) with probability 1/4 each, 0 with 1/2.
    Source: the custom initializer of "Dive into Deep Learning", 6.3.

    >>> w = two_sided_uniform_(torch.empty(20, 20))
    >>> bool(((w == 0) | (w.abs() >= 5)).all())
    True
    """
    if not 0 <= low < high:
        raise refusal(f"init.low={low}, init.high={high}", "not allowed", "must be 0 <= init.low < init.high")
    torch_init.uniform_(weight, -high, high, generator=generator)
    return put_(weight, weight.detach() * (weight.detach().abs() >= low))


def _two_sided(c: Case, w: Tensor) -> bool:
    size = w[w != 0].abs()
    return bool((size >= c["low"] * (1 - 1e-6)).all() and (size <= c["high"] * (1 + 1e-6)).all())


@catalogued(
    formula="needs a convolution kernel",
    source="torch",
    meant_for="convolutions only; on an MLP use eye",
    contract=Contract("always refuses a matrix, and names eye", refuses=lambda c: "use init=eye"),
)
def dirac_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """The identity of convolutions; a matrix `(fan_out, fan_in)` always raises NotApplicable.

    Source: torch.nn.init.dirac_, which takes 3 to 5 dimensions.

    >>> dirac_(torch.empty(2, 2))
    Traceback (most recent call last):
    initbench.errors.NotApplicable: init=dirac: it needs 3 to 5 dimensions (a convolution kernel); use init=eye for
    an MLP
    """
    raise inapplicable("init=dirac", "it needs 3 to 5 dimensions (a convolution kernel)", "use init=eye for an MLP")
