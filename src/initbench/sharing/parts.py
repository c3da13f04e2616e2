"""What a builder of a scheme returns, and whether that is a map from layers to stored tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from initbench.config.groups import LayerSpec, SharingConfig
from initbench.errors import refusal, shown
from initbench.sharing.groups import Groups
from initbench.sharing.scheme import Draw, Formula, Slot

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Parts:
    """What a builder returns: main slots (every layer in exactly one), and what goes beyond a look-up."""

    weights: tuple[Slot, ...]
    extras: tuple[Slot, ...] = ()
    formulas: Mapping[int, Formula] = field(default_factory=dict)
    fills: Mapping[str, Callable[[Draw], Tensor]] = field(default_factory=dict)
    bias_starts: Groups = field(default_factory=list)  # groups whose biases start equal
    soft: tuple[tuple[str, ...], ...] = ()
    ties: tuple[
        tuple[str, ...], ...
    ] = ()  # slots that are one until sharing.step, or from `tie_at` on if that is above 0
    tie_at: int = 0
    injections: tuple[Slot, ...] = ()  # V (fan_out, inputs): its layers are z = W h + b + V x
    bias_formulas: Mapping[int, Formula] = field(default_factory=dict)  # of names of slots, also bias_00, bias_01 ...
    frozen: frozenset[str] = frozenset()  # names of slots that are never updated: what the seed made them


def main_slots(groups: Groups, layers: Sequence[LayerSpec]) -> tuple[Slot, ...]:
    """One slot a group, of its first layer's shape."""
    return tuple(Slot(f"weight_{g[0]:02d}", layers[g[0]].shape, tuple(g)) for g in groups)


def checked(config: SharingConfig, built: Any, layers: Sequence[LayerSpec]) -> Groups:
    """Groups of layers as a builder may return them: lists of whole numbers, each layer at most once.

    >>> from initbench.config.groups import ModelConfig
    >>> checked(SharingConfig("my.f"), [[1, 2], [2, 3]], ModelConfig().layers(64, 10))
    Traceback (most recent call last):
    initbench.errors.InputError: sharing=my.f: it returned [[1, 2], [2, 3]]: layer 2 twice; put each layer into one group only
    """
    what, kinds = f"sharing={config.name}", (list, tuple)
    if not isinstance(built, kinds) or not all(isinstance(group, kinds) and group for group in built):
        raise refusal(what, f"it returned {shown(repr(built))}", "return groups of layers, e.g. [[1, 2]], or Parts")
    seen: set[int] = set()
    for layer in (layer for group in built for layer in group):
        if isinstance(layer, bool) or not hasattr(layer, "__index__"):
            raise refusal(
                what,
                f"it returned {shown(repr(built))}: {shown(repr(layer))} is not a layer",
                "name layers by whole numbers",
            )
        if not 0 <= layer < len(layers):
            raise refusal(what, f"it names layer {shown(layer)}", f"name layers 0 to {len(layers) - 1}")
        if int(layer) in seen:
            raise refusal(
                what, f"it returned {shown(repr(built))}: layer {layer} twice", "put each layer into one group only"
            )
        seen.add(int(layer))
    return [[int(layer) for layer in group] for group in built]


def check_parts(config: SharingConfig, parts: Parts, layers: Sequence[LayerSpec]) -> None:
    """Whether the main slots are a map: every layer in exactly one, each look-up of its layers' shape, names unique."""
    what = f"sharing={config.name}"
    groups = checked(config, [list(slot.layers) for slot in parts.weights], layers)
    missing = sorted({layer.index for layer in layers} - {layer for group in groups for layer in group})
    if missing:
        raise refusal(what, f"no slot for layer {missing[0]}", "give every layer exactly one slot")
    names = [slot.name for slot in parts.weights + parts.extras + parts.injections]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise refusal(what, f"two slots are named {twice}", "give each stored tensor a name of its own")
    for slot in parts.weights:
        for layer in slot.layers:
            if layer not in parts.formulas and tuple(slot.shape) != layers[layer].shape:
                raise refusal(
                    what,
                    f"slot {slot.name} has shape {tuple(slot.shape)} and layer {layer} {layers[layer].shape}",
                    "give a slot the shape of its layers (fan_out, fan_in)",
                )
    check_formulas(what, parts.formulas, names, layers)


def check_formulas(
    what: str, formulas: Mapping[int, Formula], names: Sequence[str], layers: Sequence[LayerSpec]
) -> None:
    """Whether formulas are of layers that there are, and read what is stored."""
    for layer, formula in formulas.items():
        unknown = [name for name in formula.names if name not in names]
        if layer not in range(len(layers)) or unknown:
            wrong = f"reads {unknown[0]}, which is not stored" if unknown else "is not a layer"
            raise refusal(
                what, f"the formula of layer {layer} {wrong}", f"use layers 0 to {len(layers) - 1} and names of slots"
            )


def check_frozen(what: str, frozen: frozenset[str], names: Sequence[str]) -> None:
    """Whether what is frozen is stored, and something else is too."""
    unknown = sorted(frozen - set(names))
    if unknown:
        raise refusal(what, f"{unknown[0]} is frozen, but not stored", "freeze names of slots")
    if set(names) <= frozen:
        raise refusal(what, "everything is frozen", "leave a stored tensor to train")
