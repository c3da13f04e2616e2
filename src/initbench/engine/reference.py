"""The oracle in training: a plain nn.Module with truly shared parameters, which every other way to train is tested against."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from initbench.config import ArmConfig
from initbench.data import Dataset
from initbench.engine.chunk import Chunk, joined
from initbench.engine.loop import Progress
from initbench.engine.material import Material, start_of_seed
from initbench.engine.oracle import MLP
from initbench.engine.single import run_one, sample_losses
from initbench.measure import Probe
from initbench.schedule import Schedule


def run_chunk(
    arm: ArmConfig, runs: Sequence[tuple[int, float]], data: Dataset, progress: Progress = lambda done: None
) -> Chunk:
    """Train the runs (seed, lr) of an arm one after another."""
    if arm.model.name == "module":
        from initbench.engine import module_run

        return module_run.run_chunk(arm, runs, data, progress)
    material = Material(arm, data)
    schedule = Schedule.of(arm, data.classes is not None)
    return joined([run_one(Reference(material, run[0]), material, run, schedule, progress) for run in runs])


class Reference:
    """The oracle's net of one seed, as `single.Trainable`."""

    ends = True

    def __init__(self, material: Material, seed: int) -> None:
        self.material = material
        self.module = MLP(material, start_of_seed(material, seed)).to(material.arm.engine.device)

    def outputs(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.module(x)
        return outputs

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group a parameter: each has its factor of the learning rate and of the weight decay."""
        c, wiring = self.material.arm.optim, self.material.net
        return [
            {
                "params": [parameter],
                "lr": lr * wiring.lr_factor[name],
                "weight_decay": c.weight_decay * wiring.decay_factor[name],
            }
            for name, parameter in self.module.tensors.items()
        ]

    def penalty(self) -> Tensor | float:
        return self.module.penalty()

    def begin(self, step: int, stepper: torch.optim.Optimizer) -> None:
        """Untie what is tied up to this step."""
        if self.module.copy_of and step == self.material.scheme.untie_at:
            self.module.untie(stepper)

    def stored(self) -> dict[str, Tensor]:
        return self.module.stored()

    def randomness(self) -> AbstractContextManager[None]:
        return nullcontext()

    def probe(self, x: Tensor, y: Tensor, previous: dict[str, Tensor] | None, start: Sequence[Tensor] | None) -> Probe:
        """By autograd: every use of a weight is a node of its own, so that its gradient is seen."""
        net, material = self.module, self.material
        n = len(material.layers)
        weights = [net.weight(i).detach().clone().requires_grad_() for i in range(n)]
        found = [net.bias(i) for i in range(n)]
        biases = [None if b is None else b.detach().clone().requires_grad_() for b in found]
        zs, hs = net.run(weights, biases, x)
        loss = sample_losses(material.loss, zs[-1], y).mean()
        grads = torch.autograd.grad(loss, [*weights, *zs, *(b for b in biases if b is not None)])
        return Probe(
            material.scheme,
            material.arm.model.activation,
            net.stored(),
            previous,
            [z.detach().T[None] for z in zs],
            [h.detach().T[None] for h in hs],
            [g[None] for g in grads[:n]],
            [g[None] for g in grads[2 * n :]],
            [g.T[None] for g in grads[n : 2 * n]],
            start,
            material.net,
        )
