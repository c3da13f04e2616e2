"""How many deep narrow ReLU nets are dead at birth?

One input, biases zero, He's start. A net is dead if some hidden layer is silent on every input: its output is constant.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

ROOM = 0.01  # on both sides of the bracket; ours


def bracket(layers: int, width: int) -> tuple[float, float]:
    """Lower and upper bound of the chance that a net of `layers` hidden layers is dead at birth.

    >>> [round(end, 3) for end in bracket(10, 2)], [round(end, 3) for end in bracket(10, 5)]
    ([0.903, 0.925], [0.077, 0.249])
    """
    n, k = width, layers - 1
    a1 = 1 - 2.0**-n
    a2 = 1 - 2.0 ** (1 - n) - (n - 1) * 4.0**-n
    c = (1 - 2.0 ** (1 - n)) * (1 - 2.0**-n) / (1 + (n - 1) * 2.0**-n)
    return 1 - (a1**k + c * (a1**k - a2**k)), 1 - a1**k


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: the share of dead nets, by width and depth."""
    silent = claims.by_layer(history, "dead_fraction").max(axis=1) == 1
    entries = []
    for (width, depth), arm in runs.groupby(["model.width", "model.depth"]):
        low, high = bracket(int(depth), int(width))
        dead = int(silent.loc[arm["run"].astype(str)].sum())
        cell = f"width {int(width)}, depth {int(depth)}"
        entries.append(
            claims.share("bracket", cell, "kaiming_normal", "dead at birth", dead, len(arm), low - ROOM, high + ROOM)
        )
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
