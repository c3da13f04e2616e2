"""A person's own module in training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from initbench import rng
from initbench.config.optimizers import OPTIMIZERS
from initbench.engine.module import Call, ModuleMaterial, build, call, observed, seeded
from initbench.engine.single import sample_losses
from initbench.errors import refusal
from initbench.measure import Probe, Start
from initbench.nets.net import hidden_matrices


class OwnModule:
    """A person's module of one seed, as `single.Trainable`. Its layers are those that its forward pass called at first."""

    ends = False  # a module with a loop over its numbers might never return from numbers that are not finite

    def __init__(self, material: ModuleMaterial, seed: int) -> None:
        self.material, self.seed = material, seed
        self.module = build(material, seed)

    def outputs(self, x: Tensor) -> Tensor:
        return call(self.module, x, self.material.structure.by_sample)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group, and one of the hidden matrices where the optimizer treats them apart."""
        c, hidden = self.material.arm.optim, self.hidden_matrices()
        trained = [p for p in self.module.parameters() if p.requires_grad]
        parts = [[p for p in trained if (id(p) in hidden) == one] for one in (True, False)]
        return [
            {"params": part, "weight_decay": c.weight_decay, "muon": one}
            for one, part in zip((True, False), parts)
            if part
        ]

    def hidden_matrices(self) -> set[int]:
        """The weights of hidden layers, by identity; none where the optimizer makes no difference."""
        if OPTIMIZERS[self.material.arm.optim.name].rest is None:
            return set()
        names, scheme = self.material.structure.names, self.material.scheme
        found = hidden_matrices(scheme)
        return {
            id(self.module.get_submodule(names[slot.layers[0]]).weight) for slot in scheme.weights if slot.name in found
        }

    def penalty(self) -> float:
        return 0.0

    def updated(self, updates: int, stepper: torch.optim.Optimizer) -> None:
        """Nothing changes on the way."""

    def randomness(self) -> AbstractContextManager[None]:
        """Dropout and the like draw from the global generator: seeded by the run's seed."""
        return seeded(rng.key(self.seed, "dropout"))

    def stored(self) -> dict[str, Tensor]:
        """Each stored tensor of the layers with a leading run axis of length 1."""
        names, scheme = self.material.structure.names, self.material.scheme
        return {
            slot.name: getattr(self.module.get_submodule(names[slot.layers[0]]), attribute).detach().clone()[None]
            for attribute, slot in scheme.by_attribute
        }

    def probe(self, x: Tensor, y: Tensor, previous: dict[str, Tensor] | None, start: Start | None) -> Probe:
        """Each call's input h, preactivation z and dL/dz give the gradient of this use, dL/dW = (dL/dz)^T h and dL/db =
        sum of dL/dz over samples."""
        material = self.material
        with observed(self.module) as calls:
            loss = sample_losses(material.loss, self.outputs(x), y).mean()
        layers = by_layer(calls, self.module, material)
        outputs = [one.output for layer in layers for one in layer]
        grads = iter(torch.autograd.grad(loss, outputs, allow_unused=True))
        hs, zs, dzs = [], [], []
        for layer in layers:
            hs.append(torch.cat([one.input.flatten(0, -2) for one in layer]))
            zs.append(torch.cat([one.output.detach().flatten(0, -2) for one in layer]))
            found = [next(grads) for _ in layer]
            filled = [torch.zeros_like(one.output) if g is None else g for one, g in zip(layer, found)]
            dzs.append(torch.cat([g.flatten(0, -2) for g in filled]))
        return Probe(
            scheme=material.scheme,
            activation=material.arm.model.activation,
            stored=self.stored(),
            previous=previous,
            zs=[z.T[None] for z in zs],
            hs=[h.T[None] for h in hs],
            dws=[(dz.T @ h)[None] for dz, h in zip(dzs, hs)],
            dbs=[dz.sum(0)[None] for dz in dzs],
            dzs=[dz.T[None] for dz in dzs],
            start=start,
        )


def by_layer(calls: list[Call], module: nn.Module, material: ModuleMaterial) -> list[list[Call]]:
    """The calls of each layer: one, or one per sample where the module is called sample by sample."""
    names = material.structure.names
    expected = [id(module.get_submodule(name)) for name in names]
    rounds = [calls[i : i + len(names)] for i in range(0, len(calls), len(names))]
    if any([id(one.layer) for one in each] != expected for each in rounds):
        raise refusal(
            f"model.target={material.arm.model.target}",
            f"it calls its layers in another order than at first ({', '.join(names)})",
            "set measure=none",
        )
    return [[each[index] for each in rounds] for index in range(len(names))]
