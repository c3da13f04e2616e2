"""What MLflow shows beside the numbers: the data set of each arm, and the leaderboard as a table of its viewer."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

TABLE = "leaderboard.json"  # of the run `report`
TABLE_TAG, TABLE_VALUE = "mlflow.loggedArtifacts", json.dumps([{"path": TABLE, "type": "table"}])


class Data(NamedTuple):
    """A data set as MLflow keeps it: one with the same name and digest is the same in the whole experiment."""

    name: str
    digest: str
    source: str  # its options, as JSON


def data_of(study: Mapping[str, Any]) -> dict[str, Data]:
    """Arm key -> the data set that the arm was trained on, where it is known.

    >>> arm = {"arm_key": "00ff", "data_hash": "a1b2", "config": {"data": {"name": "digits", "order": "own"}}}
    >>> data_of({"arms": [arm, {"arm_key": "0aff"}]})
    {'00ff': Data(name='digits', digest='a1b2', source='{"name": "digits", "order": "own"}')}
    """
    out = {}
    for arm in study.get("arms", []):
        options = (arm.get("config") or {}).get("data") or {}
        if arm.get("arm_key") and arm.get("data_hash") and options.get("name"):
            out[str(arm["arm_key"])] = Data(
                str(options["name"]), str(arm["data_hash"]), json.dumps(options, default=str)
            )
    return out


def table_of(file: Path) -> dict[str, list[Any]] | None:
    """A CSV file as the columns and rows of MLflow's tables; None without one. What never happened is "inf" there too, since
    JSON has no infinity.
    """
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    return {"columns": head, "data": [[number(text) for text in row] for row in rows]}


def number(text: str) -> float | str | None:
    """A cell as JSON holds it.

    >>> number("70.0"), number("inf"), number("eye"), number("")
    (70.0, 'inf', 'eye', None)
    """
    try:
        value = float(text)
    except ValueError:
        return text or None
    return value if abs(value) < float("inf") else text if value == value else None
