"""A data set, and each seed's split of it.

A data set is held once, as it came; a run holds the indices of its split and that split's mean and scale. Inputs are
standardized as (x - mean of each feature) / ONE scalar, so that their mean square is 1 and directions keep their size;
differences are taken in float64 (see `frame`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from initbench import rng
from initbench.config.cautions import Caution
from initbench.data.frame import AS_THEY_ARE, Frame, cast, frame_of, standardizer
from initbench.data.labels import taken
from initbench.errors import refusal

TRAIN_SHARE = 0.8
EXACT = 2**53  # whole numbers up to here are exact in float64
SMALLEST, LARGEST = 1e-300, 1e100  # of somebody's numbers: beyond, their squares or last digits do not exist


@dataclass(frozen=True)
class Dataset:
    """Inputs `x` (N, n); targets `y` (N,) int64 class numbers, or (N, k) float64 values.

    `x` is float64, or a smaller type that holds the same numbers (pixels as uint8). `train` (N_train,) fixes the
    training part for every seed (null: 80%, another one for each seed). Data that are not to be `standardized` are
    used as they are: inputs of a set length, whitened ones, those prepared by a person.
    """

    x: np.ndarray
    y: np.ndarray
    train: np.ndarray | None = None
    standardized: bool = True
    cautions: tuple[Caution, ...] = ()  # what to know before trusting results on these data
    taken: str = ""  # how your y was read, and what was not: said before anything is trained

    @cached_property
    def x_frame(self) -> Frame:
        """Where inputs are counted from before they are rounded."""
        return frame_of(self.x) if self.standardized else AS_THEY_ARE

    @cached_property
    def y_frame(self) -> Frame:
        """Where target values are counted from before they are rounded."""
        return frame_of(self.y) if self.standardized and self.y.ndim == 2 else AS_THEY_ARE

    def near_x(self, dtype: np.dtype) -> np.ndarray:
        """Inputs (N, n) in their frame, in an arm's type: held once, whatever the number of arms."""
        return self._near("x", self.x, self.x_frame, dtype)

    def near_y(self, dtype: np.dtype) -> np.ndarray:
        """Target values (N, k) in their frame, in an arm's type."""
        return self._near("y", self.y, self.y_frame, dtype)

    def _near(self, name: str, values: np.ndarray, frame: Frame, dtype: np.dtype) -> np.ndarray:
        if (name, dtype) not in self._held:
            as_it_is = frame is AS_THEY_ARE and values.dtype == dtype
            self._held[name, dtype] = values if as_it_is else cast(values, frame, dtype)
        return self._held[name, dtype]

    @cached_property
    def _held(self) -> dict[tuple[str, np.dtype], np.ndarray]:
        return {}

    @cached_property
    def noted(self) -> dict[object, tuple[Caution, ...]]:
        """Cautions of `doubts` that were found already: all arms of a study share their data."""
        return {}

    @property
    def classes(self) -> int | None:
        """Number of classes; None for regression."""
        return int(self.y.max()) + 1 if self.y.ndim == 1 else None

    @property
    def inputs(self) -> int:
        """Number of features."""
        return self.x.shape[1]

    @property
    def outputs(self) -> int:
        """Units of the output layer: classes, or columns of y."""
        return self.classes or self.y.shape[1]

    @property
    def train_samples(self) -> int:
        """Samples in the training part of a split."""
        if self.train is not None:
            return len(self.train)
        return min(len(self.x) - 1, max(1, int(TRAIN_SHARE * len(self.x))))

    @cached_property
    def hash(self) -> str:
        """Sixteen hex digits of the arrays."""
        h = hashlib.blake2b(digest_size=8)
        arrays = [self.x, self.y] if self.train is None else [self.x, self.y, self.train]
        for array in arrays:
            h.update(f"{array.dtype.str}{array.shape}".encode())
            h.update(np.ascontiguousarray(array).tobytes())
        return h.hexdigest()


@dataclass(frozen=True)
class Split:
    """One seed's split: index arrays, and the mean and scale of its training part."""

    train: np.ndarray  # (N_train,) int64
    val: np.ndarray  # (N_val,) int64
    mean: np.ndarray  # (n,), in the frame of x
    scale: float
    target_mean: np.ndarray | float  # (k,), in the frame of y; 0 for classes
    target_scale: float  # 1 for classes


