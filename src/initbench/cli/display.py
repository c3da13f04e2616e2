"""Progress of a study: how much is done of all that is asked for, and how long the rest will take.

What was stored before counts as done, so a command that goes on after an interruption begins where the other ended; the
time left comes from the speed of this command alone.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from initbench.cli import streams, terminal
from initbench.grammar import duration, plural

REFRESH = 0.2  # seconds between two looks in a terminal
EVERY = 1.0  # without one
# a line after so many seconds, then after each 20th of the time, at most 300
FIRST_LINE, LINES, LONGEST = 10.0, 20, 300.0


def due(now: float, begun: float, told: float) -> bool:
    """Whether a log gets another line: more seldom the longer it takes.

    >>> due(9.0, 0.0, 0.0), due(10.0, 0.0, 0.0), due(1010.0, 0.0, 1000.0), due(1053.0, 0.0, 1000.0)
    (False, True, False, True)
    """
    return now - told >= min(max(FIRST_LINE, (now - begun) / LINES), LONGEST)


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """While the body runs, a thread does `work`, which ends when the event that it is given is set."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Done(NamedTuple):
    """What is done: runs, their steps, and work in any unit in which all runs take equally long."""

    runs: int
    run_steps: int
    work: float


class Speed:
    """Work a second, of late: of the last half of the time, so that what the first minutes are spent on is forgotten."""

    def __init__(self, now: float, work: float) -> None:
        self.begun, self.samples = now, deque([(now, work)])

    def add(self, now: float, work: float) -> None:
        """Note how far it is."""
        if now - self.samples[-1][0] >= 1.0:
            self.samples.append((now, work))
            late = now - max(30.0, (now - self.begun) / 2)
            while len(self.samples) > 1 and self.samples[1][0] <= late:
                self.samples.popleft()

    def left(self, now: float, work: float, total: float) -> float | None:
        """Seconds until all is done; None while nothing is known.

        >>> speed = Speed(0.0, 60.0)
        >>> speed.left(5.0, 60.0, 100.0) is None, speed.left(10.0, 70.0, 100.0)
        (True, 30.0)
        """
        then, before = self.samples[0]
        return (total - work) * (now - then) / (work - before) if work > before else None


class Display:
    """Share done, arms, runs, run-steps a second and time left: a bar in a terminal, else a plain line now and then.

    `done` is asked how far it is.
    """

    def __init__(self, arms: int, total: Done, done: Callable[[], Done]) -> None:
        self.arms, self.total, self.done = arms, total, done
        self.begun = self.told = time.monotonic()
        self.before = done()
        self.speed = Speed(self.begun, self.before.work)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show it while the body runs."""
        if self.before.runs >= self.total.runs or not self.total.run_steps:
            yield
            return
        if not terminal.err.is_terminal:  # a notebook is none
            in_cell = terminal.err.is_jupyter
            with meanwhile(self.cell if in_cell else self.lines):
                yield
            if in_cell:
                streams.write(f"\r{self.text():<110}", sys.stderr)
            else:
                self.line()
            return
        columns = (
            *(TextColumn("training"), BarColumn(), TextColumn("{task.percentage:3.0f}%")),
            *(TextColumn("{task.fields[note]}"), TimeElapsedColumn(), TextColumn("{task.fields[left]}")),
        )
        with Progress(*columns, console=terminal.err, transient=True) as bar:
            task = bar.add_task("training", total=self.total.work, note="", left="")
            bar.update(task, completed=self.before.work)

            def refresh(stop: threading.Event) -> None:
                while not stop.wait(REFRESH):
                    done, left = self.look()
                    bar.update(task, completed=min(done.work, self.total.work), note=self.note(done), left=left)

            with meanwhile(refresh):
                yield

    def look(self) -> tuple[Done, str]:
        """How far it is, and the time left in words."""
        now, done = time.monotonic(), self.done()
        self.speed.add(now, done.work)
        left = self.speed.left(now, done.work, self.total.work)
        return done, f"about {duration(left)} left" if left is not None and done.work < self.total.work else ""

    def note(self, done: Done) -> str:
        """Runs done of all, and run-steps a second since the command began."""
        rate = (done.run_steps - self.before.run_steps) / max(time.monotonic() - self.begun, 1e-9)
        return f"{done.runs:,}/{self.total.runs:,} runs of {plural(self.arms, 'arm')}, {rate:,.0f} run-steps/s"

    def lines(self, stop: threading.Event) -> None:
        """Plain lines until `stop`, more seldom the longer it takes."""
        while not stop.wait(EVERY):
            now = time.monotonic()
            if due(now, self.begun, self.told):
                self.told = now
                self.line()
            else:
                self.look()

    def cell(self, stop: threading.Event) -> None:
        """One line below a notebook's cell, written over until `stop`."""
        while not stop.wait(EVERY):
            print(f"\r{self.text():<110}", end="", file=sys.stderr, flush=True)

    def line(self) -> None:
        """A plain line of progress."""
        terminal.err.print(self.text())

    def text(self) -> str:
        """How far it is, in one line."""
        done, left = self.look()
        share = f"{100 * min(done.work / self.total.work, 1.0):.0f}%" if self.total.work else "100%"
        text = f"training: {share}, {self.note(done)}, {time.monotonic() - self.begun:.0f} s"
        return f"{text}, {left}" if left else text
