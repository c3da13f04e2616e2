"""The one reader of study folders: what it returns has been checked, whoever wrote the folder.

A folder holds study.json, runs.parquet and history.parquet. Anything that the rest of the package relies on is checked
here, so that a file that is torn, edited, foreign or of a newer version is one line, not a traceback or a false result.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_numeric_dtype

from initbench.errors import InputError, refusal, shown
from initbench.memory import check_fits
from initbench.store.history import TYPES, History, HistoryFile, readable
from initbench.store.lock import written
from initbench.store.study_file import checked_study, wrong_study

FRAMES = ("runs.parquet", "history.parquet")
FILES = ("study.json", *FRAMES)
PLANNED = ".planned.json"  # the study.json of a command that has not ended
MOST_JSON = 2**28  # bytes; 10,000 arms are a tenth of it
GIVE = "give the frames of a study"
REBUILD = "run the study's command again, or copy the folder once more"
STATUSES = ("completed", "diverged", "failed")
TEXT = ("run", "arm", "arm_key", "setup", "setting", "status", "init.name", "sharing.name")
NUMBERS = {  # of runs.parquet: whether the column must be there
    "optim.lr": True, "seed": True, "steps_to_target": True,
    **dict.fromkeys(("diverged_at", "steps", "train.steps", "flops_per_step", "init_flops", "flops_to_target",
                     "stored_parameters", "used_parameters", "state_bytes", "gap_at_target", "loss/train", "loss/val",
                     "accuracy/train", "accuracy/val", "loss/batch"), False),
}  # fmt: skip
COMPLETE = ("optim.lr", "seed", "train.steps")  # numbers that every run has


# what everything reads of frames in memory
RUN_COLUMNS = ("run", "arm", "setup", "setting", "optim.lr", "seed", "status", "steps_to_target")
HISTORY_COLUMNS = ("run", "step", "metric", "layer", "value")


def read_folder(folder: Path) -> tuple[pd.DataFrame, HistoryFile, dict[str, Any]]:
    """(runs, history, study) of a study folder. Raises InputError that names the file, what is wrong and what to do."""
    try:
        return _read(folder)
    except InputError:
        if not written(folder):
            raise
    return _read(folder)


def _read(folder: Path) -> tuple[pd.DataFrame, HistoryFile, dict[str, Any]]:
    if not folder.is_dir():
        wrong = "no such folder" if not os.path.lexists(folder) else "not a folder"
        raise refusal(folder, wrong, f"a study folder holds {', '.join(FILES)}, e.g. outputs/default")
    missing = [name for name in FILES if not os.path.lexists(folder / name)]
    if missing:
        raise refusal(folder, f"not a study folder: it lacks {', '.join(missing)}", "name one, e.g. outputs/default")
    for name in FILES:
        check_file(folder / name)
    study = checked_study(folder / "study.json", MOST_JSON)
    for name, digest in (study.get("frames") or {}).items():
        if sha256(folder / name) != digest:
            raise refusal(folder / name, "its bytes are not those that study.json was written for", REBUILD)
    runs = _runs(folder / "runs.parquet", study)
    return runs, _history(folder / "history.parquet", runs), study


def check_file(path: Path) -> None:
    """Refuse what is no file with something in it: opening a pipe would wait for ever."""
    try:
        found = path.stat()
    except OSError as error:
        wrong = "a link to a file that is not there" if path.is_symlink() else error.strerror or str(error)
        raise refusal(path, wrong, REBUILD) from None
    if not stat.S_ISREG(found.st_mode):
        raise refusal(path, "a folder, not a file" if stat.S_ISDIR(found.st_mode) else "not a regular file", REBUILD)
    if not os.access(path, os.R_OK):
        raise refusal(path, "cannot be read (permission denied)", "make it readable, e.g. with chmod u+r")
    if found.st_size == 0:
        raise refusal(path, "empty", REBUILD)


def sha256(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """What study.json says of the frames beside it."""
    return {name: sha256(folder / name) for name in FRAMES if (folder / name).is_file()}


def _schema(path: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    """Metadata and columns; refused where the file claims more rows than can be read or columns that are not plain."""
    with readable(path):
        file = pq.ParquetFile(path)
        metadata, schema = file.metadata, file.schema_arrow
    for field in schema:
        if not _plain(field.type):
            raise refusal(path, f"column {shown(field.name)} is of type {shown(field.type)}", REBUILD)
    if len(set(schema.names)) < len(schema.names):
        raise refusal(path, "a column occurs twice", REBUILD)
    return metadata, schema


def _plain(kind: pa.DataType) -> bool:
    """Text, categories of text, numbers, true and false, or nothing: what the frames consist of."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = ("string", "large_string", "integer", "floating", "boolean", "null")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in tests)


