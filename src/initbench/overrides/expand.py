"""From overrides to arms: Hydra's own sweep parser and compose, with every refusal as one line.

`expand` runs before anything starts, for the command line and for `ib.run` alike. The overrides are read and checked in
`read.py`, your option files in `own_files.py`; `explained.py` puts into words what Hydra raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from pathlib import Path
from typing import Any

from initbench.config.arm import (
    ArmConfig,
    StudyConfig,
    arm_from_hydra,
    container,
    digest,
    register_schema,
    study_from_hydra,
)
from initbench.disk import conf_folder
from initbench.errors import refusal, shown
from initbench.memory import check_fits
from initbench.overrides.effect import check_decide, check_effect
from initbench.overrides.exchange import Composed, Exchange, composed
from initbench.overrides.explained import explained
from initbench.overrides.hydra_parts import files_checked
from initbench.overrides.own_files import check_file
from initbench.overrides.read import count, foreign, is_glob, quoted, read, texts, typed, values
from initbench.own import plugins

CONFIG_NAME = "config"
# overrides that change neither arms nor runs: they do not make another study
NOT_THE_STUDY = re.compile(
    r"^[+~]*(hydra[./]|(track|report|engine|measure|outputs|study|train\.(rerun|dry_run)|decide\.(minutes|seeds|steps|rates))[.=])"
)
ARM = 400_000  # bytes of a composed configuration
LONGEST_NAME = 255  # bytes of a file name
# names of devices on Windows, whatever their ending
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Expanded:
    """A command made explicit: the study and one configuration per arm."""

    study: StudyConfig
    arms: list[ArmConfig]
    jobs: list[tuple[str, ...]]  # the overrides of each
    hydra: Any  # Hydra's own node: launcher, output folder
    lines: tuple[str, ...]  # the overrides as Hydra reads them, text quoted


def expand(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[ArmConfig]:
    """The arms that a command asks for, checked.

    >>> arms = expand(["init=eye,zeros", "sharing=none", "optim.lr=0.1"])
    >>> [arm.init.name for arm in arms]
    ['eye', 'zeros']
    """
    return expand_study(overrides, config_dirs).arms


def expand_study(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> Expanded:
    """Compose every combination of the swept values; raises InputError, one line, for anything that is wrong."""
    overrides = texts(overrides)
    given = read(overrides)
    with composer(given, config_dirs) as compose:
        fixed = tuple(o.input_line for o in given if not o.is_sweep_override())
        first = compose(fixed)
        check_sweeper(first)
        jobs = combinations(sweep_axes(given, first))
        load = cache(loader().repository.load_config)
        exchange = Exchange(compose, load, fixed, composed(first))
        made = [exchange(job) for job in jobs]
        with foreign_values(given, compose):
            check_own_options(made, config_dirs)
            arms = [arm_of(cfg, choices, compose.search, load) for cfg, choices in made]
            check_own_names(made, arms)
            study = study_from_hydra(first, study_name(overrides, first))
        check_effect(given, arms)
        check_decide(given, study.decide.enabled)
        return Expanded(study, arms, jobs, first.hydra, tuple(o.input_line for o in given))


@contextmanager
def foreign_values(given: Sequence[Any], compose: Composer) -> Iterator[None]:
    """What Hydra and OmegaConf raise where values are looked up; anything else that is raised here is a bug of ours."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise explained(error, given, compose) from error


def arm_of(
    cfg: Any, choices: Mapping[str, Any], search: Sequence[str] = (), load: Callable[[str], Any] | None = None
) -> ArmConfig:
    """The arm of a composed configuration, in the Hydra that composed it. `choices`: the option of each group; `load`: one
    file of the configuration, where many arms share what has been read."""
    option = str(choices["init"])
    others = options("init") if cfg.init.get("name") != option else ()  # needed where the file has another name only
    return arm_from_hydra(cfg, option, init_option(option, load), partial(own_option, search=search), others)


def check_own_options(made: Sequence[Composed], config_dirs: Sequence[str]) -> None:
    """Refuse an option file of your own with the name of a built-in one: the built-in one would be used."""
    for folder in config_dirs:
        for group, option in dict.fromkeys(item for one in made for item in one.choices.items()):
            own, ours = (Path(one, str(group), f"{option}.yaml") for one in (folder, conf_folder()))
            if own.is_file() and ours.is_file() and own.read_bytes() != ours.read_bytes():
                raise refusal(f"{group}/{option}.yaml", "another option has this name", "rename the file")


