"""Does the top layer of a deep sigmoid net saturate at 0, and does the net wait there?

The moment is, for each net, the measured step at which the mean of its last hidden layer is lowest.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims


def at_lowest(history: pd.DataFrame, depth: int) -> pd.DataFrame:
    """One row per run: the mean of the top layer where it is lowest, smallest and largest mean of the others, and the loss."""
    means = history[(history["metric"] == "activation_mean") & (history["layer"] < depth)]
    table = means.pivot_table(index=["run", "step"], columns="layer", values="value", observed=True)
    lowest = table[table[depth - 1] == table.groupby("run", observed=True)[depth - 1].transform("min")]
    lowest = lowest[~lowest.index.get_level_values("run").duplicated()]
    others = lowest[range(depth - 1)]
    loss = history[history["metric"] == "loss/train"].set_index(["run", "step"])["value"].sort_index()

    def last_loss(run: str, step: int) -> float:
        known = loss.loc[run]
        return float(known[known.index <= step].iloc[-1])

    return pd.DataFrame(
        {
            "top": lowest[depth - 1].to_numpy(),
            "low": others.min(axis=1).to_numpy(),
            "high": others.max(axis=1).to_numpy(),
            "loss": [last_loss(run, step) for run, step in lowest.index],
        },
        index=lowest.index.get_level_values("run"),
    )


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: three numbers a net, at the moment of its lowest top layer."""
    entries = []
    for depth, arm in runs.groupby("model.depth"):
        own = history[history["run"].astype(str).isin(set(arm["run"].astype(str)))]
        found, cell = at_lowest(own, int(depth)), f"digits, depth {int(depth)}"
        entries += [
            claims.within("top", cell, "torch_default", "mean of the top layer", found["top"], most=0.1),
            claims.within("others", cell, "torch_default", "lowest mean of the others", found["low"], 0.4, 0.75),
            claims.within("others", cell, "torch_default", "highest mean of the others", found["high"], 0.4, 0.75),
            claims.within("plateau", cell, "torch_default", "training loss", found["loss"], least=2.29),
        ]
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
