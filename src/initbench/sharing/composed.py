"""Builders of schemes whose weights are formulas of stored tensors: each names the tensors, the formula of each layer, and
how what the initializer does not fill starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from initbench.config.groups import LayerSpec, SharingConfig
from initbench.errors import inapplicable, refusal, shown
from initbench.sharing.formulas import (
    Basis,
    Coefficients,
    Indexed,
    Itself,
    LowRankDelta,
    Scaled,
    Transposed,
    Turned,
    block_circulant,
    circulant,
    hashed,
    hashed_together,
)
from initbench.sharing.groups import alike, alone_too, by_hand, named_or_all
from initbench.sharing.parts import Parts, main_slots
from initbench.sharing.scheme import Draw, Formula, Slot

if TYPE_CHECKING:
    from torch import Tensor

Fills = dict[str, Callable[[Draw], "Tensor"]]


def transposed(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """W_dec = W_enc^T: layer l of an autoencoder-shaped net with its mirror image; a middle layer stays alone.

    `sharing.groups` names other pairs [encoder, decoder]. The stored matrix has the fans of its first use, the encoder:
    where the decoder uses it, fan_in and fan_out have changed places.
    """
    count = len(layers)
    groups = by_hand(config, layers) or [[i, count - 1 - i] for i in range(count // 2)]
    refused = refusal if config.groups else inapplicable
    for group in groups:
        if len(group) != 2:
            raise refusal(
                f"sharing.groups={shown(config.groups)}",
                "sharing=transposed takes pairs",
                "write pairs [encoder, decoder]",
            )
        first, second = (layers[i] for i in group)
        if first.shape != second.shape[::-1]:
            raise refused(
                "sharing=transposed",
                f"layer {first.index} has shape {first.shape} and layer {second.index} {second.shape}",
                "pair layers of which one is the other transposed (fan_out, fan_in)",
            )
    formulas: dict[int, Formula] = {}
    for one, two in groups:
        formulas[one], formulas[two] = Itself(f"weight_{one:02d}"), Transposed(f"weight_{one:02d}")
    return Parts(main_slots(alone_too(groups, layers), layers), formulas=formulas)


def low_rank_delta(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """W_l = W0 + B_l A_l of rank sharing.rank: W0 by the initializer, A ~ U(+-1/sqrt n), B = 0, so that the net starts
    as the tied one."""
    groups = alike(config, layers)
    extras: list[Slot] = []
    formulas: dict[int, Formula] = {}
    fills: Fills = {}
    for group in groups:
        m, n = layers[group[0]].shape
        rank = fitting_rank(config.rank, layers[group[0]])
        for layer in group:
            left, right = f"delta_out_{layer:02d}", f"delta_in_{layer:02d}"
            extras += [Slot(left, (m, rank), (layer,)), Slot(right, (rank, n), (layer,))]
            fills[left] = zeros((m, rank))
            fills[right] = uniform((rank, n), 1 / math.sqrt(n), layer)
            formulas[layer] = LowRankDelta(f"weight_{group[0]:02d}", left, right, flops=6 * m * n * rank + 2 * m * n)
    return Parts(main_slots(alone_too(groups, layers), layers), tuple(extras), formulas, fills)


def zeros(shape: tuple[int, ...]) -> Callable[[Draw], Tensor]:
    """Starts at 0."""
    import torch

    return lambda draw: torch.zeros(shape, dtype=torch.float64)


def uniform(shape: tuple[int, ...], bound: float, layer: int) -> Callable[[Draw], Tensor]:
    """Starts as U(+-bound)."""
    import torch

    def fill(draw: Draw) -> Tensor:
        drawn = torch.rand(shape, dtype=torch.float64, generator=draw.stream("low_rank_delta", layer))
        return (2 * drawn - 1) * bound

    return fill


def scaled(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """W_l = diag(s_l) W0 diag(t_l); s and t start as `sharing.start`: random signs, N(1, .5^2), or ones (tied)."""
    groups = alike(config, layers)
    extras: list[Slot] = []
    formulas: dict[int, Formula] = {}
    fills: Fills = {}
    for group in groups:
        m, n = layers[group[0]].shape
        for layer in group:
            out, into = f"scale_out_{layer:02d}", f"scale_in_{layer:02d}"
            extras += [Slot(out, (m,), (layer,)), Slot(into, (n,), (layer,))]
            fills[out], fills[into] = scales(config.start, m, "out", layer), scales(config.start, n, "in", layer)
            formulas[layer] = Scaled(f"weight_{group[0]:02d}", out, into, flops=9 * m * n)
    return Parts(main_slots(alone_too(groups, layers), layers), tuple(extras), formulas, fills)


def scales(start: str, size: int, side: str, layer: int) -> Callable[[Draw], Tensor]:
    """Starts of `scaled`, one number per unit."""
    import torch

    def fill(draw: Draw) -> Tensor:
        if start == "ones":
            return torch.ones(size, dtype=torch.float64)
        drawn = torch.randn(size, dtype=torch.float64, generator=draw.stream("scaled", side, layer))
        return torch.where(drawn < 0, -1.0, 1.0).double() if start == "signs" else 1 + 0.5 * drawn

    return fill


def coefficients(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """W_l = sum_j a_lj T_j: `sharing.slots` templates by the initializer, a the rows of a semi-orthogonal (L, k) matrix
    (columns orthonormal if L > k, rescaled by sqrt(L / k) so that the weights keep the initializer's variance)."""
    groups = alike(config, layers)
    slots: list[Slot] = []
    extras: list[Slot] = []
    formulas: dict[int, Formula] = {}
    fills: Fills = {}
    k = config.slots
    for group in groups:
        m, n = layers[group[0]].shape
        bank = f"weight_{group[0]:02d}"
        slots.append(Slot(bank, (k, m, n), tuple(group)))
        fills[bank] = templates(group[0], k)
        for row, layer in enumerate(group):
            name = f"coefficients_{layer:02d}"
            extras.append(Slot(name, (k,), (layer,)))
            fills[name] = mixing(group[0], row, len(group), k)
            formulas[layer] = Coefficients(bank, name, flops=6 * k * m * n)
    return Parts(with_the_rest(slots, layers), tuple(extras), formulas, fills)


def templates(layer: int, count: int) -> Callable[[Draw], Tensor]:
    """A bank of independent draws of one layer's initializer."""

    def fill(draw: Draw) -> Tensor:
        import torch

        return torch.stack([draw(layer, copy) for copy in range(count)])

    return fill


def mixing(group: int, row: int, rows: int, k: int) -> Callable[[Draw], Tensor]:
    """One row of the group's semi-orthogonal matrix (L, k)."""

    def fill(draw: Draw) -> Tensor:
        import torch

        from initbench.initializers import orthogonal_

        matrix = torch.empty(rows, k, dtype=torch.float64)
        orthogonal_(matrix, generator=draw.stream("coefficients", group))
        return matrix[row] * math.sqrt(max(1.0, rows / k))

    return fill


def indexed(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """Layers whose entries are stored numbers seen through an index: hashed, circulant, block_circulant.

    All hidden-to-hidden layers, or those that `sharing.groups` names; each has its own numbers.
    """
    chosen = sorted(layer for group in named_or_all(config, layers) for layer in group)
    slots = {slot.layers[0]: slot for slot in main_slots([[layer.index] for layer in layers], layers)}
    formulas: dict[int, Formula] = {}
    fills: Fills = {}
    for layer in chosen:
        shape = layers[layer].shape
        if config.name == "hashed":
            index, sign = hashed(shape, config.ratio, layer)
        elif config.name == "circulant":
            index, sign = circulant(shape, layer)
        elif config.block > max(shape):
            raise inapplicable(
                f"sharing.block={config.block}", f"layer {layer} has shape {shape}", f"must be at most {max(shape)}"
            )
        else:
            index, sign = block_circulant(shape, config.block)
        name = slots[layer].name
        slots[layer] = Slot(name, (int(index.max()) + 1,), (layer,))
        formula = Indexed(name, index, sign)
        formulas[layer] = formula
        fills[name] = lambda draw, formula=formula, layer=layer: formula.start(draw(layer))  # type: ignore[misc]
    return Parts(tuple(slots.values()), formulas=formulas, fills=fills)


def hashed_global(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """All layers of a group take their entries from one array of ceil(sharing.ratio sum m n) values, by a hash over
    (layer, i, j) with signs; their shapes may differ. A value starts as the entry of the first place that uses it."""
    groups = named_or_all(config, layers)
    slots: list[Slot] = []
    formulas: dict[int, Formula] = {}
    fills: Fills = {}
    for group in groups:
        name = f"weight_{group[0]:02d}"
        index, sign = hashed_together({layer: layers[layer].shape for layer in group}, config.ratio)
        every = Indexed(name, *(np.concatenate([one[layer].ravel() for layer in group]) for one in (index, sign)))
        slots.append(Slot(name, (int(every.index.max()) + 1,), tuple(group)))
        fills[name] = together(every, group)
        formulas |= {layer: Indexed(name, index[layer], sign[layer]) for layer in group}
    return Parts(with_the_rest(slots, layers), formulas=formulas, fills=fills)


def together(every: Indexed, group: Sequence[int]) -> Callable[[Draw], Tensor]:
    """Values of one array from the matrices that the initializer draws for the layers of a group."""

    def fill(draw: Draw) -> Tensor:
        import torch

        return every.start(torch.cat([draw(layer).reshape(-1) for layer in group]))

    return fill


def shared_basis(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """W_l = B C_l of rank sharing.rank: B common, with orthonormal columns at the start; C_l the first rows of the matrix
    that the initializer draws for layer l, times sqrt(m / r), so that the mean square of W_l is the initializer's."""
    groups = alike(config, layers)
    slots: list[Slot] = []
    extras: list[Slot] = []
    formulas: dict[int, Formula] = {}
    fills: Fills = {}
    for group in groups:
        m, n = layers[group[0]].shape
        rank = fitting_rank(config.rank, layers[group[0]])
        basis = f"weight_{group[0]:02d}"
        slots.append(Slot(basis, (m, rank), tuple(group)))
        fills[basis] = haar((m, rank), "shared_basis", group[0])
        for layer in group:
            name = f"coefficients_{layer:02d}"
            extras.append(Slot(name, (rank, n), (layer,)))
            fills[name] = (
                lambda draw, layer=layer, rank=rank, m=m: (  # type: ignore[misc]
                    draw(layer)[:rank] * math.sqrt(m / rank)
                )
            )
            formulas[layer] = Basis(basis, name, flops=6 * m * n * rank)
    return Parts(with_the_rest(slots, layers), tuple(extras), formulas, fills)


def turned(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """W_l = P_l W0 Q_l with frozen P_l, Q_l of each layer, drawn by the seed: permutations, or rotations by Haar's
    measure. No number more is stored than by `all`, but the layers' singular vectors have nothing in common."""
    groups = alike(config, layers)
    extras: list[Slot] = []
    formulas: dict[int, Formula] = {}
    fills: Fills = {}
    make = permutation if config.name == "permuted" else haar
    for group in groups:
        m, n = layers[group[0]].shape
        # a permutation moves numbers; what is counted is the sum of the gradients
        flops = m * n if config.name == "permuted" else 4 * m * n * (m + n)
        for layer in group:
            out, into = f"{config.name}_out_{layer:02d}", f"{config.name}_in_{layer:02d}"
            extras += [Slot(out, (m, m), (layer,)), Slot(into, (n, n), (layer,))]
            fills[out], fills[into] = make((m, m), out), make((n, n), into)
            formulas[layer] = Turned(f"weight_{group[0]:02d}", out, into, flops)
    weights = main_slots(alone_too(groups, layers), layers)
    return Parts(weights, tuple(extras), formulas, fills, frozen=frozenset(fills))


def haar(shape: tuple[int, int], *stream: str | int) -> Callable[[Draw], Tensor]:
    """A matrix (m, n <= m) with orthonormal columns, by Haar's measure."""

    def fill(draw: Draw) -> Tensor:
        import torch

        from initbench.initializers import orthogonal_

        return orthogonal_(torch.empty(shape, dtype=torch.float64), generator=draw.stream(*stream))

    return fill


def permutation(shape: tuple[int, int], *stream: str | int) -> Callable[[Draw], Tensor]:
    """A random permutation as a matrix (n, n)."""

    def fill(draw: Draw) -> Tensor:
        import torch

        order = torch.randperm(shape[0], generator=draw.stream(*stream))
        return torch.eye(shape[0], dtype=torch.float64)[order]

    return fill


def fitting_rank(rank: int, layer: LayerSpec) -> int:
    """sharing.rank, if a layer's weight may have it."""
    most = min(layer.shape)
    if rank > most:
        raise inapplicable(
            f"sharing.rank={rank}", f"layer {layer.index} has shape {layer.shape}", f"must be at most {most}"
        )
    return rank


def with_the_rest(slots: Sequence[Slot], layers: Sequence[LayerSpec]) -> tuple[Slot, ...]:
    """Main slots of some layers, and of every other layer its own, in order of first use."""
    taken = {layer for slot in slots for layer in slot.layers}
    alone = main_slots([[layer.index] for layer in layers if layer.index not in taken], layers)
    return tuple(sorted((*slots, *alone), key=lambda slot: slot.layers))
