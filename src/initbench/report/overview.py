"""More settings than can each have an answer and figures: who is first in how many of them, and a row for each."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.answer import answer as of_setting
from initbench.report.block import MOST_SETTINGS, Block, Draw, Item, drawn_settings
from initbench.report.sentences import word_counts
from initbench.report.source import Source
from initbench.report.words import Bold, Sentence, html, join, listed, say

MOST_ROWS = 200
HEADS = ("Setting", "First", "Steps", "Arrived", "Ratio", "Verdict", "Near", "All verdicts")


def is_many(source: Source) -> bool:
    """Whether the settings are told together."""
    return len(source.settings) > MOST_SETTINGS


def boards(source: Source) -> dict[str, pd.DataFrame]:
    """The leaderboard of each setting, each net once."""
    return {str(name): stats.distinct(part) for name, part in source.board.groupby("setting", sort=False)}


def answers(source: Source) -> list[Sentence]:
    """The answer of each setting, or one for all together."""
    return [answer(source)] if is_many(source) else [of_setting(source, setting) for setting in source.settings]


def answer(source: Source) -> Sentence:
    """Who is first in how many settings, and how sure that is."""
    firsts = {setting: board.iloc[0] for setting, board in boards(source).items()}
    arrive = [row for row in firsts.values() if row["share"] >= stats.GATE]
    shown, first = (arrive, "reaches the target first in {}") if arrive else (
        list(firsts.values()), "has the lowest final train loss in {}")  # fmt: skip
    counts = Counter(str(row["setup"]) for row in shown).most_common()
    (name, most), others = counts[0], [f"{setup} in {count}" for setup, count in counts[1:]]
    parts = [say("Of {}, {} " + first + "{}.", num.plural(len(firsts), "setting"), Bold(name), str(most),
                 f", {listed(others, 4)}" if others else "")]  # fmt: skip
    if not arrive:
        return join([*parts, say("No setup arrives in {} of its seeds in any of them.", num.percent(stats.GATE))])
    if len(arrive) < len(firsts):
        lost = len(firsts) - len(arrive)
        parts.append(say("In {} of them no setup arrives in {} of its seeds.", str(lost), num.percent(stats.GATE)))
    sure = sum(row["verdict"] == "faster" for row in arrive)
    is_ = sum(row["setup"] == row["baseline"] for row in arrive)
    near = sum(_near(board) > 0 for board in boards(source).values())
    text = "The first is called faster than its baseline in {}, and is the baseline in {}; in {} another could also be first."
    return join([*parts, say(text, str(sure), str(is_), str(near))])


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
    """The table of all settings; nothing where each has its own answer."""
    block = Block("settings", "Settings", "Who is first in each setting?", [
        "The first of each setting's ranking, its median steps to the target, and its ratio to the setting's baseline with the 95% "
        "interval. Near: how many others some bootstrap draws put there, unless a verdict calls them slower. "
        "Verdicts are corrected within each setting.",
    ])  # fmt: skip
    if is_many(source):
        found = rows(source)
        left = len(source.settings) - len(found)
        rest = f"; {left:,} more in leaderboard.csv" if left else ""
        table = {"kind": "plain", "heads": HEADS, "rows": found, "text": {1, 5, 7}}
        text = say("One row each; the figures below are of the first {}.", str(len(drawn_settings(source))))
        block.items.append(Item(html(text), table=table, n=num.plural(len(source.settings), "setting") + rest))
    return block
