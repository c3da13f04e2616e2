"""What a command compares: each arm once, with which baseline, and who is judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from initbench.config.checks import check_choice
from initbench.errors import refusal
from initbench.overrides.read import key_of
from initbench.study.described import Refused
from initbench.study.labels import setup_label
from initbench.study.plan import PlannedArm


def merged_arms(arms: Sequence[PlannedArm]) -> list[PlannedArm]:
    """Each arm once: an axis that changes no number makes the same arm again, which has to ask for the same runs."""
    known: dict[str, PlannedArm] = {}
    for arm in arms:
        other = known.setdefault(arm.key, arm)
        if other.config.runs != arm.config.runs:
            raise refusal(arm.setup, "asked for twice, with different seeds or learning rates", "give them once")
    return list(known.values())


def baseline_of(baseline: str | None, arms: Sequence[PlannedArm], overrides: Sequence[str]) -> str | None:
    """The setup or initializer to compare with; raises InputError for a typed one that is not in the sweep.

    An experiment's own is meant for its own initializers: it counts where it is swept, and the default study's only
    where no initializers are typed.
    """
    typed = {text.split("=", 1)[0] for text in overrides}
    known = tuple(sorted({arm.setup for arm in arms} | {arm.config.init.name for arm in arms}))
    if "report.baseline" in typed and baseline is not None:
        check_choice("report.baseline", baseline, known)
    elif "init" in typed and "experiment" not in typed:
        return None
    return baseline if baseline in known else None


def family_of(
    family: Any, arms: Sequence[PlannedArm], refused: Sequence[Refused], overrides: Sequence[str]
) -> list[str] | None:
    """The setups or initializers to be judged; raises InputError for a typed one that is not in the sweep.

    Of an experiment's own, those that are swept.
    """
    if family is None:
        return None
    configs = [arm.config for arm in arms] + [one.config for one in refused]
    known = sorted({setup_label(config) for config in configs} | {arm.setup for arm in arms}
                   | {config.init.name for config in configs})  # fmt: skip
    if any(key_of(text) == "report.family" for text in overrides):
        from initbench.stats.family import named

        return named(family, known, "report.family")
    return [name for name in family if name in known] or None
