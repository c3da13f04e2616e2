"""Does U(+-1/sqrt n) shrink the backpropagated signal while weight gradients stay flat?

So whoever logs gradients of weights alone does not see what happens to the signal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: one factor a layer of the backward signal, and largest over smallest weight gradient."""
    back, grads = claims.by_layer(history, "backward_msq"), claims.by_layer(history, "grad_norm")
    entries = []
    for data, arm in runs.groupby("data.name", sort=False):
        own, depth = arm["run"].astype(str), int(arm["model.depth"].iloc[0])
        factor = (back.loc[own, 0] / back.loc[own, depth - 1]) ** (0.5 / (depth - 1))
        between = grads.loc[own, range(1, depth)]  # hidden to hidden: matrices of one shape
        ratio = between.max(axis=1) / between.min(axis=1)
        entries += [
            claims.formula(
                "backward", str(data), "torch_default", "factor a layer", factor, np.sqrt(1 / 3), 0.03, absolute=True
            ),
            claims.within("weights", str(data), "torch_default", "largest / smallest gradient", ratio, most=1.2),
        ]
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
