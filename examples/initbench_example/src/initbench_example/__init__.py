"""One initializer and two sharing schemes of one's own, as an installed package adds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from initbench.config.groups import LayerSpec, SharingConfig
from initbench.sharing import Formula, Parts, Slot, main_slots


def checkerboard_(weight: Tensor, *, generator: torch.Generator | None = None, gain: float = 1.0) -> Tensor:
    """|N(0, gain^2)| / n with the signs of a checkerboard; weight (fan_out, fan_in), n = fan_in. Fills in place."""
    i, j = torch.meshgrid(*(torch.arange(size) for size in weight.shape), indexing="ij")
    with torch.no_grad():
        weight.normal_(0.0, gain / weight.shape[1], generator=generator)
        return weight.abs_().mul_(1 - 2 * ((i + j) % 2))


def ends(config: SharingConfig, layers: Sequence[LayerSpec]) -> list[list[int]]:
    """The first and the last hidden-to-hidden layer share one weight: plain groups, unnamed layers stay alone."""
    return [[1, len(layers) - 2]] if len(layers) > 3 else []


@dataclass(frozen=True)
class Multiple(Formula):
    """W_l = a_l W0 with a learned number a_l; the gradients follow by autograd."""

    base: str
    factor: str

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.base, self.factor)

    def weight(self, stored: Mapping[str, Tensor]) -> Tensor:
        """(R, fan_out, fan_in) from W0 (R, fan_out, fan_in) and a (R, 1)."""
        return stored[self.base] * stored[self.factor].unsqueeze(2)


def multiples(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """All hidden-to-hidden layers are multiples of one matrix: W_l = a_l W0, a_l = 1 at the start."""
    group = list(range(1, len(layers) - 1))
    factors = [Slot(f"factor_{layer:02d}", (1,), (layer,)) for layer in group]
    return Parts(
        main_slots([[0], group, [len(layers) - 1]], layers),
        extras=tuple(factors),
        formulas={layer: Multiple(f"weight_{group[0]:02d}", f"factor_{layer:02d}") for layer in group},
        fills={slot.name: lambda draw: torch.ones(1, dtype=torch.float64) for slot in factors},
    )
