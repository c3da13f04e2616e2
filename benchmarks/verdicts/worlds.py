"""Studies in which the truth is known: simulated arms, and real runs of one law, as steps to target by arm, rate and seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from benchmarks.verdicts import real
from scipy import special

from initbench.stats.panel import Panel

MEDIAN, BUDGET, SEED_EFFECT = 66.0, 300.0, 0.15
PROFILE = np.array([1.6, 0.8, 0.2, 0.0, 0.05, 0.7, 1.5])  # of log T over the rates; a study starts with the middle five
START = (1, 6)
AT_END = (2, 7)  # another five: the best is the second; arms of one law widen alike where noise puts an end first


@dataclass(frozen=True)
class World:
    """One study before it is run. T of every run that could be asked for; infinity: never, however long.

    Axes of `steps` and `loss`: (A arms, L rates, N seeds). `start`: the rates asked first. `budget`: steps of a run;
    `longest`: up to which it may be doubled. `grid`: the steps evaluated.
    """

    steps: np.ndarray
    loss: np.ndarray
    start: tuple[int, int]
    budget: float
    longest: float
    grid: np.ndarray

    def panel(self, arm: int, tried: np.ndarray, kept: np.ndarray, n: int, dense: bool, earlier: bool = False) -> Panel:
        """What is known of an arm after n seeds: rates `tried` (L,), of which those not `kept` were dropped.

        dense: evaluated at every step. earlier: every T one evaluation earlier.
        """
        t = self.steps[arm, tried, :n]
        grid = np.arange(self.longest + 1) if dense else self.grid
        lost = t > self.budget
        at = np.searchsorted(grid, np.where(lost, 0.0, t))
        seen = np.where(lost, np.inf, grid[np.maximum(at - earlier, 0)])
        log = np.log(np.maximum(np.minimum(seen, self.budget), 1.0))
        dropped = ~kept[tried]
        return Panel(
            np.flatnonzero(tried).astype(float),
            np.arange(n),
            log,
            np.isfinite(seen).astype(float),
            self.loss[arm, tried, :n],
            dropped if dropped.any() else None,
        )


def evaluations(budget: float) -> np.ndarray:
    """The default evaluation grid."""
    grid = list(range(21))
    while grid[-1] < budget:
        grid.append(int(min(budget, max(grid[-1] + 1, np.ceil(grid[-1] * 1.05)))))
    return np.array(grid, dtype=float)


@dataclass(frozen=True)
class Cell:
    """Arms of one law: log T = log 66 + profile(lr) + seed effect + noise; the last one `ratio` times as slow."""

    sd: float
    arms: int = 8
    ratio: float = 1.0
    never: float = 0.0  # share of runs at the best rate that do not arrive within the budget
    diverged: float = 0.0

    def draw(self, rng: np.random.Generator, most: int) -> World:
        """A world with `most` seeds."""
        shape = (self.arms, len(PROFILE), most)
        log = np.log(MEDIAN) + PROFILE[:, None] + rng.normal(0, SEED_EFFECT, most) + rng.normal(0, self.sd, shape)
        log[-1] += np.log(self.ratio)
        budget = BUDGET
        if self.never:
            budget = float(round(MEDIAN * np.exp(special.ndtri(1 - self.never) * np.hypot(self.sd, SEED_EFFECT))))
        steps = np.where(rng.random(shape) < self.diverged, np.inf, np.exp(log))
        start = START if rng.random() < 0.5 else AT_END
        return World(steps, rng.random(shape), start, budget, 4 * budget, evaluations(4 * budget))

    def __str__(self) -> str:
        return f"sd={self.sd:g} arms={self.arms} ratio={self.ratio:g} never={self.never:g} diverged={self.diverged:g}"


@dataclass(frozen=True)
class RealCell:
    """Arms of one law from real runs: seeds and names drawn without replacement, all four rates from the start."""

    arms: int

    def draw(self, rng: np.random.Generator, most: int) -> World:
        """A world with `most` seeds."""
        runs = stored()
        names = rng.choice(len(runs.steps), self.arms, replace=False)
        seeds = rng.choice(runs.steps.shape[2], most, replace=False)
        steps, loss = (values[names][:, :, seeds] for values in (runs.steps, runs.loss))
        budget = float(real.BUDGET)
        return World(steps, np.nan_to_num(loss, nan=np.inf), (0, len(real.RATES)), budget, budget, runs.grid)

    def __str__(self) -> str:
        return f"real arms={self.arms}"


_stored: list[real.Real] = []


def stored() -> real.Real:
    """The real runs, read once."""
    if not _stored:
        _stored.append(real.load())
    return _stored[0]


def longer(world: World) -> World:
    """Twice the budget."""
    return replace(world, budget=min(2 * world.budget, world.longest))
