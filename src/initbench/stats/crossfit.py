"""A learning rate chosen on some seeds and judged on the others, and the bootstrap of that whole procedure.

For a halving h of the seeds into A and B: the rate with the smallest mean outcome on A is judged on B, and the
other way round; the n outcomes judged are averaged, and so are 20 random halvings:

    theta = mean_h  1/n  ( sum_{s in B} y[lr_A, s] + sum_{s in A} y[lr_B, s] ),      y = log min(T, tau)

A bootstrap draw gives seed s the weight w_s (how often it was drawn) in every sum: the choice is made anew, and
all copies of a seed lie on one side of a halving, so no seed is judged by a choice it took part in. Halvings and
weights depend on n alone, so all arms with the same seeds are resampled alike: differences stay paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from initbench.stats.intervals import blocks
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
    rng, drawn = np.random.default_rng([_SEED, n, 2]), np.empty((resamples, n), np.min_scalar_type(n))
    for rows in blocks(resamples, n):
        drawn[rows] = rng.multinomial(n, np.full(n, 1 / n), size=len(drawn[rows]))
    return drawn


def crossfit(panel: Panel, resamples: int = RESAMPLES) -> Crossfit:
    """Cross-fitted mean log outcome of an arm, its bootstrap draws, and the rates its seeds are judged at.

    Every seed of `panel` is usable. With one seed there is no other half: chosen and judged on itself.

    >>> panel = Panel(np.array([0.1, 1.0]), np.arange(4), np.log([[8.0] * 4, [2.0] * 4]), np.ones((2, 4)), np.ones((2, 4)))
    >>> fit = crossfit(panel)
    >>> round(float(np.exp(fit.mean)), 6), np.unique(fit.rates).tolist()
    (2.0, [1])
    """
    return crossfits([panel], resamples)[0]


def crossfits(panels: Sequence[Panel], resamples: int = RESAMPLES) -> list[Crossfit]:
    """`crossfit` of several arms with equally many rates and seeds, A at a time."""
    keys, logs = (np.stack([getattr(panel, name) for panel in panels]) for name in ("key", "log"))  # (A, L, n)
    _, rates, n = logs.shape
    if rates == 1 or n == 1:
        best = np.argmin(keys.mean(axis=2), axis=1)
        only = np.take_along_axis(logs, best[:, None, None], axis=1)[:, 0]  # (A, n)
        drawn = weights(n, resamples)
        draws = np.concatenate([only @ drawn[rows].astype(float).T / n for rows in blocks(*drawn.shape)], axis=1)
        return [Crossfit(float(y.mean()), d, np.full((HALVINGS, n), b)) for y, d, b in zip(only, draws, best)]
    drawn = weights(n, resamples)
    draws = np.concatenate([_draws(keys, logs, drawn[rows].astype(float)) for rows in blocks(*drawn.shape)], axis=1)
    judged_at = [_rates(key, halvings(n)) for key in keys]
    return [
        Crossfit(float(at_rates(panel.log, at).mean()), draw, at) for panel, draw, at in zip(panels, draws, judged_at)
    ]


def at_rates(values: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Entries of `values` (L, n) at the rates judged at (HALVINGS, n) -> (HALVINGS, n)."""
    return np.asarray(values[rates, np.arange(values.shape[1])])


def _rates(key: np.ndarray, sides: np.ndarray) -> np.ndarray:
    on_one = np.argmin(key @ sides.T, axis=0)  # (HALVINGS,) chosen on side 1, judged on side 0
    on_zero = np.argmin(key @ (1 - sides).T, axis=0)
    return np.where(sides == 1, on_zero[:, None], on_one[:, None])


def _draws(keys: np.ndarray, logs: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(A, D) theta under each of D draws (D, n); a halving with an empty side cannot choose and is left out."""
    arms, rates, n = keys.shape
    both, weight = np.concatenate([keys, logs]).reshape(2 * arms * rates, n), np.ascontiguousarray(drawn.T)

    def sums(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted sums of key and log outcome over the seeds where `side` (n,) is 1, each (A, L, D)."""
        key, log = ((both * side) @ weight).reshape(2, arms, rates, -1)
        return key, log

    all_key, all_log = sums(np.ones(n))
    total, count = np.zeros((arms, len(drawn))), np.zeros(len(drawn))
    for side in halvings(n):
        key, log = sums(side)
        size = drawn @ side
        can = (size > 0) & (size < n)
        total += np.where(can, _at_best(key, all_log - log) + _at_best(all_key - key, log), 0.0)
        count += can
    return np.asarray(total / np.maximum(count, 1) / n)


def _at_best(key: np.ndarray, value: np.ndarray) -> np.ndarray:
    """value where key is smallest along the rates: (A, L, resamples) -> (A, resamples); the first of equals."""
    best, out = key.min(axis=1), value[:, -1].copy()
    for rate in range(key.shape[1] - 2, -1, -1):
        np.copyto(out, value[:, rate], where=key[:, rate] == best)
    return out
