"""The training loop, written once: what is evaluated, measured, noted and updated at each step.

Everything that trains by torch goes through it: stacks of runs (stacked.py) and single modules (single.py). The compiled
kernel, which has the same steps inside, is its only other writing; tests/naive_loop.py is an independent one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from initbench.engine.recorder import Recorder
from initbench.engine.schedule import Schedule

Progress = Callable[[int], None]  # is told of so many more run-steps


class Runs(Protocol):
    """R runs in training. Tensors are (R,), or (R, k) for measures.

    `diverged_at` is each run's first step with a loss or a parameter that is not finite, -1 before; `evaluate` and
    `loss` note it.
    """

    diverged_at: Tensor

    def evaluate(self, step: int) -> dict[str, Tensor]:
        """Losses and accuracies on the fixed evaluation samples."""
        ...

    def measure(self, step: int, names: Sequence[str]) -> dict[str, Tensor]:
        """Measures on the probe batch, those that exist at this step."""
        ...

    def loss(self, step: int) -> Tensor:
        """Mean loss on the next batch; the pass is kept for `update`."""
        ...

    def remember(self) -> None:
        """Keep the parameters as they are before the next update: the next measures compare with them."""
        ...

    def update(self, step: int) -> None:
        """Backward pass, and one update of every stored tensor."""
        ...

    def keep(self, places: Tensor) -> Tensor:
        """Go on with the runs at these places alone, their bits unchanged; returns the places of what is there now."""
        ...


def train(runs: Runs, schedule: Schedule, recorder: Recorder, progress: Progress) -> None:
    """All steps of R runs, with what is taken on the way."""
    told = 0
    for step in range(schedule.steps + 1):
        if step in schedule.evaluated:
            values = runs.evaluate(step)
            recorder.add(step, values)
            progress((step - told) * recorder.asked)
            told = step
        if step in schedule.measured:
            recorder.add(step, runs.measure(step, schedule.measures))
        losses = runs.loss(step)
        if step in schedule.measured:
            recorder.add(step, {"loss/batch": losses})
        if step == schedule.steps:
            break
        if step + 1 in schedule.measured:
            runs.remember()
        runs.update(step)
        if schedule.goal is not None and step in schedule.evaluated:
            gone = schedule.goal.met(values[schedule.goal.metric]) | (runs.diverged_at >= 0)
            if not leave(runs, gone, step, recorder):
                progress((schedule.steps - told) * recorder.asked)
                break
    recorder.end(runs.diverged_at)


def leave(runs: Runs, gone: Tensor, step: int, recorder: Recorder) -> bool:
    """Let runs go (R,) at the evaluation that saw them reach the target or diverge; False if none is left."""
    if not bool(gone.any()):
        return True
    recorder.left(gone, step, runs.diverged_at)
    places = torch.nonzero(~gone).flatten()
    if not len(places):
        return False
    recorder.keep(runs.keep(places))
    return True
