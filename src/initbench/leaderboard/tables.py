"""The tables of the leaderboard as cells, for the page and for Markdown alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from initbench.leaderboard.board import GROUPS, Board
from initbench.leaderboard.judged import WORDS
from initbench.leaderboard.shared import Shared
from initbench.report import numbers as num
from initbench.report.tables import Cell, Head
from initbench.stats.rates import GATE

WHY = {
    "mixed": "arrivals say the opposite of steps", "lr": "rates at an end of the grid", "reached": "by how often it arrives",
}  # fmt: skip
GROUP_TEXT = {"best": "could be the best", "like the baseline": "equivalent or undecided"}


def heads(board: Board) -> list[Head]:
    """The columns of the ranking."""
    titles = (
        "#", "Rank, 95%", "Initializer", f"x {board.grid.baseline}", "Over all settings", "By setting, f / e / s / u",
        "Reached", "Never", "lr at an end", "Steps", "x FLOPs",
    )  # fmt: skip
    return [Head(title, title == "Initializer") for title in titles]


def rows(board: Board) -> list[list[Cell]]:
    """One row an initializer, by rank."""
    flops = relative_flops(board)
    reached = board.judged.board.assign(ok=board.judged.board["share"] >= GATE).groupby("setup")["ok"].sum()
    settings, runs = len(board.grid.settings), board.standing.reached[0].size
    out = []
    for name in board.order:
        rank, low, high = board.place(name)
        row, counts = board.against_baseline.loc[name], board.counts(name)
        i, group = board.standing.names.index(name), board.group(name)
        never, score = runs - int(board.standing.reached[i].sum()), math.exp(board.standing.score[i])
        out.append(
            [
                Cell(str(rank)), Cell(f"{low}–{high}", str(low)), Cell(name),
                Cell(num.times(row["ratio"]), f"{row['ratio']:.6g}", num.interval(row["low"], row["high"], num.times)),
                Cell(str(row["verdict"]), str(ORDER.get(str(row["verdict"]), 0)), small(group, str(row["why"]))),
                Cell(" / ".join(str(counts[word]) for word in WORDS), str(counts["faster"])),
                Cell(num.count(reached[name], settings), str(reached[name]), "", bool(reached[name] < settings)),
                Cell(num.count(never, runs), str(never)), Cell(f"{board.edges[name]:.0%}", f"{board.edges[name]:.4f}"),
                Cell(num.steps(round(score, 1)), f"{score:.6g}"), Cell(*_cost(flops[name])),
            ]
        )  # fmt: skip
    return out


def small(group: str, why: str) -> str:
    """What is told beside a word.

    >>> small("best", ""), small("slower", "seeds")
    ('(could be the best)', '')
    """
    told = ", ".join(part for part in (GROUP_TEXT["best"] if group == GROUPS[0] else "", WHY.get(why, "")) if part)
    return f"({told})" if told else ""


def _cost(ratio: float) -> tuple[str, str]:
    """A ratio of costs and what it sorts by, last where there is none."""
    return (num.MISSING, "") if math.isnan(ratio) else (num.times(ratio), f"{ratio:.6g}")


ORDER = {word: i for i, word in enumerate(WORDS, start=1)}


def relative_flops(board: Board) -> dict[str, float]:
    """{initializer: FLOPs to the target over the baseline's, start included, geometric mean over settings} at the chosen rates.

    NaN where a run costs nothing that is counted: at the target before its first step, by a start without a pass of the net.
    """
    chosen = board.judged.board.set_index("arm")["lr"]
    at = board.runs[board.runs["optim.lr"].to_numpy() == board.runs["arm"].map(chosen).to_numpy(float)]
    spent = at["init_flops"].fillna(0.0) + at["steps"] * at["flops_per_step"]
    logs = np.log(spent.where(spent > 0)).groupby([at["setup"], at["setting"]]).agg(lambda one: one.mean(skipna=False))
    mean = logs.groupby("setup").agg(lambda one: one.mean(skipna=False))
    return {str(name): float(np.exp(value - mean[board.grid.baseline])) for name, value in mean.items()}


def partial_rows(board: Board) -> list[list[str]]:
    """Initializers that do not apply everywhere: where they do, and why not elsewhere."""
    out, n = [], len(board.grid.settings)
    for entry in board.entries:
        if entry.name not in board.partial:
            continue
        reasons = list(dict.fromkeys(row["not_applicable"] for row in entry.results("none") if "not_applicable" in row))
        counts = board.counts(entry.name)
        words = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
        out.append([entry.name, num.count(board.applies[entry.name], n), words or "–", "; ".join(reasons)])
    return out


PARTIAL_HEADS = ["Initializer", "Applies in", "Against the baseline there", "Elsewhere"]
SHARED_HEADS = [
    "Initializer",
    "Steps alone",
    "Steps shared",
    "Shared / alone",
    "95% interval",
    "Verdict",
    "Rank alone",
    "Rank shared",
]
COST_HEADS = ["Trained with", "Initializers", "Runs", "Steps", "FLOPs", "Of starts", "Stored bytes of a net"]


def shared_rows(found: Shared) -> list[list[str]]:
    """With one weight for all hidden layers, beside without."""
    return [
        [str(row["name"]), num.steps(round(row["alone"], 1)), num.steps(round(row["shared"], 1)), num.times(row["ratio"]),
         num.interval(row["low"], row["high"], num.times), str(row["verdict"]), str(row["rank"]), str(row["rank_shared"])]
        for _, row in found.table.iterrows()
    ]  # fmt: skip


def cost_rows(boards: dict[str, Board]) -> list[list[str]]:
    """What training all entries took, by sharing."""
    out = []
    for sharing, board in boards.items():
        runs = board.runs
        starts = runs["init_flops"].fillna(0.0).sum()
        size = sorted({int(b) for b in runs["state_bytes"]})
        out.append(
            [
                f"sharing={sharing}", str(runs["setup"].nunique()), num.whole(len(runs)), num.whole(runs["steps"].sum()),
                num.big(float((runs["steps"] * runs["flops_per_step"]).sum() + starts)), num.big(float(starts)),
                f"{num.whole(size[0])} to {num.whole(size[-1])}",
            ]
        )  # fmt: skip
    return out


def setting_rows(board: Board, names: list[str]) -> list[list[str]]:
    """The heat map as text: the ratio in each setting, or how many seeds arrive where it has none."""
    pairs = board.judged.pairs.set_index(["setup", "setting"])
    arrived = board.judged.board.set_index(["setup", "setting"])
    return [[name, *(_setting(pairs, arrived, (name, one.label)) for one in board.grid.settings)] for name in names]


def _setting(pairs: pd.DataFrame, arrived: pd.DataFrame, key: tuple[str, str]) -> str:
    if key not in pairs.index:
        return num.MISSING
    row: Any = pairs.loc[key]
    mark = {"undecided": "·", "equivalent": "="}.get(row["verdict"], "")
    if num.is_missing(row["ratio"]):
        return num.count(arrived.loc[key, "reached"], arrived.loc[key, "n"]) + mark
    return num.times(row["ratio"]) + mark
