"""The content of study.json: what was asked for, by whom, on what, and what became of each arm."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from initbench.config.arm import NUMERICS_VERSION, ArmConfig
from initbench.errors import masked
from initbench.study.labels import init_label, setting_label, setup_label, sharing_label
from initbench.study.launch import ended
from initbench.study.looked import looked
from initbench.study.provenance import git_commit, machine, versions

if TYPE_CHECKING:
    from initbench.study.command import Study


@dataclass(frozen=True)
class Refused:
    """An arm that does not apply to its net: it is listed with the reason and does not stop the others."""

    config: ArmConfig
    reason: str


def describe(study: Study, elapsed: float) -> dict[str, Any]:
    """The content of study.json."""
    arms = [{**arm.describe(), **ended(study.root, arm.key)} for arm in study.arms]
    for one in study.refused:
        if all(arm["config"] != one.config.plain() for arm in arms):
            arms.append(refused_arm(one))
    return {
        "schema": 1,
        "study": study.config.name,
        "command": shlex.join(["python", "-m", "initbench", *map(masked, study.overrides)]),
        "overrides": [masked(one) for one in study.overrides],
        "asked": {
            "formats": list(study.config.report.formats),
            "children": study.config.track.children,
            "goes_on": study.goes_on,
        },
        "numerics": NUMERICS_VERSION,
        "versions": versions(),
        "git": git_commit(),
        "machine": machine(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "target": None if study.target is None else {"metric": study.target.metric, "value": study.target.value},
        "baseline": study.config.report.baseline,
        "family": study.config.report.family,
        **({"pairs": True} if study.config.report.pairs else {}),
        "budget": max(arm.config.train.steps for arm in study.arms),
        "cautions": study.cautions,
        **({"looked": before} if (before := looked(study)) else {}),
        "arms": arms,
        "elapsed": round(elapsed, 1),
        "mlflow": None,
        **(study.path or {}),
    }


def refused_arm(one: Refused) -> dict[str, Any]:
    """A not applicable arm as study.json lists it."""
    from initbench.data import load

    return {
        "arm_key": "",
        "label": setup_label(one.config),
        "setup": setup_label(one.config),
        "setting": setting_label(one.config, load(one.config.data)),
        "init": init_label(one.config),
        "sharing": sharing_label(one.config),
        "config": one.config.plain(),
        "seeds": [],
        "lrs": [],
        "runs": 0,
        "layers": [],
        "status": "not applicable",
        "reason": one.reason,
    }
