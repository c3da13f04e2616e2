"""Moments of the activations under a Gaussian, and the gains made of them.

>>> round(calculate_gain("relu") ** 2, 12)
2.0
"""

import math
import re
from functools import cache

import numpy as np

from initbench.config.activations import ACTIVATIONS, LEAKY_SLOPE, Activation, Function, gaussian_density
from initbench.config.checks import unknown
from initbench.errors import refusal, shown

TORCH_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}


def activation(name: str) -> Activation:
    """The activation of that name; an InputError lists the names there are.

    >>> float(activation("relu").phi(np.array(-1.0)))
    0.0
    """
    if name not in ACTIVATIONS:
        raise unknown("activation", name, tuple(ACTIVATIONS))
    return ACTIVATIONS[name]


@cache
def gaussian_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of E over z ~ N(0, 1): Gauss-Legendre on pieces of [-12, 12] that end at 0.

    Pieces, because the kink of relu, elu, abs sits at 0; there Gauss-Hermite converges slowly.
    """
    x, w = np.polynomial.legendre.leggauss(40)
    edges = np.arange(-12.0, 13.0, 2.0)
    middle, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    z = (middle[:, None] + half[:, None] * x).ravel()
    weights = (half[:, None] * w).ravel() * gaussian_density(z)
    return z, weights / weights.sum()


def gaussian_mean(function: Function, variance: float = 1.0, mean: float = 0.0) -> float:
    """E function(x) for x ~ N(mean, variance), by quadrature (error below 1e-12 for every activation here at mean 0).

    >>> round(gaussian_mean(lambda x: x * x, variance=3.0), 10)
    3.0
    """
    z, weights = gaussian_nodes()
    return float(weights @ function(mean + math.sqrt(variance) * z))


def calculate_gain(name: str, param: float | None = None) -> float:
    """The factor that keeps the mean square of a layer's pre-activations through this activation.

    linear, sigmoid 1; tanh 5/3; relu sqrt 2; leaky_relu sqrt(2/(1+a^2)), a = .01; selu 3/4, as torch has
    them.
    The others, which torch refuses: 1/sqrt(E phi(z)^2), z ~ N(0, 1); the same formula gives relu's sqrt 2.

    Source: torch.nn.init.calculate_gain; He et al. 2015 for the formula. Raises InputError for an unknown name.

    >>> calculate_gain("tanh"), round(calculate_gain("gelu"), 4)
    (1.6666666666666667, 1.5335)
    """
    phi = activation(name).phi
    if name == "leaky_relu":
        return math.sqrt(2 / (1 + (LEAKY_SLOPE if param is None else param) ** 2))
    if name in TORCH_GAINS:
        return TORCH_GAINS[name]
    return 1 / math.sqrt(gaussian_mean(lambda z: phi(z) ** 2))


def gain_value(gain: float | str, layer: object = None, param: float | None = None) -> float:
    """A gain as a number: a number, `auto` (that of the layer's activation) or an activation's name.

    >>> gain_value(2), gain_value("tanh")
    (2.0, 1.6666666666666667)
    """
    if isinstance(gain, (int, float)) and not isinstance(gain, bool):
        return float(gain)
    if gain not in ("auto", *ACTIVATIONS):
        fraction = re.fullmatch(r"([\d.]+)/([1-9][\d.]*)", str(gain))
        number = f"write {float(fraction[1]) / float(fraction[2]):.10g}; " if fraction else ""
        raise refusal(
            f"gain={shown(gain)}",
            "neither a number nor an activation",
            f"{number}must be a number or one of: auto, {', '.join(ACTIVATIONS)}",
        )
    return calculate_gain(activation_name(str(gain), layer), param)


def activation_name(name: str, layer: object = None) -> str:
    """An activation's name, where `auto` means that of the layer's net (InputError if no layer is known).

    >>> activation_name("relu")
    'relu'
    """
    if name != "auto":
        activation(str(name))
        return str(name)
    found = getattr(layer, "activation", None)
    if found is None:
        raise refusal("gain=auto", "no layer is known here", "must be a number or the name of an activation")
    return str(found)
