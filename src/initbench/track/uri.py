"""Where a study is tracked: which URI, is it sane, does it answer, where are its pages. No mlflow needed."""

from __future__ import annotations

import http.client
import os
import re
import socket
import sqlite3
import ssl
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from initbench.errors import InputError, masked, refusal, shown

PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
DATABASES = ("sqlite", *PORTS)
ALLOWED = (
    "must be one of: auto, null, sqlite:///file.db, postgresql://..., mysql://..., mssql://..., http(s)://host:port"
)
LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` serves
PROBE_SECONDS = 4.0


def resolve_uri(setting: str | None, key: str = "track.uri") -> str | None:
    """The tracking URI that `track.uri` stands for; None = tracking is off. `key`: where it was typed.

    ``auto`` is MLFLOW_TRACKING_URI if set, else ``sqlite:///<current folder>/mlflow.db``. A relative SQLite
    file is made absolute, everything else stays as given.

    Raises InputError for what cannot be a tracking URI.

    >>> resolve_uri(None) is None
    True
    >>> resolve_uri("sqlite:////data/mlflow.db")
    'sqlite:////data/mlflow.db'
    >>> resolve_uri("localhost:5000")
    Traceback (most recent call last):
    initbench.errors.InputError: track.uri=localhost:5000: the scheme is missing; did you mean http://localhost:5000?
    """
    if setting is None:
        return None
    if setting == "auto":
        given = os.environ.get("MLFLOW_TRACKING_URI")
        if not given:
            return _checked(sqlite_uri(Path.cwd() / "mlflow.db"), "track.uri")
        return _checked(given, "MLFLOW_TRACKING_URI")
    return _checked(setting, key)


def sqlite_uri(file: Path) -> str:
    """`sqlite:///` and the absolute path, on Linux four slashes."""
    return "sqlite:///" + file.absolute().as_posix()


def sqlite_file(uri: str) -> Path | None:
    """The database file of a SQLite URI; None for any other store and for a database in memory.

    >>> sqlite_file("sqlite:////data/mlflow.db").as_posix()
    '/data/mlflow.db'
    """
    scheme, _, rest = uri.partition(":///")
    path = rest.partition("?")[0]
    if scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:"):
        return None
    return Path(path)


def _checked(uri: str, where: str) -> str:
    def refuse(wrong: str, do: str = ALLOWED) -> InputError:
        return refusal(f"{where}={shown(masked(uri))}", masked(wrong), masked(do))

    if not isinstance(uri, str) or not uri or uri != uri.strip():
        raise refuse("not an address")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    name = scheme[1].lower() if scheme else ""
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        raise refuse("the scheme is missing", f"did you mean http://{uri}?")
    if name in ("http", "https"):
        if not urllib.parse.urlsplit(uri).hostname:
            raise refuse("the host is missing", "write e.g. http://localhost:5000")
    elif name.partition("+")[0] in DATABASES:
        if "://" not in uri:
            raise refuse("the :// is missing")
        if name.partition("+")[0] == "sqlite":
            return _checked_sqlite(uri, where, refuse)
    elif name in ("file", ""):
        if name == "" and "/" not in uri and not Path(uri).is_dir():
            raise refuse("not an address")
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
            wrong = "MLflow no longer writes to a folder (MLFLOW_ALLOW_FILE_STORE=true allows it)"
            raise refuse(wrong, "use sqlite:///mlflow.db")
    elif name != "databricks":
        raise refuse(f"the scheme {name} is unknown")
    return uri


