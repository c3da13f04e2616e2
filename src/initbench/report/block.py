"""What a block of the page is made of: one question, an answer per setting, and the drawing of its figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from initbench import stats
from initbench.report import numbers as num
from initbench.report.figures.common import thin_rows
from initbench.report.source import Source
from initbench.report.svg import Styles, inline_svg
from initbench.report.words import Sentence, plain

MOST_SETTINGS = 6  # that are each told and drawn; of more, FEW_SETTINGS are drawn, and the tables hold all
FEW_SETTINGS = 3
MOST_ARMS = 1000  # of the table of all arms, 1 MB of page


@dataclass
class Item:
    """What a block shows for one setting."""

    sentence: Markup
    figure: Markup | None = None
    n: str = ""
    setting: str | None = None
    table: dict[str, Any] | None = None  # rendered by the template: kind, heads, rows
    more: tuple[str, Markup] | None = None  # summary and figure inside <details>


@dataclass
class Block:
    """A question and its answers, those of several settings folded."""

    key: str
    short: str  # in the navigation
    question: str
    how: list[str]
    items: list[Item] = field(default_factory=list)
    left_out: str = ""

    @property
    def groups(self) -> list[tuple[str | None, list[Item]]]:
        """The items of each setting together; those of no setting for themselves."""
        return [(setting, list(items)) for setting, items in groupby(self.items, key=lambda item: item.setting)]


class Draw:
    """Figures of one page: keys stay unique, styles are collected."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.styles = Styles()
        listed = in_table(source.board)
        self.names = dict(zip(source.board["arm"], source.board["setup"]))
        self.arms = {row["arm"]: (f"#arm-{i}", tip(row)) for i, (_, row) in enumerate(listed.iterrows())}
        self.figures: list[tuple[str, str, Figure]] = []  # key, title: for files of their own

    def svg(self, figure: Figure, name: str, setting: str, title: str, sentence: Sentence) -> Markup:
        key = f"{name}{self.source.settings.index(setting)}"
        self.figures.append((key, title, figure))
        return inline_svg(figure, key, title, plain(sentence), self.styles, self.arms)


def tip(row: pd.Series) -> str:
    """An arm's numbers in one line, for hovering."""
    parts = [
        f"{row['setup']}: #{row['rank']}",
        f"{num.steps(row['steps'])} steps {num.interval(row['steps_low'], row['steps_high'])}",
    ]
    if not num.is_missing(row["ratio"]):
        parts.append(f"{num.times(row['ratio'])} {num.interval(row['ratio_low'], row['ratio_high'], num.times)}")
    parts += [f"{num.count(row['reached'], row['n'])} arrived", f"lr {num.rate(row['lr'])}", str(row["verdict"])]
    return ", ".join(part.strip() for part in parts)


def in_table(board: pd.DataFrame, most: int = MOST_ARMS) -> pd.DataFrame:
    """The rows of the table of all arms: where there are more, the first of each setting and its baseline."""
    if len(board) <= most:
        return board
    each = max(1, most // board["setting"].nunique())
    return board[(board["rank"] <= each) | (board["setup"] == board["baseline"])]


def drawn_settings(source: Source) -> list[str]:
    """The settings that get figures."""
    return source.settings[: MOST_SETTINGS if len(source.settings) <= MOST_SETTINGS else FEW_SETTINGS]


def settings_of(source: Source) -> Iterator[tuple[str, pd.DataFrame, str | None]]:
    """(setting, its leaderboard with each net once, its heading if there are several) for those that get figures."""
    several = len(source.settings) > 1
    for setting in drawn_settings(source):
        yield setting, stats.distinct(source.part(source.board, setting)), setting if several else None


def n_of(board: pd.DataFrame) -> str:
    seeds = sorted({int(n) for n in board["n"]})
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]}–{seeds[-1]}"
    return f"n = {span} seeds per setup, {num.plural(len(board), 'setup')}"


def not_drawn(left: int) -> str:
    """That so many setups have no curves of their own; nothing where all have."""
    return f"; {left:,} more setups not drawn: history.parquet" if left else ""


def thinned(board: pd.DataFrame) -> str:
    left = len(board) - len(thin_rows(board))
    return f"; {left:,} more in the table" if left else ""
