"""Opening a store with MLflow: its settings, its silence, and tables that are made whole or not at all."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from initbench.disk import published
from initbench.startup import home, scratch
from initbench.track import template
from initbench.track.bulk import BulkStore
from initbench.track.store import ClientStore, Told
from initbench.track.uri import sqlite_file, sqlite_uri

_OPENING = RLock()  # a warm-up in the background and a fill do not both create the tables
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # a server that has gone: seconds until it is said, not MLflow's quarter of an hour
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "PGCONNECT_TIMEOUT": "20",
}
_LOGGERS = ("mlflow", "alembic", "urllib3")


def prepare() -> None:
    """Import mlflow with our settings, unless a person has set others."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    home.given()
    import mlflow  # noqa: F401


def failures() -> tuple[type[Exception], ...]:
    """What MLflow and the libraries below it raise where a store is not to be had or used."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, OSError


@contextmanager
def quiet() -> Iterator[None]:
    """MLflow's own words (migrations, retries, stack traces of a locked file) stay out of the terminal."""
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in _LOGGERS]
    try:
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


def client_of(uri: str) -> Any:
    """MLflow's client of a store."""
    from mlflow import MlflowClient

    _silence()  # importing mlflow has set its loggers up again
    return MlflowClient(tracking_uri=uri)


def create(uri: str) -> None:
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
        template.copied(made, make)
        with published(file, once=True) as new:
            shutil.copyfile(made, new)


def make(file: Path) -> None:
    """A new file with MLflow's tables, by MLflow."""
    client = client_of(sqlite_uri(file))
    client.search_experiments(max_results=1)
    with suppress(AttributeError):  # no public way; a file that stays open is one that can be copied all the same
        client._tracking_client.store.engine.dispose()


def ready(uri: str) -> Any:
    """The client of a store whose tables are there."""
    with _OPENING, one_creator(uri):
        create(uri)
        return client_of(uri)


def opened(uri: str, study: str, told: Told = lambda written: None) -> ClientStore:
    """The study's experiment in a store, ready to be written."""
    client = ready(uri)
    kind = BulkStore if BulkStore.fits(client, uri) else ClientStore
    with _OPENING:
        return kind(client, uri, study, told)


@contextmanager
def one_creator(uri: str) -> Iterator[None]:
    """Inside: no other command creates MLflow's tables in a PostgreSQL database; two at once would both fail."""
    if not uri.startswith("postgresql"):
        yield
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    with create_engine(uri, poolclass=NullPool).connect() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x1B17BE4C})
        yield
