"""What the tests share: one thread, an empty current folder, and small arms."""

from __future__ import annotations

import gc
import os
import re

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before the first product of any test; see initbench.engine
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from initbench.config.arm import ArmConfig
from initbench.config.groups import (
    EngineConfig,
    EvaluateConfig,
    InitConfig,
    MeasureConfig,
    ModelConfig,
    OptimConfig,
    SharingConfig,
    TrainConfig,
)

torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is imported and collected stays to the end: a million objects that the collector need not walk again and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


TEACHER = {"name": "teacher", "samples": 60, "inputs": 5, "outputs": 2, "classes": 3, "noise": 0.1}
VALUES = {**TEACHER, "classes": None}


def small_arm(**changes: Any) -> ArmConfig:
    """A small arm; `changes` are keyword arguments of a group (`model={"depth": 2}`), or seeds, data, init."""
    init = changes.pop("init", "kaiming_normal")
    bias = changes.pop("init_bias", 0.1)

    def group(cls: type, name: str, **base: Any) -> Any:
        return cls(**{**base, **changes.pop(name, {})})

    arm = ArmConfig(
        data=changes.pop("data", TEACHER),
        model=group(ModelConfig, "model", depth=4, width=6, dtype="float64"),
        init=init if isinstance(init, InitConfig) else InitConfig(init, init, bias),
        sharing=group(SharingConfig, "sharing"),
        optim=group(OptimConfig, "optim", lr=[0.03, 0.1], batch_size=8),
        train=group(TrainConfig, "train", steps=10, evaluate=EvaluateConfig(dense=4, ratio=1.5)),
        measure=group(MeasureConfig, "measure"),
        engine=group(EngineConfig, "engine"),
        seeds=tuple(changes.pop("seeds", (0, 1))),
    )
    assert not changes, f"small_arm does not know {sorted(changes)}"
    return arm


@pytest.fixture
def arm() -> Callable[..., ArmConfig]:
    """The factory of small arms."""
    return small_arm


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with no MLflow server in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def same_bits(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names of the series whose steps, layers or bits differ."""
    names = sorted(set(a) | set(b))
    return [
        name
        for name in names
        if name not in a
        or name not in b
        or (a[name].steps, a[name].layers) != (b[name].steps, b[name].layers)
        or a[name].values.tobytes() != b[name].values.tobytes()
    ]


def assert_template(line: str) -> str:
    """A refusal is one printable line, `KEY=VALUE: what is wrong; what to do`; gives the line."""
    assert re.fullmatch(r"\S.*?: \S.*; \S.*[^.]", line), f"not the form of a refusal: {line!r}"
    assert line.isprintable()
    return line
