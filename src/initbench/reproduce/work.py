"""How much work a sweep is, by its configuration alone: runs, and about how many seconds of one core.

The seconds are rough. What matters is their proportion: progress.py scales them by how fast the sweeps before went.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from initbench.config.estimate import evaluations, measurements, numbers

if TYPE_CHECKING:
    from initbench.config.arm import ArmConfig

# seconds of one core on the machine of docs/performance.md
SWEEP, RUN, STEP_LAYER, OPERATIONS, LOOK_LAYER = 3.0, 1e-3, 5e-7, 5e10, 1e-5
INPUTS = {"digits": 64, "mnist1d": 40}
CONTROLS = 3  # nets of sharing.controls: the shared one, the untied one, the narrow one
FULL = 1437  # samples of a step without batches: those of digits
EVALUATED = 1000  # samples of an evaluation


class Work(NamedTuple):
    """Runs of a sweep, and seconds of one core."""

    runs: int
    seconds: float

    def __add__(self, other: object) -> Work:
        assert isinstance(other, Work)
        return Work(self.runs + other.runs, self.seconds + other.seconds)


NOTHING = Work(0, 0.0)


def total(works: Iterable[Work]) -> Work:
    """
    >>> total([Work(2, 1.0), Work(3, 0.5)])
    Work(runs=5, seconds=1.5)
    """
    return sum(works, NOTHING)


def work(overrides: Sequence[str]) -> Work:
    """The work of a sweep; raises InputError for wrong overrides.

    >>> work(["init=eye", "sharing=none", "seeds=2", "optim.lr=[0.1,0.3]"]).runs
    4
    """
    from initbench.overrides.expand import expand

    found = total(of_arm(arm) for arm in expand(overrides))
    return Work(found.runs, found.seconds + SWEEP)


def of_arm(arm: ArmConfig) -> Work:
    """The work of an arm, with its controls."""
    train, data, model = arm.train, arm.data, arm.model
    nets = CONTROLS if arm.sharing.controls and arm.sharing.name != "none" else 1
    weights = 0 if model.name == "module" else numbers(model, INPUTS.get(data["name"], data.get("inputs") or 64), 10)
    samples = train.steps * (arm.optim.batch_size or data.get("samples") or FULL) + evaluations(train) * EVALUATED / 3
    measured = arm.measure.metrics or arm.measure.name != "none"
    looks = measurements(train.steps, arm.measure.schedule) if measured else 0
    each = RUN + 6 * weights * samples / OPERATIONS
    each += (model.depth + 1) * (STEP_LAYER * train.steps + LOOK_LAYER * looks)
    runs = nets * len(arm.runs)
    return Work(runs, runs * each)
