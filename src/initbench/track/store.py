"""Writing a plan to an MLflow store: through its public client (any store), or in bulk (a local SQLite file).

Both find what is there by tag, leave what is the same, replace what is not and finish what was started. A
record is complete when its status is final: that is written last. All functions here need mlflow and import
it themselves.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from initbench.track.records import ARM, CONTENT, KIND, PARENT, REPORT, RUN, Arm, Record, key_of
from initbench.track.uri import sqlite_file

BATCH_METRICS, BATCH_PARAMS, BATCH_ALL = 1000, 100, 1000  # limits of one log_batch call
AT_ONCE = 500  # runs whose rows are built, and written, at once
THREADS = 4  # requests under way at once; a server answers one in 5-10 ms


class Found(NamedTuple):
    """A run that is in the store."""

    run_id: str
    status: str
    content: str | None
    parent: str | None


Stored = dict[str, list[Found]]  # by key; more than one only after a kill or under two writers


def settled(record: Record, found: Iterable[Found]) -> Found | None:
    """The stored run that is exactly this record, completely written; None if there is none."""
    return next((f for f in found if f.content == record.content and f.status == record.status), None)


class ClientStore:
    """Writes through MlflowClient: an http server, any database, a folder."""

    def __init__(self, client: Any, uri: str, study: str) -> None:
        self.client = client
        self.uri = uri
        self.experiment = _experiment(client, uri, study)
        self.experiment_id: str = self.experiment.experiment_id

    def found(self) -> Stored:
        """All runs of ours in the experiment that nobody has deleted."""
        stored: Stored = defaultdict(list)
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], max_results=1000, page_token=token)
            for run in page:
                tags = run.data.tags
                if key := key_of(tags):
                    stored[key].append(Found(run.info.run_id, run.info.status, tags.get(CONTENT), tags.get(PARENT)))
            token = page.token
            if not token:
                return stored

    def write(self, arm: Arm, found: Stored) -> int:
        """Bring one arm with its runs to what the plan says; returns how many of them were written."""
        old = found.get(arm.parent.key, [])
        same = settled(arm.parent, old)
        parent_id = same.run_id if same else self._begin(arm.parent)
        written = self._write_runs(arm.runs, found, parent_id)
        if same is None:
            gone = {f.run_id for f in old}
            planned = {run.key for run in arm.runs}
            for key, orphans in found.items():  # runs that this plan does not name stay with their arm
                for orphan in orphans:
                    if orphan.parent in gone and key not in planned:
                        self.client.set_tag(orphan.run_id, PARENT, parent_id)
            self._finish(parent_id, arm.parent)
            written += 1
        for stale in old:
            if stale.run_id != parent_id:
                self.client.delete_run(stale.run_id)
        return written

    def finish(self) -> None:
        """Write what waits to be written; here nothing does."""

    def _write_runs(self, runs: list[Record], found: Stored, parent_id: str) -> int:
        def one(record: Record) -> int:
            old = found.get(record.key, [])
            same = settled(record, old)
            if same is None:
                run_id = self._begin(record, parent_id)
                self._finish(run_id, record)
            else:
                run_id = same.run_id
                if same.parent != parent_id:
                    self.client.set_tag(run_id, PARENT, parent_id)
            for stale in old:
                if stale.run_id != run_id:
                    self.client.delete_run(stale.run_id)
            return same is None

        if not self.uri.startswith(("http://", "https://")):
            return sum(map(one, runs))
        with ThreadPoolExecutor(THREADS) as pool:
            return sum(pool.map(one, runs))

    def _begin(self, record: Record, parent_id: str | None = None) -> str:
        """Create the run, still RUNNING, with all its params and points."""
        from mlflow.entities import Metric, Param

        tags = record.tags | ({PARENT: parent_id} if parent_id else {})
        run = self.client.create_run(self.experiment_id, record.start, tags, record.name)
        params = [Param(k, v) for k, v in record.params.items()]
        points = record.points
        metrics = [
            Metric(key, value, record.start, step)
            for key, value, step in zip(points.key.tolist(), points.value.tolist(), points.step.tolist())
        ]
        while params or metrics:
            some, params = params[:BATCH_PARAMS], params[BATCH_PARAMS:]
            room = min(BATCH_METRICS, BATCH_ALL - len(some))
            few, metrics = metrics[:room], metrics[room:]
            self.client.log_batch(run.info.run_id, metrics=few, params=some)
        return run.info.run_id

    def _finish(self, run_id: str, record: Record) -> None:
        self.client.set_terminated(run_id, status=record.status, end_time=record.start)

    # --- what is little and the same for every store ---

    def report(self, study: str, start: int, files: list[Path], note: str, found: Stored) -> int:
        """The run `report` with the study's files as artifacts; files that are there already stay."""
        content = hashlib.blake2b(note.encode(), digest_size=16)
        for file in files:
            content.update(file.name.encode() + b"\0")
            if file.name != "study.json":  # it says where it is tracked, so it changes after the first fill
                with file.open("rb") as stream:
                    content.update(hashlib.file_digest(stream, "sha256").digest())
        digest = content.hexdigest()
        old = found.get("report", [])
        if len(old) == 1 and old[0].content == digest and old[0].status == "FINISHED":
            return 0
        tags = {
            KIND: "report",
            REPORT: study,
            "mlflow.source.name": "initbench",
            "mlflow.source.type": "LOCAL",
        }
        new = None if old else self.client.create_run(self.experiment_id, start, tags, "report")
        run_id = old[0].run_id if new is None else new.info.run_id
        for stale in old[1:]:
            self.client.delete_run(stale.run_id)
        for file in files:
            self.client.log_artifact(run_id, str(file))
        if note:
            self.client.set_tag(run_id, "mlflow.note.content", note)
        self.client.set_tag(run_id, CONTENT, digest)
        self.client.set_terminated(run_id, status="FINISHED", end_time=start)
        return 1

    def describe(self, tags: dict[str, str]) -> None:
        """Tags of the experiment, where they differ. A description a person has changed stays."""
        mine = "initbench.note"
        there = self.experiment.tags
        note = there.get("mlflow.note.content")
        if "mlflow.note.content" in tags:
            if note is not None and there.get(mine) != _digest(note):
                tags = {k: v for k, v in tags.items() if k != "mlflow.note.content"}
            else:
                tags = tags | {mine: _digest(tags["mlflow.note.content"])}
        for key, value in tags.items():
            if there.get(key) != value:
                self.client.set_experiment_tag(self.experiment_id, key, value)


