"""A SQLite file with MLflow's tables and nothing in them, made once by MLflow itself and kept in the cache folder.

MLflow fills a new file table by table and migration by migration, which takes a second of every first study in a
folder; a copy of a file takes none. The kept file belongs to exactly the MLflow, and its migrations, that made it.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from initbench.disk import cache_folder, published
from initbench.startup import scratch
from initbench.startup.plain import plain_start

MADE_BY = ("mlflow", "sqlalchemy", "alembic")


def copied(target: Path, make: Callable[[Path], None]) -> None:
    """Put a database with MLflow's tables at `target`: the kept one, or else what `make` makes there, which is then kept.

    A cache that cannot be read or written only costs its time.
    """
    kept = None if plain_start() else kept_file()
    try:
        if kept is not None and kept.is_file():
            shutil.copyfile(kept, target)
            if is_sound(target):
                return
    except OSError:
        pass
    target.unlink(missing_ok=True)
    make(target)
    if kept is not None:
        keep(target, kept)


def is_sound(file: Path) -> bool:
    """Whether SQLite finds nothing wrong with a file."""
    try:
        with closing(sqlite3.connect(file)) as database:
            return database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.Error:
        return False


def keep(made: Path, kept: Path) -> None:
    """Keep what MLflow made, without the experiment `Default`: MLflow adds it to a file that has none, with its own date
    and folder."""
    with suppress(OSError, sqlite3.Error):
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="mlflow-", dir=scratch.folder()) as folder:
            bare = Path(folder) / "bare.db"  # not where it is published: on a network file system that one is locked
            shutil.copyfile(made, bare)
            with closing(sqlite3.connect(bare)) as database, database:
                database.execute("DELETE FROM experiments")
            with published(kept) as new:
                shutil.copyfile(bare, new)


def kept_file() -> Path | None:
    """Where the file of this MLflow stands; None without a cache folder."""
    place, of = cache_folder(), stamp()
    return None if place is None or of is None else place / f"mlflow-{of}.db"


def stamp() -> str | None:
    """Hash of what decides how the tables look: versions, and the names and sizes of MLflow's migrations and models;
    None where this MLflow has none of these modules."""
    try:
        from mlflow.store import db_migrations
        from mlflow.store.tracking.dbmodels import models
    except ImportError:  # an MLflow that has moved them
        return None

    migrations = Path(str(db_migrations.__file__)).parent / "versions"
    files = [*sorted(migrations.glob("*.py")), Path(str(models.__file__))]
    content = repr([*map(version, MADE_BY), sqlite3.sqlite_version, *((f.name, f.stat().st_size) for f in files)])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
