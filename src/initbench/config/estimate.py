"""What an arm needs of memory, estimated from its configuration alone: refused before anything of that size is made."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import log
from typing import Any

from initbench.config.checks import is_whole
from initbench.config.groups import MeasureConfig, ModelConfig, OptimConfig, TrainConfig
from initbench.memory import check_fits

COPIES = 4  # of each weight in training: its start, itself, its gradient, what the optimizer keeps
LAYER = 20_000  # bytes of the objects that describe a layer: shapes, slot, theory
RUN = 20_000  # bytes of a run in the frames, the bootstrap and MLflow's records; docs/performance.md, Memory
STEP = 100  # bytes of a step of a schedule
SERIES = 4  # losses and accuracies of a run at an evaluation
MEASURES = 20  # values by layer at a measured step, about


def check_memory(
    model: ModelConfig,
    optim: OptimConfig,
    train: TrainConfig,
    measure: MeasureConfig,
    seeds: Any,
    inputs: int = 1,
    outputs: int = 1,
) -> None:
    """Raise InputError if an arm needs more memory than there is; names what takes most of it.

    >>> small = ModelConfig(), OptimConfig(), TrainConfig(), MeasureConfig()
    >>> check_memory(*small, seeds=10)
    >>> check_memory(*small, seeds=10**15)
    Traceback (most recent call last):
    initbench.errors.InputError: seeds=1000000000000000: needs 1e+11 GB of memory, ...; ask for fewer seeds
    """
    layers = 1 if model.name == "module" else model.depth + 1
    runs = (seeds if is_whole(seeds) else len(seeds) if hasattr(seeds, "__len__") else 1) * len(optim.lrs)
    weights = 0 if model.name == "module" else numbers(model, inputs, outputs)
    evaluated, measured = evaluations(train), measurements(train.steps, measure.schedule)
    widest = max(model.width) if isinstance(model.width, (list, tuple)) else model.width
    parts = {
        (f"seeds={seeds}", "ask for fewer seeds"): runs * RUN,
        (f"model.width={widest}", "a narrower net"): weights * COPIES * (8 if model.dtype == "float64" else 4),
        (f"model.depth={model.depth}", "a shallower net"): layers * LAYER,
        (f"train.steps={train.steps}", "evaluate at fewer steps: train.evaluate.dense, train.evaluate.ratio"): evaluated
        * (STEP + SERIES * 8 * runs),
        (f"measure.schedule={measure.schedule}", "measure at fewer steps"): measured * (STEP + MEASURES * layers * 8),
    }
    what, do = max(parts, key=lambda part: parts[part])
    check_fits(what, sum(parts.values()), do)


def numbers(model: ModelConfig, inputs: int, outputs: int) -> int:
    """Weights and biases of an untied net, without making its layers.

    >>> numbers(ModelConfig(depth=2, width=3), 4, 1)
    31
    """
    if isinstance(model.width, (list, tuple)):
        sizes = (inputs, *model.width, outputs)
        return sum((n + 1) * m for n, m in pairwise(sizes))
    return (
        (inputs + 1) * model.width + (model.depth - 1) * (model.width + 1) * model.width + (model.width + 1) * outputs
    )


def evaluations(train: TrainConfig) -> float:
    """How many steps are evaluated, about; see `schedule.evaluation_steps`."""
    dense = min(train.evaluate.dense, train.steps)
    grown = log(train.steps / max(dense, 1)) / log(train.evaluate.ratio) if train.steps > max(dense, 1) else 0.0
    return dense + min(train.steps - dense, grown) + 2


def measurements(steps: int, schedule: Any) -> float:
    """How many steps are measured, about; see `schedule.measure_steps`."""
    if not isinstance(schedule, Mapping):
        return len(schedule)
    kind, n = next(iter(schedule.items()))
    return steps / n if kind == "every" else n
