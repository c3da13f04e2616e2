"""Do residual branches that start at zero make deep fully connected nets train many times faster?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

BOUND = 1 / 7


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: two races, against a seventh of the plain net's steps and against all of them."""
    kind = runs["model.name"].map({"mlp": "plain", "residual_mlp": "rezero"})
    frames = claims.framed(runs, history, kind)
    return [
        *claims.races(frames, "faster", "rezero", "plain", "below", BOUND),
        *claims.races(frames, "helps", "rezero", "plain", "below"),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
