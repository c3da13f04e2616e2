"""Do tied residual branches need the factor 1/N, and does the best learning rate then not depend on N?

Growth of the stream over N linear branches against closed forms; then tied tanh branches on digits at six rates.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

TOLERANCE, FLAT, FALLS = 0.05, 0.25, -0.5
RULES = {"inv_sqrt_depth": "sqrt", "inv_depth": "loop"}


def growth(n: int, rule: str, tied: bool) -> float:
    """E |u_N|^2 / |u_0|^2 of u + c W u, N times: c = 1/sqrt N (sqrt) or 1/N (loop), Var W = 1/width, wide.

    >>> [round(growth(4, rule, tied), 3) for rule in ("sqrt", "loop") for tied in (False, True)]
    [2.441, 7.504, 1.274, 2.145]
    """
    c2 = 1 / n if rule == "sqrt" else 1 / n**2
    return sum(comb(n, k) ** 2 * c2**k for k in range(n + 1)) if tied else (1 + c2) ** n


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: growth by rule, tying and N; the power of N by which the best rate changes."""
    size = claims.by_layer(history, "preactivation_msq")
    start, trained = runs[runs["sweep"] != "training"], runs[runs["sweep"] == "training"]
    entries = []
    for (residual, sharing, depth), arm in start.groupby(["model.residual", "sharing.name", "model.depth"], sort=False):
        n, rule, tied = int(depth) - 1, RULES[str(residual)], sharing == "all"
        own = arm["run"].astype(str)
        grown = (size.loc[own, n] / size.loc[own, 0]).to_numpy(float)
        note = "quantiles .05, .5, .95: " + ", ".join(f"{x:.4g}" for x in np.quantile(grown, (0.05, 0.5, 0.95)))
        part, foretold = f"{rule}_{'tied' if tied else 'untied'}", growth(n, rule, tied)
        entries.append(claims.formula(part, f"N = {n}", str(residual), "growth", grown, foretold, TOLERANCE, note=note))
    for residual, part in trained.groupby("model.residual", sort=False):
        best = claims.soonest_rates(part.assign(n=part["model.depth"].astype(int) - 1), "n")
        powers = claims.exponents(best)
        rule, said = RULES[str(residual)], ", ".join(f"{np.exp(x):.2g}" for x in np.log(best).mean())
        least, most = (-FLAT, FLAT) if rule == "loop" else (-np.inf, FALLS)
        cell = f"digits, N = {', '.join(map(str, best.columns))}"
        entries.append(
            claims.within(
                f"rate_{rule}", cell, str(residual), "power of N", powers, least, most, note=f"best rates {said}"
            )
        )
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
