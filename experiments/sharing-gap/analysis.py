"""Does sharing one weight among all hidden layers regularize: is the generalization gap smaller at equal training loss?

The gap is validation loss minus training loss where the training loss first crosses a fixed level, linearly between the
two evaluations around it: a net that overshoots the level by more would otherwise look as if it generalized worse.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

LEVELS = {"digits": 0.1, "mnist1d": 1.3}  # training losses, the targets of predictions.yaml


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: ratio of the mean gap of sharing=all to that of its control."""
    frames = claims.framed(runs, history, claims.sharing_role(runs), metric="loss/train")
    gaps = gap_at_level(frames.runs, history)
    return [
        claims.difference(frames, part, cell, "all", control, "below", "generalization gap", gaps, log=False)
        for part, control in (("same width", "none"), ("same numbers", "narrow"))
        for cell in frames.cells
    ]


def gap_at_level(runs: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Gap per run where its training loss first crosses the level of its data; NaN if it never does."""
    level = {str(run): LEVELS[data] for run, data in zip(runs["run"], runs["data.name"])}
    losses = history[history["metric"].isin(["loss/train", "loss/val"]) & history["run"].isin(level)]
    table = losses.pivot_table(index=["run", "step"], columns="metric", values="value", dropna=False, observed=True)
    return pd.Series(
        {
            run: crossing(part["loss/train"].to_numpy(), part["loss/val"].to_numpy(), level[str(run)])
            for run, part in table.groupby(level="run", observed=True)
        },
        dtype=float,
    )


def crossing(train: np.ndarray, val: np.ndarray, level: float) -> float:
    """Gap where `train` first falls to `level`, linear between evaluations.

    >>> crossing(np.array([2.0, 1.0, 0.5]), np.array([2.0, 1.2, 0.9]), 0.75)
    0.3
    """
    at = np.flatnonzero(train <= level)
    if not len(at):
        return float("nan")
    i = int(at[0])
    if i == 0:
        return float(val[0] - train[0])
    share = (train[i - 1] - level) / (train[i - 1] - train[i])
    return round(float(val[i - 1] + share * (val[i] - val[i - 1]) - level), 12)


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
