"""The command line: `python -m initbench [overrides]` or `initbench [overrides]`.

Exit status: 0 done; 1 some arm failed, or tracking is incomplete; 2 wrong input; 130 Ctrl-C.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from initbench.errors import InputError
from initbench.flags import SHOWING, arguments, parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return command(argv)
    except InputError as error:
        print(f"initbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("initbench: interrupted; finished runs are stored, the same command goes on", file=sys.stderr)
        return 130


def as_process() -> int:
    """`main` as the whole of a process, which does not look through its libraries for garbage at its end either."""
    from initbench.engine.processes import collect_seldom

    collect_seldom()
    status = main()
    gc.freeze()
    return status


def command(argv: list[str]) -> int:
    """Help, one of Hydra's own information flags, or a study."""
    args = arguments(argv)
    if args.help:
        from initbench.helping import help_text

        print(help_text())
        return 0
    config_dirs = [args.config_dir] if args.config_dir else []
    if any(getattr(args, name) for name in SHOWING):
        from initbench.sweep import prepare

        prepare(args.overrides, config_dirs)
        hydra_main([*argv])
        return 0
    return sweep(args.overrides, config_dirs)


def sweep(overrides: list[str], config_dirs: list[str]) -> int:
    """Plan, train, collect, say."""
    from initbench.engine.processes import begin

    started = time.monotonic()
    alone = any(text.startswith(("engine.workers=1", "hydra/launcher=", "train.dry_run=")) for text in overrides)
    begun = not alone and begin()
    from initbench import study  # while the other process imports

    plan = study.plan(overrides, config_dirs)
    with study.beside(begun) as process:
        return carry_out(plan, overrides, config_dirs, started, process)


def carry_out(plan: Any, overrides: list[str], config_dirs: list[str], started: float, process: Any) -> int:
    """Train what is missing, collect, say. `process`: draws the report, or None."""
    from initbench import job, study, terminal

    stored = plan.stored()
    done = 0 if plan.config.rerun else sum(stored.values())
    say_plan(plan, done)
    if plan.config.dry_run:
        return 0
    steps = {arm.key: arm.config.train.steps for arm in plan.arms}
    run_steps = sum(
        (len(arm.config.runs) - (0 if plan.config.rerun else stored[arm.key])) * steps[arm.key] for arm in plan.arms
    )
    own_process = "basic" in str(plan.hydra.launcher.get("_target_", ""))
    trainer = study.trainer_of(plan)
    warming = study.warm_up(plan, process, waiting=trainer.pool.workers > 1)
    display = terminal.Display(len(plan.arms), plan.runs - done, run_steps, lambda: trainer.pool.run_steps)
    trainer.told = display.chunk_done
    job.shared_trainer = trainer if own_process else None
    failed: str | None = None
    try:
        with display.showing():
            if plan.runs > done or plan.config.rerun:
                failed = launch(plan, overrides, config_dirs)
            trainer.drain()
    except BaseException:
        trainer.pool.close(wait=False)
        raise
    finally:
        job.shared_trainer = None
    trainer.pool.close()
    warming.join()
    outcome = study.collect(plan, time.monotonic() - started, launcher_failed=failed, process=process)
    say_outcome(plan, outcome, time.monotonic() - started)
    return outcome.status


def launch(plan: Any, overrides: list[str], config_dirs: list[str]) -> str | None:
    """One Hydra job an arm, by whatever launcher is asked for; returns why it broke down, if it did."""
    folders = [flag for folder in config_dirs for flag in ("--config-dir", folder)]
    try:
        # --multirun rather than hydra.mode in the configuration, which would hide the real error of a misspelt key
        with composed_already(plan.hydra.mode):
            hydra_main(["--multirun", *folders, *overrides, f"study={plan.config.name}"])
    except SystemExit as error:
        return f"the launcher ended with status {error.code}" if error.code else None
    return None


