"""Synthetic studies for the tests of stats and report: the frames of a real study, made without training.

Digits-like: each (init, sharing) has a typical number of steps to 95% accuracy at its best learning rate, that number
grows away from the best rate, seeds scatter around it, and large rates diverge for some arms. The history follows:
accuracy crosses the target at T. Everything is drawn from one seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

INITS: Mapping[str, tuple[float, float]] = {  # name: (typical T at the best rate, that rate)
    "torch_default": (900.0, 0.3),
    "normal_001": (5000.0, 0.3),
    "xavier_uniform": (92.0, 0.3),
    "xavier_normal": (88.0, 0.3),
    "kaiming_normal": (66.0, 0.1),
    "lecun_normal": (105.0, 0.3),
    "orthogonal": (60.0, 0.1),
    "eye": (48.0, 0.1),
}
SHARINGS: Mapping[str, float] = {"none": 1.0, "all": 1.35, "pairs": 1.1}
ARMS = tuple((init, sharing) for init in INITS for sharing in ("none", "all"))
LRS = (0.01, 0.03, 0.1, 0.3, 1.0)
LAYER_METRICS = ("grad_norm", "use_grad_norm", "activation_msq")


def evaluation_grid(steps: int) -> np.ndarray:
    """0..20, then a ratio of 1.05, and the last step."""
    grid = list(range(min(20, steps) + 1))
    while grid[-1] < steps:
        grid.append(min(steps, max(grid[-1] + 1, int(np.ceil(grid[-1] * 1.05)))))
    return np.array(grid)


def make_study(
    arms: Sequence[tuple[str, str]] = ARMS,
    lrs: Sequence[float] = LRS,
    seeds: int | Sequence[int] = 10,
    steps: int = 300,
    *,
    settings: Sequence[str] = ("digits, 6x32 relu, sgd, batch 64",),
    target: tuple[str, float] | None = ("accuracy/train", 0.95),
    baseline: str | None = "kaiming_normal",
    regression: bool = False,
    failed: Sequence[tuple[str, str]] = (),
    all_diverge: bool = False,
    depth: int = 6,
    layer_metrics: Sequence[str] = LAYER_METRICS,
    scatter: float = 0.18,
    rng_seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """(runs, history, study) as results.py gives them. `failed` arms crash in every run; unknown inits get T = 80."""
    rng = np.random.default_rng(rng_seed)
    seed_list = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    luck = dict(zip(seed_list, rng.normal(0, 0.1, len(seed_list))))  # a seed is easy or hard for every arm
    entries, rows = [], []
    for setting in settings:
        full = f"{setting}, {steps} steps"
        for init, sharing in arms:
            setup = f"{init} · {sharing}"
            label = setup if len(settings) == 1 else f"{setup} · {setting}"
            key = _hex(label)[:12]
            slots = list(range(depth + 1)) if sharing != "all" else [0, *([1] * (depth - 1)), depth]
            crash = (init, sharing) in failed
            sizes = [64 * 32 + 32, *[32 * 32 + 32] * (depth - 1), 32 * 10 + 10]
            used = sum(sizes)
            stored = sum(sizes[i] for i in sorted(set(slots)))
            entries.append(_entry(setting, full, init, sharing, label, setup, key, slots, stored, used, crash, lrs,
                                  seed_list, steps))  # fmt: skip
            typical, best = INITS.get(init, (80.0, 0.1))
            typical *= SHARINGS.get(sharing, 1.0) * (1.0 if setting == settings[0] else 1.6)
            for lr in lrs:
                away = np.log(lr / best) / np.log(3.0)
                for seed in seed_list:
                    noise = rng.normal(0, scatter)
                    risk = 1 / (1 + np.exp(-6 * (away - 2.0)))
                    rows.append(
                        {
                            "run": _hex(f"{label}{lr}{seed}")[:16], "arm": label, "arm_key": key, "setup": setup,
                            "setting": full, "data.name": setting.split(",")[0], "model.name": "mlp",
                            "model.depth": depth, "init.name": init, "sharing.name": sharing, "optim.name": "sgd",
                            "optim.lr": float(lr), "optim.batch_size": 64, "train.steps": steps, "seed": seed,
                            "status": "failed" if crash else "completed",
                            "_t": typical * np.exp(0.55 * min(abs(away), 3.2) ** 1.6 + noise + luck[seed]),
                            "_dies": (rng.uniform() < risk) or all_diverge, "_die_at": rng.integers(1, 12),
                            "flops_per_step": 6.0 * 64 * used, "init_flops": 1e4,
                            "stored_parameters": stored, "used_parameters": used, "state_bytes": 8 * stored,
                        }
                    )  # fmt: skip
    runs = pd.DataFrame(rows)
    history, runs = _histories(runs, steps, depth, layer_metrics, regression, rng)
    study = {
        "schema": 1, "study": "default", "command": "python -m initbench", "overrides": [],
        "versions": {"initbench": "0.1.0", "torch": "2.13.0", "python": "3.11.9", "numpy": "2.4.6"},
        "git": "0123456789abcdef0123456789abcdef01234567",
        "machine": {"cpu": "x86_64", "cores": 2, "device": "cpu", "system": "Linux"},
        "created": "2025-01-01T00:00:00+00:00",
        "target": None if target is None else {"metric": target[0], "value": target[1]},
        "baseline": baseline, "budget": steps, "arms": entries, "elapsed": 61.5, "mlflow": None,
    }  # fmt: skip
    return _with_target(runs, history, target), history, study


def _hex(text: str) -> str:
    return hashlib.blake2b(text.encode()).hexdigest()


def _entry(setting, full, init, sharing, label, setup, key, slots, stored, used, crash, lrs, seeds, steps):
    layers = [
        {"layer": i, "slot": f"weight_{s:02d}", "fan_in": 64 if i == 0 else 32,
         "fan_out": 10 if i == len(slots) - 1 else 32, "uses": slots.count(s)}
        for i, s in enumerate(slots)
    ]  # fmt: skip
    return {
        "arm_key": key, "label": label, "setup": setup, "setting": full, "init": init, "sharing": sharing,
        "config": {"data": {"name": setting.split(",")[0]}, "train": {"steps": steps},
                   "optim": {"name": "sgd", "lr": list(lrs), "batch_size": 64}},
        "flops_per_step": 6.0 * 64 * used, "stored_parameters": stored, "used_parameters": used, "layers": layers,
        "runs": len(lrs) * len(seeds), "status": "failed" if crash else "done",
        "reason": "ZeroDivisionError: float division by zero" if crash else None,
    }  # fmt: skip


def _histories(runs, steps, depth, layer_metrics, regression, rng):
    """Whole-net curves on the evaluation grid, layer metrics on ~15 log-spaced steps; NaN after divergence."""
    grid = evaluation_grid(steps)
    alive = (runs["status"] != "failed").to_numpy()
    part = runs[alive]
    count = len(part)
    die_at = np.where(part["_dies"], part["_die_at"], np.inf)[:, None]  # (R, 1)
    t = part["_t"].to_numpy()[:, None]
    wobble = rng.normal(0, 0.004, (count, len(grid)))
    accuracy = 0.1 + 0.9 * (1 - np.exp(-2.89 * (grid[None] / t) ** 1.3)) + wobble * (grid > 0)
    accuracy = np.clip(accuracy, 0.02, 1.0)
    curves = {
        "loss/train": 0.02 + 2.28 * np.exp(-3.2 * (grid[None] / t) ** 0.9) * np.exp(wobble * 4),
        "accuracy/train": accuracy,
        "accuracy/val": np.clip(accuracy - 0.03 * (grid[None] / (grid[None] + t)), 0.0, 1.0),
    }
    curves["loss/val"] = curves["loss/train"] + 0.15 * (grid[None] / (grid[None] + t)) + np.abs(wobble)
    if regression:
        curves = {name: value for name, value in curves.items() if name.startswith("loss")}
    dead = grid[None] >= die_at
    curves = {name: np.where(dead, np.nan, value) for name, value in curves.items()}
    log_steps = sorted({0, steps, *np.unique(np.geomspace(1, max(steps, 1), 13).astype(int))})
    log_grid = np.array([s for s in log_steps if s <= steps])
    frames = [_long(part, grid, name, None, value) for name, value in curves.items()]
    shared = (part["sharing.name"] == "all").to_numpy()
    for m, metric in enumerate(layer_metrics):
        for layer in range(depth + 1):
            keep = np.ones(count, bool)
            if metric == "grad_norm":  # a slot has rows at its first layer only
                keep = ~shared | np.isin(layer, [0, 1, depth])
            if metric == "use_grad_norm":
                keep = shared & (0 < layer < depth)
            level = np.log10(60.0 / t) * (depth - layer) / depth * 0.7 - 0.4 * m
            value = 10 ** (level - 0.8 * (log_grid[None] / t) / (1 + log_grid[None] / t))
            value = value * np.exp(rng.normal(0, 0.2, (count, len(log_grid))))
            value = np.where(log_grid[None] >= die_at, np.nan, value)
            if keep.any():
                frames.append(_long(part[keep], log_grid, metric, layer, value[keep]))
    runs = runs.copy()
    for name, value in curves.items():
        runs.loc[alive, name] = value[:, -1]
    gone = part["_dies"].to_numpy() & (part["_die_at"].to_numpy() <= steps)
    runs.loc[part.index[gone], "status"] = "diverged"
    runs["diverged_at"] = pd.array([pd.NA] * len(runs), dtype="Int64")
    runs.loc[part.index[gone], "diverged_at"] = part.loc[gone, "_die_at"].to_numpy()
    runs["steps"] = pd.array([steps] * len(runs), dtype="Int64")
    return _concat(frames, runs), runs.drop(columns=["_t", "_dies", "_die_at"])


def _long(part, grid, metric, layer, value):
    """value (R, steps) -> rows; the run as its row number in `runs`, made a category at the end."""
    return {
        "run": np.repeat(part.index.to_numpy(), len(grid)),
        "step": np.tile(grid, len(part)).astype(np.int32),
        "metric": metric,
        "layer": -1 if layer is None else layer,
        "value": value.ravel(),
    }


def _concat(frames, runs):
    sizes = [len(f["step"]) for f in frames]
    names = sorted({f["metric"] for f in frames})
    layer = np.repeat(np.array([f["layer"] for f in frames], dtype=np.int16), sizes)
    codes = np.repeat(np.array([names.index(f["metric"]) for f in frames], dtype=int), sizes)
    join = np.concatenate
    return pd.DataFrame(
        {
            "run": pd.Categorical.from_codes(
                join([f["run"] for f in frames]) if frames else np.zeros(0, int), categories=runs["run"]
            ),
            "step": join([f["step"] for f in frames]) if frames else np.zeros(0, np.int32),
            "metric": pd.Categorical.from_codes(codes, categories=names),
            "layer": pd.arrays.IntegerArray(layer, layer < 0),
            "value": join([f["value"] for f in frames]) if frames else np.zeros(0),
        }
    )


def _with_target(runs, history, target):
    """T by a plain loop over the metric's table: the slow, obvious way, against which stats is checked."""
    runs = runs.copy()
    runs["steps_to_target"] = np.nan
    runs["gap_at_target"] = np.nan
    if target is not None and len(history):
        plain = history[history["layer"].isna()]
        wide = {
            name: plain[plain["metric"] == name].pivot(index="run", columns="step", values="value")
            for name in ("loss/train", "loss/val", target[0])
        }
        past = wide[target[0]] >= target[1] if target[0].startswith("accuracy") else wide[target[0]] <= target[1]
        first = past.idxmax(axis=1).where(past.any(axis=1)).to_dict()
        runs["steps_to_target"] = [float(first.get(run, np.nan)) for run in runs["run"]]
        runs["gap_at_target"] = [
            np.nan if np.isnan(t) else wide["loss/val"].at[run, t] - wide["loss/train"].at[run, t]
            for run, t in zip(runs["run"], runs["steps_to_target"])
        ]
    runs["flops_to_target"] = runs["init_flops"] + runs["flops_per_step"] * runs["steps_to_target"]
    return runs


