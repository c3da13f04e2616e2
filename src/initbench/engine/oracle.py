"""The oracle: one run as a plain nn.Module, every stored tensor one nn.Parameter.

Written from the definitions a second time, matrix by matrix and with autograd alone, so that it can be an oracle: it
takes nothing from `initbench.nets.mlp`, `initbench.nets.residual` or the formulas of `initbench.sharing` but index tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initbench.engine.material import Material, start_of_seed
from initbench.engine.oracle_sharing import BIASES, FORMULAS
from initbench.engine.single import sample_losses
from initbench.measure import Probe, Start

PHI: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "sin": torch.sin,
    "erf": torch.erf,
    "abs": torch.abs,
    "linear": lambda z: z,
}


class MLP(nn.Module):
    """One run: `tensors` are its parameters by the names of the stored slots; layers that share hold one and the same."""

    def __init__(self, material: Material, stored: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.arm, self.scheme, self.layers = material.arm, material.scheme, material.layers
        self.phi = PHI[self.arm.model.activation]
        # while it is tied, a copy stands for the first of its group
        self.copies = {name: group[0] for group in self.scheme.ties for name in group[1:]}
        self.copy_of = self.copies if self.scheme.tied(0) else {}
        self.frozen = {name: stored[name].clone() for name in self.scheme.frozen}
        self.tensors = nn.ParameterDict(
            {
                name: nn.Parameter(value.clone())
                for name, value in stored.items()
                if name not in self.copy_of and name not in self.frozen
            }
        )
        self.hooks: dict[str, Any] = {}
        for slot in self.scheme.slots:
            if slot not in self.scheme.own and slot.name in self.tensors:
                self.take_mean(slot.name, len(slot.layers))
        if self.copy_of:
            for group in self.scheme.ties:
                self.take_mean(group[0], len(group))

    def take_mean(self, name: str, uses: int) -> None:
        """From now on the gradient of a parameter is the mean over its uses, where that is asked."""
        if self.scheme.reduce == "mean" and uses > 1:
            self.hooks[name] = self.tensors[name].register_hook(partial(mean_of_uses, uses))

    def tensor(self, name: str) -> Tensor:
        """A stored tensor of this run."""
        return self.frozen[name] if name in self.frozen else self.tensors[self.copy_of.get(name, name)]

    def weight(self, layer: int) -> Tensor:
        """The weight of a layer, (fan_out, fan_in)."""
        slot = self.scheme.weight_slot[layer]
        formula = self.scheme.formulas.get(layer)
        if formula is None:
            return self.tensor(slot.name)
        if self.arm.sharing.name not in FORMULAS:  # of an installed package: its own formula, one run at a time
            return formula.weight({name: self.tensor(name)[None] for name in formula.names})[0]
        more = {"b": self.arm.sharing.block} if self.arm.sharing.name == "block_circulant" else {}
        return FORMULAS[self.arm.sharing.name](self.tensor, slot.name, layer, self.layers[layer].shape, formula, **more)

    def bias(self, layer: int) -> Tensor | None:
        """The bias of a layer, (fan_out,)."""
        if not self.scheme.biases:
            return None
        slot, formula = self.scheme.bias_slot[layer], self.scheme.bias_formulas.get(layer)
        if formula is None:
            return self.tensor(slot.name)
        if self.arm.sharing.name not in BIASES:
            return formula.weight({name: self.tensor(name)[None] for name in formula.names})[0]
        return BIASES[self.arm.sharing.name](self.tensor, slot.name, layer, slot.shape, formula)

    def injected(self, layer: int, x: Tensor) -> Tensor | float:
        """V x of a layer that also receives the input, (B, fan_out)."""
        for slot in self.scheme.injections:
            if layer in slot.layers:
                ntk = math.sqrt(x.shape[1]) if self.arm.model.parametrization == "ntk" else 1.0
                return F.linear(x, self.tensor(slot.name)) / ntk
        return 0.0

    def forward(self, x: Tensor) -> Tensor:
        count = range(len(self.layers))
        return self.run([self.weight(i) for i in count], [self.bias(i) for i in count], x)[0][-1]

    def run(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor | None], x: Tensor
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Preactivations and inputs of all layers, (B, units) each, for given weights and biases."""
        model, depth = self.arm.model, len(weights) - 1
        zs, hs = [self.product(0, weights[0], biases[0], x)], [x]
        if model.residual is None:
            for i in range(1, depth + 1):
                hs.append(self.phi(zs[-1]))
                zs.append(self.product(i, weights[i], biases[i], hs[-1]) + self.injected(i, x))
            return zs, hs
        for first in range(1, depth, model.branch):
            u = zs[-1]
            for i in range(first, first + model.branch):
                h = self.phi(zs[-1])
                hs.append(h + self.tensor(f"shift_{i:02d}") if model.residual == "fixup" else h)
                zs.append(self.product(i, weights[i], biases[i], hs[-1]) + self.injected(i, x))
            zs[-1] = self.joined(u, zs[-1], i)
        hs.append(self.phi(zs[-1]))
        zs.append(self.product(depth, weights[depth], biases[depth], hs[-1]))
        return zs, hs

    def product(self, layer: int, w: Tensor, b: Tensor | None, h: Tensor) -> Tensor:
        """W h + b in the model's parametrization."""
        kind = self.arm.model.parametrization
        if kind == "ntk":
            z = F.linear(h, w) / math.sqrt(h.shape[1])
            return z if b is None else z + b
        if kind in ("mup", "depth_mup") and layer == len(self.layers) - 1:
            return F.linear(h / (h.shape[1] / self.arm.model.base_width), w, b)
        return F.linear(h, w, b)

    def joined(self, u: Tensor, f: Tensor, last: int) -> Tensor:
        """The stream after a branch: u before it, f what it computed."""
        rule = self.arm.model.residual
        if rule in ("skipinit", "rezero", "fixup", "zero_gamma"):
            return u + self.tensor(f"gain_{last:02d}") * f
        branches = (len(self.layers) - 2) // self.arm.model.branch
        return {
            "none": f,
            "plain": u + f,
            "inv_sqrt2": (u + f) / math.sqrt(2),
            "inv_sqrt_depth": u + f / math.sqrt(branches),
            "inv_depth": u + f / branches,
            "looped": u + f * self.of_a_loop(last),
            "indegree": u + f,
        }[str(rule)]

    def of_a_loop(self, last: int) -> float:
        """lambda / (N sqrt L): of L different blocks, the one that ends at this layer is used N times."""
        model, depth = self.arm.model, len(self.layers) - 1
        blocks = [
            tuple(id(self.scheme.weight_slot[i]) for i in range(first, first + model.branch))
            for first in range(1, depth, model.branch)
        ]
        own = blocks[(last - 1) // model.branch]
        return model.residual_scale / (sum(one == own for one in blocks) * math.sqrt(len(set(blocks))))

    def penalty(self) -> Tensor | float:
        """lambda / L sum_{i<j} |W_i - W_j|^2 of soft sharing."""
        total: Tensor | float = 0.0
        for group in self.scheme.soft:
            for a, one in enumerate(group):
                for other in group[a + 1 :]:
                    gap = (self.tensor(one) - self.tensor(other)).square().sum()
                    total = total + self.scheme.strength / len(group) * gap
        return total

    def untie(self, stepper: torch.optim.Optimizer) -> None:
        """Give each copy its own parameter and a copy of the optimizer's state (tie_then_untie)."""
        for name, first in self.copy_of.items():
            old, new = self.tensors[first], nn.Parameter(self.tensors[first].detach().clone())
            group = next(g for g in stepper.param_groups if any(p is old for p in g["params"]))
            stepper.add_param_group({**{k: v for k, v in group.items() if k != "params"}, "params": [new]})
            stepper.state[new] = {
                k: v.clone() if isinstance(v, Tensor) else v for k, v in stepper.state.get(old, {}).items()
            }
            self.tensors[name] = new
        for first in set(self.copy_of.values()) & set(self.hooks):
            self.hooks.pop(first).remove()
        self.copy_of = {}

    @torch.no_grad()
    def tie(self, stepper: torch.optim.Optimizer) -> None:
        """Make one parameter of each group, the average of its members, and average the optimizer's state
        (untie_then_tie)."""
        for group in self.scheme.ties:
            members = [self.tensors[name] for name in group]
            states = [stepper.state.get(member, {}) for member in members]
            for key, value in states[0].items():
                if isinstance(value, Tensor) and value.dim():  # not the number of steps
                    value.copy_(torch.stack([state[key] for state in states]).mean(0))
            members[0].copy_(torch.stack(list(members)).mean(0))
            for name, member in zip(group[1:], members[1:]):
                stepper.param_groups[:] = [g for g in stepper.param_groups if g["params"][0] is not member]
                stepper.state.pop(member, None)
                del self.tensors[name]
            self.take_mean(group[0], len(group))
        self.copy_of = self.copies

    def stored(self) -> dict[str, Tensor]:
        """Each stored tensor with a leading run axis of length 1."""
        return {slot.name: self.tensor(slot.name).detach().clone()[None] for slot in self.scheme.slots}


def mean_of_uses(uses: int, gradient: Tensor) -> Tensor:
    """Autograd's sum over uses as their mean."""
    return gradient / uses


class Oracle:
    """Its net of one seed in training, as `single.Trainable`."""

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
                "muon": name in wiring.hidden_matrices,
            }
            for name, parameter in self.module.tensors.items()
        ]

    def penalty(self) -> Tensor | float:
        return self.module.penalty()

    def updated(self, updates: int, stepper: torch.optim.Optimizer) -> None:
        """Untie what is tied for so many updates, or tie what is free for so many."""
        if self.module.copy_of and updates == self.material.scheme.untie_at:
            self.module.untie(stepper)
        elif self.module.copies and updates == self.material.scheme.tie_at:
            self.module.tie(stepper)

    def stored(self) -> dict[str, Tensor]:
        return self.module.stored()

    def randomness(self) -> AbstractContextManager[None]:
        return nullcontext()

    def probe(self, x: Tensor, y: Tensor, previous: dict[str, Tensor] | None, start: Start | None) -> Probe:
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
            scheme=material.scheme,
            activation=material.arm.model.activation,
            stored=net.stored(),
            previous=previous,
            zs=[z.detach().T[None] for z in zs],
            hs=[h.detach().T[None] for h in hs],
            dws=[g[None] for g in grads[:n]],
            dbs=[g[None] for g in grads[2 * n :]],
            dzs=[g.T[None] for g in grads[n : 2 * n]],
            start=start,
            net=material.net,
        )
