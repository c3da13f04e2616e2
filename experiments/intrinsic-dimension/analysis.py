"""Do few trained numbers suffice, and as many at every width?

d90: how many numbers, along random directions from the start, reach 90% of the validation accuracy of the same net trained
in full; between two dimensions of the grid by a line in accuracy over ln d. Learning rates: of the smallest training loss.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

FACTOR, FEW = 1.5, 750


def d90(accuracy: pd.DataFrame, full: pd.Series) -> pd.Series:
    """The dimension at which each row first reaches .9 `full`; NaN where none does, or already the smallest.

    >>> d90(pd.DataFrame([[0.5, 0.8, 1.0]], columns=[10, 20, 40]), pd.Series([1.0])).round(2).tolist()
    [28.28]
    """
    ln, found = np.log(accuracy.columns.to_numpy(float)), []
    for row, goal in zip(accuracy.to_numpy(float), 0.9 * full.reindex(accuracy.index).to_numpy(float)):
        k = int(np.argmax(row >= goal))
        inside = k > 0 and row[k] >= goal
        found.append(np.exp(np.interp(goal, row[k - 1 : k + 1], ln[k - 1 : k + 1])) if inside else np.nan)
    return pd.Series(found, index=accuracy.index)


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: d90 of each net, and its ratio between the widest and the narrowest."""
    entries = []
    for (data, depth), cell in runs.groupby(["data.name", "model.depth"]):
        found = {}
        for width, arm in cell.groupby("model.width"):
            free, few = (arm[arm["sharing.name"] == name] for name in ("none", "intrinsic"))
            full = claims.at_least_loss(free, "model.width", "accuracy/val")[width]
            found[width] = d90(claims.at_least_loss(few, "sharing.dimension", "accuracy/val"), full)
            place = f"{data}, depth {depth}, width {width}"
            entries.append(claims.within("few", place, "intrinsic", "d90", found[width], most=FEW))
        ratio = np.log(found[max(found)] / found[min(found)])
        place, end = f"{data}, depth {depth}", float(np.log(FACTOR))
        entries.append(claims.within("invariant", place, "intrinsic", "ln of the ratio of d90", ratio, -end, end, 0.0))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
