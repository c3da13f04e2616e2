"""Small statistics with intervals: a share, a median that may be infinite, a ratio paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from initbench.startup.late import special
from initbench.stats import student

RESAMPLES = 2000
Z_95 = 1.959963984540054  # normal quantile at .975, as scipy.special.ndtri has it, whose import takes .2 s
_SEED = 20250101  # of the bootstrap: the same study gives the same bytes


def wilson(k: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a share: ``(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`` (Wilson 1927).

    >>> "{:.2f} {:.2f}".format(*wilson(10, 10))
    '0.72 1.00'
    """
    if n == 0:
        return float("nan"), float("nan")
    z = Z_95 if confidence == 0.95 else float(special.ndtri(0.5 + confidence / 2))
    p, z2 = k / n, z * z / n
    half = float(np.sqrt(p * (1 - p) * z2 + z2 * z2 / 4))
    low, high = (p + z2 / 2 - half) / (1 + z2), (p + z2 / 2 + half) / (1 + z2)
    return (0.0 if k == 0 else low), (1.0 if k == n else high)


@lru_cache(maxsize=64)
def resamples(n: int) -> np.ndarray:
    """(RESAMPLES, n) indices, with replacement; the same for every arm, so that arms stay paired by seed."""
    rng, drawn = np.random.default_rng([_SEED, n]), np.empty((RESAMPLES, n), np.min_scalar_type(n))
    for rows in blocks(RESAMPLES, n):
        drawn[rows] = rng.integers(0, n, size=drawn[rows].shape)
    return drawn


def blocks(draws: int, n: int, most: int = 2**20) -> Iterator[slice]:
    """Slices of the draws with about `most` numbers each: a bootstrap of thousands of seeds is not held at once.

    >>> list(blocks(5, 4, most=8))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 6, None)]
    """
    size = max(1, most // max(n, 1))
    return (slice(first, first + size) for first in range(0, draws, size))


def resampled(values: np.ndarray, of: Callable[..., np.ndarray]) -> np.ndarray:
    """(RESAMPLES,) a statistic (of the last axis) of bootstrap draws of values (n,)."""
    drawn = resamples(len(values))
    return np.concatenate([of(values[drawn[rows]], axis=1) for rows in blocks(*drawn.shape)])


def standard_error(draws: np.ndarray, n: int) -> float:
    """``sd(draws) sqrt(n / (n - 1))`` of bootstrap draws (D,) of a mean of n values: resampling n values has their spread about
    their own mean, which is too small by the factor that it is set right by.

    >>> values = np.array([1.0, 2.0, 3.0, 6.0])
    >>> round(standard_error(resampled(values, np.mean), 4), 1), round(values.std(ddof=1).item() / 2, 1)
    (1.1, 1.1)
    """
    return float(draws.std() * np.sqrt(n / (n - 1)))


def median(values: np.ndarray) -> float:
    """Median of values (n,) that may be infinite (never) but not NaN; NaN for none.

    >>> median(np.array([40.0, 60.0, np.inf, np.inf]))
    inf
    """
    with np.errstate(invalid="ignore"):  # the mean of two infinities is infinity; numpy warns on the way
        return float(np.median(values)) if len(values) else float("nan")


def worst_median(values: np.ndarray) -> float:
    """Median with NaN as the worst value, infinity: a diverged or missing run is not left out.

    >>> worst_median(np.array([0.1, 0.2, np.nan]))
    0.2
    """
    return median(np.where(np.isnan(values), np.inf, values))


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median over seeds and its 95% percentile bootstrap interval; infinity = never.

    NaN ends for fewer than 3 seeds.

    >>> median_interval(np.full(5, 31.0))
    (31.0, 31.0, 31.0)
    """
    if len(values) < 3:
        return median(values), float("nan"), float("nan")
    with np.errstate(invalid="ignore"):
        draws = resampled(values, np.median)
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    return median(values), float(low), float(high)


def ratio_interval(difference: np.ndarray) -> tuple[float, float, float]:
    """``exp(mean d)`` of paired log differences d (seeds,), with ``exp(mean +- t(n-1) SE)``.

    SE by bootstrap of the seeds; NaN ends for fewer than 3 pairs.

    >>> ratio_interval(np.log([0.5, 0.5, 0.5]))
    (0.5, 0.5, 0.5)
    """
    n = len(difference)
    if n == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(difference.mean())
    half = float("nan")
    if n >= 3:
        error = standard_error(resampled(difference, np.mean), n)
        half = float(student.ppf(0.975, n - 1)) * error
    # rounded, so that the last bits of a sum are no spread
    centre, low, high = (round(float(np.exp(x)), 12) for x in (mean, mean - half, mean + half))
    return centre, low, high
