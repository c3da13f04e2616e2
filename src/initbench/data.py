"""Named data -> arrays, and each seed's split of them.

A data set is held once, as it came; a run holds the indices of its split and that split's mean and scale. Inputs are
standardized as (x - mean of each feature) / ONE scalar, so that their mean square is 1 and directions keep their size.
"""

from __future__ import annotations

import hashlib
import inspect
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from initbench import rng
from initbench.checks import check_choice, check_number, check_whole
from initbench.errors import InputError

TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Dataset:
    """Inputs `x` (N, n) float64; targets `y` (N,) int64 class numbers, or (N, k) float64 values."""

    x: np.ndarray
    y: np.ndarray

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
    def hash(self) -> str:
        """Sixteen hex digits of the arrays."""
        h = hashlib.blake2b(digest_size=8)
        for array in (self.x, self.y):
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
    """The 80/20 split of `seed`; its first training samples serve as the fixed probe and evaluation samples.

    >>> s = split(load({"name": "digits"}), seed=0)
    >>> len(s.train), len(s.val), len(set(s.train) & set(s.val))
    (1437, 360, 0)
    """
    n = len(data.x)
    order = rng.numpy_stream(seed, "split").permutation(n)
    cut = min(n - 1, max(1, int(TRAIN_SHARE * n)))
    train, val = order[:cut], order[cut:]
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
    scale = float(np.sqrt(np.mean((values - mean) ** 2)))
    return mean, scale if scale > 0 else 1.0


def load(config: Mapping[str, Any]) -> Dataset:
    """The data set of an option: `name` chooses the loader, the other keys are its arguments.

    >>> load({"name": "digits"}).x.shape
    (1797, 64)
    """
    args = {key: value for key, value in config.items() if key != "name"}
    check_choice("data", config.get("name"), tuple(LOADERS))
    known = {key: tuple(value) if isinstance(value, list) else value for key, value in args.items()}
    return _load(config["name"], tuple(sorted(known.items())), stamp(args.get("path")))


def stamp(path: Any) -> tuple[int, int] | None:
    """When a file was written and its size: a file that was replaced is read again."""
    try:
        status = Path(path).stat()
    except (OSError, TypeError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4)
def _load(name: str, args: tuple[tuple[str, Any], ...], stamp: tuple[int, int] | None) -> Dataset:
    loader = LOADERS[name]
    known = set(inspect.signature(loader).parameters)
    for key, _ in args:
        if key not in known:
            raise InputError(f"data.{key}: unknown for data={name}; allowed are {', '.join(sorted(known))}")
    return loader(**dict(args))


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


def teacher(
    samples: int = 2000,
    inputs: int = 20,
    outputs: int = 1,
    depth: int = 2,
    width: int = 32,
    classes: int | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Targets of a random tanh net: y = teacher(x) + noise N(0, 1), x ~ N(0, 1); `classes`: argmax instead.

    >>> teacher(samples=10).y.shape, teacher(samples=50, classes=3).classes
    ((10, 1), 3)
    """
    sizes = {"samples": samples, "inputs": inputs, "outputs": outputs, "depth": depth, "width": width}
    for name, value in sizes.items():
        check_whole(f"data.{name}", value, low=5 if name == "samples" else 1)
    if classes is not None:
        check_whole("data.classes", classes, low=2, note=" or null for regression")
    check_number("data.noise", noise, low=0.0)
    draw = rng.numpy_stream(seed, "teacher")
    x = draw.standard_normal((samples, inputs))
    h = x
    for _ in range(depth):
        # gain 1.5 keeps the tanh units away from the linear regime, so that the teacher is not a linear map
        h = np.tanh(h @ draw.standard_normal((h.shape[1], width)) * 1.5 / np.sqrt(h.shape[1]))
    y = h @ draw.standard_normal((width, classes or outputs)) / np.sqrt(width)
    y = y + noise * draw.standard_normal(y.shape)
    return Dataset(x, y.argmax(axis=1) if classes else y)


def npz(path: str | None = None, task: str = "auto") -> Dataset:
    """The user's arrays: `x` (N, n) numbers; `y` (N,) class numbers, or (N,) / (N, k) values.

    `task` auto: whole-number y are classes, others regression. Errors name the file and what is wrong.
    """
    check_choice("data.task", task, ("auto", "classification", "regression"))
    if path is None:
        raise InputError("data=npz needs data.path=FILE.npz with arrays x (N, n) and y (N,) or (N, k)")
    where = f"data.path={path}"
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{where}: no such file") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{where}: not a readable .npz of plain arrays ({reason})") from None
    for name in ("x", "y"):
        if name not in arrays:
            raise InputError(f"{where}: has {', '.join(arrays) or 'no arrays'}; needs x (N, n) and y (N,) or (N, k)")
    return checked(arrays["x"], arrays["y"], task, where)


def checked(x: np.ndarray, y: np.ndarray, task: str, where: str) -> Dataset:
    """A Dataset from somebody's arrays, or an InputError that says what is wrong with them."""
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "biuf":
            raise InputError(f"{where}: {name} has dtype {array.dtype}; numbers are needed")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise InputError(f"{where}: {name} has {bad} values that are NaN or infinite; all must be finite")
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise InputError(f"{where}: x has shape {x.shape} and y {y.shape}; needed are x (N, n) and y (N,) or (N, k)")
    if len(x) < 5 or x.shape[1] < 1 or (y.ndim == 2 and y.shape[1] < 1):
        raise InputError(f"{where}: x has shape {x.shape}; at least 5 samples and 1 feature are needed")
    x = x.astype(np.float64)
    whole = bool(np.all(y == np.round(y)))
    classes = task == "classification" or (task == "auto" and y.ndim == 1 and y.dtype.kind in "biu")
    if not classes:
        return Dataset(x, y.reshape(len(y), -1).astype(np.float64))
    if y.ndim != 1 or not whole or y.min() < 0 or y.max() < 1:
        raise InputError(f"{where}: classes must be whole numbers 0, 1, ... in y (N,), at least two of them")
    if y.max() >= len(y):
        raise InputError(f"{where}: y goes to {int(y.max())} with {len(y)} samples; number the classes 0, 1, ...")
    return Dataset(x, y.astype(np.int64))


LOADERS: dict[str, Callable[..., Dataset]] = {"digits": digits, "teacher": teacher, "npz": npz}
