"""The command line: `python -m initbench [overrides]` or `initbench [overrides]`.

Exit status: 0 done; 1 some arm failed, or tracking is incomplete; 2 wrong input; 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from initbench.cli import streams
from initbench.cli.ending import answered
from initbench.cli.flags import SHOWING, arguments, parser
from initbench.errors import refusal

if TYPE_CHECKING:
    from initbench.startup.processes import Processes
    from initbench.study.command import Study
    from initbench.study.launch import Training
    from initbench.study.plan import PlannedArm
    from initbench.study.rounds import Round
    from initbench.study.submitted import Absent, Queue


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. INITBENCH_TRACEBACK=1 shows where a refusal comes from."""
    argv = list(sys.argv[1:] if argv is None else argv)
    return answered("initbench", lambda: command(argv), goes_on=True)


def as_process() -> int:
    """`main` as the whole of a process."""
    from initbench.own.shadowing import check_folder
    from initbench.startup.processes import alone, interrupt_twice

    check_folder(script=True)
    interrupt_twice()
    return alone(main)


def command(argv: list[str]) -> int:
    """Help, one of Hydra's own information flags, or a study."""
    if "--version" in argv:
        from initbench.cli.help import version_text

        streams.write(version_text(), sys.stdout)
        return 0
    args = arguments(argv)
    if args.help:
        from initbench.cli.help import help_text

        streams.write(help_text(), sys.stdout)
        return 0
    if args.shell_completion:  # its words are no overrides
        if any(text.startswith("query=") for text in args.overrides):
            from initbench.cli.completion import completions

            line = os.environ.get("COMP_LINE", "")
            streams.write("\n".join(completions(line[: int(os.environ.get("COMP_POINT") or len(line))])), sys.stdout)
        else:
            hydra_main(argv)
        return 0
    config_dirs = [args.config_dir] if args.config_dir else []
    if any(getattr(args, name) for name in SHOWING):
        from initbench.errors import masked
        from initbench.overrides.expand import expand_study

        lines = dict(zip(args.overrides, expand_study(args.overrides, config_dirs).lines))
        hydra_main([masked(lines.get(text, text)) for text in argv])
        return 0
    return sweep(args.overrides, config_dirs, args.detach, args.json)


def sweep(overrides: list[str], config_dirs: list[str], detach: bool = False, as_json: bool = False) -> int:
    """Plan, train, collect, say. `detach`: submit, collect what is there, and wait for nothing; `as_json`: what a dry run
    expects goes to stdout as JSON."""
    from initbench.startup.processes import begin

    started = time.monotonic()
    streams.passing("initbench: planning")
    alone = any(text.startswith(("engine.workers=1", "hydra/launcher=", "train.dry_run=")) for text in overrides)
    begun = not alone and begin()
    from initbench.study import command as study  # while the other process imports
    from initbench.study.needs import check_needs
    from initbench.study.places import taken

    plan = study.plan(overrides, config_dirs)
    if as_json and not plan.config.dry_run:
        raise refusal("--json", "it has no effect without train.dry_run=true", "add it")
    if plan.config.dry_run:
        return expect(plan, started, as_json)
    if detach:
        from initbench.study.launchers import check_detach, launcher_of

        check_detach(launcher_of(plan.hydra), plan.goes_on)
    check_needs(plan)
    with study.beside(begun) as process, taken(plan, say_others):
        return carry_out(plan, config_dirs, started, process, detach)


def expect(plan: Study, started: float, as_json: bool) -> int:
    """A dry run: say what would be trained and what that takes; nothing is written."""
    from initbench.study.needs import check_needs
    from initbench.study.saying import say_dry_run

    estimate = say_dry_run(plan, started)
    if as_json:
        streams.write(json.dumps(estimate.plain(), indent=1), sys.stdout)
    check_needs(plan)
    return 0


def carry_out(
    plan: Study, config_dirs: list[str], started: float, process: Processes | None, detach: bool = False
) -> int:
    """Train what is missing, collect, say. `process`: draws the report, or None."""
    from initbench.store.lock import writing
    from initbench.study import command as study
    from initbench.study.saying import say_compiling, say_detached, say_expected, say_outcome, say_plan, say_round

    stored = plan.stored()
    done = 0 if plan.config.rerun else sum(stored.values())
    say_plan(plan, done)
    say_expected(plan)
    before = study.unchanged(plan) if done == plan.runs and not plan.goes_on else None
    if before is not None:
        say_outcome(plan, before, time.monotonic() - started)
        return before.status
    trainer = study.trainer_of(plan, stored)
    if plan.runs > done or plan.config.rerun:
        threading.Thread(target=say_compiling, args=(plan,), daemon=True).start()
    warming = study.warm_up(plan, process, waiting=trainer.pool.workers > 1)
    try:
        if plan.goes_on:
            from initbench.study.rounds import Way

            def train(one: Round, tick: Callable[[], None]) -> Absent:
                return trained(one.study, one.arms, one.missing, trainer, config_dirs, tick)

            plan, absent = Way(plan).go(train, say_round)
        else:
            absent = trained(plan, None, plan.left(stored), trainer, config_dirs, detach=detach)
    except BaseException:
        trainer.pool.close(wait=False)
        raise
    trainer.pool.close()
    warming.join()
    if detach and absent.queued and not any(plan.stored().values()):
        say_detached(absent.jobs)
        return 0
    with writing(plan.folder, say_others):
        before = study.unchanged(plan) if plan.path is not None and not plan.config.rerun and not absent else None
        outcome = before or study.collect(plan, time.monotonic() - started, say_at, absent, process)
    say_outcome(plan, outcome, time.monotonic() - started)
    say_detached(absent.jobs)
    return outcome.status


