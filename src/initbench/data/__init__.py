"""Named data -> arrays, and each seed's split of them.

`files`, `npz` and `table` read what is on disk, `made` draws it from a formula, `fetched` gets it from elsewhere once and keeps it;
`prepared` is what any of them can be made into. A new data set is a function there, its line in LOADERS, and
conf/data/<name>.yaml.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from initbench.config.checks import check_choice, one_of
from initbench.data.dataset import TRAIN_SHARE, Dataset, Split, inputs_of, split, targets_of
from initbench.data.fetched import mnist1d, openml
from initbench.data.files import SKLEARN, digits, npz, sklearn
from initbench.data.frame import standardizer
from initbench.data.made import linear, points, teacher
from initbench.data.prepared import PREPARED, prepared
from initbench.data.table import csv_file, parquet
from initbench.errors import refusal, shown

__all__ = ["LOADERS", "TRAIN_SHARE", "Dataset", "Split", "inputs_of", "load", "split", "standardizer", "targets_of"]

LOADERS: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "mnist1d": mnist1d,
    "teacher": teacher,
    "linear": linear,
    "points": points,
    "npz": npz,
    "csv": csv_file,
    "parquet": parquet,
    "openml": openml,
    "sklearn": sklearn,
}


def load(config: Mapping[str, Any]) -> Dataset:
    """The data set of an option: `name` chooses the loader, the other keys are its arguments.

    Known to all: `target` (input: an autoencoder), `order` (shuffled: features), `scaling` (range: features from 0 to 1),
    `validation` (none: every sample is trained on); `own` where nothing is asked.

    >>> load({"name": "digits"}).x.shape, load({"name": "digits", "target": "input"}).outputs
    ((1797, 64), 64)
    """
    args = {str(key): value for key, value in config.items() if key != "name"}
    check_choice("data", config.get("name"), (*LOADERS, *SKLEARN))
    for key, value in args.items():
        if any(isinstance(part, (dict, list)) for part in (value if isinstance(value, list) else [value])):
            raise refusal(f"data.{key}={shown(value)}", "nested", "give a number, a text, or a list of them")
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
    loader = LOADERS["sklearn" if name in SKLEARN else name]
    own = inspect.signature(loader).parameters
    known = {*own, *PREPARED} - {"name"}
    for key, _ in args:
        if key not in known:
            raise refusal(f"data.{key}", f"data={name} has no such key", one_of(key, sorted(known)))
    given = {key: value for key, value in args if key in own} | ({"name": name} if "name" in own else {})
    asked = {key: value for key, value in args if key not in own or value == "input"}  # of a table, target is a column
    return prepared(loader(**given), asked)
