"""Large numbers that differ little: differences are taken in float64 before anything is rounded to an arm's type.

Data X + c, for any c of each feature that the file's numbers hold exactly, and X * 2^k train with the same bits as X.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 2**20  # entries that are float64 at once: all of 60,000 images would need half a gigabyte


@dataclass(frozen=True)
class Frame:
    """Values counted from `origin` and then from `mean`, in the unit 2^exponent: about -1 to 1."""

    origin: np.ndarray | float = 0.0  # (n,) one row of the values: differences of near numbers are exact
    mean: np.ndarray | float = 0.0  # (n,) of all differences from it
    exponent: int = 0  # a power of two, so that no digit changes

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values (N, n) in this frame, float64."""
        return np.ldexp(values - np.float64(self.origin) - self.mean, -self.exponent)


AS_THEY_ARE = Frame()


def frame_of(values: np.ndarray) -> Frame:
    """The frame of values (N, n), from all of them.

    >>> x = np.array([[0.0, 3.0], [2.0, 1.0]])
    >>> np.array_equal(frame_of(x)(x), frame_of(8 * x + 2**40)(8 * x + 2**40))
    True
    """
    origin = values[0].astype(np.float64)
    mean = mean_of(values, Frame(origin))
    near = Frame(origin, mean)
    largest = max(float(np.abs(near(block)).max()) for block in blocks(values))
    return Frame(origin, mean, int(np.frexp(largest)[1]))


def blocks(values: np.ndarray, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Values (N, n), those of the numbered `rows` only if given, few at a time."""
    step = max(1, BLOCK // values.shape[1])
    for i in range(0, len(values if rows is None else rows), step):
        yield values[i : i + step] if rows is None else values[rows[i : i + step]]


def cast(values: np.ndarray, frame: Frame, dtype: np.dtype) -> np.ndarray:
    """Values (N, n) in a frame, rounded to another type once."""
    out, filled = np.empty(values.shape, dtype), 0
    for block in blocks(values):
        out[filled : filled + len(block)] = frame(block)
        filled += len(block)
    return out


def mean_of(
    values: np.ndarray, frame: Callable[[np.ndarray], np.ndarray], rows: np.ndarray | None = None
) -> np.ndarray:
    """Mean of each column, (n,)."""
    total = sum(frame(block).sum(axis=0) for block in blocks(values, rows))
    return np.asarray(total / len(values if rows is None else rows))


def standardizer(
    values: np.ndarray, frame: Frame = AS_THEY_ARE, rows: np.ndarray | None = None
) -> tuple[np.ndarray, float]:
    """Mean of each column, and the one scalar that brings the centred mean square to 1 (1 if all are equal).

    >>> standardizer(np.array([[0.0, 1.0], [2.0, 1.0]]))[1] ** 2
    0.5000...
    """
    first = frame(values[:1] if rows is None else values[rows[:1]])[0]
    # from one of the values: columns without a difference have exactly that mean, and a scale of 0 is seen
    mean = first + mean_of(values, lambda block: frame(block) - first, rows)
    square = sum(float(np.sum((frame(block) - mean) ** 2)) for block in blocks(values, rows))
    scale = float(np.sqrt(square / (len(values if rows is None else rows) * values.shape[1])))
    return mean, scale if scale > 0 else 1.0
