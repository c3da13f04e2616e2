"""What arms and settings are called, from plain configurations: of an arm that is planned, or that study.json describes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from initbench.config.arm import dotted
from initbench.grammar import plain

# parts of a setting that its label always shows
SHOWN = {
    *("data.name", "model.depth", "model.width", "model.activation", "optim.name"),
    *("optim.batch_size", "train.steps"),
}


class Named(NamedTuple):
    """What the names of an arm come from."""

    setup: str
    config: Mapping[str, Any]  # plain; of a control, of the arm in whose setting it is compared
    takes_all: bool  # each step takes all training samples


def names(arms: Sequence[Named]) -> list[tuple[str, str]]:
    """(label, setting) of each arm: settings named so that different ones differ."""
    settings = [setting_config(arm.config) for arm in arms]
    varying = differing(settings)
    out = []
    for arm, config in zip(arms, settings):
        own = {key: config.get(key) for key in varying}
        details = ", ".join(f"{short(key)}={plain(value)}" for key, value in own.items() if value is not None)
        # where a step takes all, the setting names no batch size
        shown = {key: v for key, v in own.items() if key not in SHOWN or (arm.takes_all and key == "optim.batch_size")}
        extra = "".join(f", {short(key)}={plain(v)}" for key, v in shown.items() if v is not None)
        label = f"{arm.setup} · {details}" if details else arm.setup
        out.append((label, setting_words(arm.config, arm.takes_all) + extra))
    return out


def setting_words(config: Mapping[str, Any], takes_all: bool) -> str:
    """What a comparison happens in, short: digits, 6x32 relu, sgd, batch 64, 300 steps."""
    m, o = config["model"], config["optim"]
    width = plain(m["width"]) if isinstance(m["width"], (list, tuple)) else f"{m['depth']}x{m['width']}"
    net = module_label(m) if m["name"] == "module" else f"{width} {m['activation']}"
    batch = "full batch" if takes_all else f"batch {o['batch_size']}"
    return f"{config['data']['name']}, {net}, {o['name']}, {batch}, {config['train']['steps']} steps"


def module_label(model: Mapping[str, Any]) -> str:
    """Name of a module with its arguments: MyNet(hidden=3).

    >>> module_label({"target": "my_module.MyNet", "args": {"hidden": 3}})
    'MyNet(hidden=3)'
    """
    inner = ", ".join(f"{key}={plain(value)}" for key, value in model["args"].items())
    return str(model["target"]).rpartition(".")[2] + (f"({inner})" if inner else "")


# parts of the model that are compared
OF_THE_SETUP = tuple(
    f"model.{key}" for key in ("parametrization", "base_width", "base_depth", "residual", "residual_scale")
)


def setting_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the setup, flat: what a comparison happens in."""
    flat = dotted(config)
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
