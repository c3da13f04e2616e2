"""Does the largest stable learning rate of a plain ReLU net fall as depth^-3/2?

`step`: one step of full-batch gradient descent on points on a line, head and rates of the maximal update
parametrization: the mean square change of the last hidden layer. `train`: the learning rate that leaves the smallest
training loss, seed by seed.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

DEPTH, RATE = "model.depth", "optim.lr"


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: exponents of depth and of the learning rate, and the exponent of the best learning rate."""
    step, train = runs[runs["sweep"] == "step"], runs[runs["sweep"] == "train"]
    changes = claims.by_layer(history, "activation_change_msq", step=1)
    last = [changes.loc[run, depth - 1] for run, depth in zip(step["run"].astype(str), step[DEPTH].astype(int))]
    table = step.assign(change=last).pivot(index="seed", columns=[RATE, DEPTH], values="change")
    small = step[RATE].min()
    deepest = table.xs(step[DEPTH].max(), axis=1, level=DEPTH)
    best = claims.best_rates(train, DEPTH)
    found = {
        "rate": (claims.exponents(deepest), 1.9, 2.1, 2.0, ""),
        "depth": (claims.exponents(table[small]), 2.7, 3.3, 3.0, ""),
        "best": (claims.exponents(best), -1.9, -1.1, -1.5, claims.at_edge(best, train)),
    }
    return [
        claims.within(part, "digits" if part == "best" else "points", "kaiming_normal", "exponent", *given, note=note)
        for part, (*given, note) in found.items()
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
