"""Do orthogonal weights make deep tanh nets learn far faster than Gaussian ones?

Both have variance 1/fan_in, biases zero: only the singular values differ.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

MOST = 0.8


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry | claims.Placed]:
    """From the frames alone: a race at 30 layers, shares that arrive at 100."""
    frames = claims.framed(runs, history, runs["init.name"])
    shallow, deep = (next(c for c in frames.cells if c.endswith(f"depth {depth}")) for depth in (30, 100))
    arrived = {
        str(init): arm.groupby("seed")["steps_to_target"].apply(lambda steps: steps.notna().any())
        for init, arm in frames.runs[frames.runs["setting"] == deep].groupby("setup")
    }
    never = ~arrived["lecun_normal"]
    yes = arrived["orthogonal"]
    return [
        claims.race(frames, "faster", shallow, "orthogonal", "lecun_normal", "below", 0.5),
        claims.share("arrives", deep, "orthogonal", "arrived", int(yes.sum()), len(yes), MOST),
        claims.share("never", deep, "lecun_normal", "did not arrive", int(never.sum()), len(never), MOST),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
