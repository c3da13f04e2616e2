"""The configuration of one arm and of a study. Hydra's DictConfig becomes these dataclasses once, at the edge.

Its groups, with their checks, are in `groups.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

from initbench.config.checks import check_target, is_whole
from initbench.config.decide import DecideConfig
from initbench.config.estimate import check_memory
from initbench.config.groups import (
    EngineConfig,
    InitConfig,
    MeasureConfig,
    ModelConfig,
    OptimConfig,
    ReportConfig,
    SharingConfig,
    Target,
    TrackConfig,
    TrainConfig,
)
from initbench.errors import refusal, shown


def dotted(config: Mapping[Any, Any], empty: bool = False, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; lists stay values. empty: an empty mapping is a value too.

    >>> dotted({"a": {"b": 1}, "c": [2], "d": {}})
    {'a.b': 1, 'c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and (value or not empty):
            flat |= dotted(value, empty, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


# Raised by hand whenever a change alters the numbers of a run: results of older numerics are trained anew.
NUMERICS_VERSION = 6


# Keys that came after studies that are stored, each with the value that means what was done before there was a choice.
LATER: dict[str, dict[str, Any]] = {
    "data": {"order": "own", "scaling": "own", "validation": "own"},
    "init": {"relative": 1.0},
    "model": {"base_depth": 6, "residual_scale": 1.0},
    "optim": {"momentum_rise": None, "rest_lr": None},
}


@dataclass(frozen=True)
class StudySchema:
    """The whole configuration as Hydra composes it; `data` and `init` have the keys of their option files."""

    study: str | None = None
    outputs: str = "outputs"
    seeds: Any = 10
    data: dict[str, Any] = field(default_factory=dict)
    model: ModelConfig = field(default_factory=ModelConfig)
    init: dict[str, Any] = field(default_factory=lambda: {"relative": 1.0})  # of every option
    sharing: SharingConfig = field(default_factory=SharingConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    decide: DecideConfig = field(default_factory=DecideConfig)


Dropped = tuple[
    tuple[float, tuple[int, ...]], ...
]  # learning rates that cannot win, each with the seeds it was tried at


@dataclass(frozen=True)
class ArmConfig:
    """One arm: everything that decides its runs. `data` is the option's keys, its `name` among them.

    All seeds are run at the rates of `optim`; the rates of `dropped` were given up after some.
    """

    data: Mapping[str, Any]
    model: ModelConfig
    init: InitConfig
    sharing: SharingConfig
    optim: OptimConfig
    train: TrainConfig
    measure: MeasureConfig
    engine: EngineConfig
    seeds: tuple[int, ...]
    dropped: Dropped = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run, sorted."""
        return runs_of(self.seeds, self.optim.lrs, self.dropped)

    def plain(self) -> dict[str, Any]:
        """The configuration as plain nested values (JSON), lists of seeds and learning rates included.

        A key of `LATER` at its usual value is left out, so that what a configuration is called by stays.
        """
        found = json.loads(json.dumps(asdict(self), default=list))
        for group, keys in LATER.items():
            for key, usual in keys.items():
                if found[group].get(key) == usual:
                    del found[group][key]
        return found

    def key(self, data_hash: str, source_hash: str, torch_version: str, trainer: str = "stacked") -> str:
        """Sixteen hex digits that change exactly when the numbers of a run may change.

        What only asks for other runs (seeds, lrs), judges (target) or computes the same (workers, chunk) is left out.
        `trainer` is what trains the arm (see engine/trainers.py): they differ in the last digits.
        """
        kept = self.plain()
        del kept["seeds"], kept["dropped"], kept["optim"]["lr"], kept["init"]["changed"]
        for name in ("rerun", "dry_run"):
            del kept["train"][name]
        if not self.train.stop_when_reached:  # the target only judges, unless runs stop there
            del kept["train"]["target"], kept["train"]["stop_when_reached"]
        kept["model"] = self.model.relevant()
        kept["sharing"] = self.sharing.relevant()
        # in the words of stored runs
        name = {"single": "reference"}.get(trainer, "fused")
        kept["engine"] = {"name": name, "device": self.engine.device.split(":")[0]}
        if trainer == "kernel":
            kept["engine"]["path"] = trainer
        return digest([kept, data_hash, source_hash, NUMERICS_VERSION, ".".join(torch_version.split(".")[:2])])


@dataclass(frozen=True)
class StudyConfig:
    """What one command asks for besides its arms."""

    name: str
    outputs: str
    track: TrackConfig
    report: ReportConfig
    target: Target | None
    rerun: bool
    dry_run: bool
    decide: DecideConfig = field(default_factory=DecideConfig)


