"""Is one weight for all layers slower than one for each, and does cycle beat sequence?

15 hidden-to-hidden tanh layers; three stored weights for sequence, cycle and cycle_rev.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

BOUND = 1.5  # ours


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: races between schemes, in each data set and for each initializer."""
    cell = runs["data.name"].astype(str) + ", " + runs["init.name"].astype(str)
    frames = claims.framed(runs, history, runs["sharing.name"], cell=cell)
    return [
        *claims.races(frames, "all", "all", "none", "above", BOUND),
        *claims.races(frames, "reversed", "cycle_rev", "sequence", "below"),
        *claims.races(frames, "cycle", "cycle", "sequence", "below"),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
