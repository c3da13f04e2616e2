"""Writing a plan to an MLflow store through its public client: any store. `bulk` does the same faster where that is safe.

Both find what is there by tag, leave what is the same, replace what is not and finish what was started. A
record is complete when its status is final: that is written last. All functions here need mlflow and import
it themselves.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from initbench.startup import scratch
from initbench.track.inputs import TABLE, TABLE_TAG, TABLE_VALUE, Data
from initbench.track.records import ARM, CONTENT, KIND, PARENT, REPORT, Arm, Record, key_of
from initbench.track.uri import sqlite_file

BATCH_METRICS, BATCH_PARAMS, BATCH_ALL = 1000, 100, 1000  # limits of one log_batch call
THREADS = 4  # requests under way at once; a server answers one in 5-10 ms


class Found(NamedTuple):
    """A run that is in the store."""

    run_id: str
    status: str
    content: str | None
    parent: str | None


Told = Callable[[bool | None], None]
Stored = dict[str, list[Found]]  # by key; more than one only after a kill or under two writers


def settled(record: Record, found: Iterable[Found]) -> Found | None:
    """The stored run that is exactly this record, completely written; None if there is none."""
    return next((f for f in found if f.content == record.content and f.status == record.status), None)


class ClientStore:
    """Writes through MlflowClient: an http server, any database, a folder.

    `told(written)` is called for each record that is in the store, by whichever thread; with None it says that the work
    goes on.
    """

    def __init__(self, client: Any, uri: str, study: str, told: Told = lambda written: None) -> None:
        self.client = client
        self.uri = uri
        self.told = told
        self.experiment = _experiment(client, uri, study)
        self.experiment_id: str = self.experiment.experiment_id
        self._begun: list[Future[Any]] = []

    def found(self) -> Stored:
        """All runs of ours in the experiment that nobody has deleted."""
        stored: Stored = defaultdict(list)
        for run in self._runs():
            tags = run.data.tags
            if key := key_of(tags):
                stored[key].append(Found(run.info.run_id, run.info.status, tags.get(CONTENT), tags.get(PARENT)))
        return stored

    def _runs(self, that: str = "") -> Iterator[Any]:
        """The runs of the experiment as MLflow gives them, page by page; `that`: a filter in its language."""
        token = None
        while True:
            page = self.client.search_runs([self.experiment_id], that, max_results=1000, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside: no other command writes this study, where a store can promise that."""
        yield

    def write(self, arms: Iterable[Arm], found: Stored) -> None:
        """Bring arms with their runs to what the plan says; a server answers some requests at once."""
        if not self.uri.startswith(("http://", "https://")):
            for arm in arms:
                self._write_arm(arm, found, lambda one, runs: [one(run) for run in runs])
            return
        # two pools, since an arm waits for its runs
        with pool() as of_arms, pool() as of_runs:

            def begin(threads: ThreadPoolExecutor, work: Callable[..., Any], *given: Any) -> Future[Any]:
                future = threads.submit(work, *given)
                self._begun.append(future)
                return future

            each = lambda one, runs: results([begin(of_runs, one, run) for run in runs])  # noqa: E731
            results([begin(of_arms, self._write_arm, arm, found, each) for arm in arms])

    def ended(self, seconds: float) -> None:
        """Wait for what was under way when a write broke off: what it still makes is then found by the next."""
        wait(self._begun, timeout=seconds)

    def _write_arm(self, arm: Arm, found: Stored, each: Callable[..., Any]) -> None:
        old = found.get(arm.parent.key, [])
        same = settled(arm.parent, old)
        parent_id = same.run_id if same else self._begin(arm.parent)
        each(lambda run: self._write_run(run, found, parent_id), arm.runs)
        if same is None:
            gone = {f.run_id for f in old}
            planned = {run.key for run in arm.runs}
            for key, orphans in found.items():  # runs that this plan does not name stay with their arm
                for orphan in orphans:
                    if orphan.parent in gone and key not in planned:
                        self.client.set_tag(orphan.run_id, PARENT, parent_id)
            self._finish(parent_id, arm.parent)
        for stale in old:
            if stale.run_id != parent_id:
                self.client.delete_run(stale.run_id)
        self.told(same is None)

    def _write_run(self, record: Record, found: Stored, parent_id: str) -> None:
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
        self.told(same is None)

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

    def report(
        self, study: str, start: int, end: int, files: list[Path], table: Any, note: str, old: list[Found]
    ) -> None:
        """The run `report` with the study's files as artifacts, and the leaderboard as a table; files that are there already
        stay. `old`: what is there."""
        content = hashlib.blake2b(f"{table and TABLE} {note}".encode(), digest_size=16)
        for file in files:
            content.update(file.name.encode() + b"\0")
            if file.name != "study.json":  # it says where it is tracked, so it changes after the first fill
                with file.open("rb") as stream:
                    content.update(hashlib.file_digest(stream, "sha256").digest())
        digest = content.hexdigest()
        if len(old) == 1 and old[0].content == digest and old[0].status == "FINISHED":
            return
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
            self.told(None)
        if table:
            # not by log_dict, whose folder a killed command would leave for ever
            with tempfile.TemporaryDirectory(
                prefix="mlflow-", dir=scratch.folder(), ignore_cleanup_errors=True
            ) as folder:
                made = Path(folder) / TABLE
                made.write_text(json.dumps(table, indent=2), encoding="utf-8")
                self.client.log_artifact(run_id, str(made))
            self.client.set_tag(run_id, TABLE_TAG, TABLE_VALUE)
        if note:
            self.client.set_tag(run_id, "mlflow.note.content", note)
        self.client.set_tag(run_id, CONTENT, digest)
        self.client.set_terminated(run_id, status="FINISHED", end_time=end)
        self.told(True)

    def complete(self, tags: Mapping[str, Mapping[str, str]], data: Mapping[str, Data]) -> None:
        """Give arms, by their key, what they lack or have otherwise: tags, which depend on the other arms of the study, and
        the data set as an input."""
        wanting, untold = [], []
        for run in self._runs(f"tags.`{KIND}` = 'arm'"):
            there, key = run.data.tags, run.data.tags.get(ARM, "")
            wanting += [
                (run.info.run_id, name, value) for name, value in tags.get(key, {}).items() if there.get(name) != value
            ]
            own = data.get(key)
            if own and own[:2] not in {(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs}:
                untold.append((run.info.run_id, own))
        self._set_tags(wanting)
        self._log_data(untold)

    def _set_tags(self, tags: Iterable[tuple[str, str, str]]) -> None:
        """(id of a run, name, value) of each."""
        for one in tags:
            self.client.set_tag(*one)
            self.told(None)

    def _log_data(self, arms: Iterable[tuple[str, Data]]) -> None:
        """(id of an arm, its data set) of each."""
        from mlflow.entities import Dataset, DatasetInput

        for run_id, data in arms:
            self.client.log_inputs(run_id, [DatasetInput(Dataset(data.name, data.digest, "initbench", data.source))])
            self.told(None)

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


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests; what has not begun when one fails does not begin."""
    threads = ThreadPoolExecutor(THREADS)
    try:
        yield threads
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        raise
    threads.shutdown()


def results(futures: Iterable[Future[Any]]) -> list[Any]:
    """What became of each; the first that failed raises."""
    return [future.result() for future in futures]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def experiment_name(study: str) -> str:
    """What the experiment of a study is called: as the study, unless MLflow's own `Default` would stand beside it.

    >>> experiment_name("quick"), experiment_name("default")
    ('quick', 'initbench default')
    """
    return f"initbench {study}" if study.lower() == "default" else study


def _experiment(client: Any, uri: str, study: str) -> Any:
    """The study's experiment, made, given its name or brought back from the bin if need be."""
    from mlflow.exceptions import MlflowException

    name = experiment_name(study)
    experiment = client.get_experiment_by_name(name)
    older = client.get_experiment_by_name(study) if experiment is None and name != study else None
    if older and older.tags.get("initbench.study") == study and older.lifecycle_stage != "deleted":
        client.rename_experiment(older.experiment_id, name)
        experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            client.create_experiment(name, artifact_location=_artifacts(uri, study))
        except MlflowException:
            if client.get_experiment_by_name(name) is None:  # else another process was faster
                raise
    elif experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return client.get_experiment_by_name(name)


def _artifacts(uri: str, study: str) -> str | None:
    """Beside a SQLite file (MLflow would take the current folder); other stores know their own place."""
    file = sqlite_file(uri)
    if file is None:
        return None
    folder = "".join(c if c.isalnum() or c in "-_." else "_" for c in study)
    return (file.absolute().parent / "mlruns" / folder).as_posix()