def _text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


def _check_columns(path: Path, schema: pa.Schema, text: Mapping[str, bool], numbers: Mapping[str, bool]) -> None:
    """Required columns are there and of their kind; others of the same names are of their kind too."""
    missing = [name for name, required in (*text.items(), *numbers.items()) if required and name not in schema.names]
    if missing:
        raise refusal(path, f"column {', '.join(missing)} is missing", REBUILD)
    for names, test, word in ((text, _text, "text"), (numbers, _number, "numbers")):
        for name in names:
            if name in schema.names and not test(schema.field(name).type):
                raise refusal(path, f"column {name} must hold {word}, not {schema.field(name).type}", REBUILD)


def check_frames(runs: pd.DataFrame, history: History, study: Mapping[str, Any]) -> None:
    """Refuse frames in memory that lack what everything reads, have it twice, or hold what cannot be there."""
    for name, frame, columns in (("runs", runs, RUN_COLUMNS), ("history", history, HISTORY_COLUMNS)):
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise refusal(name, f"columns {', '.join(missing)} are missing", GIVE)
        if len(set(frame.columns)) < len(frame.columns):
            raise refusal(name, "a column is there twice", GIVE)
    wrong = wrong_study(study, whole=False)
    if wrong:
        raise refusal("study", wrong, GIVE)
    kinds = dict.fromkeys(TEXT, _all_text) | dict.fromkeys(NUMBERS, _all_numbers)
    for name, good in kinds.items():
        if name in runs and not good(runs[name]):
            raise refusal("runs", f"column {name} holds what cannot be there", GIVE)
    wrong = wrong_runs(runs)
    if wrong:
        raise refusal("runs", wrong, GIVE)
    if isinstance(history, pd.DataFrame):
        for name in HISTORY_COLUMNS:
            if not (_all_text if name in ("run", "metric") else _all_numbers)(history[name]):
                raise refusal("history", f"column {name} holds what cannot be there", GIVE)


def _all_text(column: pd.Series) -> bool:
    return bool(column.astype(object).map(lambda value: isinstance(value, str)).all())


def _all_numbers(column: pd.Series) -> bool:
    return is_numeric_dtype(column) or bool(column.isna().all())


def _runs(path: Path, study: Mapping[str, Any]) -> pd.DataFrame:
    metadata, schema = _schema(path)
    _check_columns(path, schema, dict.fromkeys(TEXT, True), NUMBERS)
    if metadata.num_rows == 0:
        raise refusal(path, "no run in it", "train the study first")
    check_fits(path, 8.0 * metadata.num_rows * metadata.num_columns, REBUILD)
    with readable(path):
        names = pq.ParquetFile(path, read_dictionary=list(TEXT)).read(columns=list(TEXT))
        longest = max(len(text or "") for column in names.columns for chunk in column.chunks
                      for text in chunk.dictionary.to_pylist())  # fmt: skip
        check_fits(path, float(metadata.num_rows * longest), REBUILD)  # one long name, repeated by reference
        runs = pd.read_parquet(path)
    if not isinstance(runs.index, pd.RangeIndex):  # pandas takes an index from the file's own metadata
        runs = runs.reset_index(drop=True)
    wrong = wrong_runs(runs, study)
    if wrong:
        raise refusal(path, wrong, REBUILD)
    return runs


