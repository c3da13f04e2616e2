"""What a person sees of a board in the terminal: the place of one initializer among its neighbours, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from initbench.cli import terminal
from initbench.errors import printable
from initbench.grammar import listed, plural
from initbench.leaderboard.board import Board
from initbench.leaderboard.judged import WORDS, over_settings
from initbench.leaderboard.tables import GROUP_TEXT, WHY
from initbench.report.numbers import interval, times
from initbench.stats.rates import GATE

AROUND = 3  # neighbours on either side


def show(board: Board, name: str) -> None:
    """The table and the sentence below it."""
    baseline = board.grid.baseline
    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("", "rank", "95%", "initializer", "x base", "95% interval", "over all", "f/e/s/u", "group"):
        shown.add_column(head, justify="left" if head in ("initializer", "group") else "right", no_wrap=True)
    for other in neighbours(board.order, [name, baseline], AROUND):
        rank, low, high = board.place(other)
        row, counts, group = board.against_baseline.loc[other], board.counts(other), board.group(other)
        shown.add_row(
            ">" if other == name else "", str(rank), f"{low}-{high}", printable(other), times(row["ratio"]),
            interval(row["low"], row["high"], times), str(row["verdict"]), "/".join(str(counts[word]) for word in WORDS),
            GROUP_TEXT.get(group, group),
        )  # fmt: skip
    terminal.out.print(shown)
    for line in sentences(board, name):
        terminal.out.print(line)


def neighbours(order: Sequence[str], names: Sequence[str], around: int) -> list[str]:
    """Those near the first of `names`, and the others of them, in order.

    >>> neighbours(["a", "b", "c", "d", "e"], ["d", "a"], 1)
    ['a', 'c', 'd', 'e']
    """
    at = order.index(names[0])
    return [one for i, one in enumerate(order) if abs(i - at) <= around or one in names]


def sentences(board: Board, name: str) -> list[str]:
    """Its place, what it is beside the baseline, and whom it cannot be told from."""
    rank, low, high = board.place(name)
    baseline, row = board.grid.baseline, board.against_baseline.loc[name]
    n = f"{plural(len(board.grid.settings), 'setting')}, {plural(board.standing.seeds, 'seed')} each"
    lines = ["f/e/s/u: settings in which it is faster, equivalent, slower, undecided"]
    lines += [f"{name}: place {rank} of {len(board.order)}, 95% interval {low} to {high} ({n})"]
    if name != baseline:
        span = interval(row["low"], row["high"], times)
        why = WHY.get(str(row["why"]), "")
        word = f"{row['verdict']} ({why})" if why else row["verdict"]
        lines.append(f"against {baseline} over all settings: {word}, {times(row['ratio'])} {span} the steps")
    others = over_settings(board.standing, name, board.edges)
    open_ = [one for one in board.order if one != name and others["verdict"][one] in ("undecided", "equivalent")]
    rare = [one for one in open_ if others["why"][one] == "steps"]
    like = [one for one in open_ if one not in rare]
    if like or not rare:
        told = (
            f"cannot be told from: {listed(like, 8)}" if like else "differs from every other initializer of the board"
        )
        lines.append(told)
    if rare:
        lines.append(
            f"not compared with those that arrive in less than {GATE:.0%} of their runs, as it does: {listed(rare, 8)}"
        )
    never = round((1 - row["share"]) * board.standing.reached[0].size)
    if never:
        lines.append(
            f"never arrived: {never} of {board.standing.reached[0].size} runs at the chosen rates, counted as the budget"
        )
    return lines
