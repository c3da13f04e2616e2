"""Does a low-rank part of each layer's own repair what strict sharing costs?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: two races in each cell."""
    frames = claims.framed(runs, history, runs["sharing.name"])
    return [
        *claims.races(frames, "repaired", "low_rank_delta", "all", "below"),
        *claims.races(frames, "not above", "low_rank_delta", "none", "not above"),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
