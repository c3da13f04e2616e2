"""Tables of the page as plain data: heads and cells with what is shown and what is sorted by."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report import sentences
from initbench.report.source import Source
from initbench.report.words import Sentence, join, say


class Head(NamedTuple):
    """A column: its title, whether it sorts as text, and what it means."""

    title: str
    is_text: bool = False
    meaning: str = ""


class Cell(NamedTuple):
    """What is shown; `key`: what it sorts by ("" = last in both directions, None = the text itself)."""

    text: str
    key: str | None = None
    small: str = ""
    alarm: bool = False
    link: str = ""


class Column(NamedTuple):
    """A head and how a row of the leaderboard fills it."""

    head: Head
    cell: Callable[[Any], Cell]


def _number(value: Any, text: str, small: str = "", alarm: bool = False) -> Cell:
    """Sorted by value; what is missing or never comes last whichever way."""
    if num.is_missing(value) or math.isinf(value):
        return Cell(text, "", small, alarm)
    key = f"{float(value):.6g}"
    return Cell(text, None if key == text and not small else key, small, alarm)


def _lr(row: Any) -> Cell:
    mark = {"low": " ↓ edge", "high": " ↑ edge"}.get(row["lr_at_edge"], "")
    return _number(row["lr"], num.rate(row["lr"]), mark, bool(mark))


def _span(row: Any) -> str:
    """The interval of the median, unless it is never from end to end."""
    return "" if row["steps_low"] == math.inf else num.interval(row["steps_low"], row["steps_high"])


def _ratio(row: Any) -> Cell:
    if row["setup"] == row["baseline"] and not num.is_missing(row["ratio"]):
        return _number(1.0, "1x", "baseline")
    span = num.interval(row["ratio_low"], row["ratio_high"], num.times)
    return _number(row["ratio"], num.times(row["ratio"]), span)


def _arrived(row: Any) -> Cell:
    span = num.interval(row["share_low"], row["share_high"], lambda v: f"{v:.2f}".removeprefix("0"))
    few = row["share"] < stats.GATE
    return Cell(num.count(row["reached"], row["n"]), f"{row['share']:.6g}", span, bool(few))


def _verdict(row: Any) -> Cell:
    """The word; undecided ones with their reason. Sorted by word, undecided after the others."""
    word = str(row["verdict"])
    if word == "baseline":
        return Cell("baseline", "0")
    order = {"faster": "1", "equivalent": "2", "slower": "3", stats.NOT_JUDGED: "5"}.get(word, "4")
    if row["same_as"]:
        return Cell(f"= {row['same_as']}", order, "the same nets")
    return Cell(word, order, str(row["reason"]) if word == "undecided" else "")


COLUMNS = {
    "rank": Column(Head("#", False, "Rank in its setting"), lambda r: Cell(str(r["rank"]))),
    "setup": Column(Head("Setup", True, "initializer · sharing"), lambda r: Cell(str(r["setup"]))),
    "setting": Column(Head("Setting", True), lambda r: Cell(str(r["setting"]))),
    "steps": Column(
        Head("Steps to target", False, "median over all seeds, 95% bootstrap interval"),
        lambda r: _number(r["steps"], num.steps(r["steps"]), _span(r)),
    ),
    "ratio": Column(
        Head("Ratio", False, "steps / the baseline's, rate chosen on other seeds, paired by seed, 95% interval"),
        _ratio,
    ),
    "verdict": Column(Head("Verdict", True, "against the baseline: see Methods"), _verdict),
    "arrived": Column(Head("Arrived", False, "seeds at the target / all seeds, Wilson interval"), _arrived),
    "lr": Column(Head("lr", False, "chosen learning rate"), _lr),
    "n": Column(Head("n", False, "seeds"), lambda r: Cell(str(r["n"]))),
    "lost": Column(
        Head("Div. / failed", False, "diverged and failed seeds at the chosen rate"),
        lambda r: Cell(f"{r['diverged']} / {r['failed']}", str(r["diverged"] + r["failed"]), "",
                       bool(r["diverged"] + r["failed"])),
    ),
    "flops": Column(
        Head("FLOPs to target", False, "median"),
        lambda r: _number(r["flops_to_target"], num.big(r["flops_to_target"])),
    ),
    "loss": Column(Head("Train loss", False, "last, median"), lambda r: _number(r["loss_train"], num.real(r["loss_train"]))),
    "accuracy": Column(
        Head("Val acc.", False, "last, median"), lambda r: _number(r["accuracy_val"], num.percent(r["accuracy_val"]))
    ),
    "gap": Column(
        Head("Gap", False, "val - train loss at the target (at the end where no setup arrives), median"),
        lambda r: _number(r["gap"], num.real(r["gap"])),
    ),
    "stored": Column(
        Head("Stored params", False, "parameters kept and trained"),
        lambda r: _number(r["stored_parameters"], num.whole(r["stored_parameters"])),
    ),
    "used": Column(
        Head("Used params", False, "parameters the layers use, shared ones counted at each use"),
        lambda r: _number(r["used_parameters"], num.whole(r["used_parameters"])),
    ),
}  # fmt: skip


def mlflow_runs(source: Source) -> str | None:
    """Address of the study's runs in the MLflow UI; None if it was not tracked, or where no page is known (databricks).

    A file or a database has no address: it is that of `mlflow ui` as it starts by itself.
    """
    tracked = source.study.get("mlflow")
    if not isinstance(tracked, Mapping) or not tracked.get("experiment_id"):
        return None
    uri = str(tracked.get("uri") or "")
    if uri.startswith("databricks"):
        return None
    base = re.sub("//[^/]*@", "//", uri.rstrip("/")) if is_server(uri) else "http://127.0.0.1:5000"
    return f"{base}/#/experiments/{tracked['experiment_id']}/runs?workflowType=machine_learning"


def is_server(uri: str) -> bool:
    """Whether an MLflow store has pages of its own."""
    return uri.startswith(("http://", "https://"))


def about_links(source: Source) -> str:
    """What to start before the links to a file or a database lead anywhere.

    >>> from types import SimpleNamespace
    >>> study = {"mlflow": {"uri": "sqlite:///mlflow.db", "experiment_id": "1"}}
    >>> about_links(SimpleNamespace(study=study))
    'Runs: the links need mlflow ui --backend-store-uri sqlite:///mlflow.db.'
    """
    if mlflow_runs(source) is None or is_server(uri := str(source.study["mlflow"]["uri"])):
        return ""
    return f"Runs: the links need {shlex.join(['mlflow', 'ui', '--backend-store-uri', uri])}."


def _runs_link(base: str, row: Any) -> Cell:
    key = str(row["arm_key"] or "")
    query = quote(f"tags.`initbench.arm` = '{key}'")
    return Cell("MLflow", "", link=f"{base}&searchFilter={query}") if key else Cell(num.MISSING, "")


def leaderboard_columns(source: Source) -> list[Column]:
    """Those that say something in this study: no accuracy for regression, no steps without a target."""
    board = source.board
    names = list(COLUMNS)
    columns = dict(COLUMNS)
    if (base := mlflow_runs(source)) is not None:
        columns["mlflow"] = Column(Head("Runs", True, "its runs in MLflow"), lambda r: _runs_link(base, r))
        names.append("mlflow")
    if len(source.settings) == 1:
        names.remove("setting")
    if source.target is None:
        names = [name for name in names if name not in ("steps", "arrived", "flops", "verdict")]
    else:
        names.remove("n")  # arrived says it
    if not np.isfinite(board["accuracy_val"].astype(float)).any():
        names.remove("accuracy")
    return [columns[name] for name in names]


def rows(board: pd.DataFrame, columns: list[Column]) -> list[list[Cell]]:
    """Cells of the leaderboard, row by row."""
    return [[column.cell(row) for column in columns] for row in board.to_dict("records")]


def parameter_rows(source: Source, setting: str) -> list[dict[str, Any]]:
    """One row per sharing (and per further difference in size): stored, used, FLOPs and bytes."""
    board = source.part(source.board, setting).dropna(subset=["stored_parameters", "used_parameters"])
    runs = source.part(source.runs, setting)
    first = runs.drop_duplicates("arm").set_index("arm")
    out: dict[tuple[Any, ...], dict[str, Any]] = {}
    for _, row in board.iterrows():
        more = first.loc[row["arm"]] if row["arm"] in first.index else {}
        key = (row["sharing"], int(row["stored_parameters"]), int(row["used_parameters"]))
        entry = out.setdefault(
            key,
            {
                "sharing": row["sharing"], "stored": key[1], "used": key[2], "setups": 0,
                "flops": num.big(more.get("flops_per_step")), "state": num.big(more.get("state_bytes")),
            },
        )  # fmt: skip
        entry["setups"] += 1
    entries = list(out.values())
    most = max((entry["used"] for entry in entries), default=1) or 1
    for entry in entries:
        entry["stored_width"] = round(120 * entry["stored"] / most, 1)
        entry["used_width"] = round(120 * entry["used"] / most, 1)
    return entries


def other_targets(source: Source) -> list[tuple[str, float]]:
    """.80, .90, .95 and the study's own for an accuracy; 4, 2 and 1 times the target for a loss."""
    if source.target is None:
        return []
    metric, value = source.target
    levels = {0.8, 0.9, 0.95, value} if metric.startswith("accuracy") else {4 * value, 2 * value, value}
    return [(metric, level) for level in sorted(levels, reverse=not metric.startswith("accuracy"))]


