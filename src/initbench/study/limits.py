"""Whether the limits of decide=true fit the study, and how much it will probably do; before anything is trained."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from initbench.config.decide import FEWEST, DecideConfig
from initbench.config.estimate import RUN
from initbench.config.groups import Target
from initbench.errors import InputError, refusal
from initbench.memory import check_fits
from initbench.stats import nested, remedy
from initbench.study.pace import run_seconds

if TYPE_CHECKING:
    from initbench.study.plan import PlannedArm

LONGER = 4  # times train.steps: decide.steps=null
REFINING = 2  # rates that refining a grid adds


def check_limits(decide: DecideConfig, arms: Sequence[PlannedArm], target: Target | None, others: int) -> None:
    """Raise InputError where a study cannot be decided, or a limit lies below what is asked for anyway.

    `others`: arms that do not apply.
    """
    if target is None:
        raise refusal("decide=true", "train.target=null sets no target to compare by", "set one, or leave decide out")
    if max(Counter(arm.setting for arm in arms).values()) < 2 and not others:
        do = "sweep some, e.g. init=orthogonal,kaiming_normal"
        raise refusal("decide=true", "each setting has one setup: nothing to compare", do)
    configs = [arm.config for arm in arms]
    if not all(config.train.steps for config in configs):
        raise refusal("decide=true", "train.steps=0 trains nothing", "set train.steps, e.g. train.steps=300")
    for key, most, least, of in (
        ("seeds", decide.seeds, max(len(config.seeds) for config in configs), "seeds of the first look"),
        ("steps", decide.steps, max(config.train.steps for config in configs), "steps of train.steps"),
        ("rates", decide.rates, max(len(config.optim.lrs) for config in configs), "learning rates of optim.lr"),
    ):
        if most is not None and most < least:
            raise too_small(key, most, least, of)
    check_fits(f"decide.seeds={decide.seeds}", float(decide.seeds * len(arms) * RUN), "ask for fewer seeds")


def too_small(key: str, most: int, least: int, of: str) -> InputError:
    """The refusal of a limit.

    >>> str(too_small("seeds", 9, 10, "seeds of the first look"))
    'decide.seeds=9: less than the 10 seeds of the first look; set decide.seeds=10 or more'
    """
    return refusal(f"decide.{key}={most}", f"less than the {least} {of}", f"set decide.{key}={least} or more")


def first_seeds(arm: PlannedArm, decide: DecideConfig) -> tuple[int, ...]:
    """The seeds of the first look: those asked for, with decide=true at least so many that a word can fall."""
    seeds = arm.config.seeds
    return remedy.with_more(seeds, FEWEST) if decide.enabled else seeds


def most_steps(arm: PlannedArm, decide: DecideConfig) -> int:
    """Most steps of an arm's runs."""
    return decide.steps or LONGER * arm.config.train.steps


def likely(decide: DecideConfig, arms: Sequence[PlannedArm]) -> list[tuple[int, int, float]]:
    """(seeds, new runs, seconds of one core by `pace`) at each look, if half of the comparisons are decided at each and two rates are left."""
    first = first_seeds(arms[0], decide)
    sizes = nested.sizes(len(first), max(decide.seeds, len(first))) if decide.enabled else (len(first),)
    costs = sorted((run_seconds(arm) for arm in arms), reverse=True)
    optim = arms[0].config.optim
    runs = len(first) * (len(optim.lrs) + (REFINING if optim.auto else 0))
    out = [(sizes[0], runs * len(arms), runs * sum(costs))]
    bases = len({arm.setting for arm in arms})
    open_: float = len(arms) - bases
    for before, size in pairwise(sizes):
        open_ /= 2
        if open_ < 0.5:
            break
        asked, runs = round(open_) + bases, (size - before) * min(len(optim.lrs), 2)
        out.append((size, runs * asked, runs * sum(costs[:asked])))
    return out


def limit_of_time(decide: DecideConfig) -> float:
    """Seconds that a study may take."""
    return math.inf if decide.minutes is None or not decide.enabled else 60 * decide.minutes
