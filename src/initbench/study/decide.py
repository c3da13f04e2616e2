"""What a study that goes on asks for next: pure functions from what was asked and seen to what to ask now, or the end.

Before a look at the comparisons, by the same rules for every arm and the baseline: a grid of learning rates whose best lies
at an end is continued; where nobody arrives in a setting the steps are doubled; with optim.lr=auto each grid is refined
once, on at most `TUNED` seeds, and rates that cannot win are dropped. After a look: what one evaluation earlier would change
is evaluated at every step, and the arms of open comparisons get the seeds of the next look.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from initbench.config.arm import Dropped
from initbench.grammar import duration, plural
from initbench.stats import choice, remedy
from initbench.stats.panel import Panel, panels
from initbench.stats.rates import GATE, chosen_lr
from initbench.study.limits import REFINING

TUNED = 10  # seeds on which the rates of optim.lr=auto are found
HELPED = ("few", "seeds", "grid")  # what keeps a comparison open that more seeds may end
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is asked of one arm so far. The rates of `rates` are run at all `seeds`, each of `dropped` at some."""

    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    steps: int
    dense: int  # every step up to this one is evaluated
    dropped: Dropped = ()
    refined: bool = False

    @property
    def tried(self) -> list[float]:
        """All rates, ascending."""
        return sorted([*self.rates, *(lr for lr, _ in self.dropped)])

    @property
    def runs(self) -> set[tuple[int, float]]:
        """Every run, as (seed, rate)."""
        return {(s, lr) for s in self.seeds for lr in self.rates} | {(s, lr) for lr, some in self.dropped for s in some}

    def beyond(self, other: Asked | None) -> int:
        """How many runs are asked that `other` did not ask for: all, where they are longer or evaluated otherwise."""
        same = other is not None and (self.steps, self.dense) == (other.steps, other.dense)
        return len(self.runs - other.runs if same and other is not None else self.runs)


@dataclass(frozen=True)
class State:
    """What is asked of each arm, and the number of the next look, from 0."""

    arms: tuple[Asked, ...]
    look: int = 0

    def changed(self, of: Callable[[int, Asked], Asked], look: int | None = None) -> State:
        """The state with each arm replaced by `of(its place, it)`."""
        return State(tuple(of(i, arm) for i, arm in enumerate(self.arms)), self.look if look is None else look)


class Limits(NamedTuple):
    """How far a study may go."""

    seeds: tuple[int, ...]  # those that were asked for: of the first look
    sizes: tuple[int, ...]  # seeds at each look, past ones too; none: no look is taken
    most: int  # most seeds of an arm
    rates: int  # most learning rates of an arm
    steps: tuple[int, ...]  # most steps of each arm
    auto: bool = False  # optim.lr=auto
    left: str = ""  # words of the limit of time


class Seen(NamedTuple):
    """What is known of an arm: its runs, the share that arrived at its best rate, the median of their steps."""

    label: str
    setup: str
    setting: str
    panel: Panel | None  # None: some run has failed, and the arm is left alone
    share: float
    steps: float


class Move(NamedTuple):
    """The next round, and why."""

    state: State
    why: str


class End(NamedTuple):
    """Why there is no next round: a word (decided, seeds, minutes, nothing would change), and a sentence."""

    ended: str
    reason: str


class Budget(NamedTuple):
    """Seconds that are left, and how many a next state probably takes."""

    left: float
    seconds: Callable[[State], float]

    def affords(self, state: State) -> bool:
        return self.seconds(state) <= self.left


def first(arms: Iterable[Asked], limits: Limits) -> State:
    """The first round: what was asked, with optim.lr=auto at no more than `TUNED` seeds."""
    seeds = limits.seeds[:TUNED] if limits.auto else limits.seeds
    look = limits.sizes.index(len(limits.seeds)) if limits.sizes else 0
    return State(tuple(replace(arm, seeds=seeds) for arm in arms), look)


def observed(runs: pd.DataFrame, names: Iterable[tuple[str, str, str]]) -> list[Seen]:
    """What the runs say of arms with these labels, setups and settings."""
    found = panels(runs) if len(runs) else {}
    best = chosen_lr(runs).to_dict("index") if len(runs) else {}
    broken = set(runs.loc[runs["status"] == "failed", "arm"]) if len(runs) else set()
    out = []
    for label, setup, setting in names:
        known = label in found and label not in broken
        at = best[label] if known else {"share": 0.0, "steps": math.inf}
        out.append(Seen(label, setup, setting, found[label] if known else None, at["share"], at["steps"]))
    return out


