"""How targets y are taken: as classes or as values. The rule, where `data.task=auto`:

- rows of one 1 and zeros else (one-hot): classes;
- whole numbers of an integer type or bool, (N,) or (N, 1): classes;
- whole numbers as floats, (N,) or (N, 1): classes if they are 0, 1, ..., k-1 without a gap, k at most FLOAT_CLASSES,
  and each occurs twice on average; values otherwise;
- all else: values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from initbench.config.cautions import Caution
from initbench.errors import refusal

FLOAT_CLASSES = 100  # more different whole numbers among floats are values
MANY = 50  # so many classes, or so few samples of each, look like values
FEW = 10
NUMBERED = "y = np.unique(y, return_inverse=True)[1] numbers them 0, 1, ..."


class Taken(NamedTuple):
    """Targets as a data set holds them: class numbers (N,) int64, or values (N, k) float64; and what to say of it."""

    y: np.ndarray
    text: str
    cautions: tuple[Caution, ...] = ()


def taken(y: np.ndarray, task: str, where: str) -> Taken:
    """The targets of somebody's y (N,) or (N, k), as `task` says.

    >>> taken(np.array([0, 1, 0, 1]), "auto", "data.path=my.npz").text
    'y is taken as 2 classes (data.task=regression: as values)'
    """
    one_hot = is_one_hot(y)
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    kinds = "whole-number floats" if y.dtype.kind == "f" else "whole numbers"
    if task == "regression":
        return values(y)
    if task == "auto" and not one_hot and not (flat.ndim == 1 and (flat.dtype.kind in "biu" or float_classes(flat))):
        return as_values(y, flat)
    numbers = y.argmax(axis=1) if one_hot else flat
    check_classes(numbers, where)
    # of one-hot rows the columns are the classes, also those that no row has
    if one_hot and not len(np.unique(numbers)) > 1:
        raise refusal(where, "all rows of the one-hot y are the same", "give at least two classes")
    found = numbers.astype(np.int64)
    count = int(found.max()) + 1
    if task == "classification":
        return Taken(found, "")
    text = f"y is taken as {count} classes (data.task=regression: as values)"
    if one_hot:
        text = f"the {y.shape[1]} columns of y are one-hot: taken as {count} classes (data.task=regression: as values)"
        return Taken(found, "", (Caution("One-hot targets are taken as classes", f"{text}."),))
    if y.dtype.kind == "f":
        said = f"y holds {kinds} 0 to {count - 1}: taken as {count} classes (data.task=regression: as values)"
        return Taken(found, "", (Caution("Whole numbers are taken as classes", f"{said}."),))
    return Taken(found, text, many(found))


def is_one_hot(y: np.ndarray) -> bool:
    """Rows (N, k), k >= 2, of one 1 and zeros else."""
    return bool(y.ndim == 2 and y.shape[1] > 1 and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())


def float_classes(y: np.ndarray) -> bool:
    """Whether floats (N,) are 0, 1, ..., k-1 without a gap, each twice on average."""
    found = np.unique(y)
    return 2 <= len(found) <= min(FLOAT_CLASSES, len(y) // 2) and np.array_equal(found, np.arange(len(found)))


def values(y: np.ndarray, text: str = "", cautions: tuple[Caution, ...] = ()) -> Taken:
    """y as values (N, k)."""
    return Taken(y.reshape(len(y), -1).astype(np.float64), text, cautions)


def as_values(y: np.ndarray, flat: np.ndarray) -> Taken:
    """y as values; whole numbers that could have been meant as classes are named."""
    columns = 1 if flat.ndim == 1 else y.shape[1]
    text = f"y is taken as values, {columns} a sample"
    distinct = np.unique(flat) if flat.ndim == 1 else flat[:0]
    if flat.ndim == 1 and 2 <= len(distinct) <= FLOAT_CLASSES and np.array_equal(distinct, np.round(distinct)):
        said = (
            f"y holds {len(distinct)} different whole numbers from {distinct[0] + 0:g} to {distinct[-1] + 0:g} as floats, "
            f"not 0, 1, ... without a gap and each twice: taken as values; if they are classes, {NUMBERED}"
        )
        return values(y, "", (Caution("Whole numbers are taken as values", f"{said}."),))
    return values(y, f"{text} (data.task=classification: as classes)" if columns == 1 else text)


def check_classes(y: np.ndarray, where: str) -> None:
    """Refuse what cannot be class numbers."""
    if y.ndim != 1:
        raise refusal(
            where, f"y of shape {y.shape} holds no classes", "give class numbers 0, 1, ... (N,), or one-hot rows"
        )
    if not np.array_equal(y, np.round(y)) or y.min() < 0:
        raise refusal(
            where, "classes must be whole numbers 0, 1, ... in y (N,)", f"{NUMBERED}; or data.task=regression"
        )
    if y.max() < 1:
        raise refusal(
            where,
            "all y are 0, and classes must be whole numbers 0, 1, ..., at least two of them",
            "set data.task=regression",
        )
    if y.max() >= len(y):
        wrong = f"y goes to {y.max():g} with {len(y)} samples, too high for a class number"
        raise refusal(where, wrong, f"{NUMBERED}; or data.task=regression")


def doubtful_numbers(y: np.ndarray) -> tuple[Caution, ...]:
    """Class numbers (N,) that leave output units without a sample."""
    found, units = np.unique(y), int(y.max()) + 1
    if len(found) == 1:
        text = f"all {len(y)} samples have the class {found[0]}, so a net that always answers {found[0]} is right"
        return (Caution("Only one class", f"{text}."),)
    if len(found) == units:
        return ()
    begins = f"begin at {found[0]}" if len(found) == units - found[0] else "skip numbers"
    text = (
        f"the {len(found)} classes of y {begins}, so no sample belongs to {units - len(found)} of {units} output units"
    )
    return (Caution("Output units without a class", f"{text}; {NUMBERED}."),)


def many(y: np.ndarray) -> tuple[Caution, ...]:
    """So many classes that y may hold values."""
    found = len(np.unique(y))
    if found < MANY and len(y) >= FEW * found:
        return ()
    text = f"y holds {found} different whole numbers in {len(y)} samples, taken as classes"
    return (Caution("Many classes", f"{text}; values (ages, counts) need data.task=regression."),)