def decided_study(
    arms: Sequence[tuple[str, str]] = (
        ("kaiming_normal", "none"),
        ("eye", "none"),
        ("orthogonal", "none"),
        ("xavier_normal", "none"),
        ("normal_001", "none"),
        ("eye", "all"),
    ),
    sizes: Sequence[int] = (10, 20, 40),
    ended: str = "seeds",
    **more: Any,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """A study that went on until it was decided, as the loop leaves it: seeds for open pairs alone, a rate that cannot win
    dropped after the first look, a round that widened the grid."""
    from initbench.stats import looks

    lrs = more.pop("lrs", (0.03, 0.1, 0.3, 1.0))
    runs, history, study = make_study(arms, lrs, max(sizes), **more)
    slow = runs["optim.lr"] == min(lrs)
    base = study["baseline"]
    rows: list[dict[str, Any]] = []
    kept: set[str] = set()
    open_ = set(runs["arm"].unique())
    rounds = []
    for k, n in enumerate(sizes):
        new = runs["arm"].isin(open_) & (runs["seed"] < n) & ~(slow & (runs["seed"] >= sizes[0]))
        fresh = [run for run in runs.loc[new, "run"] if run not in kept]
        kept |= set(fresh)
        now = grown(runs[runs["run"].isin(kept)], slow, sizes[0])
        found = looks.take(now, study, history, tuple(sizes), k, rows)
        rows += found
        word = {row["arm"]: row["verdict"] for row in rows}
        open_ = {arm for arm, one in word.items() if one == "undecided"}
        why = "first look" if k == 0 else "more seeds"
        rounds.append(
            {"round": k, "why": why, "look": k, "runs": len(fresh), "seconds": 30.5 * (k + 1), "open": len(open_)}
        )
        if not open_:
            break
        open_ |= set(runs.loc[runs["init.name"] == base, "arm"].unique())
    decide = {"seeds": max(sizes), "minutes": None, "steps": 1200, "rates": 9, "sizes": list(sizes), "rounds": rounds,
              "ended": ended if open_ else "decided",
              "reason": f"{rounds[-1]['open']} of {len(arms) - 1} comparisons are open at decide.seeds={max(sizes)}" if open_
              else "every comparison has a word"}  # fmt: skip
    now = grown(runs[runs["run"].isin(kept)], slow, sizes[0]).reset_index(drop=True)
    history = history[history["run"].isin(kept)].reset_index(drop=True)
    history["run"] = history["run"].cat.remove_unused_categories()
    return now, history, study | {"looks": rows, "decide": decide}


def grown(runs: pd.DataFrame, slow: pd.Series, first: int) -> pd.DataFrame:
    """The runs with the rate that was dropped after the first look marked, as results.py marks it."""
    more = runs.groupby("arm")["seed"].transform("max") >= first
    return runs.assign(lr_dropped=slow.reindex(runs.index) & more)


def write_study(folder, runs, history, study):
    """The three files a study folder holds before its report."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    runs.to_parquet(folder / "runs.parquet")
    history.to_parquet(folder / "history.parquet")
    (folder / "study.json").write_text(json.dumps(study), encoding="utf-8")
    return folder
