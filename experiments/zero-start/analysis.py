"""Does a deterministic start of zeros and ones train residual and plain ReLU nets as fast as a random one?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: a race in each cell; residual and plain nets are two parts."""
    kind = runs["model.name"].map({"mlp": "plain", "residual_mlp": "residual"}).astype(str)
    cell = kind + ", " + runs["data.name"].astype(str) + ", depth " + runs["model.depth"].astype(str)
    frames = claims.framed(runs, history, runs["init.name"], cell=cell)
    return [
        claims.race(frames, place.split(", ")[0], place, "zero", "kaiming_normal", "not above")
        for place in frames.cells
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