@contextmanager
def composed_already(mode: Any) -> Iterator[None]:
    """Hydra composes the command once less to learn its mode, and no job to see whether that is possible: the plan has
    composed every job, with this mode, and refused what is wrong.

    A composition takes .08 s, and there is no switch for either. Where a Hydra has no such methods it composes as ever.
    """
    from hydra._internal import hydra as entry
    from hydra._internal.core_plugins import basic_sweeper

    with (
        replaced(getattr(entry, "Hydra", None), "get_mode", lambda *args, **kwargs: mode),
        replaced(getattr(basic_sweeper, "BasicSweeper", None), "validate_batch_is_legal", lambda *args: None),
    ):
        yield


@contextmanager
def replaced(owner: Any, method: str, by: Any) -> Iterator[None]:
    """Another method of a class, or function of a module, for a while; nothing where it has none of that name."""
    if not hasattr(owner, method):
        yield
        return
    own = vars(owner).get(method)
    setattr(owner, method, by)
    try:
        yield
    finally:
        if own is None:  # it is the base class's
            delattr(owner, method)
        else:
            setattr(owner, method, own)


def hydra_main(argv: list[str]) -> None:
    """Hydra's own entry with our configuration folder and task."""
    import hydra

    from initbench.job import run_job
    from initbench.sweep import CONFIG_NAME, config_folder

    before = sys.argv
    sys.argv = ["initbench", *argv]
    entry = sys.modules["hydra.main"]  # hydra.main itself is the function
    try:
        with replaced(entry, "get_args_parser", parser):
            hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=CONFIG_NAME)(run_job)()
    finally:
        sys.argv = before


def say_plan(plan, done: int) -> None:  # type: ignore[no-untyped-def]
    """What is about to happen, before it does."""
    from initbench.cautions import lines
    from initbench.controls import control_text
    from initbench.terminal import err

    left = plan.runs - done
    stored = f", {done} already stored, {left} to train" if done else ""
    err.print(f"study {plan.config.name}: {counted(plan)}{stored}")
    for arm in plan.arms:
        if arm.control_of:
            err.print(f"control: {arm.label}: {control_text(arm, plan.arms)}")
    if any(arm.config.model.name == "module" for arm in plan.arms):
        err.print("model=module: the runs train one after another (engine=reference)")
    for text in dict.fromkeys(arm.data.taken for arm in plan.arms if arm.data.taken):
        err.print(f"data: {text}", markup=False)
    for line in lines(plan.cautions, len(plan.arms)):
        err.print(f"note: {line}", markup=False)
    for one in plan.refused:
        err.print(f"not applicable: {one.reason}")
    slower = Counter(arm.path[1] for arm in plan.arms if arm.path[1])
    for reason, count in slower.items():
        err.print(f"{count} of {len(plan.arms)} arms train on the slower torch path: {reason}")


def counted(plan) -> str:  # type: ignore[no-untyped-def]
    """How much a study is: arms and runs."""
    from initbench.grammar import plural

    return f"{plural(len(plan.arms), 'arm')}, {plural(plan.runs, 'run')}"


def say_outcome(plan, outcome, elapsed: float) -> None:  # type: ignore[no-untyped-def]
    """Leaderboard, trouble, and where everything is."""
    from initbench import store, terminal, track

    content = outcome.results.study
    board = outcome.results.leaderboard()
    terminal.leaderboard(board, content["target"])
    if content["target"] and len(board) and not (board["reached"] > 0).any():
        terminal.err.print(
            f"no arm reached the target: try train.steps={2 * content['budget']}, or a lower train.target.value"
        )
    terminal.trouble(outcome.trouble)
    for line in store.damaged:
        terminal.err.print(f"initbench: {line}", markup=False)
    store.damaged.clear()
    say = terminal.out.print
    say(f"done in {elapsed:.0f} s: {counted(plan)}")
    for kind, path in outcome.report.items():
        if kind == "report.html":
            say(f"report: {Path(path).resolve()}")
    if plan.uri is not None:
        if not outcome.tracked.complete:
            terminal.err.print(f"initbench: {outcome.tracked.message}")
        if outcome.tracked.link:
            say(f"MLflow study: {outcome.tracked.link}")
        say(f"MLflow: {track.ui_command(plan.uri)}")


if __name__ == "__main__":
    sys.exit(as_process())
