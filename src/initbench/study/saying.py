"""What a command says: before it trains, what is about to happen; after, the leaderboard, trouble and where everything is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initbench.cli import terminal
from initbench.config.cautions import lines
from initbench.grammar import plural

if TYPE_CHECKING:
    from initbench.study.command import Outcome, Study


def say_plan(plan: Study, done: int) -> None:
    """What is about to happen. `done`: runs that are stored."""
    from initbench.study.controls import control_text
    from initbench.study.foreseen import foreseen
    from initbench.study.looked import line as looks
    from initbench.study.looked import looked

    err = terminal.err
    left = plan.runs - done
    stored = f", {done} already stored, {left} to train" if done else ""
    err.print(f"study {plan.config.name}: {counted(plan)}{stored}")
    for arm in plan.arms:
        if arm.control_of:
            err.print(f"control: {arm.label}: {control_text(arm, plan.arms)}")
    for text in dict.fromkeys(arm.data.taken for arm in plan.arms if arm.data.taken):
        err.print(f"data: {text}")
    for line in lines(plan.cautions, len(plan.arms)):
        err.print(f"note: {line}")
    for line in [*foreseen(plan), *map(looks, looked(plan))]:
        err.print(f"note: {line}")
    say_damaged()
    for one in plan.refused:
        err.print(f"not applicable: {one.reason}")
    slower = Counter((arm.trainer[0].name, arm.trainer[1]) for arm in plan.arms if arm.trainer[1])
    for (name, reason), count in slower.items():
        err.print(f"{count} of {plural(len(plan.arms), 'arm')} train slower, by engine={name}: {reason}")


def say_damaged() -> None:
    """What was set aside in the store, before training too: a command that is interrupted has no other time to say it."""
    from initbench.store import parts

    for line in parts.told():
        terminal.err.print(f"initbench: {line}")


def counted(plan: Study) -> str:
    """How much a study is: arms and runs."""
    return f"{plural(len(plan.arms), 'arm')}, {plural(plan.runs, 'run')}"


def say_compiling(plan: Study) -> None:
    """That the kernel is compiled first, which takes half a minute and shows no progress."""
    from initbench.study.launch import functions

    needed = functions(plan.arms)
    if not needed:
        return
    from initbench.engine.kernel.compiled import cache_folder

    folder = cache_folder()
    if folder is None:
        terminal.err.print(
            "compiling the kernel takes about half a minute in every command, because no cache folder can be written; "
            "name one with INITBENCH_CACHE=DIR"
        )
    elif not all((folder / f"{kind}-{name}.o").is_file() for kind, name in needed):
        terminal.err.print("compiling the kernel for this machine: up to half a minute, once")


def say_outcome(plan: Study, outcome: Outcome, elapsed: float) -> None:
    """Leaderboard, trouble, and where everything is."""
    from initbench import track

    content = outcome.results.study
    board = outcome.board
    terminal.leaderboard(board, content["target"])
    tried = advice(board, content["target"], content["budget"])
    if tried:
        terminal.err.print(tried)
    terminal.trouble(outcome.trouble)
    say_damaged()
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


def advice(board: Any, target: dict[str, Any] | None, budget: int) -> str | None:
    """What to try where no arm reached the target; None where that needs no word or no budget would help.

    >>> import pandas as pd
    >>> board = pd.DataFrame({"n": [3], "reached": [0], "failed": [0], "diverged": [0]})
    >>> advice(board, {"metric": "loss/train", "value": 0.1}, 300)
    'no arm reached the target: try train.steps=600, or a higher train.target.value'
    """
    from initbench.stats import remedy

    if not target or not len(board) or (board["reached"] > 0).any():
        return None
    trained = board[board["failed"] < board["n"]]
    if not len(trained) or not budget:
        return None
    if (trained["diverged"] >= trained["n"] - trained["failed"]).all():
        return "no arm reached the target, and every run diverged: try smaller learning rates, optim.lr=[...]"
    easier = "lower" if target["metric"].startswith("accuracy") else "higher"
    return f"no arm reached the target: try {remedy.longer(budget)}, or a {easier} train.target.value"
