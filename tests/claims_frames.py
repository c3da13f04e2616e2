"""Frames in which a claim is true or false by construction: times drawn around a factor of each setup, values likewise."""

from __future__ import annotations

import numpy as np
import pandas as pd

CELLS = [("digits", activation, depth) for activation in ("relu", "tanh") for depth in (3, 5)]
RATES = {0.1: 2.0, 0.3: 1.0, 1.0: 3.0}  # learning rate -> how much longer it takes; the best one is inside
STEPS = 300


def made_runs(setups, n=20, cells=CELLS, base=60.0, noise=0.1, seed=0):
    """`setups`: {name: dict of columns, with `factor` of the time}; a factor may be a function of the cell. Infinity: never."""
    rng = np.random.default_rng(seed)
    rows = []
    for data, activation, depth in cells:
        of_seed = rng.normal(0, 0.15, n)  # what a seed does to all setups
        for name, given in setups.items():
            factor = given["factor"]
            factor = factor(data, activation, depth) if callable(factor) else factor
            for lr, slower in RATES.items():
                for s in range(n):
                    t = np.ceil(base * factor * slower * np.exp(of_seed[s] + rng.normal(0, noise)))
                    rows.append(
                        {
                            "run": f"{data}-{activation}-{depth}-{name}-{lr}-{s}",
                            "arm": name, "setting": "one", "setup": name, "status": "completed", "seed": s, "optim.lr": lr,
                            "data.name": data, "model.activation": activation, "model.depth": depth, "train.steps": STEPS,
                            "steps": STEPS, "steps_to_target": t if t <= STEPS else np.nan, "loss/train": 0.01 * slower,
                            **{key: value for key, value in given.items() if key != "factor"},
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def history_of(rows):
    """(run, step, metric, layer or None, value) -> a long frame."""
    frame = pd.DataFrame(rows, columns=["run", "step", "metric", "layer", "value"])
    return frame.astype({"layer": "Int16"})


def grid(runs, metric="accuracy/train"):
    """Every step was evaluated: one long run for each arm says so."""
    keys = ["data.name", "model.activation", "model.depth", "setup"]
    firsts = runs.drop_duplicates(keys)["run"]
    return history_of([(run, step, metric, None, 0.5) for run in firsts for step in range(STEPS + 1)])


def layered(runs, metric, value, step=STEPS, noise=0.05, seed=1):
    """A measure of every hidden layer after `step`: `value(row)` times a little noise; the output layer says nonsense."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in runs.to_dict("records"):
        depth = row["model.depth"]
        own = np.broadcast_to(value(row), depth) * np.exp(rng.normal(0, noise, depth))
        rows += [(row["run"], step, metric, layer, v) for layer, v in enumerate([*own, 1e9])]
    return history_of(rows)


def crossing(runs, gap, level, seed=2):
    """Losses on both sides of a level, and a gap: validation is above training by `gap(row)` times a little noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in runs.to_dict("records"):
        t = row["steps_to_target"]
        if np.isnan(t):
            continue
        g = gap(row) * np.exp(rng.normal(0, 0.1))
        before, after = level * 1.05, level * rng.uniform(0.5, 1)
        for step, train in ((t - 1, before), (t, after)):
            rows += [(row["run"], step, "loss/train", None, train), (row["run"], step, "loss/val", None, train + g)]
    return history_of(rows)
