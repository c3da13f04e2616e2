"""What a person sees in the terminal: the leaderboard, and clear last lines; progress is in display.py."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from initbench.cli import streams
from initbench.errors import printable
from initbench.grammar import number as exact
from initbench.grammar import plural, together


class Terminal(Console):
    """A console that shows text as it is given: no markup, no control codes; and that outlives who reads it."""

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, **how)

    def print(self, *objects: Any, **how: Any) -> None:
        """Text in one line, with what cannot be printed escaped, or a table."""
        streams.passing()
        try:
            super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **how)
        except BrokenPipeError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """rich would exit."""
        self.quiet = True
        streams.unread(self.file)


# a pipe or a file has no width of its own: wide enough for a leaderboard without broken lines
tty = sys.stdout is not None and sys.stdout.isatty()
out = Terminal(width=None if tty or "COLUMNS" in os.environ else 110)
err = Terminal(stderr=True)
DROPPED = ("loss", "95% interval", "lr", "x base")  # columns, in the order in which a narrow terminal goes without
SHOWN_ROWS = 20  # of a table, or of a list
SHOWN_SETTINGS = 6
ALL_ROWS = 60  # of all tables together


def leaderboard(board: Any, target: Any) -> None:
    """The leaderboard as a table."""
    if board.empty:
        return
    settings = list(dict.fromkeys(board["setting"]))
    shown = settings[:SHOWN_SETTINGS]
    most = min(SHOWN_ROWS, ALL_ROWS // len(shown))
    for setting in shown:
        rows = board[board["setting"] == setting]
        goal = f"steps to {target['metric']} {target['value']:g}" if target else "no target"
        lines = [cells(row, bool(target)) for row in rows.head(most).to_dict("records")]
        out.print(fitting(printable(f"{setting}: {goal}"), lines, out))
        if len(rows) > most:
            out.print(f"  {len(rows) - most:,} more in the report")
    if len(settings) > len(shown):
        out.print(f"{plural(len(settings) - len(shown), 'more setting')} in the report")


def fitting(title: str, lines: Sequence[dict[str, str]], console: Console) -> Table:
    """The table of these lines without the columns for which a console has no room: names are not cut."""
    names = list(lines[0])
    for left_out in (None, *DROPPED):
        names = [name for name in names if name != left_out]
        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in names:
            is_name = name == "setup"
            table.add_column(name, justify="left" if is_name else "right", no_wrap=not is_name, overflow="fold")
        for row in lines:
            table.add_row(*(row[name] for name in names))
        if Measurement.get(console, console.options, table).maximum < console.width:
            break
    return table


def cells(row: dict[str, Any], target: bool) -> dict[str, str]:
    """One row of the table as text, by column. Without a target nothing can arrive, or not: the ratio is of losses."""
    bad = "".join(f" {kind[0]}{row[kind]:g}" for kind in ("diverged", "failed") if row[kind])
    ratio = number(row["ratio"], ".2f")
    of_target = {
        "arrived": f"{number(row['reached'])}/{number(row['n'])}{bad}",
        "steps": steps(row["steps"]),
        "95% interval": interval(row["steps_low"], row["steps_high"]),
    }
    return {
        "": number(row["rank"]),
        "setup": printable(row["setup"]),
        "lr": exact(row["lr"]) if present(row["lr"]) else "",
        **(of_target if target else {"n": f"{number(row['n'])}{bad}"}),
        "x base": f"{ratio}x" if ratio else "",
        "verdict": printable(f"= {row['same_as']}") if row.get("same_as") else str(row.get("verdict") or ""),
        "loss": number(row["loss_train"], ".3g"),
    }


def present(value: Any) -> bool:
    """A number, infinity included."""
    return value is not None and value == value


def number(value: Any, form: str = "g") -> str:
    """A number, or nothing where there is none."""
    return format(value, form) if present(value) and math.isfinite(value) else ""


def steps(value: Any) -> str:
    """Steps to target; never arrived is `never`."""
    if not present(value):
        return ""
    return "never" if math.isinf(value) else f"{value:g}"


def interval(low: Any, high: Any) -> str:
    """Both ends of an interval of steps; nothing where nobody arrives."""
    if not present(low) or not present(high) or (math.isinf(low) and math.isinf(high)):
        return ""
    return f"{steps(low)}-{steps(high)}"


def trouble(arms: Sequence[tuple[str, str]]) -> None:
    """Arms that did not work, with the reason of each."""
    if not arms:
        return
    err.print(f"{plural(len(arms), 'arm')} without results:", style="bold")
    listed(
        [f"  {label}: {reason}" for label, reason in together(arms)], "  {} more in study.json, each with its reason"
    )


def listed(lines: Sequence[str], rest: str) -> None:
    """The first lines, and how many more there are."""
    for line in lines[:SHOWN_ROWS]:
        err.print(line)
    if len(lines) > SHOWN_ROWS:
        err.print(rest.format(f"{len(lines) - SHOWN_ROWS:,}"))
