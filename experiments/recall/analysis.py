"""Does a net that uses one weight again and again train faster if it sees its input at every use?

z = W h + b + V x in all hidden-to-hidden layers, W and b and V one for all, against z = W h + b.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

DEEP, BOUND = 12, 0.5  # ours


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: a race in each cell; in the deepest nets a second one against the bound."""
    frames = claims.framed(runs, history, runs["sharing.name"])
    races = claims.races(frames, "faster", "input_injection", "all", "below")
    deep = claims.races(frames, "deeper", "input_injection", "all", "below", BOUND)
    return [*races, *(one for one in deep if one.cell.endswith(f"depth {DEEP}"))]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
