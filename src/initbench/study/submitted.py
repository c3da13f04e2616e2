"""Jobs that outlive the command that submits them: which there are, what each trains, and how it ended.

`.jobs.json` in the study's folder keeps them until all have ended, so that nothing is submitted twice.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from initbench.config.arm import Run
from initbench.disk import write_text
from initbench.errors import refusal
from initbench.grammar import listed, plural
from initbench.store.parts import Store
from initbench.study import queues
from initbench.study.jobs import Job
from initbench.study.queues import GONE, NoAnswer

FILE = ".jobs.json"
SOON, LATE = 1.0, 15.0  # seconds between two looks at the queue, at first and later
TOLD = 60.0  # seconds between two lines about the states of jobs
SHOWN = 3  # jobs that are named of those in one state


@dataclass(frozen=True)
class Submitted:
    """One job of a cluster."""

    id: str
    kind: str  # of its launcher
    runs: Mapping[str, frozenset[Run]]
    log: str  # the file of what went wrong in it
    state: str = "PENDING"

    @property
    def alive(self) -> bool:
        return queues.alive(self.state)


@dataclass(frozen=True)
class Absent:
    """Why runs are not there after training; false where nothing is known to have gone wrong."""

    launcher: str = ""  # why it broke down
    arms: Mapping[str, str] = field(default_factory=dict)  # arm key -> what became of its jobs
    queued: frozenset[str] = frozenset()  # keys of arms that some job may still train
    jobs: str = ""  # those that may, in words

    def __bool__(self) -> bool:
        return bool(self.launcher or self.arms)

    def __str__(self) -> str:
        return self.launcher or next(iter(self.arms.values()), "")


NOTHING = Absent()


@dataclass
class Queue:
    """The jobs of a study."""

    folder: Path
    jobs: list[Submitted] = field(default_factory=list)

    @staticmethod
    def of(folder: Path) -> Queue:
        """Those that are noted in a study's folder, as they are now; raises InputError where they cannot be asked for."""
        path = folder / FILE
        try:
            content = json.loads(path.read_text("utf-8")) if path.exists() else []
            queue = Queue(folder, [job_of(one) for one in content])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise refusal(path, "not a list of jobs", "remove it, once no job of this study is queued") from None
        try:
            queue.look()
        except NoAnswer as error:
            raise refusal(path, f"its jobs cannot be asked for: {error}", "try again later") from None
        return queue

    @property
    def alive(self) -> list[Submitted]:
        """Jobs that are queued or running."""
        return [job for job in self.jobs if job.alive]

    @property
    def taken(self) -> dict[str, frozenset[Run]]:
        """Runs that are left to a job, by arm key: also to one that died, while others go on."""
        found: dict[str, frozenset[Run]] = {}
        for job in self.jobs if self.alive else ():
            for key, runs in job.runs.items():
                found[key] = found.get(key, frozenset()) | runs
        return found

    def look(self) -> None:
        """Ask for the state of every job that had not ended; raises NoAnswer."""
        known: dict[str, str] = {}
        for kind in {job.kind for job in self.alive}:
            known |= queues.states(kind, [job.id for job in self.alive if job.kind == kind])
        jobs = [replace(job, state=known.get(job.id, job.state)) for job in self.jobs]
        if jobs != self.jobs:
            self.jobs = jobs
            self.note()  # Slurm forgets how a job has ended

    def add(self, jobs: Iterable[Submitted]) -> None:
        """Note jobs that have been submitted."""
        self.jobs += jobs
        self.note()

    def forget(self) -> None:
        """No job of the study is queued or running any more."""
        self.jobs = []
        self.note()

    def note(self) -> None:
        """Write them down, or that there are none."""
        path = self.folder / FILE
        if not self.jobs:
            path.unlink(missing_ok=True)
            return
        write_text(path, json.dumps([content_of(job) for job in self.jobs], indent=1) + "\n")

    def wait(self, tick: Callable[[], None], say: Callable[[str], None]) -> None:
        """Wait until every job has ended; Slurm may be out of reach meanwhile. `say`: told of other states now and then."""
        pause, told, then = SOON, counted(self.alive), time.monotonic()
        say(told)
        while self.alive:
            time.sleep(pause)
            pause = min(LATE, pause * 1.2)
            tick()
            with suppress(NoAnswer):
                self.look()
            if counted(self.alive) != told and time.monotonic() - then > TOLD:
                told, then = counted(self.alive), time.monotonic()
                say(told)

    def missing(self, root: Path) -> dict[str, list[Submitted]]:
        """Arm key -> the jobs that have not trained all of its runs that they were asked for (yet)."""
        store, found = Store(root), dict[str, list[Submitted]]()
        stored = {key: store.runs(key) for job in self.jobs for key in job.runs}
        for job in self.jobs:
            for key, runs in job.runs.items():
                if runs - stored[key]:
                    found.setdefault(key, []).append(job)
        return found

    def absent(self, root: Path) -> Absent:
        """What became of jobs that have not trained all of their runs."""
        missing = self.missing(root)
        queued = frozenset(key for key, jobs in missing.items() if any(job.alive for job in jobs))
        return Absent("", {key: reason(jobs) for key, jobs in missing.items()}, queued, counted(self.alive))


