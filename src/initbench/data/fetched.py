"""Data that take long to make or to fetch: MNIST-1D by its own package, OpenML's sets by scikit-learn.

Both are kept as small .npz files afterwards: every worker process of a study loads its data anew.
"""

from __future__ import annotations

import socket
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from initbench import rng
from initbench.config.checks import check_whole
from initbench.data.dataset import Dataset, checked
from initbench.disk import cache_folder, published
from initbench.errors import refusal
from initbench.memory import check_fits
from initbench.own.code import state_kept

NETWORK_TIMEOUT = 5.0  # seconds without an answer
ALIASES = {"mnist": "mnist_784", "fashion_mnist": "Fashion-MNIST", "fashion-mnist": "Fashion-MNIST"}


def kept(file: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of `file`, or those of `make`, which are then kept there; a torn file is made anew.

    A folder that cannot be written only costs the time to make them again.
    """
    try:
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except Exception:  # absent, torn, of another kind: whatever is wrong with it, it is made again
        arrays = dict(make())
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with published(file) as new, new.open("wb") as out:
            np.savez(out, **arrays)  # type: ignore[arg-type]
    return arrays


def mnist1d(samples: int = 5000, seed: int = 42, cache: str | None = None) -> Dataset:
    """MNIST-1D (Greydanus 2020): 40 numbers a sample, 10 classes; nets that are linear reach about 32%.

    Its own package makes it, the defaults are its published set; its 80/20 split is not used, each seed has its own.
    `samples` a multiple of 10, the same number of each class.

    >>> mnist1d(samples=50, cache=tempfile.mkdtemp()).x.shape
    (50, 40)
    """
    check_whole("data.samples", samples, low=20)
    if samples % 10:
        raise refusal(
            f"data.samples={samples}", "the 10 classes cannot have equal numbers of samples", "must be a multiple of 10"
        )
    check_whole("data.seed", seed, low=0)

    def make() -> dict[str, np.ndarray]:
        with state_kept(environment=False):  # it seeds the global generators
            from mnist1d.data import get_dataset_args, make_dataset

            args = get_dataset_args()
            args.num_samples, args.seed = samples, seed
            made = make_dataset(args)
        return {name: np.concatenate([made[name], made[f"{name}_test"]]) for name in ("x", "y")}

    check_fits(f"data.samples={samples}", 1000 * samples, "give fewer")  # 40 numbers, and what making them takes
    folder = cache_folder() or Path(tempfile.gettempdir()) if cache is None else Path(cache).expanduser()
    arrays = kept(folder / f"mnist1d-{version('mnist1d')}-{samples}-{seed}.npz", make)
    return Dataset(arrays["x"].astype(np.float64), arrays["y"].astype(np.int64))


def openml(
    dataset: str = "mnist",
    version: int = 1,
    samples: int | None = None,
    seed: int = 0,
    cache: str | None = None,
) -> Dataset:
    """A data set of OpenML by its name there; mnist and fashion_mnist are understood too.

    Fetched once by scikit-learn (its own folder, or `cache`); later runs need no network. `samples`: that many,
    drawn by `seed`; null: all. Targets that are words or whole numbers become classes in sorted order. Raises
    InputError, within seconds, if the set is not there and there is no network.
    """
    from sklearn.datasets import get_data_home

    name = ALIASES.get(str(dataset).lower(), str(dataset))
    check_whole("data.version", version, low=1)
    if samples is not None:
        check_whole("data.samples", samples, low=5, note=" or null for all")
    folder = Path(get_data_home(str(Path(cache).expanduser()) if cache is not None else None))
    where = f"data=openml data.dataset={dataset}"
    arrays = kept(folder / f"initbench-{name}-{version}.npz", lambda: from_openml(name, version, folder, where))
    x, y = arrays["x"], arrays["y"]
    if samples is not None:
        if samples > len(x):
            raise refusal(
                f"data.samples={samples}",
                f"{dataset} has {len(x)} samples",
                f"must be {len(x)} or fewer, or null for all",
            )
        chosen = np.sort(rng.numpy_stream(seed, "openml").permutation(len(x))[:samples])
        x, y = x[chosen], y[chosen]
    if x.dtype == np.uint8:  # pixels stay bytes: 70,000 images as float64 would be 440 MB in every process
        return replace(checked(x[:, :1], y, "auto", where), x=x)
    return checked(x, y, "auto", where)


def from_openml(name: str, version: int, folder: Path, where: str) -> dict[str, np.ndarray]:
    """x (N, n) and y (N,) as scikit-learn brings them, in the smallest of uint8 and float64 that holds them."""
    from sklearn.datasets import fetch_openml

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # parser: the default one breaks with pandas 3.1 and later
            found = fetch_openml(
                name, version=version, data_home=str(folder), as_frame=False, parser="liac-arff", n_retries=1, delay=0.1
            )
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise refusal(
            where,
            f"not in {folder} and cannot be fetched ({type(error).__name__}: {reason})",
            "run once with a network connection, or set data.cache=FOLDER to where scikit-learn keeps it",
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    try:
        x, y = np.asarray(found.data, dtype=np.float64), np.asarray(found.target)
    except (TypeError, ValueError) as error:
        raise refusal(where, f"its features are not all numbers ({error})", "choose a data set of numbers") from None
    return {"x": as_bytes(x), "y": y if y.dtype.kind == "f" else np.unique(y.astype(str), return_inverse=True)[1]}


def as_bytes(x: np.ndarray) -> np.ndarray:
    """The same numbers as uint8 if they all are whole and from 0 to 255.

    >>> as_bytes(np.array([0.0, 255.0])).dtype, as_bytes(np.array([0.5])).dtype
    (dtype('uint8'), dtype('float64'))
    """
    with np.errstate(invalid="ignore"):
        small = x.astype(np.uint8)
    return small if np.array_equal(small, x) else x
