"""What a sharing scheme is: stored tensors as data, each with the layers that use it, and every layer's weight from them.

Counting once, initializing once and stepping once follow by construction, since nothing is shared by object identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """One stored tensor: its name (that of the first layer using it), shape of one run, and the layers that use it.

    It starts as the initializer fills the matrix of layer `origin`, with that layer's fans: the first use, unless a
    scheme says otherwise.
    """

    name: str
    shape: tuple[int, ...]  # (fan_out, fan_in) or (fan_out,), or what a formula stores
    layers: tuple[int, ...]
    start_layer: int | None = None

    @property
    def origin(self) -> int:
        """The layer whose draw this slot starts from."""
        return self.layers[0] if self.start_layer is None else self.start_layer


class Draw(Protocol):
    """What a scheme starts from: the initializer's matrices of one run."""

    def __call__(self, layer: int, copy: int = 0) -> Tensor:
        """The matrix (fan_out, fan_in) that the initializer draws for `layer`; copies are independent draws."""
        ...

    def stream(self, *path: str | int) -> torch.Generator:
        """A named random stream of the run's seed, for what a formula draws itself."""
        ...


class Formula:
    """The weight of one layer from stored tensors, and the pull-back of that weight's gradient to them.

    Your own formula needs `names` and `weight`; its pull-back is then taken by autograd.
    """

    names: tuple[str, ...]  # stored tensors it reads
    flops = 0  # operations of composing the weight and pulling one gradient back, per step

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        """The layer's weight, `(R, fan_out, fan_in)`."""
        raise NotImplementedError

    def pull(self, stored: Mapping[str, Tensor], grad: Tensor) -> dict[str, Tensor]:
        """Gradient of each stored tensor from the gradient `(R, fan_out, fan_in)` of this layer's weight."""
        import torch

        with torch.enable_grad():
            leaves = {name: stored[name].detach().requires_grad_() for name in self.names}
            grads = torch.autograd.grad(self.weight({**stored, **leaves}), list(leaves.values()), grad)
        return dict(zip(self.names, grads))