# ------------------------------------------------------------------------------------------------ before a look


def settled(state: State, seen: Sequence[Seen], rows: Sequence[Row], limits: Limits) -> Move:
    """What is asked before the next look; without a why the look can be taken. `rows`: of earlier looks."""
    for rule, why in ((wider, "grid"), (longer, "longer"), (refined, "rates refined"), (completed, "more seeds")):
        new = rule(state, seen, rows, limits)
        if any(arm.beyond(other) for arm, other in zip(new.arms, state.arms)):
            return Move(new, why)
        state = new
    return Move(state, "")


def wider(state: State, seen: Sequence[Seen], rows: Sequence[Row], limits: Limits) -> State:
    """One more rate by the grid's own ratio where the best one lies at an end. Decided arms get nothing more."""
    decided = {(row["setting"], row["setup"]) for row in rows if row["verdict"] != "undecided"}

    def one(i: int, arm: Asked) -> Asked:
        room = limits.rates - len(arm.tried) - (REFINING if limits.auto and not arm.refined else 0)
        if (panel := seen[i].panel) is None or room <= 0 or (seen[i].setting, seen[i].setup) in decided:
            return arm
        new = remedy.continued(arm.tried, remedy.sides_of([choice.edge(panel)]))
        return with_rates(arm, [lr for lr in new if lr not in arm.tried][-room:])

    return state.changed(one)


def longer(state: State, seen: Sequence[Seen], rows: Sequence[Row], limits: Limits) -> State:
    """Twice the steps in settings where nobody arrives. A word that has fallen there stands, and so do the steps."""
    if not limits.sizes:
        return state
    works = {one.setting for one in seen if one.panel is not None}
    arrives = {one.setting for one in seen if one.share >= GATE}
    judged = {row["setting"] for row in rows if row["verdict"] != "undecided"}

    def one(i: int, arm: Asked) -> Asked:
        if seen[i].setting not in works - arrives - judged:
            return arm
        return replace(arm, steps=max(arm.steps, min(2 * arm.steps, limits.steps[i])))

    return state.changed(one)


def refined(state: State, seen: Sequence[Seen], rows: Sequence[Row], limits: Limits) -> State:
    """With optim.lr=auto, once: the geometric means of the best rate and its neighbours."""

    def one(i: int, arm: Asked) -> Asked:
        if not limits.auto or arm.refined:
            return arm
        panel, room = seen[i].panel, limits.rates - len(arm.tried)
        between = midpoints(arm.tried, choice.best(panel))[: max(room, 0)] if panel is not None else []
        return with_rates(replace(arm, refined=True), between)

    return state.changed(one)


def completed(state: State, seen: Sequence[Seen], rows: Sequence[Row], limits: Limits) -> State:
    """With optim.lr=auto: the rest of the seeds that were asked for, at the rates that can still win."""

    def one(i: int, arm: Asked) -> Asked:
        return arm if len(arm.seeds) >= len(limits.seeds) else with_seeds(arm, limits.seeds, seen[i].panel)

    return state.changed(one) if limits.auto else state


def with_rates(arm: Asked, more: Iterable[float]) -> Asked:
    """The arm with more rates, at all its seeds."""
    return replace(arm, rates=tuple(sorted([*arm.rates, *more])))


def with_seeds(arm: Asked, seeds: tuple[int, ...], panel: Panel | None) -> Asked:
    """The arm with more seeds, at the rates of its panel that can still win: all of them without a panel."""
    gone = set() if panel is None else {float(lr) for lr in panel.lrs[choice.hopeless(panel)]}
    dropped = tuple(sorted([*arm.dropped, *((lr, arm.seeds) for lr in gone)]))
    return replace(arm, seeds=seeds, rates=tuple(lr for lr in arm.rates if lr not in gone), dropped=dropped)


def midpoints(rates: Sequence[float], best: int) -> list[float]:
    """The geometric means of a rate and its neighbours, in as few digits as keep them between.

    >>> midpoints([0.01, 0.1, 0.3], 1), midpoints([0.1, 0.3], 1)
    ([0.032, 0.17], [0.17])
    """
    out = []
    for low, high in ((best - 1, best), (best, best + 1)):
        if low >= 0 and high < len(rates):
            middle = math.sqrt(rates[low] * rates[high])
            short = (float(f"{middle:.{digits}g}") for digits in (2, 3, 4))
            out.append(next((near for near in short if rates[low] < near < rates[high]), middle))
    return out


