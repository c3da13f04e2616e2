"""Filling MLflow from the frames of a study, and getting it ready beforehand."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from initbench.disk import published
from initbench.errors import masked
from initbench.startup import scratch
from initbench.track import pages, template
from initbench.track.records import Arm, arms_of, created_ms
from initbench.track.store import BulkStore, ClientStore
from initbench.track.uri import link, one_line, sqlite_file, sqlite_uri, unreachable

FILES = (
    "report.html",
    "report.md",
    "leaderboard.csv",
    "comparisons.csv",
    "runs.parquet",
    "history.parquet",
    "study.json",
)
_OPENING = RLock()  # a warm-up in the background and a fill do not both create the tables
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # a server that has gone: seconds until it is said, not MLflow's quarter of an hour
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_LOGGERS = ("mlflow", "alembic", "urllib3")


@dataclass(frozen=True)
class Filled:
    """What became of a fill. `message` is one line; `complete` = everything of the study is in the store."""

    uri: str | None
    experiment_id: str | None
    link: str | None  # the study's page: its runs as a table
    complete: bool
    message: str
    charts: str | None = None  # the study's page: the saved charts


def fill(
    results: Any,
    uri: str | None,
    *,
    children: str = "headline",
    artifacts: bool = True,
    progress: Callable[[int, int], None] | None = None,
    drawn: Callable[[], object] = lambda: None,
) -> Filled:
    """Bring the study to the store: afterwards it is there once and whole, whatever was there before.

    What is the same is left alone; an arm whose statistics changed is written anew, in place of the old
    one. A store that cannot be reached or written is no error: the results are on disk.

    Args:
        results: has `runs`, `history`, `study`, `folder`.
        uri: from `resolve_uri`; None = off.
        children: headline (losses and accuracies of a run, thinned), full (every metric), none (arms only).
        artifacts: hang the report and the data on a run named `report`.
        progress: called as ``progress(arms done, arms)``.
        drawn: returns when the files of the report are there; asked before they are needed.

    Raises InputError for another `children`.
    """
    if uri is None:
        return filled(None, None)

    def incomplete(why: str, experiment_id: str | None = None) -> Filled:
        message = (
            f"tracking to {masked(uri)} is incomplete: {why}; "
            f"the results are on disk in {results.folder}, repeat the same command when it is back"
        )
        return Filled(uri, experiment_id, link(uri, experiment_id) if experiment_id else None, False, message)

    arms = arms_of(results, children)
    if why := unreachable(uri):
        return incomplete(why)
    experiment_id = None
    with _quiet():
        _prepare()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            store = _open(uri, str(results.study["study"]))
            experiment_id = store.experiment_id
            written = _write(store, arms, progress)
            _describe(store, results.study, arms)
            if artifacts:
                drawn()
                written += _report(store, results)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            return incomplete(one_line(error), experiment_id)
    planned = sum(1 + len(arm.runs) for arm in arms)
    return filled(
        uri, experiment_id, f"{len(arms)} arms and {planned - len(arms)} runs in MLflow, {written} written now"
    )


def filled(uri: str | None, experiment_id: str | None, message: str = "all of it is in MLflow") -> Filled:
    """A store that holds all of a study."""
    if uri is None or experiment_id is None:
        return Filled(None, None, None, True, "tracking is off (track.uri=null)")
    page, charts = link(uri, experiment_id), link(uri, experiment_id, pages.VIEW)
    return Filled(uri, experiment_id, page, True, message, charts)


def experiment(uri: str | None, study: str) -> str | None:
    """Id of the study's experiment, made if it is not there yet, so that a report can link to it before it is filled.

    None if tracking is off or the store cannot be had: `fill` says why.
    """
    if uri is None or unreachable(uri):
        return None
    with _quiet():
        try:
            _prepare()
            return str(_open(uri, study).experiment_id)
        except Exception:
            return None


def warm_up(uri: str | None) -> None:
    """Import mlflow and create the tables of a database, so that `fill` need not; meant for a background
    thread.

    Never raises: what is wrong here is still wrong when `fill` does the same, and `fill` says so.
    """
    if uri is None:
        return
    with _quiet():
        try:
            _prepare()
            if not uri.startswith(("http://", "https://", "databricks")):
                with _OPENING:
                    _create(uri)
                    _client(uri).search_experiments(max_results=1)
        except Exception:
            return


def _prepare() -> None:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's own words (migrations, retries, stack traces of a locked file) stay out of the terminal."""
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in _LOGGERS]
    try:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _silence()
            yield
    finally:
        for logger, level in levels:
            logger.setLevel(level)


def _silence() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    _silence()  # importing mlflow has set its loggers up again
    return MlflowClient(tracking_uri=uri)


def _create(uri: str) -> None:
    """Make a SQLite file that is not there yet, whole or not at all.

    MLflow fills a new file table by table; a process that is killed meanwhile leaves one that no MLflow can open any
    more. So it is filled elsewhere and published.
    """
    file = sqlite_file(uri)
    if file is None or file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mlflow-", dir=scratch.folder(), ignore_cleanup_errors=True) as folder:
        made = Path(folder) / "new.db"
        template.copied(made, _make)
        with published(file, once=True) as new:
            shutil.copyfile(made, new)


def _make(file: Path) -> None:
    """A new file with MLflow's tables, by MLflow."""
    client = _client(sqlite_uri(file))
    client.search_experiments(max_results=1)
    with suppress(AttributeError):  # no public way; a file that stays open is one that can be copied all the same
        client._tracking_client.store.engine.dispose()


def _open(uri: str, study: str, bulk: bool = True) -> ClientStore:
    with _OPENING:
        _create(uri)
        client = _client(uri)
        if bulk and BulkStore.fits(client, uri):
            return BulkStore(client, uri, study)
        return ClientStore(client, uri, study)


def _write(store: ClientStore, arms: list[Arm], progress: Callable[[int, int], None] | None) -> int:
    found = store.found()
    written = 0
    for done, arm in enumerate(arms):
        if progress is not None:
            progress(done, len(arms))
        written += store.write(arm, found)
    store.finish()
    if progress is not None:
        progress(len(arms), len(arms))
    return written


def _describe(store: ClientStore, study: dict[str, Any], arms: list[Arm]) -> None:
    """The page of the study: description, kind (else MLflow asks what it is), saved charts."""
    best_first = pages.by_rank([arm.parent for arm in arms])
    names = {name for parent in best_first for name in set(parent.points.key)}
    store.describe(
        {
            "initbench.study": str(study["study"]),
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": pages.study_note(study, best_first),
            pages.VIEW_TAG: pages.view(names, created_ms(study)),
        }
    )


def _report(store: ClientStore, results: Any) -> int:
    folder = Path(results.folder)
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files:
        return 0
    markdown = folder / "report.md"
    note = pages.report_note(markdown.read_text(encoding="utf-8")) if markdown.is_file() else ""
    # the report stands below the arms, above single runs
    study = results.study
    return store.report(str(study["study"]), created_ms(study) + 250, files, note, store.found())