def check_own_names(made: Sequence[Composed], arms: Sequence[ArmConfig]) -> None:
    """Refuse two option files that call themselves the same."""
    named: dict[str, str] = {}
    for (_, choices), arm in zip(made, arms):
        option = str(choices["init"])
        other = named.setdefault(arm.init.name, option)
        if other != option:
            files = f"init/{other}.yaml and init/{option}.yaml"
            raise refusal(files, f"both are named {arm.init.name}", "give each its own name")


def own_option(name: str, search: Sequence[str] = ()) -> Mapping[str, Any] | None:
    """The content of an `init` option from your own --config-dir; None where there is none.

    Composed by the Hydra that is initialized, so that a `defaults` list in the file works.
    """
    from hydra import compose
    from hydra.errors import MissingConfigException

    if (conf_folder() / "init" / f"{name}.yaml").is_file() or not re.fullmatch(r"\w+", name):
        return None
    try:
        content = container(compose(CONFIG_NAME, overrides=[f"init={name}", *search]).init)
    except MissingConfigException:
        return None
    if "_target_" not in content:
        raise refusal(
            f"init={shown(name)}", "an option file needs a _target_", "add one, e.g. _target_: my_module.my_init"
        )
    return content


class Composer:
    """Hydra's compose inside an initialized Hydra, with errors in our words."""

    def __init__(self, given: Sequence[Any], search: list[str]) -> None:
        self.given = given
        self.search = search

    def __call__(self, lines: Sequence[str]) -> Any:
        with foreign(lambda error: explained(error, self.given, self)):
            return self.raw(lines)

    def raw(self, lines: Sequence[str]) -> Any:
        """Hydra's compose, its own node included."""
        from hydra import compose

        return compose(CONFIG_NAME, overrides=[*lines, *self.search], return_hydra_config=True)

    def options(self, group: str) -> list[str]:
        """Options of a group."""
        return options(group)


def init_option(name: str, load: Callable[[str], Any] | None = None) -> Mapping[str, Any] | None:
    """The content of an `init` option, as its file has it."""
    found = (load or loader().repository.load_config)(f"init/{name}")
    return None if found is None else container(found.config)


def options(group: str) -> list[str]:
    """Options of a group, those of installed packages among them."""
    more = plugins.installed({"init": plugins.INITIALIZERS, "sharing": plugins.SHARING}.get(group, group))
    return [*loader().get_group_options(group), *more]


def loader() -> Any:
    """What the Hydra that is initialized finds options with."""
    from hydra.core.global_hydra import GlobalHydra

    return GlobalHydra.instance().config_loader()


@contextmanager
def composer(given: Sequence[Any], config_dirs: Sequence[str] = ()) -> Iterator[Composer]:
    """An initialized Hydra with our schema and the person's own initializers registered."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    prepare(given, config_dirs)
    search = []
    if config_dirs:
        folders = ",".join(quoted(f"file://{Path(folder).resolve()}") for folder in config_dirs)
        search = [f"hydra.searchpath=[{folders}]"]
    GlobalHydra.instance().clear()
    try:
        with (
            initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="initbench"),
            files_checked(cache(check_own_file)),
            own_launchers(),
        ):
            for override in given:  # glob(*) looks options up
                override.config_loader = loader()
            yield Composer(given, search)
    finally:
        GlobalHydra.instance().clear()


@contextmanager
def own_launchers() -> Iterator[None]:
    """Inside: the options of conf/hydra/launcher take the place of those that plugins register under the same names. Hydra
    would merge both, with a warning, and refuse the keys that are ours."""
    from hydra.core.config_store import ConfigStore

    registered = ConfigStore.instance().repo.get("hydra", {}).get("launcher", {})
    own = [path.name for path in (conf_folder() / "hydra" / "launcher").glob("*.yaml")]
    of_plugins = {name: registered.pop(name) for name in own if name in registered}
    try:
        yield
    finally:
        registered.update(of_plugins)


def check_own_file(path: Path) -> None:
    """Check an option file of your own; the built-in ones are right."""
    if conf_folder() not in path.parents:
        check_file(path)


def prepare(given: Sequence[Any], config_dirs: Sequence[str] = ()) -> None:
    """Register the schema, and every value of `init=` or `sharing=` with a dot as an option of that name."""
    register_schema()
    for folder in config_dirs:
        if not Path(folder).is_dir():
            raise refusal(f"--config-dir {shown(folder)}", "no such folder", "name an existing folder")
    for override in given:
        if override.key_or_group in ("init", "sharing"):
            register_installed(override)
        if override.key_or_group in ("init", "sharing") and not is_glob(override):
            for value in values(override):
                if "." in value:
                    REGISTER[override.key_or_group](value)


def register_installed(override: Any) -> None:
    """Make the initializers and sharing schemes of installed packages that an override names options of their group;
    all of them for a glob."""
    group = {"init": plugins.INITIALIZERS, "sharing": plugins.SHARING}[override.key_or_group]
    asked = plugins.installed(group) if is_glob(override) else values(override)
    for name in asked:
        if name in plugins.installed(group) and not (conf_folder() / override.key_or_group / f"{name}.yaml").exists():
            REGISTER[override.key_or_group](name)


def register_initializer(target: str) -> None:
    """Make a dotted path, or the name of an installed package's initializer, an option of the group init: its arguments are the function's own.

    `init={_target_: ...}` would merge into the default option and mislabel the arm.
    """
    from inspect import Parameter

    from hydra.core.config_store import ConfigStore

    from initbench import initializers

    function = initializers.resolve(target)
    own = initializers.options(function)
    args = {key: "???" if value is Parameter.empty else value for key, value in own.items()}
    ConfigStore.instance().store(target, {"name": target, "_target_": target, **args, "bias": "zeros"}, group="init")


def register_sharing(target: str) -> None:
    """Make a dotted path, or the name of an installed package's sharing scheme, an option of the group sharing."""
    from hydra.core.config_store import ConfigStore

    from initbench import sharing

    sharing.builder(target)  # refused here if it cannot be imported
    ConfigStore.instance().store(target, {"name": target}, group="sharing")


