"""At which steps something is taken. Value at step t = after t updates; step 0 and the last step are always in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
