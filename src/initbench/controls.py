"""Fair controls of sharing: is it the fewer numbers, or the sharing? Untied nets beside each shared arm.

Two nets: of equal width, which costs as many operations a step (a layer that shares its weight computes as much as one
that does not), and a narrower one that stores as many numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from initbench.config import ArmConfig
from initbench.groups import ModelConfig, SharingConfig
from initbench.labels import parts_label, sharing_label
from initbench.net import net
from initbench.plan import PlannedArm, planned


def with_controls(arms: Sequence[PlannedArm]) -> list[PlannedArm]:
    """The arms and the controls that they ask for by sharing.controls=true, each key once.

    An arm that is there anyway and is a control says so too.
    """
    found = {arm.key: arm for arm in arms}
    for arm in arms:
        for control in controls(arm):
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
    stored = arm.scheme.stored_parameters
    found = [replace(planned(untied), control_of=(("same FLOPs", name),))]
    if config.model.name != "module" and stored < found[0].scheme.stored_parameters:  # a module has no width to narrow
        narrow = replace(untied, model=narrower(untied, arm, stored))
        control_of = (("same parameters", name),)
        setup = narrow_setup(narrow, control_of)
        found.append(replace(planned(narrow), control_of=control_of, home=untied, setup=setup))
    return found


def narrow_setup(config: ArmConfig, control_of: Sequence[tuple[str, str]]) -> str:
    """Setup of a narrower net: kaiming_normal · none(width 17, parameters of all)."""
    of = ", ".join(dict.fromkeys(name for _, name in control_of))
    return parts_label(config, f"none(width {max(config.model.widths)}, parameters of {of})")


def narrower(config: ArmConfig, arm: PlannedArm, stored: int) -> ModelConfig:
    """The model whose untied net stores the number nearest to `stored`: all hidden widths scaled alike."""
    widths, model = config.model.widths, config.model
    largest = max(widths)

    def scaled(width: int) -> ModelConfig:
        if not isinstance(model.width, (list, tuple)):
            return replace(model, width=width)
        return replace(model, width=[max(1, round(w * width / largest)) for w in widths])

    def size(width: int) -> int:
        one = replace(config, model=scaled(width))
        return net(one, one.model.layers(arm.data.inputs, arm.data.outputs)).scheme.stored_parameters

    above = bisect_left(range(1, largest + 1), stored, key=size) + 1
    nearest = min((w for w in (above - 1, above) if 1 <= w <= largest), key=lambda w: abs(size(w) - stored))
    return scaled(nearest)


def control_text(arm: PlannedArm) -> str | None:
    """What an arm is a control of, in words; None if it is none."""
    texts = []
    for kind, words in (("same FLOPs", "as many operations a step"), ("same parameters", "as many stored numbers")):
        names = list(dict.fromkeys(name for one, name in arm.control_of if one == kind))
        if names:
            texts.append(f"{words} as {', '.join(names)}")
    return "; ".join(texts) or None
