"""Setups over settings: average ranks, and which setups the settings cannot tell apart (Demsar 2006).

The settings are the sample. Two setups are compared by Wilcoxon's signed-rank test on their log steps, setting by setting,
all pairs under Holm's correction. Nemenyi's critical difference is not used: there, whether two setups differ depends on
which others were compared (Benavoli, Corani and Mangili 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, count
from typing import NamedTuple

import numpy as np
import pandas as pd

from initbench.grammar import plural
from initbench.startup.late import stats as sps
from initbench.stats.every import MOST_PAIRED
from initbench.stats.family import members
from initbench.stats.verdict import ALPHA, holm

FEWEST = 3  # setups


class AverageRanks(NamedTuple):
    """Setups by average rank, the best first, and what the tests say of them."""

    setups: list[str]
    ranks: np.ndarray  # (k,)
    p: np.ndarray  # (k, k) Holm's p of each pair, 1 on the diagonal
    groups: list[list[int]]  # the largest sets of setups of which no two could be told apart, two at least
    settings: int


def average_ranks(board: pd.DataFrame, names: Sequence[str] | None = None) -> AverageRanks | str:
    """Average ranks over the settings in which somebody arrives; or why there are none, in words.

    Of the setups that stand in all of them (of `names` only), what is one net in each of them once. A setup that never
    arrives counts as the budget in the test, as in every mean.
    """
    board = board[board["arm"].isin(members(board, names))]
    board = board[(board["reached"] > 0).groupby(board["setting"]).transform("any")]
    settings = board["setting"].nunique()
    if settings < 2:
        return f"ranks are averaged over settings, and setups arrive in {('none', 'one')[settings]}"
    ranks, logs = (
        board.pivot_table(index="setting", columns="setup", values=name, sort=False, aggfunc="first")
        for name in ("rank", "mean_steps")
    )
    copies = (board["same_as"].fillna("") != "").groupby(board["setup"]).all()
    kept = [
        name for name in map(str, ranks) if not copies[name] and logs[name].notna().all() and ranks[name].notna().all()
    ]
    pairs = len(kept) * (len(kept) - 1) // 2
    if not FEWEST <= len(kept) <= MOST_PAIRED:
        return f"{plural(len(kept), 'setup')} stand in all settings, and it takes {FEWEST} to {MOST_PAIRED}"
    needed = next(n for n in count(1) if 2.0 ** (1 - n) * pairs < ALPHA)  # the smallest p of the exact test is 2^(1-n)
    if settings < needed:
        return f"{settings} settings cannot tell {len(kept)} setups apart: {plural(pairs, 'comparison')} take at least {needed}"
    placed = sps.rankdata(ranks[kept].to_numpy(float), axis=1).mean(axis=0)
    order = np.argsort(placed, kind="stable")
    p = all_p(np.log(logs[kept].to_numpy(float))[:, order])
    return AverageRanks([kept[i] for i in order], placed[order], p, cliques(p >= ALPHA), settings)


def all_p(values: np.ndarray) -> np.ndarray:
    """Holm's p of Wilcoxon's signed-rank test of every two columns of values (settings, k), as (k, k).

    The ranks of equal values are split between both sides, as Demsar does. Differences are rounded: the last bits of a sum
    are no difference.
    """
    k = values.shape[1]
    pairs = list(combinations(range(k), 2))
    gaps = [np.round(values[:, i] - values[:, j], 9) for i, j in pairs]
    raw = [float(sps.wilcoxon(gap, zero_method="zsplit").pvalue) if gap.any() else 1.0 for gap in gaps]
    out = np.ones((k, k))
    for (i, j), adjusted in zip(pairs, holm(raw)):
        out[i, j] = out[j, i] = adjusted
    return out


def cliques(joined: np.ndarray) -> list[list[int]]:
    """The maximal sets of at least two rows of joined (k, k) of which every two are joined (Bron and Kerbosch 1973).

    Not only neighbours: of three setups the outer two may be alike and the middle one differ from one of them.

    >>> cliques(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], bool))
    [[0, 1], [1, 2]]
    """
    near = [{j for j in np.flatnonzero(row).tolist() if j != i} for i, row in enumerate(joined)]
    found: list[list[int]] = []

    def grow(own: set[int], able: set[int], done: set[int]) -> None:
        if not able and not done and len(own) > 1:
            found.append(sorted(own))
        if able:
            pivot = max(able | done, key=lambda i: len(near[i] & able))
            for i in sorted(able - near[pivot]):
                grow(own | {i}, able & near[i], done & near[i])
                able, done = able - {i}, done | {i}

    grow(set(), set(range(len(near))), set())
    return sorted(found)