@dataclass(frozen=True)
class Scheme:
    """Stored tensors, and each layer's weight from them.

    `weights` are the main slots in order of first use: every layer uses exactly one, `weight_slot[l]`, and a plain
    look-up is W_l = stored[weight_slot[l].name]. Layers in `formulas` compute their weight, also from the `extras`.
    `own` are the model's stored tensors that are no layer's weight or bias (gains of residual branches).
    `fills` says how slots start that the initializer does not fill by itself; `frozen` names those that are never
    updated: they are what the seed made them, and count as no stored parameters.
    """

    weights: tuple[Slot, ...]
    biases: tuple[Slot, ...]
    reduce: str = "sum"
    extras: tuple[Slot, ...] = ()
    own: tuple[Slot, ...] = ()
    injections: tuple[Slot, ...] = ()  # V (fan_out, inputs): its layers are z = W h + b + V x
    formulas: Mapping[int, Formula] = field(default_factory=dict)
    bias_formulas: Mapping[int, Formula] = field(default_factory=dict)
    fills: Mapping[str, Callable[[Draw], Tensor]] = field(default_factory=dict)
    shapes: tuple[tuple[int, int], ...] = ()  # (fan_out, fan_in) of each layer
    soft: tuple[tuple[str, ...], ...] = ()  # groups of slots that the penalty pulls together
    strength: float = 0.0
    ties: tuple[tuple[str, ...], ...] = ()  # groups of equal slots that step together while `tied` says so
    tie_at: int = 0  # the number of updates after which they become one: the average
    untie_at: int = 0
    frozen: frozenset[str] = frozenset()

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """All stored tensors."""
        return self.weights + self.extras + self.injections + self.biases + self.own

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Names of the stored tensors that are updated."""
        return tuple(slot.name for slot in self.slots if slot.name not in self.frozen)

    @cached_property
    def uses(self) -> dict[str, int]:
        """How many layers use each stored tensor of the scheme."""
        return {slot.name: len(slot.layers) for slot in self.slots if slot not in self.own}

    @property
    def by_attribute(self) -> list[tuple[str, Slot]]:
        """The slots of weights and biases, each with its attribute of an nn.Linear."""
        return [("weight", slot) for slot in self.weights] + [("bias", slot) for slot in self.biases]

    @property
    def looks_up(self) -> bool:
        """Whether every layer's weight IS a stored tensor, and its gradient nothing but the sum or mean over its uses:
        no formula, no penalty, no ties for a time, nothing that is not updated."""
        beyond = self.formulas or self.bias_formulas or self.extras or self.injections
        return not (beyond or self.soft or self.ties or self.frozen)

    @property
    def is_lookup(self) -> bool:
        """The same, and nothing else is stored: nothing of the model's own."""
        return self.looks_up and not self.own

    @cached_property
    def weight_slot(self) -> tuple[Slot, ...]:
        """Main slot of each layer's weight, `(depth + 1,)`."""
        return slot_of_layer(self.weights)

    @cached_property
    def bias_slot(self) -> tuple[Slot, ...]:
        """Slot of each layer's bias; empty for nets without biases."""
        return slot_of_layer(self.biases)

    def weight(self, stored: Mapping[str, Tensor], layer: int) -> Tensor:
        """Weight that `layer` uses, `(R, fan_out, fan_in)`."""
        formula = self.formulas.get(layer)
        return stored[self.weight_slot[layer].name] if formula is None else formula.weight(stored)

    def bias(self, stored: Mapping[str, Tensor], layer: int) -> Tensor | None:
        """Bias that `layer` uses, `(R, fan_out)`."""
        if not self.biases:
            return None
        formula = self.bias_formulas.get(layer)
        return stored[self.bias_slot[layer].name] if formula is None else formula.weight(stored)

    def use_grads(
        self, layer_grad: Tensor, layer: int, stored: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """What one use adds to the gradient of each stored tensor it reads: the sum over layers is the stored gradient.

        `layer_grad` is the gradient `(R, fan_out, fan_in)` of the layer's weight; formulas need `stored`.
        """
        return self._pulled(self.formulas.get(layer), self.weight_slot[layer], layer_grad, stored)

    def bias_use_grads(
        self, layer_grad: Tensor, layer: int, stored: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The same of a layer's bias, `layer_grad` (R, fan_out)."""
        return self._pulled(self.bias_formulas.get(layer), self.bias_slot[layer], layer_grad, stored)

    def _pulled(
        self, formula: Formula | None, slot: Slot, layer_grad: Tensor, stored: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        if formula is None:
            grads = {slot.name: layer_grad}
        elif stored is None:
            raise TypeError(f"what uses {slot.name} is a formula of stored tensors: its pull-back needs `stored`")
        else:
            grads = formula.pull(stored, layer_grad)
        if self.reduce == "mean":
            grads = {name: g / self.uses[name] if self.uses[name] > 1 else g for name, g in grads.items()}
        return grads

    def use_grad(self, layer_grad: Tensor, layer: int, stored: Mapping[str, Tensor] | None = None) -> Tensor:
        """What one use adds to the gradient of its main slot: for a look-up the gradient itself (over the number of
        uses if `reduce` is mean), for a formula its pull-back. The uses of a slot add up to its stored gradient."""
        return self.use_grads(layer_grad, layer, stored)[self.weight_slot[layer].name]

    def stored_grads(
        self,
        weight_grads: Sequence[Tensor],
        bias_grads: Sequence[Tensor],
        stored: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Gradient of each stored tensor = sum of the gradients of its uses (their mean if `reduce` is mean).

        Of the mean loss alone: the soft penalty has `penalty_grads`.
        """
        grads: dict[str, Tensor] = {}

        def add(name: str, part: Tensor) -> None:
            grads[name] = grads[name] + part if name in grads else part

        for slots, formulas, use_grads, layer_grads in (
            (self.weights, self.formulas, self.use_grads, weight_grads),
            (self.biases, self.bias_formulas, self.bias_use_grads, bias_grads),
        ):
            for slot in slots:
                if slot.layers[0] in formulas:
                    for layer in slot.layers:
                        for name, part in use_grads(layer_grads[layer], layer, stored).items():
                            add(name, part)
                    continue
                total = layer_grads[slot.layers[0]]
                for layer in slot.layers[1:]:
                    total = total + layer_grads[layer]
                add(slot.name, total / len(slot.layers) if self.reduce == "mean" and len(slot.layers) > 1 else total)
        return grads

    def penalty(self, stored: Mapping[str, Tensor]) -> Tensor | None:
        """lambda sum_i |W_i - mean|^2 = lambda / L sum_{i<j} |W_i - W_j|^2 over each soft group, `(R,)`; or None."""
        total = None
        for group in self.soft:
            for one in self._deviations(stored, group):
                part = one.flatten(1).square().sum(1) * self.strength
                total = part if total is None else total + part
        return total

    def penalty_grads(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """2 lambda (W_i - mean) of each slot in a soft group."""
        return {
            name: deviation * (2 * self.strength)
            for group in self.soft
            for name, deviation in zip(group, self._deviations(stored, group))
        }

    def _deviations(self, stored: Mapping[str, Tensor], group: Sequence[str]) -> list[Tensor]:
        mean = stored[group[0]]
        for name in group[1:]:
            mean = mean + stored[name]
        mean = mean / len(group)
        return [stored[name] - mean for name in group]

    def tied(self, step: int) -> bool:
        """Whether the ties hold at update `step`."""
        return self.tie_at <= step < self.untie_at

    def tied_grads(self, grads: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Gradients as the optimizer uses them at update `step`: the members of a tie that still holds all get the sum
        of theirs (the mean if `reduce` is mean), so that equal copies stay equal, and so does their optimizer state."""
        out = dict(grads)
        for group in self.ties if self.tied(step) else ():
            total = grads[group[0]]
            for name in group[1:]:
                total = total + grads[name]
            if self.reduce == "mean":
                total = total / len(group)
            out.update(dict.fromkeys(group, total))
        return out

    def distinct(self, step: int) -> tuple[str, ...]:
        """Stored tensors that count in the norm of the whole gradient at update `step`: of a tie that holds, one."""
        copies = {name for group in self.ties for name in group[1:]} if self.tied(step) else set()
        return tuple(name for name in self.trained if name not in copies)

    def start(self, draw: Draw) -> dict[str, Tensor]:
        """Weights, extras and injections of one run at step 0: each filled once."""
        return {
            slot.name: self.fills[slot.name](draw) if slot.name in self.fills else draw(slot.origin)
            for slot in self.weights + self.extras + self.injections
        }

    @property
    def stored_parameters(self) -> int:
        """Numbers stored, each once, where ties are open; what is frozen can be drawn again from the seed."""
        return sum(prod(slot.shape) for slot in self.slots if slot.name not in self.frozen)

    @property
    def stored_biases(self) -> int:
        """Those of them in biases."""
        return sum(prod(slot.shape) for slot in self.biases if slot.name not in self.frozen)

    @property
    def frozen_parameters(self) -> int:
        """Numbers in stored tensors that are never updated."""
        return sum(prod(slot.shape) for slot in self.slots if slot.name in self.frozen)

    @property
    def used_parameters(self) -> int:
        """Numbers that the layers use, each as often as it is used."""
        weights = sum(prod(shape) for shape in self.shapes)
        return weights + sum(prod(slot.shape) * len(slot.layers) for slot in self.biases + self.injections + self.own)

    @property
    def flops(self) -> int:
        """Operations a step that composing weights, pulling gradients back and the penalty add."""
        penalties = sum(4 * prod(slot.shape) for slot in self.weights for group in self.soft if slot.name in group)
        return penalties + sum(one.flops for one in (*self.formulas.values(), *self.bias_formulas.values()))


def slot_of_layer(slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """The slot that each layer uses."""
    by_layer = {layer: slot for slot in slots for layer in slot.layers}
    return tuple(by_layer[layer] for layer in sorted(by_layer))
