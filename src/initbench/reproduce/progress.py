"""Progress over all studies of a command: which one, how many runs are done, and how long the rest will take.

Runs that the store has are read, not trained: they count as done, and say nothing of how fast training goes.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from initbench.cli import streams
from initbench.cli.display import due, meanwhile
from initbench.grammar import duration, plural
from initbench.reproduce.work import NOTHING, Work, total

EVERY = 1.0  # seconds between two looks whether a line is due
FEW = 20.0  # expected seconds that have to be trained before their pace counts more than the number of cores


def tell(text: str) -> None:
    """A line on stdout, at once, if anybody reads it."""
    streams.write(text, sys.stdout)


def origin(trained: int, read: int) -> str:
    """Where runs come from.

    >>> origin(3, 1200), origin(0, 5), origin(1, 0)
    ('3 runs trained, 1,200 read from the store', '5 read from the store', '1 run trained')
    """
    said = [f"{plural(trained, 'run')} trained"] * bool(trained) + [f"{read:,} read from the store"] * bool(read)
    return ", ".join(said) or "no runs"


@dataclass
class Stored:
    """Runs in the store at `root`, counted from part files as they appear."""

    root: Path
    seen: dict[Path, int] = field(default_factory=dict)

    def runs(self) -> int:
        """How many there are now."""
        from pyarrow import ArrowException
        from pyarrow.parquet import read_metadata

        for path in self.root.glob("*/part-*.parquet"):
            if path not in self.seen:
                try:
                    self.seen[path] = read_metadata(path).num_rows
                except (OSError, ArrowException):  # not whole yet
                    continue
        return sum(self.seen.values())


@dataclass
class Progress:
    """`plans`: {study: {sweep: its work}}, of all studies in their order; `cores`: processes that train."""

    plans: Mapping[str, Mapping[str, Work]]
    stored: Stored
    cores: int
    clock: Callable[[], float] = time.monotonic
    begun: float = 0.0
    study: str = ""
    done: Work = NOTHING  # of the sweeps that ended
    trained: float = 0.0  # expected seconds of what was trained
    took: float = 0.0  # seconds that it took
    runs: tuple[int, int] = (0, 0)  # trained by this command, read from the store
    under_way: Callable[[], tuple[Work, float]] | None = None  # (trained, seconds) of the sweep that trains now

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @property
    def all(self) -> Work:
        return total(one for plan in self.plans.values() for one in plan.values())

    def begin(self, study: str) -> None:
        """A study begins."""
        self.study = study
        tell(self.line())

    def line(self) -> str:
        """Which study this is of how many, and how far all of them are."""
        return f"study {list(self.plans).index(self.study) + 1} of {len(self.plans)}, {self.note()}"

    def end(self, study: str) -> None:
        """A study ended, also one that failed: what it has not said counts as done."""
        names = list(self.plans)
        self.done = total(one for name in names[: names.index(study) + 1] for one in self.plans[name].values())

    @contextmanager
    def sweep(self, name: str) -> Iterator[Callable[[int], None]]:
        """A sweep of the study. Give it the number of its runs when they are there: it says how many were trained."""
        planned = self.plans[self.study].get(name, NOTHING)
        before, began = self.stored.runs(), self.clock()
        asked: list[int] = []

        def trained() -> tuple[Work, float]:
            new = min(self.stored.runs() - before, planned.runs)
            share = new / planned.runs if planned.runs else 0.0
            return Work(new, share * planned.seconds), self.clock() - began

        self.under_way = trained
        try:
            with meanwhile(self.lines):
                yield asked.append
        finally:
            self.under_way = None
        new, took = trained()
        self.done += planned
        if new.runs:
            self.trained, self.took = self.trained + new.seconds, self.took + took
        here = self.stored.runs() - before
        kept = max(0, sum(asked) - here)
        self.runs = self.runs[0] + here, self.runs[1] + kept
        tell(f"  {origin(here, kept)}, {duration(took)}")

    def lines(self, stop: threading.Event) -> None:
        """A line now and then until `stop`, more seldom the longer it takes."""
        began = told = self.clock()
        while not stop.wait(EVERY):
            now = self.clock()
            if due(now, began, told):
                told = now
                tell(f"  {self.line()}")

    def note(self) -> str:
        """Runs done, time since the beginning, and time left."""
        now, took = self.under_way() if self.under_way else (NOTHING, 0.0)
        rest = self.all.seconds - self.done.seconds - now.seconds
        left = f", about {duration(rest * self.pace(now.seconds, took))} left" if rest > 0 else ""
        passed = duration(self.clock() - self.begun)
        return f"{self.done.runs + now.runs:,}/{self.all.runs:,} runs done, {passed}{left}"

    def pace(self, trained: float = 0.0, took: float = 0.0) -> float:
        """Seconds that an expected second of one core takes: by the number of cores at first, then by what was trained."""
        return (FEW / self.cores + self.took + took) / (FEW + self.trained + trained)

    def total(self) -> str:
        """How long all of it took, and where its runs come from."""
        return f"{plural(len(self.plans), 'study', 'studies')} in {duration(self.clock() - self.begun)}; {origin(*self.runs)}"
