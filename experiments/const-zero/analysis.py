"""Do constant weights keep units identical, and do zero weights stay where they are?

Exact statements: the worst seed, layer and step is what counts.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

SAME = 1e-12  # of a layer's largest output


def worst(history: pd.DataFrame, metric: str, arm: pd.DataFrame, layers: int) -> float:
    """The largest value of a measure over runs, steps and the first layers; infinity if a run did not end.

    The spread of units is NaN where all of them are 0 on every sample: such units are the same.
    """
    rows = history[
        (history["metric"] == metric) & history["run"].isin(set(arm["run"].astype(str))) & (history["layer"] < layers)
    ]
    return float(rows["value"].fillna(0.0).max()) if len(rows) and (arm["status"] == "completed").all() else np.inf


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: spread of units, size of weights, final loss."""
    entries = []
    for activation, cell in runs.groupby("model.activation", sort=False):
        place, depth = str(activation), int(cell["model.depth"].iloc[0])
        of = dict(iter(cell.groupby("sweep", sort=False)))
        for part, sweep in (("identical", "constant"), ("float32", "float32")):
            spread = worst(history, "unit_spread", of[sweep], depth)
            note = f"worst of {len(of[sweep])} seeds"
            entries.append(claims.bound(part, place, "constant", "spread of units", spread, most=SAME, note=note))
        moved = worst(history, "weight_norm", of["zero"], depth + 1)
        entries.append(claims.bound("still", place, "zeros", "largest weight norm", moved, 0.0, 0.0))
        loss = cell.loc[cell["sweep"] == "zero", "loss/train"]
        entries.append(claims.formula("entropy", place, "zeros", "final training loss", loss, float(np.log(10)), 0.001))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
