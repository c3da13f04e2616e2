"""Columns of frames whose values come from configurations."""

from __future__ import annotations

import pandas as pd


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
