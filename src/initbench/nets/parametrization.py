"""Parametrizations: factors of each layer's start, forward pass and learning rate, relative to the standard net.

They multiply whatever initializer is chosen; with factors 1 everywhere a net is the standard one. n = fan_in, m = fan_out;
r_in = n / base_width and r_out = m / base_width say how much wider a layer is than the base net.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from initbench.config.groups import LayerSpec, ModelConfig
from initbench.config.optimizers import OPTIMIZERS
from initbench.errors import inapplicable


@dataclass(frozen=True)
class Factors:
    """Of one layer: Z = forward W H + b, with W and b started `init` and `bias_init` times as large as the initializer
    says, and stepped with `lr` and `bias_lr` times the learning rate."""

    init: float = 1.0
    bias_init: float = 1.0
    forward: float = 1.0
    lr: float = 1.0
    bias_lr: float = 1.0


def standard(layer: LayerSpec, base: int, adaptive: bool) -> Factors:
    """All factors 1."""
    return Factors()


def ntk(layer: LayerSpec, base: int, adaptive: bool) -> Factors:
    """W starts sqrt n times as large and the forward pass divides by sqrt n (Jacot et al. 2018): the same function at
    the start, and gradient descent that has a limit as the widths grow. With init=lecun_normal, W ~ N(0, 1).

    >>> ntk(LayerSpec(1, 3, fan_in=16, fan_out=16), 32, False)
    Factors(init=4.0, bias_init=1.0, forward=0.25, lr=1.0, bias_lr=1.0)
    """
    return Factors(init=math.sqrt(layer.fan_in), forward=1 / math.sqrt(layer.fan_in))


def mup(layer: LayerSpec, base: int, adaptive: bool) -> Factors:
    """Maximal update parametrization (Tensor Programs V), in the form of microsoft/mup.

    Output layer: input divided by r_in in the forward pass, W and b started sqrt r_in times as large. Learning rates:
    Adam and its kin 1/r_in on hidden matrices, 1 elsewhere; SGD r_out / r_in on hidden matrices, r_out on the input
    layer and all hidden biases, r_in on the output matrix. At base_width the net is the standard one.

    >>> mup(LayerSpec(3, 3, fan_in=64, fan_out=10), 16, adaptive=True)
    Factors(init=2.0, bias_init=2.0, forward=0.25, lr=1.0, bias_lr=1.0)
    """
    r_in, r_out = layer.fan_in / base, layer.fan_out / base
    if layer.last:
        return Factors(math.sqrt(r_in), math.sqrt(r_in), 1 / r_in, lr=1.0 if adaptive else r_in)
    if adaptive:
        return Factors(lr=1.0 if layer.first else 1 / r_in)
    return Factors(lr=r_out if layer.first else r_out / r_in, bias_lr=r_out)


def spectral(layer: LayerSpec, base: int, adaptive: bool) -> Factors:
    """Spectral condition (Yang et al. 2023): start times min(1, sqrt(m/n)), learning rate of W times m/n under SGD.

    With an initializer of standard deviation n^-1/2 (lecun_normal) that is sigma = n^-1/2 min(1, sqrt(m/n)). Under Adam
    and its kin the same condition, an update of spectral norm ~ sqrt(m/n), gives 1/n (derived here); biases 1.

    >>> spectral(LayerSpec(2, 2, fan_in=16, fan_out=4), 32, adaptive=False)
    Factors(init=0.5, bias_init=1.0, forward=1.0, lr=0.25, bias_lr=1.0)
    """
    n, m = layer.fan_in, layer.fan_out
    return Factors(init=min(1.0, math.sqrt(m / n)), lr=1 / n if adaptive else m / n)


PARAMETRIZATIONS: dict[str, Callable[[LayerSpec, int, bool], Factors]] = {
    "standard": standard,
    "ntk": ntk,
    "mup": mup,
    "spectral": spectral,
    "depth_mup": mup,  # slowed down by depth, see `factors`
}


def factors(model: ModelConfig, optimizer: str, layers: Sequence[LayerSpec]) -> tuple[Factors, ...]:
    """The factors of each layer under an optimizer; NotApplicable where the parametrization has no rule for it.

    >>> {one.lr for one in factors(ModelConfig(), "sgd", ModelConfig().layers(64, 10))}
    {1.0}
    """
    kind = model.parametrization
    rule, adaptive = PARAMETRIZATIONS[kind], OPTIMIZERS[optimizer].adaptive
    if OPTIMIZERS[optimizer].rest is not None and kind in ("mup", "spectral"):
        what = "its learning rates are for updates by entry, and this optimizer's are by matrix"
        raise inapplicable(f"model.parametrization={kind} optim={optimizer}", what, "use the standard one")
    found = tuple(rule(layer, model.base_width, adaptive) for layer in layers)
    if kind != "depth_mup":
        return found
    if adaptive:
        what = "its learning rate is for updates that grow with the gradient"
        raise inapplicable(f"model.parametrization={kind} optim={optimizer}", what, "use optim=sgd")
    slower = math.sqrt(model.base_depth**3 / cubed_paths(model))
    return tuple(replace(one, lr=one.lr * slower, bias_lr=one.bias_lr * slower) for one in found)


def cubed_paths(model: ModelConfig) -> int:
    """Sum over the paths from input to output of the cubed number of hidden layers on them: depth^3 for a plain net.

    The largest learning rate at which one step changes a ReLU net's preactivations by a bounded amount falls as its
    inverse square root: depth^(-3/2) (Jelassi et al. 2023, 2305.07810), and for sums of paths of a residual net that
    starts by in-degree (Chen et al. 2024, 2402.17440).

    >>> cubed_paths(ModelConfig(depth=4)), cubed_paths(ModelConfig("residual_mlp", depth=3, residual="indegree"))
    (64, 28)
    """
    if model.residual in (None, "none"):
        return model.depth**3
    if model.residual != "indegree":
        what = "its learning rate is for plain nets, and for residual nets that start by in-degree"
        raise inapplicable("model.parametrization=depth_mup", what, "use model=mlp or model.residual=indegree")
    count, k = (model.depth - 1) // model.branch, model.branch
    return sum(math.comb(count, taken) * (1 + k * taken) ** 3 for taken in range(count + 1))


def decay_factor(lr: float, optimizer: str) -> float:
    """Weight decay is divided by the learning rate's factor, so that lr times decay stays; decoupled decay is left as
    it is (microsoft/mup).

    >>> decay_factor(4.0, "sgd"), decay_factor(4.0, "adamw")
    (0.25, 1.0)
    """
    return 1.0 if OPTIMIZERS[optimizer].decoupled else 1 / lr
