"""Mean field: what wide nets of independent weights do to lengths, angles and gradients (Poole et al. 2016;
Schoenholz et al. 2017).

W_ij has variance sigma_w^2 / fan_in and b_i variance sigma_b^2; `w2` and `b2` are those two variances, q is the mean
square of a layer's preactivations, c the correlation of two samples' preactivations. Exact as widths go to infinity;
at finite width the error of a mean is of order 1/width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from initbench.config.activations import Function
from initbench.errors import refusal
from initbench.initializers.gains import activation, gaussian_mean
from initbench.startup.late import optimize

CUT = 12.0  # standard deviations of the Gaussian that quadrature covers
SEARCH = np.geomspace(1e-8, 1e6, 400)  # lengths between which a fixed point is looked for


def _checked(w2: float, b2: float) -> None:
    if not (w2 >= 0 and b2 >= 0):
        raise refusal(f"sigma_w^2={w2}, sigma_b^2={b2}", "not allowed", "must be variances, 0 or more")


def length_map(name: str, q: float, w2: float, b2: float = 0.0) -> float:
    """q' = sigma_w^2 E phi(sqrt q z)^2 + sigma_b^2, z ~ N(0, 1): the next layer's mean square.

    Source: Poole et al. 2016.

    >>> round(length_map("relu", 3.0, w2=2.0), 9)
    3.0
    """
    _checked(w2, b2)
    phi = activation(name).phi
    return w2 * gaussian_mean(lambda u: phi(u) ** 2, variance=q) + b2


def length_slope(name: str, q: float, w2: float) -> float:
    """d q' / d q = sigma_w^2 E[phi(u) phi'(u) z] / sqrt q, u = sqrt q z.

    >>> round(length_slope("relu", 5.0, w2=1.0), 9)
    0.5
    """
    phi, slope = activation(name).phi, activation(name).slope
    return w2 * gaussian_mean(lambda u: phi(u) * slope(u) * u, variance=q) / q


def chi(name: str, q: float, w2: float) -> float:
    """chi_1 = sigma_w^2 E phi'(sqrt q z)^2: factor of the gradient's mean square, and of a small angle, a layer.

    Source: Schoenholz et al. 2017. Below 1: ordered, gradients vanish; above 1: chaotic, they explode.

    >>> round(chi("relu", 1.0, w2=2.0), 9)
    1.0
    """
    slope = activation(name).slope
    return w2 * gaussian_mean(lambda u: slope(u) ** 2, variance=q)


@cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(80)


def pair_mean(function: Function, q1: float, q2: float, c: float) -> float:
    """E f(u1) f(u2) for Gaussian u1, u2 of variances q1, q2 and correlation c, by quadrature in z1 and z2:
    u1 = sqrt q1 z1, u2 = sqrt q2 (c z1 + sqrt(1 - c^2) z2).

    The inner integral is split where u2 = 0, so that a kink or a jump of f there costs no accuracy (error below 1e-9).

    >>> round(pair_mean(lambda u: u, 4.0, 9.0, 0.5), 9)
    3.0
    """
    if not -1 <= c <= 1:
        raise refusal(f"c={c}", "not allowed", "must be a correlation, -1 to 1")
    across = math.sqrt(q2 * (1 - c * c))
    x, w = _legendre()

    def given(u1: np.ndarray) -> np.ndarray:
        """f(u1) E[f(u2) | u1], u1 (k,)."""
        along = c * math.sqrt(q2 / q1) * u1
        if across == 0:
            return function(u1) * function(along)
        split = np.clip(-along / across, -CUT, CUT)
        inner = np.zeros_like(u1)
        for low, high in ((np.full_like(u1, -CUT), split), (split, np.full_like(u1, CUT))):
            half = (high - low) / 2
            z2 = low[:, None] + half[:, None] * (x + 1)
            density = np.exp(-z2 * z2 / 2) / math.sqrt(2 * math.pi)
            inner += half * ((function(along[:, None] + across * z2) * density) @ w)
        return function(u1) * inner

    return gaussian_mean(given, variance=q1)


def correlation_map(name: str, c: float, q: float, w2: float, b2: float = 0.0) -> float:
    """c' = (sigma_w^2 E phi(u1) phi(u2) + sigma_b^2) / q', u1 and u2 of variance q and correlation c.

    Source: Poole et al. 2016.

    >>> round(correlation_map("relu", 0.0, 1.0, w2=2.0), 9) == round(1 / 3.141592653589793, 9)
    True
    """
    after = length_map(name, q, w2, b2)
    if after == 0:
        return math.nan
    return (w2 * pair_mean(activation(name).phi, q, q, c) + b2) / after


def chi_at(name: str, c: float, q: float, w2: float) -> float:
    """sigma_w^2 E phi'(u1) phi'(u2): the slope of the correlation map at c.

    >>> round(chi_at("relu", 0.0, 1.0, w2=2.0), 9)
    0.5
    """
    return chi(name, q, w2) if c == 1 else w2 * pair_mean(activation(name).slope, q, q, c)


@lru_cache(maxsize=1024)
def length_fixed_point(name: str, w2: float, b2: float = 0.0) -> float | None:
    """q* = sigma_w^2 E phi(sqrt q* z)^2 + sigma_b^2, the stable one that is reached from q = 1; 0 if signals die.

    None where they grow without end, and where every q is a fixed point (relu with (2, 0)).

    >>> round(length_fixed_point("tanh", 1.7610, 0.05), 3)
    0.57
    >>> length_fixed_point("tanh", 0.5), length_fixed_point("relu", 3.0)
    (0.0, None)
    """
    gaps = np.array([length_map(name, float(q), w2, b2) / q - 1 for q in SEARCH])
    if np.abs(gaps).max() < 1e-9:
        return None
    falls = np.nonzero((gaps[:-1] > 0) & (gaps[1:] <= 0))[0]
    roots = [
        float(optimize.brentq(lambda q: length_map(name, q, w2, b2) - q, SEARCH[i], SEARCH[i + 1], xtol=1e-14))
        for i in falls
    ]
    if length_map(name, 1.0, w2, b2) >= 1:
        above = [q for q in roots if q >= 1 - 1e-9]
        return min(above) if above else None
    below = [q for q in roots if q <= 1]
    return max(below) if below else 0.0


@lru_cache(maxsize=1024)
def correlation_fixed_point(name: str, w2: float, b2: float = 0.0) -> float | None:
    """c* = the stable fixed point of the correlation map at q*: 1 where chi_1 <= 1 (ordered), below 1 in chaos.

    None where there is no q* above 0.

    >>> correlation_fixed_point("tanh", 1.3, 0.05)
    1.0
    >>> 0 < correlation_fixed_point("tanh", 4.0, 0.05) < 1
    True
    """
    q = length_fixed_point(name, w2, b2)
    if not q:
        return None
    if chi(name, q, w2) <= 1:
        return 1.0

    def gap(c: float) -> float:
        return correlation_map(name, c, q, w2, b2) - c

    return 0.0 if gap(0.0) <= 0 else float(optimize.brentq(gap, 0.0, 1 - 1e-7, xtol=1e-10))


@dataclass(frozen=True)
class DepthScales:
    """Layers over which a difference to the fixed point falls by e: of lengths, of correlations."""

    length: float
    correlation: float


def depth_scales(name: str, w2: float, b2: float = 0.0) -> DepthScales | None:
    """xi_q = -1/ln(dq'/dq) at q*, xi_c = -1/ln(dc'/dc) at c*; infinite at the edge of chaos. None without a q* above 0.

    Source: Schoenholz et al. 2017. A net much deeper than xi_c cannot be trained.

    >>> depth_scales("tanh", 1.3, 0.05).correlation > depth_scales("tanh", 1.0, 0.05).correlation
    True
    """
    q, c = length_fixed_point(name, w2, b2), correlation_fixed_point(name, w2, b2)
    if not q or c is None:
        return None
    return DepthScales(_scale(length_slope(name, q, w2)), _scale(chi_at(name, c, q, w2)))


def _scale(factor: float) -> float:
    if abs(factor - 1) < 1e-9:
        return math.inf
    return -1 / math.log(factor) if factor > 0 else 0.0
