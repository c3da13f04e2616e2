"""What a race costs beside its steps: operations, bytes that are stored, activations that are kept for the backward pass.

A shared layer stores fewer numbers, costs as many operations as an untied one, and keeps as many activations: so the untied
net of the same width has equal activation memory, and the narrower one, with as many stored numbers, has less.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pandas as pd

NAN = float("nan")


class Costs(NamedTuple):
    """Of two nets, one over the other. `step`: operations of a step. `stored`: bytes of parameters, gradients and optimizer
    state. `activations`: numbers that the layers hand on in a step. `start`, `start_baseline`: operations of the start, in
    units of what the baseline needs from there to the target."""

    step: float = NAN
    stored: float = NAN
    activations: float = NAN
    start: float = 0.0
    start_baseline: float = 0.0

    def flops(self, steps: float) -> float:
        """The ratio in operations up to the target, from the ratio in steps.

        >>> Costs(step=0.5).flops(1.2), Costs(step=1.0, start=0.5).flops(1.2)
        (0.6, 1.7)
        """
        return (self.start + steps * self.step) / (self.start_baseline + 1.0)


UNKNOWN = Costs()


def costs(one: pd.DataFrame, other: pd.DataFrame) -> Costs:
    """Of the runs of two arms; NaN for what they do not say."""
    if "flops_per_step" not in one:
        return UNKNOWN

    def ratio(name: str) -> float:
        return first(one, name) / first(other, name)

    spent = first(other, "flops_per_step") * middle(other, "steps_to_target")
    starts = [0.0 if (begun := middle(arm, "init_flops")) == 0 else begun / spent for arm in (one, other)]
    return Costs(ratio("flops_per_step"), ratio("state_bytes"), activations(one) / activations(other), *starts)


def first(arm: pd.DataFrame, name: str) -> float:
    """A number that all runs of an arm have in common."""
    return float(arm[name].iloc[0]) if name in arm else NAN


def middle(arm: pd.DataFrame, name: str) -> float:
    """The median over the runs of an arm; 0 where it says nothing of it."""
    return float(arm[name].median()) if name in arm else 0.0


def activations(arm: pd.DataFrame) -> float:
    """Numbers that the hidden layers of an arm hand on for each sample of a batch, times the samples.

    >>> arm = pd.DataFrame({"model.depth": [3], "model.width": [32], "optim.batch_size": [64]})
    >>> activations(arm)
    6144.0
    """
    if "model.width" not in arm:
        return NAN
    width = json.loads(str(arm["model.width"].iloc[0]))
    units = sum(width) if isinstance(width, list) else width * float(arm["model.depth"].iloc[0])
    batch = first(arm, "optim.batch_size")
    return units * (1.0 if np.isnan(batch) else batch)
