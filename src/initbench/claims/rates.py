"""The best learning rate of each seed, for claims about how it moves with depth, width or the number of loops."""

from __future__ import annotations

import numpy as np
import pandas as pd


def best_rates(runs: pd.DataFrame) -> pd.Series:
    """ln of the learning rate at which each seed of one arm arrives first, by seed; the mean ln of those that tie, NaN where none
    arrives. Each seed chooses for itself, so seeds are independent.

    >>> runs = pd.DataFrame({"seed": 0, "optim.lr": [0.1, 0.4, 1.0], "steps_to_target": [7.0, 7.0, np.nan]})
    >>> best_rates(runs).map(np.exp).round(3).tolist()
    [0.2]
    """
    steps = runs.pivot(index="optim.lr", columns="seed", values="steps_to_target").astype(float)
    first = steps.eq(steps.min(), axis="columns").to_numpy()
    logs = np.log(steps.index.to_numpy(float))[:, None]
    count = first.sum(axis=0)
    return pd.Series(np.where(count, (first * logs).sum(axis=0) / np.maximum(count, 1), np.nan), index=steps.columns)
