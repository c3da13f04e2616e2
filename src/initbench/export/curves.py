"""The runs of a study with their curves, in the shape that trackers of experiments take: one run at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from initbench.config.checks import one_of
from initbench.errors import refusal, shown
from initbench.store.history import HistoryFile, names_of
from initbench.study.results import Results


@dataclass(frozen=True)
class Curves:
    """A run: its key and its name (setup, learning rate, seed), what it was asked with (`config`), how it ended (`summary`),
    and every value: step -> {metric: value}, a layer's as metric/layer_03."""

    key: str
    name: str
    config: dict[str, Any]
    summary: dict[str, Any]
    steps: dict[int, dict[str, float]]


ENDED = ("status", "diverged_at", "steps", "steps_to_target", "flops_to_target")  # of a run, beside its metrics


def metrics_of(results: Results, asked: str | None) -> list[str]:
    """The metrics to export: those of the whole net (losses, accuracies), `all`, or the named ones."""
    known = names_of(results.measured)
    if asked is None:
        return [name for name, whole_net in known.items() if whole_net]
    wanted = list(known) if asked == "all" else list(dict.fromkeys(name.strip() for name in asked.split(",")))
    for name in wanted:
        if name not in known:
            raise refusal(f"--metrics {shown(name)}", "this study has no such metric", f"{one_of(name, known)}, or all")
    return wanted


def history_of(results: Results, metrics: Sequence[str]) -> pd.DataFrame:
    """The values of some metrics, long."""
    if isinstance(results.measured, HistoryFile):
        parts = [results.measured.metric(name) for name in metrics]
    else:
        parts = [results.history[results.history["metric"].isin(metrics)]]
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=["run", "step", "metric", "layer", "value"])
    )


def curves(results: Results, metrics: Sequence[str]) -> Iterator[Curves]:
    """Every run that was trained."""
    history = history_of(results, metrics)
    tags = history["metric"].astype(str)
    layers = history["layer"]
    history = history.assign(
        tag=tags.where(layers.isna(), tags + "/layer_" + layers.astype("string").str.zfill(2).fillna(""))
    )
    by_run = dict(iter(history.groupby(history["run"].astype(str), sort=False)))
    asked = [name for name in results.runs.columns if "." in name or name in ("setup", "setting", "seed")]
    for row in results.runs.to_dict("records"):
        part = by_run.get(str(row["run"]))
        if row["status"] == "failed" or part is None:
            continue
        steps: dict[int, dict[str, float]] = {}
        for step, tag, value in zip(part["step"], part["tag"], part["value"]):
            steps.setdefault(int(step), {})[tag] = float(value)
        yield Curves(
            key=str(row["run"]),
            name=f"{row['arm']}/lr={row['optim.lr']:g} seed={row['seed']}",
            config={name: plain(row[name]) for name in asked},
            summary={name: plain(row[name]) for name in ENDED if name in row},
            steps=dict(sorted(steps.items())),
        )


def plain(value: Any) -> Any:
    """A cell as a plain Python value; None where there is none."""
    if value is None or value is pd.NA or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def as_path(name: str) -> str:
    """A name that every file system takes, one folder a part.

    >>> as_path("eye · none/lr=0.1 seed=3")
    'eye-none/lr=0.1-seed=3'
    """
    return "/".join(re.sub(r"[^\w.=+]+", "-", part).strip("-.") or "run" for part in name.split("/"))
