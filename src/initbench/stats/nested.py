"""Looking again at growing data without being wrong more often: p values and intervals that count the looks.

The looks at a pair of arms are nested samples of sizes n_1 < ... < n_K. For equal arms Z_k, the test statistic on the
normal scale, is a random walk seen at these sizes, S_k = sqrt(n_k) Z_k with increments N(0, n_k - n_{k-1}). A p found at
one look becomes

    p_looks = P( some |Z_k| >= z_{1 - p/2}, k = 1..K | equal arms )

so that `p_looks < .05` at any look is wrong in 5% of paths: one nominal level for all looks (Pocock 1977), exact for the
known correlation sqrt(n_j / n_k) (Armitage, McPherson and Rowe 1969). docs/calibration.md compares it with others. A path
that ends early, for whatever reason, is wrong less often.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from initbench.startup.late import special

POINTS = 61  # of the grid on which the density of paths that go on is kept
FURTHEST = 8.0  # normal deviates: beyond it the union bound is as good


def sizes(first: int, most: int) -> tuple[int, ...]:
    """Seeds at each look: doubled from `first` on, the last look at `most`, which is at least half as many again.

    >>> sizes(10, 200), sizes(10, 170), sizes(30, 20)
    ((10, 20, 40, 80, 200), (10, 20, 40, 80, 170), (30,))
    """
    found = [first]
    while found[-1] * 3 <= most:
        found.append(found[-1] * 2)
    return (*found, most) if most > found[-1] else tuple(found)


def crossed(at: Sequence[int], bound: float) -> float:
    """P(|Z_k| >= bound at some look) for equal arms, by the recursion over the density of paths that go on.

    at (K,): nested sample sizes; of equal ones, whose correlation is not known (more learning rates, same seeds), all but
    one count by the union bound.

    >>> round(crossed([10], 1.96), 3), round(crossed([10, 20, 40, 80, 160], 1.96), 3)
    (0.05, 0.17)
    """
    n = np.unique(np.asarray(at, float))
    if bound >= FURTHEST:
        return float(min(1.0, 2 * len(at) * special.ndtr(-bound)))
    nodes, weights = _legendre()
    edge = bound * np.sqrt(n)
    outside = float(2 * special.ndtr(-bound)) * (1 + len(at) - len(n))
    s = nodes * edge[0]
    density = np.exp(-(s**2) / n[0] / 2) / np.sqrt(2 * np.pi * n[0]) * weights * edge[0]  # mass at each node
    for k in range(1, len(n)):
        sd = np.sqrt(n[k] - n[k - 1])
        outside += float(density @ (special.ndtr((s - edge[k]) / sd) + special.ndtr((-s - edge[k]) / sd)))
        if k == len(n) - 1:
            break
        new = nodes * edge[k]
        kernel = np.exp(-(((new[:, None] - s) / sd) ** 2) / 2) / np.sqrt(2 * np.pi) / sd
        density, s = (kernel @ density) * weights * edge[k], new
    return min(1.0, outside)


@lru_cache(maxsize=1)
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(POINTS)


def bound(p: float) -> float:
    """The normal deviate beyond which, on both sides, lies p.

    >>> round(bound(0.05), 2)
    1.96
    """
    return float(-special.ndtri(max(p, 1e-300) / 2))


def adjusted(p: float, at: tuple[int, ...]) -> float:
    """The p of one look counted for all looks at these sizes; p itself where there is only one.

    >>> adjusted(0.03, (10,)), round(adjusted(0.013, (10, 20, 40, 80, 160)), 3)
    (0.03, 0.05)
    """
    if len(at) < 2 or not p < 1:  # NaN stays NaN
        return p
    return max(p, crossed(at, bound(p)))


@lru_cache(maxsize=256)
def level(at: tuple[int, ...], alpha: float) -> float:
    """The nominal two-sided level of each look whose looks together are wrong in a share `alpha` of paths.

    >>> level((10,), 0.05), round(level((10, 20, 40, 80, 160), 0.05), 3)
    (0.05, 0.013)
    """
    if len(at) < 2:
        return alpha
    low, high = alpha / len(at), alpha
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if adjusted(middle, at) < alpha else (low, middle)
    return low
