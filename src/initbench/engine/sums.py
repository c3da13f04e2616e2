"""The gradients of looked-up weights and biases, summed over their uses while the backward pass goes down the layers.

A stored tensor's gradient is complete at its lowest layer, and then used at once: it is still in cache, and its memory
serves the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from initbench.sharing import Scheme, Slot, slot_of_layer


@dataclass(frozen=True)
class Use:
    """One layer's use of a stored tensor: whether the backward pass, which goes down, meets it first there, or last."""

    name: str
    first: bool
    last: bool
    share: int  # what the sum is divided by in the end: the number of uses for their mean, else 1


def uses(slots: Sequence[Slot], reduce: str) -> list[Use]:
    """The use of each layer.

    >>> [(use.name, use.first, use.last) for use in uses([Slot("a", (2, 2), (0, 2)), Slot("b", (2, 2), (1,))], "sum")]
    [('a', False, True), ('b', True, True), ('a', True, False)]
    """
    return [
        Use(
            slot.name, layer == max(slot.layers), layer == min(slot.layers), len(slot.layers) if reduce == "mean" else 1
        )
        for layer, slot in enumerate(slot_of_layer(slots))
    ]


class UseSums:
    """dW = sum over uses of dY H^T, db = sum over uses and samples of dY; their mean over uses if `reduce` is mean.

    `like` holds the stored tensors (R, ...). Weights that one layer alone uses share their memory.
    """

    def __init__(self, scheme: Scheme, like: Mapping[str, Tensor]) -> None:
        self.uses = uses(scheme.weights, scheme.reduce)
        self.bias_uses = uses(scheme.biases, scheme.reduce)
        sample = like[scheme.weights[0].name]
        shapes = {slot.name: (len(sample), *slot.shape) for slot in scheme.weights}
        single = {use.name for use in self.uses if use.first and use.last}
        memory = sample.new_empty(max((prod(shapes[name]) for name in single), default=0))
        self.weights = {
            name: memory[: prod(shape)].view(shape) if name in single else sample.new_empty(shape)
            for name, shape in shapes.items()
        }
        self.biases: dict[str, Tensor] = {}

    def add(self, layer: int, dy: Tensor, h: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Take a layer's dY (R, m, B) and input H (R, n, B), layers from the last to the first; gives the stored tensors
        that no lower layer uses, each with its gradient, good until the next layer is taken."""
        use, h = self.uses[layer], h.transpose(1, 2)
        total = self.weights[use.name]
        if use.first:
            torch.bmm(dy, h, out=total)
        else:
            total.baddbmm_(dy, h)
        if use.last:
            yield use.name, total if use.share == 1 else total.div_(use.share)
        if self.bias_uses:
            use, part = self.bias_uses[layer], dy.sum(2)
            total = part if use.first else self.biases[use.name].add_(part)
            if use.last:
                yield use.name, total if use.share == 1 else total.div_(use.share)
            else:
                self.biases[use.name] = total
