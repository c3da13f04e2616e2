"""Two ways to draw inputs: Hypothesis at random, which makes findings small, and atheris, which follows the code covered."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from . import findings
from .judge import Finding, judge
from .targets import Target

SHRINKING = 60.0  # seconds for one finding
ROUND = 300  # inputs after which Hypothesis starts anew
QUIET = settings(
    deadline=None,
    database=None,
    print_blob=False,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


class Found(Exception):
    """Tells Hypothesis that an input is to be made smaller."""


@dataclass
class Session:
    """One target being tried: what it has seen, and where findings go."""

    name: str
    target: Target
    folder: Path
    until: float
    current: Path | None = None  # the input at work, for who watches this process
    told: Callable[[str], None] = lambda text: None
    inputs: int = 0
    keys: set[str] = field(default_factory=set)
    last: float = 0.0

    def over(self) -> bool:
        return time.monotonic() > self.until

    def tried(self, given: Any) -> Finding | None:
        """Judge one input; a finding is kept."""
        if self.current is not None:
            self.current.write_text(repr(given), encoding="utf-8", errors="backslashreplace")
        finding = judge(self.target.run, given)
        self.inputs += 1
        if finding is not None:
            self.keys.add(finding.key)
            findings.save(self.folder, self.name, finding, given)
        if time.monotonic() - self.last > 1:
            self.tell()
        return finding

    def tell(self) -> None:
        self.last = time.monotonic()
        self.told(json.dumps({"inputs": self.inputs, "findings": sorted(self.keys)}))


def by_hypothesis(session: Session, seed: int) -> None:
    """Rounds of inputs until the time is over; each new finding is made smaller, then it is known."""
    known: set[str] = set()
    while not session.over():
        known.update(smaller(session, seed, known))
        seed += 1


def smaller(session: Session, seed: int, known: set[str]) -> list[str]:
    """A round of inputs, up to the first finding that is not known, which is made smaller; gives its key."""
    found: list[str] = []
    end = [session.until]

    @seeded(seed)
    @settings(QUIET, max_examples=ROUND, phases=[Phase.generate, Phase.shrink])
    @given(session.target.inputs())
    def one(value: Any) -> None:
        if time.monotonic() > min(end[0], session.until):
            return
        finding = session.tried(value)
        if finding is None or (finding.key in known if not found else finding.key != found[0]):
            return
        if not found:
            found.append(finding.key)
            end[0] = time.monotonic() + SHRINKING
        raise Found(finding.key)

    with contextlib.suppress(Exception):  # Found, or that it is flaky once the time for it is over
        one()
    return found


def few(session: Session, seed: int, examples: int) -> None:
    """A fixed number of inputs, the same each time."""

    @seeded(seed)
    @settings(QUIET, max_examples=examples, phases=[Phase.generate])
    @given(session.target.inputs())
    def one(value: Any) -> None:
        session.tried(value)

    one()


def by_atheris(session: Session, seed: int) -> None:
    """Bytes that reach new code are kept and mutated further; the strategy makes an input of them. Ends the process."""
    import atheris

    @settings(QUIET)
    @given(session.target.inputs())
    def one(value: Any) -> None:
        session.tried(value)

    def fuzz(content: bytes) -> None:
        with contextlib.suppress(Exception):
            one.hypothesis.fuzz_one_input(content)
        if session.over():
            session.tell()
            sys.stdout.flush()
            os._exit(0)

    flags = [f"-seed={seed % 2**31 or 1}", "-max_len=4096", "-rss_limit_mb=0", "-timeout=0", "-handle_alrm=0"]
    atheris.Setup([sys.argv[0], *flags, "-verbosity=0", "-len_control=0"], fuzz)
    atheris.Fuzz()
