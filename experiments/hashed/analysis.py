"""Does random weight sharing beat a narrow dense net that stores as many weights?

One hidden layer of 256 units, both layers hashed. Error: on the validation split after the last step, at the learning
rate of the smallest training loss of that seed and net.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: narrow minus hashed in percentage points of error, paired by seed."""
    role = claims.sharing_role(runs)
    hashed = claims.at_least_loss(runs[role == "hashed"], "sharing.ratio", "accuracy/val")
    narrow = claims.at_least_loss(runs[role == "narrow"], "model.width", "accuracy/val")
    narrow.columns = hashed.columns  # a narrower net for a smaller ratio
    points = 100 * (hashed - narrow)
    small, large = sorted(points.columns)
    gains = {"1/32": points[large], "1/64": points[small], "most": points[small] - points[large]}
    return [
        claims.within(part, "digits", "hashed", "points of error saved", gain, least=0.0)
        for part, gain in gains.items()
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
