"""Studies as frames in memory, with odd types, values, rows, columns and names."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from . import base, grammar

TYPES = (
    "object",
    "string",
    "category",
    "float32",
    "float64",
    "int64",
    "Int64",
    "boolean",
    "datetime64[ns]",
    "complex128",
)
ROWS = ("none", "one", "half", "twice", "shuffled", "repeated index")
COLUMNS = ("drop", "rename", "repeat", "null")
VALUES = (
    "!nan",
    "!inf",
    "!-inf",
    None,
    -1,
    0,
    1,
    2.5,
    10**18,
    -(2**63),
    1e300,
    1e-300,
    True,
    "",
    "x",
    "\ud800",
    "1",
    b"x",
    [1],
)


@dataclass(frozen=True)
class Study:
    """What a report is made of."""

    runs: pd.DataFrame
    history: pd.DataFrame
    study: dict[str, Any]
    folder: Path


def plain() -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The frames and the study.json of the base study, new objects each time."""
    files = base.study_files()
    runs, history = (pd.read_parquet(io.BytesIO(files[f"{name}.parquet"])) for name in ("runs", "history"))
    return runs, history, base.study_json()


def named(init: str, sharing: str) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The base study with other names of an initializer and of its sharing, in frames and study.json alike."""
    runs, history, study = plain()

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            words = {
                "eye": init,
                "none": sharing,
                "eye · none": f"{init} · {sharing}",
                "kaiming_normal · none": f"k · {sharing}",
            }
            return words.get(value, value)
        if isinstance(value, dict):
            return {key: renamed(one) for key, one in value.items()}
        return [renamed(one) for one in value] if isinstance(value, list) else value

    for column in ("arm", "setup", "init.name", "sharing.name"):
        runs[column] = runs[column].astype(object).map(renamed)
    study["arms"] = [renamed(arm) for arm in study["arms"]]
    return runs, history, study


def inputs() -> st.SearchStrategy[Any]:
    """Changes of the frames: (frame, what, which column, which row, to what)."""
    which = st.sampled_from(["runs", "runs", "history"])
    number = st.integers(0, 200)
    change = st.one_of(
        st.tuples(which, st.just("value"), number, number, st.one_of(st.sampled_from(VALUES), grammar.text())),
        st.tuples(which, st.just("all"), number, number, st.sampled_from(VALUES)),
        st.tuples(which, st.just("type"), number, number, st.sampled_from(TYPES)),
        st.tuples(which, st.just("rows"), number, number, st.sampled_from(ROWS)),
        st.tuples(which, st.just("column"), number, number, st.sampled_from(COLUMNS)),
    )
    how = st.sampled_from(["memory", "file", "versus"])
    return st.tuples(st.lists(change, min_size=1, max_size=3), st.one_of(st.just([]), grammar.edits(1)), how)


def changed(frame: pd.DataFrame, what: str, column: int, row: int, to: Any) -> pd.DataFrame:
    """A frame with one change; one that pandas itself refuses changes nothing."""
    if not len(frame.columns):
        return frame
    at = column % len(frame.columns)
    name = frame.columns[at]
    frame = frame.copy()
    try:
        if what == "rows":
            order = {"none": 0, "one": 1, "half": len(frame) // 2}.get(to, len(frame))
            frame = frame.sample(frac=1, random_state=0) if to == "shuffled" else frame.iloc[:order]
            if to in ("twice", "repeated index"):
                frame = pd.concat([frame, frame], ignore_index=to == "twice")
        elif what == "column":
            if to == "drop":
                frame = frame.drop(columns=name)
            elif to == "rename":
                frame = frame.rename(columns={name: f"{name}x"})
            elif to == "repeat":
                frame = pd.concat([frame, frame[[name]]], axis=1)
            else:
                frame[name] = None
        elif what == "type":
            frame[name] = frame[name].astype(to)
        elif len(frame):
            cells = list(frame[name].astype(object))
            rows = range(len(cells)) if what == "all" else [row % len(cells)]
            for i in rows:
                cells[i] = grammar.alive(to)
            frame[name] = pd.Series(cells, index=frame.index)
    except (TypeError, ValueError, ArithmeticError):
        pass
    return frame


def run(given: tuple[list[Any], list[Any], str], folder: Path) -> None:
    """Compare, and report, from memory or through files; or put the study beside its original."""
    from initbench import report
    from initbench.study.results import Results

    changes, edits, how = given
    runs, history, study = plain()
    frames = {"runs": runs, "history": history}
    for name, *change in changes:
        frames[name] = changed(frames[name], *change)
    study = grammar.edited(study, edits)
    if how == "file":
        from .targets import read

        files = {"study_json": json.dumps(study).encode()}
        for name, frame in frames.items():
            room = io.BytesIO()
            try:
                frame.to_parquet(room)
            except Exception:  # what parquet cannot hold never comes from a file
                return
            files[f"{name}_parquet"] = room.getvalue()
        read(base.write_study(folder, **files))
        return
    results = Results(frames["runs"], frames["history"], study, folder / "study")
    if how == "versus":
        report.build_versus(base.write_study(folder / "whole"), results, formats=("csv", "md"))
        return
    results.compare()
    report.build(results, formats=("csv", "md"))
