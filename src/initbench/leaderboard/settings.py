"""The grid of a leaderboard: a settings file that names studies by their overrides, and what they compose to.

Every initializer gets every setting, rate and seed of it. An entry made on another grid does not fit: `Grid.digest`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from initbench.config.arm import NUMERICS_VERSION, ArmConfig, digest, resolve_target
from initbench.config.checks import is_whole
from initbench.engine.schedule import evaluation_steps
from initbench.errors import refusal, shown

KEYS = ("baseline", "best", "left_out", "studies")
DO = "see experiments/leaderboard/settings.yaml"


@dataclass(frozen=True)
class Setting:
    """What stays the same in one comparison: data, net, training; and the grid of its runs."""

    label: str
    study: str
    target: tuple[str, float]
    steps: int  # the budget
    lrs: tuple[float, ...]
    seeds: tuple[int, ...]
    evaluated: tuple[int, ...]  # the steps at which a target can be met
    digest: str  # of all that decides the runs but the setup


@dataclass(frozen=True)
class Grid:
    """A settings file as it was read. `studies`: name -> overrides."""

    path: Path
    baseline: str
    best: int  # how many of the first are trained with sharing=all too
    left_out: dict[str, str]  # initializer -> why
    studies: dict[str, list[str]]

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """The settings of all studies, in their order."""
        from initbench.overrides.expand import expand

        found = []
        for study, overrides in self.studies.items():
            arms = expand([*overrides, f"init={self.baseline}", "sharing=none"])
            found += [setting_of(study, arm) for arm in arms]
        labels = [one.label for one in found]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise refusal(self.path, f"two settings are {twice}", "let data, depth or activation differ")
        return tuple(found)

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits of the whole grid."""
        return digest([(one.label, one.digest) for one in self.settings])

    def at(self, label: str) -> Setting | None:
        """The setting of a label."""
        return next((one for one in self.settings if one.label == label), None)


def setting_of(study: str, arm: ArmConfig) -> Setting:
    """The setting of an arm: everything of it but its setup."""
    from initbench import data

    kept = arm.plain()
    for name in ("init", "sharing", "engine", "dropped"):
        del kept[name]
    for name in ("rerun", "dry_run"):
        del kept["train"][name]
    target = resolve_target(arm.train.target, data.load(arm.data).classes is not None)
    if target is None or target.value is None:
        raise refusal(f"study {study}", "it has no target", "leave out train.target=null")
    train = arm.train
    return Setting(
        label=label_of(arm.plain()),
        study=study,
        target=(target.metric, float(target.value)),
        steps=train.steps,
        lrs=tuple(float(lr) for lr in arm.optim.lrs),
        seeds=tuple(arm.seeds),
        evaluated=tuple(evaluation_steps(train.steps, train.evaluate.dense, train.evaluate.ratio)),
        digest=digest([kept, NUMERICS_VERSION]),
    )


def label_of(config: Mapping[str, Any]) -> str:
    """What a setting is called.

    >>> label_of({"data": {"name": "digits"}, "model": {"depth": 3, "activation": "relu"}})
    'digits, depth 3, relu'
    """
    return f"{config['data']['name']}, depth {config['model']['depth']}, {config['model']['activation']}"


def read(path: Path) -> Grid:
    """A settings file, checked; InputError in one line."""
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal(f"--settings {path}", f"cannot be read ({error.strerror})", "name a settings file") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise refusal(f"--settings {path}", "not YAML", DO) from None
    wrong = wrong_settings(given)
    if wrong:
        raise refusal(path, wrong, DO)
    left_out = {str(name): str(why) for name, why in (given.get("left_out") or {}).items()}
    return Grid(path, given["baseline"], given.get("best", 0), left_out, dict(given["studies"]))


def wrong_settings(given: Any) -> str:
    """What of a settings file's content cannot be; empty where nothing is wrong.

    >>> wrong_settings({"baseline": "eye", "studies": {"s": ["seeds=3"]}}), wrong_settings({"seeds": 3})
    ('', 'key seeds is unknown')
    """
    if not isinstance(given, dict):
        return "must be a mapping"
    unknown = next((key for key in given if key not in KEYS), None)
    if unknown is not None:
        return f"key {shown(unknown)} is unknown"
    if not isinstance(given.get("baseline"), str):
        return "baseline must name an initializer"
    if not is_whole(given.get("best", 0)) or given.get("best", 0) < 0:
        return "best must be a whole number, 0 or more"
    if not isinstance(given.get("left_out") or {}, dict):
        return "left_out must be a mapping from initializers to reasons"
    studies = given.get("studies")
    texts = isinstance(studies, dict) and studies and all(
        isinstance(name, str) and isinstance(lines, list) and all(isinstance(line, str) for line in lines)
        for name, lines in studies.items()
    )  # fmt: skip
    return "" if texts else "studies must map names to lists of overrides"
