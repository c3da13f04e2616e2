"""Does a sparse start make a net learn more spread-out features?

Spread out, in two numbers of the hidden activations on a fixed batch. Participation ratio, (sum lambda)^2 / sum lambda^2 of
their covariance: in how many directions they vary. Mean absolute correlation of two units: how far they repeat each other.
Sparse against dense starts whose entries have the same variance, so that nothing but the zeros differs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

PARTS = {
    "participation": ("activation_participation_ratio", "above"),
    "correlation": ("unit_correlation", "below"),
}


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: ratios, sparse to dense, paired by seed, at the end of training."""
    zeros = pd.to_numeric(runs["init.sparsity"], errors="coerce") if "init.sparsity" in runs else np.nan
    frames = claims.framed(runs, history, setup_of(runs["init.name"], pd.Series(zeros, index=runs.index)))
    entries = []
    for part, (metric, side) in PARTS.items():
        values = final(frames.runs, history, metric)
        for cell in frames.cells:
            for setup in sorted(set(frames.setups(cell)) - {"dense"}):
                entries.append(claims.difference(frames, part, cell, setup, "dense", side, metric, values))
    return entries


def setup_of(init: pd.Series, zeros: pd.Series) -> pd.Series:
    """dense, or the share of zeros: "sparse 90%"."""
    return pd.Series(
        ["dense" if name == "normal" else f"sparse {100 * z:.0f}%" for name, z in zip(init, zeros)], index=init.index
    )


def final(runs: pd.DataFrame, history: pd.DataFrame, metric: str) -> pd.Series:
    """Per run: the geometric mean over hidden layers of a measure after the last step; NaN where the run diverged."""
    last = dict(zip(runs["run"].astype(str), runs["train.steps"].astype(int)))
    depth = dict(zip(runs["run"].astype(str), runs["model.depth"].astype(int)))
    rows = history[(history["metric"] == metric) & history["layer"].notna()]
    names = rows["run"].astype(str)
    rows = rows[
        (rows["step"].to_numpy() == names.map(last).to_numpy(float))
        & (rows["layer"].astype(int).to_numpy() < names.map(depth).to_numpy(float))
    ]
    with np.errstate(divide="ignore"):
        logs = np.log(rows["value"].astype(float)).replace(-np.inf, np.nan)
    grouped = logs.groupby(rows["run"].astype(str))
    return np.exp(grouped.mean()).where(grouped.count() == grouped.size())


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
