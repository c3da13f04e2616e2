"""Do most narrow deep ReLU nets collapse from He's start, and far fewer from the randomized asymmetric one?

Collapsed: after training, the loss is still that of the best constant, within 5%.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from initbench import claims

CONSTANT = 0.25  # squared error of the best constant: the variance of |x|, x ~ U(-sqrt 3, sqrt 3), is 1 - 3/4
WITHIN = 0.95
MOST = 0.6  # of He's share; ours


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: shares of collapsed nets, and the ratio of two shares."""
    loss = runs["loss/train"].fillna(np.inf)
    collapsed = (loss > WITHIN * CONSTANT).groupby(runs["init.name"])
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
