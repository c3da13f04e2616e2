"""Builders of schemes in which every layer stores its own weight: pulled together, or equal for a part of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from initbench.config.groups import LayerSpec, SharingConfig
from initbench.sharing.groups import Groups, alike
from initbench.sharing.parts import Parts, main_slots


def soft(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """Every layer its own weight, pulled together by lambda sum_i |W_i - mean|^2 = lambda / L sum_{i<j} |W_i - W_j|^2,
    lambda = sharing.strength; biases are free."""
    groups = alike(config, layers)
    every = [[layer.index] for layer in layers]
    names = tuple(tuple(f"weight_{layer:02d}" for layer in group) for group in groups)
    return Parts(main_slots(every, layers), soft=names)


def tied_at_init(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """One draw copied to every layer of a group, then independent (Yang et al. 2021)."""
    groups = alike(config, layers)
    first = {layer: group[0] for group in groups for layer in group}
    slots = tuple(
        replace(slot, start_layer=first.get(slot.layers[0]))
        for slot in main_slots([[layer.index] for layer in layers], layers)
    )
    return Parts(slots, bias_starts=groups)


def tie_then_untie(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """Tied for the first `sharing.step` updates, then each layer goes on with its copy of weight and optimizer state
    (Yang et al. 2021, who step with the mean of the layers' gradients: sharing.reduce=mean)."""
    parts = tied_at_init(config, layers)
    return replace(parts, ties=ties(config, parts.bias_starts))


def untie_then_tie(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """Independent for the first `sharing.step` updates, then one weight: the average of the layers', and of their
    optimizer state."""
    every = [[layer.index] for layer in layers]
    return Parts(main_slots(every, layers), ties=ties(config, alike(config, layers)), tie_at=config.step)


def ties(config: SharingConfig, groups: Groups) -> tuple[tuple[str, ...], ...]:
    """The stored tensors that are one while layers are tied: weights, and biases where they are tied too."""
    kinds = ("weight", "bias") if config.bias == "tied" else ("weight",)
    return tuple(tuple(f"{kind}_{i:02d}" for i in group) for kind in kinds for group in groups if len(group) > 1)
