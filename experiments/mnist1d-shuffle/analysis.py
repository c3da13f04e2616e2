"""Does an MLP care about the order of features, and does it reach 68% on MNIST-1D?

Two hidden layers of 100 ReLU units, Adam at .01, batches of 100; the shuffled features are in one other order for all
samples. Seeds are paired: the same split, the same batches.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from initbench import claims

POINTS, LEVEL, ROOM = 0.015, 0.68, 0.03


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: the difference of paired seeds, and the accuracy in each order."""
    order = runs["data.order"].fillna("own") if "data.order" in runs else pd.Series("own", runs.index)
    table = runs.assign(order=order).pivot_table(index="seed", columns="order", values="accuracy/val", dropna=False)
    moved = table["shuffled"] - table["own"]
    return [
        claims.within("unmoved", "mnist1d", "shuffled", "accuracy less that of own order", moved, -POINTS, POINTS, 0.0),
        *(
            claims.formula("level", name, name, "test accuracy", table[name], LEVEL, ROOM, absolute=True)
            for name in ("own", "shuffled")
        ),
    ]


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