MOST_JUDGED = 60  # arms of a setting that are judged anew at each target; more are only ranked


def target_table(source: Source, setting: str, most: int = 8) -> tuple[list[str], list[list[Cell | str]], Sentence]:
    """Heads, rows (rank, median, arrived, verdict at each target and at 9/10 of the budget) and what changes."""
    runs = source.part(source.runs, setting)
    own = stats.distinct(source.part(source.board, setting)).set_index("setup")
    judged = len(own) <= MOST_JUDGED
    if not judged:
        runs = runs[runs["setup"].isin([*own.index[:most], own["baseline"].iloc[0]])]
    boards = {}
    for words, changed, metric in _elsewhere(source, runs):
        if judged and changed is runs:  # the target of the page: its own words
            boards[words] = own
            continue
        if judged:
            base = str(own["baseline"].iloc[0])
            board = stats.judge(changed, {"family": source.names}, base, source.history, metric).board
        else:
            board = stats.ranked(changed)
        boards[words] = board.set_index("setup")
    lines = []
    flips = 0
    for setup in own.index[:most]:
        was = own.loc[setup]
        cells = [
            _at_target(board.loc[setup], was, judged) if setup in board.index else num.MISSING
            for board in boards.values()
        ]
        lines.append([str(setup), *cells])
    if judged:
        for board in boards.values():
            both = [s for s in own.index if s in board.index and own.loc[s, "verdict"] != "baseline"]
            flips += sum(board.loc[s, "verdict"] != own.loc[s, "verdict"] for s in both)
    firsts = {
        words: str(board.index[0]) if len(board) and board["reached"].iloc[0] > 0 else ""
        for words, board in boards.items()
    }
    sentence = sentences.about_targets(firsts)
    if judged:
        text = f"{num.plural(flips, 'verdict')} of {sum(max(0, len(b.index.intersection(own.index)) - 1) for b in boards.values())} would change."
        sentence = join([sentence, say("{}", text)])
    key = "Each cell: {}median steps; below, seeds arrived of all{}."
    parts = ("rank, ", " and the verdict, with ≠ where it is not the study's own") if judged else ("", "")
    return ["Setup", *boards], lines, join([sentence, say(key, *parts)])


