"""From configurations to a plan: keys, readable labels, costs, and the description that becomes study.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

from initbench import data as data_module
from initbench import plugins, sharing, sources
from initbench.cautions import Caution
from initbench.config import ArmConfig, digest, resolve_target
from initbench.costs import costs
from initbench.data import Dataset
from initbench.errors import InputError, NotApplicable
from initbench.groups import LayerSpec, ModelConfig
from initbench.own_code import OwnCodeFailed
from initbench.sharing import Scheme


@dataclass(frozen=True)
class PlannedArm:
    """An arm on its data. `label` is unique in its study."""

    config: ArmConfig
    key: str
    setup: str
    label: str = ""
    setting: str = ""
    # of a control (see controls.py): the arm in whose setting it is compared, and what it is a control of
    home: ArmConfig | None = None
    control_of: tuple[tuple[str, str], ...] = ()

    @cached_property
    def data(self) -> Dataset:
        return data_module.load(self.config.data)

    @cached_property
    def material(self) -> Any:
        """Layers, scheme and data of the runs; an `engine.material.Material`, or that of a module."""
        return material_of(self.config, self.data)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.material.layers

    @property
    def scheme(self) -> Scheme:
        return self.material.scheme

    @property
    def sees_whole_net(self) -> bool:
        """Whether the initializer fills a whole net from a batch, which may take seconds a seed."""
        from initbench import initializers

        return initializers.needs(self.config.init.target) != "nothing"

    @property
    def path(self) -> tuple[str, str]:
        """What trains the arm, and why not the kernel."""
        from initbench.engine import paths

        return paths.path(self.config, self.material)

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What to know of this arm before trusting its results."""
        return (*self.data.cautions, *self.material.cautions, *self.of_starts)

    @cached_property
    def of_starts(self) -> tuple[Caution, ...]:
        """Where all seeds start from the same numbers; looked at where drawing a start takes no more than a moment."""
        from initbench import initializers

        seeds, init = self.config.seeds, self.config.init
        if len(seeds) < 2 or self.sees_whole_net or self.scheme.stored_parameters > TRIED_PARAMETERS:
            return ()
        if not initializers.may_repeat(initializers.resolve(init.target), init.args):
            return ()
        try:
            one, two = start(self, seeds[0]), start(self, seeds[1])
        except (InputError, NotApplicable):
            return ()  # the arm's own failure, told when it runs
        if not all(one[name].equal(two[name]) for name in one):
            return ()
        text = f"the {len(seeds)} seeds of this arm differ in split and batch order only, not in the weights they start from"
        return (Caution("All seeds start alike", text),)

    def describe(self) -> dict[str, Any]:
        """The arm as study.json holds it."""
        from initbench import theory

        slot_of = self.scheme.weight_slot
        return {
            "arm_key": self.key,
            "label": self.label,
            "setup": self.setup,
            "setting": self.setting,
            "init": init_label(self.config),
            "sharing": sharing_label(self.config),
            "control_of": [list(one) for one in self.control_of],
            "config": self.config.plain(),
            "seeds": list(self.config.seeds),
            "lrs": list(self.config.optim.lrs),
            "runs": len(self.config.runs),
            "path": self.path[0],
            "layers": [
                {
                    "layer": layer.index,
                    "slot": slot_of[layer.index].name,
                    "fan_in": layer.fan_in,
                    "fan_out": layer.fan_out,
                    "uses": len(slot_of[layer.index].layers),
                }
                for layer in self.layers
            ],
            **self.costs(),
            "theory": theory.predictions(self.config, self.layers, self.scheme, self.data),
        }

    def costs(self) -> dict[str, Any]:
        """Operations and numbers of one run; see `initbench.costs`."""
        batch = train_batch(self.config, self.data)
        return costs(self.config, self.layers, self.scheme, batch, self.others, self.sees_whole_net)

    @property
    def others(self) -> int:
        """Numbers in trained parameters of a module that belong to none of its layers."""
        return self.material.structure.others if self.config.model.name == "module" else 0


