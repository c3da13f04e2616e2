"""Why a pair is undecided, in words, and what would decide it: the override that asks for what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from initbench.grammar import number, plural, probability
from initbench.stats import verdict
from initbench.stats.target import select
from initbench.stats.verdict import ALPHA, MARGIN, MIN_EQUIVALENT
from initbench.store.history import History

SOME_TARGET = "'train.target={metric:auto}'"  # whatever the study said: the default of its kind of data
REASONS = {
    "few": "n={n}, at least 8 seeds",
    "steps": "neither arrives in 80% of its seeds",
    "seeds": "the interval is too wide",
    "lr": "the best lr of the slower one lies at the end of its grid",
    "grid": "one evaluation earlier would change the verdict",
    "target": "no target to reach",
}
Asked = tuple[set[int], set[float], set[float]]  # seeds, learning rates, budgets of an arm
NONE: Asked = (set(), set(), set())
LIMITS = {"seeds": "seeds", "optim.lr": "rates", "train.steps": "steps"}  # what each override has for a limit in decide
DECIDE = "decide=true"  # goes on by itself until every pair has a word


def reason(row: Mapping[str, Any]) -> str:
    """Why a pair has no word, with its p values; empty where it has one. A row of `comparisons` and `why`, a key of REASONS.

    More seeds may be asked for by four causes: the correction for many comparisons, a test of counts that cannot go
    below ``2^(1-n)``, too few seeds for the word "equivalent", and an interval that is really too wide.

    >>> reason({"why": "seeds", "test": "ratio", "pairs": 10, "p": 0.007, "p_holm": 0.098, "family": 15})
    'p .0070, .098 after correction for 15 comparisons'
    >>> reason({"why": "seeds", "test": "reached", "pairs": 10, "p": 2 / 2**10, "p_holm": 0.18, "family": 92,
    ...     "reached": 10, "n": 10, "reached_baseline": 0, "n_baseline": 10})
    '10/10 against 0/10 seeds arrived: p .0020, .18 after correction for 92 comparisons; at n=10 the exact test cannot go below .0020'
    """
    why = str(row.get("why") or "")
    if why != "seeds":
        return REASONS[why].format(n=row.get("pairs")) if why else ""
    if row["test"] == "reached":
        text = f"{_arrived(row)}: {p_values(row)}{_least(row)}"
    elif row["p"] < ALPHA:
        text = p_values(row)
    elif row["pairs"] < MIN_EQUIVALENT and _inside(row):
        text = f"n={row['pairs']}: equal within 10%, which takes at least {MIN_EQUIVALENT} seeds to say"
    else:
        text = f"{REASONS[why]}: {p_values(row)}"
    return text + _beyond(row)


def p_values(row: Mapping[str, Any]) -> str:
    """The p of a comparison, and what the correction for the family and for earlier looks makes of it.

    >>> p_values({"p": 0.31, "p_holm": 0.31, "family": 1}), p_values({"p": 0.02, "p_holm": 0.06, "family": 1, "looks": 3})
    ('p .31', 'p .020, .060 after correction for 3 looks')
    """
    text, causes = f"p {probability(row['p'])}", []
    if row.get("family", 1) > 1:
        causes.append(plural(int(row["family"]), "comparison"))
    if row.get("looks", 1) > 1:
        causes.append(plural(int(row["looks"]), "look"))
    return f"{text}, {probability(row['p_holm'])} after correction for {' and '.join(causes)}" if causes else text


def _arrived(row: Mapping[str, Any]) -> str:
    """Who arrived, as every table counts it; and at the rates of the test, where that is another count."""
    shown = f"{row['reached']}/{row['n']} against {row['reached_baseline']}/{row['n_baseline']} seeds arrived"
    tested = [row.get(name, row[other]) for name, other in (("reached_pairs", "reached"),
                                                            ("reached_pairs_baseline", "reached_baseline"))]  # fmt: skip
    if row["n"] == row["n_baseline"] == row["pairs"] and tested == [row["reached"], row["reached_baseline"]]:
        return shown
    return f"{shown}, {tested[0]} against {tested[1]} of {row['pairs']} at rates chosen on other seeds"


def _least(row: Mapping[str, Any]) -> str:
    """That the exact test cannot get any further at this n, where that is so."""
    least, factor = 2.0 ** (1 - row["pairs"]), row["p_holm"] / max(row["p"], 1e-300)
    if not row.get("paired", True) or least * factor < ALPHA:
        return ""
    return f"; at n={row['pairs']} the exact test cannot go below {probability(least)}"


def _inside(row: Mapping[str, Any]) -> bool:
    return bool(row.get("equal_low", 0.0) >= 1 / MARGIN and row.get("equal_high", np.inf) <= MARGIN)


def _beyond(row: Mapping[str, Any]) -> str:
    """That no number of seeds within reach would help, and why; needs `seeds_needed`, missing for none."""
    if "seeds_needed" not in row or not pd.isna(row["seeds_needed"]):
        return ""
    most = "; more than 1,000 seeds would be needed"
    if row["test"] == "reached":
        return f"{most}: the shares that arrive are too near to one another"
    near = (
        "1x"
        if not 1 / MARGIN < row["ratio"] < MARGIN
        else f"1x and to {MARGIN if row['ratio'] >= 1 else 1 / MARGIN:.2g}x"
    )
    return f"{most}: {row['ratio']:.2f}x is too near to {near} for a spread this large"


def tries(decide: str, limits: Mapping[str, Any] | None = None) -> list[str]:
    """What to type for an undecided pair, the best first. `limits`: those of a study that went on by itself and ended.

    >>> tries("seeds=75"), tries(SOME_TARGET) == [SOME_TARGET]
    (['decide=true', 'seeds=75'], True)
    >>> tries("seeds=450", {"ended": "seeds", "seeds": 200})
    ['decide.seeds=450']
    >>> tries("", {"ended": "minutes", "minutes": 60}), tries("", {"ended": "nothing would change"})
    (['decide.minutes=120'], [])
    """
    own = [decide] if decide else []
    if limits is None:
        return own if decide == SOME_TARGET else [DECIDE, *own]
    if limits.get("ended") == "minutes" and limits.get("minutes"):
        return [f"decide.minutes={number(2 * limits['minutes'])}"]
    key = decide.strip("'").partition("=")[0]
    name = LIMITS.get(key or "seeds", "")
    if not limits.get(name) or (name == "seeds" and limits.get("ended") != "seeds"):
        return own
    needed = re.fullmatch(r"seeds=(\d+)", decide)
    return [f"decide.{name}={max(int(needed[1]) if needed else 0, 2 * int(limits[name]))}"]


def decide(
    said: verdict.Verdict,
    one: verdict.Contrast,
    row: pd.Series,
    base: pd.Series,
    family: int,
    at: tuple[int, ...],
    known: Mapping[str, Asked],
) -> tuple[str, int | None]:
    """(override, seeds in all) that would probably decide an undecided pair."""
    if said.word != "undecided":
        return "", None
    ours, theirs = known.get(row["arm"], NONE), known.get(base["arm"], NONE)
    seeds, rates, tau = ours[0] | theirs[0], ours[1] | theirs[1], ours[2] | theirs[2]
    if said.why in ("few", "seeds"):
        test = said.test or "ratio"
        needed = verdict.MIN_SEEDS if said.why == "few" else verdict.seeds_to_decide(one, test, family, at)
        return (more_seeds(sorted(seeds), needed) if needed else ""), needed
    if said.why == "steps":
        return longer(max(tau, default=0.0)), None
    if said.why == "grid":
        medians = [steps for steps in (row["steps"], base["steps"]) if np.isfinite(steps)]
        return (denser(max(medians)) if medians else ""), None
    edges = [row["lr_at_edge"], base["lr_at_edge"]]
    return wider(sorted(rates), sides_of(edges)), None


def more_seeds(seeds: Sequence[int], total: int) -> str:
    """The override with `total` seeds, the present ones first.

    >>> more_seeds([0, 1, 2], 20), more_seeds([3, 5], 4)
    ('seeds=20', "'seeds=[3,5,6,7]'")
    """
    have = sorted(int(seed) for seed in seeds)
    if have == list(range(len(have))):
        return f"seeds={max(total, len(have))}"
    return f"'seeds=[{','.join(map(str, with_more(have, total)))}]'"


def with_more(seeds: Sequence[int], total: int) -> tuple[int, ...]:
    """Seeds, ascending, and so many after the last that there are `total`.

    >>> with_more((0, 1), 4), with_more((3, 5), 4), with_more((3, 5), 1)
    ((0, 1, 2, 3), (3, 5, 6, 7), (3, 5))
    """
    return (*seeds, *range(seeds[-1] + 1, seeds[-1] + 1 + total - len(seeds)))


def wider(rates: Sequence[float], sides: set[str]) -> str:
    """An override with the grid continued by its own ratio on the sides named.

    >>> wider([0.01, 0.1], {"high"})
    "'optim.lr=[0.01,0.1,1]'"
    """
    return f"'optim.lr=[{','.join(number(lr) for lr in continued(rates, sides))}]'"


def continued(rates: Sequence[float], sides: set[str]) -> list[float]:
    """A grid, ascending, with one more rate on each of these sides, by its own ratio; a factor of 3 from a single rate.

    >>> continued([0.01, 0.1], {"high"}), continued([0.1], {"low", "high"})
    ([0.01, 0.1, 1.0], [0.03, 0.1, 0.3])
    """
    low = rates[0] / rates[1] if len(rates) > 1 and rates[1] > 0 else 1 / 3
    high = rates[-1] / rates[-2] if len(rates) > 1 and rates[-2] > 0 else 3.0
    grid = list(rates)
    if "low" in sides and rates[0] > 0:
        grid.insert(0, rounded(rates[0] * low, rates[0]))
    if "high" in sides and rates[-1] > 0:
        grid.append(rounded(rates[-1] * high, rates[-1]))
    return grid


def rounded(value: float, end: float) -> float:
    """As few digits as keep it on its side of the grid's end.

    >>> rounded(0.0333, 0.1), rounded(0.11025, 0.105)
    (0.03, 0.11)
    """
    return next(
        (
            near
            for digits in range(1, 16)
            if (near := float(f"{value:.{digits}g}")) and (near < end) == (value < end) and near != end
        ),
        value,
    )


def sides_of(edges: Sequence[str]) -> set[str]:
    """Which ends of the grid to move: both where one rate was all there was."""
    return {side for edge in edges for side in (("low", "high") if edge == "only" else (edge,)) if side}


def longer(tau: float) -> str:
    """Twice the budget; 100 steps where there was none.

    >>> longer(300), longer(0)
    ('train.steps=600', 'train.steps=100')
    """
    return f"train.steps={2 * int(tau) or 100}"


def denser(steps: float) -> str:
    """Evaluate every step up to the slower median."""
    return f"train.evaluate.dense={math.ceil(steps)}"


def evaluation_grids(runs: pd.DataFrame, history: History, metric: str) -> dict[str, np.ndarray]:
    """{arm: the steps at which the metric was evaluated}, from one run of each arm that has any."""
    rows = select(history, metric, runs.loc[runs["status"] != "failed"].drop_duplicates("arm")["run"])
    arm_of = dict(zip(runs["run"].astype(str), runs["arm"].astype(str)))
    grouped = rows.groupby(rows["run"].astype(str), sort=False)["step"]
    return {arm_of[str(run)]: np.unique(steps.to_numpy(float)) for run, steps in grouped}


def one_evaluation_earlier(runs: pd.DataFrame, grids: dict[str, np.ndarray]) -> pd.DataFrame:
    """`runs` with every T moved to the evaluation before it; a T at the first evaluation stays.

    >>> runs = pd.DataFrame({"arm": ["a", "a"], "steps_to_target": [5.0, float("nan")]})
    >>> one_evaluation_earlier(runs, {"a": np.array([0.0, 2.0, 5.0])})["steps_to_target"].tolist()
    [2.0, nan]
    """
    steps = runs["steps_to_target"].to_numpy(float).copy()
    arms = runs["arm"].astype(str).to_numpy()
    for arm, grid in grids.items():
        rows = (arms == arm) & np.isfinite(steps)
        steps[rows] = grid[np.maximum(np.searchsorted(grid, steps[rows], side="left") - 1, 0)]
    return runs.assign(steps_to_target=steps)
