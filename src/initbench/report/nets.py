"""What the pages say of a family: how many different nets there are under the names, and who was compared with whom."""

from __future__ import annotations

import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.source import Source
from initbench.report.words import Code, Notice, Sentence, listed, say


def different(board: pd.DataFrame) -> str:
    """ ", 12 different nets" where there are fewer nets than names; else nothing."""
    nets = len(stats.distinct(board))
    return f", {nets:,} different nets" if nets < len(board) else ""


def counts(board: pd.DataFrame) -> Sentence:
    """How many nets there are under how many names, where it is not one each."""
    return say("{}{}.", num.plural(len(board), "setup"), found) if (found := different(board)) else ()


def about(source: Source) -> list[Notice]:
    """Setups that are one net under several names, and the family."""
    copies = source.board[source.board["same_as"] != ""]
    if copies.empty:
        return about_family(source)
    names = [f"{row['setup']} = {row['same_as']}" for _, row in copies.iterrows()]
    text = "Equal steps and losses in every run that both have, so they are judged, counted and drawn once: {}."
    title = f"{num.plural(len(copies), 'setup is', 'setups are')} the same nets as another"
    return [Notice(title, say(text, listed(names, 8))), *about_family(source)]


def about_family(source: Source) -> list[Notice]:
    """How many comparisons the words are corrected for, and what that means for them."""
    out = []
    for setting in source.settings:
        where = source.among(setting)
        pairs = stats.distinct(source.part(source.pairs, setting))
        judged = pairs[~pairs["verdict"].isin(["baseline", stats.NOT_JUDGED])]
        size = int(judged["family"].max()) if len(judged) else 0
        if size < 2 or not (judged["test"] != "").any():
            continue
        alone = int(((judged["verdict"] == "undecided") & (judged["p"] < 0.05)).sum())
        undecided = f" {alone} of the undecided would have one alone (p < .05)." if alone else ""
        text = say(
            "The same runs may get another word in a smaller family (Holm's correction).{} Before the next study, name the "
            "setups that matter: {}, or {} for one against the rest.",
            undecided, Code("'report.family=[NAME,NAME]'"), Code("report.baseline=NAME"),
        )  # fmt: skip
        out.append(Notice(f"Verdicts are corrected for {size} comparisons{where}", text))
        counted = judged[(judged["test"] == "reached") & (judged["verdict"] == "undecided")]
        seeds = sorted({int(seed) for seed in source.part(source.runs, setting)["seed"]})
        if len(counted) and not source.study.get("looks") and (wrong := stats.cannot_call(size, seeds)):
            text = say("{}.", wrong[:1].upper() + wrong[1:])
            out.append(Notice(f"n={len(seeds)} is too few for so many comparisons{where}", text))
    return out
