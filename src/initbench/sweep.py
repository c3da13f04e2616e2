"""From overrides to arms: Hydra's own sweep parser and compose, with every refusal as one line.

`expand` runs before anything starts, for the command line and for `ib.run` alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from initbench import plugins
from initbench.config import (
    ArmConfig,
    StudyConfig,
    arm_from_hydra,
    container,
    digest,
    register_schema,
    study_from_hydra,
)
from initbench.errors import InputError

CONFIG_NAME = "config"
# overrides that change neither arms nor runs: they do not make another study
NOT_THE_STUDY = re.compile(r"^[+~]*(hydra[./]|(track|report|engine|measure|outputs|study|train\.(rerun|dry_run))[.=])")
LISTS = {"seeds": "seeds=[1,2,3]", "optim.lr": "'optim.lr=[0.1,0.2]'"}


@dataclass(frozen=True)
class Expanded:
    """A command made explicit: the study and, an entry an arm, its configuration."""

    study: StudyConfig
    arms: list[ArmConfig]
    hydra: Any  # Hydra's own node: launcher, output folder


def config_folder() -> Path:
    """The folder conf/: at the top of the repository in a clone, inside the package in a wheel."""
    package = Path(__file__).parent
    # the repository first: an editable install may have left a stale copy in site-packages
    for folder in (package.parent.parent / "conf", package / "conf"):
        if (folder / f"{CONFIG_NAME}.yaml").is_file():
            return folder
    raise InputError(f"no configuration found beside {package}; install initbench again")


def expand(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> list[ArmConfig]:
    """The arms that a command asks for, checked.

    >>> arms = expand(["init=eye,zeros", "sharing=none", "optim.lr=0.1"])
    >>> [arm.init.name for arm in arms]
    ['eye', 'zeros']
    """
    return expand_study(overrides, config_dirs).arms


def expand_study(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> Expanded:
    """Compose every combination of the swept values; raises InputError, one line, for anything that is wrong."""
    with composer(overrides, config_dirs) as compose:
        swept = sweep_axes(overrides, compose)
        composed = [compose(job) for job in combinations(swept)]
        arms = [
            arm_from_hydra(
                cfg,
                compose.init_option(cfg.hydra.runtime.choices["init"]),
                partial(own_option, search=compose.search),
            )
            for cfg in composed
        ]
        study = study_from_hydra(composed[0], study_name(overrides, composed[0]))
        return Expanded(study, arms, composed[0].hydra)


def own_option(name: str, search: Sequence[str] = ()) -> Mapping[str, Any] | None:
    """The content of an `init` option that is not ours but of a person's --config-dir; None where there is none.

    Composed by the Hydra that is initialized, so that a `defaults` list in the file works.
    """
    from hydra import compose
    from hydra.errors import MissingConfigException

    if (config_folder() / "init" / f"{name}.yaml").is_file() or not re.fullmatch(r"\w+", name):
        return None
    try:
        content = container(compose(CONFIG_NAME, overrides=[f"init={name}", *search]).init)
    except MissingConfigException:
        return None
    if "_target_" not in content:
        raise InputError(f"init={name}: an option file needs name and _target_, e.g. _target_: my_module.my_init")
    return content


class Composer:
    """Hydra's compose inside an initialized Hydra, with errors in our words."""

    def __init__(self, search: list[str]) -> None:
        self.search = search
        self.last: tuple[tuple[str, ...], Any] | None = None  # a command that sweeps nothing asks for it twice

    def __call__(self, overrides: Sequence[str]) -> Any:
        if self.last is None or self.last[0] != tuple(overrides):
            try:
                self.last = tuple(overrides), self.raw(overrides)
            except Exception as error:
                raise InputError(self.explain(error, overrides)) from None
        return self.last[1]

    def raw(self, overrides: Sequence[str]) -> Any:
        """Hydra's compose, its own node included."""
        from hydra import compose

        return compose(CONFIG_NAME, overrides=[*overrides, *self.search], return_hydra_config=True)

    def init_option(self, name: str) -> Mapping[str, Any] | None:
        """The content of an `init` option."""
        from hydra.core.global_hydra import GlobalHydra

        loader: Any = GlobalHydra.instance().config_loader()
        found = loader.repository.load_config(f"init/{name}")
        if found is None:
            return None
        return container(found.config)

    def options(self, group: str) -> list[str]:
        """Options of a group."""
        from hydra.core.global_hydra import GlobalHydra

        more = plugins.installed({"init": plugins.INITIALIZERS, "sharing": plugins.SHARING}.get(group, group))
        return [*GlobalHydra.instance().config_loader().get_group_options(group), *more]

    def explain(self, error: Exception, overrides: Sequence[str]) -> str:
        """One line for whatever Hydra raised: what came, what is allowed."""
        for cause in causes(error):
            if isinstance(cause, InputError):
                return str(cause)
        text = " ".join(str(error).split())
        unknown_option = re.search(r"Could not find '([^']+)/([^'/]*)'", text)
        if unknown_option:
            group, option = unknown_option.groups()
            return unknown(group, option, self.options(group))
        unknown_key = re.search(r"Could not override '([^']*)'", text)
        if unknown_key:
            return self.unknown_key(unknown_key.group(1), overrides)
        unknown_group = re.search(r"[Kk]ey '([^']+)' (?:is )?not in", text)
        if unknown_group:
            return self.unknown_key(unknown_group.group(1), overrides)
        failed = re.search(r"Error merging override ([^ ]+)", text)
        if failed:
            detail = " ".join(str(error.__cause__ or "").split()).split(" full_key")[0]
            return f"{failed.group(1)}: {detail or 'not allowed here'}"
        return text.split(" Config search path")[0][:300]

    def unknown_key(self, key: str, overrides: Sequence[str]) -> str:
        """A misspelt key, with the nearest ones."""
        given = next((o for o in overrides if o.lstrip("+~").split("=")[0] == key), key)
        known: list[str] = []

        def walk(node: Any, prefix: str) -> None:
            for name, value in node.items():
                known.append(prefix + str(name))
                if isinstance(value, dict):
                    walk(value, f"{prefix}{name}.")

        group_options = [o for o in overrides if re.match(r"^(init|data|sharing|optim|model)=", o)]
        try:
            cfg = self.raw(group_options)
        except Exception:
            cfg = self.raw([])
        walk({str(name): node_value(cfg[name]) for name in cfg if name != "hydra"}, "")
        parent = key.rpartition(".")[0]
        siblings = [name for name in known if name.rpartition(".")[0] == parent] or [
            name for name in known if "." not in name
        ]
        near = get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{given}: no such key; {hint}allowed are {', '.join(sorted(siblings))}"


