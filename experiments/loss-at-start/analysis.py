"""Where does a classifier start, and does it start at ln C?

10 classes, width 256, inputs of unit mean square: the logits' variance q is that of mean field theory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims, theory

CLASSES, TOLERANCE, ZERO, ABOVE = 10, 0.01, 1e-6, 1.1
VARIANCE = {"kaiming_normal": 2.0, "lecun_normal": 1.0}  # of a weight, times its fan_in


def logit_variance(activation: str, depth: int, w2: float) -> float:
    """Mean square of the logits of `depth` hidden layers, weights of variance w2 / fan_in, inputs of mean square 1.

    >>> round(logit_variance("relu", 3, 2.0), 9), round(logit_variance("relu", 3, 1.0), 9), logit_variance("linear", 1, 0.5)
    (2.0, 0.125, 0.25)
    """
    q = w2
    for _ in range(depth):
        q = theory.length_map(activation, q, w2, 0.0)
    return q


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: the training loss of step 0."""
    entries = []
    keys = ["data.name", "model.activation", "model.depth", "init.name", "init.scale"]
    for (data, activation, depth, init, scale), arm in runs.groupby(keys, sort=False, dropna=False):
        cell = f"{data}, {activation}, depth {int(depth)}"
        loss, name = arm["loss/train"].to_numpy(float), str(init)
        if name == "zero_head":
            far = float(np.abs(loss - np.log(CLASSES)).max())
            entries.append(
                claims.bound("zero", cell, name, "|loss - ln 10|", far, most=ZERO, note=f"worst of {len(arm)}")
            )
        elif data == "digits":
            above = loss / np.log(CLASSES)
            entries.append(claims.within("digits", cell, name, "loss / ln 10", above, least=ABOVE))
        else:
            q = logit_variance(str(activation), int(depth), VARIANCE.get(name, float(scale)))
            said = (f"{cell}, q = {q:.3g}", name, "loss at step 0")
            entries.append(claims.formula("formula", *said, loss, theory.cross_entropy_at_start(q, CLASSES), TOLERANCE))
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
