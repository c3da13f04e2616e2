"""The answer in one sentence, four numbers, how sure it is and what it cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from initbench import stats
from initbench.report import nets
from initbench.report import numbers as num
from initbench.report.sentences import word_counts
from initbench.report.source import Source
from initbench.report.spoken import in_words, introduced
from initbench.report.words import Bold, Sentence, join, listed, say


def answer(source: Source, setting: str) -> Sentence:
    """Who comes first in a setting, by how much, of how many; what is the same net counts once."""
    everyone = source.part(source.board, setting)
    board = stats.distinct(everyone)
    first = board.iloc[0]
    who, where = introduced(str(first["setup"])), setting
    if (board["failed"] == board["n"]).all():
        return say("On {} there is no result: all {} failed.", where, num.plural(int(board["n"].sum()), "run"))
    if not source.arrives(setting):
        return _answer_by_loss(source, setting, board)
    assert source.target is not None  # somebody arrived at it
    goal = num.target_words(*source.target)
    many = num.count(first["reached"], first["n"])
    if first["share"] < stats.GATE:
        lead = say(
            "On {} no setup reaches {} in at least {} of its seeds; {} does most often, {}.",
            where, goal, num.percent(stats.GATE), who, many,
        )  # fmt: skip
        return join([lead, _never(board)])
    lead = say(
        "On {}, {} reaches {} first: median {} steps{}, {} seeds, lr {}.",
        where, who, goal, num.steps(first["steps"]),
        _space(num.interval(first["steps_low"], first["steps_high"])), many, num.rate(first["lr"]),
    )  # fmt: skip
    return join([lead, verdicts(source, setting, board), _could_be_first(board), _never(board), nets.counts(everyone)])


def _answer_by_loss(source: Source, setting: str, board: pd.DataFrame) -> Sentence:
    first = board.iloc[0]
    if (board["diverged"] + board["failed"] == board["n"]).all():
        return say("On {} there is no result: every run at the chosen learning rates diverged or failed.", setting)
    why = "The study has no target"
    if source.target is not None:
        why = f"No setup reaches {num.target_words(*source.target)} within {num.steps(source.tau(setting))} steps"
    lead = say(
        "On {}: {}, so arms are ranked by final train loss. {} is lowest: median {}, n={}, lr {}.",
        setting, why, introduced(str(first["setup"])), num.real(first["loss_train"]), first["n"], num.rate(first["lr"]),
    )  # fmt: skip
    return join([lead, _against(board, first, "final train loss")])


def verdicts(source: Source, setting: str, board: pd.DataFrame) -> Sentence:
    """How many setups are faster, equivalent, slower than the baseline, by how much, and how many nobody knows."""
    pairs = stats.distinct(source.part(source.pairs, setting))
    base = pairs[pairs["verdict"] == "baseline"]
    pairs = pairs[pairs["verdict"] != "baseline"]
    if pairs.empty or base.empty:
        return ()
    parts: list[str] = []
    for word, count in word_counts(pairs).items():
        named = [] if word in ("undecided", stats.NOT_JUDGED) else _named(pairs[pairs["verdict"] == word])
        parts += [", " if parts else "", f"{count} {word}", " (within 10%)" * (word == "equivalent"), *named]
    row = board[board["arm"] == base["arm"].iloc[0]].iloc[0]
    what = f"{num.steps(row['steps'])} steps, n={row['n']}"
    if words := in_words(str(row["setup"])):
        what = f"{words}; {what}"
    return (*say("Against {} ({}): ", Bold(row["setup"]), what), *parts, ".")


def _named(found: pd.DataFrame) -> list[str]:
    """The strongest of a word, in brackets, with its ratio or its counts."""
    ratio = found["ratio"].astype(float)
    if ratio.notna().any():
        distance = np.abs(np.log(ratio.to_numpy()))
        nearest = found["verdict"].iloc[0] == "equivalent"
        row = found.iloc[int(np.nanargmin(distance) if nearest else np.nanargmax(distance))]
        what = f" {num.times(row['ratio'])}{_space(num.interval(row['ratio_low'], row['ratio_high'], num.times))}"
    else:
        row = found.iloc[0]
        there = num.count(row["reached"], row["n"])
        what = f" {there} seeds against {num.count(row['reached_baseline'], row['n_baseline'])}"
    alone = len(found) == 1 or found["verdict"].iloc[0] == "equivalent"
    return [" (" + ("" if alone else "most: "), Bold(row["setup"]), what, ")"]


def _against(board: pd.DataFrame, first: pd.Series, what: str) -> Sentence:
    if first["baseline"] == first["setup"]:
        second = board.iloc[1:2]
        if len(second) and not num.is_missing(ratio := second["ratio"].iloc[0]):
            row = second.iloc[0]
            span = _space(num.interval(row["ratio_low"], row["ratio_high"], num.times))
            return say("{} comes second, at {}{} its {}.", row["setup"], num.times(ratio), span, what)
        return ()
    if num.is_missing(first["ratio"]):
        return ()
    span = _space(num.interval(first["ratio_low"], first["ratio_high"], num.times))
    return say("That is {}{} the {} of {}.", num.times(first["ratio"]), span, what, first["baseline"])


def _could_be_first(board: pd.DataFrame) -> Sentence:
    """Who else some bootstrap draws put first, unless a verdict says no: descriptive, the first of many is flattered."""
    slower = board["verdict"] == "slower"
    if board["verdict"].iloc[0] == "faster":
        slower |= board["setup"] == board["baseline"]
    near = board[(board["rank_low"] <= 1) & (board["rank"] > 1) & ~slower]
    if near.empty:
        return ()
    names = [str(name) for name in near["setup"]]
    return say("Could also be first: {} ({}).", num.plural(len(names), "setup"), listed(names, 3))


def _never(board: pd.DataFrame) -> Sentence:
    """How many medians are `never` in the table, and in how many of these setups nobody arrived."""
    half, never = int(np.isinf(board["steps"].astype(float)).sum()), int((board["reached"] == 0).sum())
    if not half or len(board) == 1:
        return ()
    if half == never:
        return say("{} of {} setups never arrived.", str(never), str(len(board)))
    rest = f", in {never} of them every seed" if never else ""
    return say("In {} of {} setups half of the seeds or more never arrived (median: never){}.",
               str(half), str(len(board)), rest)  # fmt: skip


def _space(text: str) -> str:
    return f" {text}" if text else ""


def four_numbers(source: Source) -> list[tuple[str, str, str]]:
    """(number, what, of what): arms, runs, never arrived, diverged or failed; over all runs, all learning rates."""
    runs, n = source.runs, source.all_runs
    lost = n - len(runs)
    never = int(runs["steps_to_target"].isna().sum()) + lost
    diverged = int((runs["status"] == "diverged").sum())
    failed = int((runs["status"] == "failed").sum()) + lost
    arms = source.profile.groupby("arm")
    seeds, lrs = span(arms["n"].max(), "seed"), span(arms["lr"].nunique(), "learning rate")
    never_text = f"{never:,}" if source.target is not None else num.MISSING
    return [
        (f"{len(source.board):,}", "arms", num.plural(len(source.settings), "setting") + nets.different(source.board)),
        (f"{n:,}", "runs", f"{seeds} × {lrs}"),
        (never_text, "never arrived", "of all runs, all rates" if source.target else "no target"),
        (f"{diverged:,} / {failed:,}", "diverged / failed", "of all runs, all rates"),
    ]


def span(counts: pd.Series, what: str) -> str:
    """
    >>> span(pd.Series([10, 10]), "seed"), span(pd.Series([10, 40]), "seed")
    ('10 seeds', '10–40 seeds')
    """
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    return num.plural(high, what) if low == high else f"{low}–{num.plural(high, what)}"
