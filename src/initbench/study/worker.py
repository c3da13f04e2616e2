"""What a worker process does: train a chunk with the arm's engine and publish its part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from initbench import data
from initbench.config.arm import ArmConfig, Run
from initbench.engine import stacked, trainers  # noqa: F401  what forked workers have imported
from initbench.engine.material import Material
from initbench.engine.netstart import start_flops
from initbench.errors import refusal, shown
from initbench.store.chunk import Chunk
from initbench.store.parts import Store
from initbench.study.plan import PlannedArm, source_of


def work(arm: ArmConfig, runs: Sequence[Run], root: Path, key: str, progress: Callable[[int], None]) -> None:
    """Train the runs (seed, lr) of an arm and publish them as one part of the store at `root`."""
    dataset = data.load(arm.data)
    material = Material(arm, dataset)
    trainer, _ = trainers.chosen(arm, material)
    check_unchanged(arm, key, dataset.hash, trainer.name)
    chunk = trainer.train(arm, runs, dataset, progress)
    Store(root).write(key, with_init_flops(chunk, material))


def check_unchanged(arm: ArmConfig, key: str, data_hash: str, trainer: str) -> None:
    """Refuse your own data or code that changed since the study was planned: a worker reads the files
    as they are now, and the key would name other numbers."""
    file, source = arm.data.get("path"), source_of(PlannedArm(config=arm, key=key, setup=""))
    if (file is not None or source) and arm.key(data_hash, source, version("torch"), trainer) != key:
        what = f"data.path={shown(file)}" if file is not None and not source else "a file of your own"
        raise refusal(what, "changed since the study was planned", "run the same command again")


def with_init_flops(chunk: Chunk, material: Material) -> Chunk:
    """A chunk with what each run's start cost, where that was more than drawing. A module's runs know it already."""
    arm = material.arm
    if chunk.init_flops is not None or material.initializer.needs == "nothing":
        return chunk
    flops = [start_flops(arm, material.data, material.net, material.loss, seed) for seed, _ in chunk.runs]
    return replace(chunk, init_flops=np.array(flops))


def ready(functions: Sequence[tuple[str, str]]) -> None:
    """Compile or load functions of the kernel; what goes wrong is told when an arm needs them."""
    if functions:
        with suppress(Exception):
            from initbench.engine.kernel import compiled

            for kind, name in functions:
                compiled.address(kind, name)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside torch: stacks are spread over processes instead."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
