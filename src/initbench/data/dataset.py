"""A data set, and each seed's split of it.

A data set is held once, as it came; a run holds the indices of its split and that split's mean and scale. Inputs are
standardized as (x - mean of each feature) / ONE scalar, so that their mean square is 1 and directions keep their size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from initbench import rng
from initbench.cautions import Caution
from initbench.checks import check_choice
from initbench.errors import InputError

TRAIN_SHARE = 0.8
BLOCK = 2**20  # entries of a small integer type that are squared at once


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

    @property
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
    mean: np.ndarray  # (n,)
    scale: float
    target_mean: np.ndarray | float  # (k,); 0 for classes
    target_scale: float  # 1 for classes


def split(data: Dataset, seed: int) -> Split:
    """The split of `seed`: 80/20, or the data's own training part in the seed's order.

    Its first training samples serve as the fixed probe and evaluation samples. Where the training part is all there
    is, it is the validation part too.

    >>> s = split(Dataset(np.ones((10, 2)), np.ones((10, 1))), seed=0)
    >>> len(s.train), len(s.val), len(set(s.train) & set(s.val))
    (8, 2, 0)
    """
    order = rng.numpy_stream(seed, "split").permutation(len(data.x))
    if data.train is None:
        train, val = order[: data.train_samples], order[data.train_samples :]
    else:
        kept = np.isin(order, data.train)
        train, val = order[kept], order[~kept]
        val = val if len(val) else train
    if not data.standardized:
        zero = 0.0 if data.classes is not None else np.zeros(data.outputs)
        return Split(train, val, np.zeros(data.inputs), 1.0, zero, 1.0)
    mean, scale = standardizer(data.x[train])
    if data.classes is not None:
        return Split(train, val, mean, scale, 0.0, 1.0)
    return Split(train, val, mean, scale, *standardizer(data.y[train]))


def standardizer(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Mean of each column, and the one scalar that brings the centred mean square to 1 (1 if all are equal).

    >>> standardizer(np.array([[0.0, 1.0], [2.0, 1.0]]))[1] ** 2
    0.5000...
    """
    mean = values.mean(axis=0)
    if values.dtype == np.float64:
        square = float(np.mean((values - mean) ** 2))
    else:  # block by block: as float64 at once, 60,000 images would need half a gigabyte
        rows = max(1, BLOCK // values.shape[1])
        total = sum(float(np.sum((values[i : i + rows] - mean) ** 2)) for i in range(0, len(values), rows))
        square = total / values.size
    scale = float(np.sqrt(square))
    return mean, scale if scale > 0 else 1.0


def with_target(data: Dataset, target: str) -> Dataset:
    """The data with their own targets, or with the inputs as targets (an autoencoder).

    >>> with_target(Dataset(np.ones((5, 3)), np.arange(5)), "input").outputs
    3
    """
    check_choice("data.target", target, ("own", "input"))
    return replace(data, y=data.x.astype(np.float64)) if target == "input" else data


def checked(
    x: np.ndarray,
    y: np.ndarray,
    task: str,
    where: str,
    train: np.ndarray | None = None,
    standardized: bool = True,
) -> Dataset:
    """A Dataset from somebody's arrays, or an InputError that says what is wrong with them."""
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "biuf":
            raise InputError(f"{where}: {name} has dtype {array.dtype}; numbers are needed")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise InputError(f"{where}: {name} has {bad} values that are NaN or infinite; all must be finite")
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise InputError(f"{where}: x has shape {x.shape} and y {y.shape}; needed are x (N, n) and y (N,) or (N, k)")
    least = 5 if train is None else 1
    if len(x) < least or x.shape[1] < 1 or (y.ndim == 2 and y.shape[1] < 1):
        raise InputError(f"{where}: x has shape {x.shape}; at least {least} samples and 1 feature are needed")
    part = None if train is None else train_part(train, len(x), where)
    whole = bool(np.all(y == np.round(y)))
    classes = task == "classification" or (task == "auto" and y.ndim == 1 and y.dtype.kind in "biu")
    if not classes:
        return Dataset(x.astype(np.float64), y.reshape(len(y), -1).astype(np.float64), part, standardized)
    if y.ndim != 1 or not whole or y.min() < 0 or y.max() < 1:
        raise InputError(f"{where}: classes must be whole numbers 0, 1, ... in y (N,), at least two of them")
    if y.max() >= len(y):
        raise InputError(f"{where}: y goes to {int(y.max())} with {len(y)} samples; number the classes 0, 1, ...")
    return Dataset(x.astype(np.float64), y.astype(np.int64), part, standardized)


def train_part(train: np.ndarray, samples: int, where: str) -> np.ndarray:
    """Sample numbers (N_train,) int64 from a mask (N,) or a list of numbers."""
    allowed = f"{where}: train must be a mask ({samples},) or different sample numbers 0..{samples - 1}, at least one"
    if train.dtype.kind == "b" and train.shape == (samples,):
        train = np.flatnonzero(train)
    if train.ndim != 1 or train.dtype.kind not in "iu" or not len(train) or len(np.unique(train)) != len(train):
        raise InputError(f"{allowed}; it is {train.dtype} of shape {train.shape}")
    if train.min() < 0 or train.max() >= samples:
        raise InputError(f"{allowed}; it goes from {train.min()} to {train.max()}")
    return np.sort(train.astype(np.int64))
