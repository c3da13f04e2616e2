"""What a job of another launcher does: train its arms and publish parts. It needs no MLflow and no network.

What goes wrong with an arm is stored, and the study says it at its end. A job that is told to end does so at once and
without a word: what it has published is kept, and the next one trains the rest.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from initbench.errors import InputError, NotApplicable
from initbench.study.jobs import read
from initbench.study.launch import Training
from initbench.study.launchers import launcher_of
from initbench.study.plan import PlannedArm, planned
from initbench.study.pool import Pool


def run_job(cfg: Any) -> None:
    """The task function of Hydra: train what is missing of one arm, of its controls, and of the further arms of the job."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    hydra = HydraConfig.get()
    further = OmegaConf.to_container(hydra.sweeper, resolve=False).get("arms", "[]")  # type: ignore[union-attr]
    with ending_quietly():
        arms = [
            *arms_of(cfg, hydra.runtime.choices),
            *(arm for line in read(further) for arm in arms_of(*composed(line))),
        ]
        if not arms:
            return
        with unheard():
            pool = Pool(arms[0].config.engine.workers or launcher_of(hydra).cpus)
            pool.start()
        try:
            Training(Path(cfg.outputs) / "store", pool, rerun=cfg.train.rerun).train(arms)
        except BaseException:
            pool.close(wait=False)
            raise
        pool.close()


def composed(line: list[str]) -> tuple[Any, Any]:
    """The configuration of a further arm, and the option of each group."""
    from hydra import compose

    from initbench.overrides.expand import CONFIG_NAME

    cfg = compose(CONFIG_NAME, overrides=line, return_hydra_config=True)
    return cfg, cfg.hydra.runtime.choices


def arms_of(cfg: Any, choices: Any) -> list[PlannedArm]:
    """The arm of a configuration and its controls; none where it does not apply."""
    from initbench.overrides.expand import arm_of
    from initbench.study.controls import with_controls

    try:
        return with_controls([planned(arm_of(cfg, choices), edits=False)])  # what was planned is trained
    except (InputError, NotApplicable):
        return []  # the plan, made before any job, has it with its reason


def of_submitit() -> bool:
    """Whether this is the main thread of a job of submitit."""
    return "SUBMITIT_EXECUTOR" in os.environ and threading.current_thread() is threading.main_thread()


TOLD = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # what a job is told before its end


@contextmanager
def unheard() -> Iterator[None]:
    """Processes that are started inside take no notice of what Slurm tells all processes of a job: they end with it."""
    if not of_submitit():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ending_quietly() -> Iterator[None]:
    """Inside a job of submitit: it ends when it is told to, as Slurm does at the time limit and on scancel, like a command
    on Ctrl-C: no arm is to blame. Before the limit submitit may queue the job again; else the job goes on to the limit.
    """
    if not of_submitit():
        yield
        return
    answers: dict[int, Any] = {number: signal.getsignal(number) for number in TOLD if number != signal.SIGTERM}

    def end(number: int, frame: Any) -> None:
        answer = answers.get(number)
        if callable(answer):
            try:
                answer(number, frame)
            except Exception:  # it is not queued again
                return
            except SystemExit:
                pass
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    for told in TOLD:
        signal.signal(told, end)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)
    except Exception:  # no arm's: Hydra would keep it in a file that nobody reads, and Slurm would say COMPLETED
        traceback.print_exc()
        sys.exit(1)
