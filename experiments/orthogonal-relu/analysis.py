"""Is orthogonal initialization unsuitable for nonlinear nets such as ReLU: does it train later than a Gaussian one?

At equal variance of an entry, so that nothing but orthogonality differs: with gain 1 against variance 1/fan_in, with the
activation's gain against gain^2/fan_in. Every matrix here has fan_out <= fan_in, where orthogonal rows have that variance.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

PARTS = {"gain 1": ("orthogonal", "lecun_normal"), "activation's gain": ("orthogonal(gain)", "kaiming_normal")}


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: races of orthogonal against Gaussian weights of the same variance."""
    gained = runs["setup"].astype(str).str.contains("gain=", regex=False)
    frames = claims.framed(runs, history, runs["init.name"].astype(str).mask(gained, "orthogonal(gain)"))
    return [
        claims.race(frames, part, cell, setup, baseline, "above")
        for part, (setup, baseline) in PARTS.items()
        for cell in frames.cells
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
