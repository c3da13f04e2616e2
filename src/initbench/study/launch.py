"""One Hydra job = one arm. A job never raises: what goes wrong is stored, and the study says it at its end."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from initbench.config.arm import ArmConfig
from initbench.errors import InputError, NotApplicable
from initbench.startup.processes import cores
from initbench.store.files import naming, replacing
from initbench.store.parts import Store
from initbench.study.plan import PlannedArm, planned
from initbench.study.pool import Pool, WorkerKilled, chunks

Runs = Sequence[tuple[int, float]]


@dataclass
class Trainer:
    """Trains arms with one pool. `submit` returns before the work is done, `drain` waits for all of it."""

    root: Path
    pool: Pool
    rerun: bool = False
    told: Callable[[PlannedArm, int], None] = lambda arm, runs: None  # after each chunk
    waiting: list[tuple[PlannedArm, Runs, Future[None]]] = field(default_factory=list)
    killers: set[str] = field(default_factory=set)  # keys of arms that end the worker that trains them
    given: set[str] = field(default_factory=set)  # keys of the arms taken on: a control may serve several arms

    def submit(self, arm: PlannedArm) -> None:
        """Hand the missing runs of an arm to the pool, and wait while it has more than it can start soon."""
        if arm.key in self.given:
            return
        self.given.add(arm.key)
        store = Store(self.root)
        forget_failure(self.root, arm.key)
        done = set() if self.rerun else store.runs(arm.key)
        missing = [run for run in arm.config.runs if run not in done]
        for runs in chunks(arm.config, missing, arm.layers, self.pool.workers, arm.sees_whole_net, arm.trainer[0].name):
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


def functions(arms: Sequence[PlannedArm]) -> list[tuple[str, str]]:
    """What the trainers of these arms have to compile."""
    found = {arm.trainer[0].name: arm.trainer[0] for arm in arms}
    return [
        one
        for name, trainer in found.items()
        for one in trainer.functions(arm.config for arm in arms if arm.trainer[0].name == name)
    ]


# Set by the command that launches the jobs in its own process (basic launcher, ib.run): jobs then only hand over their
# runs, so that the next arm is composed while this one trains.
shared_trainer: Trainer | None = None


def run_job(cfg: Any) -> None:
    """The task function of Hydra: train what is missing of one arm."""
    from hydra.core.hydra_config import HydraConfig

    from initbench.overrides.expand import arm_of
    from initbench.overrides.hydra_parts import carried

    arm_config = arm_of(cfg, HydraConfig.get().runtime.choices)
    if shared_trainer is not None:
        with carried():
            train_with_controls(shared_trainer, arm_config)
        return
    jobs = HydraConfig.get().launcher.get("n_jobs") or 1
    workers = arm_config.engine.workers or max(1, cores() // (cores() if jobs < 0 else jobs))
    trainer = Trainer(Path(cfg.outputs) / "store", Pool(workers), rerun=cfg.train.rerun)
    with carried():
        train_with_controls(trainer, arm_config)
        trainer.drain()
    trainer.pool.close()


def train_with_controls(trainer: Trainer, config: ArmConfig) -> None:
    """Train an arm, and its controls where sharing.controls=true asks for them: they have no job of their own."""
    arm = train_arm(trainer, config)
    if arm is not None and config.sharing.controls:
        from initbench.study.controls import controls

        for control in controls(arm):
            train_arm(trainer, control.config)


def train_arm(trainer: Trainer, config: ArmConfig) -> PlannedArm | None:
    """Train an arm; an arm that does not apply is left to the study's own list, and comes back as None."""
    try:
        arm = planned(config, edits=False)  # what was planned is trained
    except (InputError, NotApplicable):
        return None  # the plan, made before any job, has it with its reason
    try:
        trainer.submit(arm)
    except Exception as error:
        note_failure(trainer.root, arm.key, error)
    return arm


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
    with naming(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"status": kind, "reason": reason, "traceback": trace}, indent=1), "utf-8")


def forget_failure(root: Path, key: str) -> None:
    """An arm that is tried again starts with a clean record."""
    failure_path(root, key).unlink(missing_ok=True)


def failure(root: Path, key: str) -> dict[str, str] | None:
    """The record of a failed arm, or None."""
    path = failure_path(root, key)
    return json.loads(path.read_text("utf-8")) if path.exists() else None
