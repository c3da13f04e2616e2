"""Every two setups against each other: a matrix of verdicts; over settings, a critical-difference diagram."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.block import Block, Draw, Item, settings_of
from initbench.report.figures import ranks
from initbench.report.figures.common import thin_rows
from initbench.report.sentences import about_pair, word_counts
from initbench.report.source import Source
from initbench.report.words import Bold, Sentence, html, join, plain, say

MOST = 24  # setups of a matrix
OPPOSITE = {"faster": "slower", "slower": "faster"}
NOT_EQUAL = "Undecided is not equal: these runs cannot tell."


class Pair(NamedTuple):
    """A cell: the verdict of the row's setup against the column's, the ratio, and all of it in a sentence."""

    word: str
    ratio: str
    span: str
    tip: str


Row = tuple[int, str, list[Pair | None]]  # rank, setup, a cell for each column; None: itself


def every_pair(source: Source, draw: Draw) -> Block:
    block = Block("pairs", "All pairs", "Which setups differ from which?", [
        "Each cell compares the setup of its row with that of its column, whose number is its rank: the steps of the row divided "
        "by those of the column, and the verdict on the row. Point at a cell, or walk with the arrow keys, for its interval.",
        "All pairs of a setting are one family of Holm's correction, which is larger than that of the comparisons with the "
        "baseline: a verdict of the first figure can be undecided here. Choose one of the two before you look.",
    ])  # fmt: skip
    if not source.every:
        return block
    for setting, board, heading in settings_of(source):
        rows = matrix(source, setting, MOST)
        table = {"kind": "matrix", "rows": rows} if rows else None
        setups = board["setup"].isin(named(source, setting)).sum()
        left = f"; {setups - len(rows)} more in pairs.csv" if 0 < len(rows) < setups else ""
        n = f"{num.plural(int(setups), 'setup')}{left}" if rows else ""
        block.items.append(Item(html(about_pairs(source, setting)), table=table, n=n, setting=heading))
    return block


def named(source: Source, setting: str) -> list[str]:
    """The setups of a setting that are paired."""
    pairs = source.part(source.all_pairs, setting)
    return list(dict.fromkeys([*pairs["setup"], *pairs["other"]]))


def about_pairs(source: Source, setting: str) -> Sentence:
    """How many pairs have which verdict, or why there is none."""
    pairs = source.part(source.all_pairs, setting)
    if pairs.empty:
        many = len(stats.distinct(source.part(source.board, setting)))
        most = f"{many:,} setups are more than {stats.MOST_PAIRED}: name those that matter with --family"
        none = "there are not two setups of which one arrives"
        return say("No pairs: {}.", most if many > stats.MOST_PAIRED else none)
    counts = word_counts(pairs.assign(same_as=""))
    differ, undecided = counts.get("faster", 0) + counts.get("slower", 0), counts.get("undecided", 0)
    told = f"{differ} differ, {counts.get('equivalent', 0)} equivalent, {undecided} undecided"
    return join([say("{}: {}.", num.plural(len(pairs), "pair"), told), say(NOT_EQUAL) if undecided else ()])


def matrix(source: Source, setting: str, most: int) -> list[Row]:
    """The first `most` setups of a setting, each against each; empty where nothing was compared."""
    pairs = source.part(source.all_pairs, setting)
    cells: dict[tuple[str, str], Pair] = {}
    for row in pairs.to_dict("records"):
        told = pd.Series({**row, "baseline": row["other"], "ratio_of": "steps", "decide": "",
                          "reached_baseline": row["reached_other"], "n_baseline": row["n_other"]})  # fmt: skip
        tip = plain(about_pair(told))
        if not num.is_missing(row["p_holm"]):
            tip = f"{tip.removesuffix('.')}, p {num.probability(row['p_holm'])} after Holm."
        one, other, word = str(row["setup"]), str(row["other"]), str(row["verdict"])
        ratio, low, high = (float(row[name]) for name in ("ratio", "ratio_low", "ratio_high"))
        cells[one, other] = _pair(word, ratio, low, high, tip)
        cells[other, one] = _pair(OPPOSITE.get(word, word), 1 / ratio, 1 / high, 1 / low, tip)
    board = stats.distinct(source.part(source.board, setting))
    board = thin_rows(board[board["setup"].isin(named(source, setting))], most)
    setups = list(board["setup"].astype(str))
    return [
        (int(rank), setup, [cells.get((setup, other)) for other in setups])
        for rank, setup in zip(board["rank"], setups)
    ]


def _pair(word: str, ratio: float, low: float, high: float, tip: str) -> Pair:
    return Pair(word, num.times(ratio), num.interval(low, high, num.times), tip)


def over_settings(source: Source, draw: Draw) -> Block:
    block = Block("ranks", "Average ranks", "Which setups lead over all settings?", [
        "A critical-difference diagram (Demsar 2006): the setups at their average rank over the settings in which somebody arrives. "
        "A bar with dots joins setups of which no two could be told apart by Wilcoxon's signed-rank test on log steps, setting "
        "by setting, with Holm's correction over all pairs; a setup under a bar without a dot is not part of it.",
        "The settings are taken for a sample: settings that share data or differ little in size are no independent witnesses. "
        "A run that never arrives counts as the budget.",
    ])  # fmt: skip
    found, sentence = source.average_ranks, ranks_told(source)
    if not sentence:
        return block
    if isinstance(found, str):
        block.items.append(Item(html(sentence)))
        return block
    figure = draw.svg(
        ranks.critical_difference(found), "ranks", source.settings[0], "Critical-difference diagram", sentence
    )
    left = len(found.setups) - ranks.MOST
    rest = f"; {left} more not drawn" if left > 0 else ""
    n = f"n = {num.plural(found.settings, 'setting')}, {num.plural(len(found.setups), 'setup')}{rest}"
    block.items.append(Item(html(sentence), figure, n))
    return block


def ranks_told(source: Source) -> Sentence:
    """Who leads over settings, whom it could be told apart from, and what a bar means; or why there is no such diagram.

    Nothing where there is one setting, unless pairs are asked for.
    """
    if len(source.settings) < 2 and not source.every:
        return ()
    found = source.average_ranks
    if isinstance(found, str):
        return say("No critical-difference diagram: {}.", found)
    apart = int((found.p[0] < stats.ALPHA).sum())
    return say(
        "{} has the best average rank, {}, and could be told apart from {} of {} others. Setups joined by a bar could not be "
        "told apart by these settings; that does not make them equal.",
        Bold(found.setups[0]), f"{found.ranks[0]:.2f}", str(apart), str(len(found.setups) - 1),
    )  # fmt: skip
