"""One setup against the field: where it stands in each setting, and every other setup compared with it."""

from __future__ import annotations

from typing import Any

from initbench import stats
from initbench.errors import InputError, renamed
from initbench.report import answer, judged, overview
from initbench.report import numbers as num
from initbench.report.block import Block, Draw, drawn_settings
from initbench.report.blocks import all_arms, arrivals, fair_rates, fastest
from initbench.report.page import page
from initbench.report.sentences import word_counts
from initbench.report.source import Source, open_source
from initbench.report.spoken import introduced
from initbench.report.svg import drawing
from initbench.report.words import Bold, Sentence, join, say

BLOCKS = (fastest, judged.against, judged.decide, arrivals, fair_rates, judged.elsewhere, all_arms)


def opened(results: Any, name: str, target: Any = None) -> Source:
    """The study with the setup `name`, or the initializer of this name, as the baseline of every setting."""
    try:
        return open_source(results, baseline=name, target=target)
    except InputError as error:
        raise renamed(error, "baseline=", "--focus ") from None


def file_of(name: str) -> str:
    """
    >>> file_of("my_init.my_init · none")
    'focus-my_init.my_init-none.html'
    """
    words = "".join(letter if letter.isalnum() or letter in "_." else " " for letter in name).split()
    return f"focus-{'-'.join(words)}.html"


def focused(source: Source, name: str) -> str:
    """The page."""
    told = [(setting, told_of(source, setting)) for setting in drawn_settings(source)]
    several = len(source.settings) > 1
    with drawing():
        draw = Draw(source)
        made: list[Block] = [make(source, draw) for make in BLOCKS]
        shown = [block for block in made if block.items]
        lead = over_settings(source) if several else told[0][1]
        each = told if several else []
        return page(source, drawn=(shown, draw), title=f"{name} against the field", lead=lead, each=each, focus=name)


def over_settings(source: Source) -> Sentence:
    """In how many settings it is first, where it is last, and how many of all others are faster or slower than it."""
    boards = overview.boards(source).values()
    rows = [board[board["setup"] == board["baseline"]].iloc[0] for board in boards]
    places = [list(board["arm"]).index(row["arm"]) + 1 for row, board in zip(rows, boards)]
    worst = places.index(max(places))
    names = " or ".join(dict.fromkeys(str(row["setup"]) for row in rows))
    who = introduced(names) if names == str(rows[0]["setup"]) else (Bold(names),)
    counts = [f"{count} {word}" for word, count in word_counts(source.pairs).items()]
    return say(
        "{} is number 1 in {} of {} settings, and at worst number {} of {} ({}). Against it, over all settings: {}.", who,
        str(places.count(1)), str(len(rows)), str(places[worst]), str(len(list(boards)[worst])), str(rows[worst]["setting"]),
        ", ".join(counts) or "nothing to compare",
    )  # fmt: skip


def told_of(source: Source, setting: str) -> Sentence:
    """Its place in a setting, and how many others are faster or slower than it."""
    board = stats.distinct(source.part(source.board, setting))
    row = board[board["setup"] == board["baseline"]].iloc[0]
    place = list(board["arm"]).index(row["arm"]) + 1
    lead = say(
        "On {}, {} is number {} of {}: median {}, {} seeds arrive.", setting, introduced(str(row["setup"])), str(place),
        str(len(board)), f"{num.steps(row['steps'])} steps", num.count(row["reached"], row["n"]),
    )  # fmt: skip
    return join([lead, answer.verdicts(source, setting, board)])
