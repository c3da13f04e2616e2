"""The rounds of a study that goes on: each trains what is missing, and then says what is asked next (decide.py).

The runs of every round are ordinary stored runs, so a command that was interrupted finds them and comes the same way again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from initbench.config.arm import digest
from initbench.config.groups import TrainConfig
from initbench.errors import InputError, NotApplicable
from initbench.startup import scratch
from initbench.stats import looks, nested
from initbench.store.history import History
from initbench.store.parts import Store
from initbench.study import decide, looked
from initbench.study.clock import Clock
from initbench.study.decide import Asked, Budget, End, Limits, Move, State
from initbench.study.foreseen import baseline_and_others
from initbench.study.labels import labelled
from initbench.study.launch import Training, ended
from initbench.study.limits import first_seeds, limit_of_time, most_steps
from initbench.study.pace import run_seconds
from initbench.study.plan import PlannedArm, planned
from initbench.study.results import frames
from initbench.study.submitted import NOTHING, Absent
from initbench.study.tally import Tally

if TYPE_CHECKING:
    from initbench.study.command import Study


@dataclass(frozen=True)
class Round:
    """A round about to start: why, and what it trains."""

    number: int  # from 0
    why: str
    study: Study
    arms: Sequence[PlannedArm]  # those with runs that were not asked for before
    runs: int  # so many
    missing: Mapping[str, int]  # of the arms' runs, how many are not stored, by arm key
    open: int  # comparisons without a word
    pairs: int  # all comparisons
    left: float  # seconds of decide.minutes


# trains a round and returns why runs of it are not there, where that is known; calls its second argument now and then
Train = Callable[[Round, Callable[[], None]], Absent]


class Way:
    """The way of a study so far: its rounds, and the rows of its looks."""

    def __init__(self, plan: Study) -> None:
        self.plan, self.decide = plan, plan.config.decide
        target = None if plan.target is None else [plan.target.metric, plan.target.value]
        question = digest([[arm.key for arm in plan.arms], target, plan.config.report.baseline])
        self.clock = Clock(plan.folder, question)
        if self.decide.enabled and not self.clock.looked:
            self.clock.looked = looked.by_hand(plan)
        self.limits = limits_of(plan, self.clock.looked)
        self.rows: list[dict[str, Any]] = []
        self.rounds: list[dict[str, Any]] = []
        self.digests: list[str] = []  # of what each round asked for
        self.work = 0.0  # of all rounds, see `cost`
        self.state: State | None = None  # of the last round
        self.labels: list[str] = []
        self.descriptions: dict[str, dict[str, Any]] = {}

    def go(self, train: Train, say: Callable[[Round], None] = lambda one: None) -> tuple[Study, Absent]:
        """All rounds; the study as it is asked for at the end, and why runs of the last one are not there."""
        state = decide.first(map(asked_of, self.plan.arms), self.limits)
        why = "first look" if self.limits.sizes else "rates"
        while True:
            now = self.grown(state)
            one = self.begun(now, state, why)
            say(one)
            self.clock.start(self.digests[-1])
            absent = train(one, self.clock.tick) if any(one.missing.values()) else NOTHING
            step, number = self.judged(now, state)
            if absent:
                step = End("nothing would change", str(absent))
            self.rounds.append(
                {
                    "round": one.number,
                    "why": why,
                    "look": number,
                    "runs": one.runs,
                    "seconds": self.clock.seconds(self.digests[-1:]),
                    "open": self.open,
                }
            )
            if isinstance(step, Move):
                try:
                    self.grown(step.state)
                except (InputError, NotApplicable) as error:  # more than fits
                    step = End("nothing would change", str(error))
            if isinstance(step, End):
                return replace(now, path=self.content(step)), absent
            state, why = step

    def begun(self, now: Study, state: State, why: str) -> Round:
        """The round that asks for `state`, noted."""
        relabel(self.rows, self.labels, now.arms)
        self.labels = [arm.label for arm in now.arms]
        more = self.more(state)
        left = self.left
        self.work += self.cost(state)
        self.state = state
        self.digests.append(digest([[arm.key, arm.config.runs] for arm in now.arms]))
        arms = [arm for arm, n in zip(now.arms, more) if n]
        store = Store(now.root)
        missing = {arm.key: len(set(arm.config.runs) - store.runs(arm.key)) for arm in arms}
        if now.config.rerun:
            missing = {arm.key: n for arm, n in zip(now.arms, more) if n}
        return Round(len(self.rounds), why, now, arms, sum(more), missing, self.open, self.pairs, left)

    def judged(self, now: Study, state: State) -> tuple[Move | End, int | None]:
        """What the runs of a round say: the next round or the end, and the number of the look that was taken."""
        content = self.described(now)
        metrics = () if now.target is None else (now.target.metric,)
        with TemporaryDirectory(prefix="round-", dir=scratch.folder()) as folder:
            runs, history = frames(content, Store(now.root), Path(folder), metrics)
            seen = decide.observed(runs, [(arm.label, arm.setup, arm.setting) for arm in now.arms])
            move = decide.settled(state, seen, self.rows, self.limits)
            settled = bool(self.limits.sizes) and not move.why
            if settled:
                self.look(content, runs, history, state.look)
            self.clock.stop(anew=now.config.rerun)
            budget = Budget(self.left, self.seconds)
            short = bool(move.why) and not budget.affords(move.state)
            if move.why and not short:
                return move, None
            if not self.limits.sizes:
                return End("decided", ""), None
            if not settled:
                self.look(content, runs, history, state.look)
            step = decide.after(state if short else move.state, seen, self.rows, self.limits, budget)
            if short and (isinstance(step, Move) or step.ended != "decided"):
                step = decide.spent(f"{self.open} of {self.pairs} are open", budget, move.state, self.limits)
        return step, state.look

    def look(self, content: dict[str, Any], runs: pd.DataFrame, history: History, number: int) -> None:
        """Judge what has no word. A second look at the same seeds takes the place of the first."""
        kept = [row for row in self.rows if row["look"] < number or row["verdict"] != "undecided"]
        if len(runs):
            self.rows = kept + looks.take(runs, content, history, self.limits.sizes, number, kept)
        self.clock.look(self.limits.sizes[number])

    @property
    def pairs(self) -> int:
        """How many comparisons there are, as far as is known."""
        if self.rows:
            return decide.open_of(self.rows)[1]
        settings = dict.fromkeys(arm.setting for arm in self.plan.arms)
        return sum(len(baseline_and_others(self.plan, setting)[1]) for setting in settings)

    @property
    def open(self) -> int:
        """Comparisons without a word."""
        return len(decide.open_of(self.rows)[0]) if self.rows else self.pairs

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return limit_of_time(self.decide) - self.clock.seconds(self.digests)

    def more(self, state: State) -> list[int]:
        """How many runs of each arm a state asks for that the last round did not."""
        before = [None] * len(state.arms) if self.state is None else self.state.arms
        return [arm.beyond(other) for arm, other in zip(state.arms, before)]

    def cost(self, state: State) -> float:
        """Seconds of one core, by `pace`, of what a state asks for that the last round did not."""
        new = zip(self.plan.arms, state.arms, self.more(state))
        return sum(n * run_seconds(arm, train_of(arm, asked)) for arm, asked, n in new if n)

    def seconds(self, state: State) -> float:
        """How long the next round would probably take, at the speed of those before."""
        return self.cost(state) * self.clock.seconds(self.digests) / max(self.work, 1e-9)

    def grown(self, state: State) -> Study:
        """The study of what a state asks for."""
        arms = [grown(arm, asked) for arm, asked in zip(self.plan.arms, state.arms)]
        return replace(self.plan, arms=labelled(arms), path={})

    def described(self, now: Study) -> dict[str, Any]:
        """What the frames and a look need of study.json."""
        arms = []
        for arm in now.arms:
            known = self.descriptions.setdefault(arm.key, arm.describe())
            arms.append(
                {
                    **known,
                    "label": arm.label,
                    "setting": arm.setting,
                    "config": arm.config.plain(),
                    "seeds": list(arm.config.seeds),
                    "lrs": list(arm.config.optim.lrs),
                    "status": ended(now.root, arm.key)["status"],
                }
            )
        target = None if now.target is None else {"metric": now.target.metric, "value": now.target.value}
        report = now.config.report
        return {"target": target, "baseline": report.baseline, "family": report.family, "arms": arms}

    def content(self, end: End) -> dict[str, Any]:
        """The keys of study.json that tell the way."""
        if not self.decide.enabled:
            return {}
        limits = {name: getattr(self.decide, name) for name in ("seeds", "minutes", "steps", "rates")}
        told = {"sizes": list(self.limits.sizes), "rounds": self.rounds, "ended": end.ended, "reason": end.reason}
        return {"looks": self.rows, "decide": {**limits, **told}}


def here(trainer: Training, root: Path, progress: bool) -> Train:
    """Rounds trained here; `progress`: each with its display."""

    def train(one: Round, tick: Callable[[], None]) -> Absent:
        with Tally(one.arms, one.missing, root, trainer.pool).showing(trainer, progress, tick):
            trainer.train(one.arms)
        return NOTHING

    return train


def limits_of(plan: Study, looked: Sequence[int]) -> Limits:
    """How far a study may go. `looked`: seeds at which it was looked at before, by hand or under other limits."""
    config, seeds = plan.config.decide, first_seeds(plan.arms[0], plan.config.decide)
    sizes: tuple[int, ...] = ()
    if config.enabled:
        sizes = tuple(sorted({*nested.sizes(len(seeds), config.seeds), *looked}))
    return Limits(
        seeds,
        sizes,
        config.seeds,
        config.rates,
        tuple(most_steps(arm, config) for arm in plan.arms),
        plan.arms[0].config.optim.auto,
        "" if config.minutes is None else f"decide.minutes={config.minutes:g}",
    )


def asked_of(arm: PlannedArm) -> Asked:
    """What a command asks of an arm."""
    config = arm.config
    return Asked(config.seeds, config.optim.lrs, config.train.steps, config.train.evaluate.dense)


def train_of(arm: PlannedArm, asked: Asked) -> TrainConfig:
    """How long an arm is trained, and evaluated when."""
    train = arm.config.train
    return replace(train, steps=asked.steps, evaluate=replace(train.evaluate, dense=asked.dense))


def grown(arm: PlannedArm, asked: Asked) -> PlannedArm:
    """A planned arm with what is asked of it now; one that is evaluated otherwise is compared in the same setting."""
    train = train_of(arm, asked)
    optim = replace(arm.config.optim, lr=list(asked.rates))
    config = replace(arm.config, seeds=asked.seeds, dropped=asked.dropped, optim=optim, train=train)
    if train == arm.config.train:
        return replace(arm, config=config)
    home = arm.home or arm.config
    home = replace(home, train=replace(home.train, steps=asked.steps))
    return replace(planned(config, edits=False), setup=arm.setup, job=arm.job, home=home, control_of=arm.control_of)


def relabel(rows: Sequence[dict[str, Any]], before: Sequence[str], arms: Sequence[PlannedArm]) -> None:
    """Let the rows of earlier looks name arms and settings as they are called now: both name the steps."""
    called = dict(zip(before, arms))
    for row in rows:
        arm = called[row["arm"]]
        row["arm"], row["setting"] = arm.label, arm.setting