def say_at(text: str) -> None:
    """What the command is at, while nothing else is to be seen."""
    streams.passing(f"initbench: {text}")


def say_others(text: str) -> None:
    """Who else is at work on the study."""
    from initbench.cli import terminal

    terminal.err.print(f"initbench: {text}")


def trained(
    plan: Study,
    arms: Sequence[PlannedArm] | None,
    left: Mapping[str, int],
    trainer: Training,
    config_dirs: list[str],
    tick: Callable[[], None] = lambda: None,
    detach: bool = False,
) -> Absent:
    """Train what is missing, `left` runs by arm key, and show how far it is; returns why runs are not there, where that is
    known.

    `arms`: those of a round of a study that goes on, which calls `tick` now and then; None: all. `detach`: do not wait for
    jobs that outlive the command.
    """
    from initbench.study import launch
    from initbench.study.saying import say_ended, say_waiting
    from initbench.study.submitted import Queue
    from initbench.study.tally import Tally

    asked = plan.arms if arms is None else arms
    queue, failed = Queue.of(plan.folder), ""
    if not queue.alive:
        say_ended(queue, plan.root)
        queue.forget()
    tally = Tally(asked, left, plan.root, trainer.pool)
    with tally.showing(trainer, not detach, tick):
        if launch.needs_hydra(plan):
            failed = by_launcher(plan, config_dirs, queue, arms)
        else:
            for key, runs in queue.taken.items():  # a job trains them
                trainer.given.setdefault(key, set()).update(runs)
            trainer.train(asked)
        if not detach:
            queue.wait(tick, say_waiting)
        tally.watched.look()
    absent = replace(queue.absent(plan.root), launcher=failed)
    if not queue.alive:
        queue.forget()
    return absent


def by_launcher(plan: Study, config_dirs: list[str], queue: Queue, arms: Sequence[PlannedArm] | None = None) -> str:
    """Hydra jobs for what no job trains yet, by the launcher asked for; returns why it broke down, if it did.

    Jobs that outlive this command are noted in `queue`; the others have ended.
    """
    from hydra_plugins.initbench_jobs import PlannedJobs
    from initbench.disk import naming
    from initbench.study.jobs import jobs, master
    from initbench.study.launchers import OWN_KEYS, broken_down, launcher_of, not_taken
    from initbench.study.submitted import submitted

    launcher = launcher_of(plan.hydra)
    made = jobs(plan, arms, queue.taken, launcher.tasks(len(plan.arms if arms is None else arms)))
    if not made:
        return ""
    PlannedJobs.jobs, PlannedJobs.not_for_launcher = [job.overrides for job in made], OWN_KEYS
    PlannedJobs.submitted.clear()
    folders = [flag for folder in config_dirs for flag in ("--config-dir", folder)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what breaks comes out of Hydra instead of being printed by it
    try:
        with naming(plan.folder / "hydra"):
            hydra_main(["--multirun", *folders, *master(plan)])
    except SystemExit as error:
        return f"the launcher ended with status {error.code}" if error.code else ""
    except OSError:
        raise
    except Exception as error:
        if launcher.kind == "slurm" and not PlannedJobs.submitted:
            raise not_taken(launcher, error) from error
        return broken_down(error)
    finally:
        queue.add(submitted(job, launcher.kind, handle) for job, handle in zip(made, PlannedJobs.submitted))
    return ""


def hydra_main(argv: list[str]) -> None:
    """Hydra's own entry with our configuration folder and task."""
    import hydra

    from initbench.disk import conf_folder
    from initbench.overrides.expand import CONFIG_NAME, own_launchers
    from initbench.overrides.hydra_parts import replaced
    from initbench.study.task import run_job

    before = sys.argv
    sys.argv = ["initbench", *argv]
    entry = sys.modules["hydra.main"]  # hydra.main itself is the function
    try:
        with replaced(entry, "get_args_parser", parser), own_launchers():
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=CONFIG_NAME)(run_job)()
    finally:
        sys.argv = before


if __name__ == "__main__":
    sys.exit(as_process())
