"""Does sharing one weight among all hidden layers save numbers, memory and compute, and does it speed up training?

Against two untied nets: one of the same width, which costs as many operations a step, and a narrower one that stores as
many numbers. Steps to target at learning rates chosen on other seeds.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

COSTS = {"parameters": "stored_parameters", "memory": "state_bytes", "compute": "flops_per_step"}


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: exact ratios of costs, races to the target."""
    frames = claims.framed(runs, history, claims.sharing_role(runs))
    entries = []
    for part, column in COSTS.items():
        for cell in frames.cells:
            cost = frames.runs[frames.runs["setting"] == cell].groupby("setup")[column].first()
            ratio = float(cost["all"] / cost["none"])
            entries.append(claims.exact(part, cell, "all", "none", "below", column, ratio))
    for part, control in (("speed", "none"), ("speed per number", "narrow")):
        entries += [claims.race(frames, part, cell, "all", control, "below") for cell in frames.cells]
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
