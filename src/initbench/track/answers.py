"""Whether a tracking store answers, and what it holds. No mlflow needed: MLflow itself would retry for minutes."""

from __future__ import annotations

import http.client
import re
import socket
import sqlite3
import ssl
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from pathlib import Path

from initbench.errors import one_line
from initbench.track.databases import PORTS, no_database, other_version, read_only
from initbench.track.uri import sqlite_file

PROBE_SECONDS = 4.0


def nothing_at(uri: str) -> str | None:
    """Why nothing can be read from a store, in words; None if something may be there.

    MLflow itself would write a new database, tables into another program's included.
    """
    file = sqlite_file(uri)
    if file is None:
        if uri.partition(":")[0].partition("+")[0] not in PORTS or _no_connection(uri, PROBE_SECONDS):
            return None  # `unreachable` knows the words
        return None if _revisions(uri, PROBE_SECONDS) else "no tables of MLflow in this database"
    if not file.exists():
        return f"no database at {file}"
    try:
        with closing(read_only(file)) as found:
            tables = {row[0] for row in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error:  # locked, or damaged: `unreachable` knows the words
        return None
    return None if {"alembic_version", "experiments"} <= tables else f"{file} is no database of MLflow"


def unreachable(uri: str, seconds: float = PROBE_SECONDS) -> str | None:
    """Why the store does not answer or cannot be used, in a few words; None if it does, or if there is no telling
    beforehand."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme in ("http", "https"):
        return _no_answer(uri.rstrip("/") + "/health", seconds)
    if (file := sqlite_file(uri)) is not None:
        return (_not_writable(file, seconds) or no_database(file) or None) if file.exists() else None
    if scheme in PORTS:
        return _no_connection(uri, seconds)
    return None


def _no_answer(address: str, seconds: float) -> str | None:
    """Asked without the name and password in the address: any answer is one, whether they are right is told later."""
    parts = urllib.parse.urlsplit(address)
    bare = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        with urllib.request.urlopen(bare, timeout=seconds):
            return None
    except urllib.error.HTTPError as error:
        # whether another answer is one of MLflow's is MLflow's business (log-in, proxies)
        return f"it answers {error.code} ({error.reason})" if error.code >= 500 else None
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return None
        return one_line(getattr(reason, "strerror", None) or reason)


# how long to wait for a database, in its driver's word
TIMEOUTS = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "mssql": "timeout"}


def _no_connection(uri: str, seconds: float) -> str | None:
    """Why a database cannot be used: MLflow would try for a minute and a half, a wrong password included."""
    try:
        revisions = _revisions(uri, seconds)
    except ImportError as error:
        return f"the database driver {error.name} is not installed"
    except OSError as error:
        return one_line(error.strerror or error)
    except Exception as error:  # of SQLAlchemy, of a driver
        return said(error)
    # MLflow would bring older tables up to date, and so break the server that works on them
    return next((wrong for one in revisions if (wrong := other_version(one, older=True))), None)


def _revisions(uri: str, seconds: float) -> list[str]:
    """The revisions of MLflow's tables in a database that answers; none where they are not there."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.pool import NullPool

    url = make_url(uri)
    kind = url.get_backend_name()
    if url.host:  # else a local socket; first, for a driver's own words are long
        socket.create_connection((url.host, url.port or PORTS[kind]), seconds).close()
    engine = create_engine(url, poolclass=NullPool, connect_args={TIMEOUTS[kind]: max(2, round(seconds))})
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return []
        return [str(one) for one in connection.execute(text("SELECT version_num FROM alembic_version")).scalars()]


# what requests and urllib3 say of a server, and in words
SAID = {
    r"too many (\d+) error responses": r"it answers \1 to every try",
    r"Read timed out\. \(read timeout=(\w+)\)": r"no answer for \1 s",
    r"Connect(?:ion to \S+ )?[Tt]ime": "no answer",
    r"\[Errno \d+\] (Connection refused|Network is unreachable|No route to host)": r"\1",
    r"(Connection aborted|Connection reset by peer|Remote end closed connection)": r"\1",
}


def said(error: object) -> str:
    """What a store says, in one line: the words behind those of the libraries between.

    >>> said('(psycopg2.OperationalError) connection to server at "h", port 1 failed: FATAL:  no role "x"')
    'no role "x"'
    >>> said("API request to http://h/api failed with exception (Caused by ResponseError('too many 500 error responses'))")
    'it answers 500 to every try'
    """
    line = one_line(error, 2000)
    for pattern, words in SAID.items():
        if found := re.search(pattern, line):
            return found.expand(words)
    line = re.sub(r"^\(\w+(\.\w+)*\) ", "", line)
    return one_line(re.sub(r".*(?:FATAL|ERROR): +", "", line))


def _not_writable(file: Path, seconds: float) -> str | None:
    try:
        with closing(sqlite3.connect(file, timeout=seconds)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        return None
    except sqlite3.Error as error:
        return one_line(error)
