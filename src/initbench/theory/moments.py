"""Factors of one layer, and how far finite nets scatter around them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initbench.initializers.gains import activation, gaussian_mean
from initbench.theory.mean_field import chi, length_map


def forward_factor(name: str, q: float, fan_in: int, variance: float) -> float:
    """q'/q = n v E phi(sqrt q z)^2 / q: growth of the preactivations' mean square through a layer of weight variance v.

    Source: Glorot & Bengio 2010; He et al. 2015. 1 for relu with v = 2/n.

    >>> round(forward_factor("relu", 7.0, fan_in=50, variance=2 / 50), 9)
    1.0
    """
    return length_map(name, q, fan_in * variance) / q


def backward_factor(name: str, q: float, fan_out: int, variance: float) -> float:
    """m v E phi'(sqrt q z)^2: growth of the gradient's mean square through the same layer, from its output back.

    q is the mean square of the preactivations below the layer. U(+-1/sqrt n), square, near-linear tanh: 1/3, that is
    1/sqrt 3 = .577 in size.

    >>> round(backward_factor("linear", 1.0, fan_out=10, variance=1 / 30) ** 0.5, 3)
    0.577
    """
    return chi(name, q, fan_out * variance)


def length_scatter(name: str, widths: Sequence[int]) -> float | None:
    """Variance over its squared mean of |h_L|^2 in nets of Gaussian weights: prod over layers (1 + kappa/n) - 1.

    kappa = E phi(z)^4 / (E phi(z)^2)^2 - 1, z ~ N(0, 1): 5 for relu, 2 for linear; any Gaussian scale of the weights, zero
    bias. `widths`: those of the layers that the signal has passed. None where lengths do not simply scale (tanh ...).
    Source: Hanin & Rolnick 2018; Hanin & Nica 2020.

    >>> round(length_scatter("relu", [10]), 9), length_scatter("tanh", [10])
    (0.5, None)
    """
    slopes = activation(name).slopes
    if slopes is None:
        return None
    # phi(z) = |z| times a slope for each sign: lengths scale, so that finite widths can be done exactly
    a, b = slopes
    kappa = 6 * (a**4 + b**4) / (a**2 + b**2) ** 2 - 1
    return math.prod(1 + kappa / n for n in widths) - 1


def jacobian_square_scatter(name: str, qs: Sequence[float], orthogonal: bool) -> float:
    """Variance of the squared singular values of d z_L / d z_0 over their squared mean, square layers, wide.

    sum over layers of mu_2/mu_1^2 - 1 - s, mu_k = E phi'(sqrt q z)^{2k}; s = 0 for orthogonal and -1 for independent
    weights. `qs`: mean squares of the preactivations below each layer. 0 = isometry.
    Source: Pennington, Schoenholz & Ganguli 2018.

    >>> jacobian_square_scatter("linear", [1.0] * 10, orthogonal=True)
    0.0
    >>> jacobian_square_scatter("relu", [1.0] * 10, orthogonal=False)
    20.0
    """
    slope = activation(name).slope
    total = 0.0
    for q in qs:
        first = gaussian_mean(lambda u: slope(u) ** 2, variance=q)
        second = gaussian_mean(lambda u: slope(u) ** 4, variance=q)
        total += second / first**2 - 1 + (0 if orthogonal else 1)
    return round(total, 12)
