"""Synthetic studies for the tests of tracking: frames as `initbench.results` gives them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LRS = (0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Study:
    runs: pd.DataFrame
    history: pd.DataFrame
    study: dict[str, Any]
    folder: Path


def evaluation_grid(steps: int) -> np.ndarray:
    """0..20, then by a ratio of 1.05, and the last step."""
    grid = list(range(min(20, steps) + 1))
    while grid[-1] < steps:
        grid.append(min(steps, max(grid[-1] + 1, round(grid[-1] * 1.05))))
    return np.array(grid)


def study(
    folder: Path,
    arms: tuple[str, ...] = ("xavier_normal", "orthogonal"),
    lrs: tuple[float, ...] = LRS,
    seeds: int = 2,
    steps: int = 60,
    layers: int = 3,
    measures: tuple[str, ...] = ("grad_norm", "weight_std"),
    name: str = "demo",
    failed: tuple[str, ...] = (),
    created: str = "2026-01-02T03:04:05+00:00",
) -> Study:
    """The seed of one run depends on (arm, lr, seed) alone, so a wider study holds the runs of the narrower
    one.

    Learning rate 1.0 diverges in every second seed; arms in `failed` crash (rows of NaN, no history); the
    last arm learns slower than the first.
    """
    grid = evaluation_grid(steps)
    sparse = grid[np.unique(np.linspace(0, len(grid) - 1, 8).astype(int))]
    rows, parts = [], []
    infos = []
    for arm in arms:
        arm_key = hashlib.sha1(f"{arm} {steps}".encode()).hexdigest()[:12]
        config = {
            "data": {"name": "digits"},
            "model": {"name": "mlp", "depth": layers - 1, "width": 8, "bias": True},
            "init": {"name": arm, "gain": 1.0}, "sharing": {"name": "none"}, "train": {"steps": steps},
            "optim": {"name": "sgd", "lr": list(lrs), "momentum": None}, "track": {"children": "headline"},
        }  # fmt: skip
        crashed = arm in failed
        infos.append(
            {
                "arm_key": arm_key, "label": f"{arm} · none", "setup": f"{arm} · none",
                "setting": "digits, 2x8 relu", "init": arm, "sharing": "none", "config": config,
                "flops_per_step": 1000, "stored_parameters": 100, "used_parameters": 100, "layers": [],
                "runs": len(lrs) * seeds, "status": "failed" if crashed else "done",
                "reason": "it crashed | badly" if crashed else None,
            }
        )  # fmt: skip
        for lr in lrs:
            for seed in range(seeds):
                run = hashlib.sha1(f"{arm_key} {lr} {seed}".encode()).hexdigest()[:16]
                noise = np.random.default_rng(int(run, 16))
                diverged_at = 15 if lr == 1.0 and seed % 2 else None
                curves = []
                if not crashed:
                    speed = (3 * lr**0.5 if lr < 1 else 0.5) * (1.3 - 0.1 * len(arm) / 10)
                    speed *= 0.8 + 0.4 * noise.random()
                    curves = [("loss/train", -1, grid), ("loss/val", -1, grid), ("accuracy/train", -1, grid)]
                    curves += [("loss/batch", -1, sparse)]
                    curves += [(m, layer, sparse) for m in measures for layer in range(layers)]
                last = {}
                steps_to_target = np.nan
                for metric, layer, at in curves:
                    value = 2.3 * np.exp(-speed * at / 10) + 0.01 * noise.random(len(at)) + 0.1 * (layer + 1)
                    if metric == "accuracy/train":
                        value = 1 - 0.9 * np.exp(-speed * at / 10)
                        there = at[(value >= 0.95) & (at < (diverged_at or np.inf))]
                        steps_to_target = float(there[0]) if len(there) else np.nan
                    if diverged_at is not None:
                        value = np.where(at >= diverged_at, np.nan, value)
                    if layer < 0:
                        last[metric] = value[-1]
                    parts.append((run, at, metric, layer, value))
                rows.append(
                    {
                        "run": run, "arm": f"{arm} · none", "arm_key": arm_key, "setup": f"{arm} · none",
                        "setting": "digits, 2x8 relu", "data.name": "digits", "model.name": "mlp",
                        "model.depth": layers - 1, "init.name": arm, "init.gain": 1.0, "sharing.name": "none",
                        "optim.name": "sgd", "optim.lr": lr, "optim.momentum": None, "train.steps": steps,
                        "seed": seed,
                        "status": "failed" if crashed else "diverged" if diverged_at else "completed",
                        "diverged_at": pd.NA if diverged_at is None or crashed else diverged_at,
                        "steps": steps,
                        "steps_to_target": steps_to_target, "flops_per_step": 1000,
                        "flops_to_target": steps_to_target * 1000, "stored_parameters": 100,
                        "used_parameters": 100,
                        "gap_at_target": 0.1 if steps_to_target == steps_to_target else np.nan, **last,
                    }
                )  # fmt: skip
    runs = pd.DataFrame(rows)
    runs["diverged_at"] = runs["diverged_at"].astype("Int64")
    lengths = [len(p[1]) for p in parts]
    of_layer = np.repeat([p[3] for p in parts], lengths)
    history = pd.DataFrame(
        {
            "run": pd.Categorical(np.repeat([p[0] for p in parts], lengths)),
            "step": np.concatenate([p[1] for p in parts]).astype(np.int32),
            "metric": pd.Categorical(np.repeat([p[2] for p in parts], lengths)),
            "layer": pd.array(np.where(of_layer < 0, 0, of_layer), dtype="Int16"),
            "value": np.concatenate([p[4] for p in parts]),
        }
    )
    history.loc[of_layer < 0, "layer"] = pd.NA
    about = {
        "schema": 1, "study": name, "command": "python -m initbench", "git": "0" * 40, "created": created,
        "target": {"metric": "accuracy/train", "value": 0.95}, "arms": infos, "elapsed": 12.5,
    }  # fmt: skip
    return Study(runs, history, about, folder)


def with_files(given: Study) -> Study:
    """The same, with (small) report files in its folder."""
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "report.md").write_text("# Report\n\n![x](x.png)\nfast\n")
    (given.folder / "report.html").write_text("<h1>Report</h1>")
    given.runs.to_parquet(given.folder / "runs.parquet")
    (given.folder / "study.json").write_text(json.dumps(given.study))
    return given


def retimed(given: Study, created: str) -> Study:
    """The same results of a command given at another time."""
    return replace(given, study=given.study | {"created": created, "elapsed": 99.0})
