"""Do deep linear nets learn each mode of the data on Saxe's curve?

Whitened inputs, a decoupled start at strength .01, full batch, float64. What counts is the worst seed and step.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims, theory

MODES, START = (1.5, 1.0, 0.5), 0.01
TOLERANCE = 0.01
HALVES = (1.8, 2.2)


def errors(runs: pd.DataFrame, history: pd.DataFrame) -> pd.Series:
    """Largest |u - curve| / s over seeds and steps, by (matrices, mode, learning rate); NaN if a value is."""
    taken = history[history["metric"] == "mode_strength"].merge(runs, on="run")
    found = {}
    for (depth, mode, lr), part in taken.groupby(["model.depth", "layer", "optim.lr"]):
        s, n = MODES[int(mode)], int(depth) + 1
        tau = len(MODES) / (2 * float(lr))  # the loss is the mean over outputs
        curve = theory.mode_curve(part["step"].to_numpy(), s, START, tau, n)
        found[n, int(mode), float(lr)] = (part["value"] - curve).abs().max(skipna=False) / s
    return pd.Series(found)


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: the worst error of each mode and depth, and what becomes of it at half the rate."""
    worst = errors(runs.assign(run=runs["run"].astype(str)), history).unstack()
    fine, coarse = worst[worst.columns.min()], worst[worst.columns.max()]
    entries = []
    for n, mode in worst.index:
        cell, of = f"{n} matrices, mode {MODES[mode]:g}", (n, mode)
        entries += [
            claims.bound("curve", cell, "decoupled", "largest difference / s", float(fine[of]), most=TOLERANCE),
            claims.bound("vanishes", cell, "decoupled", "ratio", float(coarse[of] / fine[of]), *HALVES, predicted=2.0),
        ]
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
