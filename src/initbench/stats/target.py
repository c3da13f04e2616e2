"""When a run counts as trained: the first evaluation at or past a target, for any target."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from initbench.config.checks import one_of
from initbench.errors import refusal, shown
from initbench.store.history import History, HistoryFile, names_of


def steps_to_target(history: History, runs: pd.DataFrame, metric: str, value: float) -> pd.Series:
    """T: the first evaluated step at or past the target, a float per row of `runs`; NaN = never arrived.

    ``T = min {step : value(step) >= target}`` for ``accuracy/*``, ``<=`` for ``loss/*``. It stands even if
    the run diverges later. Raises InputError for a metric without a direction or one the history does not
    hold.

    >>> runs = pd.DataFrame({"run": ["a", "b"]})
    >>> history = pd.DataFrame({"run": ["a", "a", "b"], "step": [0, 5, 5], "metric": "accuracy/train",
    ...                         "layer": pd.array([pd.NA] * 3, "Int16"), "value": [0.1, 0.96, 0.5]})
    >>> steps_to_target(history, runs, "accuracy/train", 0.95).tolist()
    [5.0, nan]
    """
    if not metric.startswith(("accuracy", "loss")):
        raise refusal(
            f"target metric {shown(repr(metric))}",
            "not allowed",
            "must be accuracy/* (at or above) or loss/* (at or below)",
        )
    part = select(history, metric)
    if part.empty and not history.empty:
        raise refusal(
            f"target metric {shown(repr(metric))}", "not in the history", one_of(metric, list(whole_net(history)))
        )
    values = part["value"].to_numpy(float)
    hit = part[values >= value if metric.startswith("accuracy") else values <= value]
    first = hit.groupby(hit["run"].astype(str))["step"].min()
    found = runs["run"].astype(str).map(dict(zip(first.index, first.to_numpy(float))))
    return found.astype(float).rename("steps_to_target")


def retarget(runs: pd.DataFrame, history: History, metric: str, value: float) -> pd.DataFrame:
    """A copy of `runs` with the steps, FLOPs and gap of another target, from the history."""
    out = runs.copy()
    steps = out["steps_to_target"] = steps_to_target(history, runs, metric, value)
    gone = left_before(runs, steps)
    if gone:
        raise refusal(
            f"target {metric} {value:g}",
            f"{gone} of {len(runs)} runs stopped at an easier target (train.stop_when_reached=true)",
            "train with this train.target.value, or without stopping",
        )
    if {"init_flops", "flops_per_step"} <= set(out):
        out["flops_to_target"] = out["init_flops"] + out["flops_per_step"] * steps
    if {"loss/train", "loss/val"} <= set(whole_net(history)):
        val, train = (value_at(history, out["run"], steps, name) for name in ("loss/val", "loss/train"))
        out["gap_at_target"] = val - train
    return out


def left_before(runs: pd.DataFrame, steps: pd.Series) -> int:
    """How many runs left early at another target (train.stop_when_reached) before they met this one: what they would
    have done is not known.

    >>> runs = pd.DataFrame({"steps": [30, 300], "train.steps": 300, "status": "completed"})
    >>> left_before(runs, pd.Series([np.nan, np.nan])), left_before(runs, pd.Series([30.0, np.nan]))
    (1, 0)
    """
    if not {"steps", "train.steps", "status"} <= set(runs):
        return 0
    early = (runs["steps"] < runs["train.steps"]) & (runs["status"] == "completed")
    return int((early.fillna(False) & steps.isna()).sum())


def value_at(history: History, run: pd.Series, step: pd.Series, metric: str) -> np.ndarray:
    """Value of a whole-net metric at one step per run (len(run),); NaN where it was not evaluated."""
    wanted = pd.DataFrame({"run": run.astype(str).to_numpy(), "step": step.to_numpy(float)})
    rows = select(history, metric, wanted.loc[wanted["step"].notna(), "run"])
    rows = rows[rows["step"].isin(wanted["step"])]
    rows = rows.assign(run=rows["run"].astype(str), step=rows["step"].astype(float))[["run", "step", "value"]]
    return wanted.merge(rows, on=["run", "step"], how="left")["value"].to_numpy(float)


def whole_net(history: History) -> list[str]:
    """Names of the metrics the history holds for the whole net (no layer), sorted."""
    return [name for name, whole in names_of(history).items() if whole]


def metrics(history: History) -> list[str]:
    """Names of the metrics the history holds, sorted."""
    return list(names_of(history))


def select(history: History, metric: str, runs: Iterable[str] | None = None) -> pd.DataFrame:
    """Rows of one metric, of these runs only (None: all); by category codes: there are millions of rows."""
    if isinstance(history, HistoryFile):
        part = history.metric(metric)
    elif isinstance(history["metric"].dtype, pd.CategoricalDtype):
        names = history["metric"].cat
        code = names.categories.get_indexer(pd.Index([metric]))[0]
        part = history[names.codes.to_numpy() == code] if code >= 0 else history.iloc[:0]
    else:
        part = history[history["metric"].to_numpy() == metric]
    return part if runs is None else part[part["run"].isin(list(runs))]
