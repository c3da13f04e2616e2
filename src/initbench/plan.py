"""From configurations to a plan: keys, costs, and the description that becomes study.json."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from initbench import data as data_module
from initbench import sharing
from initbench.cautions import Caution
from initbench.config import ArmConfig, resolve_target
from initbench.costs import costs
from initbench.data import Dataset
from initbench.errors import InputError, NotApplicable
from initbench.estimate import check_memory
from initbench.groups import LayerSpec
from initbench.labels import init_label, setup_label, sharing_label
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
        from initbench.data.doubts import doubts

        train, single = self.config.train, self.config.model.dtype == "float32"
        of_data = doubts(self.data, train.target, self.config.seeds, self.material.loss, single)
        return tuple(dict.fromkeys((*self.data.cautions, *of_data, *self.material.cautions)))

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
    from initbench.engine import material

    return material.batch_size(config, data.train_samples)


def planned(config: ArmConfig) -> PlannedArm:
    """Check an arm against its data and give it its key.

    Raises InputError or NotApplicable, one line each.
    """
    from initbench import initializers, measure
    from initbench.engine import material

    data = data_module.load(config.data)
    check_memory(config.model, config.optim, config.train, config.measure, config.seeds, data.inputs, data.outputs)
    function = initializers.resolve(config.init.target)
    initializers.check_args(function, config.init.args, config.init.name)
    measure.chosen(config.measure)
    target = resolve_target(config.train.target, data.classes is not None)
    resolved = replace(config, train=replace(config.train, target=target, loss=material.loss_name(config, data)))
    if config.model.name == "module":  # nothing to stack: one module at a time
        resolved = replace(resolved, engine=replace(resolved.engine, name="reference"))
    arm = PlannedArm(config=resolved, key="", setup=setup_label(resolved))
    source = initializers.source_hash(config.init.target, config.init.args)
    source += scheme_source(config) + module_source(config)
    _ = arm.scheme  # raises where the sharing does not fit
    arm = replace(arm, key=resolved.key(data.hash, source, version("torch"), arm.path[0]))
    check_device(config.engine.device)
    check_start(arm)
    return arm


def try_start(arm: PlannedArm) -> None:
    """Draw one start; raises where it does not fit."""
    seed = arm.config.seeds[0]
    if arm.config.model.name == "module":
        from initbench.engine.module import build

        build(arm.material, seed)
    else:
        from initbench.engine.material import start_of_seed

        start_of_seed(arm.material, seed)


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
    try:
        try_start(arm)
    except (InputError, NotApplicable):
        raise
    except Exception:
        if initializers.catalogued_here(function):
            raise


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


def scheme_source(config: ArmConfig) -> str:
    """Hash of the file of an installed package's sharing scheme; empty for ours, which have a version."""
    if config.sharing.name in sharing.BUILDERS:
        return ""
    file = inspect.getfile(sharing.builder(config.sharing.name))
    return hashlib.blake2b(Path(file).read_bytes(), digest_size=8).hexdigest()


def module_source(config: ArmConfig) -> str:
    """Hash of the file of a person's own module: editing it trains anew."""
    if config.model.name != "module":
        return ""
    from initbench.engine.module import imported

    try:
        file = inspect.getfile(imported(str(config.model.target)))
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=8).hexdigest()
    except (TypeError, OSError):
        return ""