@dataclass
class Change:
    """What a transaction writes: a run's rows, or another parent of it. The old rows of what is written are removed."""

    rows: list[tuple[str, Record, str | None]] = field(default_factory=list)  # (id, record, id of its arm)
    removed: list[str] = field(default_factory=list)
    moved: list[tuple[str, str | None]] = field(default_factory=list)  # right, but below another parent


class BulkStore(ClientStore):
    """Writes some arms with their runs in one transaction through MLflow's own SQLAlchemy engine and models.

    Not a public interface: `BulkStore.fits` says whether this MLflow has what is needed. Ids are derived
    from the experiment and the key, so that two writers cannot write a run twice.
    """

    _COLUMNS: ClassVar[dict[str, tuple[str, ...]]] = {
        "SqlRun": ("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status",
                   "start_time", "end_time", "deleted_time", "source_version", "lifecycle_stage",
                   "artifact_uri", "experiment_id"),
        "SqlTag": ("key", "value", "run_uuid"),
        "SqlParam": ("key", "value", "run_uuid"),
        "SqlMetric": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
        "SqlLatestMetric": ("key", "value", "timestamp", "step", "is_nan", "run_uuid"),
    }  # fmt: skip

    def __init__(self, client: Any, uri: str, study: str) -> None:
        super().__init__(client, uri, study)
        from mlflow.store.tracking.dbmodels import models

        self.change = Change()
        self.engine = client._tracking_client.store.engine
        self.tables = {name: getattr(models, name).__table__ for name in self._COLUMNS}

    @classmethod
    def fits(cls, client: Any, uri: str) -> bool:
        """Whether the store is a local SQLite file and has exactly the tables and columns we write."""
        if sqlite_file(uri) is None:
            return False
        try:
            from mlflow.store.tracking.dbmodels import models
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            store = client._tracking_client.store
            if not isinstance(store, SqlAlchemyStore) or not hasattr(store, "engine"):
                return False
            columns = {n: {c.name for c in getattr(models, n).__table__.columns} for n in cls._COLUMNS}
        except (ImportError, AttributeError):
            return False
        return all(columns[name] == set(wanted) for name, wanted in cls._COLUMNS.items())

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

    def write(self, arm: Arm, found: Stored) -> int:
        before = len(self.change.rows)

        def settle(record: Record, parent_id: str | None) -> str:
            old = found.get(record.key, [])
            same = settled(record, old)
            run_id = same.run_id if same else old[0].run_id if old else self._id(record.key)
            self.change.removed.extend(f.run_id for f in old if f.run_id != run_id)
            if same is None:
                self.change.removed.append(run_id)
                self.change.rows.append((run_id, record, parent_id))
            elif same.parent != parent_id:
                self.change.moved.append((run_id, parent_id))
            return run_id

        parent_id = settle(arm.parent, None)
        for run in arm.runs:
            settle(run, parent_id)
        written = len(self.change.rows) - before
        if len(self.change.rows) >= AT_ONCE:
            self.finish()
        return written

    def finish(self) -> None:
        """Write what waits, in one transaction: the indices of a table are in memory once, not once an arm."""
        change, self.change = self.change, Change()
        if change.rows or change.removed or change.moved:
            self._transaction(change)

    def _id(self, key: str) -> str:
        return hashlib.blake2b(f"{self.experiment_id} {key}".encode(), digest_size=16).hexdigest()

    def _transaction(self, change: Change) -> None:
        from sqlalchemy import bindparam

        with self.engine.connect() as connection:
            for pragma in ("foreign_keys = ON", "busy_timeout = 20000"):  # as MLflow's own sessions
                connection.exec_driver_sql(f"PRAGMA {pragma}")
            connection.commit()
            with connection.begin():
                for name in reversed(self._COLUMNS):
                    table = self.tables[name]
                    if change.removed:
                        gone = table.delete().where(table.c.run_uuid == bindparam("gone"))
                        connection.execute(gone, [{"gone": run_id} for run_id in change.removed])
                tag = self.tables["SqlTag"]
                for run_id, parent_id in change.moved:
                    of_run = (tag.c.run_uuid == run_id) & (tag.c.key == PARENT)
                    connection.execute(tag.update().where(of_run).values(value=parent_id))
                inserts = {name: self._insert(name) for name in self._COLUMNS}
                for first in range(0, len(change.rows), AT_ONCE):
                    for name, values in self._values(change.rows[first : first + AT_ONCE]):
                        if values:
                            sql, order = inserts[name]
                            if order != list(range(len(order))):
                                values = [tuple(v[i] for i in order) for v in values]
                            connection.exec_driver_sql(sql, values)

    def _insert(self, name: str) -> tuple[str, list[int]]:
        """The statement of a table, and the places of our columns in it. Compiled once and handed to the driver as
        tuples: 3 times faster than one dict per row."""
        from sqlalchemy import insert

        wanted = self._COLUMNS[name]
        sql = insert(self.tables[name]).compile(dialect=self.engine.dialect, column_keys=wanted)
        return str(sql), [wanted.index(c) for c in sql.positiontup or wanted]

    def _values(self, rows: list[tuple[str, Record, str | None]]) -> Iterator[tuple[str, list[tuple]]]:
        """The rows of each table: what create_run, log_batch and set_terminated would write."""
        place = self.experiment.artifact_location.rstrip("/")
        number = int(self.experiment_id)
        yield "SqlRun", [
            (run_id, r.name, "UNKNOWN", "", "", "unknown", r.status, r.start, r.start, None, "", "active",
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
                repeat(0),
                repeat(run_id),
            )
            mine = list(zip(*columns))
            points += mine
            # each key is one block of ascending steps
            last = np.flatnonzero(np.r_[p.key[1:] != p.key[:-1], True]) if len(p) else ()
            latest += [mine[i] for i in last]
        yield "SqlMetric", points
        yield "SqlLatestMetric", latest


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _experiment(client: Any, uri: str, study: str) -> Any:
    """The experiment of this name, made or brought back from the bin if need be."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        try:
            client.create_experiment(study, artifact_location=_artifacts(uri, study))
        except MlflowException:
            if client.get_experiment_by_name(study) is None:  # else another process was faster
                raise
    elif experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return client.get_experiment_by_name(study)


def _artifacts(uri: str, study: str) -> str | None:
    """Beside a SQLite file (MLflow would take the current folder); other stores know their own place."""
    file = sqlite_file(uri)
    if file is None:
        return None
    folder = "".join(c if c.isalnum() or c in "-_." else "_" for c in study)
    return (file.absolute().parent / "mlruns" / folder).as_posix()
