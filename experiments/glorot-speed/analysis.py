"""Does normalized initialization make deep nets converge faster than U(+-1/sqrt n)?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

BOUND = 1 / 1.5  # ours


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: one race in each cell, against the ratio that the claim needs."""
    frames = claims.framed(runs, history, runs["init.name"])
    entries = []
    for cell in frames.cells:
        (normalized,) = (setup for setup in frames.setups(cell) if setup != "torch_default")
        entries.append(claims.race(frames, "faster", cell, normalized, "torch_default", "below", BOUND))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
