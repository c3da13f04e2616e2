"""What arms are called: readable, and unique in a study; two arms never share a label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from initbench import sharing
from initbench.config.arm import ArmConfig, digest, dotted
from initbench.config.groups import ModelConfig
from initbench.errors import refusal
from initbench.grammar import plain

if TYPE_CHECKING:
    from initbench.data.dataset import Dataset
    from initbench.study.plan import PlannedArm


def labelled(arms: Sequence[PlannedArm]) -> list[PlannedArm]:
    """The arms with settings named so that different ones differ, and labels unique in the study."""
    settings = [setting_config(arm.home or arm.config) for arm in arms]
    varying = differing(settings)
    out = []
    for arm, config in zip(arms, settings):
        own = {key: config.get(key) for key in varying}
        details = ", ".join(f"{short(key)}={plain(value)}" for key, value in own.items() if value is not None)
        whole = takes_all(arm.config, arm.data)  # then the setting names no batch size
        shown = {key: value for key, value in own.items() if key not in SHOWN or (whole and key == "optim.batch_size")}
        extra = "".join(f", {short(key)}={plain(v)}" for key, v in shown.items() if v is not None)
        label = f"{arm.setup} · {details}" if details else arm.setup
        out.append(replace(arm, label=label, setting=setting_label(arm.home or arm.config, arm.data) + extra))
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


# parts of a setting that its label always shows
SHOWN = {
    *("data.name", "model.depth", "model.width", "model.activation", "optim.name"),
    *("optim.batch_size", "train.steps"),
}


# parts of the model that are compared
OF_THE_SETUP = tuple(
    f"model.{key}" for key in ("parametrization", "base_width", "base_depth", "residual", "residual_scale")
)


def setting_config(config: ArmConfig) -> dict[str, Any]:
    """Everything but the setup, flat: what a comparison happens in."""
    flat = dotted(config.plain())
    del flat["seeds"], flat["dropped"]
    left = ("init.", "sharing.", "train.target", "engine.workers", "engine.chunk", "measure.")
    return {
        key: value
        for key, value in flat.items()
        if not key.startswith(left) and key not in (*OF_THE_SETUP, "optim.lr", "train.rerun", "train.dry_run")
    }


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose value is not the same everywhere. Options of an optimizer follow its name and are left out.

    >>> differing([{"a": 1, "b": 2}, {"a": 1, "b": 3}])
    ['b']
    """
    keys = list(dict.fromkeys(key for config in configs for key in config))
    varying = [key for key in keys if len({json.dumps(config.get(key)) for config in configs}) > 1]
    for group in ("optim", "data"):
        name = f"{group}.name"
        if name in varying:
            others = [key for key in varying if key.startswith(f"{group}.") and key != name]
            for key in others:  # dropped if the name alone tells its value
                pairs = {(config.get(name), json.dumps(config.get(key))) for config in configs}
                if len(pairs) == len({config.get(name) for config in configs}):
                    varying.remove(key)
    return varying


def short(key: str) -> str:
    """The last part of a dotted key; the group where that is `name`.

    >>> short("model.depth"), short("optim.name")
    ('depth', 'optim')
    """
    group, _, last = key.rpartition(".")
    return group if last == "name" else last


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
    m, o = config.model, config.optim
    width = plain(m.width) if isinstance(m.width, (list, tuple)) else f"{m.depth}x{m.width}"
    net = module_label(m) if m.name == "module" else f"{width} {m.activation}"
    batch = "full batch" if takes_all(config, data) else f"batch {o.batch_size}"
    return f"{config.data['name']}, {net}, {o.name}, {batch}, {config.train.steps} steps"


def takes_all(config: ArmConfig, data: Dataset | None) -> bool:
    """Whether each step takes all training samples, as far as is known."""
    size = config.optim.batch_size
    return size is None or (data is not None and size >= data.train_samples)


def module_label(model: ModelConfig) -> str:
    """Name of a module with its arguments: MyNet(hidden=3).

    >>> module_label(ModelConfig("module", target="my_module.MyNet", args={"hidden": 3}))
    'MyNet(hidden=3)'
    """
    inner = ", ".join(f"{key}={plain(value)}" for key, value in model.args.items())
    return str(model.target).rpartition(".")[2] + (f"({inner})" if inner else "")


def setting_key(config: ArmConfig) -> str:
    """Key of a setting: equal exactly if two arms may be compared."""
    return digest(setting_config(config))