def wrong_runs(runs: pd.DataFrame, study: Mapping[str, Any] | None = None) -> str:
    """What of the runs cannot be, in words; empty where nothing is wrong. `study`: what lists their arms."""
    for name in (*TEXT, *COMPLETE):
        if name in runs and runs[name].isna().any():
            return f"column {name} has empty cells"
    if runs["run"].duplicated().any():
        return f"run {shown(runs.loc[runs['run'].duplicated(), 'run'].iloc[0])} is there twice"
    unknown = set(runs["status"].astype(str)) - set(STATUSES)
    if unknown:
        return f"status {shown(min(unknown))} is none of {', '.join(STATUSES)}"
    labels = {} if study is None else {arm["label"]: arm for arm in study["arms"]}
    listed = runs.iloc[:0] if study is None else runs
    for arm, setup, setting in listed[["arm", "setup", "setting"]].drop_duplicates().itertuples(index=False):
        if arm not in labels:
            return f"arm {shown(arm)} is not in study.json"
        if (setup, setting) != (labels[arm]["setup"], labels[arm]["setting"]):
            return f"arm {shown(arm)} has another setup or setting than in study.json"
    arms = runs[["arm", "setup", "setting"]].drop_duplicates()
    if arms["arm"].duplicated().any() or arms[["setup", "setting"]].duplicated().any():
        return "an arm has two setups, or two arms have one setup and setting"
    for name in NUMBERS:
        if name in runs:
            values = runs[name].dropna().astype(float)
            may = name.startswith(("loss", "gap", "flops"))  # a diverged loss, or FLOPs that nobody could count
            if not may and ((values == float("inf")) | (values == float("-inf"))).any():
                return f"column {name} holds an infinite number"
            if not name.startswith(("loss", "gap")) and (values < 0).any():
                return f"column {name} holds a negative number"
            if name.startswith("accuracy") and (values > 1).any():
                return f"column {name} holds an accuracy above 1"
    if "lr_dropped" in runs and runs["lr_dropped"].dtype != bool:
        return "column lr_dropped must hold true and false"
    if runs.duplicated(["arm", "seed", "optim.lr"]).any():
        return "two runs of one arm have the same seed and learning rate"
    if (runs["seed"].astype(float) % 1 != 0).any():
        return "column seed holds a number that is not whole"
    if (runs.loc[runs["status"] == "failed", "steps_to_target"].notna()).any():
        return "a failed run has arrived at the target"
    return ""


def _history(path: Path, runs: pd.DataFrame) -> HistoryFile:
    """Checked by its columns and row groups, without reading its values: a history may be larger than the memory."""
    metadata, schema = _schema(path)
    numbers = {name: True for name in TYPES if name not in ("run", "metric")}
    _check_columns(path, schema, {"run": True, "metric": True}, numbers)
    for name in ("step", "layer"):
        kind = schema.field(name).type
        if not pa.types.is_integer(kind) and metadata.num_rows and not (name == "layer" and pa.types.is_null(kind)):
            raise refusal(path, f"column {name} must hold whole numbers, not {kind}", REBUILD)
    known = set(runs["run"].astype(str))
    at = {name: schema.names.index(name) for name in ("run", "step", "metric")}
    with readable(path):
        file = pq.ParquetFile(path, read_dictionary=["run"])
        for i in range(metadata.num_row_groups):
            group = metadata.row_group(i)
            check_fits(path, 8.0 * group.num_rows * metadata.num_columns, REBUILD)
            steps = group.column(at["step"]).statistics
            if steps is not None and steps.has_min_max and steps.min < 0:
                raise refusal(path, f"a step is negative ({steps.min})", REBUILD)
            column = file.read_row_group(i, columns=["run"])["run"]
            there = {name for chunk in column.chunks for name in chunk.dictionary.to_pylist()}
            if column.null_count or not there <= known:
                lost = "no run" if column.null_count else f"run {shown(min(there - known))}"
                wrong = f"values of {lost}" + ("" if column.null_count else ", which runs.parquet does not hold")
                raise refusal(path, wrong, REBUILD)
    return HistoryFile(path)
