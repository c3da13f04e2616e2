"""How long the rounds of a study took, and at how many seeds it was looked at: a note in the study's folder.

Without it the same command would go further than the first one, which ended by its limit of time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from initbench.config.arm import digest
from initbench.disk import make_folder, write_text

NOTE = ".rounds.json"
OFTEN = 1.0  # seconds between two notes of a round under way


class Clock:
    """The note at `folder`; what a person has edited or torn counts as none. `asked`: digest of the question, without
    which looks at other arms would be counted."""

    def __init__(self, folder: Path, asked: str) -> None:
        self.path, self.asked = folder / NOTE, asked
        self.rounds: dict[str, list[Any]] = {}  # digest of what was asked -> seconds, whether it is done
        self.looked: list[int] = []
        self.began = self.noted = self.had = 0.0
        self.now = ""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content.pop("whole") == digest(content):
                self.rounds = content["rounds"]
                self.looked = content["looked"] if content["asked"] == asked else []
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass

    def start(self, what: str) -> None:
        """A round that asks for `what` begins. One that was interrupted adds to its time."""
        seconds, done = self.rounds.get(what, [0.0, False])
        self.now, self.had = what, 0.0 if done else seconds
        self.began = self.noted = time.monotonic()

    def stop(self, anew: bool) -> None:
        """The round is over. One that was done before keeps its time, unless runs were trained `anew`."""
        if anew or not self.rounds.get(self.now, [0.0, False])[1]:
            self.note(done=True)

    def tick(self) -> None:
        """Some of a round is done."""
        if time.monotonic() - self.noted > OFTEN:
            self.note(done=False)

    def note(self, done: bool) -> None:
        """Write down the time of the round under way."""
        self.noted = time.monotonic()
        self.rounds[self.now] = [round(self.had + self.noted - self.began, 3), done]
        self.write()

    def look(self, size: int) -> None:
        """Write down that the study was looked at with so many seeds."""
        if size not in self.looked:
            self.looked = sorted([*self.looked, size])
            self.write()

    def seconds(self, what: Iterable[str]) -> float:
        """How long rounds took, together."""
        return float(sum(self.rounds[one][0] for one in what))

    def write(self) -> None:
        content = {"asked": self.asked, "looked": self.looked, "rounds": self.rounds}
        make_folder(self.path.parent)
        write_text(self.path, json.dumps({"whole": digest(content), **content}))
