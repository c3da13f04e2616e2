"""From configurations to a plan: keys, costs, and the description that becomes study.json."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from typing import Any

from initbench import data as data_module
from initbench import sharing
from initbench.config.arm import ArmConfig, resolve_target
from initbench.config.cautions import Caution
from initbench.config.estimate import check_memory
from initbench.config.groups import LayerSpec
from initbench.data import Dataset
from initbench.engine import trainers
from initbench.engine.trainers import Trainer
from initbench.errors import InputError, NotApplicable, refusal, shown
from initbench.own import plugins, sources
from initbench.own.code import OwnCodeFailed
from initbench.sharing import Scheme
from initbench.study.costs import costs
from initbench.study.labels import init_label, setup_label, sharing_label


@dataclass(frozen=True)
class PlannedArm:
    """An arm on its data. `label` is unique in its study."""

    config: ArmConfig
    key: str
    setup: str
    label: str = ""
    setting: str = ""
    job: tuple[str, ...] = ()  # the overrides that make it
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
        return bool(self.material.initializer.needs != "nothing")

    @cached_property
    def trainer(self) -> tuple[Trainer, str]:
        """What trains the arm, and why not the first trainer there is."""
        return trainers.chosen(self.config, self.material)

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What to know of this arm before trusting its results."""
        from initbench.data.doubts import doubts

        train, single = self.config.train, self.config.model.dtype == "float32"
        of_data = doubts(self.data, train.target, self.config.seeds, self.material.loss, single)
        return tuple(dict.fromkeys((*self.data.cautions, *of_data, *self.material.cautions, *self.of_starts)))

    @cached_property
    def of_starts(self) -> tuple[Caution, ...]:
        """Where all seeds start from the same numbers; looked at where drawing a start takes no more than a moment."""
        from initbench import initializers

        seeds = self.config.seeds
        if len(seeds) < 2 or self.sees_whole_net or self.scheme.stored_parameters > TRIED_PARAMETERS:
            return ()
        if not initializers.may_repeat(self.material.initializer):
            return ()
        try:
            one, two = start(self, seeds[0]), start(self, seeds[1])
        except (InputError, NotApplicable):
            return ()  # the arm's own failure, told when it runs
        if not all(one[name].equal(two[name]) for name in one):
            return ()
        text = f"the {len(seeds)} seeds have other splits and batch orders, but start from the same weights"
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
            **({} if self.home is None else {"home": self.home.plain()}),
            "config": self.config.plain(),
            "data_hash": self.data.hash,
            "seeds": list(self.config.seeds),
            "lrs": list(self.config.optim.lrs),
            "runs": len(self.config.runs),
            "path": self.trainer[0].name,
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
        """Operations and numbers of one run; see `initbench.study.costs`."""
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
    from initbench.engine import material

    return material.batch_size(config, data.train_samples)


def planned(config: ArmConfig, edits: bool = True) -> PlannedArm:
    """Check an arm against its data and give it its key. `edits`: also read your own files anew.

    Raises InputError or NotApplicable, one line each.
    """
    from initbench import measure
    from initbench.engine import material
    from initbench.initializers import Initializer

    if edits:
        sources.forget_edited()
    data = data_module.load(config.data)
    check_memory(config.model, config.optim, config.train, config.measure, config.seeds, data.inputs, data.outputs)
    Initializer.of(config.init.target, config.init.args, config.init.bias, config.init.name)
    measure.chosen(config.measure)
    target = resolve_target(config.train.target, data.classes is not None)
    resolved = replace(config, train=replace(config.train, target=target, loss=material.loss_name(config, data)))
    arm = PlannedArm(config=resolved, key="", setup=setup_label(resolved))
    _ = arm.scheme  # raises where the sharing does not fit
    arm = replace(arm, key=resolved.key(data.hash, source_of(arm), torch_version(), arm.trainer[0].name))
    check_device(config.engine.device)
    check_start(arm)
    return arm


@cache
def torch_version() -> str:
    """The version of torch, read once."""
    return version("torch")


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

    One that sees a whole net may take seconds: it is asked about the net, not tried. What else goes wrong in your own function is the
    arm's failure, told when it runs.
    """
    from initbench import initializers
    from initbench.engine import netstart
    from initbench.nets.net import net

    init = arm.material.initializer
    tied = (
        [sorted({slot.origin, *slot.layers}) for slot in slots] for slots in (arm.scheme.weights, arm.scheme.biases)
    )
    initializers.check_shared(init, arm.layers, *tied)
    if arm.sees_whole_net:
        netstart.check_net(arm.config.init.name, net(arm.config, arm.layers))
        return
    if arm.scheme.stored_parameters > TRIED_PARAMETERS:
        return
    module = arm.config.model.name == "module"
    with suppress(OwnCodeFailed):
        first = start(arm, arm.config.seeds[0])
        if module or initializers.may_repeat(init):
            check_repeats(arm, first)


def check_repeats(arm: PlannedArm, first: dict[str, Any]) -> None:
    """Refuse your own code that gives other numbers when the first seed's start is drawn again."""
    config, again = arm.config, start(arm, arm.config.seeds[0])
    other = [name for name in first if not first[name].equal(again[name])]
    if not other:
        return
    what, source = f"init={config.init.name}", "`generator`"
    if config.model.name == "module" and other[0] in dict(arm.material.structure.reach.kept):
        what, source = f"model.target={config.model.target}", "torch's global generator, which is seeded,"
    raise refusal(what, "the same seed gave other numbers", f"draw from {source} only; keep nothing between calls")


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
        raise refusal(f"engine.device={shown(device)}", reason, "use engine.device=cpu") from None


def source_of(arm: PlannedArm) -> str:
    """Hash of your own code and files that the numbers of an arm come from, and of the groups that their sharing
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
