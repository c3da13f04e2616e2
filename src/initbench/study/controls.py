"""Fair controls of sharing: is it the fewer numbers, or the sharing? Untied nets beside each shared arm.

Two nets: of equal width, which costs as many operations a step (a layer that shares its weight computes as much as one
that does not), and a narrower one that stores as many numbers: all of them (sharing.controls=true), or as many weights,
with biases free on both sides (sharing.controls=weights), as papers that compress weights count.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from initbench.config.arm import ArmConfig
from initbench.config.groups import ModelConfig, SharingConfig
from initbench.nets.net import net
from initbench.sharing import Scheme
from initbench.study.labels import parts_label, sharing_label
from initbench.study.plan import PlannedArm, planned


def with_controls(arms: Sequence[PlannedArm]) -> list[PlannedArm]:
    """The arms and the controls that they ask for by sharing.controls=true or =weights, each key once.

    An arm that is there anyway and is a control says so too.
    """
    found = {arm.key: arm for arm in arms}
    for arm in arms:
        for control in (replace(one, job=arm.job) for one in controls(arm)):
            known = found.get(control.key)
            found[control.key] = control if known is None else merged(known, control)
    return list(found.values())


def merged(known: PlannedArm, control: PlannedArm) -> PlannedArm:
    """One arm that serves as the control of several; an ordinary arm keeps its name."""
    control_of = known.control_of + control.control_of
    if known.home is None:
        return replace(known, control_of=control_of)
    return replace(known, control_of=control_of, setup=narrow_setup(known.config, control_of))


def controls(arm: PlannedArm) -> list[PlannedArm]:
    """The untied nets beside a shared arm; none for an arm that stores as much as an untied one."""
    config = arm.config
    if not config.sharing.controls or config.sharing.name == "none":
        return []
    untied = replace(config, sharing=SharingConfig())
    name = sharing_label(config)
    found = [replace(planned(untied), control_of=(("same FLOPs", name),))]
    kind = "same weights" if config.sharing.controls == "weights" else "same parameters"
    stored = COUNTED[kind](arm.scheme)
    if config.model.name != "module" and stored < COUNTED[kind](found[0].scheme):  # a module has no width to narrow
        narrow = replace(untied, model=narrower(untied, arm, kind))
        control_of = ((kind, name),)
        found.append(
            replace(planned(narrow), control_of=control_of, home=untied, setup=narrow_setup(narrow, control_of))
        )
    return found


def stored_weights(scheme: Scheme) -> int:
    """Numbers stored in all but biases."""
    return scheme.stored_parameters - scheme.stored_biases


# what a narrower net has as many of -> how it is counted
COUNTED: Mapping[str, Callable[[Scheme], int]] = {
    "same parameters": lambda scheme: scheme.stored_parameters,
    "same weights": stored_weights,
}


def narrow_setup(config: ArmConfig, control_of: Sequence[tuple[str, str]]) -> str:
    """Setup of a narrower net: kaiming_normal · none(width 17, parameters of all)."""
    of = [
        f"{kind.removeprefix('same ')} of {', '.join(dict.fromkeys(name for one, name in control_of if one == kind))}"
        for kind in COUNTED
        if any(one == kind for one, _ in control_of)
    ]
    return parts_label(config, f"none(width {max(config.model.widths)}, {', '.join(of)})")


def narrower(config: ArmConfig, arm: PlannedArm, kind: str) -> ModelConfig:
    """The model whose untied net stores the number nearest to the arm's: all hidden widths scaled alike."""
    stored = COUNTED[kind](arm.scheme)
    widths, model = config.model.widths, config.model
    largest = max(widths)

    def scaled(width: int) -> ModelConfig:
        if not isinstance(model.width, (list, tuple)):
            return replace(model, width=width)
        return replace(model, width=[max(1, round(w * width / largest)) for w in widths])

    def size(width: int) -> int:
        one = replace(config, model=scaled(width))
        return COUNTED[kind](net(one, one.model.layers(arm.data.inputs, arm.data.outputs)).scheme)

    above = bisect_left(range(1, largest + 1), stored, key=size) + 1
    nearest = min((w for w in (above - 1, above) if 1 <= w <= largest), key=lambda w: abs(size(w) - stored))
    return scaled(nearest)


def control_text(arm: PlannedArm, arms: Iterable[PlannedArm] = ()) -> str | None:
    """What an arm is a control of, in words, with the counts of both sides (of the shared ones among `arms`); None if it
    is no control."""
    shared = {sharing_label(one.config): one for one in arms}
    texts = []
    for kind, words in (
        ("same FLOPs", "as many operations a step"),
        ("same parameters", "as many stored numbers"),
        ("same weights", "as many stored weights (biases not counted)"),
    ):
        names = list(dict.fromkeys(name for one, name in arm.control_of if one == kind))
        if names and kind == "same FLOPs":
            texts.append(f"{words} as {', '.join(names)}")
        elif names:
            theirs = [f"{n} ({counts(shared[n])})" if n in shared else n for n in names]
            texts.append(f"{words} as {', '.join(theirs)}: {counts(arm)}")
    return "; ".join(texts) or None


def counts(arm: PlannedArm) -> str:
    """What an arm stores: 569 weights + 266 biases."""
    return f"{stored_weights(arm.scheme):,} weights + {arm.scheme.stored_biases:,} biases"
