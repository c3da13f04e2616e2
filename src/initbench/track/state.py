"""What a local store holds of a study, without MLflow: importing it takes longer than asking SQLite."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from urllib.parse import quote

from initbench.track.uri import sqlite_file

QUERIES = (
    "SELECT name, lifecycle_stage FROM experiments WHERE experiment_id = ?",
    "SELECT key, value FROM experiment_tags WHERE experiment_id = ? ORDER BY key",
    """SELECT runs.run_uuid, status, lifecycle_stage, key, value FROM runs LEFT JOIN tags ON tags.run_uuid = runs.run_uuid
       AND key IN ('initbench.content', 'mlflow.parentRunId') WHERE experiment_id = ? ORDER BY runs.run_uuid, key""",
)


def state(uri: str | None, experiment_id: str | None) -> str | None:
    """Digest of an experiment's runs in a SQLite file: two of the same need no fill. None where only MLflow can tell.

    >>> state(None, None), state("http://127.0.0.1:5000", "1")
    ('off', None)
    """
    if uri is None:
        return "off"
    file = sqlite_file(uri)
    if file is None or experiment_id is None:
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=1)) as database:
            rows = [database.execute(query, (int(experiment_id),)).fetchall() for query in QUERIES]
    except (sqlite3.Error, ValueError):
        return None
    return hashlib.blake2b(repr(rows).encode(), digest_size=16).hexdigest()
