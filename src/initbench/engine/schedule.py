"""At which steps something is taken. Value at step t = after t updates; step 0 and the last step are always in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from initbench.config.groups import Target

if TYPE_CHECKING:
    from initbench.config.arm import ArmConfig


@dataclass(frozen=True)
class Schedule:
    """The steps of a run, and what is taken at which of them."""

    steps: int  # updates
    evaluated: frozenset[int]  # steps with losses and accuracies
    measured: frozenset[int]  # steps with measures; none where there are no measures
    measures: tuple[str, ...]
    goal: Target | None  # where runs leave before the last step; None: they stay

    @staticmethod
    def of(arm: ArmConfig, classes: bool, without: tuple[str, ...] = ()) -> Schedule:
        """The schedule of an arm on data with or without classes. `without`: beginnings of measures that are left out.

        >>> from initbench.overrides.expand import expand
        >>> schedule = Schedule.of(expand(["init=eye", "sharing=none", "train.steps=3"])[0], classes=True)
        >>> sorted(schedule.evaluated), schedule.goal
        ([0, 1, 2, 3], None)
        """
        from initbench.config.arm import resolve_target
        from initbench.measure import chosen

        train, evaluate = arm.train, arm.train.evaluate
        names = tuple(name for name in chosen(arm.measure) if not name.startswith(without or ("\n",)))
        return Schedule(
            train.steps,
            frozenset(evaluation_steps(train.steps, evaluate.dense, evaluate.ratio)),
            frozenset(measure_steps(train.steps, arm.measure.schedule) if names else ()),
            names,
            resolve_target(train.target, classes) if train.stop_when_reached else None,
        )


def evaluation_steps(steps: int, dense: int = 20, ratio: float = 1.05) -> tuple[int, ...]:
    """Every step up to `dense`, then steps that grow by `ratio`, and the last.

    >>> evaluation_steps(25, dense=20)[-7:]
    (19, 20, 21, 22, 23, 24, 25)
    >>> evaluation_steps(300, dense=2, ratio=2.0)
    (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300)
    """
    taken = list(range(min(dense, steps) + 1))
    step = taken[-1]
    while step < steps:
        step = min(steps, max(step + 1, round(step * ratio)))
        taken.append(step)
    return tuple(taken)


def measure_steps(steps: int, schedule: Any) -> tuple[int, ...]:
    """Steps of a measuring schedule: {log: n} about n steps on a log scale, {every: n}, or a list.

    >>> measure_steps(300, {"log": 6})
    (0, 1, 4, 17, 72, 300)
    >>> measure_steps(25, {"every": 10}), measure_steps(25, [3, 99])
    ((0, 10, 20, 25), (0, 3, 25))
    """
    if isinstance(schedule, Mapping):
        kind, n = next(iter(schedule.items()))
        if kind == "every":
            asked = set(range(0, steps + 1, n))
        else:  # n - 1 steps from 1 to the last in equal ratios; rounding merges the first few
            asked = {round(max(steps, 1) ** (i / max(n - 2, 1))) for i in range(n - 1)}
    else:
        asked = set(schedule)
    return tuple(sorted({0, steps} | {step for step in asked if 0 <= step <= steps}))
