"""How a number scales with size, seed by seed: the best learning rate of each size, and exponents of power laws."""

from __future__ import annotations

import numpy as np
import pandas as pd


def best_rates(runs: pd.DataFrame, by: str) -> pd.DataFrame:
    """The learning rate of the smallest training loss at the end, one row a seed, one column a value of `by`.

    >>> rows = [(0, 8, 0.1, 2.0), (0, 8, 0.2, 1.0), (0, 16, 0.1, 1.0), (0, 16, 0.2, float("nan"))]
    >>> best_rates(pd.DataFrame(rows, columns=["seed", "width", "optim.lr", "loss/train"]), "width").values.tolist()
    [[0.2, 0.1]]
    """
    return at_least_loss(runs, by, "optim.lr")


def soonest_rates(runs: pd.DataFrame, by: str) -> pd.DataFrame:
    """The learning rate that arrives first, the geometric mean of those that tie, one row a seed, one column a value of
    `by`; NaN where none arrives.

    >>> runs = pd.DataFrame({"seed": 0, "depth": 4, "optim.lr": [0.1, 0.4, 1.0], "steps_to_target": [7.0, 7.0, np.nan]})
    >>> soonest_rates(runs, "depth").round(3).values.tolist()
    [[0.2]]
    """
    place = [runs["seed"], runs[by]]
    steps = runs["steps_to_target"].astype(float)
    first = steps.notna() & (steps == steps.groupby(place).transform("min"))
    return np.exp(np.log(runs["optim.lr"].where(first)).groupby(place).mean()).unstack()


def at_least_loss(runs: pd.DataFrame, by: str, column: str) -> pd.DataFrame:
    """A column of the run with the smallest training loss at the end, one row a seed, one column a value of `by`; NaN where
    all of them diverged: none is the best.

    >>> runs = pd.DataFrame({"seed": 0, "width": [8, 8, 16], "optim.lr": [0.1, 0.2, 0.1], "loss/train": [2.0, 1.0, np.nan]})
    >>> at_least_loss(runs, "width", "optim.lr").values.tolist()
    [[0.2, nan]]
    """
    loss = runs["loss/train"].fillna(np.inf)  # diverged
    chosen = loss.groupby([runs["seed"], runs[by]]).idxmin()
    least = runs.loc[chosen].assign(found=runs[column].where(np.isfinite(loss)).loc[chosen])
    return least.pivot(index="seed", columns=by, values="found")


def at_edge(best: pd.DataFrame, runs: pd.DataFrame) -> str:
    """How many of the best learning rates are the smallest or the largest that were tried, in words."""
    ends = [runs["optim.lr"].min(), runs["optim.lr"].max()]
    return f"{int(best.isin(ends).to_numpy().sum())} of {best.size} at an end of the grid"


def exponents(table: pd.DataFrame) -> np.ndarray:
    """(rows,) least-squares slope of ln(value) over ln(column); NaN for a row that lacks a value.

    >>> exponents(pd.DataFrame([[1.0, 8.0, 64.0]], columns=[1, 2, 4])).round(6).tolist()
    [3.0]
    """
    x = np.log(table.columns.to_numpy(float))
    x -= x.mean()
    return np.asarray(np.log(table.to_numpy(float)) @ x / (x @ x))
