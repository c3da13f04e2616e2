"""What a planned study cannot decide, whatever comes out: too few seeds for its family, too few learning rates.

Said on the terminal before anything is trained. The report says it of what was found: see `initbench.report.answer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from initbench.config.decide import FEWEST

if TYPE_CHECKING:
    from initbench.study.command import Study
    from initbench.study.plan import PlannedArm

# `stats` is imported only where there is something to say: it needs pandas, which takes longer than a plan
ALPHA = 0.05  # of initbench.stats
ENOUGH_SEEDS, ENOUGH_RATES = 10, 4
OF_RATES = {
    1: "one learning rate is both ends of its grid, so no setup can be called faster or slower",
    2: "the better of two learning rates is always at an end of the grid, so no setup can be called faster or slower",
    3: "of three learning rates only one is inside the grid: a setup that is best at another cannot be called slower",
}


def foreseen(study: Study) -> list[str]:
    """One line for each thing that stands in the way of every verdict, with the override that removes it."""
    if study.target is None:
        return []
    found: list[str] = []
    for setting in dict.fromkeys(arm.setting for arm in study.arms):
        _, others = baseline_and_others(study, setting)
        arms = [arm for arm in study.arms if arm.setting == setting]
        size = sum(arm.config.train.steps > 0 for arm in others)
        if size:
            fewest = min((arm.config.seeds for arm in arms), key=len)
            rates = min((arm.config.optim.lrs for arm in arms), key=len)
            found += [] if study.config.decide.enabled else [of_seeds(fewest, size)]  # which adds what is missing
            found += [] if study.goes_on else [of_rates(rates)]
    return [line for line in dict.fromkeys(found) if line]


def baseline_and_others(study: Study, setting: str) -> tuple[PlannedArm, list[PlannedArm]]:
    """The arm that a setting's baseline will be, if it arrives, and those that are to be compared with it."""
    baseline, family = study.config.report.baseline, study.config.report.family
    arms = [arm for arm in study.arms if arm.setting == setting]
    named = [arm for arm in arms if baseline in (arm.setup, arm.config.init.name)] or arms[:1]
    base = ([arm for arm in named if arm.config.sharing.name == "none" or arm.setup == baseline] or named)[0]
    others = [arm for arm in arms if arm is not base]
    return base, [arm for arm in others if family is None or {arm.setup, arm.config.init.name} & set(family)]


def of_seeds(seeds: Sequence[int], family: int) -> str:
    """
    >>> of_seeds((0, 1, 2), 4)
    'n=3: fewer than 8 seeds decide nothing: seeds=10'
    """
    if len(seeds) >= FEWEST and family * 2.0 ** (1 - len(seeds)) < ALPHA:  # exact McNemar's smallest p
        return ""
    from initbench.stats import cannot_call, more_seeds

    if len(seeds) >= FEWEST:
        return cannot_call(family, seeds)
    return f"n={len(seeds)}: fewer than {FEWEST} seeds decide nothing: {more_seeds(seeds, ENOUGH_SEEDS)}"


def of_rates(rates: Sequence[float]) -> str:
    """
    >>> of_rates((0.1, 0.3))
    "the better of two learning rates is always at an end of the grid, so no setup can be called faster or slower: \
'optim.lr=[0.03,0.1,0.3,0.9]', or optim.lr=auto"
    >>> of_rates((0.1, 0.2, 0.4, 0.8))
    ''
    """
    if len(rates) >= ENOUGH_RATES:
        return ""
    from initbench.stats import remedy

    grid = list(rates)
    while len(grid) < ENOUGH_RATES - 2:
        grid = remedy.continued(grid, {"low", "high"})
    return f"{OF_RATES[len(rates)]}: {remedy.wider(grid, {'low', 'high'})}, or optim.lr=auto"
