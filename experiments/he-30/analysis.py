"""Does Xavier stall where He trains, with 30 layers of ReLU?

110 nets, so that even the exact 99% interval of "all of them" lies above 95%.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

STALLED, LEARNED, MOST = 2.29, 2.0, 0.95


def lowest(runs: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Seed -> the smallest training loss of any evaluation over its learning rates, also of one that rose again later;
    infinity where all diverged at once."""
    losses = history[history["metric"] == "loss/train"]
    least = runs["run"].astype(str).map(losses.groupby(losses["run"].astype(str))["value"].min())
    return runs.assign(loss=np.fmin(least, runs["loss/train"]).fillna(np.inf)).groupby("seed")["loss"].min()


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry | claims.Placed]:
    """From the frames alone: shares of nets, and one race at depth 22."""
    raced = runs[runs["optim.name"] == "momentum"]
    frames = claims.framed(raced, history, raced["init.name"], "loss/train")
    deep, less = (next(c for c in frames.cells if c.endswith(f"depth {depth}")) for depth in (30, 22))

    def part(cell: str, init: str) -> pd.DataFrame:
        return frames.runs[(frames.runs["setting"] == cell) & (frames.runs["setup"] == init)]

    he, xavier = part(deep, "kaiming_normal"), part(deep, "xavier_normal")
    arrived = he.groupby("seed")["steps_to_target"].apply(lambda steps: steps.notna().any())
    stalled, learned = lowest(xavier, history) > STALLED, lowest(part(less, "xavier_normal"), history) < LEARNED
    adam = lowest(runs[runs["optim.name"] == "adam"], history) > STALLED
    entries: list[claims.Entry | claims.Placed] = [
        claims.share("He 30", deep, "kaiming_normal", "below .5", int(arrived.sum()), len(arrived), MOST),
        claims.share("Xavier 30", deep, "xavier_normal", "stalled", int(stalled.sum()), len(stalled), MOST),
        claims.share("Xavier 22", less, "xavier_normal", "below 2.0", int(learned.sum()), len(learned), MOST),
        claims.race(frames, "earlier", less, "kaiming_normal", "xavier_normal", "below"),
        claims.share("Adam", deep, "xavier_normal", "stalled under Adam", int(adam.sum()), len(adam), MOST),
    ]
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
