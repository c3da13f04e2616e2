"""Keys that nothing reads with the options chosen: typed by hand, they are refused rather than ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from initbench.config.arm import ArmConfig
from initbench.config.groups import SHARING_KEYS
from initbench.errors import refusal
from initbench.overrides.read import typed


def check_effect(given: Sequence[Any], arms: Sequence[ArmConfig]) -> None:
    """Refuse an override whose key no arm reads; where one arm of a sweep does, the others ignore it.

    Seeds, rates, tracking, report and engine are no numbers of an arm: a command may carry them for nothing.
    """
    idle = [unread(arm) for arm in arms]
    for override in given:
        parts = override.key_or_group.split(".")
        key = ".".join(parts[:2])
        if all(key in one for one in idle):
            raise refusal(typed(override), *idle[0][key])


def check_decide(given: Sequence[Any], on: bool) -> None:
    """Refuse a limit of decide=true where that is off: the study would end as if it had not been given."""
    for override in given:
        if override.key_or_group.startswith("decide.") and override.key_or_group != "decide.enabled" and not on:
            raise refusal(typed(override), "nothing uses it without decide=true", "add decide=true, or leave it out")


def unread(arm: ArmConfig) -> Mapping[str, tuple[str, str]]:
    """Key -> what is wrong with giving it to this arm, and what to do."""
    found: dict[str, tuple[str, str]] = {}
    m, s = arm.model, arm.sharing
    for key in asdict(m).keys() - m.relevant().keys():
        found[f"model.{key}"] = ("nothing uses it here", MODEL_READERS[key])
    found.pop("model.residual", None)  # refused with its own words
    found.pop("model.target", None)
    read = set(s.relevant())
    if s.name != "none":
        read |= {"controls"}
    for key in asdict(s).keys() - read:
        readers = [name for name, keys in SHARING_KEYS.items() if key in keys]
        do = (
            f"choose one of sharing={', '.join(readers)}"
            if readers
            else "choose a scheme that shares, e.g. sharing=all"
        )
        found[f"sharing.{key}"] = (f"sharing={s.name} does not use it", do)
    if m.name == "module":
        found["init.relative"] = ("which layers are first and last is the module's own business", "scale them in it")
    if arm.measure.name == "none" and arm.measure.metrics is None:
        found["measure.schedule"] = ("measure=none takes no measures", "choose measure=light or measure=full")
    return found


MODEL_READERS = {
    "base_width": "set model.parametrization=mup as well",
    "base_depth": "set model.parametrization=depth_mup as well",
    "residual_scale": "set model.residual=looped as well",
    "branch": "choose model=residual_mlp",
    "residual": "choose model=residual_mlp",
    "target": "choose model=module",
    "args": "choose model=module",
    **dict.fromkeys(("depth", "width", "bias"), "set the arguments of the module instead, model.args.KEY=VALUE"),
}
