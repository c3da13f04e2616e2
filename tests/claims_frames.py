"""Frames in which a claim is true or false by construction: times drawn around a factor of each setup, values likewise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd

from initbench import claims, reproduce

ROOT = Path(__file__).parents[1]
FAMILY = 40  # tests of the suite

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


def nets(n: int, **columns: Iterable[object]) -> pd.DataFrame:
    """n seeds of every combination of the columns' values; a run is named by its values."""
    frame = pd.MultiIndex.from_product([*columns.values(), range(n)], names=[*columns, "seed"]).to_frame(index=False)
    frame["run"] = ["/".join(map(str, row)) for row in frame.itertuples(index=False)]
    return frame


def measured(runs: pd.DataFrame, values: Mapping[str, object], step: int = 0) -> pd.DataFrame:
    """A long history: `values`: {metric: row -> numbers by layer}."""
    rows = []
    for row in runs.to_dict("records"):
        for metric, of in values.items():
            rows += [(row["run"], step, metric, layer, float(v)) for layer, v in enumerate(of(row))]
    return history_of(rows)


def noise(row, size, salt=0):
    return np.random.default_rng([crc32(row["run"].encode()), salt]).normal(0, size)


def arrivals(runs, arrives, steps=300, lr=0.1):
    """Columns of runs that arrive after about `arrives(row)` steps; infinity: never."""
    rng = np.random.default_rng(3)
    times = np.array([arrives(row) for row in runs.to_dict("records")]) * np.exp(rng.normal(0, 0.1, len(runs)))
    known = np.where(times <= steps, np.ceil(np.minimum(times, steps)), np.nan)
    return runs.assign(
        steps_to_target=known, steps=steps, **{"train.steps": steps, "optim.lr": lr, "status": "completed"}
    )


def race(setups, n, cells):
    runs = made_runs({name: {"factor": factor, **more} for name, (factor, more) in setups.items()}, n, cells)
    return runs, grid(runs)


def every_step(runs, keys):
    """Evaluated at every step: one long run for each arm says so."""
    firsts = runs.drop_duplicates(keys)["run"]
    return history_of([(run, step, "accuracy/train", None, 0.5) for run in firsts for step in range(301)])


def check_analysis(slug, data, enough, few, always=()):
    """A study's analysis of `data(true, n)`: confirms what is true and refutes what is false where n is enough, says nothing of
    too few, and makes as many tests as its predictions say. `always`: parts that do not depend on the data."""
    module = reproduce.analysis(slug)
    given = claims.load(ROOT / "experiments" / slug)
    words = {}
    for name, true, n in (("true", True, enough), ("false", False, enough), ("few", True, few)):
        table = module.analyse(*data(true, n), FAMILY)
        words[name] = module.verdict(table).word
        if name == "few":
            continue
        parts = claims.words.part_words(table, given.parts)
        judged = {word for part, word in parts.items() if part not in always}
        assert judged == {"CONFIRMED" if true else "REFUTED"}, (name, parts, module.page(table))
        if true:
            assert module.figure(table).startswith("<?xml")
            numbers = table["least"].notna().sum()
            assert (len(table) - numbers, numbers) == (given.tests["full"], given.numbers["full"])
    assert words == {"true": "CONFIRMED", "false": "REFUTED", "few": "UNDECIDED"}
