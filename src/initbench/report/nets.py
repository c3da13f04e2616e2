"""What the pages say of a family: how many different nets there are under the names, and who was compared with whom."""

from __future__ import annotations

import pandas as pd

from initbench import stats
from initbench.report import numbers as num
from initbench.report.source import Source
from initbench.report.words import Notice, Sentence, listed, say


def different(board: pd.DataFrame) -> str:
    """ ", 12 different nets" where there are fewer nets than names; else nothing."""
    nets = len(stats.distinct(board))
    return f", {nets:,} different nets" if nets < len(board) else ""


def counts(board: pd.DataFrame) -> Sentence:
    """How many nets there are under how many names, where it is not one each."""
    return say("{}{}.", num.plural(len(board), "setup"), found) if (found := different(board)) else ()


def about(source: Source) -> list[Notice]:
    """Setups that are one net under several names."""
    copies = source.board[source.board["same_as"] != ""]
    if copies.empty:
        return []
    names = [f"{row['setup']} = {row['same_as']}" for _, row in copies.iterrows()]
    text = "Equal steps and losses in every run that both have, so they are judged, counted and drawn once: {}."
    title = f"{num.plural(len(copies), 'setup is', 'setups are')} the same nets as another"
    return [Notice(title, say(text, listed(names, 8)))]
