"""A learning rate chosen on some seeds and judged on the others, and the bootstrap of that whole procedure.

For a halving h of the seeds into A and B: the rate with the smallest mean outcome on A is judged on B, and the
other way round; the n outcomes judged are averaged, and so are 20 random halvings:

    theta = mean_h  1/n  ( sum_{s in B} y[lr_A, s] + sum_{s in A} y[lr_B, s] ),      y = log min(T, tau)

A bootstrap draw gives seed s the weight w_s (how often it was drawn) in every sum: the choice is made anew, and
all copies of a seed lie on one side of a halving, so no seed is judged by a choice it took part in. Halvings and
weights depend on n alone, so all arms with the same seeds are resampled alike: differences stay paired.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from initbench.stats.panel import Panel

HALVINGS = 20
RESAMPLES = 2000
_SEED = 20250101


class Crossfit(NamedTuple):
    """What cross-fitting says of one arm on n seeds."""

    mean: float  # theta
    draws: np.ndarray  # (RESAMPLES,) theta of each bootstrap draw
    rates: np.ndarray  # (HALVINGS, n) index of the learning rate at which a seed is judged: chosen without it


@lru_cache(maxsize=64)
def halvings(n: int) -> np.ndarray:
    """(HALVINGS, n) of 0 and 1: random halves, n // 2 seeds on side 1."""
    rng = np.random.default_rng([_SEED, n, 1])
    return np.stack([rng.permutation(n) < n // 2 for _ in range(HALVINGS)]).astype(float)


@lru_cache(maxsize=64)
def weights(n: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples, n) how often each seed is drawn; every row sums to n."""
    rng = np.random.default_rng([_SEED, n, 2])
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)


def crossfit(panel: Panel, resamples: int = RESAMPLES) -> Crossfit:
    """Cross-fitted mean log outcome of an arm, its bootstrap draws, and the rates its seeds are judged at.

    Every seed of `panel` is usable. With one seed there is no other half: chosen and judged on itself.

    >>> panel = Panel(np.array([0.1, 1.0]), np.arange(4), np.log([[8.0] * 4, [2.0] * 4]), np.ones((2, 4)), np.ones((2, 4)))
    >>> fit = crossfit(panel)
    >>> round(float(np.exp(fit.mean)), 6), np.unique(fit.rates).tolist()
    (2.0, [1])
    """
    rates, n = panel.log.shape
    w = weights(n, resamples)
    if rates == 1 or n == 1:
        best = int(np.argmin(panel.key.mean(axis=1)))
        return Crossfit(float(panel.log[best].mean()), w @ panel.log[best] / n, np.full((HALVINGS, n), best))
    sides = halvings(n)
    judged_at = _rates(panel, sides)
    return Crossfit(float(judged(panel.log, judged_at).mean()), _draws(panel, sides, w), judged_at)


def judged(values: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Entries of `values` (L, n) at the rates judged at (HALVINGS, n) -> (HALVINGS, n)."""
    return np.asarray(values[rates, np.arange(values.shape[1])])


def _rates(panel: Panel, sides: np.ndarray) -> np.ndarray:
    on_one = np.argmin(panel.key @ sides.T, axis=0)  # (HALVINGS,) chosen on side 1, judged on side 0
    on_zero = np.argmin(panel.key @ (1 - sides).T, axis=0)
    return np.where(sides == 1, on_zero[:, None], on_one[:, None])


def _draws(panel: Panel, sides: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(resamples,) theta under each row of weights; a halving with an empty side cannot choose and is left out."""
    n = w.shape[1]
    total = np.zeros(len(w))
    count = np.zeros(len(w))
    all_key, all_log = panel.key @ w.T, panel.log @ w.T  # (L, resamples)
    for side in sides:
        on = w * side  # (resamples, n)
        key, log = panel.key @ on.T, panel.log @ on.T
        size = on.sum(axis=1)
        both = (size > 0) & (size < n)
        value = _other(key, all_log - log) + _other(all_key - key, log)
        total += np.where(both, value, 0.0)
        count += both
    return total / np.maximum(count, 1) / n


def _other(key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """value[argmin key], column by column, in one pass over the few rows."""
    best, out = key[0].copy(), value[0].copy()
    for row, candidate in zip(key[1:], value[1:]):
        better = row < best
        np.copyto(best, row, where=better)
        np.copyto(out, candidate, where=better)
    return out
