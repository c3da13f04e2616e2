"""Does the learning time of orthogonal linear nets depend on their depth?

Full batch, each depth at its best learning rate, chosen on other seeds; a net that does not arrive counts with the budget.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from initbench import claims
from initbench.claims.cells import arm_name, values_judged

FLAT, STEEP, TIMES, DEEP = 0.1, 0.5, 5.0, 8
RATE, RATE_ROOM = -1.0, 0.25


def slope(x: np.ndarray, y: pd.DataFrame) -> np.ndarray:
    """Of each column of y, its slope over ln x."""
    return np.polyfit(np.log(x), y.to_numpy(float), 1)[0]


def tests(runs: pd.DataFrame, history: pd.DataFrame) -> list[claims.Placed]:
    """From the frames alone: slopes over depth of ln steps and of ln best rate, one a seed."""
    data = runs["data.name"].astype(str)
    cell = data + ", depth " + runs["model.depth"].astype(int).astype(str)
    frames = claims.framed(runs, history, runs["init.name"], metric="loss/train", cell=cell)
    log_steps = np.log(frames.runs["steps_to_target"].fillna(frames.runs["train.steps"]).astype(float))
    log_steps.index = frames.runs["run"]

    def by_depth(name: str, init: str, depths: np.ndarray) -> pd.DataFrame:
        arms = [arm_name(f"{name}, depth {depth}", init) for depth in depths]
        seeds = frames.arms.seeds(*arms)
        return pd.DataFrame([values_judged(frames, arm, seeds, log_steps) for arm in arms], index=depths)

    entries = []
    for name, part in runs.groupby("data.name", sort=False):
        depths = np.sort(part["model.depth"].astype(int).unique())
        steps = {init: by_depth(str(name), init, depths) for init in ("orthogonal", "lecun_normal")}
        own = part[part["init.name"] == "orthogonal"]
        rates = claims.soonest_rates(own.assign(matrices=own["model.depth"].astype(int) + 1), "matrices")
        flat, steep = steps["orthogonal"], steps["lecun_normal"]
        place, deep = f"{name}, depth {depths[0]} to {depths[-1]}", depths >= DEEP
        said = {
            init: "steps " + ", ".join(f"{np.exp(x):.0f}" for x in table.mean(axis=1)) for init, table in steps.items()
        }
        best = "best rates " + ", ".join(f"{np.exp(x):.2g}" for x in np.log(rates).mean())
        over = "slope of ln steps over ln depth"
        entries += [
            claims.within("orthogonal", place, "orthogonal", over, slope(depths, flat), -FLAT, FLAT, note=said["orthogonal"]),
            claims.within("gaussian", place, "lecun_normal", over, slope(depths, steep), STEEP, note=said["lecun_normal"]),
            claims.within(
                "ratio", f"{name}, depth {depths[-1]}", "lecun_normal", "ln of the ratio of steps",
                (steep - flat).iloc[-1].to_numpy(), float(np.log(TIMES)),
            ),
            claims.formula(
                "rate", place, "orthogonal", "slope of ln best rate over ln matrices", claims.exponents(rates), RATE,
                RATE_ROOM, absolute=True, note=best,
            ),
        ]  # fmt: skip
        if deep.sum() > 1:
            of_deep = slope(depths[deep], flat[deep])
            entries.append(
                claims.within(
                    "saturates", f"{name}, depth {DEEP} to {depths[-1]}", "orthogonal", over, of_deep, -FLAT, FLAT
                )
            )
    return entries


predict, measure, analyse, verdict, page, figure = claims.Study(Path(__file__).parent, tests).functions
