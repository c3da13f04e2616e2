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
from initbench.engine.single import sample_losses
from initbench.measure import Probe
from initbench.sharing import Formula

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
        # tie_then_untie: a copy stands for the first of its group until it is set free
        self.copy_of = {name: group[0] for group in self.scheme.ties for name in group[1:]}
        self.tensors = nn.ParameterDict(
            {name: nn.Parameter(value.clone()) for name, value in stored.items() if name not in self.copy_of}
        )
        self.hooks: dict[str, Any] = {}
        if self.scheme.reduce == "mean":
            uses = {slot.name: len(slot.layers) for slot in self.scheme.weights + self.scheme.biases}
            uses |= {group[0]: len(group) for group in self.scheme.ties}
            for name, count in uses.items():
                if count > 1:
                    self.hooks[name] = self.tensors[name].register_hook(partial(mean_of_uses, count))

    def tensor(self, name: str) -> Tensor:
        """A stored tensor of this run."""
        return self.tensors[self.copy_of.get(name, name)]

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
        return self.tensor(self.scheme.bias_slot[layer].name) if self.scheme.biases else None

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
                zs.append(self.product(i, weights[i], biases[i], hs[-1]))
            return zs, hs
        for first in range(1, depth, model.branch):
            u = zs[-1]
            for i in range(first, first + model.branch):
                h = self.phi(zs[-1])
                hs.append(h + self.tensor(f"shift_{i:02d}") if model.residual == "fixup" else h)
                zs.append(self.product(i, weights[i], biases[i], hs[-1]))
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

    def stored(self) -> dict[str, Tensor]:
        """Each stored tensor with a leading run axis of length 1."""
        return {slot.name: self.tensor(slot.name).detach().clone()[None] for slot in self.scheme.slots}


def mean_of_uses(uses: int, gradient: Tensor) -> Tensor:
    """Autograd's sum over uses as their mean."""
    return gradient / uses


Get = Callable[[str], Tensor]


def transposed(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """W of the encoder, W^T of the decoder."""
    return get(slot) if slot == f"weight_{layer:02d}" else get(slot).T


def low_rank_delta(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """W0 + B_l A_l."""
    return get(slot) + get(f"delta_out_{layer:02d}") @ get(f"delta_in_{layer:02d}")


def scaled(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """diag(s_l) W0 diag(t_l)."""
    return torch.diag(get(f"scale_out_{layer:02d}")) @ get(slot) @ torch.diag(get(f"scale_in_{layer:02d}"))


def coefficients(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """sum_j a_lj T_j."""
    return torch.einsum("k,kmn->mn", get(f"coefficients_{layer:02d}"), get(slot))


def hashed(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Any) -> Tensor:
    """Entry by entry from the table of the hash."""
    values = get(slot)
    rows = [[values[k] * s for k, s in zip(ks, ss)] for ks, ss in zip(formula.index.tolist(), formula.sign.tolist())]
    return torch.stack([torch.stack(row) for row in rows])


def rolled(values: Tensor, rows: int, columns: int, size: int) -> Tensor:
    """The upper left (rows, columns) part of the circulant (size, size) whose first row is `values`, each row turned
    one to the right; `values` holds only the offsets that the part shows, ascending."""
    used = sorted({(j - i) % size for i in range(rows) for j in range(columns)})
    first = values.new_zeros(size).index_put((torch.tensor(used),), values)
    return torch.stack([torch.roll(first, i)[:columns] for i in range(rows)])


def circulant(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Any) -> Tensor:
    """Stacked circulants times the diagonal of signs."""
    m, n = shape
    parts, values = [], get(slot)
    for start in range(0, m, n):
        parts.append(rolled(values[start : start + n], min(n, m - start), n, n))
    return torch.cat(parts) @ torch.diag(torch.from_numpy(formula.sign[0]).to(values))


def block_circulant(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Any, b: int) -> Tensor:
    """Blocks (b, b), cut at the edge."""
    values, rows, taken = get(slot), [], 0
    for top in range(0, shape[0], b):
        row = []
        for left in range(0, shape[1], b):
            m, n = min(b, shape[0] - top), min(b, shape[1] - left)
            count = len({(j - i) % b for i in range(m) for j in range(n)})
            row.append(rolled(values[taken : taken + count], m, n, b))
            taken += count
        rows.append(torch.cat(row, dim=1))
    return torch.cat(rows)


FORMULAS: dict[str, Callable[..., Tensor]] = {
    "transposed": transposed,
    "low_rank_delta": low_rank_delta,
    "scaled": scaled,
    "coefficients": coefficients,
    "hashed": hashed,
    "circulant": circulant,
    "block_circulant": block_circulant,
}


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
            scheme=material.scheme,
            activation=material.arm.model.activation,
            stored=net.stored(),
            previous=previous,
            zs=[z.detach().T[None] for z in zs],
            hs=[h.detach().T[None] for h in hs],
            dws=[g[None] for g in grads[:n]],
            dbs=[g[None] for g in grads[2 * n :]],
            dzs=[g.T[None] for g in grads[n : 2 * n]],
            start_outputs=start,
            net=material.net,
        )
