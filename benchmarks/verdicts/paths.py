"""A study from its first round to its last word, in a world where the truth is known.

`fixed` judges once. `decided` is `decide=true`: its rules (stats.choice, stats.nested, stats.verdict) on panels instead of
frames, with grids continued, rates dropped, steps doubled and words that would change on a denser grid evaluated densely.
`naive` follows the advice of a report that does not count its looks: it asks for the seeds named and judges again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from benchmarks.verdicts.worlds import World, longer

from initbench.stats import choice, nested, verdict
from initbench.stats.compare import Arms
from initbench.stats.crossfit import RESAMPLES
from initbench.stats.rates import GATE

MOST = 200
DRAWS = (
    500  # of the bootstrap along a path: fewer than a study's 2,000, to save time; more noise makes more words wrong
)


@dataclass
class Found:
    """Words of arms 1..A-1 against arm 0, the seeds at which each fell or the path ended, and the runs it took."""

    words: list[str]
    seeds: list[int]
    runs: int
    looks: int = 1
    covered: list[bool] = field(default_factory=list)  # intervals that hold 1, where there is one


@dataclass
class Study:
    """What has been asked of a world."""

    world: World
    n: list[int]
    tried: np.ndarray  # (A, L)
    kept: np.ndarray  # (A, L)
    asked: set[tuple[int, int, int, float]] = field(default_factory=set)  # arm, rate, seed, budget
    dense: set[int] = field(default_factory=set)
    draws: int = DRAWS

    @classmethod
    def begin(cls, world: World, n: int, draws: int = DRAWS) -> Study:
        """All arms at the first rates."""
        tried = np.zeros(world.steps.shape[:2], bool)
        tried[:, slice(*world.start)] = True
        study = cls(world, [n] * len(tried), tried, tried.copy(), draws=draws)
        study.run(range(len(tried)))
        return study

    def run(self, arms: range | list[int]) -> None:
        """Count the runs of these arms."""
        for arm in arms:
            rates = np.flatnonzero(self.kept[arm])
            self.asked |= {(arm, int(r), s, self.world.budget) for r in rates for s in range(self.n[arm])}

    def arms(self, earlier: bool = False) -> Arms:
        """The panels as the verdicts see them."""
        known = Arms(pd.DataFrame(), self.draws)
        known.panels = {
            str(i): self.world.panel(i, self.tried[i], self.kept[i], self.n[i], i in self.dense, earlier)
            for i in range(len(self.n))
        }
        return known

    def sides(self, arms: Arms) -> list[verdict.Side]:
        """Share arrived at the best rate, and whether that lies at an end."""
        out = []
        for panel in arms.panels.values():
            row = panel.reached[choice.best(panel), panel.usable]
            out.append(verdict.Side(float(row.mean()), choice.edge(panel)))
        return out

    def judged(self, open_: list[int], at: tuple[int, ...] = (), equal: int = 0) -> tuple[list[verdict.Verdict], Arms]:
        """Words of the open arms against arm 0, as stats.compare finds them."""
        arms, base = self.arms(), "0"
        sides = self.sides(arms)
        ours, bases = [sides[i] for i in open_], [sides[0]] * len(open_)
        found = verdict.verdicts([arms.contrast(str(i), base) for i in open_], ours, bases, at=at, others=equal)
        if any(one.word in verdict.DECIDED for one in found):
            shifted = self.arms(earlier=True)
            again = verdict.verdicts([shifted.contrast(str(i), base) for i in open_], ours, bases, at=at, others=equal)
            found = [verdict.stands(one, other) for one, other in zip(found, again)]
        return found, arms

    def widened(self, open_: list[int]) -> bool:
        """Continue the grids of arms whose best rate lies at an end; whether any was."""
        grown = []
        for arm, side in zip(range(len(self.n)), self.sides(self.arms())):
            rates = np.flatnonzero(self.tried[arm])
            new = {"low": rates[0] - 1, "high": rates[-1] + 1}.get(side.at_edge, -1)
            if (arm == 0 or arm in open_) and 0 <= new < self.tried.shape[1]:
                self.tried[arm, new] = self.kept[arm, new] = True
                grown.append(arm)
        self.run(grown)
        return bool(grown)


def fixed(world: World, n: int) -> Found:
    """One look at n seeds, all rates, no more."""
    study = Study.begin(world, n, RESAMPLES)
    others = list(range(1, len(study.n)))
    found, arms = study.judged(others)
    return Found([one.word for one in found], [n] * len(found), len(study.asked), 1, covered(study, arms, others))


def covered(study: Study, arms: Arms, others: list[int]) -> list[bool]:
    """Whether the interval of each ratio holds 1."""
    out = []
    for i in others:
        low, high = arms.contrast(str(i), "0").interval()
        if not np.isnan(low):
            out.append(bool(low <= 0 <= high))
    return out


def decided(world: World, first: int = 10, most: int = MOST) -> Found:
    """`decide=true` with `first` seeds at the first look and `most` at the last."""
    study, sizes = Study.begin(world, first), nested.sizes(first, most)
    others = range(1, len(study.n))
    words, fell = dict.fromkeys(others, "undecided"), dict.fromkeys(others, first)
    for look, n in enumerate(sizes):
        open_ = [i for i in others if words[i] == "undecided"]
        if look:
            for arm in [0, *open_]:
                study.n[arm] = n
            study.run([0, *open_])
        while study.widened(open_):
            pass
        while study.world.budget < study.world.longest and all(s.share < GATE for s in study.sides(study.arms())):
            study.world = longer(study.world)
            study.run([0, *open_])
            while study.widened(open_):
                pass
        equal = sum(word == "equivalent" for word in words.values())
        found, arms = study.judged(open_, sizes, equal)
        coarse = [i for i, one in zip(open_, found) if one.why == "grid"]
        if coarse:
            study.dense |= {0, *coarse}
            found, arms = study.judged(open_, sizes, equal)
        for i, one in zip(open_, found):
            words[i], fell[i] = one.word, n
        if not look:
            for i in range(len(study.n)):
                panel = arms.panels[str(i)]
                study.kept[i, panel.lrs[choice.hopeless(panel)].astype(int)] = False
        if all(word != "undecided" for word in words.values()):
            break
    return Found(list(words.values()), list(fell.values()), len(study.asked), look + 1)


def naive(world: World, first: int = 10, most: int = MOST) -> Found:
    """What a person did who followed the report: the seeds it asks for, judged again at the same level, until every pair
    has a word or `most` seeds are reached. All rates at all seeds."""
    study = Study.begin(world, first)
    others, looks = list(range(1, len(study.n))), 0
    while True:
        looks += 1
        found, arms = study.judged(others)
        n = study.n[0]
        open_ = [i for i, one in zip(others, found) if one.word == "undecided" and one.test]
        asked = [
            verdict.seeds_to_decide(arms.contrast(str(i), "0"), one.test, len(open_))
            for i, one in zip(others, found)
            if i in open_
        ]
        more = [m for m in asked if m is not None and m > n]
        if n >= most or not more:
            return Found([one.word for one in found], [n] * len(found), len(study.asked), looks)
        study.n = [min(most, min(more))] * len(study.n)
        study.run(range(len(study.n)))
