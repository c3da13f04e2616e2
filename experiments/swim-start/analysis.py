"""Does a start sampled from pairs of data points train an MLP in fewer steps than He's?

Each hidden unit looks from one sample to another of a different class; the last layer is fitted by least squares, or
drawn as He's.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

BOUND = 1 / 1.1
HIDDEN = "swim, last kaiming_normal"


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: two races in each cell of data, activation and depth."""
    setup = runs["init.name"].astype(str).mask(runs["init.last"] == "kaiming_normal", HIDDEN)
    frames = claims.framed(runs, history, setup)
    return [
        *claims.races(frames, "start", "swim", "kaiming_normal", "below", BOUND),
        *claims.races(frames, "hidden", HIDDEN, "kaiming_normal", "below", BOUND),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
