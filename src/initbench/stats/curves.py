"""Over steps: who has arrived, how the losses went, what each layer did. All at the chosen learning rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from initbench.stats.intervals import wilson
from initbench.stats.rates import at_chosen_lr, budget
from initbench.stats.target import select
from initbench.store.history import History


def trained_by_step(runs: pd.DataFrame) -> pd.DataFrame:
    """Share of an arm's seeds that have arrived by a step: ``#{T <= step} / n``, T = infinity if never.

    Failed runs are in n. Long: setting, setup, arm, step, arrived, n, share, low, high (Wilson's 95% interval, step by
    step); a row at step 0, one at each T, one at the budget. This is 1 - Kaplan-Meier (survival.py): with one budget
    for all and divergence as T = infinity, it is the plain ECDF.
    """
    at = at_chosen_lr(runs)
    rows = []
    for arm, part in at.assign(_tau=budget(at)).groupby(at["arm"].astype(str), sort=False):
        steps = np.sort(part["steps_to_target"].dropna().to_numpy(float))
        grid = np.unique(np.concatenate([[0.0], steps, [part["_tau"].max()]]))
        arrived = np.searchsorted(steps, grid, side="right")
        bounds = {k: wilson(k, len(part)) for k in np.unique(arrived)}
        head = {"setting": str(part["setting"].iloc[0]), "setup": str(part["setup"].iloc[0]), "arm": str(arm)}
        rows.append(
            pd.DataFrame(
                {
                    **head,
                    "step": grid.astype(int),
                    "arrived": arrived,
                    "n": len(part),
                    "share": arrived / len(part),
                    "low": [bounds[k][0] for k in arrived],
                    "high": [bounds[k][1] for k in arrived],
                }
            )
        )
    columns = ["setting", "setup", "arm", "step", "arrived", "n", "share", "low", "high"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def loss_bands(
    history: History, runs: pd.DataFrame, metric: str = "loss/train", low: float = 0.1, high: float = 0.9
) -> pd.DataFrame:
    """Median and band of a metric over the seeds of each arm among `runs`, per step; NaN (diverged) = +inf.

    Long: arm, step, n (runs with a row), low, median, high, lost (not finite). The band is the spread of
    seeds, not the error of the median. See `grouped_quantiles`.
    """
    part, arm, names = _rows_of(history, runs, metric)
    part, arm = part[part["layer"].isna().to_numpy()], arm[part["layer"].isna().to_numpy()]
    keys, n, lost, found = grouped_quantiles([arm, part["step"].to_numpy()], part["value"], (low, 0.5, high))
    columns = {"low": found[:, 0], "median": found[:, 1], "high": found[:, 2]}
    return pd.DataFrame({"arm": names[keys[0]], "step": keys[1].astype(int), "n": n, **columns, "lost": lost})


def layer_maps(history: History, runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Median of a per-layer metric over the seeds of each arm. Long: arm, layer, step, n, median."""
    part, arm, names = _rows_of(history, runs, metric)
    inside = part["layer"].notna().to_numpy()
    part, arm = part[inside], arm[inside]
    by = [arm, part["layer"].to_numpy(int), part["step"].to_numpy()]
    keys, n, _, found = grouped_quantiles(by, part["value"], (0.5,))
    return pd.DataFrame(
        {"arm": names[keys[0]], "layer": keys[1], "step": keys[2].astype(int), "n": n, "median": found[:, 0]}
    )


def layer_map(history: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Layer x step medians over all runs of `history`: index layer, columns step; a NaN counts as +inf.

    >>> history = pd.DataFrame({"run": ["a", "b", "c"], "step": 0, "metric": "grad_norm",
    ...                         "layer": pd.array([0, 0, 0], "Int16"), "value": [1.0, 3.0, 2.0]})
    >>> layer_map(history, "grad_norm").loc[0, 0]
    np.float64(2.0)
    """
    runs = pd.DataFrame({"run": history["run"].unique()}).assign(arm="all")
    return layer_maps(history, runs, metric).pivot(index="layer", columns="step", values="median")


def _rows_of(history: History, runs: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows of the metric that belong to `runs`, the arm number of each row, the arms' names."""
    part = select(history, metric, runs["run"])
    numbers, names = pd.factorize(runs["arm"].astype(str))
    of_run = dict(zip(runs["run"].astype(str), numbers))
    codes, labels = pd.factorize(part["run"])
    arm = np.array([of_run[str(label)] for label in labels], dtype=int)
    return part, arm[codes] if len(part) else np.zeros(0, int), np.asarray(names, dtype=object)


def grouped_quantiles(
    keys: list[np.ndarray], values: pd.Series, levels: Sequence[float]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Quantiles within groups; NaN = +inf.

    Gives keys [(G,)...], n (G,), how many are not finite (G,), quantiles (G, levels). The level 0.5 is the median of
    `intervals.median`, the others are ``np.quantile(method="inverted_cdf")``, values that occur, so infinity stays
    infinity; without a Python loop over groups.

    >>> groups = grouped_quantiles([np.array([0, 0, 0, 1, 1])], pd.Series([3.0, 1.0, np.nan, 5.0, 6.0]), (0.1, 0.5))
    >>> groups[3].tolist()
    [[1.0, 3.0], [5.0, 5.5]]
    """
    value = values.to_numpy(float)
    value = np.where(np.isnan(value), np.inf, value)
    if not len(value):
        none = np.zeros(0, int)
        return [none for _ in keys], none, none, np.zeros((0, len(levels)))
    order = np.lexsort((value, *reversed(keys)))
    value, keys = value[order], [key[order] for key in keys]
    new = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    start = np.concatenate([[0], np.flatnonzero(new) + 1])
    n = np.diff(np.append(start, len(value)))
    # 1e-9: .1 * 10 must be the first of ten, whatever its last bit
    index = [start + np.clip(np.ceil(n * level - 1e-9).astype(int) - 1, 0, n - 1) for level in levels]
    found = [(value[i] + value[start + n // 2]) / 2 if level == 0.5 else value[i] for level, i in zip(levels, index)]
    lost = np.add.reduceat(~np.isfinite(value), start, dtype=int)
    return [key[start] for key in keys], n, lost, np.stack(found, axis=1)
