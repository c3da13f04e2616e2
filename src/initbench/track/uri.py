"""Where a study is tracked: which URI, is it sane, where are its pages. No mlflow needed."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from initbench.errors import InputError, masked, refusal, shown
from initbench.track.databases import PORTS, no_database, with_driver

DATABASES = ("sqlite", *PORTS)
ALLOWED = (
    "must be one of: auto, null, sqlite:///file.db, postgresql://..., mysql://..., mssql://..., http(s)://host:port"
)
LOCAL_UI = "http://127.0.0.1:5000"  # where `mlflow ui` serves


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
        return refusal(f"{where}={shown(masked(uri))}", wrong, do)

    if not isinstance(uri, str) or not uri or uri != uri.strip():
        raise refuse("not an address")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    name = scheme[1].lower() if scheme else ""
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        raise refuse("the scheme is missing", f"did you mean http://{uri}?")
    if name in ("http", "https", *PORTS) and (whole := "".join(uri.split())) != uri:
        raise refusal(f"{where}={shown(masked(whole))}", "there is a space in it", "write %20")
    if name in ("http", "https"):
        _check_server(uri, refuse)
    elif name.partition("+")[0] in DATABASES:
        if "://" not in uri:
            raise refuse("the :// is missing")
        if name.partition("+")[0] == "sqlite":
            return _checked_sqlite(uri, where, refuse)
        try:
            return with_driver(uri)
        except ImportError as error:
            raise refuse(str(error), f"pip install {error.name}") from None
        except ValueError as error:
            raise refuse(str(error)) from None
    elif name in ("file", ""):
        if name == "" and "/" not in uri and not Path(uri).is_dir():
            raise refuse("not an address")
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() not in ("true", "1"):
            wrong = "MLflow no longer writes to a folder (MLFLOW_ALLOW_FILE_STORE=true allows it)"
            raise refuse(wrong, "use sqlite:///mlflow.db")
    elif name != "databricks":
        raise refuse(f"the scheme {name} is unknown")
    return uri


def _check_server(uri: str, refuse: Callable[..., InputError]) -> None:
    try:
        parts = urllib.parse.urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise refuse("not an address", "write special characters of a password as %23 (#), %2F (/), %3A (:)") from None
    if not parts.hostname:
        raise refuse("the host is missing", "write e.g. http://localhost:5000")
    if parts.query or parts.fragment:
        raise refuse("MLflow's address has no ? and no #", "give a token in MLFLOW_TRACKING_TOKEN")


def _checked_sqlite(uri: str, where: str, refuse: Callable[..., InputError]) -> str:
    file = sqlite_file(uri)
    if file is None:
        raise refuse("a database file is needed", "write e.g. sqlite:///mlflow.db")
    away = f"move it away, or set {'track.uri to another file, or null' if where == 'track.uri' else f'{where} to another file'}"
    if file.is_dir():
        raise refuse("this is a folder, a database file is needed", away)
    above = next(p for p in file.absolute().parents if p.exists())
    if not above.is_dir() or not os.access(file if file.exists() else above, os.W_OK):
        raise refuse("the file cannot be written", away)
    if file.exists() and (wrong := no_database(file)):
        raise refuse(wrong, away)
    if file.is_absolute():
        return uri
    query = uri.partition("?")[2]
    return sqlite_uri(file).replace("sqlite", uri.partition(":")[0], 1) + (f"?{query}" if query else "")


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


def link(uri: str, experiment_id: str, view: str | None = None, charts: bool = False) -> str:
    """The page of the study: its runs as a table, with the columns of the saved `view`, or its charts. A fresh UI opens
    without it in another mode, which hides runs.

    >>> link("sqlite:////data/mlflow.db", "1")
    'http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning'
    """
    base = re.sub("//.*@", "//", uri.rstrip("/")) if uri.startswith(("http://", "https://")) else LOCAL_UI
    page = f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    mode = "&compareRunsMode=CHART" if charts else ""
    return page if view is None else f"{page}{mode}&viewStateShareKey={view}"
