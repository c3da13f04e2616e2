"""One arm's net as pure functions of stacked stored tensors: plain or residual, in any parametrization.

Axes: R runs, m = fan_out, n = fan_in, B samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from initbench.config.arm import ArmConfig
from initbench.config.groups import LayerSpec, ModelConfig
from initbench.errors import inapplicable
from initbench.nets import mlp, residual
from initbench.nets.parametrization import Factors, decay_factor, factors
from initbench.nets.relative import relative_factors
from initbench.nets.residual import Branch
from initbench.sharing import Scheme, Slot, scheme

Stored = Mapping[str, Tensor]


@dataclass(frozen=True)
class Net:
    """The wiring of a net on its layers; all tensors come in as `stored`."""

    model: ModelConfig
    optimizer: str
    layers: tuple[LayerSpec, ...]
    scheme: Scheme
    relative: float = 1.0  # scale of the first layer over that of the last, see relative.py

    @cached_property
    def factors(self) -> tuple[Factors, ...]:
        """Factors of each layer relative to the standard parametrization."""
        return factors(self.model, self.optimizer, self.layers)

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        return residual.branches(self.model, self.scheme.weight_slot)

    @property
    def is_plain(self) -> bool:
        """Whether each layer is Z = W H + b on the activations of the one before, and every learning rate the run's."""
        return not self.branches and self.model.parametrization == "standard"

    def weights(self, stored: Stored) -> tuple[list[Tensor], list[Tensor | None]]:
        """Weight, times its forward factor, and bias of each layer: (R, m, n) and (R, m)."""
        weights = [self.scheme.weight(stored, i) for i in range(len(self.layers))]
        biases = [self.scheme.bias(stored, i) for i in range(len(self.layers))]
        return [w if f.forward == 1.0 else w * f.forward for w, f in zip(weights, self.factors)], biases

    def forward(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        stored: Stored,
        x: Tensor,
        room: mlp.Room | None = None,
    ) -> residual.Trace:
        """All preactivations and layer inputs on x (R, n, B); a `room` is for nets without branches."""
        injected = self.injected(stored, x)
        if self.branches:
            return residual.forward(self.branches, weights, biases, stored, x, self.model.activation, injected)
        zs, hs = mlp.forward(weights, biases, x, self.model.activation, room, injected)
        return residual.Trace(zs, hs, hs, zs)

    def injected(self, stored: Stored, x: Tensor) -> dict[int, Tensor]:
        """V x (R, m, B) by the layers that receive it; V is in every respect another weight of the input layer."""
        found: dict[int, Tensor] = {}
        for slot in self.scheme.injections:
            product = torch.bmm(self.injection(slot, stored), x)
            found |= dict.fromkeys(slot.layers, product)
        return found

    def injection(self, slot: Slot, stored: Stored) -> Tensor:
        """V, times its forward factor, (R, m, inputs)."""
        v, forward = stored[slot.name], self.factors[0].forward
        return v if forward == 1.0 else v * forward

    def join(self, layer: int, y: Tensor, earlier: Sequence[Tensor], stored: Stored) -> Tensor:
        """Preactivation z of a layer from its own product y = W h + b and the preactivations before it, all (R, m, ...).

        z = y, but at the end of a residual branch skip z_before + scale gain y. Linear in y and `earlier`, so tangents
        (columns of a Jacobian) go through it as well.
        """
        for branch in self.branches:
            if branch.last == layer:
                return residual.join(branch, y, earlier[branch.first - 1], stored)
        return y

    def pull_back(
        self,
        weights: Sequence[Tensor],
        stored: Stored,
        trace: residual.Trace,
        dlogits: Tensor,
        own: dict[str, Tensor],
        room: mlp.Room | None = None,
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Layers from the last to the first, each with the gradients by its preactivation and by its own product
        y = W h + b, (R, m, B). Those of the model's own tensors, and of what is injected, are put into `own`."""
        activation = self.model.activation
        slot_of = {layer: slot for slot in self.scheme.injections for layer in slot.layers}
        sums: dict[str, Tensor] = {}  # of dY over the layers that receive one V x
        if self.branches:
            passes = residual.pull_back(self.branches, weights, stored, trace, dlogits, activation, own)
        else:
            plain = mlp.pull_back(weights, trace.zs, trace.hs, dlogits, activation, room)
            passes = ((layer, dz, dz) for layer, dz in plain)
        for layer, dz, dy in passes:
            if layer in slot_of:
                name = slot_of[layer].name
                sums[name] = sums[name] + dy if name in sums else dy.clone()
            yield layer, dz, dy
        for slot in self.scheme.injections:
            factor = self.factors[0].forward / (len(slot.layers) if self.scheme.reduce == "mean" else 1)
            grad = torch.bmm(sums[slot.name], trace.hs[0].transpose(1, 2))
            own[slot.name] = grad if factor == 1.0 else grad * factor

    def backward(
        self,
        weights: Sequence[Tensor],
        stored: Stored,
        trace: residual.Trace,
        dlogits: Tensor,
        room: mlp.Room | None = None,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], dict[str, Tensor]]:
        """Gradients by each layer's use of its weight, dW = dY H^T (R, m, n), and of its bias, db = sum over samples of
        dY (R, m); by the preactivations, dZ (R, m, B), overwritten in a `room`; and by the model's own tensors.

        The weight's is by scheme.weight(stored, layer), so the forward factor is in it.
        """
        own: dict[str, Tensor] = {}
        dws, dbs, dzs = [], [], []
        for layer, dz, dy in self.pull_back(weights, stored, trace, dlogits, own, room):
            dw, forward = torch.bmm(dy, trace.hs[layer].transpose(1, 2)), self.factors[layer].forward
            dws.append(dw if forward == 1.0 else dw * forward)
            dbs.append(dy.sum(2))
            dzs.append(dz)
        return dws[::-1], dbs[::-1], dzs[::-1], own

    def predict(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor | None], stored: Stored, x: Tensor, block: int
    ) -> Tensor:
        """Logits (R, classes, B) of x (R, n, B), `block` runs at a time so that their activations stay in cache."""
        if not self.branches and not self.scheme.injections:
            return mlp.predict(weights, biases, x, self.model.activation, block)
        parts = []
        for start in range(0, len(x), block):
            low = max(0, start - 1) if len(x) - start == 1 else start  # not a lone run, as in mlp.predict
            rows = slice(low, start + block)
            trace = self.forward(
                [w[rows] for w in weights],
                [None if b is None else b[rows] for b in biases],
                {slot.name: stored[slot.name][rows] for slot in self.scheme.own + self.scheme.injections},
                x[rows],
            )
            parts.append(trace.zs[-1][start - low :])
        return torch.cat(parts)

    @cached_property
    def init_factors(self) -> tuple[tuple[float, float], ...]:
        """Factor of each layer's weight and bias at the start: the parametrization's times the residual rule's."""
        own = residual.init_factors(self.model, self.layers)
        return tuple((f.init * w, f.bias_init * b) for f, (w, b) in zip(self.factors, own))

    @cached_property
    def relative_factors(self) -> tuple[tuple[float, float], ...]:
        """The same of `init.relative`, which comes after whatever an initializer does."""
        return relative_factors(self.relative, self.layers)

    @cached_property
    def lr_factor(self) -> dict[str, float]:
        """Factor of the learning rate of each stored tensor: that of its first layer."""
        found = {slot.name: self.factors[slot.layers[0]].lr for slot in self.scheme.weights + self.scheme.extras}
        found |= {slot.name: self.factors[slot.layers[0]].bias_lr for slot in self.scheme.biases}
        found |= {slot.name: self.factors[0].lr for slot in self.scheme.injections}
        return found | {slot.name: 1.0 for slot in self.scheme.own}

    @cached_property
    def hidden_matrices(self) -> frozenset[str]:
        """Stored weights (fan_out, fan_in) that neither the first nor the last layer uses."""
        return hidden_matrices(self.scheme)

    @cached_property
    def decay_factor(self) -> dict[str, float]:
        """Factor of the weight decay of each stored tensor."""
        return {name: decay_factor(lr, self.optimizer) for name, lr in self.lr_factor.items()}

    def check(self) -> None:
        """Refuse layers that share one start but whose starts have different factors, naming both; and what the residual
        rule cannot count."""
        if self.model.residual == "looped" and self.scheme.formulas:
            raise inapplicable(
                "model.residual=looped",
                "it counts the uses of a weight, but the sharing computes each layer's",
                "use a scheme that only ties layers, e.g. sharing=all",
            )
        if self.relative != 1.0 and self.scheme.formulas:
            raise inapplicable(
                f"init.relative={self.relative:g}",
                "it scales the first and the last weight, but the sharing computes weights",
                "use a scheme that only ties layers",
            )
        self._check_one_start(self.init_factors, self.rule)
        self._check_one_start(self.relative_factors, f"init.relative={self.relative:g}")

    def _check_one_start(self, factors: Sequence[tuple[float, float]], rule: str) -> None:
        for slots, which, what in ((self.scheme.weights, 0, "weight"), (self.scheme.biases, 1, "bias")):
            for slot in slots:
                first = min(slot.origin, *slot.layers)
                for layer in slot.layers:
                    one, two = factors[first][which], factors[layer][which]
                    if one != two:
                        raise inapplicable(
                            rule,
                            f"layers {first} and {layer} share a {what}, but start {one:g} and {two:g} times as large as the initializer",
                            "use sharing=none",
                        )

        for slot in self.scheme.extras:
            rates = {self.factors[layer].lr for layer in slot.layers}
            if len(rates) > 1:
                raise inapplicable(
                    self.rule,
                    f"layers of unlike learning rates share {slot.name}",
                    "use model.parametrization=standard",
                )
        if self.model.residual == "fixup" and self.scheme.injections:
            raise inapplicable(
                self.rule, "its branches start at 0, and V x would be added to them", "use another model.residual"
            )

    @property
    def rule(self) -> str:
        """What makes the starts differ, for messages."""
        return (
            f"model.residual={self.model.residual}"
            if self.branches
            else f"model.parametrization={self.model.parametrization}"
        )

    def started(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        """One run's drawn weights and biases times their factors, and the model's own tensors at their start."""
        self._multiply(stored, self.init_factors)
        for slot in self.scheme.own:
            stored[slot.name] = torch.full(slot.shape, residual.starts(self.model)[slot.name], dtype=torch.float64)
        return stored

    def rescaled(self, stored: dict[str, Tensor]) -> dict[str, Tensor]:
        """One run's started weights and biases with their relative scale."""
        self._multiply(stored, self.relative_factors)
        return stored

    def _multiply(self, stored: dict[str, Tensor], factors: Sequence[tuple[float, float]]) -> None:
        placed = [(slot, factors[slot.layers[0]][0]) for slot in self.scheme.weights]
        placed += [(slot, factors[slot.layers[0]][1]) for slot in self.scheme.biases]
        placed += [(slot, factors[0][0]) for slot in self.scheme.injections]  # they read the input
        for slot, factor in placed:
            if factor != 1.0:
                stored[slot.name] = stored[slot.name] * factor if factor else torch.zeros_like(stored[slot.name])


def hidden_matrices(scheme: Scheme) -> frozenset[str]:
    """Stored weights that are matrices, and that neither the first nor the last layer uses."""
    ends = {0, len(scheme.weight_slot) - 1}
    return frozenset(slot.name for slot in scheme.weights if len(slot.shape) == 2 and not ends & set(slot.layers))


def net(arm: ArmConfig, layers: tuple[LayerSpec, ...]) -> Net:
    """The net of an arm on its layers; raises InputError or NotApplicable where sharing or start do not fit it."""
    own = residual.slots(arm.model)
    built = Net(arm.model, arm.optim.name, layers, scheme(arm.sharing, layers, arm.model.bias, own), arm.init.relative)
    built.check()
    return built
