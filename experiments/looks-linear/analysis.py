"""Is a ReLU net of mirrored blocks an exact isometry at the start?

Digits as an autoencoder: 64 inputs, 64 outputs, 10 or 50 hidden layers of 128 units. The worst net counts.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

ISOMETRY, ROUNDING, FAR = 1e-4, 1e-10, 0.1


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: largest and smallest singular value of the last layer's Jacobian by the input."""
    most, least = (claims.by_layer(history, f"input_jacobian_sv_{end}") for end in ("max", "min"))
    entries = []
    for (init, depth, dtype), arm in runs.groupby(["init.name", "model.depth", "model.dtype"], sort=False):
        own, cell, name = arm["run"].astype(str), f"{int(depth)} layers, {dtype}", str(init)
        high, low = most.loc[own, int(depth)], least.loc[own, int(depth)]
        if name != "looks_linear":
            entries.append(claims.within("ordinary", cell, name, "smallest / largest", low / high, most=FAR))
            continue
        note = f"worst of {len(arm)} nets"
        for end, value in (("largest", high.max(skipna=False)), ("smallest", low.min(skipna=False))):
            said = (cell, name, f"{end} singular value")
            entries.append(claims.bound("isometry", *said, float(value), 1 - ISOMETRY, 1 + ISOMETRY, 1.0, note=note))
            if dtype == "float64":
                off = abs(float(value) - 1)
                entries.append(claims.bound("rounding", cell, name, f"|{end} - 1|", off, most=ROUNDING, note=note))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
