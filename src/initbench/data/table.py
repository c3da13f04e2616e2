"""A person's table, CSV or Parquet: a target column, or several, and all other columns as features."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initbench.config.checks import check, check_choice, one_of
from initbench.data.dataset import Dataset, checked
from initbench.data.npz import HELD_BY, check_file, check_kind
from initbench.errors import InputError, refusal, shown
from initbench.memory import check_fits

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t"
PARSED = 4  # times its size on disk that a text file takes while it is read
NAMED = 8  # columns, or classes, that a sentence lists


def csv_file(path: str | None = None, target: str = "own", task: str = "auto", standardize: bool = True) -> Dataset:
    """A table of text, one sample a line: comma, semicolon, tab or blanks between columns; a first line of numbers is a sample, and
    the columns are then called 0, 1, ..."""
    return table("csv", path, target, task, standardize)


def parquet(path: str | None = None, target: str = "own", task: str = "auto", standardize: bool = True) -> Dataset:
    """A table in a Parquet file, one sample a row."""
    return table("parquet", path, target, task, standardize)


def table(kind: str, path: str | None, target: object, task: str, standardize: bool) -> Dataset:
    """The data set of a table. `target`: a column or a list of them; `own` the last one, `input` none. Classes may be words:
    they are numbered in sorted order."""
    check_choice("data.task", task, ("auto", "classification", "regression"))
    check(isinstance(standardize, bool), "data.standardize", standardize, "true or false")
    if path is None:
        raise refusal(f"data={kind}", "it needs data.path", f"add data.path=FILE.{kind}, and data.target=COLUMN")
    where = f"data.path={shown(path)}"
    check_file(path, where, kind)
    check_kind(path, where, kind)
    frame = (read_csv if kind == "csv" else read_parquet)(path, where)
    frame.columns = [str(name).strip() for name in frame.columns]
    check_columns(frame, where)
    if target == "input":
        if "input" in frame:
            raise refusal(
                "data.target=input", "it means an autoencoder, and a column has this name", "rename the column"
            )
        x = numbers(frame, where)
        return Dataset(x.astype(np.float64), x.astype(np.float64), standardized=standardize)
    wanted = target_columns(target, list(frame.columns))
    y, text = targets(frame[wanted], task, where)
    data = checked(numbers(frame.drop(columns=wanted), where), y, task, where, standardized=standardize)
    column = f"{where}: data.target={','.join(wanted)}"
    taken = [text] if text else [data.taken.removeprefix(f"{where}: ")] if data.taken else []
    return Dataset(data.x, data.y, None, standardize, data.cautions, "; ".join([column, *taken]))


def read_csv(path: str, where: str) -> pd.DataFrame:
    """The file as a frame; whether its first line is a head is seen from it."""
    import pandas as pd

    check_fits(where, HELD_BY * PARSED * Path(path).stat().st_size, "give fewer samples or features")
    try:
        first = first_line(path)
        separator = max(SEPARATORS, key=first.count)
        cells = next(csv.reader([first], delimiter=separator), []) if separator in first else first.split()
        head = None if cells and all(map(is_number, cells)) else 0
        how: dict[str, Any] = {
            "sep": separator if separator in first else r"\s+",
            "header": head,
            "skipinitialspace": True,
        }
        return pd.read_csv(path, encoding="utf-8-sig", **how)
    except InputError:
        raise
    except Exception as error:  # of kinds that pandas, gzip and codecs raise
        raise unreadable(where, error, "one line a sample, the same number of columns in each") from None


def first_line(path: str) -> str:
    """The first line that is not empty."""
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig") as file:
        return next((line.strip("\r\n") for line in file if line.strip()), "")


def is_number(text: str) -> bool:
    """Whether a cell holds a number.

    >>> is_number(" 1e-3 "), is_number("age"), is_number("")
    (True, False, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_parquet(path: str, where: str) -> pd.DataFrame:
    """The file as a frame."""
    import pyarrow.parquet as pq

    try:
        about = pq.read_metadata(path)
        check_fits(where, HELD_BY * 16 * about.num_rows * about.num_columns, "give fewer samples or features")
        return pq.read_table(path).to_pandas()
    except InputError:
        raise
    except Exception as error:  # a damaged file makes Arrow raise nearly anything
        raise unreadable(where, error, "write it anew with DataFrame.to_parquet(index=False)") from None


def unreadable(where: str, error: Exception, do: str) -> InputError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return refusal(where, f"cannot be read ({shown(reason)})", do)


def check_columns(frame: pd.DataFrame, where: str) -> None:
    """Enough samples and columns, each name once, and no numbers of rows among them."""
    names = list(frame.columns)
    if len(names) < 2 or len(frame) < 5:
        size = f"{len(frame)} samples and {len(names)} columns"
        raise refusal(where, size, "give at least 5 samples and 2 columns, comma, semicolon or tab between them")
    if len(set(names)) < len(names):
        raise refusal(where, "two columns have the same name", "rename one")
    first = frame.iloc[:, 0]
    if (
        names[0] in ("", "Unnamed: 0", "__index_level_0__")
        and first.dtype.kind in "iu"
        and first.is_monotonic_increasing
    ):
        do = "write the file without them, DataFrame.to_csv(..., index=False)"
        raise refusal(where, "its first column has no name and numbers the rows", do)


def target_columns(target: object, names: Sequence[str]) -> list[str]:
    """The columns that `data.target` names.

    >>> target_columns("own", ["a", "b"]), target_columns(("a", "c"), ["a", "b", "c"]), target_columns(0, ["0", "1"])
    (['b'], ['a', 'c'], ['0'])
    """
    if target is None or target == "own":
        return [names[-1]]
    wanted = [str(one) for one in (target if isinstance(target, (list, tuple)) else [target])]
    for one in wanted:
        if one not in names:
            near = one_of(one, names) if len(names) <= 4 * NAMED else f"the columns are {listed(names)}"
            raise refusal(f"data.target={shown(one)}", "no such column", near)
    if len(set(wanted)) == len(names):
        raise refusal(f"data.target={shown(','.join(wanted))}", "no column is left as a feature", "name fewer")
    return list(dict.fromkeys(wanted))


def numbers(frame: pd.DataFrame, where: str) -> np.ndarray:
    """The columns as one array (N, n); refused where some hold no numbers, or none in some rows."""
    words = [name for name in frame.columns if frame[name].dtype.kind not in "biuf"]
    if words:
        wrong = f"{'column' if len(words) == 1 else 'columns'} {listed(words)} hold{'s' * (len(words) == 1)} no numbers"
        do = f"drop them, or number them: frame = pandas.get_dummies(frame, columns={words[:NAMED]}, dtype=int)"
        raise refusal(where, wrong, do)
    check_filled(frame, where)
    values = frame.to_numpy()
    return values.astype(np.float64) if values.dtype.kind == "O" else values


def check_filled(frame: pd.DataFrame, where: str) -> None:
    """No empty cell."""
    empty = frame.isna()
    if empty.any(axis=None):
        columns = listed([name for name in frame.columns if empty[name].any()])
        wrong = f"{int(empty.any(axis=1).sum())} of {len(frame)} rows have empty cells (in {columns})"
        raise refusal(where, wrong, "fill or drop them, e.g. frame = frame.dropna()")


def targets(frame: pd.DataFrame, task: str, where: str) -> tuple[np.ndarray, str]:
    """y (N,) or (N, k), and how words were numbered."""
    check_filled(frame, where)
    if frame.shape[1] > 1 or frame.iloc[:, 0].dtype.kind in "biuf":
        values = numbers(frame, where)
        return values[:, 0] if values.shape[1] == 1 else values, ""
    column = frame.iloc[:, 0]
    if task == "regression" or column.dtype.kind in "mM":
        raise refusal(where, f"column {column.name} holds no numbers", "name another data.target, or data.task=auto")
    words, y = np.unique(column.astype(str).to_numpy(dtype=str), return_inverse=True)
    if len(words) > len(column) // 2:
        wrong = f"column {column.name} holds {len(words)} different words in {len(column)} rows, too many for classes"
        raise refusal(where, wrong, "name another data.target")
    return y, f"taken as {len(words)} classes, in this order: {listed(words.tolist())}"


def listed(names: Sequence[str]) -> str:
    """The first of some names.

    >>> listed(["a", "b"])
    'a, b'
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(shown(name) for name in names[:NAMED]) + more
