"""Does a deterministic start of sines converge faster than He's and orthogonal starts?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: two races in each cell."""
    frames = claims.framed(runs, history, runs["init.name"])
    return [
        *claims.races(frames, "He", "sinusoidal", "kaiming_normal", "below"),
        *claims.races(frames, "orthogonal", "sinusoidal", "orthogonal_relu", "below"),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
