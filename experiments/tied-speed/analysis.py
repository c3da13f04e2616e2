"""How much of "sharing trains faster" is a larger effective learning rate?

A linear net of width 1: a, k copies of w, and b, all starting at v; the target is the product 1.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from scipy.integrate import solve_ivp

from initbench import claims

GOAL, TOLERANCE = 0.95, 0.01


def flow_time(k: int, v: float, tied: bool) -> float:
    """Time of gradient flow on (f - 1)^2 / 2, f = a w^k b with a = b, from v to f = .95.

    >>> round(flow_time(2, 0.5, True) / flow_time(2, 0.5, False), 3), round(flow_time(9, 0.8, True) / flow_time(9, 0.8, False), 4)
    (0.693, 0.1371)
    """

    def speed(_: float, state: list[float]) -> list[float]:
        a, w = state
        f = a**2 * w**k
        return [(1 - f) * f / a, (k if tied else 1) * (1 - f) * f / w]

    def arrived(_: float, state: list[float]) -> float:
        return state[0] ** 2 * state[1] ** k - GOAL

    arrived.terminal = True  # type: ignore[attr-defined]
    found = solve_ivp(speed, (0, 1e6), [v, v], events=arrived, rtol=1e-10, atol=1e-12, method="LSODA")
    return float(found.t_events[0][0])


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: steps of tied over steps of untied, for each number of copies and start."""
    entries = []
    for (value, depth), arm in runs.groupby(["init.value", "model.depth"]):
        k, v = int(depth) - 1, float(value)
        tied = arm["sharing.name"] == "all"
        untied = float(arm.loc[~tied, "steps_to_target"].mean())
        steps = {how: float(part["steps_to_target"].mean()) for how, part in arm[tied].groupby("sharing.reduce")}
        cell, flow = f"k = {k}, v = {v:g}", flow_time(k, v, True) / flow_time(k, v, False)
        note = f"{steps['sum']:,.0f} against {untied:,.0f} steps"
        room = flow * TOLERANCE
        entries += [
            claims.bound("sum", cell, "all", "ratio of steps", steps["sum"] / untied, flow - room, flow + room, flow, note=note),
            claims.bound("mean", cell, "all, mean", "ratio of steps", steps["mean"] / untied, 1.0, 1.0, 1.0),
        ]  # fmt: skip
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
