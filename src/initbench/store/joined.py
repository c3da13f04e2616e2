"""Runs and histories of several studies as those of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from initbench.disk import published
from initbench.errors import InputError, refusal
from initbench.store.columns import plain_column, with_dropped
from initbench.store.history import EMPTY, HISTORY_SCHEMA, History, HistoryFile, names_of, writing

# columns that another command may have otherwise for the same run
OF_THE_COMMAND = ("arm", "setting", "engine.name", "lr_dropped")


class Part(NamedTuple):
    """One of the studies, by the name a person gave it."""

    name: str
    runs: pd.DataFrame
    history: History
    study: Mapping[str, Any]


def merged_runs(parts: Sequence[Part], arms: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, list[int]]:
    """The runs of all parts, arm by arm, by seed and learning rate, and the part that each comes from: of a run that
    failed in one part, another."""
    runs = pd.concat([part.runs for part in parts], ignore_index=True)
    place = {arm["arm_key"]: i for i, arm in enumerate(arms)}
    by = pd.DataFrame(
        {
            "place": runs["arm_key"].astype(str).map(place),
            "seed": runs["seed"],
            "lr": runs["optim.lr"],
            "failed": runs["status"].astype(str) == "failed",
            "part": np.repeat(np.arange(len(parts)), [len(part.runs) for part in parts]),
        }
    )
    order = by.sort_values(by.columns.tolist(), kind="stable").index
    kept = order[~runs["run"].loc[order].duplicated().to_numpy()]
    check_same(parts, runs[~by["failed"]])
    runs, owner = runs.loc[kept].reset_index(drop=True), by["part"].loc[kept].tolist()
    for column, name in (("arm", "label"), ("setting", "setting")):
        runs[column] = runs["arm_key"].astype(str).map({arm["arm_key"]: arm[name] for arm in arms})
    runs = runs.drop(columns="lr_dropped", errors="ignore").apply(plain_column)
    return with_dropped(runs, arms), owner


def check_same(parts: Sequence[Part], runs: pd.DataFrame) -> None:
    """Refuse a run with other values in another part."""
    twice = runs[runs.duplicated("run", keep=False)].drop(columns=[*OF_THE_COMMAND], errors="ignore")
    if not len(twice):
        return
    by_run = twice.groupby(twice["run"].astype(str), sort=False)
    for name in map(str, twice):
        values = by_run[name].nunique(dropna=False)
        if (values > 1).any():
            raise other_values(parts, runs, str(values.index[values > 1][0]), name)


def other_values(parts: Sequence[Part], runs: pd.DataFrame, run: str, what: str) -> InputError:
    row = runs[runs["run"].astype(str) == run].iloc[0]
    names = " and ".join(part.name for part in parts if run in set(part.runs["run"].astype(str)))
    wrong = f"cannot be merged: {row['arm']}, seed {row['seed']}, lr {row['optim.lr']:g} has another {what} in them"
    return refusal(names, wrong, "train it on one machine only, or find out why the two differ")


@dataclass(frozen=True)
class Joined(HistoryFile):
    """The histories of several studies as one, read as they are asked for: of each run, its own part's."""

    parts: tuple[History, ...] = ()
    runs: tuple[str, ...] = ()  # in the order of runs.parquet
    owner: tuple[int, ...] = ()  # the part of each

    @cached_property
    def metrics(self) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for part in self.parts:
            for name, whole_net in names_of(part).items():
                found[name] = found.get(name, False) or whole_net
        return dict(sorted(found.items()))

    @property
    def columns(self) -> list[str]:  # type: ignore[override]
        return list(HISTORY_SCHEMA.names)

    @property
    def empty(self) -> bool:
        return all(part.empty for part in self.parts)

    def frame(self) -> pd.DataFrame:
        """All rows, metric by metric, as the file of a study that is not large has them."""
        parts = [self.metric(name) for name in self.metrics]
        if not parts:
            return EMPTY.copy()
        rows = pd.concat([part.astype({"run": str, "metric": str}) for part in parts], ignore_index=True)
        for name, known in (("run", self.runs), ("metric", tuple(self.metrics))):
            rows[name] = pd.Categorical(rows[name], categories=pd.Index(known))
        return self._typed(rows)

    def _where(self, column: str, value: Any) -> pd.DataFrame:
        place = pd.Index(self.runs)
        owner = np.append(self.owner, -1)
        found, codes = [], []
        for i, part in enumerate(self.parts):
            rows = part[part[column] == value] if isinstance(part, pd.DataFrame) else part._where(column, value)
            run = rows["run"].astype("category").cat
            code = np.append(place.get_indexer(run.categories.astype(str)), -1)[run.codes.to_numpy()]
            own = owner[code] == i
            found.append(rows[own])
            codes.append(code[own])
        code = np.concatenate(codes)
        order = np.argsort(code, kind="stable")  # inside a run as they were
        rows = pd.concat(found, ignore_index=True).iloc[order].reset_index(drop=True)
        run = pd.Categorical.from_codes(code[order], categories=pd.Index(self.runs))
        rows["run"] = run.remove_unused_categories()
        rows["metric"] = rows["metric"].astype("category").cat.remove_unused_categories()
        return self._typed(rows)

    @staticmethod
    def _typed(rows: pd.DataFrame) -> pd.DataFrame:
        types = {name: kind for name, kind in EMPTY.dtypes.items() if name not in ("run", "metric")}
        return rows.astype(types | {"run": "category", "metric": "category"})

    def save(self, path: Path) -> None:
        """Write history.parquet."""
        with published(path) as new, writing(new) as add:
            for name in self.metrics:
                add(name, table_of(self.metric(name)))


def table_of(rows: pd.DataFrame) -> pa.Table:
    """Rows of a history as Arrow holds them: a value that is no number stays one, and is not absent."""
    arrays = [
        pa.array(rows[field.name].to_numpy() if field.name == "value" else rows[field.name], field.type)
        for field in HISTORY_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=HISTORY_SCHEMA)


def check_doubles(parts: Sequence[Part], history: Joined) -> None:
    """Refuse a run that was measured otherwise in another part."""
    owner = dict(zip(history.runs, history.owner))
    for i, part in enumerate(parts):
        good = set(part.runs.loc[part.runs["status"].astype(str) != "failed", "run"].astype(str))
        twice = tuple(run for run in history.runs if run in good and owner[run] != i)
        if not twice:
            continue
        own, other = (
            Joined(history.path, parts=history.parts, runs=twice, owner=those)
            for those in (tuple(owner[run] for run in twice), (i,) * len(twice))
        )
        for name in history.metrics:
            one, two = own.metric(name), other.metric(name)
            if not one.equals(two):
                runs = pd.concat([part.runs for part in parts], ignore_index=True)
                unlike = next(run for run in twice if not rows_of(one, run).equals(rows_of(two, run)))
                raise other_values(parts, runs, unlike, f"history of {name}")


def rows_of(rows: pd.DataFrame, run: str) -> pd.DataFrame:
    return rows[rows["run"] == run].reset_index(drop=True)
