"""Many configurations from one composition: an option or a value exchanged, as Hydra's compose would give it.

Hydra composes in .08 s, reading every file anew. A sweep differs from job to job in a few options, so the first job is
composed, and in the others only what differs is merged again. Whatever is not plainly the content of one option file
below its own key (a `defaults` list, another package, values that refer to Hydra's own node) is composed by Hydra.
"""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from initbench.overrides.read import GROUPS, parsed


class Composed(NamedTuple):
    """A configuration and the option of each group that it is made of."""

    cfg: Any
    choices: Mapping[str, Any]


def composed(cfg: Any) -> Composed:
    """What Hydra's compose gave, its own node included."""
    return Composed(cfg, dict(cfg.hydra.runtime.choices))


class NotPlain(Exception):
    """Only Hydra can compose this."""


@dataclass(frozen=True)
class Exchange:
    """Configurations of other overrides than those that `first` was composed of."""

    compose: Callable[[Sequence[str]], Any]  # by Hydra
    load: Callable[[str], Any]  # one file of the configuration, as Hydra loads it
    lines: tuple[str, ...]
    first: Composed

    def __call__(self, lines: Sequence[str]) -> Composed:
        """The configuration of these overrides: what Hydra's compose gives."""
        from omegaconf.errors import OmegaConfBaseException

        if tuple(lines) == self.lines:
            return self.first
        try:
            return self.exchanged([self.override(line) for line in lines])
        except (NotPlain, OmegaConfBaseException):  # what is wrong is said in the words of Hydra's composition
            return composed(self.compose(lines))

    def exchanged(self, overrides: Sequence[Any]) -> Composed:
        """The first configuration with other options and values; raises NotPlain."""
        from omegaconf import OmegaConf, open_dict

        self.check_plain(overrides)
        cfg, choices = pickle.loads(self.pickled), dict(self.first.choices)
        for override in overrides:
            group, option = override.key_or_group, str(override.value())
            if group in GROUPS and choices[group] != option:
                with open_dict(cfg):
                    cfg[group] = self.node(group, option)
                choices[group] = option
        for override in overrides:
            if override.key_or_group not in GROUPS and not override.is_hydra_override():
                OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
        return Composed(cfg, choices)

    def check_plain(self, overrides: Sequence[Any]) -> None:
        """Raise NotPlain unless these overrides give options and values only, and one for each key of the first."""
        first = [self.override(line) for line in self.lines]
        of_hydra = [[one.input_line for one in some if one.is_hydra_override()] for some in (first, overrides)]
        adds = any(one.is_add() or one.is_force_add() or REFERS.search(one.input_line) for one in overrides)
        kept = {one.key_or_group for one in first} <= {one.key_or_group for one in overrides}
        if adds or not kept or of_hydra[0] != of_hydra[1] or not self.is_plain:
            raise NotPlain

    @cached_property
    def is_plain(self) -> bool:
        """Whether each file of the first configuration writes below its own key, an experiment's beside."""
        options = {group: option for group, option in self.first.choices.items() if option is not None}
        files = {group: self.load(f"{group}/{option}") for group, option in options.items()}
        return not REFERS.search(str(self.bare)) and all(
            file is not None
            and (not file.defaults_list or group.startswith("hydra/"))  # all jobs have the same
            and (is_below(group, file) or group == "experiment")
            for group, file in files.items()
        )

    @cached_property
    def written(self) -> set[str]:
        """Top keys that the main file and the experiment's write: options of these groups are not all there is."""
        files = [self.load("config"), self.load(f"experiment/{self.first.choices['experiment']}")]
        return {str(key) for file in files for key in file.config}

    @cached_property
    def bare(self) -> Any:
        """The first configuration without Hydra's own node, which takes the most time to copy."""
        from omegaconf import open_dict

        bare = copy.deepcopy(self.first.cfg)
        with open_dict(bare):
            del bare["hydra"]
        return bare

    @cached_property
    def pickled(self) -> bytes:
        """The same, to be copied for each job: what is read from a pickle is made in a fifth of the time of a deep copy."""
        return pickle.dumps(self.bare)

    @cached_property
    def node(self) -> Callable[[str, str], Any]:
        """The part of a group's option: the schema's, with what the option's file writes."""

        @cache
        def node(group: str, option: str) -> Any:
            file = self.load(f"{group}/{option}")
            plain = file is not None and not file.defaults_list and is_below(group, file)
            if not plain or group in self.written or REFERS.search(str(file.config)):
                raise NotPlain
            part = copy.deepcopy(self.load("schema").config[group])
            part.merge_with(file.config)
            return part

        return node

    @cached_property
    def override(self) -> Callable[[str], Any]:
        """A line as Hydra reads it; jobs share most of theirs."""
        return cache(parsed)


REFERS = re.compile(r"\$\{(hydra|now)\b")  # to what is known only when Hydra composes


def is_below(group: str, file: Any) -> bool:
    """Whether a file's content stands below its group's key."""
    package = file.header.get("package")
    return package in (None, "_group_") or (group.startswith("hydra/") and package.split(".")[0] == "hydra")
