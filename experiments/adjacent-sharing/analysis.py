"""Does it pay to use each weight twice in a row, for a net twice as deep at the same number of stored numbers?

3 or 6 stored hidden-to-hidden weights, each of one layer, or each of two neighbouring layers.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

KINDS = {"mlp": "plain", "residual_mlp": "residual"}


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: a race in each cell of kind of net, data and stored weights."""
    twice = runs["sharing.name"] == "pairs"
    stored = (runs["model.depth"] - 1) // (1 + twice)
    kind = runs["model.name"].map(KINDS).astype(str)
    cell = kind + ", " + runs["data.name"].astype(str) + ", weights " + stored.astype(str)
    frames = claims.framed(runs, history, twice.map({True: "each twice", False: "each once"}), cell=cell)
    return [
        claims.race(frames, place.split(", ")[0], place, "each twice", "each once", "below") for place in frames.cells
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