def _at_target(row: pd.Series, was: pd.Series, judged: bool) -> Cell:
    """How a setup does at another target: rank and median steps; below them arrived seeds and verdict."""
    median, arrived = num.steps(row["steps"]), f"{num.count(row['reached'], row['n'])} arrived"
    if not judged:
        return Cell(median, small=arrived)
    if row["verdict"] != "baseline":
        arrived += f", {'≠ ' if row['verdict'] != was['verdict'] else ''}{row['verdict']}"
    return Cell(f"#{int(row['rank'])}, {median}{'' if median == 'never' else ' steps'}", small=arrived)


def _elsewhere(source: Source, runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame, str]]:
    """(words, runs with the steps of another target or a shorter budget, metric)"""
    assert source.target is not None
    metric = source.target[0]
    out = []
    for name, value in other_targets(source):
        steps = stats.steps_to_target(source.history, runs, name, value)
        if stats.left_before(runs, steps):  # not known: they stopped at an easier target
            continue
        changed = runs if (name, value) == source.target else runs.assign(steps_to_target=steps)
        out.append((num.target_words(name, value), changed, name))
    if "train.steps" in runs:
        tau = (runs["train.steps"] * 9) // 10
        steps = runs["steps_to_target"].where(runs["steps_to_target"] <= tau)
        shorter = runs.assign(steps_to_target=steps, **{"train.steps": tau})
        out.append((f"budget {num.whole(tau.max())} steps", shorter, metric))
    return out
