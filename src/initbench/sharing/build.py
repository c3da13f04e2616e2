"""From a configuration to a scheme: one builder a scheme, `(config, layers) -> Parts`.

The builders below, those of installed packages (entry point group `initbench.sharing`) and your own
(`sharing=my_module.my_sharing`) have one contract. A builder
may return plain groups of layers, or Parts where weights are more than look-ups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from initbench.config.checks import unknown
from initbench.config.groups import OWN_BIAS, SHARING_KEYS, LayerSpec, SharingConfig
from initbench.errors import inapplicable, refusal, shown
from initbench.grammar import plain
from initbench.own import plugins
from initbench.own.code import guarded
from initbench.sharing.formulas import (
    Coefficients,
    Indexed,
    Itself,
    LowRankDelta,
    Scaled,
    Transposed,
    block_circulant,
    circulant,
    hashed,
)
from initbench.sharing.groups import RULES, Groups, alike, alone_too, by_hand, by_rule, check_one_shape, named_or_all
from initbench.sharing.parts import Parts, check_parts, checked
from initbench.sharing.scheme import Draw, Formula, Scheme, Slot

if TYPE_CHECKING:
    from torch import Tensor


Builder = Callable[[SharingConfig, Sequence[LayerSpec]], Parts | Groups]


def main_slots(groups: Groups, layers: Sequence[LayerSpec]) -> tuple[Slot, ...]:
    """One slot a group, of its first layer's shape."""
    return tuple(Slot(f"weight_{g[0]:02d}", layers[g[0]].shape, tuple(g)) for g in groups)


def explicit(config: SharingConfig, layers: Sequence[LayerSpec]) -> Groups:
    """Groups by hand; layers not named stay alone."""
    if not config.groups:  # listed beside the others in a sweep over all schemes; alone it is refused
        raise inapplicable("sharing=explicit", "it needs sharing.groups", "add e.g. 'sharing.groups=[[1,2],[3,4]]'")
    return alone_too(by_hand(config, layers), layers)


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
    fills: dict[str, Callable[[Draw], Tensor]] = {}
    rank = config.rank
    for group in groups:
        m, n = layers[group[0]].shape
        if rank > min(m, n):
            raise inapplicable(
                f"sharing.rank={rank}", f"layer {group[0]} has shape {(m, n)}", f"must be at most {min(m, n)}"
            )
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
    fills: dict[str, Callable[[Draw], Tensor]] = {}
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
    fills: dict[str, Callable[[Draw], Tensor]] = {}
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
    taken = {layer for group in groups for layer in group}
    alone = main_slots([[layer.index] for layer in layers if layer.index not in taken], layers)
    weights = tuple(sorted((*slots, *alone), key=lambda slot: slot.layers))
    return Parts(weights, tuple(extras), formulas, fills)


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
    ties = [tuple(f"weight_{layer:02d}" for layer in group) for group in parts.bias_starts]
    if config.bias == "tied":
        ties += [tuple(f"bias_{layer:02d}" for layer in group) for group in parts.bias_starts]
    return replace(parts, ties=tuple(tie for tie in ties if len(tie) > 1))


