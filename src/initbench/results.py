"""Results of a study as frames: `runs`, a row a run, and `history`, long; built from the store alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from initbench import stats
from initbench.config import run_key
from initbench.engine.chunk import Chunk
from initbench.errors import InputError
from initbench.store import Store

SCHEMA = 1  # of study.json and of both frames


class Status(StrEnum):
    """How a run ended. Failed means that its arm broke down: nothing is known of it, it counts as missing."""

    COMPLETED = "completed"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True)
class Results:
    """A study: its two frames, what study.json says of it, and its folder."""

    runs: pd.DataFrame
    history: pd.DataFrame
    study: dict[str, Any]
    folder: Path

    def compare(self, baseline: str | None = None) -> pd.DataFrame:
        """Each setup against the baseline inside its setting, as in comparisons.csv."""
        return stats.comparisons(self.runs, baseline, self.study, self.history)

    def leaderboard(self) -> pd.DataFrame:
        """Arms by rank, as in leaderboard.csv."""
        return stats.leaderboard(self.runs, self.study, history=self.history)

    def report(self, **options: Any) -> dict[str, Path]:
        """Write the report again; options are those of `initbench.report.build`."""
        from initbench import report

        return report.build(self, **options)

    def save(self) -> None:
        """Write frames and study.json into the folder; each file appears whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, frame in (("runs", self.runs), ("history", self.history)):
            temporary = self.folder / f".{name}.tmp"
            frame.to_parquet(temporary, index=False, compression="zstd")
            temporary.replace(self.folder / f"{name}.parquet")
        self.save_study()

    def save_study(self) -> None:
        """Write study.json alone."""
        temporary = self.folder / ".study.tmp"
        temporary.write_text(json.dumps(self.study, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        temporary.replace(self.folder / "study.json")


def load(path: str | Path) -> Results:
    """The results of a study folder, e.g. `load("outputs/default")`.

    Raises InputError if there is no study there.
    """
    folder = Path(path)
    missing = [n for n in ("study.json", "runs.parquet", "history.parquet") if not (folder / n).is_file()]
    if missing:
        raise InputError(f"{folder}: no study folder ({', '.join(missing)} missing); e.g. outputs/default")
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    if study.get("schema") != SCHEMA:
        raise InputError(f"{folder}: written as schema {study.get('schema')}; this version reads {SCHEMA}")
    history = pd.read_parquet(folder / "history.parquet")
    return Results(pd.read_parquet(folder / "runs.parquet"), history, study, folder)


def frames(study: Mapping[str, Any], store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both frames of the arms that `study` (the content of study.json) lists, from the parts of the store."""
    run_parts, history_parts = [], []
    for arm in study["arms"]:
        if arm["status"] == "not applicable":
            continue
        asked = [(seed, lr) for seed in arm["seeds"] for lr in arm["lrs"]]
        chunk = store.read(arm["arm_key"], asked)
        run_parts.append(run_rows(arm, asked, chunk))
        if chunk is not None:
            history_parts.append(history_rows(arm["arm_key"], chunk))
    runs = pd.concat(run_parts, ignore_index=True) if run_parts else pd.DataFrame({"run": []})
    history = joined(history_parts, runs["run"].tolist())
    for column in ("diverged_at", "steps"):
        if column in runs:
            runs[column] = runs[column].astype("Int64")
    runs = runs.apply(plain_column)
    target = study["target"]
    if target is not None and len(runs):
        runs = stats.retarget(runs, history, target["metric"], target["value"])
    return runs, history


def run_rows(arm: Mapping[str, Any], asked: Sequence[tuple[int, float]], chunk: Chunk | None) -> pd.DataFrame:
    """The asked runs of an arm; those that the store lacks have failed."""
    fixed = {name: arm[name] for name in ("label", "arm_key", "setup", "setting")}
    frame = pd.DataFrame(
        {
            "run": [run_key(arm["arm_key"], seed, lr) for seed, lr in asked],
            "arm": fixed["label"],
            **{name: fixed[name] for name in ("arm_key", "setup", "setting")},
            **{name: [value] * len(asked) for name, value in flat_config(arm["config"]).items()},
            "optim.lr": [lr for _, lr in asked],
            "seed": [seed for seed, _ in asked],
        }
    )
    row = {run: i for i, run in enumerate(chunk.runs)} if chunk is not None else {}
    index = np.array([row.get(run, -1) for run in asked])
    found = index >= 0
    diverged = np.full(len(asked), -1)
    if chunk is not None:
        diverged[found] = chunk.diverged_at[index[found]]
    status = np.where(diverged >= 0, Status.DIVERGED.value, Status.COMPLETED.value)
    frame["path"] = arm.get("path", "torch")  # what trained them: kernel, torch or reference
    frame["status"] = np.where(found, status, Status.FAILED.value)
    frame["diverged_at"] = pd.array([d if d >= 0 else pd.NA for d in diverged], dtype="Int64")
    steps = np.full(len(asked), arm["config"]["train"]["steps"])
    if chunk is not None and chunk.stopped_at is not None:
        stopped = np.where(found, chunk.stopped_at[index], -1)
        steps = np.where(stopped >= 0, stopped, steps)
    frame["steps"] = pd.array(steps, dtype="Int64")
    frame["steps_to_target"] = np.nan
    frame["flops_per_step"] = float(arm["flops_per_step"])
    counted = chunk.init_flops if chunk is not None else None  # by each run's own start
    drawn = np.nan if arm["init_flops"] is None else float(arm["init_flops"])
    frame["init_flops"] = drawn if counted is None else np.where(found, counted[index], np.nan)
    frame["flops_to_target"] = np.nan
    for name in ("stored_parameters", "used_parameters", "state_bytes"):
        frame[name] = arm[name]
    frame["gap_at_target"] = np.nan
    if chunk is not None:
        for name, one in sorted(chunk.series.items()):
            if one.layers is None:
                last = np.full(len(asked), np.nan)
                at = np.searchsorted(one.steps, steps[found], side="right") - 1  # the run's own last step
                last[found] = one.values[index[found], at]
                frame[name] = last
    return frame


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as dotted columns; lists as JSON text.

    >>> flat_config({"init": {"name": "eye", "target": "x", "bias": "zeros", "args": {"gain": 2.0}}})
    {'init.name': 'eye', 'init.bias': 'zeros', 'init.gain': 2.0}
    """
    columns: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            columns[prefix] = json.dumps(value) if isinstance(value, list) else value

    init = dict(config.get("init", {}))
    args = init.pop("args", {})
    init.pop("target", None)
    init.pop("changed", None)
    kept = {key: config[key] for key in ("data", "model") if key in config}
    walk("", {**kept, "init": {**init, **args}})
    for group in ("sharing", "optim", "train"):
        walk("", {group: {k: v for k, v in config.get(group, {}).items() if (group, k) not in LEFT_OUT}})
    if "engine" in config:
        columns["engine.name"] = config["engine"]["name"]
    return columns


# asked for, not part of what a run is: a list that became runs, the judge, and what only steers the command
LEFT_OUT = {
    ("optim", "lr"),
    ("train", "target"),
    ("train", "rerun"),
    ("train", "dry_run"),
    ("sharing", "controls"),
    ("train", "evaluate"),
}


def plain_column(column: pd.Series) -> pd.Series:
    """A column of mixed types as text, so that it can be stored; whole numbers and numbers stay what they are."""
    if column.dtype != object:
        return column
    present = [value for value in column if value is not None and value == value]
    if all(isinstance(value, bool) for value in present) and present:
        return column.astype("boolean")
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in present):
        return column.astype(float)
    return column.map(lambda value: None if value is None or value != value else str(value))


def history_rows(arm_key: str, chunk: Chunk) -> dict[str, Any]:
    """The long columns of one arm, series by series: run number, step, metric, layer (-1 = whole net), value."""
    blocks = []
    n = len(chunk.runs)
    for name, one in sorted(chunk.series.items()):
        layers = np.array([-1] if one.layers is None else one.layers, dtype=np.int16)
        steps = np.array(one.steps, dtype=np.int32)
        block: dict[str, np.ndarray] = {
            "run": np.repeat(np.arange(n, dtype=np.int32), len(steps) * len(layers)),
            "step": np.tile(np.repeat(steps, len(layers)), n),
            "layer": np.tile(layers, n * len(steps)),
            "value": one.values.ravel(),
        }
        if chunk.stopped_at is not None:  # the history of a run that left ends there
            end = np.where(chunk.stopped_at >= 0, chunk.stopped_at, np.iinfo(np.int32).max)
            stays = block["step"] <= end[block["run"]]
            block = {key: column[stays] for key, column in block.items()}
        blocks.append({"metric": name, **block})
    return {"keys": [run_key(arm_key, seed, lr) for seed, lr in chunk.runs], "blocks": blocks}


def joined(arms: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> pd.DataFrame:
    """The history frame of several arms."""
    code = {run: i for i, run in enumerate(runs)}
    metrics = sorted({block["metric"] for arm in arms for block in arm["blocks"]})
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("run", "step", "metric", "layer", "value")}
    for arm in arms:
        codes = np.array([code[key] for key in arm["keys"]], dtype=np.int32)
        for block in arm["blocks"]:
            parts["run"].append(codes[block["run"]])
            parts["metric"].append(np.full(len(block["run"]), metrics.index(block["metric"]), dtype=np.int16))
            for name in ("step", "layer", "value"):
                parts[name].append(block[name])
    empty = {"run": np.int32, "step": np.int32, "metric": np.int16, "layer": np.int16, "value": np.float64}
    column = {name: np.concatenate(values) if values else np.empty(0, empty[name]) for name, values in parts.items()}
    return pd.DataFrame(
        {
            "run": categorical(column["run"], runs),
            "step": column["step"],
            "metric": categorical(column["metric"], metrics),
            "layer": pd.arrays.IntegerArray(column["layer"], column["layer"] < 0),
            "value": column["value"],
        }
    )


def categorical(codes: np.ndarray, names: Sequence[str]) -> Any:
    """Codes as names, each held once."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(names)))
