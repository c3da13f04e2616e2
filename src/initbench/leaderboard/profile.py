"""Performance profiles over settings (Dolan and More 2002) with bootstrap bands.

``rho(r) = #{settings: steps <= r x the best steps there} / #settings``, steps = exp(theta). An initializer that arrives in
fewer than 80% of the seeds of a setting is within no ratio there: the profile need not reach 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from initbench.leaderboard.standing import Standing
from initbench.stats.rates import GATE

RATIOS = np.geomspace(1, 8, 49)


class Profile(NamedTuple):
    """Shares of settings at each ratio: of the data, and the ends of the middle 95% of the draws."""

    ratios: np.ndarray  # (K,)
    share: np.ndarray  # (A, K)
    low: np.ndarray  # (A, K)
    high: np.ndarray  # (A, K)


def profile(standing: Standing, ratios: np.ndarray = RATIOS, names: Sequence[str] | None = None) -> Profile:
    """The profile of initializers among all that stand there, with its pointwise band."""
    rows = [standing.names.index(name) for name in (names or standing.names)]
    share = shares(standing, ratios)[rows]
    drawn = np.stack(
        [
            within(standing.draws[:, :, d], standing.shares[:, :, d] >= GATE - 1e-12, ratios)[rows]
            for d in range(standing.draws.shape[2])
        ]
    )  # (D, A, K)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0, method="inverted_cdf")
    return Profile(ratios, share, low, high)


def shares(standing: Standing, ratios: np.ndarray = RATIOS) -> np.ndarray:
    """(A, K) the profile of the data, without its band."""
    return within(standing.theta, standing.reached.mean(axis=2) >= GATE, ratios)


def within(theta: np.ndarray, open_: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """(A, K) share of settings in which exp(theta) (A, S) is within each ratio of the best; `open_` (A, S): may count.

    >>> within(np.log([[10.0, 5.0], [20.0, 5.0]]), np.array([[True, True], [True, False]]), np.array([1.0, 2.0])).tolist()
    [[1.0, 1.0], [0.0, 0.5]]
    """
    steps = np.where(open_, theta, np.inf)
    best = steps.min(axis=0)
    with np.errstate(invalid="ignore"):
        relative = np.where(np.isfinite(steps), steps - best, np.inf)  # nobody there: within none
    return np.asarray((relative[:, :, None] <= np.log(ratios) + 1e-12).mean(axis=1))
