"""Does saturation slow a tanh net down that starts on the edge of chaos?

q: mean square of the preactivations at their fixed point; it says which point of the edge of chaos a start is.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

UNIFORM = "0.765"  # outputs of tanh are spread as evenly as they can be


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry]:
    """From the frames alone: races against the start whose outputs are spread most evenly, in each cell."""
    frames = claims.framed(runs, history, runs["init.q"].astype(float).map("{:.3g}".format))
    return [
        *claims.races(frames, "beyond", "16", UNIFORM, "above"),
        *claims.races(frames, "slightly", "4", UNIFORM, "above"),
        *claims.races(frames, "before", "0.05", UNIFORM, "not above"),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