def digest(value: Any) -> str:
    """Sixteen hex digits of the canonical JSON of `value`.

    >>> digest({"a": 1, "b": 2.0}) == digest({"b": 2.0, "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Run(NamedTuple):
    """One training of one arm."""

    seed: int
    lr: float


def runs_of(seeds: Iterable[int], lrs: Sequence[float], dropped: Iterable[Sequence[Any]] = ()) -> tuple[Run, ...]:
    """The runs of an arm, sorted: all its seeds at `lrs`, some of them at rates that were dropped.

    >>> [tuple(run) for run in runs_of([0, 1], [0.1], [(0.3, [0])])]
    [(0, 0.1), (0, 0.3), (1, 0.1)]
    """
    kept = [Run(seed, lr) for seed in seeds for lr in lrs]
    return tuple(sorted([*kept, *(Run(seed, lr) for lr, some in dropped for seed in some)]))


def run_key(arm_key: str, seed: int, lr: float) -> str:
    """Key of one run.

    >>> len(run_key("00", 3, 0.1))
    16
    """
    return digest([arm_key, seed, float(lr)])


def arm_from_hydra(
    cfg: Any,
    option: str | None = None,
    init_option: Mapping[str, Any] | None = None,
    own_option: Callable[[str], Mapping[str, Any] | None] = lambda name: None,
    options: Sequence[str] = (),
) -> ArmConfig:
    """The arm of one composed configuration (a DictConfig); raises InputError with one line.

    `option` names the initializer's option and `init_option` is its file's content, so that the label can name what
    differs from it; `options` are all of the group. `own_option` is the content of an option that is not ours: where an
    initializer names one as its base, the content takes its place, so that all that reads the arm later (workers, the
    key) needs no option file.
    """
    init = container(cfg.init)
    data = container(cfg.data)
    reserved = {"name", "_target_", "bias", "relative"}
    name = init_name(init, option, options)
    args = {key: value for key, value in init.items() if key not in reserved}
    for key, value in args.items():
        if value == "???":
            do = f"add init.{key}=VALUE (only arguments called generator, bias and layer are passed to it)"
            raise refusal(f"init.{key}", f"{init['_target_']} needs it", do)
    usual = {key: value for key, value in (init_option or init).items() if key not in ("name", "_target_")}
    given = {**args, "bias": init.get("bias", "zeros"), "relative": init["relative"]}
    model, optim, train, measure = typed(cfg.model), typed(cfg.optim), typed(cfg.train), typed(cfg.measure)
    check_memory(model, optim, train, measure, cfg.seeds)  # before any list of seeds or layers is made
    return ArmConfig(
        data=data,
        model=model,
        init=InitConfig(
            name=name,
            target=init["_target_"],
            bias=init.get("bias", "zeros"),
            args=with_own_options(args, own_option),
            changed={key: value for key, value in given.items() if value != {**UNSAID, **usual}.get(key)},
            relative=init["relative"],
        ),
        sharing=typed(cfg.sharing),
        optim=optim,
        train=train,
        measure=measure,
        engine=typed(cfg.engine),
        seeds=parse_seeds(cfg.seeds),
    )


UNSAID = {"bias": "zeros", "relative": 1.0}  # what an option file means that does not say it
LONGEST_NAME = 120  # characters of an initializer's name, which is part of labels and of MLflow's run names


def init_name(init: Mapping[str, Any], option: str | None, options: Sequence[str] = ()) -> str:
    """What an initializer is called in labels: the `name` of its option file, or the file's own name where `name` is that
    of another option: a copy of normal.yaml in mine.yaml is `mine`. So two options never share a name.

    >>> content = {"name": "normal", "_target_": "initbench.initializers.normal_"}
    >>> init_name(content, "mine", ["mine", "normal"]), init_name({**content, "name": "wide"}, "mine", ["mine"])
    ('mine', 'wide')
    """
    file = f"init/{option}.yaml" if option else "init"
    if "_target_" not in init:
        raise refusal(file, "an option file needs a _target_", "add one, e.g. _target_: my_module.my_init")
    name = init["name"] if init.get("name") is not None else option or init["_target_"]
    for key, value in (("_target_", init["_target_"]), ("name", name)):
        if not isinstance(value, str):
            raise refusal(file, f"{key} must be text, not {shown(value)}", f'put it in quotes, {key}: "..."')
        if not value.isprintable() or not value.strip() or len(value) > LONGEST_NAME:
            raise refusal(
                file, f"{key} must be printable text of 1 to {LONGEST_NAME} characters", f"write another {key}"
            )
    return option if option and name != option and name in options else name


def with_own_options(args: Mapping[str, Any], own_option: Callable[[str], Mapping[str, Any] | None]) -> dict[str, Any]:
    """The arguments of an initializer, with the options that `base`, `default`, `last` and `map` name written out.

    >>> mine = {"name": "mine", "_target_": "constant", "value": 3, "bias": "zeros"}
    >>> with_own_options({"map": {1: "mine", 2: "eye"}}, {"mine": mine}.get)
    {'map': {1: {'name': 'constant', 'value': 3, 'bias': 'zeros'}, 2: 'eye'}}
    """

    def written(spec: Any) -> Any:
        given = {"name": spec} if isinstance(spec, str) else spec
        name = given.get("name") if isinstance(given, dict) else None
        option = own_option(name) if isinstance(name, str) and "." not in name else None
        if option is None:
            return spec
        left_out = ("name", "_target_", "relative")
        own = {key: value for key, value in option.items() if key not in left_out and value != "???"}
        return {"name": option["_target_"], **own, **{key: value for key, value in given.items() if key != "name"}}

    out = dict(args)
    for key in ("base", "default", "last"):
        if out.get(key) is not None:
            out[key] = written(out[key])
    if isinstance(out.get("map"), dict):
        out["map"] = {place: written(spec) for place, spec in out["map"].items()}
    return out


def study_from_hydra(cfg: Any, name: str) -> StudyConfig:
    """The study-wide part of a composed configuration."""
    train = typed(cfg.train)
    return StudyConfig(
        name=name,
        outputs=str(cfg.outputs),
        track=typed(cfg.track),
        report=typed(cfg.report),
        target=train.target,
        rerun=train.rerun,
        dry_run=train.dry_run,
        decide=typed(cfg.decide),
    )


def container(node: Any) -> Any:
    """A DictConfig node as plain dicts and lists."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(node, resolve=True)