REGISTER = {"init": register_initializer, "sharing": register_sharing}


def check_sweeper(cfg: Any) -> None:
    """Refuse a sweeper that an experiment file chooses: the study makes its jobs itself."""
    sweeper = cfg.hydra.runtime.choices.get("hydra/sweeper")
    if sweeper != "basic":
        do = "leave it out of the experiment file, and list the values: hydra.sweeper.params.KEY: A,B"
        raise refusal(f"hydra/sweeper={shown(sweeper)}", "the study makes its jobs itself", do)


def sweep_axes(given: Sequence[Any], cfg: Any) -> dict[str, list[str]]:
    """Each override as key -> list of `key=value`; axes of the experiment file `cfg` first, replaced by those given."""
    declared = read([f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()])
    by_key = {override.input_line.split("=", 1)[0]: override for override in (*declared, *given)}
    for override in by_key.values():
        override.config_loader = loader()
        if is_glob(override) and not values(override):
            known = ", ".join(options(override.key_or_group))
            raise refusal(typed(override), "matches no option", f"must be one of: {known}")
    arms = prod(count(override) for override in by_key.values())
    most = max(by_key.values(), key=count, default=None)
    if most is not None:
        check_fits(typed(most), arms * ARM, f"sweep fewer values: these are {arms:,} arms")
    return {
        key: [f"{key}={value}" for value in values(override)] if override.is_sweep_override() else [override.input_line]
        for key, override in by_key.items()
    }


def combinations(axes: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Cartesian product, the last axis fastest, as Hydra's basic sweeper does it.

    >>> combinations({"a": ["a=1", "a=2"], "b": ["b=3"]})
    [('a=1', 'b=3'), ('a=2', 'b=3')]
    """
    from itertools import product

    return list(product(*axes.values()))


def study_name(overrides: Sequence[str], cfg: Any) -> str:
    """`study`, or the experiment's name, with a stable slug of the other overrides: same command, same folder."""
    if cfg.study is not None:
        return checked_name(str(cfg.study))
    experiment = next((line.split("=", 1)[1] for line in overrides if line.startswith("experiment=")), "default")
    kept = sorted(line for line in overrides if not NOT_THE_STUDY.match(line) and not line.startswith("experiment="))
    if not kept:
        return checked_name(slug(experiment))
    prefix = "" if experiment == "default" else f"{slug(experiment)}_"
    return f"{prefix}{slug('_'.join(kept))}-{digest(kept)[:6]}"


def slug(text: str) -> str:
    """Text as a short piece of a file name."""
    return re.sub(r"[^\w.]+", "-", text).strip("-")[:48].rstrip("-_.")


def checked_name(name: str) -> str:
    """The name of a study, which is a folder's name on every system; raises InputError where it is none."""
    what, size = f"study={shown(name)}", len(name.encode("utf-8", "replace"))
    if size > LONGEST_NAME:
        raise refusal(
            what, f"{size} bytes are too long for the name of a folder", f"must have at most {LONGEST_NAME} bytes"
        )
    if not re.fullmatch(r"[\w.-]+", name) or name.lower() in (".", "..", "store"):
        raise refusal(what, "not a name of a study", "use letters, digits, - _ . only (and not 'store')")
    if DEVICES.fullmatch(name) or name.endswith(".") or name.startswith("-"):
        raise refusal(what, "not valid as a folder name on every system", "choose another name, e.g. study=first")
    return name
