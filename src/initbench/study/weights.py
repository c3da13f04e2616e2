"""The weights of a run on request: it is trained again, which gives the same bytes, so that no store has to keep them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from initbench.config.arm import LATER, ArmConfig, Run
from initbench.config.groups import (
    EngineConfig,
    EvaluateConfig,
    InitConfig,
    MeasureConfig,
    ModelConfig,
    OptimConfig,
    SharingConfig,
    Target,
    TrainConfig,
)
from initbench.errors import refusal, shown
from initbench.study.plan import planned
from initbench.study.results import Results
from initbench.study.worker import one_thread


def weights(results: Results, run: str, step: int | None = None) -> dict[str, np.ndarray]:
    """Every stored tensor of a run, by name; the run is trained again, which gives the bits of the first time.

    Formula:
        theta_t = theta_0 after t updates of the run's optimizer, t = `step`.

    Args:
        results: the study, of `run` or `load`.
        run: one of `results.runs["run"]`.
        step: updates, 0 to as many as the run made; None for all of them.

    Returns:
        weight_00 (fan_out, fan_in), bias_00 (fan_out,) ... by name; the parameters by their own names where model=module.

    Raises:
        InputError: no such run, one that failed, a step that it did not reach, or a run that cannot be trained again
            because data, your own code or versions have changed.

    Examples:
        >>> import initbench as ib
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     results = ib.run(["init=eye", "sharing=none", "seeds=1", "optim.lr=0.1", "train.steps=2", "model.depth=1",
        ...         "track.uri=null", "engine.workers=1", "report.formats=[csv]", f"outputs={folder}"])
        ...     found = ib.weights(results, results.runs["run"][0])
        >>> {name: value.shape for name, value in found.items()}
        {'weight_00': (32, 64), 'weight_01': (10, 32), 'bias_00': (32,), 'bias_01': (10,)}

    Source:
        initbench: a run has the same bits whatever else is trained beside it (docs/architecture.md, What holds).
    """
    rows = results.runs[results.runs["run"].astype(str) == str(run)]
    if not len(rows):
        raise refusal("weights", f"the study has no run {shown(run)}", "name one of results.runs['run']")
    row = rows.iloc[0]
    made = row["steps"]
    if row["status"] == "failed" or not made >= 0:
        raise refusal("weights", f"run {run} failed, so it has no weights", "name a run that was trained")
    updates = int(made) if step is None else step
    if not 0 <= updates <= int(made):
        raise refusal(f"step={shown(step)}", f"run {run} made {int(made)} updates", f"give 0 to {int(made)}")
    arm = next(one for one in results.study["arms"] if one.get("arm_key") == row["arm_key"])
    again = planned(arm_of_plain(arm["config"]))
    if again.key != row["arm_key"]:
        raise refusal(
            "weights",
            f"run {run} cannot be trained again: its data, your own code or the versions have changed",
            "run the study again",
        )
    of_trainer = import_module(again.trainer[0].module)
    with one_thread():
        found: dict[str, np.ndarray] = of_trainer.stored_after(
            again.config, Run(int(row["seed"]), float(row["optim.lr"])), again.data, updates
        )
    return found


def arm_of_plain(plain: Mapping[str, Any]) -> ArmConfig:
    """The arm of its `plain` values, which study.json holds.

    >>> from initbench.overrides.expand import expand
    >>> arm = expand(["init=per_layer", "init.map={1: eye, last: zeros}", "sharing=cycle", "optim=adam"])[0]
    >>> arm_of_plain(arm.plain()) == arm
    True
    """
    init, train = dict(plain["init"]), dict(plain["train"])
    init |= {name: {key: with_numbers(value) for key, value in init[name].items()} for name in ("args", "changed")}
    train["target"] = None if train["target"] is None else Target(**train["target"])
    train["evaluate"] = EvaluateConfig(**train["evaluate"])
    return ArmConfig(
        data={**LATER["data"], **plain["data"]},
        model=ModelConfig(**plain["model"]),
        init=InitConfig(**init),
        sharing=SharingConfig(**plain["sharing"]),
        optim=OptimConfig(**plain["optim"]),
        train=TrainConfig(**train),
        measure=MeasureConfig(**plain["measure"]),
        engine=EngineConfig(**plain["engine"]),
        seeds=tuple(plain["seeds"]),
        dropped=tuple((lr, tuple(seeds)) for lr, seeds in plain["dropped"]),
    )


def with_numbers(value: Any) -> Any:
    """A value from JSON whose mappings have whole numbers as keys again.

    >>> with_numbers({"1": "eye", "1-3": "zeros"})
    {1: 'eye', '1-3': 'zeros'}
    """
    if not isinstance(value, Mapping):
        return value
    return {int(key) if key.lstrip("-").isdecimal() else key: with_numbers(one) for key, one in value.items()}