def material_of(config: ArmConfig, data: Dataset) -> Any:
    """What an arm's runs are made of."""
    if config.model.name == "module":
        from initbench.engine.module import ModuleMaterial

        return ModuleMaterial(config, data)
    from initbench.engine.material import Material

    return Material(config, data)


def train_batch(config: ArmConfig, data: Dataset) -> int:
    """Samples in a training step."""
    return config.optim.batch_size or data.train_samples


def planned(config: ArmConfig, edits: bool = True) -> PlannedArm:
    """Check an arm against its data and give it its key. `edits`: also read files of a person's own anew.

    Raises InputError or NotApplicable, one line each.
    """
    from initbench import initializers, measure
    from initbench.engine import material

    if edits:
        sources.forget_edited()
    data = data_module.load(config.data)
    function = initializers.resolve(config.init.target)
    initializers.check_args(function, config.init.args, config.init.name)
    measure.chosen(config.measure)
    target = resolve_target(config.train.target, data.classes is not None)
    resolved = replace(config, train=replace(config.train, target=target, loss=material.loss_name(config, data)))
    if config.model.name == "module":  # nothing to stack: one module at a time
        resolved = replace(resolved, engine=replace(resolved.engine, name="reference"))
    material.batch_size(config, data.train_samples)
    arm = PlannedArm(config=resolved, key="", setup=setup_label(resolved))
    _ = arm.scheme  # raises where the sharing does not fit
    arm = replace(arm, key=resolved.key(data.hash, source_of(arm), version("torch"), arm.path[0]))
    check_device(config.engine.device)
    check_start(arm)
    return arm


def start(arm: PlannedArm, seed: int) -> dict[str, Any]:
    """Every stored tensor of one seed at step 0; raises where the initializer does not fit."""
    if arm.config.model.name == "module":
        from initbench.engine.module import build

        return dict(build(arm.material, seed).named_parameters())
    from initbench.engine.material import start_of_seed

    return dict(start_of_seed(arm.material, seed))


# a start is tried before anything is trained, if drawing it takes no more than a moment
TRIED_PARAMETERS = 200_000


def check_start(arm: PlannedArm) -> None:
    """Start one seed, so that an initializer that does not fit this net says so before anything is trained.

    One that sees a whole net may take seconds: it is asked about the net, not tried. What else goes wrong in a function of one's own is the
    arm's failure, told when it runs.
    """
    from initbench import initializers
    from initbench.engine import netstart
    from initbench.net import net

    init = arm.config.init
    function = initializers.resolve(init.target)
    tied = (
        [sorted({slot.origin, *slot.layers}) for slot in slots] for slots in (arm.scheme.weights, arm.scheme.biases)
    )
    initializers.check_shared(function, init.args, init.bias, arm.layers, *tied)
    if arm.sees_whole_net:
        netstart.check_net(init.name, net(arm.config, arm.layers))
        return
    if arm.scheme.stored_parameters > TRIED_PARAMETERS:
        return
    with suppress(OwnCodeFailed):
        start(arm, arm.config.seeds[0])


def check_device(device: str) -> None:
    """Raise InputError for a device that torch does not know or does not have here.

    >>> check_device("cpu")
    """
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or ["not available"])[0]
        raise InputError(f"engine.device={device}: {reason}; cpu always works") from None


def source_of(arm: PlannedArm) -> str:
    """Hash of a person's own code and files that the numbers of an arm come from, and of the groups that their sharing
    gives; empty where there are none. Editing them trains anew.
    """
    from initbench import initializers

    config = arm.config
    source, roots = initializers.source_hash(config.init.target, config.init.args), []
    if config.sharing.name not in sharing.BUILDERS:
        path = plugins.dotted(plugins.SHARING, config.sharing.name)
        roots += sources.roots_of(path, sharing.builder(config.sharing.name))
        source += repr([(slot.name, slot.layers) for slot in arm.scheme.slots])
    if config.model.name == "module":
        from initbench.engine.module import imported

        roots += sources.roots_of(str(config.model.target), imported(str(config.model.target)))
    return source + sources.digest(roots)


