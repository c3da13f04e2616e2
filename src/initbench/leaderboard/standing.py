"""Where every initializer stands over all settings, how sure that is, and which places are one and the same.

In setting s an initializer has theta_s, its cross-fitted mean of log min(T, budget) (stats.crossfit); its score is their mean,

    score = 1/S sum_s theta_s:      exp(score - score of the baseline) is the geometric mean of its ratios of steps.

Settings weigh the same: they are a full design (every data set, depth and activation equally often), each is one question that a
reader may have, and a log ratio is free of the unit, so that the settings that take long do not decide. A run that never arrives
counts as the budget, here as in every mean of this package.

A bootstrap draw draws the seeds of each setting anew, for all initializers alike, settings apart from one another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from initbench.stats import student
from initbench.stats.compare import Arms
from initbench.stats.crossfit import RESAMPLES, at_rates, weights
from initbench.stats.intervals import Z_95

DIGITS = 10  # of a score: what differs by less is a tie


@dataclass(frozen=True)
class Standing:
    """A initializers in S settings with R seeds each, D bootstrap draws."""

    names: list[str]
    settings: list[str]
    theta: np.ndarray  # (A, S)
    draws: np.ndarray  # (A, S, D) of theta; draw d of a setting has the same seeds for all initializers
    reached: np.ndarray  # (A, S, R) whether a seed arrives at rates chosen without it
    shares: np.ndarray  # (A, S, D) share of the seeds of a draw that arrive

    @property
    def seeds(self) -> int:
        return self.reached.shape[2]

    @cached_property
    def score(self) -> np.ndarray:
        """(A,)"""
        return mean_over_settings(self.theta)

    @cached_property
    def score_draws(self) -> np.ndarray:
        """(A, D)"""
        return mean_over_settings(self.draws)

    @cached_property
    def rank(self) -> np.ndarray:
        """(A,) 1 + how many are better; ties share a place."""
        return ranks(self.score[:, None])[:, 0]

    @cached_property
    def rank_interval(self) -> np.ndarray:
        """(A, 2) ranks between which 95% of the draws put it. Descriptive: no verdict is made of it.

        Draws of few seeds lie too near to one another: their distances from the score are stretched by what makes an interval of
        z quantiles one of t quantiles, so that two whose 95% interval holds 1x may change places.
        """
        middle = self.score[:, None]
        drawn = ranks(middle + stretch(self.seeds) * (self.score_draws - middle))
        return np.quantile(drawn, [0.025, 0.975], axis=1, method="inverted_cdf").T.astype(int)

    @cached_property
    def order(self) -> list[int]:
        """Initializers from the first to the last; those at one place by name."""
        return sorted(range(len(self.names)), key=lambda i: (self.rank[i], self.names[i]))

    def share(self, name: str) -> float:
        """Share of all pairs of setting and seed in which it arrives."""
        return float(self.reached[self.names.index(name)].mean())

    def alike(self, one: str, other: str) -> bool:
        """Whether two had the same outcome in all draws: the same nets under two names."""
        i, j = self.names.index(one), self.names.index(other)
        return bool(np.array_equal(self.draws[i], self.draws[j]))


def standing(arms: Arms, names: Sequence[str], settings: Sequence[str], resamples: int = RESAMPLES) -> Standing:
    """The standing of initializers that have all these settings, from the fits of their arms (`name @ setting`)."""
    fits = [[arms.on(arm, arms.seeds(arm)) for arm in (f"{name} @ {label}" for label in settings)] for name in names]
    rows, columns = len(names), len(settings)
    n = len(fits[0][0][0].seeds) if fits else 0
    theta, draws = np.empty((rows, columns)), np.empty((rows, columns, resamples))
    reached, shares = np.empty((rows, columns, n), bool), np.empty((rows, columns, resamples))
    for s, label in enumerate(settings):
        shuffled = shuffle(label, resamples)
        for a in range(rows):
            panel, fit = fits[a][s]
            arrives = at_rates(panel.reached, fit.rates).mean(axis=0)  # (n,) over halvings
            theta[a, s] = fit.mean
            draws[a, s] = fit.draws[shuffled]
            reached[a, s] = arrives >= 0.5
            shares[a, s] = (weights(n, resamples) @ arrives / n)[shuffled]
    return Standing(list(names), list(settings), theta, draws, reached, shares)


def shuffle(label: str, draws: int) -> np.ndarray:
    """(draws,) an order of the draws of a setting: without it, equal seeds would be drawn in all settings at once."""
    seed = int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).permutation(draws)


def stretch(n: int) -> float:
    """``sqrt(n / (n - 1)) t(n-1) / z`` at .975.

    >>> round(stretch(10), 2), stretch(1)
    (1.22, 1.0)
    """
    return float(np.sqrt(n / (n - 1)) * student.ppf(0.975, n - 1) / Z_95) if n > 1 else 1.0


def mean_over_settings(values: np.ndarray) -> np.ndarray:
    """Means over axis 1, settings weighed equally: (A, S, ...) -> (A, ...), the same whatever their order.

    >>> mean_over_settings(np.array([[1.0, 3.0]]))
    array([2.])
    """
    return np.asarray(np.sort(values, axis=1).sum(axis=1) / values.shape[1])


def ranks(values: np.ndarray) -> np.ndarray:
    """(A, D) places by column, smallest first: 1 + how many are smaller by more than rounding; ties share a place.

    >>> ranks(np.array([[2.0], [1.0], [2.0]])).ravel().tolist()
    [2, 1, 2]
    """
    rounded = np.round(values, DIGITS)
    ordered = np.sort(rounded, axis=0)
    return np.stack([1 + np.searchsorted(column, own) for column, own in zip(ordered.T, rounded.T)], axis=1)
