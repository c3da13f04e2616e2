"""Do signals in wide random tanh nets follow the length map, the correlation map and chi1?

sigma_w^2 = 1, 1.3, 2.5, 4 and sigma_b^2 = .05; the maps are iterated from the inputs' own length and correlation, and
each seed gives one value a layer.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims, theory

WIDTH, BIAS = 400, 0.05
LENGTH, CORRELATION = 1.0, 0.6  # of the inputs
LAYERS = (5, 10, 20)
BACK = (8, 16)  # between these layers


@cache
def predicted(w2: float) -> tuple[list[float], list[float]]:
    """Length and correlation of preactivations, layer by layer."""
    q = [w2 * LENGTH + BIAS]
    c = [(w2 * LENGTH * CORRELATION + BIAS) / q[0]]
    for _ in range(max(LAYERS)):
        c.append(theory.correlation_map("tanh", c[-1], q[-1], w2, BIAS))
        q.append(theory.length_map("tanh", q[-1], w2, BIAS))
    return q, c


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: length and correlation at three layers, growth of backpropagated signals."""
    length, correlation, back = (
        claims.by_layer(history, name) for name in ("preactivation_msq", "preactivation_cosine", "backward_msq")
    )
    growth = np.log(back[BACK[0]] / back[BACK[1]]) / (BACK[1] - BACK[0])
    entries = []
    for std, arm in runs.groupby("init.std"):
        w2 = round(float(std) ** 2 * WIDTH, 6)
        own, cell = arm["run"].astype(str), f"sigma_w^2 {w2:g}"
        q, c = predicted(w2)
        for layer in LAYERS:
            place = f"{cell}, layer {layer}"
            entries.append(
                claims.formula("length", place, "normal", "mean square", length.loc[own, layer], q[layer], 0.02)
            )
            entries.append(
                claims.formula(
                    "correlation",
                    place,
                    "normal",
                    "correlation",
                    correlation.loc[own, layer],
                    c[layer],
                    0.02,
                    absolute=True,
                )
            )
        chi = theory.chi("tanh", theory.length_fixed_point("tanh", w2, BIAS), w2)
        entries.append(
            claims.formula("gradient", cell, "normal", "ln growth a layer", growth.loc[own], float(np.log(chi)), 0.05)
        )
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
