"""What every data set can be made into before it is used: other targets, another order of features, a range, no validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from initbench import rng
from initbench.config.checks import check_choice
from initbench.data.dataset import Dataset
from initbench.errors import refusal
from initbench.memory import check_fits


def in_range(data: Dataset) -> Dataset:
    """Each feature from 0 to 1 over all samples, used so; a constant feature is 0. As scikit-learn's MinMaxScaler.

    >>> in_range(Dataset(np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]]), np.arange(3))).x.tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.5, 0.0]]
    """
    if not data.standardized or data.classes is None:
        wrong = "these inputs are used as they are" if not data.standardized else "it is for data with classes"
        raise refusal("data.scaling=range", wrong, "leave it out")
    check_fits("data.scaling=range", 16 * data.x.size, "leave it out")
    low = data.x.min(axis=0).astype(np.float64)
    wide = data.x.max(axis=0) - low
    return replace(data, x=(data.x - low) / np.where(wide > 0, wide, 1.0), standardized=False)


def shuffled(data: Dataset) -> Dataset:
    """The features in one other order for all samples, the same in every run.

    >>> sorted(shuffled(Dataset(np.arange(6.0).reshape(1, 6), np.zeros(1, int))).x[0].tolist())
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """
    return replace(data, x=data.x[:, rng.numpy_stream(0, "order").permutation(data.inputs)])


def all_trained(data: Dataset) -> Dataset:
    """Every sample in the training part, which is then the validation part too.

    >>> all_trained(Dataset(np.ones((4, 2)), np.arange(4))).train_samples
    4
    """
    return replace(data, train=np.arange(len(data.x)))


def autoencoded(data: Dataset) -> Dataset:
    """The inputs as targets.

    >>> autoencoded(Dataset(np.ones((5, 3)), np.arange(5))).outputs
    3
    """
    return replace(data, y=data.x.astype(np.float64))


# keys of every data set, in the order in which they act: the value other than `own`, and what it does
PREPARED: dict[str, tuple[str, Callable[[Dataset], Dataset]]] = {
    "scaling": ("range", in_range),
    "order": ("shuffled", shuffled),
    "validation": ("none", all_trained),
    "target": ("input", autoencoded),
}


def prepared(data: Dataset, asked: Mapping[str, object]) -> Dataset:
    """The data as the keys of PREPARED ask; `own` or absent: as they came.

    >>> prepared(Dataset(np.ones((5, 3)), np.arange(5)), {"target": "input", "order": "own"}).outputs
    3
    """
    for key, (value, change) in PREPARED.items():
        given = asked.get(key, "own")
        check_choice(f"data.{key}", given, ("own", value))
        data = change(data) if given == value else data
    return data
