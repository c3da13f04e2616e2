"""Do ReLU and linear nets conserve the balance of their weights, counted by how often each is used?

5 x 16, no biases; the four hidden-to-hidden layers share one weight or have their own. Full batch, float64.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims

DEPTH = 5
EXACT, EQUAL, APART = 1e-12, 1e-9, 0.01
POWER, STILL = 0.8, 0.1
HOMOGENEOUS = ("relu", "leaky_relu", "linear")


def table(history: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One row a run and step, one column a layer; a stored weight stands at its first layer."""
    rows = history[history["metric"] == metric]
    return rows.pivot_table(index=["run", "step"], columns="layer", values="value", observed=True)


def uses(sharing: str) -> pd.Series:
    """How many layers use each stored weight, by its first layer."""
    return pd.Series({0: 1, 1: DEPTH - 1, DEPTH: 1} if sharing == "all" else dict.fromkeys(range(DEPTH + 1), 1))


def exact_tests(arm: pd.DataFrame, history: pd.DataFrame, cell: str) -> list[claims.Placed]:
    """The law of one step, and <W, g> / k over the stored weights."""
    one = arm.iloc[0]
    k, lr = uses(one["sharing.name"]), float(one["optim.lr"])
    own = history[history["run"].isin(set(arm["run"]))]
    square, product, gradient = (table(own, name) for name in ("weight_norm", "weight_grad_product", "grad_norm"))
    square, gradient = square[k.index] ** 2, gradient**2
    change = square.groupby(level="run").shift(-1) - square
    foretold = -2 * lr * product + lr**2 * gradient
    before_last = square.index.get_level_values("step") < square.index.get_level_values("step").max()
    error = float(((change - foretold).abs() / square)[before_last].max(skipna=False).max(skipna=False))
    each = product / k
    apart = (each.max(axis=1) - each.min(axis=1)) / each.abs().max(axis=1)
    note = f"worst of {len(arm)} seeds and {before_last.sum() // len(arm)} steps"
    entries = [claims.bound("step", cell, "kaiming_normal", "error / |W|^2", error, most=EXACT, note=note)]
    if one["model.activation"] in HOMOGENEOUS:
        worst = float(apart.max(skipna=False))
        entries.append(claims.bound("products", cell, "kaiming_normal", "difference", worst, most=EQUAL, note=note))
    else:
        medians = apart.groupby(level="run").median()
        entries.append(
            claims.within("tanh", cell, "kaiming_normal", "difference at the median step", medians, least=APART)
        )
    return entries


def powers(arm: pd.DataFrame, history: pd.DataFrame) -> np.ndarray:
    """Of each seed, the slope of ln(largest change of |W_shared|^2 - k |W_first|^2) over ln(learning rate)."""
    square = table(history[history["run"].isin(set(arm["run"]))], "weight_norm") ** 2
    balance = square[1] - (DEPTH - 1) * square[0]
    moved = (balance - balance.groupby(level="run").transform("first")).abs().groupby(level="run").max()
    by_rate = arm.assign(moved=arm["run"].map(moved)).pivot(index="optim.lr", columns="seed", values="moved")
    return np.polyfit(np.log(by_rate.index.to_numpy(float)), np.log(by_rate.to_numpy()), 1)[0]


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: each step, and what is left of the difference at smaller rates."""
    runs = runs.assign(run=runs["run"].astype(str))
    exact = runs["sweep"] == "exact"
    entries = []
    for (activation, sharing), arm in runs[exact].groupby(["model.activation", "sharing.name"], sort=False):
        entries += exact_tests(arm, history, f"{activation}, sharing {sharing}")
    for activation, arm in runs[~exact].groupby("model.activation", sort=False):
        part, region = ("drift", (POWER, np.inf)) if activation in HOMOGENEOUS else ("tanh_drift", (-STILL, STILL))
        foretold = 1.0 if part == "drift" else 0.0
        entries.append(
            claims.within(
                part, str(activation), "all", "power of lr", powers(arm, history), *region, predicted=foretold
            )
        )
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
