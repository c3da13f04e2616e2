"""Statistics for analyses of your own: a rank correlation, a share, and Holm's correction over several races."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from initbench.errors import refusal, shown
from initbench.startup.late import special
from initbench.stats.intervals import Z_95
from initbench.stats.verdict import holm


class RankCorrelation(NamedTuple):
    """Spearman's correlation of n pairs with its 95% interval."""

    value: float
    low: float
    high: float
    n: int


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's rank correlation with its 95% interval, ``tanh(atanh r +- 1.96 sqrt((1 + r^2 / 2) / (n - 3)))`` (Bonett &
    Wright 2000). Equal values share their mean rank; infinity (a run that never arrived) is the largest.

    NaN where a value is NaN or all are equal; NaN ends for fewer than 5 pairs.

    >>> found = rank_correlation([1, 2, 3, 4, 5, 6], [10, 30, 20, 40, np.inf, 50])
    >>> round(found.value, 3), found.low < found.value < found.high, found.n
    (0.886, True, 6)
    """
    a, b = (np.asarray(values, dtype=float) for values in (x, y))
    if a.shape != b.shape or a.ndim != 1:
        raise refusal(
            "rank_correlation",
            f"lists of shapes {a.shape} and {b.shape}",
            "give two lists of numbers, as long as one another",
        )
    n, nan = len(a), math.nan
    if n < 2 or np.isnan(a).any() or np.isnan(b).any():
        return RankCorrelation(nan, nan, nan, n)
    ranks = [pd.Series(values).rank().to_numpy() for values in (a, b)]
    centred = [one - one.mean() for one in ranks]
    scale = math.sqrt(float(np.square(centred[0]).sum() * np.square(centred[1]).sum()))
    if scale == 0:
        return RankCorrelation(nan, nan, nan, n)
    value = max(-1.0, min(1.0, float(centred[0] @ centred[1]) / scale))
    if n < 5:
        return RankCorrelation(value, nan, nan, n)
    if abs(value) == 1:
        return RankCorrelation(value, value, value, n)
    half = Z_95 * math.sqrt((1 + value**2 / 2) / (n - 3))
    return RankCorrelation(value, math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half), n)


def exact_share(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share, k of n (Clopper & Pearson 1934): every share at which k or more, or k or fewer, of n have at
    least half of the left-out probability. Never covers less than it says, unlike `wilson`, which is shorter.

    >>> "{:.3f} {:.3f}".format(*exact_share(0, 20))
    '0.000 0.168'
    """
    if not 0 <= k <= n or not 0 < confidence < 1:
        raise refusal(
            "exact_share",
            f"k={shown(k)}, n={shown(n)}, confidence={shown(confidence)}",
            "give 0 <= k <= n and a confidence of 0 to 1",
        )
    if n == 0:
        return math.nan, math.nan
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(special.betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(special.betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def holm_over(races: Mapping[str, pd.DataFrame], level: float = 0.05) -> pd.DataFrame:
    """The comparisons of several studies (`results.compare()`) as one family: a column `race`, `p_holm` over all rows, and
    faster or slower only where that is at most `level`; else undecided. Rows without a test count in the family, the baseline
    itself does not.

    >>> one = pd.DataFrame({"setup": ["a", "b"], "verdict": ["faster", "equivalent"], "p": [0.04, np.nan], "p_holm": [0.04, 1.0]})
    >>> holm_over({"first": one.iloc[:1], "second": one})[["race", "verdict", "p_holm"]].values.tolist()
    [['first', 'undecided', 0.12], ['second', 'undecided', 0.12], ['second', 'equivalent', 1.0]]
    """
    if not races:
        raise refusal("holm_over", "no race is given", "give a mapping from names to results.compare()")
    for name, table in races.items():
        missing = [column for column in ("verdict", "p", "p_holm") if column not in table]
        if missing:
            raise refusal("holm_over", f"race {shown(name)} has no column {missing[0]}", "give results.compare()")
    found = pd.concat([table.assign(race=name) for name, table in races.items()], ignore_index=True)
    compared = found["verdict"] != "baseline"
    found.loc[compared, "p_holm"] = holm(found.loc[compared, "p"].astype(float).tolist())
    lost = found["verdict"].isin(["faster", "slower"]) & (found["p_holm"] > level)
    found.loc[lost, "verdict"] = "undecided"
    return found[["race", *(column for column in found if column != "race")]]
