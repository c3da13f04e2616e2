"""Data on disk: scikit-learn's digits, and your own arrays."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from initbench.config.checks import check, check_choice, one_of
from initbench.data.dataset import Dataset, checked
from initbench.data.npz import read
from initbench.errors import refusal, shown


def digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8x8 pixels, 10 classes.

    Its file is read without importing scikit-learn, which would take longer than all else at the start of a worker.
    """
    spec = find_spec("sklearn")
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    file = folder / "datasets" / "data" / "digits.csv.gz"
    if file.is_file():
        table = np.loadtxt(file, delimiter=",")
        return Dataset(table[:, :-1], table[:, -1].astype(np.int64))
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return Dataset(x.astype(np.float64), y.astype(np.int64))


def npz(path: str | None = None, task: str = "auto", standardize: bool = True) -> Dataset:
    """The user's arrays: `x` (N, n) numbers; `y` (N,) class numbers, or (N,) / (N, k) values.

    `task` auto: whole-number y are classes, one-hot rows too, others regression (the rule: data/labels.py). An array `train` (mask, or sample numbers) fixes the
    training part for every seed; without it each seed has its own 80%. `standardize` false uses the numbers as they
    are. Errors name the file and what is wrong.
    """
    check_choice("data.task", task, ("auto", "classification", "regression"))
    check(isinstance(standardize, bool), "data.standardize", standardize, "true or false")
    if path is None:
        raise refusal(
            "data=npz", "it needs data.path", "add data.path=FILE.npz, a file with arrays x (N, n) and y (N,) or (N, k)"
        )
    where = f"data.path={shown(path)}"
    arrays, unread = read(str(path), where)
    return checked(arrays["x"], arrays["y"], task, where, arrays.get("train"), standardize, unread)


SKLEARN = ("breast_cancer", "diabetes", "iris", "linnerud", "wine")  # what data.name may be beside data=sklearn


def sklearn(name: str = "sklearn") -> Dataset:
    """A set that comes with scikit-learn, by the name of its loader there.

    >>> sklearn("iris").x.shape, sklearn("diabetes").outputs
    ((150, 4), 1)
    """
    if name not in SKLEARN:
        raise refusal("data=sklearn", "it needs data.name", f"add data.name={SKLEARN[-1]}; {one_of(name, SKLEARN)}")
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    y = np.asarray(found.target)
    return Dataset(
        np.asarray(found.data, dtype=np.float64),
        y.astype(np.int64) if hasattr(found, "target_names") and y.ndim == 1 else y.reshape(len(y), -1).astype(float),
    )
