"""Parameter sharing as data: a scheme is a map from layers to stored tensors, never object identity.

A `Scheme` says which tensors are stored (each with the layers that use it) and how a layer's weight comes from them.
Counting once, initializing once and stepping once follow by construction. Schemes act on the L = depth - 1
hidden-to-hidden layers, l counted from the first of them (layer 1 of the net); input and output layers are shared only
by `explicit` groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from initbench.config import LayerSpec, SharingConfig
from initbench.errors import InputError, NotApplicable

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """One stored tensor: its name (that of the first layer using it), shape of one run, and the layers that use it.

    Fans at initialization are those of the first use.
    """

    name: str
    shape: tuple[int, ...]  # (fan_out, fan_in) or (fan_out,)
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Scheme:
    """Stored tensors, and each layer's weight from them: W_l = stored[slot of l].

    `weights` and `biases` are the slots in order of first use; `weight_slot[l]` is the slot that layer l uses.
    """

    weights: tuple[Slot, ...]
    biases: tuple[Slot, ...]
    reduce: str = "sum"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All stored tensors."""
        return self.weights + self.biases

    @property
    def weight_slot(self) -> tuple[Slot, ...]:
        """Slot of each layer's weight, `(depth + 1,)`."""
        return slot_of_layer(self.weights)

    @property
    def bias_slot(self) -> tuple[Slot, ...]:
        """Slot of each layer's bias; empty for nets without biases."""
        return slot_of_layer(self.biases)

    def weight(self, stored: Mapping[str, Tensor], layer: int) -> Tensor:
        """Weight that `layer` uses, `(R, fan_out, fan_in)`."""
        return stored[self.weight_slot[layer].name]

    def bias(self, stored: Mapping[str, Tensor], layer: int) -> Tensor | None:
        """Bias that `layer` uses, `(R, fan_out)`."""
        return stored[self.bias_slot[layer].name] if self.biases else None

    def use_grad(self, layer_grad: Tensor, layer: int) -> Tensor:
        """Gradient of one use, pulled back to stored space: for a look-up, the gradient itself (over the number
        of uses if `reduce` is mean)."""
        uses = len(self.weight_slot[layer].layers)
        return layer_grad / uses if self.reduce == "mean" and uses > 1 else layer_grad

    def stored_grads(self, weight_grads: Sequence[Tensor], bias_grads: Sequence[Tensor]) -> dict[str, Tensor]:
        """Gradient of each stored tensor = sum of the gradients of its uses (their mean if `reduce` is mean)."""
        grads: dict[str, Tensor] = {}
        for slots, layer_grads in ((self.weights, weight_grads), (self.biases, bias_grads)):
            for slot in slots:
                total = layer_grads[slot.layers[0]]
                for layer in slot.layers[1:]:
                    total = total + layer_grads[layer]
                if self.reduce == "mean" and len(slot.layers) > 1:
                    total = total / len(slot.layers)
                grads[slot.name] = total
        return grads

    @property
    def stored_parameters(self) -> int:
        """Numbers stored, each once."""
        return sum(size(slot.shape) for slot in self.slots)

    @property
    def used_parameters(self) -> int:
        """Numbers used, each as often as it is used."""
        return sum(size(slot.shape) * len(slot.layers) for slot in self.slots)


def size(shape: Sequence[int]) -> int:
    """Product of a shape."""
    n = 1
    for length in shape:
        n *= length
    return n