def node_value(value: Any) -> Any:
    """A node of a configuration as plain values."""
    from omegaconf import OmegaConf

    return container(value) if OmegaConf.is_config(value) else value


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# names that one looks for in a group and that are something else
ELSEWHERE = {
    "init=calculate_gain": "no initializer but the gain of one: init=xavier_normal init.gain=relu (or auto, or a number)"
}


def unknown(group: str, option: str, known: Sequence[str]) -> str:
    """One line about an option that does not exist, the nearest known ones first."""
    if f"{group}={option}" in ELSEWHERE:
        return f"{group}={option}: {ELSEWHERE[f'{group}={option}']}"
    near = get_close_matches(option, known, n=3, cutoff=0.4)
    rest = [name for name in known if name not in near]
    hint = " or module.function in the current folder" if group in ("init", "sharing") else ""
    return f"{group}={option}: unknown; allowed are {', '.join([*near, *rest])}{hint}"


@contextmanager
def composer(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> Iterator[Composer]:
    """An initialized Hydra with our schema and the person's own initializers registered."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    prepare(overrides, config_dirs)
    search = []
    if config_dirs:
        folders = ",".join(f"'file://{Path(folder).resolve()}'" for folder in config_dirs)
        search = [f"hydra.searchpath=[{folders}]"]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3", job_name="initbench"):
            yield Composer(search)
    finally:
        GlobalHydra.instance().clear()


def prepare(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> None:
    """Register the schema, and every value of `init=` or `sharing=` with a dot as an option of that name."""
    register_schema()
    for folder in config_dirs:
        if not Path(folder).is_dir():
            raise InputError(f"--config-dir {folder}: no such folder")
    for override in parsed(overrides):
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
        if name in plugins.installed(group) and not (config_folder() / override.key_or_group / f"{name}.yaml").exists():
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


def parsed(overrides: Sequence[str]) -> list[Any]:
    """Overrides by Hydra's grammar."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    # glob(*) looks options up, which needs an initialized Hydra
    hydra = GlobalHydra.instance()
    parser = OverridesParser.create(hydra.config_loader() if hydra.is_initialized() else None)
    out = []
    for text in overrides:
        try:
            out += parser.parse_overrides([text])
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{text}: not an override like key=value or key=a,b ({reason})") from None
    return out


def is_glob(override: Any) -> bool:
    """Whether an override asks for options by pattern: glob(*)."""
    from hydra.core.override_parser.types import ValueType

    return override.value_type == ValueType.GLOB_CHOICE_SWEEP


def values(override: Any) -> list[str]:
    """What an override asks for, as text: one value, or each value of a sweep."""
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    value = override.get_value_element_as_str()
    return [value]


def sweep_axes(overrides: Sequence[str], compose: Composer) -> dict[str, list[str]]:
    """Each override as key -> list of `key=value`; axes of the experiment file first, replaced by those given."""
    plain = [o.input_line for o in parsed(overrides) if not o.is_sweep_override()]
    for override in parsed(overrides):
        if override.is_sweep_override() and override.key_or_group in LISTS:
            raise InputError(
                f"{override.input_line}: would be a sweep of jobs, but they train together; "
                f"write {LISTS[override.key_or_group]}"
            )
        if override.is_sweep_override() and override.key_or_group in ("experiment", "study", "outputs"):
            raise InputError(f"{override.input_line}: one {override.key_or_group} a command")
    cfg = compose(plain)
    declared = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    axes: dict[str, list[str]] = {}
    for override in parsed([*declared, *overrides]):
        key = override.input_line.split("=", 1)[0]
        if override.is_sweep_override():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            axes[key] = [override.input_line]
    return axes


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
        name = str(cfg.study)
        if not re.fullmatch(r"[\w.-]+", name) or name in (".", "..", "store"):
            raise InputError(f"study={name}: letters, digits, - _ . only (and not 'store')")
        return name
    experiment = next((o.split("=", 1)[1] for o in overrides if o.startswith("experiment=")), "default")
    kept = sorted(o for o in overrides if not NOT_THE_STUDY.match(o) and not o.startswith("experiment="))
    if not kept:
        return experiment
    words = re.sub(r"[^\w.]+", "-", "_".join(kept)).strip("-")[:48].rstrip("-_.")
    prefix = "" if experiment == "default" else f"{experiment}_"
    return f"{prefix}{words}-{digest(kept)[:6]}"
