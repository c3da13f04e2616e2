"""Columns of frames whose values come from configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def dropped_of(arm: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """The learning rates that an arm of study.json has dropped, each with the seeds it was tried at."""
    return arm["config"].get("dropped") or []


def with_dropped(runs: pd.DataFrame, arms: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The runs with a column that says whether each is at a learning rate that its arm has dropped, where any has."""
    gone = {(arm["label"], lr) for arm in arms for lr, _ in dropped_of(arm)}
    if not gone:
        return runs
    return runs.assign(lr_dropped=[pair in gone for pair in zip(runs["arm"], runs["optim.lr"])])


def plain_column(column: pd.Series) -> pd.Series:
    """A column of mixed types as text, so that it can be stored; whole numbers and numbers stay what they are."""
    if column.dtype != object:
        return column
    present = [value for value in column if value is not None and value == value]
    if all(isinstance(value, bool) for value in present) and present:
        return column.astype("boolean")
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in present):
        return column.astype(float)
    return column.map(lambda value: None if value is None or value != value else str(value))
