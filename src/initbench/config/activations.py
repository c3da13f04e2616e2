"""The activations: what each name is, as NumPy functions and in facts.

They are written three times more, on purpose: stacked (nets/mlp.py), compiled (engine/kernel/activations.py), and by the
oracle, which must not import what it checks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from initbench.startup.late import special

Function = Callable[[np.ndarray], np.ndarray]

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
LEAKY_SLOPE = 0.01


@dataclass(frozen=True)
class Activation:
    """phi and its derivative, on arrays of any shape.

    `torch`: dotted name of torch's function. `slopes`: of z < 0 and z > 0 where phi is linear on both sides. `smooth`:
    whether phi' is continuous. `range`: the pair of bounds where phi is bounded on both sides.
    """

    phi: Function
    slope: Function
    torch: str
    slopes: tuple[float, float] | None = None
    smooth: bool = True
    range: tuple[float, float] | None = None

    @property
    def kinked(self) -> bool:
        """Whether a unit can be dead: linear on both sides of a kink.

        >>> ACTIVATIONS["relu"].kinked, ACTIVATIONS["linear"].kinked
        (True, False)
        """
        return self.slopes is not None and not self.smooth


def _elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _elu_slope(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0)))


def gaussian_density(x: np.ndarray) -> np.ndarray:
    """Density of N(0, 1).

    >>> round(float(gaussian_density(np.array(0.0))), 4)
    0.3989
    """
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(
        lambda x: np.maximum(x, 0), lambda x: (x > 0).astype(float), "torch.relu", slopes=(0.0, 1.0), smooth=False
    ),
    "leaky_relu": Activation(
        lambda x: np.where(x > 0, x, LEAKY_SLOPE * x),
        lambda x: np.where(x > 0, 1.0, LEAKY_SLOPE),
        "torch.nn.functional.leaky_relu",
        slopes=(LEAKY_SLOPE, 1.0),
        smooth=False,
    ),
    "tanh": Activation(np.tanh, lambda x: 1 - np.tanh(x) ** 2, "torch.tanh", range=(-1.0, 1.0)),
    "sigmoid": Activation(
        lambda x: special.expit(x),
        lambda x: special.expit(x) * special.expit(-x),
        "torch.sigmoid",
        range=(0.0, 1.0),
    ),
    "gelu": Activation(
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * gaussian_density(x),
        "torch.nn.functional.gelu",
    ),
    "silu": Activation(
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) * (1 + x * special.expit(-x)),
        "torch.nn.functional.silu",
    ),
    "elu": Activation(_elu, _elu_slope, "torch.nn.functional.elu"),
    "selu": Activation(
        lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
        lambda x: SELU_SCALE * _elu_slope(x, SELU_ALPHA),
        "torch.selu",
        smooth=False,
    ),
    "softplus": Activation(
        lambda x: np.logaddexp(0, x), lambda x: special.expit(x), "torch.nn.functional.softplus"
    ),
    "sin": Activation(np.sin, np.cos, "torch.sin", range=(-1.0, 1.0)),
    "erf": Activation(
        lambda x: special.erf(x),
        lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
        "torch.erf",
        range=(-1.0, 1.0),
    ),
    "abs": Activation(np.abs, np.sign, "torch.abs", slopes=(-1.0, 1.0), smooth=False),
    "linear": Activation(lambda x: x, np.ones_like, "torch.positive", slopes=(1.0, 1.0)),
}  # fmt: skip