def split(data: Dataset, seed: int) -> Split:
    """The split of `seed`: 80/20, or the data's own training part in the seed's order.

    Its first training samples serve as the fixed probe and evaluation samples. Where the training part is all there
    is, it is the validation part too.

    >>> s = split(Dataset(np.ones((10, 2)), np.ones((10, 1))), seed=0)
    >>> len(s.train), len(s.val), len(set(s.train) & set(s.val))
    (8, 2, 0)
    """
    train, val = parts(data, seed)
    zeros = np.zeros(data.inputs)
    mean, scale = standardizer(data.x, data.x_frame, train) if data.standardized else (zeros, 1.0)
    if data.classes is not None:
        return Split(train, val, mean, scale, 0.0, 1.0)
    if not data.standardized:
        return Split(train, val, mean, scale, np.zeros(data.outputs), 1.0)
    return Split(train, val, mean, scale, *standardizer(data.y, data.y_frame, train))


def parts(data: Dataset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample numbers of a seed's training and validation part."""
    order = rng.numpy_stream(seed, "split").permutation(len(data.x))
    if data.train is None:
        train, val = order[: data.train_samples], order[data.train_samples :]
    else:
        kept = np.isin(order, data.train)
        train, val = order[kept], order[~kept]
        val = val if len(val) else train
    return train, val


def inputs_of(data: Dataset, part: Split, index: np.ndarray) -> np.ndarray:
    """Standardized inputs of samples, (B, n) float64."""
    return (data.x_frame(data.x[index]) - part.mean) / part.scale


def targets_of(data: Dataset, part: Split, index: np.ndarray) -> np.ndarray:
    """Standardized target values of samples, (B, k) float64."""
    return (data.y_frame(data.y[index]) - part.target_mean) / part.target_scale


def checked(
    x: np.ndarray,
    y: np.ndarray,
    task: str,
    where: str,
    train: np.ndarray | None = None,
    standardized: bool = True,
    unread: Sequence[str] = (),
) -> Dataset:
    """A Dataset from somebody's arrays of fitting shapes, or an InputError that says what is wrong with them.

    `unread`: arrays beside them that are not looked at.
    """
    for name, array in (("x", x), ("y", y)):
        check_numbers(name, array, where)
    part = None if train is None else train_part(train, len(x), where)
    targets = taken(y, task, where)
    text = [targets.text] if targets.text else []
    text += [f"not read: {', '.join(unread[:8])}"] if unread else []
    x = x.astype(np.float64, copy=False)
    return Dataset(x, targets.y, part, standardized, targets.cautions, f"{where}: {'; '.join(text)}" if text else "")


def check_numbers(name: str, array: np.ndarray, where: str) -> None:
    """Numbers that float64 holds, and whose differences it holds too."""
    if array.dtype.kind not in "biuf":
        raise refusal(where, f"{name} has dtype {array.dtype}", "convert it to numbers")
    if array.dtype.kind == "b":
        return
    low, high = array.min(), array.max()  # NaN if there is one
    if not np.isfinite(low) or not np.isfinite(high):
        bad = int((~np.isfinite(array)).sum())
        raise refusal(where, f"{name} holds NaN or infinity in {bad} of {array.size} values", "drop or replace them")
    whole = array.dtype.kind in "iu"
    low, high = (int(low), int(high)) if whole else (float(low), float(high))
    size = max(abs(low), abs(high))
    if whole and size > EXACT:
        wrong = f"{name} goes from {low} to {high}; whole numbers beyond 2^53 lose digits as float64"
        raise refusal(where, wrong, f"subtract the lowest first: {name} = {name} - {name}.min(0)")
    reach = f"the range is {SMALLEST:g} to {LARGEST:g}"
    if size > LARGEST:
        raise refusal(
            where,
            f"{name} goes from {low:g} to {high:g}",
            f"{reach}; drop what is not a measurement, or rescale {name}",
        )
    if low != high and size < SMALLEST:
        raise refusal(where, f"{name} goes from {low:g} to {high:g}", f"{reach}; multiply {name} by a constant")


def train_part(train: np.ndarray, samples: int, where: str) -> np.ndarray:
    """Sample numbers (N_train,) int64 from a mask (N,) or a list of numbers."""
    allowed = f"must be a mask ({samples},) or different sample numbers 0..{samples - 1}, at least one"
    said = f"train is {train.dtype} of shape {train.shape}"
    if train.dtype.kind == "b" and train.shape == (samples,):
        train = np.flatnonzero(train)
    elif train.shape == (samples,) and samples > 2 and np.isin(train, (0, 1)).all():
        raise refusal(where, f"{said}, zeros and ones", f"{allowed}; train = train.astype(bool) makes it a mask")
    if train.ndim != 1 or train.dtype.kind not in "iu" or not len(train) or len(np.unique(train)) != len(train):
        raise refusal(where, said, f"it {allowed}")
    if train.min() < 0 or train.max() >= samples:
        raise refusal(where, f"train goes from {train.min()} to {train.max()}", f"it {allowed}")
    return np.sort(train.astype(np.int64))
