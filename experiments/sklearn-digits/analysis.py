"""Does this package train scikit-learn's own example to the numbers that scikit-learn prints?

One hidden layer of 100 ReLU units on digits from 0 to 1, all samples, 15 epochs; SGD, momentum, Nesterov's momentum.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims
from initbench.stats.rates import MIN_SEEDS

PRINTED = {  # optimizer: score and loss after the fit of seed 0
    "sgd": (0.956038, 0.243802),
    "momentum": (0.992766, 0.041297),
    "nesterov": (0.993879, 0.042898),
}
EPOCH = range(126, 135)  # updates of the last epoch


def losses(history: pd.DataFrame, decay: float) -> pd.Series:
    """scikit-learn's `loss_` of each run: mean over the last epoch of the batch's loss and half the decay times |W|^2."""
    last = history[history["step"].isin(EPOCH)]
    batch = last[last["metric"] == "loss/batch"].groupby("run")["value"].mean()
    norms = last[last["metric"] == "weight_norm"]
    return batch + decay / 2 * norms["value"].pow(2).groupby(norms["run"]).sum() / len(EPOCH)


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: the printed numbers against the range over seeds."""
    loss = losses(history, float(runs["optim.weight_decay"].iloc[0]))
    entries = []
    for optim, arm in runs.groupby("optim.name"):
        of_seed = {"score": arm["accuracy/train"].to_numpy(float), "loss": loss.loc[arm["run"].astype(str)].to_numpy()}
        for (part, values), printed in zip(of_seed.items(), PRINTED[str(optim)]):
            low, middle, high = np.quantile(values, [0.01, 0.5, 0.99])
            note = f"{len(values)} seeds"
            one = claims.bound(
                part, str(optim), "sklearn_mlp", f"printed {part}", printed, low, high, middle, note=note
            )
            one = one._replace(n=len(values))  # the region has chance in it, not the printed number
            entries.append(one if len(values) >= 4 * MIN_SEEDS else one._replace(low=np.nan, high=np.nan))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
