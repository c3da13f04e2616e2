"""How long a run takes by its configuration alone: seconds of one core, from the operations of its steps, evaluations and
measures and from what each of them costs beside.

The numbers are those of one machine (docs/performance.md), so the same command is cut into the same chunks everywhere.
`calibrate` finds by how much this machine differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from initbench.config.estimate import evaluations, measurements
from initbench.engine.trainers import stack_size

if TYPE_CHECKING:
    from initbench.config.groups import TrainConfig
    from initbench.study.plan import PlannedArm

PROBE = 256  # samples of the probe batch, measure.PROBE_SAMPLES


@dataclass(frozen=True)
class Rate:
    """What a trainer does: operations a second of one core; seconds of each layer beside them, once a pass of a stack; and
    of a layer's measures."""

    operations: float
    layer: float
    measures: float


RATES = {
    "kernel": Rate(1e11, 4e-7, 2e-6),
    "stacked": Rate(6e10, 4e-5, 2e-4),
    "single": Rate(5e10, 7e-5, 2e-4),
}
DECOMPOSED = 4e-9  # seconds of measures with decompositions, by layer and cube of its width
DRAWN, LAYER_DRAWN = 5e-9, 1e-4  # seconds of a start by stored number and by layer
WHOLE_NET = 0.3  # seconds of a start that sees the whole net, about: they differ a hundredfold
SPLIT = 1e-3  # seconds of what a seed needs besides: its split, its batches
LONGEST = 30.0  # seconds of a chunk: a minute on a machine half as fast


class Pace(NamedTuple):
    """Seconds of one core: of a seed's start, once a chunk; of a run's step, evaluation and measured step."""

    seed: float
    step: float
    evaluation: float
    look: float

    def times(self, other: Pace) -> Pace:
        """Each multiplied by another's."""
        return Pace(*(a * b for a, b in zip(self, other)))


def pace(arm: PlannedArm) -> Pace:
    """How long the parts of a run of an arm take, one of a full chunk.

    >>> from initbench.study.command import plan
    >>> arm = plan(["init=eye", "sharing=none"]).arms[0]
    >>> 0.01 < run_seconds(arm) < 0.1
    True
    """
    from initbench.study.plan import train_batch

    config, layers, costs = arm.config, arm.layers, arm.costs()
    name, train = arm.trainer[0].name, config.train
    rate = RATES[name]
    stack = min(stack_size(arm.trainer[0], config, layers), len(config.runs)) if name == "stacked" else 1
    beside = len(layers) / stack
    forward = costs["flops_per_step"] / (3 * train_batch(config, arm.data))  # of one sample
    held, there = arm.data.train_samples, len(arm.data.x)
    samples = min(train.eval_samples, held) + min(train.eval_samples, there - held)
    widths = sum(min(layer.fan_in, layer.fan_out) ** 3 for layer in layers)
    drawn = DRAWN * costs["stored_parameters"] + LAYER_DRAWN * len(layers)
    return Pace(
        SPLIT + (WHOLE_NET if arm.sees_whole_net else drawn),
        costs["flops_per_step"] / rate.operations + rate.layer * beside,
        samples * forward / rate.operations + rate.layer * beside / 3,
        3 * min(PROBE, held) * forward / rate.operations
        + rate.measures * beside
        + (DECOMPOSED * widths if decomposes(arm) else 0.0),
    )


def counts(arm: PlannedArm, train: TrainConfig | None = None) -> Pace:
    """How many of each a run has, as if it started alone; `train`: trained so long instead."""
    from initbench import measure

    train = train or arm.config.train
    looks = measurements(train.steps, arm.config.measure.schedule) if measure.chosen(arm.config.measure) else 0.0
    return Pace(1.0, train.steps, evaluations(train), looks)


def run_seconds(arm: PlannedArm, train: TrainConfig | None = None) -> float:
    """Seconds of one core that a run takes; `train`: trained so long instead."""
    return sum(pace(arm).times(counts(arm, train)))


def decomposes(arm: PlannedArm) -> bool:
    """Whether some of an arm's measures decompose matrices."""
    from initbench import measure

    return any(not measure.MEASURES[name].light for name in measure.chosen(arm.config.measure))


def most_runs(arm: PlannedArm) -> int:
    """Runs that a chunk may have, so that a killed job loses about a minute of work; at least one."""
    return max(1, int(LONGEST / run_seconds(arm)))
