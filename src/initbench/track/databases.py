"""Databases before MLflow opens them: it would retry for minutes, or change tables that are not its own. No mlflow needed."""

from __future__ import annotations

import re
import sqlite3
import urllib.parse
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from initbench.errors import one_line

PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# drivers that MLflow can use, the first of them is advised; and what is to be installed for one
DRIVERS = {"postgresql": ("psycopg2", "psycopg"), "mysql": ("pymysql", "mysqldb"), "mssql": ("pymssql", "pyodbc")}
PACKAGES = {"psycopg2": "'initbench[postgresql]'"}
NEWER = "written by another version of MLflow, perhaps a newer one: update mlflow"
OLDER = "written by an older MLflow: make a backup and run `mlflow db upgrade`, or track through its server"


def with_driver(uri: str) -> str:
    """The address of a database with a driver that is installed: which one SQLAlchemy takes by itself depends on its version.

    Raises ImportError, which names what is to be installed, and ValueError for what is no address.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    scheme, _, rest = uri.partition("://")
    kind, given = scheme.partition("+")[::2]
    tried = [uri] if given else [uri, *(f"{kind}+{driver}://{rest}" for driver in DRIVERS[kind])]
    missing = []
    for one in tried:
        try:
            make_url(one).get_dialect().import_dbapi()
            return one
        except ImportError as error:
            missing.append(str(error.name))
        except (SQLAlchemyError, ValueError):
            raise ValueError("not an address that SQLAlchemy reads") from None
    name = given or DRIVERS[kind][0]
    raise ImportError(
        f"the database driver {name} is not installed", name=PACKAGES.get(name, missing[0] if given else name)
    )


def no_database(file: Path) -> str:
    """Why MLflow could not use an existing file, in words: it would try for minutes. Empty where nothing is known."""
    if not file.is_file():
        return "this is not a regular file, a database file is needed"
    try:
        with file.open("rb") as content:
            head = content.read(16)
        if head and head != b"SQLite format 3\0":
            return "this is not a SQLite database"
        with closing(read_only(file)) as found:
            tables = {row[0] for row in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = "alembic_version" in tables
            revisions = (
                [str(row[0]) for row in found.execute("SELECT version_num FROM alembic_version")] if ours else []
            )
    except OSError as error:
        return f"the file cannot be read ({error.strerror or error})"
    except sqlite3.OperationalError:  # locked, which passes
        return ""
    except sqlite3.DatabaseError as error:
        return f"a damaged database ({one_line(error)})"
    if tables and not {"alembic_version", "experiments"} <= tables:
        return "not a database of MLflow"
    return next(filter(None, map(other_version, revisions)), "")


@cache
def migrations() -> dict[str, str | None]:
    """{revision of the tables: the one before} of the installed MLflow; empty where it keeps them elsewhere."""
    found: dict[str, str | None] = {}
    spec = find_spec("mlflow")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for path in Path(folder, "store", "db_migrations", "versions").glob("[!_]*.py"):
            before = re.search(r"^down_revision\b.*?[\"'](\w+)[\"']", path.read_text(encoding="utf-8"), re.MULTILINE)
            found[path.name.partition("_")[0]] = before[1] if before else None
    return found


def other_version(revision: str, older: bool = False) -> str:
    """Why this MLflow should not write tables of a revision; empty where it may. `older`: also of one before its own."""
    known = migrations()
    if known and revision not in known:
        return NEWER
    return OLDER if older and revision in known.values() else ""


def read_only(file: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even an empty file."""
    return sqlite3.connect(f"file:{urllib.parse.quote(str(file.absolute()))}?mode=ro", uri=True, timeout=1.0)
