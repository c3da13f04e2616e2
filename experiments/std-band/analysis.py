"""Does a ReLU MLP train from normal weights of standard deviation .01 to .1, and fail outside?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

BAND = (0.01, 0.1)
MOST, FEW = 0.8, 0.2  # shares of nets; ours


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: the share of nets that arrive at some learning rate, by depth and standard deviation."""
    entries = []
    for (depth, std), arm in runs.groupby(["model.depth", "init.std"]):
        arrived = arm.groupby("seed")["steps_to_target"].apply(lambda steps: steps.notna().any())
        cell, k, n = f"depth {int(depth)}, std {float(std):g}", int(arrived.sum()), len(arrived)
        if BAND[0] <= float(std) <= BAND[1]:
            entries.append(claims.share("inside", cell, "normal", "arrived", k, n, least=MOST))
        else:
            entries.append(claims.share("outside", cell, "normal", "arrived", k, n, most=FEW))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
