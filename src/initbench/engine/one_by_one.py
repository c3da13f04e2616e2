"""Runs of one arm, each a module of its own, trained one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from initbench.config.arm import ArmConfig, Run
from initbench.data import Dataset
from initbench.engine.loop import Progress
from initbench.engine.material import Material
from initbench.engine.module import ModuleMaterial
from initbench.engine.module_run import OwnModule
from initbench.engine.oracle import Oracle
from initbench.engine.schedule import Schedule
from initbench.engine.single import Single, run_one
from initbench.store.chunk import Chunk, joined

# measures that multiply the layers' own Jacobians: your own module may put anything between its layers
OF_A_CHAIN = ("jacobian_", "input_jacobian_")


def run_chunk(arm: ArmConfig, runs: Sequence[Run], data: Dataset, progress: Progress = lambda done: None) -> Chunk:
    """Train the runs (seed, lr) of an arm one after another."""
    classes = data.classes is not None
    if arm.model.name != "module":
        material, schedule = Material(arm, data), Schedule.of(arm, classes)
        return joined([run_one(Oracle(material, run[0]), material, run, schedule, progress) for run in runs])
    own, schedule = ModuleMaterial(arm, data), Schedule.of(arm, classes, without=OF_A_CHAIN)
    chunk = joined([run_one(OwnModule(own, run[0]), own, run, schedule, progress) for run in runs])
    return replace(chunk, init_flops=np.array([own.starts[seed][1] for seed, _ in runs])) if own.starts else chunk


def stored_after(arm: ArmConfig, run: Run, data: Dataset, updates: int) -> dict[str, np.ndarray]:
    """Every stored tensor of one run after so many updates; of a module of your own, its parameters."""
    net: OwnModule | Oracle
    if arm.model.name == "module":
        net = OwnModule(ModuleMaterial(arm, data), run.seed)
    else:
        net = Oracle(Material(arm, data), run.seed)
    with net.randomness():
        one = Single(net, net.material, run)
        for step in range(updates):
            one.loss(step)
            one.update(step)
    if isinstance(net, OwnModule):
        return {name: p.detach().cpu().numpy().copy() for name, p in net.module.named_parameters()}
    return {name: value[0].cpu().numpy().copy() for name, value in net.stored().items()}
