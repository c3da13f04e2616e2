"""A person's table, CSV or Parquet: a target column, or several, and all other columns as features."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from initbench import grammar
from initbench.config.cautions import Caution
from initbench.config.checks import check, check_choice, one_of
from initbench.data.dataset import EXACT, Dataset, check_numbers, checked
from initbench.data.npz import HELD_BY, check_file, check_kind
from initbench.errors import InputError, refusal, shown
from initbench.memory import check_fits

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ",;\t"
PARSED = 4  # times its size on disk that a text file takes while it is read
COMMAS = r"[+-]?[\d.]*(,\d+)*([eE][+-]?\d+)?"  # a number that may have commas in it
FIRST = 1000  # rows that tell most columns from the target
NAMED = 8  # columns, or classes, that a sentence lists


def csv_file(path: str | None = None, target: str = "own", task: str = "auto", standardize: bool = True) -> Dataset:
    """A table of text, one sample a line: comma, semicolon, tab or blanks between columns. A first line of numbers, or one whose
    words occur again below, is a sample, and the columns are then called 0, 1, ..."""
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
        check_numbers("x", x, where)
        return Dataset(x.astype(np.float64), x.astype(np.float64), standardized=standardize)
    wanted = target_columns(target, list(frame.columns))
    y, text = targets(frame[wanted], task, where)
    features = frame.drop(columns=wanted)
    data = checked(numbers(features, where), y, task, where, standardized=standardize)
    column = f"{where}: data.target={shown(','.join(wanted))}"
    taken = [text] if text else [data.taken.removeprefix(f"{where}: ")] if data.taken else []
    cautions = (*data.cautions, *suspects(data, list(features.columns)))
    return Dataset(data.x, data.y, None, standardize, cautions, "; ".join([column, *taken]))


def read_csv(path: str, where: str) -> pd.DataFrame:
    """The file as a frame; whether its first line is a head is seen from it."""
    import pandas as pd

    check_fits(where, HELD_BY * PARSED * Path(path).stat().st_size, "give fewer samples or features")
    try:
        first = first_record(path)
        bare = re.sub(r'"[^"]*"', "", first)  # what stands in quotes separates nothing
        separator = max(SEPARATORS, key=bare.count)
        separated = separator in bare
        cells = (
            next(csv.reader(io.StringIO(first, newline=""), delimiter=separator), []) if separated else first.split()
        )
        cells = [cell.strip() for cell in cells]
        how: dict[str, Any] = {
            "sep": separator if separated else r"\s+",
            "skipinitialspace": True,
            "encoding": "utf-8-sig",
            "low_memory": False,  # else each part of a large file has types of its own: 1.50 and 1.5 are two words
        }
        with warnings.catch_warnings():  # rows longer than the head would lose cells, or shift all columns
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, header=0, index_col=False, **how)
        if is_sample(cells, frame):
            frame = pd.read_csv(path, header=None, **how)
        elif len(cells) == frame.shape[1]:  # pandas gives two columns of one name two names
            frame.columns = [cell or name for cell, name in zip(cells, frame.columns)]
    except InputError:
        raise
    except pd.errors.ParserWarning:
        wrong = f"some rows have more cells than the first line, which has {len(cells)}"
        raise refusal(where, wrong, "give each column a name in the first line") from None
    except UnicodeDecodeError as error:
        raise unreadable(where, error, "write it as UTF-8") from None
    except Exception as error:  # of kinds that pandas, gzip and codecs raise
        raise unreadable(where, error, "one line a sample, the same number of columns in each") from None
    check_commas(frame, path, how["sep"], where)
    return frame


def first_record(path: str) -> str:
    """The first line that is not empty, with the lines that a quoted cell of it goes on in."""
    opened = gzip.open if path.lower().endswith(".gz") else open
    record = ""
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        for line in file:
            record = (record + line).lstrip("\r\n")
            if record.strip() and record.count('"') % 2 == 0:
                break
    return record.strip("\r\n")


def is_sample(cells: Sequence[str], frame: pd.DataFrame) -> bool:
    """Whether the first line is a sample: numbers, and words that occur again in their column `frame`, which has the lines below.
    Numbers 0, 1, 2, ... are the names that pandas gives."""
    if not any(map(is_number, cells)) or (len(cells) > 2 and list(cells) == [str(i) for i in range(len(cells))]):
        return False
    columns = [frame.iloc[:, i] for i in range(min(len(cells), frame.shape[1]))]
    return all(
        is_number(cell) or (column.astype(str).str.strip() == cell).any() for cell, column in zip(cells, columns)
    ) and (
        all(map(is_number, cells))
        or all(column.dtype.kind in "iuf" for cell, column in zip(cells, columns) if is_number(cell))
    )


def check_commas(frame: pd.DataFrame, path: str, separator: str, where: str) -> None:
    """No numbers with commas in them, which would be read as words."""
    for i, name in enumerate(frame.columns):
        column = frame.iloc[:, i].dropna().astype(str).str.strip()
        if (
            frame.iloc[:, i].dtype.kind in "biufM"
            or not column.str.contains(",").any()
            or not column.str.fullmatch(COMMAS).all()
        ):
            continue
        means = f"sep={separator!r}, decimal=','" if separator != "," else "thousands=','"
        do = f"write it without: pandas.read_csv({path!r}, {means}).to_csv('new.csv', index=False)"
        raise refusal(where, f"column {shown(name)} holds numbers with commas, e.g. {shown(column.iloc[0])}", do)


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
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        about = pq.read_metadata(path)
        check_fits(where, HELD_BY * 16 * about.num_rows * about.num_columns, "give fewer samples or features")
        table = pq.read_table(path)
        for i, column in enumerate(table.schema):
            if pa.types.is_decimal(column.type):  # else objects, which are no numbers
                table = table.set_column(i, column.name, table.column(i).cast(pa.float64()))
        return table.to_pandas()
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
        if "own" in names[:-1]:
            raise refusal("data.target=own", "it means the last column, and another one has this name", "rename it")
        return [names[-1]]
    wanted = [str(one) for one in (target if isinstance(target, (list, tuple)) else [target])]
    if not wanted:
        raise refusal("data.target=[]", "it names no column", f"the columns are {listed(names)}")
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
    for name in frame.columns:  # together with fractions they would be rounded without a word
        low, high = frame[name].min(), frame[name].max()
        if frame[name].dtype.kind in "iu" and max(-int(low), int(high)) > EXACT:
            wrong = f"column {shown(name)} goes from {low} to {high}; whole numbers beyond 2^53 lose digits as float64"
            raise refusal(where, wrong, f"drop it, or subtract the lowest: frame[{name!r}] -= frame[{name!r}].min()")
    values = frame.to_numpy()
    return values.astype(np.float64) if values.dtype.kind == "O" else values


def check_filled(frame: pd.DataFrame, where: str) -> None:
    """No empty cell."""
    empty = frame.isna()
    if empty.any(axis=None):
        columns = listed([name for name in frame.columns if empty[name].any()])
        wrong = (
            f"{int(empty.any(axis=1).sum())} of {len(frame)} rows have cells that are empty, NA or None (in {columns})"
        )
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
    words, y = np.unique(np.char.strip(column.astype(str).to_numpy(dtype=str)), return_inverse=True)
    others = [word for word in words if not is_number(word)]
    if 2 * len(others) < len(words) and not all(map(str.isdigit, words)):  # one "?" makes words of all numbers
        said = f", and {len(others)} that are none (first {shown(others[0])})" if others else " as text"
        wrong = f"column {shown(column.name)} holds {len(words) - len(others)} different numbers{said}"
        raise refusal(where, wrong, "drop or replace these cells, or give classes names that are no numbers")
    if len(words) > len(column) // 2:
        wrong = f"column {column.name} holds {len(words)} different words in {len(column)} rows, too many for classes"
        raise refusal(where, wrong, "name another data.target")
    return y, f"taken as {len(words)} classes, in this order: {listed(words.tolist())}"


def suspects(data: Dataset, names: Sequence[str]) -> tuple[Caution, ...]:
    """Columns that number the rows, and columns that are the target over again."""
    x, y = data.x, data.y.reshape(len(data.y), -1)
    rows = [name for name, one in zip(names, x.T) if np.array_equal(one - one[0], np.arange(len(x)))]
    copies = [name for name, one in zip(names, x.T) if any(is_copy(one, other, data.classes) for other in y.T)]
    said = []
    if rows:
        text = f"column {listed(rows)} goes up by 1 from row to row, {len(x)} times: it says where a row stands in the file"
        said.append(Caution("A column numbers the rows", f"{text}; drop it unless it was measured."))
    if copies:
        text = f"column {listed(copies)} is the target over again in all {len(x)} rows"
        said.append(Caution("A column tells the target", f"{text}; drop it, or name another data.target."))
    return tuple(said)


def is_copy(x: np.ndarray, y: np.ndarray, classes: int | None) -> bool:
    """Whether a feature (N,) holds the target (N,): the same values, or one value for each class.

    >>> is_copy(np.array([7.0, 9.0, 7.0]), np.array([1, 0, 1]), 2), is_copy(np.array([7.0, 9.0, 8.0]), np.array([1, 0, 1]), 2)
    (True, False)
    """
    if classes is None:
        return np.array_equal(x, y)
    found = len(np.unique(y[:FIRST]))
    if found < 2 or len(np.unique(x[:FIRST])) != found:
        return False
    return len(np.unique(x)) == len(np.unique(y)) == len(np.unique(np.stack([x, y]), axis=1).T)


def listed(names: Sequence[str]) -> str:
    """The first of some names.

    >>> listed(["a", "b"])
    'a, b'
    """
    return grammar.listed([shown(name) for name in names], NAMED)