def typed(node: Any) -> Any:
    """A typed DictConfig node as its frozen dataclass; the checks' InputError comes out as it is."""
    from omegaconf import OmegaConf

    return OmegaConf.to_object(node)


def register_schema() -> None:
    """Tell Hydra the typed schema, under the name that conf/config.yaml lists first."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().repo["schema.yaml"] = schema()  # Hydra copies what it loads


@cache
def schema() -> Any:
    """The typed schema as Hydra stores it."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig, OmegaConf

    node = OmegaConf.structured(StudySchema)

    def unfreeze(
        part: DictConfig,
    ) -> None:  # OmegaConf makes frozen dataclasses read-only; overrides must get in
        OmegaConf.set_readonly(part, None)
        for key in part:
            child = part._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                unfreeze(child)

    unfreeze(node)
    OmegaConf.set_struct(node.model.args, False)  # your own keys
    ConfigStore.instance().store("schema", node)
    return ConfigStore.instance().repo["schema.yaml"]


def parse_seeds(seeds: Any) -> tuple[int, ...]:
    """Seeds of a study: n means 0..n-1, a list is taken as it is.

    >>> parse_seeds(3), parse_seeds([7, 5])
    ((0, 1, 2), (5, 7))
    """
    if is_whole(seeds):
        if seeds < 1:
            raise refusal(f"seeds={seeds}", "at least one seed is needed", "write e.g. seeds=10 or seeds=[0,1,2]")
        return tuple(range(seeds))
    values = list(seeds) if hasattr(seeds, "__iter__") and not isinstance(seeds, str) else None
    if not values or not all(is_whole(seed) and seed >= 0 for seed in values):
        raise refusal(
            f"seeds={shown(seeds)}",
            "not allowed",
            "must be a number of seeds or a list of them, e.g. seeds=10 or seeds=[0,1,2]",
        )
    if len(set(values)) != len(values):
        raise refusal(f"seeds={shown(values)}", "a seed is repeated", "list each seed only once")
    return tuple(sorted(values))


def resolve_target(target: Target | None, classes: bool) -> Target | None:
    """The target with `auto` filled in; a metric that the data lacks is refused.

    >>> resolve_target(Target(), classes=True)
    Target(metric='accuracy/train', value=0.95)
    """
    if target is None:
        return None
    metric = target.metric if target.metric != "auto" else ("accuracy/train" if classes else "loss/train")
    if metric.startswith("accuracy") and not classes:
        raise refusal(
            f"train.target.metric={metric}", "these data have no classes", "must be one of: loss/train, loss/val"
        )
    value = target.value if target.value is not None else 0.95 if metric.startswith("accuracy") else 0.05
    check_target("train.target.value", metric, value)
    return replace(target, metric=metric, value=float(value))