def labelled(arms: Sequence[PlannedArm]) -> list[PlannedArm]:
    """The arms with settings named so that different ones differ, and labels unique in the study."""
    settings = [setting_config(arm.home or arm.config) for arm in arms]
    varying = differing(settings)
    out = []
    for arm, config in zip(arms, settings):
        own = {key: config.get(key) for key in varying}
        details = ", ".join(f"{short(key)}={plain(value)}" for key, value in own.items() if value is not None)
        shown = {key: value for key, value in own.items() if key not in SHOWN}
        extra = "".join(f", {short(key)}={plain(v)}" for key, v in shown.items() if v is not None)
        label = f"{arm.setup} · {details}" if details else arm.setup
        out.append(replace(arm, label=label, setting=setting_label(arm.home or arm.config) + extra))
    return out


# parts of a setting that its label always shows
SHOWN = {
    *("data.name", "model.depth", "model.width", "model.activation", "optim.name"),
    *("optim.batch_size", "train.steps"),
}


# parts of the model that are compared
OF_THE_SETUP = ("model.parametrization", "model.base_width", "model.residual")


def setting_config(config: ArmConfig) -> dict[str, Any]:
    """Everything but the setup, flat: what a comparison happens in."""
    flat = flatten(config.plain())
    del flat["seeds"]
    left = ("init.", "sharing.", "train.target", "engine.workers", "engine.chunk", "measure.")
    return {
        key: value
        for key, value in flat.items()
        if not key.startswith(left) and key not in (*OF_THE_SETUP, "optim.lr", "train.rerun", "train.dry_run")
    }


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists stay values.

    >>> flatten({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat.update(flatten(inner, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = inner
    return flat


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


def plain(value: Any) -> str:
    """A value as a person would write it.

    >>> plain(2.0), plain([1, 2]), plain(None)
    ('2', '[1,2]', 'null')
    """
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(plain(v) for v in value) + "]"
    return str(value)


def setup_label(config: ArmConfig) -> str:
    """What is compared: initializer, sharing, the residual rule, and the parametrization where it is not the standard
    one: kaiming_normal · none · fixup · mup(64)."""
    return parts_label(config, sharing_label(config))


def parts_label(config: ArmConfig, sharing: str) -> str:
    """The parts of a setup in words, its sharing as given."""
    parts, m = [init_label(config), sharing], config.model
    if m.residual is not None:
        parts.append(f"residual={m.residual}" if m.residual in ("none", "plain") else m.residual)
    if m.parametrization != "standard":
        parts.append(f"mup({m.base_width})" if m.parametrization == "mup" else m.parametrization)
    return " · ".join(parts)


def init_label(config: ArmConfig) -> str:
    """Name of the option, with the arguments that differ from it: xavier_normal(gain=2)."""
    changed = config.init.changed
    inner = ", ".join(f"{key}={plain(value)}" for key, value in changed.items())
    return f"{config.init.name}({inner})" if inner else config.init.name


def sharing_label(config: ArmConfig) -> str:
    """Name of the scheme with what it needs: cycle(2), explicit([[1,2]]), all(bias=untied)."""
    return sharing.label(config.sharing)


def setting_label(config: ArmConfig) -> str:
    """What a comparison happens in, short: digits, 6x32 relu, sgd, batch 64, 300 steps."""
    m, o = config.model, config.optim
    width = plain(m.width) if isinstance(m.width, (list, tuple)) else f"{m.depth}x{m.width}"
    net = module_label(m) if m.name == "module" else f"{width} {m.activation}"
    batch = f"batch {o.batch_size}" if o.batch_size else "full batch"
    return f"{config.data['name']}, {net}, {o.name}, {batch}, {config.train.steps} steps"


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