def slot_of_layer(slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """The slot that each layer uses."""
    by_layer = {layer: slot for slot in slots for layer in slot.layers}
    return tuple(by_layer[layer] for layer in sorted(by_layer))


# ------------------------------------------------------------------------- rules: hidden-to-hidden layer l -> slot


def none(n: int, slots: int) -> list[int]:
    """s(l) = l."""
    return list(range(n))


def all_(n: int, slots: int) -> list[int]:
    """One matrix for all: s(l) = 0 (ALBERT; Universal Transformer)."""
    return [0] * n


def pairs(n: int, slots: int) -> list[int]:
    """Neighbours share: s(l) = floor(l / 2)."""
    return [layer // 2 for layer in range(n)]


def sequence(n: int, slots: int) -> list[int]:
    """s(l) = floor(l M / L): A A B B C C (Takase & Kiyono 2021).

    >>> sequence(5, 4), sequence(6, 3)
    ([0, 0, 1, 2, 3], [0, 0, 1, 1, 2, 2])
    """
    return [layer * slots // n for layer in range(n)]


def cycle(n: int, slots: int) -> list[int]:
    """s(l) = l mod M: A B C A B C (Takase & Kiyono 2021).

    >>> cycle(5, 2)
    [0, 1, 0, 1, 0]
    """
    return [layer % slots for layer in range(n)]


def cycle_rev(n: int, slots: int) -> list[int]:
    """Cycle, the last M reversed: A B C C B A. Where M does not divide L, by the authors' code: 0..M-1, then L-2M
    layers cycling, the rest counting down from M-1 (Takase & Kiyono 2021).

    >>> ["".join(map(str, cycle_rev(n, 3))) for n in (5, 6, 7, 9)]
    ['01221', '012210', '0120210', '012012210']
    """
    middle = max(slots, n - slots)
    return [layer % slots for layer in range(middle)] + [slots - 1 - i for i in range(n - middle)]


def sandwich(n: int, slots: int) -> list[int]:
    """First and last own, all between them one (Subformer); L = 3 shares nothing.

    >>> sandwich(5, 2)
    [0, 1, 1, 1, 2]
    """
    if n < 3:
        raise NotApplicable(f"sharing=sandwich needs at least 3 hidden-to-hidden layers (model.depth >= 4), has {n}")
    return [0] + [1] * (n - 2) + [2]


RULES: dict[str, Callable[[int, int], list[int]]] = {
    "none": none,
    "all": all_,
    "pairs": pairs,
    "sequence": sequence,
    "cycle": cycle,
    "cycle_rev": cycle_rev,
    "sandwich": sandwich,
}
NEEDS_SLOTS = ("sequence", "cycle", "cycle_rev")


def scheme(config: SharingConfig, layers: Sequence[LayerSpec], bias: bool = True) -> Scheme:
    """The scheme of a configuration on these layers.

    Raises NotApplicable where a named scheme does not fit the net, InputError for impossible explicit groups; both name
    the two layers and the two shapes.

    >>> from initbench.config import ModelConfig
    >>> s = scheme(SharingConfig("all"), ModelConfig(depth=3, width=4).layers(2, 1))
    >>> [(slot.name, slot.layers) for slot in s.weights], s.stored_parameters, s.used_parameters
    ([('weight_00', (0,)), ('weight_01', (1, 2)), ('weight_03', (3,))], 37, 57)
    """
    groups = explicit_groups(config, layers) if config.name == "explicit" else named_groups(config, layers)
    wrong = InputError if config.name == "explicit" else NotApplicable
    for group in groups:
        first = layers[group[0]]
        for index in group[1:]:
            if layers[index].shape != first.shape:
                raise wrong(
                    f"sharing={config.name}: layer {first.index} has shape {first.shape} and layer {index} "
                    f"{layers[index].shape}; layers that share a weight need one shape (fan_out, fan_in)"
                )
    weights = tuple(Slot(f"weight_{g[0]:02d}", layers[g[0]].shape, tuple(g)) for g in groups)
    bias_groups = groups if config.bias == "tied" else [[layer.index] for layer in layers]
    biases = tuple(Slot(f"bias_{g[0]:02d}", (layers[g[0]].fan_out,), tuple(g)) for g in bias_groups)
    return Scheme(weights, biases if bias else (), config.reduce)


def named_groups(config: SharingConfig, layers: Sequence[LayerSpec]) -> list[list[int]]:
    """Layer groups of a named scheme, in order of their first layer."""
    if config.name not in RULES:
        known = (*RULES, "explicit")
        near = get_close_matches(config.name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"sharing={config.name}: {hint}allowed are {', '.join(known)}")
    n = len(layers) - 2  # hidden-to-hidden layers
    if config.name != "none" and n < 1:
        raise NotApplicable(f"sharing={config.name}: no hidden-to-hidden layers at model.depth={len(layers) - 1}")
    if config.name in NEEDS_SLOTS and config.slots > n:
        raise NotApplicable(
            f"sharing={config.name}: sharing.slots={config.slots} for {n} hidden-to-hidden layers; at most {n}"
        )
    rule = RULES[config.name](n, config.slots) if n > 0 else []
    by_slot: dict[int, list[int]] = {}
    for position, slot in enumerate(rule):
        by_slot.setdefault(slot, []).append(position + 1)
    return sorted([[0], *by_slot.values(), [len(layers) - 1]])


def explicit_groups(config: SharingConfig, layers: Sequence[LayerSpec]) -> list[list[int]]:
    """Groups given by hand; layers not named stay alone."""
    if not config.groups:
        raise InputError("sharing=explicit needs sharing.groups, e.g. 'sharing.groups=[[1,2],[3,4]]'")
    named = [sorted(group) for group in config.groups if group]
    for group in named:
        for index in group:
            if index >= len(layers):
                raise InputError(
                    f"sharing.groups={config.groups}: no layer {index}; the net has layers 0 to {len(layers) - 1}"
                )
    taken = {index for group in named for index in group}
    return sorted(named + [[layer.index] for layer in layers if layer.index not in taken])