def _checked_sqlite(uri: str, where: str, refuse) -> str:
    file = sqlite_file(uri)
    if file is None:
        raise refuse("a database file is needed", "write e.g. sqlite:///mlflow.db")
    away = f"move it away, or set {'track.uri to another file, or null' if where == 'track.uri' else f'{where} to another file'}"
    if file.is_dir():
        raise refuse("this is a folder, a database file is needed", away)
    above = next(p for p in file.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(file if file.exists() else above, os.W_OK):
        raise refuse("the file cannot be written", away)
    if file.exists() and (wrong := _no_database(file)):
        raise refuse(wrong, away)
    if file.is_absolute():
        return uri
    query = uri.partition("?")[2]
    return sqlite_uri(file).replace("sqlite", uri.partition(":")[0], 1) + (f"?{query}" if query else "")


def _no_database(file: Path) -> str:
    """Why MLflow could not use an existing file, in words: it would try for minutes. Empty where nothing is known."""
    if not file.is_file():
        return "this is not a regular file, a database file is needed"
    try:
        with file.open("rb") as content:
            head = content.read(16)
        if head and head != b"SQLite format 3\0":
            return "this is not a SQLite database"
        with closing(
            sqlite3.connect(f"file:{urllib.parse.quote(str(file.absolute()))}?mode=ro", uri=True, timeout=1.0)
        ) as found:
            revisions = [str(row[0]) for row in found.execute("SELECT version_num FROM alembic_version")]
    except OSError as error:
        return f"the file cannot be read ({error.strerror or error})"
    except sqlite3.OperationalError:  # no such table: new or another's; or locked, which passes
        return ""
    except sqlite3.DatabaseError as error:
        return f"a damaged database ({one_line(error)})"
    spec = find_spec("mlflow")
    known = {path.name.partition("_")[0] for folder in (spec.submodule_search_locations if spec else None) or []
             for path in Path(folder, "store", "db_migrations", "versions").glob("*.py")}  # fmt: skip
    if known and not set(revisions) <= known:
        return "written by another version of MLflow, perhaps a newer one: update mlflow"
    return ""


def nothing_at(uri: str) -> str | None:
    """Why nothing can be read from a store, in words; None if something may be there.

    MLflow itself would write a new database, tables into another program's included.
    """
    file = sqlite_file(uri)
    if file is None:
        return None
    if not file.exists():
        return f"no database at {file}"
    try:
        with closing(
            sqlite3.connect(f"file:{urllib.parse.quote(str(file.absolute()))}?mode=ro", uri=True, timeout=1.0)
        ) as found:
            tables = {row[0] for row in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:  # locked, or damaged: `unreachable` knows the words
        return None
    return None if {"alembic_version", "experiments"} <= tables else f"{file} is no database of MLflow"


def unreachable(uri: str, seconds: float = PROBE_SECONDS) -> str | None:
    """Why the store does not answer, in a few words; None if it does, or if there is no telling beforehand.

    MLflow itself would retry for minutes, a broken SQLite file included.
    """
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in ("http", "https"):
        return _no_answer(uri.rstrip("/") + "/health", seconds)
    if (file := sqlite_file(uri)) is not None:
        return _not_writable(file, seconds) if file.exists() else None
    if scheme in PORTS:
        parts = urllib.parse.urlsplit(uri)
        try:
            if parts.hostname:  # else a local socket
                socket.create_connection((parts.hostname, parts.port or PORTS[scheme]), seconds).close()
        except OSError as error:
            return one_line(error.strerror or error)
    return None


def _no_answer(address: str, seconds: float) -> str | None:
    try:
        with urllib.request.urlopen(address, timeout=seconds):
            return None
    except urllib.error.HTTPError:
        return None  # an answer: whether it is one of MLflow's is MLflow's business (log-in, proxies)
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return None
        return one_line(getattr(reason, "strerror", None) or reason)


def _not_writable(file: Path, seconds: float) -> str | None:
    try:
        with closing(sqlite3.connect(file, timeout=seconds)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        return None
    except sqlite3.Error as error:
        return one_line(error)


def one_line(error: object, limit: int = 200) -> str:
    """The first line of a message that says something.

    >>> one_line(ValueError("no such host\\nsecond line"))
    'no such host'
    """
    lines = [line.strip() for line in masked(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def ui_command(uri: str) -> str:
    """What a person types to see the store; of a server: its address.

    >>> ui_command("sqlite:////data/mlflow.db")
    'mlflow ui --backend-store-uri sqlite:////data/mlflow.db'
    """
    uri = masked(uri)
    if uri.startswith(("http://", "https://", "databricks")):
        return uri
    quoted = uri if re.fullmatch(r"[\w@%+=:,./-]+", uri) else "'" + uri.replace("'", "'\"'\"'") + "'"
    return f"mlflow ui --backend-store-uri {quoted}"


def link(uri: str, experiment_id: str, view: str | None = None) -> str:
    """The page of the study: its runs as a table, or with `view` the saved charts. A fresh UI opens without
    it in another mode, which hides runs.

    >>> link("sqlite:////data/mlflow.db", "1")
    'http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning'
    """
    base = re.sub("//[^/]*@", "//", uri.rstrip("/")) if uri.startswith(("http://", "https://")) else LOCAL_UI
    page = f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return page if view is None else f"{page}&compareRunsMode=CHART&viewStateShareKey={view}"
