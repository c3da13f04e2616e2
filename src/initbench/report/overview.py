"""Several settings: one answer over all of them, and a row for each."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.answer import answer as of_setting
from initbench.report.block import Block, Draw, Item, drawn_settings
from initbench.report.sentences import word_counts
from initbench.report.source import Source
from initbench.report.spoken import introduced
from initbench.report.words import Sentence, html, join, listed, say

MOST_ROWS = 200
HEADS = ("Setting", "First", "Steps", "Arrived", "Ratio", "Verdict", "Near", "All verdicts")


def several(source: Source) -> bool:
    """Whether one answer is given over settings."""
    return len(source.settings) > 1


def boards(source: Source) -> dict[str, pd.DataFrame]:
    """The leaderboard of each setting, each net once."""
    return {str(name): stats.distinct(part) for name, part in source.board.groupby("setting", sort=False)}


def first_answer(source: Source) -> Sentence:
    """What a page begins with: the answer of the only setting, or one over all of them."""
    return answer(source) if several(source) else of_setting(source, source.settings[0])


def each(source: Source) -> list[tuple[str, Sentence]]:
    """The answer of each setting that is drawn, where there are several."""
    return [(setting, of_setting(source, setting)) for setting in drawn_settings(source)] if several(source) else []


def answer(source: Source) -> Sentence:
    """Who is first in how many settings, by how much, and how sure that is."""
    firsts = {setting: board.iloc[0] for setting, board in boards(source).items()}
    arrive = [row for row in firsts.values() if row["share"] >= stats.GATE]
    shown, first = (
        (arrive, "reaches the target first") if arrive else (list(firsts.values()), "has the lowest final train loss")
    )
    counts = Counter(str(row["setup"]) for row in shown).most_common()
    (name, most), others = counts[0], [f"{setup} in {count}" for setup, count in counts[1:]]
    where = f"in all {len(firsts)} settings" if most == len(firsts) else f"in {most} of {len(firsts)} settings"
    parts = [say("{} {} {}{}.", introduced(name), first, where, f", {listed(others, 4)}" if others else "")]
    if not arrive:
        return join([*parts, say("No setup arrives in {} of its seeds in any of them.", num.percent(stats.GATE))])
    parts.append(_ratios([row for row in arrive if row["setup"] == name]))
    if len(arrive) < len(firsts):
        lost = len(firsts) - len(arrive)
        parts.append(say("In {} of them no setup arrives in {} of its seeds.", str(lost), num.percent(stats.GATE)))
    parts.append(_sure(arrive))
    near = sum(_near(board) > 0 for board in boards(source).values())
    return join([*parts, say("In {} another could also be first.", str(near)) if near else ()])


def _ratios(rows: list[pd.Series]) -> Sentence:
    """From where to where the ratios of a setup go, where it has one baseline."""
    bases = {row["baseline"] for row in rows if row["setup"] != row["baseline"]}
    ratios = [float(row["ratio"]) for row in rows if row["baseline"] in bases and not num.is_missing(row["ratio"])]
    if len(bases) != 1 or not ratios:
        return ()
    low, high = num.times(min(ratios)), num.times(max(ratios))
    return say(
        "There it takes {} the steps of {}.", low if low == high else f"{low} to {high}", introduced(str(*bases))
    )


def _sure(rows: list[pd.Series]) -> Sentence:
    """How often the first of a setting is called faster than its baseline, and how often it is the baseline."""
    faster, is_ = (
        sum(found) for found in zip(*((r["verdict"] == "faster", r["setup"] == r["baseline"]) for r in rows))
    )
    rest = f", and is the baseline in {is_}" if is_ else ""
    return say("The first is called faster than the baseline in {} of {}{}.", str(faster), str(len(rows)), rest)


def _near(board: pd.DataFrame) -> int:
    """How many others some bootstrap draws put first."""
    return int(((board["rank_low"] <= 1) & (board["rank"] > 1) & (board["verdict"] != "slower")).sum())


def rows(source: Source) -> list[list[str]]:
    """A row per setting: HEADS."""
    pairs = {str(name): part for name, part in source.pairs.groupby("setting", sort=False)}
    out = []
    for setting, board in list(boards(source).items())[:MOST_ROWS]:
        first = board.iloc[0]
        base = first["setup"] == first["baseline"]
        span = num.interval(first["ratio_low"], first["ratio_high"], num.times)
        words = word_counts(pairs[setting]) if setting in pairs else {}
        out.append([
            setting, str(first["setup"]), num.steps(first["steps"]), num.count(first["reached"], first["n"]),
            "1x" if base else f"{num.times(first['ratio'])} {span}".strip(), str(first["verdict"]),
            str(_near(board)), ", ".join(f"{count} {word}" for word, count in words.items()),
        ])  # fmt: skip
    return out


def settings(source: Source, draw: Draw) -> Block:
    """The table of all settings; nothing where there is one."""
    block = Block("settings", "Settings", "Who is first in each setting?", [
        "The first of each setting's ranking, its median steps to the target, and its ratio to the setting's baseline with the 95% "
        "interval. Near: how many others some bootstrap draws put there, unless a verdict calls them slower. "
        "Verdicts are corrected within each setting.",
    ])  # fmt: skip
    if several(source):
        found = rows(source)
        left = len(source.settings) - len(found)
        rest = f"; {left:,} more in leaderboard.csv" if left else ""
        table = {"kind": "plain", "heads": HEADS, "rows": found, "text": {1, 5, 7}}
        drawn = len(drawn_settings(source))
        below = (
            "each has its figures below, folded"
            if drawn == len(source.settings)
            else f"the figures below are of the first {drawn}"
        )
        text = say("One row each; {}.", below)
        block.items.append(Item(html(text), table=table, n=num.plural(len(source.settings), "setting") + rest))
    return block
