"""What arms are called: readable, and unique in a study; two arms never share a label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from initbench import sharing
from initbench.config import called
from initbench.config.arm import ArmConfig, dotted
from initbench.config.called import Named
from initbench.errors import refusal
from initbench.grammar import plain

if TYPE_CHECKING:
    from initbench.data.dataset import Dataset
    from initbench.study.plan import PlannedArm


def labelled(arms: Sequence[PlannedArm]) -> list[PlannedArm]:
    """The arms with settings named so that different ones differ, and labels unique in the study."""
    own = [Named(arm.setup, (arm.home or arm.config).plain(), takes_all(arm.config, arm.data)) for arm in arms]
    out = [replace(arm, label=label, setting=setting) for arm, (label, setting) in zip(arms, called.names(own))]
    check_unique(out)
    return out


def check_unique(arms: Sequence[PlannedArm]) -> None:
    """Raise InputError for two arms of one label: results are told apart by it. What differs prints alike, e.g. 1 and 1.0."""
    known: dict[str, PlannedArm] = {}
    for arm in arms:
        other = known.setdefault(arm.label, arm)
        if other.key != arm.key:
            one, two = dotted(other.config.plain()), dotted(arm.config.plain())
            key, a, b = next(
                (key, a, b)
                for key in {**one, **two}
                if (a := json.dumps(one.get(key))) != (b := json.dumps(two.get(key)))
            )
            both = f"{key.replace('init.args.', 'init.')}={a} and {b}"
            raise refusal(
                arm.label, f"two arms have this label, of {both}", "leave one out, or give them different names"
            )


def setup_label(config: ArmConfig) -> str:
    """What is compared: initializer, sharing, the residual rule, and the parametrization where it is not the standard
    one: kaiming_normal · none · fixup · mup(64)."""
    return parts_label(config, sharing_label(config))


def parts_label(config: ArmConfig, sharing: str) -> str:
    """The parts of a setup in words, its sharing as given."""
    parts, m = [init_label(config), sharing], config.model
    if m.residual is not None:
        scale = f"({plain(m.residual_scale)})" if m.residual == "looped" and m.residual_scale != 1.0 else ""
        parts.append(f"residual={m.residual}" if m.residual in ("none", "plain") else f"{m.residual}{scale}")
    if m.parametrization != "standard":
        bases = {"mup": f"({m.base_width})", "depth_mup": f"({m.base_width},{m.base_depth})"}
        parts.append(m.parametrization + bases.get(m.parametrization, ""))
    return " · ".join(parts)


def init_label(config: ArmConfig) -> str:
    """Name of the option, with the arguments that differ from it: xavier_normal(gain=2)."""
    changed = config.init.changed
    inner = ", ".join(f"{key}={plain(value)}" for key, value in changed.items())
    return f"{config.init.name}({inner})" if inner else config.init.name


def sharing_label(config: ArmConfig) -> str:
    """Name of the scheme with what it needs: cycle(2), explicit([[1,2]]), all(bias=untied)."""
    return sharing.label(config.sharing)


def setting_label(config: ArmConfig, data: Dataset | None = None) -> str:
    """What a comparison happens in, short: digits, 6x32 relu, sgd, batch 64, 300 steps.

    With the `data`, a batch size that takes all training samples in each step is the full batch.
    """
    return called.setting_words(config.plain(), takes_all(config, data))


def takes_all(config: ArmConfig, data: Dataset | None) -> bool:
    """Whether each step takes all training samples, as far as is known."""
    size = config.optim.batch_size
    return size is None or (data is not None and size >= data.train_samples)
