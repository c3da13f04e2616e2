"""Every two arms of a setting side by side, without verdict words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from initbench.stats.compare import NAN, Arms
from initbench.stats.ranking import ranked
from initbench.stats.rates import GATE


def all_pairs(runs: pd.DataFrame, setups: Iterable[str] | None = None) -> pd.DataFrame:
    """Every two arms of a setting, ratio and P(faster) with 95% intervals, without verdict words.

    Columns: setting, setup, other, pairs, ratio, ratio_low, ratio_high (NaN below the gate), p_faster,
    p_faster_low, p_faster_high (a tie, such as never against never, counts half).
    """
    wanted = None if setups is None else set(setups)
    arms = Arms(runs)
    shares: dict[str, float] = dict(ranked(runs)[["arm", "share"]].itertuples(index=False)) if len(runs) else {}
    first = runs.drop_duplicates("arm")
    rows = []
    for setting, part in first.groupby("setting", sort=False):
        names = [(str(a), str(s)) for a, s in zip(part["arm"], part["setup"]) if wanted is None or s in wanted]
        for arm, setup in names:
            for other, other_setup in names:
                if arm == other:
                    continue
                one = arms.contrast(arm, other)
                open_ = min(shares[arm], shares[other]) >= GATE
                logs = (one.estimate, *one.interval()) if open_ else (NAN,) * 3
                rows.append([setting, setup, other_setup, one.n, *np.exp(logs), *one.p_faster])
    columns = ["setting", "setup", "other", "pairs", "ratio", "ratio_low", "ratio_high"]
    return pd.DataFrame(rows, columns=[*columns, "p_faster", "p_faster_low", "p_faster_high"])
