"""Do most narrow deep ReLU nets collapse from He's start, and far fewer from the randomized asymmetric one?

Collapsed: after training, the loss is still that of the best constant, within 5%. That is the variance of |x| over the samples
which the loss is taken on: 512 of each seed, so it differs from seed to seed by 4%.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from initbench import claims
from initbench.data import split
from initbench.data.made import points

SAMPLES, EVALUATED = 3000, 512  # points, and those of a seed's training part that its loss is taken on
WITHIN = 0.95
MOST = 0.6  # of He's share; ours


@cache
def constants(seeds: int) -> np.ndarray:
    """Squared error of the best constant, seed by seed; .25 on all of U(-sqrt 3, sqrt 3).

    >>> bool(abs(constants(50).mean() - 0.25) < 0.01), bool(constants(50).std() > 0.005)
    (True, True)
    """
    data = points(samples=SAMPLES, inputs=1, function="abs")
    return np.array([data.y[split(data, seed).train[:EVALUATED]].var() for seed in range(seeds)])


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: shares of collapsed nets, and the ratio of two shares."""
    loss = runs["loss/train"].fillna(np.inf)
    best = constants(int(runs["seed"].max()) + 1)[runs["seed"].to_numpy(int)]
    collapsed = (loss > WITHIN * best).groupby(runs["init.name"])
    k, n = collapsed.sum(), collapsed.count()
    he, rai = (stats.binomtest(int(k[name]), int(n[name])).proportion_ci(0.995) for name in ("kaiming_normal", "rai"))
    # both ends at 99.5%, so that the interval of the ratio has at least 99%
    ratio = claims.Placed(
        "RAI", "|x|", "rai", "share / He's share", float(k["rai"] / n["rai"] / (k["kaiming_normal"] / n["kaiming_normal"])),
        rai.low / he.high, rai.high / he.low, int(n["rai"]), float("nan"), float("-inf"), MOST, f"{k['rai']} of {n['rai']}",
    )  # fmt: skip
    return [
        claims.share(
            "He", "|x|", "kaiming_normal", "collapsed", int(k["kaiming_normal"]), int(n["kaiming_normal"]), 0.88, 0.96
        ),
        ratio,
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
