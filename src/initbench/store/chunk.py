"""What an engine returns for some runs of one arm: series of every quantity, as arrays (runs, steps[, layers])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from initbench.config.arm import Run


@dataclass(frozen=True)
class Series:
    """One quantity over time: `values` (R, steps) or (R, steps, k), `layers` the k layer numbers or None."""

    steps: tuple[int, ...]
    layers: tuple[int, ...] | None
    values: np.ndarray


@dataclass(frozen=True)
class Chunk:
    """Results of R runs, in the order asked. `diverged_at` (R,) is -1 for runs that stayed finite.

    `stopped_at` (R,) is the last step of runs that left early, -1 for the others; None where none may leave.
    `init_flops` (R,) are the operations of each run's start; None where nothing but drawing was done.
    """

    runs: tuple[Run, ...]  # (seed, lr)
    diverged_at: np.ndarray
    series: dict[str, Series]
    stopped_at: np.ndarray | None = None
    init_flops: np.ndarray | None = None


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """The runs of several chunks of one arm in one, NaN at steps that a chunk does not have.

    >>> one, two = ({"loss": Series(steps, None, np.ones((1, len(steps))))} for steps in ((0, 1), (0, 2)))
    >>> both = joined([Chunk(((s, 0.1),), np.array([-1]), series) for s, series in enumerate((one, two))])
    >>> both.series["loss"].steps, both.series["loss"].values.tolist()
    ((0, 1, 2), [[1.0, 1.0, nan], [1.0, nan, 1.0]])
    """
    runs = tuple(run for chunk in chunks for run in chunk.runs)
    first = np.cumsum([0, *(len(chunk.runs) for chunk in chunks)])
    series = {}
    for name in dict.fromkeys(name for chunk in chunks for name in chunk.series):
        parts = [(at, chunk.series[name]) for at, chunk in zip(first, chunks) if name in chunk.series]
        steps, like = tuple(sorted({step for _, one in parts for step in one.steps})), parts[0][1]
        values = np.full((len(runs), len(steps), *like.values.shape[2:]), np.nan)
        for at, one in parts:
            values[at : at + len(one.values), np.searchsorted(steps, one.steps)] = one.values
        series[name] = Series(steps, like.layers, values)

    def ends(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
        found = [array for array in arrays if array is not None]
        return np.concatenate(found) if found else None

    diverged = np.concatenate([chunk.diverged_at for chunk in chunks])
    flops = ends([chunk.init_flops for chunk in chunks])
    return Chunk(runs, diverged, series, ends([chunk.stopped_at for chunk in chunks]), flops)


def blank_after_divergence(series: dict[str, Series], diverged_at: np.ndarray) -> dict[str, Series]:
    """NaN from the step of divergence on, so that no meaningless number of a dead run is ever shown.

    NaN too for what overflows before it: the square of a finite weight may be infinite.

    >>> s = Series((0, 1, 2), None, np.ones((2, 3)))
    >>> blank_after_divergence({"loss": s}, np.array([-1, 1]))["loss"].values.tolist()
    [[1.0, 1.0, 1.0], [1.0, nan, nan]]
    """
    blanked = {}
    for name, one in series.items():
        dead = (diverged_at[:, None] >= 0) & (np.array(one.steps)[None, :] >= diverged_at[:, None])
        values = one.values.astype(np.float64)
        values[dead] = np.nan
        values[~np.isfinite(values)] = np.nan
        blanked[name] = Series(one.steps, one.layers, values)
    return blanked