def indexed(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """Layers whose entries are stored numbers seen through an index: hashed, circulant, block_circulant.

    All hidden-to-hidden layers, or those that `sharing.groups` names; each has its own numbers.
    """
    chosen = sorted(layer for group in named_or_all(config, layers) for layer in group)
    slots = {slot.layers[0]: slot for slot in main_slots([[layer.index] for layer in layers], layers)}
    formulas: dict[int, Formula] = {}
    fills: dict[str, Callable[[Draw], Tensor]] = {}
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


BUILDERS: dict[str, Builder] = {
    **dict.fromkeys(RULES, by_rule),
    "explicit": explicit,
    "transposed": transposed,
    "low_rank_delta": low_rank_delta,
    "scaled": scaled,
    "coefficients": coefficients,
    "soft": soft,
    "tied_at_init": tied_at_init,
    "tie_then_untie": tie_then_untie,
    **dict.fromkeys(("hashed", "circulant", "block_circulant"), indexed),
}


def builder(name: str) -> Builder:
    """The builder of a scheme; an InputError with the nearest names if there is none."""
    if name in BUILDERS:
        return BUILDERS[name]
    installed = plugins.installed(plugins.SHARING)
    if name in installed:
        return plugins.load(plugins.SHARING, name)
    if "." in name:
        return plugins.imported("sharing", name, "must be an option of conf/sharing or module.function")
    known = (*BUILDERS, *installed)
    raise unknown("sharing", name, known)


def scheme(config: SharingConfig, layers: Sequence[LayerSpec], bias: bool = True, own: Sequence[Slot] = ()) -> Scheme:
    """The scheme of a configuration on these layers; `own` are stored tensors of the model itself.

    Raises NotApplicable where a named scheme does not fit the net, InputError for impossible explicit groups; both name
    the two layers and the two shapes.

    >>> from initbench.config.groups import ModelConfig
    >>> s = scheme(SharingConfig("all"), ModelConfig(depth=3, width=4).layers(2, 1))
    >>> [(slot.name, slot.layers) for slot in s.weights], s.stored_parameters, s.used_parameters
    ([('weight_00', (0,)), ('weight_01', (1, 2)), ('weight_03', (3,))], 37, 57)
    """
    built = built_by(builder(config.name), config, layers)
    if not isinstance(built, Parts):
        groups = alone_too([sorted(group) for group in checked(config, built, layers)], layers)
        check_one_shape(config, groups, layers)
        built = Parts(main_slots(groups, layers))
    check_parts(config, built, layers)
    tied = [list(slot.layers) for slot in built.weights]
    if config.bias == "only":
        if built.formulas or built.soft or built.ties or built.bias_starts:
            raise refusal(
                "sharing.bias=only", f"sharing={config.name} does not take it", "must be one of: tied, untied"
            )
        built = replace(built, weights=main_slots([[layer.index] for layer in layers], layers))
    biases = bias_slots(config, tied, built, layers) if bias else ()
    return Scheme(
        weights=built.weights,
        biases=biases,
        reduce=config.reduce,
        extras=built.extras,
        own=tuple(own),
        formulas=built.formulas,
        fills=built.fills,
        shapes=tuple(layer.shape for layer in layers),
        soft=built.soft,
        strength=config.strength,
        ties=tuple(tie for tie in built.ties if bias or not tie[0].startswith("bias")),
        untie_at=config.step if built.ties else 0,
    )


def built_by(build: Builder, config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts | Groups:
    """What a builder returns; whatever your own builder does wrong is an InputError in one line."""
    if config.name in BUILDERS:
        return build(config, layers)
    with guarded(f"sharing={config.name}", seed=0):
        return build(config, layers)


def bias_slots(config: SharingConfig, tied: Groups, built: Parts, layers: Sequence[LayerSpec]) -> tuple[Slot, ...]:
    """Biases tied as the weights are, or each its own; equal biases at the start where the weights start equal."""
    groups = [[layer.index] for layer in layers] if config.bias == "untied" else tied
    first = {layer: group[0] for group in built.bias_starts for layer in group} if config.bias == "tied" else {}
    for group in groups:
        for layer in group[1:]:
            one, two = layers[group[0]], layers[layer]
            if one.fan_out != two.fan_out:
                raise inapplicable(
                    f"sharing={config.name}",
                    f"layer {one.index} has {one.fan_out} biases and layer {two.index} {two.fan_out}, so they cannot be tied",
                    "set sharing.bias=untied",
                )
    return tuple(
        Slot(f"bias_{g[0]:02d}", (layers[g[0]].fan_out,), tuple(g), start_layer=first.get(g[0])) for g in groups
    )


def label(config: SharingConfig) -> str:
    """Name of the scheme with what it needs: cycle(2), explicit([[1,2]]), all(bias=untied), low_rank_delta(4).

    >>> label(SharingConfig("cycle", slots=3)), label(SharingConfig("all", bias="untied"))
    ('cycle(3)', 'all(bias=untied)')
    """
    parts = [
        plain(getattr(config, key)) for key in SHARING_KEYS.get(config.name, ()) if getattr(config, key) is not None
    ]
    if config.name not in BUILDERS:  # of an installed package: whatever is not as usual
        usual_keys = asdict(SharingConfig(config.name))
        kept = {key: value for key, value in asdict(config).items() if key not in ("bias", "reduce", "controls")}
        parts = [f"{key}={plain(value)}" for key, value in kept.items() if value != usual_keys[key]]
    if config.name != "none":
        usual = "untied" if config.name in OWN_BIAS else "tied"
        parts += [f"bias={config.bias}"] if config.bias != usual else []
        parts += [f"reduce={config.reduce}"] if config.reduce != "sum" else []
    return f"{config.name}({', '.join(parts)})" if parts else config.name
