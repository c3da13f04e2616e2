"""Chunks of runs spread over worker processes with one thread each; a chunk is done when its part file is published.

Work is split over runs, never by threads inside a matrix product: bits do not depend on the number of cores, and two
processes never wait for each other. This module imports no torch, so that the parent can do other things meanwhile.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from initbench.config.arm import ArmConfig, Run
from initbench.config.groups import LayerSpec
from initbench.engine.trainers import named, stack_size
from initbench.startup.processes import Processes, context


def chunks(
    arm: ArmConfig,
    runs: Sequence[Run],
    layers: Sequence[LayerSpec],
    workers: int,
    seeds_whole: bool = False,
    trainer: str = "stacked",
    most: int | None = None,
) -> list[list[Run]]:
    """The runs in stacks of about equal size, equally many for each worker.

    Runs come sorted by seed, so a stack holds few seeds and draws their batches once for all learning rates.
    `seeds_whole`: where there are seeds enough, all runs of a seed are in one stack, for starts that cost seconds.
    `most`: runs of a chunk that take about a minute; there are no more in one, unless engine.chunk asks for it.
    """
    if not runs:
        return []
    size = arm.engine.chunk or stack_size(named(trainer), arm, layers)
    count = -(-len(runs) // size)
    if arm.engine.chunk is None:
        count = min(-(-count // workers) * workers, max(1, len(runs) // 2))
        if most is not None:  # two runs of a stack take no longer than a lone one, which is trained beside a copy
            least = 1 if trainer == "single" else 2
            count = max(count, min(-(-len(runs) // most), len(runs) // least))
    bounds = [len(runs) * i // count for i in range(count + 1)]
    if seeds_whole and len({seed for seed, _ in runs}) >= count:
        bounds = sorted({whole_seeds(runs, bound) for bound in bounds})
    return [list(runs[a:b]) for a, b in pairwise(bounds)]


def whole_seeds(runs: Sequence[Run], bound: int) -> int:
    """The bound moved to the nearer end of the seed that it would cut.

    >>> [whole_seeds([(0, 0.1), (0, 0.2), (0, 0.3), (1, 0.1)], bound) for bound in range(5)]
    [0, 0, 3, 3, 4]
    """
    if not 0 < bound < len(runs):
        return bound
    seed = runs[bound][0]
    first = next(i for i, (other, _) in enumerate(runs) if other == seed)
    after = next((i for i, (other, _) in enumerate(runs) if i > bound and other != seed), len(runs))
    return first if bound - first < after - bound else after


KILLED = (
    "a worker was killed while it trained this arm, also with nothing beside it (memory? os._exit?); "
    "try fewer engine.workers, a smaller engine.chunk or a smaller model"
)


class WorkerKilled(Exception):
    """The runs of an arm end the process that trains them."""


@contextmanager
def tellable() -> Iterator[None]:
    """Inside: what is raised can be sent to another process, and does not end it. Ctrl-C goes through.

    >>> with tellable():
    ...     raise SystemExit(3)
    Traceback (most recent call last):
    RuntimeError: SystemExit: 3
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if isinstance(error, Exception) and survives(error):
            raise
        from initbench.own.code import line

        raise RuntimeError(line(error)) from None


def survives(error: Exception) -> bool:
    """Whether an exception is the same after a way through a pipe.

    >>> survives(ValueError("a"))
    True
    """
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


class Pool:
    """Worker processes that train chunks and publish their parts; with one worker, this process does it itself."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._processes: Processes | None = None
        self._done = 0
        self._counter = context().Value("q", 0)

    def start(self, functions: Sequence[tuple[str, str]] = ()) -> None:
        """Begin to start the workers, without waiting for them, and to compile these functions of the kernel."""
        if self.workers > 1 and self._processes is None:
            self._processes = Processes(self.workers, _share, self._counter)
            for i in range(self.workers):  # each begins with another function
                self._processes.submit(_ready, [*functions[i:], *functions[:i]])

    def submit(self, arm: ArmConfig, runs: Sequence[Run], root: Path, key: str) -> Future[None]:
        """Train these runs and publish them as a part below root/key."""
        self.start()
        if self._processes is not None:
            try:
                return self._processes.submit(_work, arm, list(runs), root, key)
            except BrokenProcessPool:  # a worker was killed: the others of this pool have ended too
                self.close()
                return self.submit(arm, runs, root, key)
        future: Future[None] = Future()
        try:
            from initbench.study import worker

            with worker.one_thread(), tellable():
                worker.work(arm, list(runs), root, key, self._count)
            future.set_result(None)
        except Exception as error:
            future.set_exception(error)
        return future

    def alone(self, arm: ArmConfig, runs: Sequence[Run], root: Path, key: str) -> None:
        """Train runs that were under way when a worker was killed once more, in a worker with nobody beside it.

        If that one is killed too, it is these runs that do it: WorkerKilled.
        """
        process = Processes(1, _share, self._counter)
        try:
            process.submit(_work, arm, list(runs), root, key).result()
        except BrokenProcessPool:
            raise WorkerKilled(KILLED) from None
        except BaseException:
            process.close(wait=False)
            raise
        process.close()

    def _count(self, run_steps: int) -> None:
        self._done += run_steps

    @property
    def run_steps(self) -> int:
        """Run-steps trained so far by this pool."""
        return self._done + self._counter.value

    def close(self, wait: bool = True) -> None:
        """End the workers; without waiting, also those at work."""
        if self._processes is not None:
            self._processes.close(wait)
            self._processes = None


_shared_counter: Any = None


def _share(counter: Any) -> None:
    global _shared_counter
    _shared_counter = counter


def _ready(functions: Sequence[tuple[str, str]]) -> None:
    from initbench.study import worker  # imports torch while the parent composes configurations

    worker.ready(functions)


def _work(arm: ArmConfig, runs: list[Run], root: Path, key: str) -> None:
    from initbench.study import worker

    def count(run_steps: int) -> None:
        with _shared_counter.get_lock():
            _shared_counter.value += run_steps

    with worker.one_thread(), tellable():
        worker.work(arm, runs, root, key, count)
