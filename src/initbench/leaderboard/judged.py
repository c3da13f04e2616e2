"""Each initializer against the baseline: by the procedure of every report in each setting, and once over all settings.

Over settings the same rules are asked of the pooled contrast (verdict.verdicts): its estimate is the mean over settings of the
log ratios, all weighed equally, its error that of the stratified bootstrap (`standing`), its degrees of freedom those of
one setting, which is too few rather than too many; the runs that arrived are counted over all pairs of setting and seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from initbench.leaderboard.settings import Grid
from initbench.leaderboard.standing import Standing
from initbench.stats import compare, remedy, same, verdict
from initbench.stats.compare import Arms
from initbench.stats.ranking import ranked

WORDS = ("faster", "equivalent", "slower", "undecided")


class Judged(NamedTuple):
    """`board`: a row an arm (stats.ranking); `pairs`: a row a comparison with the baseline of its setting; `arms`: their fits."""

    board: pd.DataFrame
    pairs: pd.DataFrame
    arms: Arms


def by_setting(runs: pd.DataFrame, grid: Grid, baseline: str) -> Judged:
    """Every initializer against the baseline in every setting: one family of Holm's correction a setting."""
    arms = Arms(runs)
    board = ranked(runs, None, arms.means())
    grids = {arm: np.array(_evaluated(grid, setting), float) for arm, setting in _arms(runs)}
    earlier = Arms(remedy.one_evaluation_earlier(runs, grids))
    asked, rows = compare.asked_of(runs), []
    for _, part in board.groupby("setting", sort=False):
        base = part[part["setup"] == baseline]
        if base.empty:
            continue
        rows += _setting(part, base.iloc[0], arms, earlier, asked)
    pairs = pd.DataFrame(rows, columns=compare.COMPARISON_COLUMNS)
    return Judged(board, pairs, arms)


def _setting(
    part: pd.DataFrame, base: pd.Series, arms: Arms, earlier: Arms, asked: Mapping[str, remedy.Asked]
) -> list[dict[str, Any]]:
    others, copies = same.once(part[part["arm"] != base["arm"]], base, arms.same)
    found = compare.by_steps(others, base, arms, earlier, asked)
    found[str(base["arm"])] = compare.itself(base, arms, part)
    found |= same.copied(found, copies, part, base)
    return [compare.same_for_all(row, base, len(others)) | found[str(row["arm"])] for _, row in part.iterrows()]


def _arms(runs: pd.DataFrame) -> list[tuple[str, str]]:
    return list(runs[["arm", "setting"]].drop_duplicates().itertuples(index=False, name=None))


def _evaluated(grid: Grid, label: str) -> tuple[int, ...]:
    setting = grid.at(label)
    return () if setting is None else setting.evaluated


EDGE = 0.5  # share of settings with the best rate at an end of the grid, from which nothing is faster than it


def over_settings(standing: Standing, against: str, edges: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Each initializer against another over all settings, judged by the rules of a setting: one family.

    Columns: verdict, why (of verdict.Verdict, mixed or reached), ratio, low, high (95%), p, p_holm, test, share. `edges`: in which share of
    its settings each arrives with its best learning rate at an end of the grid.
    """
    names, edges = [name for name in standing.names if name != against], edges or {}
    edge = {name: "most" if edges.get(name, 0.0) > EDGE else "" for name in standing.names}
    others = [name for name in names if not standing.alike(name, against)]
    contrasts = [contrast(standing, name, against) for name in others]
    sides = [verdict.Side(standing.share(name), edge[name]) for name in others]
    base = verdict.Side(standing.share(against), edge[against])
    found = verdict.verdicts(contrasts, sides, [base] * len(sides))
    rows = []
    for name, one, said in zip(others, contrasts, found):
        said = agreed(said, one)
        low, high = one.interval()
        rows.append(
            [
                name,
                said.word,
                said.why,
                *np.exp([one.estimate, low, high]),
                said.p,
                said.p_holm,
                said.test,
                standing.share(name),
            ]
        )
    same_nets = [name for name in names if name not in others]
    rows += [[name, "equivalent", "", 1.0, 1.0, 1.0, 1.0, 1.0, "", standing.share(name)] for name in same_nets]
    rows.append([against, "baseline", "", 1.0, 1.0, 1.0, np.nan, np.nan, "", standing.share(against)])
    columns = ["name", "verdict", "why", "ratio", "low", "high", "p", "p_holm", "test", "share"]
    return pd.DataFrame(rows, columns=columns).set_index("name")


def agreed(said: verdict.Verdict, one: verdict.Contrast) -> verdict.Verdict:
    """A word that counts of arrivals decide needs steps that do not say the opposite: which of two is better, one that is faster or one
    that arrives more often, depends on what is wanted.

    >>> one = verdict.Contrast(10, -0.5, 0.1, np.ones(10, bool), np.ones(10, bool), np.ones(10))
    >>> agreed(verdict.Verdict("slower", "", "reached", 0.001, 0.01), one)[:2]
    ('undecided', 'mixed')

    Where the steps alone would say nothing, the word says what it comes from.

    >>> agreed(verdict.Verdict("slower", "", "reached", 0.001, 0.01), one._replace(estimate=0.1))[:2]
    ('slower', 'reached')
    """
    against = {"faster": one.estimate, "slower": -one.estimate}.get(said.word)
    if against is None:
        return said
    if against > 0:
        return said._replace(word="undecided", why="mixed")
    low, high = one.interval()
    return said._replace(why="reached") if said.test == "reached" and low < 0 < high else said


def contrast(standing: Standing, name: str, against: str) -> verdict.Contrast:
    """Two initializers over all settings. n is the number of seeds of a setting: its t quantiles are the wider ones."""
    i, j = standing.names.index(name), standing.names.index(against)
    estimate = float((standing.theta[i] - standing.theta[j]).mean())
    draws = standing.score_draws[i] - standing.score_draws[j]
    n = standing.seeds
    error = float(draws.std() * np.sqrt(n / (n - 1))) if n >= 3 else float("nan")
    reached, reached_base = standing.reached[i].ravel(), standing.reached[j].ravel()
    return verdict.Contrast(n, estimate, error, reached, reached_base, np.full(n, np.nan))
