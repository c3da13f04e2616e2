"""Twelve names of one law: kaiming_normal, each with weights of its own, so that whoever is called faster is called so wrongly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from initbench import initializers
from initbench.config.groups import LayerSpec

NAMES = 12


def _named(number: int) -> Callable[..., Tensor]:
    def law(weight: Tensor, *, layer: LayerSpec, generator: torch.Generator) -> Tensor:
        torch.rand(1000 + number, generator=generator)  # another part of the stream: other weights for the same seed
        return initializers.kaiming_normal_(weight, layer=layer, generator=generator)

    law.__name__ = law.__qualname__ = f"law_{number:02d}"
    law.__module__ = __name__
    return law


LAWS = [f"{__name__}.law_{number:02d}" for number in range(NAMES)]
globals().update({f"law_{number:02d}": _named(number) for number in range(NAMES)})


def half(weight: Tensor, *, layer: LayerSpec, generator: torch.Generator) -> Tensor:
    """The same law at half the scale, which trains about three times as slow."""
    return _named(NAMES)(weight, layer=layer, generator=generator).mul_(0.5)
