"""What a person sees in the terminal: one progress display for the study, the leaderboard, and clear last lines."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from initbench.cli import streams
from initbench.errors import printable
from initbench.grammar import number as exact
from initbench.grammar import plural


class Terminal(Console):
    """A console that shows text as it is given: no markup, no control codes; and that outlives who reads it."""

    def __init__(self, **how: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=True, **how)

    def print(self, *objects: Any, **how: Any) -> None:
        """Text in one line, with what cannot be printed escaped, or a table."""
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
SHOWN_ROWS = 20


class Display:
    """Progress of a study: arms, runs, run-steps a second, time left; plain lines when not in a terminal."""

    def __init__(self, arms: int, runs: int, run_steps: int, done: Callable[[], int]) -> None:
        self.arms, self.runs, self.run_steps, self.done = arms, runs, run_steps, done
        self.finished_runs = 0
        self.by_arm: dict[str, int] = {}
        self.started = time.monotonic()
        self.bar: Progress | None = None
        self.told = self.started

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show it while the body runs."""
        if not self.run_steps:
            yield
            return
        if not err.is_terminal:
            yield
            self.line()
            return
        stop = threading.Event()
        columns = [
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task("training", total=self.run_steps, note="")

            def refresh() -> None:
                while not stop.wait(0.2):
                    bar.update(task, completed=min(self.done(), self.run_steps), note=self.note())

            thread = threading.Thread(target=refresh, daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()

    def note(self) -> str:
        """Runs done and run-steps a second."""
        rate = self.done() / max(time.monotonic() - self.started, 1e-9)
        return f"{self.finished_runs}/{self.runs} runs of {plural(self.arms, 'arm')}, {rate:,.0f} run-steps/s"

    def chunk_done(self, arm: Any, runs: int) -> None:
        """Called when a chunk of an arm is finished."""
        self.finished_runs += runs
        if not err.is_terminal and time.monotonic() - self.told > 10:
            self.told = time.monotonic()
            self.line()

    def line(self) -> None:
        """A plain line of progress."""
        elapsed = time.monotonic() - self.started
        share = self.done() / self.run_steps if self.run_steps else 1.0
        left = f", about {elapsed * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
        err.print(f"training: {self.note()}, {elapsed:.0f} s{left}")


def leaderboard(board: Any, target: Any) -> None:
    """The leaderboard as a table."""
    if board.empty:
        return
    settings = list(dict.fromkeys(board["setting"]))
    for setting in settings:
        rows = board[board["setting"] == setting]
        goal = f"steps to {target['metric']} {target['value']:g}" if target else "no target"
        table = Table(
            title=printable(f"{setting}: {goal}"),
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        shown = [cells(row, bool(target)) for row in rows.head(SHOWN_ROWS).to_dict("records")]
        for name in shown[0]:
            table.add_column(name, justify="left" if name == "setup" else "right", no_wrap=name != "setup")
        for row in shown:
            table.add_row(*row.values())
        out.print(table)
        if len(rows) > SHOWN_ROWS:
            out.print(f"  {len(rows) - SHOWN_ROWS} more in the report")


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
    if arms:
        err.print(f"{plural(len(arms), 'arm')} without results:", style="bold")
        for label, reason in arms:
            err.print(f"  {label}: {reason}")
