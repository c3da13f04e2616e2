"""Does the maximal update parametrization keep the best learning rate where it is as nets grow wider?

Best learning rate: that of the smallest training loss after the last step, seed by seed, on a grid of octaves.
Coordinate check: how the change of a layer's output in the first steps, as root mean square, grows with width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

STEP, CHECKED = 3, 2.0**-10  # the coordinate check: after so many steps, at this learning rate
HIDDEN_AND_HEAD = (1, 2, 3)  # layers whose fan_in is the width
KIND, WIDTH = "model.parametrization", "model.width"


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: the drift of the best learning rate, and the exponents of the coordinate check."""
    changes = claims.by_layer(history, "activation_change_msq", step=STEP)
    entries = []
    for kind, arm in runs.groupby(KIND):
        best = claims.best_rates(arm, WIDTH)
        narrow, wide = best.columns.min(), best.columns.max()
        drift = np.log2(best[wide] / best[narrow])
        cell, note = f"width {narrow:g} to {wide:g}", claims.at_edge(best, arm)
        least, most = (-1.0, 1.0) if kind == "mup" else (-np.inf, -2.0)
        entries.append(claims.within(f"best, {kind}", cell, kind, "octaves of drift", drift, least, most, note=note))
        checked = arm[np.isclose(arm["optim.lr"], CHECKED)]
        sizes = np.sqrt(changes.loc[checked["run"].astype(str)])
        least, most = (-0.3, 0.3) if kind == "mup" else (0.8, np.inf)
        for layer in HIDDEN_AND_HEAD:
            by_width = checked.assign(size=sizes[layer].to_numpy()).pivot(index="seed", columns=WIDTH, values="size")
            part, grown = f"coordinates, {kind}", claims.exponents(by_width)
            entries.append(claims.within(part, f"layer {layer}", kind, "exponent of width", grown, least, most))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
