"""Training the arms of a plan, here or in a job of another launcher: what goes wrong with one is stored."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from initbench.config.arm import Run
from initbench.disk import make_folder, write_text
from initbench.errors import InputError, NotApplicable
from initbench.startup.processes import cores
from initbench.store.parts import Store
from initbench.study.pace import most_runs
from initbench.study.plan import PlannedArm
from initbench.study.pool import Pool, WorkerKilled, chunks

Runs = Sequence[Run]
SMALL_WORK = 2e10  # operations that take less time in this process than other processes take to start


@dataclass
class Training:
    """Trains arms with one pool. `submit` returns before the work is done, `drain` waits for all of it."""

    root: Path
    pool: Pool
    rerun: bool = False
    told: Callable[[PlannedArm, int], None] = lambda arm, runs: None  # after each chunk
    waiting: list[tuple[PlannedArm, Runs, Future[None]]] = field(default_factory=list)
    killers: set[str] = field(default_factory=set)  # keys of arms that end the worker that trains them
    given: dict[str, set[Run]] = field(
        default_factory=dict
    )  # runs taken on, by arm key: a control may serve several arms

    def train(self, arms: Iterable[PlannedArm]) -> None:
        """Train what is missing of these arms; what goes wrong with one is noted, and the others go on."""
        for arm in arms:
            try:
                self.submit(arm)
            except Exception as error:
                note_failure(self.root, arm.key, error)
        self.drain()

    def submit(self, arm: PlannedArm) -> None:
        """Hand the missing runs of an arm to the pool, and wait while it has more than it can start soon."""
        given = self.given.setdefault(arm.key, set())
        new = [run for run in arm.config.runs if run not in given]
        if not new:
            return
        given.update(new)
        failure_path(self.root, arm.key).unlink(missing_ok=True)  # it starts with a clean record
        done = set() if self.rerun else Store(self.root).runs(arm.key)
        missing = [run for run in new if run not in done]
        for runs in chunks_of(arm, missing, self.pool.workers):
            if arm.key in self.killers:
                return
            self.waiting.append((arm, runs, self.pool.submit(arm.config, runs, self.root, arm.key)))
            self.drain(keep=2 * self.pool.workers)

    def drain(self, keep: int = 0) -> None:
        """Wait until at most `keep` chunks are under way."""
        while len(self.waiting) > keep:
            arm, runs, future = self.waiting.pop(0)
            try:
                self.finish(arm, runs, future)
            except Exception as error:
                if isinstance(error, WorkerKilled):
                    self.killers.add(arm.key)
                note_failure(self.root, arm.key, error)
            else:
                self.told(arm, len(runs))

    def finish(self, arm: PlannedArm, runs: Runs, future: Future[None]) -> None:
        """Wait for a chunk. One killed worker ends all of its pool: those under way are then trained one at a time, once
        each, so that only the arm that kills them fails."""
        try:
            future.result()
        except BrokenProcessPool:
            if arm.key in self.killers:
                return
            self.pool.alone(arm.config, runs, self.root, arm.key)


def chunks_of(arm: PlannedArm, runs: Runs, workers: int) -> list[list[Run]]:
    """The runs of an arm as they are trained and stored: at most about a minute of work at once."""
    trainer = arm.trainer[0].name
    return chunks(arm.config, runs, arm.layers, workers, arm.sees_whole_net, trainer, most_runs(arm))


def functions(arms: Sequence[PlannedArm]) -> list[tuple[str, str]]:
    """What the trainers of these arms have to compile."""
    found = {arm.trainer[0].name: arm.trainer[0] for arm in arms}
    return [
        one
        for name, trainer in found.items()
        for one in trainer.functions(arm.config for arm in arms if arm.trainer[0].name == name)
    ]


def workers_of(study: Any, left: Mapping[str, int]) -> int:
    """Processes that train so many runs of each arm: those asked for, else one a core, or none beside this one where
    there is little to do."""
    work = sum(arm.costs()["flops_per_step"] * arm.config.train.steps * left[arm.key] for arm in study.arms)
    small = work < SMALL_WORK and not study.config.decide.enabled
    return int(study.arms[0].config.engine.workers or (1 if small else cores()))


def needs_hydra(plan: Any) -> bool:
    """Whether Hydra has to run the jobs: another launcher than the one that trains here, or Hydra's logs or callbacks."""
    hydra, choices = plan.hydra, plan.hydra.runtime.choices
    logs = [choices.get(f"hydra/{name}_logging") for name in ("job", "hydra")]
    return (
        choices.get("hydra/launcher") != "basic" or logs != ["none", "none"] or bool(hydra.verbose or hydra.callbacks)
    )


def failure_path(root: Path, key: str) -> Path:
    """Where the reason of a failed arm stands."""
    return root / key / "failure.json"


def note_failure(root: Path, key: str, error: BaseException) -> None:
    """Write down why an arm failed; the runs it has finished stay.

    A disk that refuses a file is no fault of the arm, and nothing more can be stored: that OSError ends the command.
    """
    if isinstance(error, OSError) and error.filename:
        raise error
    kind = "not applicable" if isinstance(error, NotApplicable) else "failed"
    known = isinstance(error, (InputError, NotApplicable, WorkerKilled))
    first_line = (str(error).splitlines() or [""])[0]
    reason = first_line if known else f"{type(error).__name__}: {first_line}"
    path = failure_path(root, key)
    trace = "".join(traceback.format_exception(error))
    make_folder(path.parent)
    write_text(path, json.dumps({"status": kind, "reason": reason, "traceback": trace}, indent=1))


def ended(root: Path, key: str) -> dict[str, str | None]:
    """Status and reason of an arm as study.json has them: without a record, it is done."""
    found = failure(root, key) or {}
    return {"status": found.get("status", "done"), "reason": found.get("reason")}


def failure(root: Path, key: str) -> dict[str, str] | None:
    """The record of a failed arm, or None."""
    with suppress(OSError, ValueError):  # none, or a damaged one
        found = json.loads(failure_path(root, key).read_text("utf-8"))
        if isinstance(found, dict) and all(isinstance(found.get(name), str) for name in ("status", "reason")):
            return found
    return None
