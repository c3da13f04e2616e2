"""What would decide an undecided pair: the override that asks for what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from initbench.grammar import number
from initbench.stats.target import select
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


def more_seeds(seeds: Sequence[int], total: int) -> str:
    """The override with `total` seeds, the present ones first.

    >>> more_seeds([0, 1, 2], 20), more_seeds([3, 5], 4)
    ('seeds=20', "'seeds=[3,5,6,7]'")
    """
    have = sorted(int(seed) for seed in seeds)
    total = max(total, len(have))
    if have == list(range(len(have))):
        return f"seeds={total}"
    fresh = range(have[-1] + 1, have[-1] + 1 + total - len(have))
    return f"'seeds=[{','.join(str(seed) for seed in [*have, *fresh])}]'"


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
