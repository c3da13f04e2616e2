"""Writing a plan to the tables of MLflow in bulk: a local SQLite file, or PostgreSQL."""

from __future__ import annotations

import csv
import hashlib
import io
import time
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, ClassVar

import numpy as np

from initbench.track.inputs import Data
from initbench.track.records import ARM, CONTENT, KIND, PARENT, REPORT, RUN, Arm, Record, key_of
from initbench.track.store import ClientStore, Found, Stored, settled

AT_ONCE = 500  # runs whose rows are built, and written, at once
PATIENCE = 60.0  # seconds to wait for what another program has locked
WAIT, PAUSE = 600.0, 0.5  # seconds to wait for another command that writes the same study


@dataclass
class Change:
    """What a transaction writes: a run's rows, or another parent of it. The old rows of what is written are removed."""

    rows: list[tuple[str, Record, str | None]] = field(default_factory=list)  # (id, record, id of its arm)
    removed: list[str] = field(default_factory=list)
    moved: list[tuple[str, str | None]] = field(default_factory=list)  # right, but below another parent


class BulkStore(ClientStore):
    """Writes some arms with their runs in one transaction through MLflow's own SQLAlchemy engine and models.

    Not a public interface: `BulkStore.fits` says whether this MLflow has what is needed. That MLflow has opened the
    database says that its tables are those of the models: it refuses any other revision. None of the five tables has a
    number from a sequence, and nothing is computed by the database. Ids are derived from the experiment and the key, so
    that two writers cannot write a run twice.
    """

    _COLUMNS: ClassVar[dict[str, tuple[str, ...]]] = {
        "SqlRun": ("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status",
                   "start_time", "end_time", "source_version", "lifecycle_stage",
                   "artifact_uri", "experiment_id"),
        "SqlTag": ("key", "value", "run_uuid"),
        "SqlParam": ("key", "value", "run_uuid"),
        "SqlMetric": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
        "SqlLatestMetric": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
    }  # fmt: skip

    _EMPTY: ClassVar[dict[str, tuple[str, ...]]] = {"SqlRun": ("deleted_time",)}  # columns that stay so

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        from mlflow.store.tracking.dbmodels import models

        self.change = Change()
        self.engine = self.client._tracking_client.store.engine
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.tables = {name: getattr(models, name).__table__ for name in self._COLUMNS}

    @classmethod
    def fits(cls, client: Any, uri: str) -> bool:
        """Whether the store is a SQLite file or PostgreSQL and has exactly the tables and columns we write."""
        if uri.partition(":")[0].partition("+")[0] not in ("sqlite", "postgresql"):
            return False
        try:
            from mlflow.store.tracking.dbmodels import models
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            store = client._tracking_client.store
            if not isinstance(store, SqlAlchemyStore) or not hasattr(store, "engine"):
                return False
            columns = {n: {c.name for c in getattr(models, n).__table__.columns} for n in cls._COLUMNS}
            _ = models.SqlDataset, models.SqlInput  # their rows are copied
        except (ImportError, AttributeError):
            return False
        return all(columns[name] == {*wanted, *cls._EMPTY.get(name, ())} for name, wanted in cls._COLUMNS.items())

    def found(self) -> Stored:
        from sqlalchemy import select

        run, tag = self.tables["SqlRun"].c, self.tables["SqlTag"].c
        wanted = (KIND, ARM, RUN, REPORT, CONTENT, PARENT)
        of_runs = select(run.run_uuid, run.status, tag.key, tag.value).join_from(
            self.tables["SqlRun"], self.tables["SqlTag"], tag.run_uuid == run.run_uuid
        )
        here = (run.experiment_id == int(self.experiment_id)) & (run.lifecycle_stage == "active")
        rows: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        with self.engine.connect() as connection:
            for run_id, status, key, value in connection.execute(of_runs.where(here, tag.key.in_(wanted))):
                rows[run_id, status][key] = value
        stored: Stored = defaultdict(list)
        for (run_id, status), tags in rows.items():
            if key := key_of(tags):
                stored[key].append(Found(run_id, status, tags.get(CONTENT), tags.get(PARENT)))
        return stored

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Two commands that write one study find what is there one after the other; a SQLite file has its own lock."""
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        if self.sqlite:
            yield
            return
        digest = hashlib.blake2b(f"initbench {self.experiment_id}".encode(), digest_size=8).digest()
        with self.engine.connect() as connection:  # until its transaction ends, however this process does
            got = text("SELECT pg_try_advisory_xact_lock(:key)").bindparams(key=int.from_bytes(digest, signed=True))
            for _ in range(round(WAIT / PAUSE)):
                if connection.execute(got).scalar():
                    break
                connection.rollback()
                self.told(None)
                time.sleep(PAUSE)
            else:
                raise OSError(f"another command has been writing this study for {WAIT:g} s")
            try:
                yield
            finally:
                with suppress(SQLAlchemyError):
                    connection.rollback()

    def write(self, arms: Iterable[Arm], found: Stored) -> None:
        for arm in arms:
            self._add(arm, found)
            if len(self.change.rows) >= AT_ONCE:
                self._flush()
        self._flush()

    def _add(self, arm: Arm, found: Stored) -> None:
        def settle(record: Record, parent_id: str | None) -> str:
            old = found.get(record.key, [])
            same = settled(record, old)
            run_id = same.run_id if same else old[0].run_id if old else self._id(record.key)
            self.change.removed.extend(f.run_id for f in old if f.run_id != run_id)
            if same is None:
                self.change.removed.append(run_id)
                self.change.rows.append((run_id, record, parent_id))
                return run_id
            if same.parent != parent_id:
                self.change.moved.append((run_id, parent_id))
            self.told(False)
            return run_id

        parent_id = settle(arm.parent, None)
        for run in arm.runs:
            settle(run, parent_id)

    def _flush(self) -> None:
        """Write what waits, in one transaction: the indices of a table are in memory once, not once an arm."""
        change, self.change = self.change, Change()
        if change.rows or change.removed or change.moved:
            self._transaction(change)

    def _id(self, key: str) -> str:
        return hashlib.blake2b(f"{self.experiment_id} {key}".encode(), digest_size=16).hexdigest()

    def _transaction(self, change: Change) -> None:
        with self._connected() as connection:
            for first in range(0, len(change.removed), AT_ONCE):
                gone = change.removed[first : first + AT_ONCE]
                for name in reversed(self._COLUMNS):
                    table = self.tables[name]
                    connection.execute(table.delete().where(table.c.run_uuid.in_(gone)))
            tag = self.tables["SqlTag"]
            for run_id, parent_id in change.moved:
                of_run = (tag.c.run_uuid == run_id) & (tag.c.key == PARENT)
                connection.execute(tag.update().where(of_run).values(value=parent_id))
            for first in range(0, len(change.rows), AT_ONCE):
                for name, values in self._values(change.rows[first : first + AT_ONCE]):
                    if values:
                        self._insert(connection, name, values)
                        self.told(None)
        for _ in change.rows:
            self.told(True)

    def _set_tags(self, tags: Iterable[tuple[str, str, str]]) -> None:
        tag, listed = self.tables["SqlTag"], list(tags)
        by_name: dict[str, list[str]] = defaultdict(list)
        for run_id, name, _ in listed:
            by_name[name].append(run_id)
        with self._connected() as connection:
            for name, ids in by_name.items():
                for first in range(0, len(ids), AT_ONCE):
                    of_runs = tag.c.run_uuid.in_(ids[first : first + AT_ONCE])
                    connection.execute(tag.delete().where((tag.c.key == name) & of_runs))
            if listed:
                self._insert(connection, "SqlTag", [(name, value, run_id) for run_id, name, value in listed])
                self.told(None)

    def _log_data(self, arms: Iterable[tuple[str, Data]]) -> None:
        """The first arm of a data set by the client; the others get the same row: a thousand requests take ten seconds."""
        from mlflow.store.tracking.dbmodels.models import SqlDataset, SqlInput
        from sqlalchemy import select

        by_data: dict[Data, list[str]] = defaultdict(list)
        for run_id, data in arms:
            by_data[data].append(run_id)
        rows, of_set = SqlInput.__table__, SqlDataset.__table__.c
        for data, (first, *others) in by_data.items():
            super()._log_data([(first, data)])
            here = (of_set.experiment_id == int(self.experiment_id)) & (of_set.name == data.name)
            sets = select(of_set.dataset_uuid).where(here, of_set.digest == data.digest)
            with self._connected() as connection:
                of_first = (rows.c.destination_id == first) & rows.c.source_id.in_(sets)
                row = connection.execute(select(rows).where(of_first)).mappings().one()
                copies = [{**row, "input_uuid": uuid.uuid4().hex, "destination_id": run_id} for run_id in others]
                if copies:
                    connection.execute(rows.insert(), copies)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """One transaction, with the settings of MLflow's own sessions."""
        with self.engine.connect() as connection:
            if self.sqlite:
                for pragma in ("foreign_keys = ON", "busy_timeout = 20000"):
                    connection.exec_driver_sql(f"PRAGMA {pragma}")
                connection.commit()
            with connection.begin():
                if not self.sqlite:
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{PATIENCE:g}s'")
                yield connection

    def _insert(self, connection: Any, name: str, values: list[tuple]) -> None:
        """Rows of a table: to PostgreSQL as one stream, to SQLite as tuples, which is 3 times faster than a dict per row."""
        wanted = self._COLUMNS[name]
        table = self.tables[name]
        if not self.sqlite:
            if not _streamed(connection, table, wanted, values):
                connection.execute(table.insert(), [dict(zip(wanted, row)) for row in values])
            return
        sql = table.insert().compile(dialect=self.engine.dialect, column_keys=wanted)
        order = [wanted.index(c) for c in sql.positiontup or wanted]
        if order != list(range(len(order))):
            values = [tuple(v[i] for i in order) for v in values]
        connection.exec_driver_sql(str(sql), values)

    def _values(self, rows: list[tuple[str, Record, str | None]]) -> Iterator[tuple[str, list[tuple]]]:
        """The rows of each table: what create_run, log_batch and set_terminated would write."""
        place = self.experiment.artifact_location.rstrip("/")
        number = int(self.experiment_id)
        yield "SqlRun", [
            (run_id, r.name, "UNKNOWN", "", "", "unknown", r.status, r.start, r.start, "", "active",
             f"{place}/{run_id}/artifacts", number)
            for run_id, r, _ in rows
        ]  # fmt: skip
        tags = []
        for run_id, record, parent_id in rows:
            all_tags = record.tags | ({PARENT: parent_id} if parent_id else {}) | {"mlflow.runName": record.name}
            tags += [(key, value, run_id) for key, value in all_tags.items()]
        yield "SqlTag", tags
        yield "SqlParam", [(key, value, run_id) for run_id, r, _ in rows for key, value in r.params.items()]
        points: list[tuple] = []
        latest: list[tuple] = []
        for run_id, record, _ in rows:
            p = record.points
            columns = (
                p.key.tolist(),
                p.value.tolist(),
                repeat(record.start),
                p.step.tolist(),
                repeat(False),
                repeat(run_id),
            )
            mine = list(zip(*columns))
            points += mine
            # each key is one block of ascending steps
            last = np.flatnonzero(np.r_[p.key[1:] != p.key[:-1], True]) if len(p) else ()
            latest += [mine[i] for i in last]
        yield "SqlMetric", points
        yield "SqlLatestMetric", latest


def _streamed(connection: Any, table: Any, columns: Sequence[str], values: Iterable[tuple]) -> bool:
    """COPY rows into a table, 10 times faster than INSERT; False where the driver has no such thing."""
    cursor = connection.connection.cursor()
    if not (hasattr(cursor, "copy_expert") or hasattr(cursor, "copy")):
        return False
    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC).writerows(values)
    sql = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN WITH (FORMAT csv)"
    if hasattr(cursor, "copy_expert"):  # psycopg2
        stream.seek(0)
        cursor.copy_expert(sql, stream)
    else:  # psycopg
        with cursor.copy(sql) as copy:
            copy.write(stream.getvalue())
    cursor.close()
    return True
