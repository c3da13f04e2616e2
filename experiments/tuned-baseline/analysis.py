"""How much of a speed-up goes away when the baseline's learning rate is tuned as the rival's is?

The baseline is PyTorch's start at Adam's library rate alone, and with five rates: by the ratio of the two every rival's
speed-up shrinks.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

LIBRARY = 0.001


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Entry | claims.Placed]:
    """From the frames alone: the baseline against itself with fewer rates, and what the rules say of such a race."""
    alone = runs[(runs["init.name"] == "torch_default") & (runs["optim.lr"] == LIBRARY)]
    both = pd.concat([runs, alone.assign(run=alone["run"] + " alone")], ignore_index=True)
    setup = both["init.name"].astype(str).mask(both["run"].str.endswith(" alone"), "library rate")
    again = history[history["run"].isin(set(alone["run"]))]
    frames = claims.framed(both, pd.concat([history, again.assign(run=again["run"] + " alone")]), setup)
    steps = frames.runs.set_index("run")["steps_to_target"].fillna(frames.runs.set_index("run")["train.steps"])
    entries: list[claims.Entry | claims.Placed] = []
    for cell in frames.cells:
        entries.append(
            claims.difference(frames, "shrinks", cell, "library rate", "torch_default", "above", "steps", steps)
        )
        edge = frames.board[cell, "library rate"]["lr_at_edge"]
        entries.append(claims.bound("flagged", cell, "library rate", "flagged", float(edge == "only"), 1.0, 1.0))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
