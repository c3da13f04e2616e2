"""A PostgreSQL server of one's own, for a while: no service, no configuration, nothing left. Skips where there is none."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest


def programs() -> Path | None:
    """The folder of initdb and pg_ctl: on the path, or where Debian keeps them."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders and (folders[-1] / "pg_ctl").exists() else None


def missing() -> str:
    """Why there is no PostgreSQL here; empty where there is one."""
    if programs() is None:
        return "needs PostgreSQL (apt-get install postgresql)"
    if find_spec("psycopg2") is None:
        return "needs psycopg2 (pip install 'initbench[postgresql]')"
    if os.name != "posix" or (os.getuid() == 0 and shutil.which("setpriv") is None):
        return "needs setpriv: PostgreSQL does not run as root"
    return ""


needs_postgresql = pytest.mark.skipif(bool(missing()), reason=missing() or "there")


class Server:
    """One server; databases are made as they are asked for."""

    PASSWORD = "S3cr3t-pw"

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.as_user: list[str] = []
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            nobody = 65534
            os.chown(folder, nobody, nobody)
            self.as_user = ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
        (folder / "password").write_text(self.PASSWORD)
        (folder / "password").chmod(0o644)
        self.do("initdb", "-D", str(self.data), "-U", "alice", "-A", "scram-sha-256", "--no-sync",
                "--pwfile", str(folder / "password"), "-E", "UTF8", "--locale=C")  # fmt: skip
        self.start()

    def do(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs."""
        folder = programs()
        assert folder is not None
        done = subprocess.run([*self.as_user, str(folder / name), *arguments], capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -h 127.0.0.1 -F -c max_connections=60"
        log = str(self.folder / "log")
        # not by a pipe, which the server would keep open
        folder = programs()
        command = [*self.as_user, str(folder / "pg_ctl"), "-D", str(self.data), "-l", log, "-w", "-o", options, "start"]  # type: ignore[operator]
        assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/").returncode == 0

    def stop(self) -> None:
        self.do("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def uri(self, database: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://alice:{password}@127.0.0.1:{self.port}/{database}"

    def new(self, template: str = "template1") -> str:
        """URI of a new database, a copy of another."""
        name = f"d{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.uri(name)

    def run(self, statement: str, uri: str | None = None) -> list[tuple]:
        """The rows of a statement, in a transaction of no one else."""
        import psycopg2

        connection = psycopg2.connect(uri or self.uri())
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        server = Server(Path(name))
        try:
            yield server
        finally:
            server.stop()
