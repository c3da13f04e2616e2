"""Is the gradient of a shared weight the sum of the gradients of its uses?

Six tanh or ReLU layers use one 10 x 10 weight; float64.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: |sum of uses| against |stored gradient|, and against the mean |use|."""
    uses, alignment, stored = (
        claims.by_layer(history, name) for name in ("use_grad_norm", "use_grad_alignment", "grad_norm")
    )
    slot = alignment.columns[0]  # a slot stands at its first layer
    total = alignment[slot] * uses.sum(axis=1)
    error = (total / stored[slot] - 1).abs()
    entries = []
    for (activation, init), arm in runs.groupby(["model.activation", "init.name"], sort=False):
        own, cell = arm["run"].astype(str), str(activation)
        worst = float(error.loc[own].max(skipna=False))
        note = f"worst of {len(own)} seeds"
        entries.append(claims.bound("sum", cell, str(init), "relative error", worst, most=1e-10, note=note))
        ratio = total.loc[own] / uses.loc[own].mean(axis=1)
        independent, aligned = np.sqrt(uses.shape[1]), float(uses.shape[1])
        entries.append(
            claims.within(
                "alignment", cell, str(init), "norm of the sum / mean norm of a use", ratio, independent, aligned
            )
        )
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
