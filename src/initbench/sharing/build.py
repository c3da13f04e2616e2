"""From a configuration to a scheme: one builder a scheme, `(config, layers) -> Parts`.

The builders in BUILDERS, those of installed packages (entry point group `initbench.sharing`) and your own
(`sharing=my_module.my_sharing`) have one contract. A builder
may return plain groups of layers, or Parts where weights are more than look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from initbench.config.checks import unknown
from initbench.config.groups import OWN_BIAS, SHARING_KEYS, LayerSpec, SharingConfig
from initbench.errors import inapplicable, refusal
from initbench.grammar import plain
from initbench.own import plugins
from initbench.own.code import guarded
from initbench.sharing import composed, timed
from initbench.sharing.groups import RULES, Groups, alike, alone_too, by_hand, by_rule, check_one_shape
from initbench.sharing.parts import Parts, check_formulas, check_frozen, check_parts, checked, main_slots
from initbench.sharing.scheme import Scheme, Slot
from initbench.sharing.subspace import intrinsic

Builder = Callable[[SharingConfig, Sequence[LayerSpec]], Parts | Groups]


def explicit(config: SharingConfig, layers: Sequence[LayerSpec]) -> Groups:
    """Groups by hand; layers not named stay alone."""
    if not config.groups:  # listed beside the others in a sweep over all schemes; alone it is refused
        raise inapplicable("sharing=explicit", "it needs sharing.groups", "add e.g. 'sharing.groups=[[1,2],[3,4]]'")
    return alone_too(by_hand(config, layers), layers)


def input_injection(config: SharingConfig, layers: Sequence[LayerSpec]) -> Parts:
    """One weight for all layers of a group, each use of which also receives V x: z = W h + b + V x. V starts as the
    initializer fills the input layer, by a draw of its own."""
    groups = alike(config, layers)
    slots = []
    for group in groups:
        if 0 in group:
            raise inapplicable(
                "sharing=input_injection",
                "layer 0 receives the input already",
                "name layers from 1 on in sharing.groups",
            )
        if layers[group[0]].fan_out != layers[0].fan_out:
            raise inapplicable(
                "sharing=input_injection",
                f"layer 0 has {layers[0].fan_out} units and layer {group[0]} {layers[group[0]].fan_out}, and V starts as "
                "the weight of layer 0",
                "give the layers equal widths",
            )
        slots.append(Slot(f"injection_{group[0]:02d}", layers[0].shape, tuple(group)))
    fills = {slot.name: lambda draw, copy=copy: draw(0, copy) for copy, slot in enumerate(slots, start=1)}  # type: ignore[misc]
    return Parts(main_slots(alone_too(groups, layers), layers), fills=fills, injections=tuple(slots))


BUILDERS: dict[str, Builder] = {
    **dict.fromkeys(RULES, by_rule),
    "explicit": explicit,
    "transposed": composed.transposed,
    "low_rank_delta": composed.low_rank_delta,
    "scaled": composed.scaled,
    "coefficients": composed.coefficients,
    "shared_basis": composed.shared_basis,
    **dict.fromkeys(("permuted", "rotated"), composed.turned),
    **dict.fromkeys(("hashed", "circulant", "block_circulant"), composed.indexed),
    "hashed_global": composed.hashed_global,
    "intrinsic": intrinsic,
    "input_injection": input_injection,
    "soft": timed.soft,
    "tied_at_init": timed.tied_at_init,
    "tie_then_untie": timed.tie_then_untie,
    "untie_then_tie": timed.untie_then_tie,
}
NEVER = 2**62  # an update that no run reaches


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
        if replace(built, weights=(), extras=()) != Parts(()):
            raise refusal(
                "sharing.bias=only", f"sharing={config.name} does not take it", "must be one of: tied, untied"
            )
        built = replace(built, weights=main_slots([[layer.index] for layer in layers], layers))
    biases = bias_slots(config, tied, built, layers) if bias else ()
    names = [slot.name for slot in (*built.weights, *built.extras, *built.injections, *biases)]
    if bias:
        check_formulas(f"sharing={config.name}", built.bias_formulas, names, layers)
    frozen = frozenset(name for name in built.frozen if bias or not name.startswith("bias"))
    check_frozen(f"sharing={config.name}", frozen, names)
    return Scheme(
        weights=built.weights,
        biases=biases,
        reduce=config.reduce,
        extras=built.extras,
        own=tuple(own),
        injections=built.injections,
        formulas=built.formulas,
        bias_formulas=built.bias_formulas if bias else {},
        fills=built.fills,
        shapes=tuple(layer.shape for layer in layers),
        soft=built.soft,
        strength=config.strength,
        ties=tuple(tie for tie in built.ties if bias or not tie[0].startswith("bias")),
        tie_at=built.tie_at,
        untie_at=0 if not built.ties else NEVER if built.tie_at else config.step,
        frozen=frozen,
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
