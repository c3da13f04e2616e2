"""How much of what is asked for is done: stored before, finished since, and under way; in runs, steps and seconds of work.

Runs of deep and of shallow nets take their own time, so a share is one of seconds, as `pace` counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from initbench.cli.display import Display, Done
from initbench.store.progress import Watched
from initbench.study.pace import run_seconds
from initbench.study.plan import PlannedArm
from initbench.study.pool import Pool

if TYPE_CHECKING:
    from initbench.study.launch import Training


class Tally:
    """Arms with the runs that are asked of each. `left`: runs by arm key that were not stored when training began; `root`:
    of the store, where also other processes train them; `pool`: trains here."""

    def __init__(self, arms: Sequence[PlannedArm], left: Mapping[str, int], root: Path, pool: Pool) -> None:
        self.arms = {arm.key: arm for arm in arms}
        asked = {key: len(arm.config.runs) for key, arm in self.arms.items()}
        self.here = {key: n - left.get(key, 0) for key, n in asked.items()}  # stored before, or finished here
        self.each = {key: run_seconds(arm) for key, arm in self.arms.items()}
        self.watched = Watched(root, asked, dict(self.here))
        self.total = self.of(asked)
        self.pool, self.begun = pool, pool.run_steps
        self.finished = 0  # run-steps of the pool's chunks

    def of(self, runs: Mapping[str, int]) -> Done:
        """What so many runs by arm key are."""
        steps = sum(n * self.arms[key].config.train.steps for key, n in runs.items())
        return Done(sum(runs.values()), steps, sum(n * self.each[key] for key, n in runs.items()))

    def add(self, arm: PlannedArm, runs: int) -> None:
        """A chunk was finished by the pool: its part is seen at once, also where `train.rerun` writes the same again."""
        self.finished += runs * arm.config.train.steps
        if arm.key in self.here:
            self.here[arm.key] += runs

    def now(self) -> Done:
        """What is done so far; of the pool's chunks under way the share of their steps."""
        stored = self.watched.counts()
        done = self.of({key: min(self.watched.asked[key], max(n, stored[key])) for key, n in self.here.items()})
        rest = self.total.run_steps - done.run_steps
        under_way = min(max(self.pool.run_steps - self.begun - self.finished, 0), rest)
        share = under_way / max(rest, 1)
        return Done(done.runs, done.run_steps + under_way, done.work + share * (self.total.work - done.work))

    @contextmanager
    def showing(
        self, trainer: Training, progress: bool = True, tick: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Inside: what `trainer` finishes is counted, and shown where `progress` is asked for; `tick` is called after each chunk."""

        def told(arm: PlannedArm, runs: int) -> None:
            self.add(arm, runs)
            tick()

        trainer.told = told
        if not progress:
            yield
            return
        with Display(len(self.arms), self.total, self.now).showing():
            yield
