"""Does the time to start learning follow the sum of 1/width, rather than depth or width alone?

One learning rate for all shapes, as in the paper. Each seed gives one rank correlation over the shapes; a net that never
arrives takes longer than all that do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from initbench import claims


def correlations(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per seed: Spearman's correlation of the steps with beta, depth, and 1/width."""
    width, depth = runs["model.width"].astype(float), runs["model.depth"].astype(float)
    # never arrived: ranks above everything, tied among themselves
    steps = runs["steps_to_target"].fillna(np.inf)
    shapes = runs.assign(beta=depth / width, depth=depth, inverse=1 / width, steps=steps)
    return pd.DataFrame(
        {
            name: shapes.groupby("seed")[[name, "steps"]].apply(
                lambda one, name=name: float(stats.spearmanr(one[name], one["steps"].rank())[0])
            )
            for name in ("beta", "depth", "inverse")
        }
    )


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: one correlation a seed, and its lead over the two others."""
    found = correlations(runs)
    shapes = f"{runs.groupby(['model.width', 'model.depth']).ngroups} shapes"
    never = f"{int(runs['steps_to_target'].isna().sum())} of {len(runs)} runs never arrived"
    return [
        claims.within("beta", shapes, "beta", "rank correlation with steps", found["beta"], least=0.9, note=never),
        claims.within("not depth", shapes, "beta", "lead over depth", found["beta"] - found["depth"], least=0.0),
        claims.within("not width", shapes, "beta", "lead over 1/width", found["beta"] - found["inverse"], least=0.0),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
