"""Does Xavier keep early training stable and speed it up, and does He suit ReLU and Leaky ReLU?

Stable: over the first 20 steps, the largest ratio between two hidden layers of the mean square of the activations or of
the backpropagated signal. Fast: steps to target at learning rates chosen on other seeds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

SIGNALS = ("activation_msq", "backward_msq")
EARLY = 20  # steps
BOUND = 10.0  # ours: a signal that differs by more between layers is not called stable
WORST = 1e6  # a run that diverges this early, or a layer without signal, counts as this ratio


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: the spread of early signals under Xavier, and two races."""
    frames = claims.framed(runs, history, runs["init.name"])
    spread = early_spread(frames.runs, history)
    rectified = [cell for cell in frames.cells if "relu" in cell.split(", ")[1]]
    entries = [
        claims.level(frames, "stable", cell, "xavier_normal", "below", "spread of early signals", spread, BOUND)
        for cell in frames.cells
    ]
    entries += [claims.race(frames, "faster", cell, "xavier_normal", "torch_default", "below") for cell in frames.cells]
    entries += [claims.race(frames, "He", cell, "kaiming_normal", "xavier_normal", "not above") for cell in rectified]
    return entries


def early_spread(runs: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Per run: max over signals and steps <= EARLY of (largest / smallest layer), hidden layers only, at most WORST."""
    depth = dict(zip(runs["run"].astype(str), runs["model.depth"].astype(int)))
    rows = history[history["metric"].isin(SIGNALS) & (history["step"] <= EARLY) & history["layer"].notna()]
    rows = rows[rows["layer"].astype(int).to_numpy() < rows["run"].astype(str).map(depth).to_numpy(float)]
    grouped = rows.groupby(["run", "metric", "step"], observed=True)["value"]
    # NaN, of a run that diverged, would be left out by min and max
    whole = grouped.count() == grouped.size()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (grouped.max() / grouped.min()).where(whole, np.inf)
    return ratio.fillna(np.inf).clip(upper=WORST).groupby(level="run", observed=True).max()


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