# ------------------------------------------------------------------------------------------------ after a look


def after(state: State, seen: Sequence[Seen], rows: Sequence[Row], limits: Limits, budget: Budget) -> Move | End:
    """What follows look `state.look`, whose rows, and those of earlier looks, are `rows`."""
    still, pairs = open_of(rows)
    if not still:
        return End("decided", "every comparison has a word" if pairs else "there is nothing to compare")
    open_ = f"{len(still)} of {plural(pairs, 'comparison')} {'is' if len(still) == 1 else 'are'} open"
    dense = denser(state, seen, still)
    if dense != state and budget.affords(dense):
        return Move(dense, "denser")
    helped = [
        row for row in still if row["why"] in HELPED and all(seen[i].panel is not None for i in arms_of(row, seen))
    ]
    if not helped:
        return End("nothing would change", f"{open_}, and more seeds would not decide: {causes(still, state, limits)}")
    if state.look + 1 >= len(limits.sizes) or limits.sizes[state.look + 1] > limits.most:
        return End("seeds", f"{open_} at decide.seeds={limits.most}")
    # where the time does not suffice for all, those that need the fewest seeds
    helped.sort(key=lambda row: row.get("seeds_needed") or math.inf)
    for some in range(len(helped), 0, -1):
        new = more_seeds(state, seen, helped[:some], limits)
        if budget.affords(new):
            return Move(new, "more seeds")
    return spent(open_, budget, new, limits)


def open_of(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The comparisons that have no word at the last look, and how many there are in all. Setups that are the same nets run
    by run are one."""
    last = max((row["look"] for row in rows), default=0)
    rows = [row for row in rows if not row.get("same_as")]
    still = [row for row in rows if row["look"] == last and row["verdict"] == "undecided"]
    return still, len(still) + sum(row["verdict"] != "undecided" for row in rows)


def spent(open_: str, budget: Budget, next_: State, limits: Limits) -> End:
    """The end by time."""
    takes, left = (duration(seconds) for seconds in (budget.seconds(next_), max(budget.left, 0.0)))
    return End("minutes", f"{open_}; the next round would take about {takes}, and {left} of {limits.left} are left")


def denser(state: State, seen: Sequence[Seen], still: Iterable[Row]) -> State:
    """Every step evaluated up to the slower median where one evaluation earlier would change a word; where that was not
    enough, all of them."""
    wanted: dict[int, int] = {}
    for row in still:
        if row["why"] != "grid":
            continue
        both = arms_of(row, seen)
        slower = max((math.ceil(seen[i].steps) for i in both if math.isfinite(seen[i].steps)), default=0)
        enough = all(state.arms[i].dense >= slower for i in both)
        for i in both:
            wanted[i] = max(wanted.get(i, 0), state.arms[i].steps if enough else slower)
    return state.changed(lambda i, arm: replace(arm, dense=max(arm.dense, wanted.get(i, 0))))


def more_seeds(state: State, seen: Sequence[Seen], rows: Iterable[Row], limits: Limits) -> State:
    """The seeds of the next look for the arms of these comparisons and their baselines. Rates that cannot win are dropped
    after the first look."""
    seeds = remedy.with_more(limits.seeds, limits.sizes[state.look + 1])
    asked = {i for row in rows for i in arms_of(row, seen)}

    def one(i: int, arm: Asked) -> Asked:
        if i not in asked or len(arm.seeds) >= len(seeds):
            return arm
        return with_seeds(arm, seeds, seen[i].panel if limits.sizes[state.look] == len(limits.seeds) else None)

    return state.changed(one, state.look + 1)


def arms_of(row: Row, seen: Sequence[Seen]) -> tuple[int, int]:
    """Places of the arm and the baseline of a comparison."""
    place = {(one.setting, one.setup): i for i, one in enumerate(seen)}
    return place[row["setting"], row["setup"]], place[row["setting"], row["baseline"]]


def causes(still: Iterable[Row], state: State, limits: Limits) -> str:
    """What keeps comparisons open, with how many each."""
    ends = {"lr": f" (decide.rates={limits.rates})", "steps": f" (decide.steps={max(limits.steps, default=0)})"}
    counted = Counter(row["why"] for row in still)
    said = {why: remedy.REASONS.get(why, "an arm has failed").format(n="few") for why in counted}
    said |= {why: "an arm of theirs has failed" for why in counted if why in HELPED}
    return "; ".join(f"{n}: {said[why]}{ends.get(why, '')}" for why, n in counted.items())
