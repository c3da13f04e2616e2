"""More numbers of an arm: restricted mean, final loss, area under the loss curve; and profiles over settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from initbench.stats.intervals import median_interval, resampled
from initbench.stats.ranking import groups
from initbench.stats.rates import GATE, at_chosen_lr, budget, column
from initbench.stats.survival import kaplan_meier, restricted_mean
from initbench.stats.target import select
from initbench.store.history import History

SUMMARY_COLUMNS = [
    "setting", "setup", "arm", "lr", "n", "reached", "diverged", "failed", "steps", "steps_low", "steps_high",
    "restricted_mean", "restricted_mean_low", "restricted_mean_high", "final_loss", "final_loss_low",
    "final_loss_high", "loss_area", "loss_area_low", "loss_area_high",
]  # fmt: skip


def summary(runs: pd.DataFrame, history: History | None = None) -> pd.DataFrame:
    """One row per arm at its chosen learning rate, with 95% intervals over seeds. Columns: SUMMARY_COLUMNS.

    steps: median, inf = never. restricted_mean: mean of min(T, tau) with ``+- 1.96`` standard errors, the area above
    the trained-by-step curve. final_loss: median of the last train loss, diverged = inf: the leaderboard's loss_train.
    loss_area: mean train loss over the budget (area under the curve / tau), interquartile mean over seeds; NaN without
    `history`.
    """
    at = at_chosen_lr(runs)
    at = at.assign(_tau=budget(at), _area=loss_area(at, history) if history is not None else np.nan)
    steps, tau = at["steps_to_target"].to_numpy(float), at["_tau"].to_numpy(float)
    steps = np.where(np.isnan(steps), np.inf, steps)
    loss, area = np.nan_to_num(column(at, "loss/train"), nan=np.inf), at["_area"].to_numpy(float)
    firsts = at.drop_duplicates("arm").set_index(at.drop_duplicates("arm")["arm"].astype(str)).to_dict("index")
    status = at["status"].to_numpy()
    rows = []
    for arm, part in groups(at["arm"]):
        arrived, budget_ = np.isfinite(steps[part]), float(tau[part].max())
        mean, error = restricted_mean(kaplan_meier(steps[part], arrived), budget_)
        first = firsts[arm]
        rows.append(
            [
                str(first["setting"]), str(first["setup"]), arm, float(first["optim.lr"]), len(part), int(arrived.sum()),
                int((status[part] == "diverged").sum()), int((status[part] == "failed").sum()),
                *median_interval(steps[part]),
                mean, max(0.0, mean - 1.96 * error), min(budget_, mean + 1.96 * error),
                *median_interval(loss[part]),
                *(over_seeds(area[part], interquartile_mean) if history is not None else [np.nan] * 3),
            ]
        )  # fmt: skip
    return pd.DataFrame(rows, columns=SUMMARY_COLUMNS)


def interquartile_mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half (Agarwal et al. 2021): a quarter of the values, rounded down, goes at either end.

    >>> float(interquartile_mean(np.array([1.0, 2.0, 4.0, np.inf])))
    3.0
    """
    # scipy.stats.trim_mean, whose import takes longer than all of a small report
    n = values.shape[axis]
    middle = np.sort(values, axis=axis).take(range(n // 4, n - n // 4), axis=axis)
    return np.asarray(middle.mean(axis=axis))


def over_seeds(values: np.ndarray, of: Callable[..., np.ndarray]) -> tuple[float, float, float]:
    """A statistic of values (n,) and its 95% percentile bootstrap interval; NaN ends for fewer than 3."""
    with np.errstate(invalid="ignore"):
        if len(values) < 3:
            return float(of(values)), float("nan"), float("nan")
        draws = resampled(values, of)
    low, high = np.quantile(draws, [0.025, 0.975], method="inverted_cdf")
    return float(of(values)), float(low), float(high)


def loss_area(runs: pd.DataFrame, history: History) -> np.ndarray:
    """``1 / tau integral_0^tau loss`` of each run (len(runs),), trapezoids between evaluations.

    Infinite for a run that diverged or lacks a value up to its budget.
    """
    rows = select(history, "loss/train", runs["run"])
    rows = rows[rows["layer"].isna().to_numpy()]
    rows = pd.DataFrame(
        {"run": rows["run"].astype(str), "step": rows["step"].to_numpy(float), "value": rows["value"].to_numpy(float)}
    ).sort_values(["run", "step"], kind="stable")
    same = rows["run"].eq(rows["run"].shift())
    width = rows["step"].diff().where(same, 0.0)
    piece = np.where(same, width * (rows["value"] + rows["value"].shift()) / 2, 0.0)
    table = rows.assign(piece=piece, bad=rows["value"].isna()).groupby("run", sort=False)
    area, bad, last = table["piece"].sum(), table["bad"].any(), table["step"].max()
    whole = area.where(~bad & (last > 0), np.inf) / last.where(last > 0, 1.0)
    found = runs["run"].astype(str).map(whole).to_numpy(float)
    return np.where(np.isnan(found), np.inf, found)


def performance_profile(board: pd.DataFrame, ratios: np.ndarray | None = None) -> pd.DataFrame:
    """Share of settings in which a setup is within a ratio of the best one there (Dolan and More 2002).

    ``rho(r) = #{settings: mean_steps <= r x best} / #settings``; a setup below the gate, or not run, is within no
    ratio. Long: setup, ratio, settings (how many there are), within, share. `ratios`: default 1..8, log-spaced.

    >>> board = pd.DataFrame({"setting": ["s", "s", "t"], "setup": ["a", "b", "a"], "mean_steps": [10.0, 20.0, 5.0],
    ...                       "share": 1.0})
    >>> performance_profile(board, np.array([1.0, 2.0]))["share"].tolist()
    [1.0, 1.0, 0.0, 0.5]
    """
    ratios = np.geomspace(1, 8, 25) if ratios is None else ratios
    steps = board["mean_steps"].astype(float).where(board["share"].astype(float) >= GATE, np.inf)
    table = steps.groupby([board["setup"], board["setting"]], sort=False).min().unstack()
    values = table.fillna(np.inf).to_numpy(float)  # (setups, settings)
    with np.errstate(invalid="ignore"):
        relative = np.nan_to_num(values / values.min(axis=0), nan=np.inf, posinf=np.inf)  # nobody there: within none
    row_of = {setup: i for i, setup in enumerate(table.index)}
    setups = list(dict.fromkeys(board["setup"]))
    rows = []
    for setup in setups:
        within = (relative[row_of[setup]][None, :] <= ratios[:, None] * (1 + 1e-12)).sum(axis=1)
        for ratio, k in zip(ratios, within):
            rows.append([setup, float(ratio), table.shape[1], int(k), k / table.shape[1]])
    return pd.DataFrame(rows, columns=["setup", "ratio", "settings", "within", "share"])
