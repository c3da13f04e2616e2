"""Hand-made frames of runs: the steps of every run written down, so that the answer is known; and reports of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from initbench import report
from initbench.report import notices
from initbench.report.words import plain

NEVER = float("nan")
NO_HISTORY = pd.DataFrame({"run": [], "step": [], "metric": [], "layer": pd.array([], "Int16"), "value": []})


def runs_of(
    arms: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    tau: int = 300,
    seeds: Sequence[int] | None = None,
    failed: Mapping[str, Sequence[int]] | None = None,
    diverged: Mapping[str, Sequence[int]] | None = None,
    loss: Mapping[str, float] | None = None,
    setting: str = "s",
) -> pd.DataFrame:
    """{setup: {lr: steps to target, one a seed}} as the frame `runs`; `failed`, `diverged`: {setup: seeds}.

    Losses differ in their last digits, so that no two setups are the same nets, unless `loss` gives them one.
    """
    rows: list[dict[str, Any]] = []
    losses = {setup: 0.1 * (1 + 1e-9 * i) for i, setup in enumerate(sorted(arms))} | dict(loss or {})
    for setup, by_rate in arms.items():
        for lr, steps in by_rate.items():
            for seed, t in zip(seeds or range(len(steps)), steps):
                status = "failed" if seed in (failed or {}).get(setup, ()) else "completed"
                status = "diverged" if seed in (diverged or {}).get(setup, ()) else status
                dead = status != "completed"
                init, _, sharing = setup.partition(" · ")
                rows.append(
                    {
                        "run": f"{setup}/{lr}/{seed}", "arm": f"{setup} in {setting}", "setup": setup, "setting": setting,
                        "init.name": init, "sharing.name": sharing or "none", "optim.lr": lr, "seed": seed,
                        "status": status, "train.steps": tau, "steps_to_target": NEVER if status == "failed" else t,
                        "loss/train": NEVER if dead else losses[setup] * (1 + 0.01 * seed),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def tuned(steps: Sequence[float], worse: float = 2.0) -> dict[float, list[float]]:
    """Three rates of which the middle one is best by far."""
    around = [float(t) * worse for t in steps]
    return {0.01: around, 0.1: [float(t) for t in steps], 1.0: list(around)}


def spread(centre: float, n: int, sd: float, seed: int) -> list[float]:
    """n whole numbers around `centre`: round(centre exp(sd z)), z scaled to mean 0 and sd 1 exactly."""
    z = np.random.default_rng(seed).normal(size=n)
    z = (z - z.mean()) / z.std()
    return [float(t) for t in np.round(centre * np.exp(sd * z))]


def source_of(runs: pd.DataFrame, pairs: bool | None = None, **study: object) -> report.Source:
    """What a report is made of: a study of hand-made runs, without history."""
    target = {"metric": "accuracy/train", "value": 0.95}
    content = {"study": "hand", "target": target, "baseline": "base", "arms": [], **study}
    results = SimpleNamespace(runs=runs, history=NO_HISTORY, study=content, folder=Path("nowhere"))
    return report.open_source(results, pairs=pairs)


def warned(runs: pd.DataFrame, **study: object) -> str:
    return " | ".join(f"{one.title}: {plain(one.text)}" for one in notices.notices(source_of(runs, **study)))
