"""What a command says: before it trains, what is about to happen; after, the leaderboard, trouble and where everything is."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initbench.cli import terminal
from initbench.config.cautions import lines
from initbench.grammar import duration, megabytes, plural
from initbench.startup.processes import cores
from initbench.study.submitted import said

if TYPE_CHECKING:
    from initbench.study.command import Outcome, Study
    from initbench.study.expected import Expected
    from initbench.study.rounds import Round
    from initbench.study.submitted import Queue

# why a study that goes on has ended, as its last lines begin
ENDS = {
    "decided": "decided",
    "seeds": "ended by decide.seeds",
    "minutes": "ended by decide.minutes",
    "nothing would change": "ended",
}


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
    controls = [f"control: {arm.label}: {control_text(arm, plan.arms)}" for arm in plan.arms if arm.control_of]
    terminal.listed(controls, "control: {} more, each with its counts in study.json")
    for text in dict.fromkeys(arm.data.taken for arm in plan.arms if arm.data.taken):
        err.print(f"data: {text}")
    for line in lines(plan.cautions, len(plan.arms)):
        err.print(f"note: {line}")
    in_the_way = [] if plan.config.decide.enabled else foreseen(plan)  # decide=true asks for what is missing
    for line in [*in_the_way, *map(looks, looked(plan))]:
        err.print(f"note: {line}")
    say_damaged()
    refused = [f"not applicable: {one.reason}" for one in plan.refused]
    terminal.listed(refused, "not applicable: {} more, each with its reason in study.json")
    slower = Counter((arm.trainer[0].name, arm.trainer[1]) for arm in plan.arms if arm.trainer[1])
    for (name, reason), count in slower.items():
        err.print(f"{count} of {plural(len(plan.arms), 'arm')} train slower, by engine={name}: {reason}")


def say_expected(plan: Study) -> None:
    """How a study that goes on will probably go: its looks, runs and time; nothing for others."""
    if not plan.goes_on:
        return
    from initbench.study.limits import likely

    decide, auto = plan.config.decide, plan.arms[0].config.optim.auto
    rounds = likely(decide, plan.arms)
    took = duration(sum(seconds for *_, seconds in rounds) / (plan.arms[0].config.engine.workers or cores()))
    err = terminal.err
    if auto:
        err.print(f"optim.lr=auto: rates from {', '.join(f'{lr:g}' for lr in plan.arms[0].config.optim.lrs)}, continued where "
                  "the best lies at an end, then refined between its neighbours, for every arm alike")  # fmt: skip
    if not decide.enabled:
        err.print(f"probably about {rounds[0][1]:,} runs, {took}")
        return
    each = ", ".join(f"{runs:,} runs at {size} seeds" for size, runs, _ in rounds)
    limit = "" if decide.minutes is None else f", decide.minutes={decide.minutes:g}"
    err.print(f"decide: goes on until every comparison has a word, decide.seeds={decide.seeds}{limit}")
    err.print(f"probably {each}, if half of the comparisons are decided at each look, and more where a grid of learning "
              f"rates is continued: about {took}")  # fmt: skip


def say_estimate(one: Expected) -> None:
    """What a command will take, before it is started: time, work, memory, disk and rows of MLflow."""
    from initbench.memory import available

    parts = one.seconds
    phases = {"start": parts.start, "compiling": parts.compile, "training": parts.training, "frames": parts.frames}
    phases["report and MLflow" if one.rows.get("runs") else "report"] = parts.report
    told = ", ".join(f"{name} {duration(seconds)}" for name, seconds in phases.items() if seconds)
    say = terminal.err.print
    say(f"expected on this machine: about {duration(parts.total)} with {plural(one.workers, 'worker')} ({told}), "
        f"within a factor of {one.factor:g}")  # fmt: skip
    say(f"work: {one.operations:.2g} operations in {plural(one.run_steps, 'run-step')}")
    say(f"memory: {megabytes(one.memory.total)} in all processes, {megabytes(available())} are free")
    disk = {"parts": one.disk.parts, "frames": one.disk.frames, "report": one.disk.report, "MLflow": one.disk.mlflow}
    told = ", ".join(f"{name} {megabytes(size)}" for name, size in disk.items() if size)
    say(f"disk: {megabytes(one.disk.total)} ({told}), {megabytes(one.free)} are free")
    if one.rows.get("runs"):
        say(f"MLflow: {plural(one.rows['runs'], 'run')}, {plural(sum(one.rows.values()), 'row')}")


def say_dry_run(plan: Study, started: float) -> Expected:
    """What a command would train, and what that takes; `started`: when it began, by time.monotonic()."""
    from initbench.study.expected import expected

    stored = plan.stored()
    say_plan(plan, sum(stored.values()))
    say_expected(plan)
    estimate = expected(plan, plan.left(stored), started)
    say_estimate(estimate)
    return estimate


def say_round(one: Round) -> None:
    """A line before each round of a study that goes on."""
    text = f"round {one.number + 1}, {one.why}: {plural(one.runs, 'run')} of {plural(len(one.arms), 'arm')}"
    most = max((len(arm.config.seeds) for arm in one.arms), default=0)
    text += f", {plural(most, 'seed')}"
    if one.study.config.decide.enabled:
        text += f"; {one.open} of {plural(one.pairs, 'comparison')} open"
        text += f"; {duration(max(one.left, 0.0))} left" if math.isfinite(one.left) else ""
    terminal.err.print(text)


def say_ended(queue: Queue, root: Path) -> None:
    """How the jobs of an earlier command ended that have not trained all that they were asked for."""
    ended = {job.id: job for jobs in queue.missing(root).values() for job in jobs}
    if ended:
        terminal.err.print(f"{said(list(ended.values()))}: what is missing is trained again")


def say_waiting(jobs: str) -> None:
    """That the command waits for jobs."""
    if jobs:
        terminal.err.print(f"waiting for {jobs}; after Ctrl-C they go on, and so does the same command")


def say_detached(jobs: str) -> None:
    """That it does not."""
    if jobs:
        terminal.out.print(f"{jobs}; the same command collects what they have finished")


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
    from initbench.engine.kernel.compiled import cache_folder
    from initbench.study.calibrate import kernel_is_compiled

    if kernel_is_compiled(plan.arms):
        return
    if cache_folder() is None:
        terminal.err.print(
            "compiling the kernel takes about half a minute in every command, because no cache folder can be written; "
            "name one with INITBENCH_CACHE=DIR"
        )
    else:
        terminal.err.print("compiling the kernel for this machine: up to half a minute, once")


def say_outcome(plan: Study, outcome: Outcome, elapsed: float) -> None:
    """Leaderboard, trouble, and where everything is."""
    from initbench import track

    content = outcome.results.study
    board = outcome.board
    terminal.leaderboard(board, content["target"])
    decided = content.get("decide")
    tried = advice(board, content["target"], content["budget"]) or (None if decided else undecided(board))
    if tried and content["target"]:
        terminal.err.print(tried)
    terminal.trouble(outcome.trouble)
    say_damaged()
    say = terminal.out.print
    if decided:
        say(f"{ENDS[decided['ended']]} after {plural(len(decided['rounds']), 'round')}: {decided['reason']}")
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


def undecided(board: Any) -> str | None:
    """How many comparisons have no word, and what would go on until they have; None where all have one.

    >>> import pandas as pd
    >>> undecided(pd.DataFrame({"verdict": ["baseline", "undecided", "slower"], "same_as": ""}))
    '1 of 2 comparisons is undecided: the report says why; decide=true goes on until it is decided'
    """
    judged = board[~board["verdict"].isin(["baseline", "not judged"]) & (board["same_as"].fillna("") == "")]
    open_ = int((judged["verdict"] == "undecided").sum())
    if not open_:
        return None
    is_, it = ("is", "it is") if open_ == 1 else ("are", "they are")
    many = plural(len(judged), "comparison")
    return f"{open_} of {many} {is_} undecided: the report says why; decide=true goes on until {it} decided"
