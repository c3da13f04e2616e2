"""Does an identity with a little noise make tanh nets converge faster than Xavier, and more so when they are deep?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

BOUND = 0.5  # ours
DEEP = 30


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: a race in each cell, and against half of the steps where nets are deep."""
    cell = (
        runs["data.name"].astype(str)
        + ", width "
        + runs["model.width"].astype(str)
        + ", depth "
        + runs["model.depth"].astype(str)
    )
    frames = claims.framed(runs, history, runs["init.name"], cell=cell)
    faster = claims.races(frames, "faster", "tanh_identity", "xavier_normal", "below")
    deep = claims.races(frames, "deep", "tanh_identity", "xavier_normal", "below", BOUND)
    return [*faster, *(one for one in deep if one.cell.endswith(f"depth {DEEP}"))]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
