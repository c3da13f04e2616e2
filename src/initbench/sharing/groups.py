"""Rules: hidden-to-hidden layer l = 0..L-1 (layer 1 of the net is l = 0) to slot. One line each, as in the papers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from initbench.config.groups import LayerSpec, SharingConfig
from initbench.errors import inapplicable, refusal, shown

Groups = list[list[int]]


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


def between(name: str, n: int, rule: Callable[[int, int], list[int]], slots: int) -> list[int]:
    """First and last own, those between them by a rule; in order of first use."""
    if n < slots + 2:
        raise inapplicable(
            f"sharing={name}",
            f"it needs at least {slots + 2} hidden-to-hidden layers, got {n}",
            f"set model.depth={slots + 3} or more",
        )
    middle = [1 + slot for slot in rule(n - 2, slots)]
    return [0, *middle, 1 + max(middle)]


def sandwich(n: int, slots: int) -> list[int]:
    """First and last own, all between them one (Subformer); L = 3 shares nothing.

    >>> sandwich(5, 2)
    [0, 1, 1, 1, 2]
    """
    return between("sandwich", n, cycle, 1)


def middle_cycle(n: int, slots: int) -> list[int]:
    """First and last own, between them M taking turns: X A B A B Y (Mixture-of-Recursions); `sandwich` is M = 1.

    >>> middle_cycle(7, 2)
    [0, 1, 2, 1, 2, 1, 3]
    """
    return between("middle_cycle", n, cycle, slots)


def middle_sequence(n: int, slots: int) -> list[int]:
    """First and last own, between them runs of M: X A A B B Y (Mixture-of-Recursions).

    >>> middle_sequence(7, 2)
    [0, 1, 1, 1, 2, 2, 3]
    """
    return between("middle_sequence", n, sequence, slots)


RULES: dict[str, Callable[[int, int], list[int]]] = {
    "none": none,
    "all": all_,
    "pairs": pairs,
    "sequence": sequence,
    "cycle": cycle,
    "cycle_rev": cycle_rev,
    "sandwich": sandwich,
    "middle_cycle": middle_cycle,
    "middle_sequence": middle_sequence,
}
NEEDS_SLOTS = ("sequence", "cycle", "cycle_rev")


def by_rule(config: SharingConfig, layers: Sequence[LayerSpec]) -> Groups:
    """Layer groups of a named rule, in order of their first layer; input and output layer stay alone."""
    n = hidden_to_hidden(config, layers) if config.name != "none" else max(0, len(layers) - 2)
    if config.name in NEEDS_SLOTS and config.slots > n:
        raise inapplicable(
            f"sharing.slots={config.slots}",
            f"sharing={config.name} has {n} hidden-to-hidden layers here",
            f"must be at most {n}",
        )
    rule = RULES[config.name](n, config.slots) if n > 0 else []
    by_slot: dict[int, list[int]] = {}
    for position, slot in enumerate(rule):
        by_slot.setdefault(slot, []).append(position + 1)
    return alone_too(list(by_slot.values()), layers)


def named_or_all(config: SharingConfig, layers: Sequence[LayerSpec]) -> Groups:
    """The groups of `sharing.groups`; where it is null, all hidden-to-hidden layers as one group."""
    if config.groups:
        return by_hand(config, layers)
    return [list(range(1, hidden_to_hidden(config, layers) + 1))]


def alike(config: SharingConfig, layers: Sequence[LayerSpec]) -> Groups:
    """`named_or_all`, checked to be of one shape."""
    groups = named_or_all(config, layers)
    check_one_shape(config, groups, layers)
    return groups


def by_hand(config: SharingConfig, layers: Sequence[LayerSpec]) -> Groups:
    """The groups of `sharing.groups`, layers sorted; InputError if a layer does not exist."""
    groups = [sorted(group) for group in config.groups or [] if group]
    for group in groups:
        for index in group:
            if index >= len(layers):
                raise refusal(
                    f"sharing.groups={shown(config.groups)}", f"no layer {index}", f"name layers 0 to {len(layers) - 1}"
                )
    return groups


def alone_too(groups: Groups, layers: Sequence[LayerSpec]) -> Groups:
    """The groups and every layer they do not name as one of its own, in order of their first layer."""
    taken = {index for group in groups for index in group}
    return sorted(groups + [[layer.index] for layer in layers if layer.index not in taken])


def hidden_to_hidden(config: SharingConfig, layers: Sequence[LayerSpec]) -> int:
    """How many layers a scheme acts on; NotApplicable if there are none."""
    if len(layers) < 3:
        raise inapplicable(
            f"sharing={config.name}",
            f"no hidden-to-hidden layers at model.depth={len(layers) - 1}",
            "set model.depth=2 or more",
        )
    return len(layers) - 2


def check_one_shape(config: SharingConfig, groups: Groups, layers: Sequence[LayerSpec]) -> None:
    """Refuse groups whose layers differ in shape, naming both layers and both shapes."""
    refused = refusal if config.groups and config.name not in RULES else inapplicable
    for group in groups:
        first = layers[group[0]]
        for index in group[1:]:
            if layers[index].shape != first.shape:
                raise refused(
                    f"sharing={config.name}",
                    f"layer {first.index} has shape {first.shape} and layer {index} {layers[index].shape}",
                    "share layers of one shape (fan_out, fan_in)",
                )