def reason(jobs: Sequence[Submitted]) -> str:
    """Why an arm that these jobs train has no results."""
    if any(job.alive for job in jobs):
        return f"{said(jobs)}; the same command collects it"
    return f"{said(jobs)}; run the same command again"


def said(jobs: Sequence[Submitted]) -> str:
    """Jobs by their state, and where to read more.

    >>> said([Submitted(f"17_{i}", "slurm", {}, "a.err", state) for i, state in enumerate(["TIMEOUT"] * 5 + ["FAILED"])])
    'jobs 17_0, 17_1, 17_2 and 2 more TIMEOUT, job 17_5 FAILED (see a.err)'
    """
    by_state: dict[str, list[Submitted]] = {}
    for job in jobs:
        by_state.setdefault(job.state, []).append(job)
    return ", ".join(of_state(state, some) for state, some in by_state.items())


def of_state(state: str, jobs: Sequence[Submitted]) -> str:
    """Jobs of one state in words."""
    named = listed([job.id for job in jobs], SHOWN)
    see = "" if known(jobs[0]) else f" (see {jobs[0].log})"
    return f"{'job' if len(jobs) == 1 else 'jobs'} {named} {state}{see}"


def known(job: Submitted) -> bool:
    """Whether the state of a job says all."""
    return job.alive or job.state not in (GONE, "FAILED", "COMPLETED")


def counted(jobs: Sequence[Submitted]) -> str:
    """How many jobs are in which state, and what would end them; nothing where there are none.

    >>> counted([Submitted(f"17_{i}", "slurm", {}, "", state) for i, state in enumerate(["RUNNING", "PENDING (Priority)"])])
    '2 jobs, 1 RUNNING, 1 PENDING (Priority) (scancel 17 ends them)'
    """
    if not jobs:
        return ""
    states = [f"{n} {state}" for state, n in Counter(job.state for job in jobs).items()]
    ends = [f"{CANCEL[kind]} {' '.join(dict.fromkeys(job.id.split('_')[0] for job in jobs if job.kind == kind))}"
            for kind in CANCEL if any(job.kind == kind for job in jobs)]  # fmt: skip
    them = "it" if len(jobs) == 1 else "them"
    return f"{plural(len(jobs), 'job')}, {', '.join(states)} ({' and '.join(ends)} ends {them})"


CANCEL = {"slurm": "scancel", "local": "kill"}


def content_of(job: Submitted) -> dict[str, Any]:
    """A job as the file holds it."""
    runs = {key: sorted(map(list, some)) for key, some in job.runs.items()}
    return {"id": job.id, "kind": job.kind, "log": job.log, "state": job.state, "runs": runs}


def job_of(content: Mapping[str, Any]) -> Submitted:
    """A job of the file; what is none raises."""
    runs = {
        str(key): frozenset(Run(int(seed), float(lr)) for seed, lr in some) for key, some in content["runs"].items()
    }
    if content["kind"] not in queues.STATES or not re.fullmatch(r"\d+(_\d+)?", content["id"]):
        raise ValueError(content["kind"], content["id"])
    return Submitted(content["id"], content["kind"], runs, str(content["log"]), str(content["state"]))


def submitted(job: Job, kind: str, handle: Any) -> Submitted:
    """A job after its launcher has submitted it; `handle`: submitit's."""
    log = os.path.relpath(handle.paths.stderr)
    return Submitted(str(handle.job_id), kind, job.runs, min(log, str(handle.paths.stderr), key=len))
