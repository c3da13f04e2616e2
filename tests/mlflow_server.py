"""MLflow's own server in this process, which can be told to be ill."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Answer = Callable[[int, str], str | None]  # number and path of a request -> a status in the place of MLflow's answer


class Server:
    """`faults(number, path)` may sleep, or give a status to answer with; None: MLflow answers."""

    def __init__(self, uri: str, folder: Path) -> None:
        from mlflow.server import handlers
        from mlflow.server.constants import (
            ARTIFACT_ROOT_ENV_VAR,
            ARTIFACTS_DESTINATION_ENV_VAR,
            BACKEND_STORE_URI_ENV_VAR,
            SERVE_ARTIFACTS_ENV_VAR,
        )

        self.environment = {
            BACKEND_STORE_URI_ENV_VAR: uri,
            ARTIFACT_ROOT_ENV_VAR: "mlflow-artifacts:/",
            ARTIFACTS_DESTINATION_ENV_VAR: str(folder),
            SERVE_ARTIFACTS_ENV_VAR: "true",
            "MLFLOW_SERVER_ALLOWED_HOSTS": "*",
        }
        handlers._tracking_store = handlers._artifact_repo = None
        self.faults: Answer = lambda number, path: None
        self.requests: list[str] = []

    def __call__(self, environ, start_response):
        from mlflow.server import app

        number = len(self.requests)
        self.requests.append(environ["PATH_INFO"])
        self.headers = {key: value for key, value in environ.items() if key.startswith("HTTP_")}
        status = self.faults(number, environ["PATH_INFO"])
        if status is None:
            return app(environ, start_response)
        start_response(status, [("Content-Type", "text/plain")])
        return [b"out of order"]


@contextmanager
def serving(uri: str, folder: Path) -> Iterator[tuple[str, Server]]:
    """(its address, the server)."""
    from mlflow.server import handlers
    from werkzeug.serving import WSGIRequestHandler, make_server

    server = Server(uri, folder)
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)

    class Handler(WSGIRequestHandler):
        def log_request(self, *args: object) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        made = make_server("127.0.0.1", 0, server, threaded=True, request_handler=Handler)
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}", server
        finally:
            made.shutdown()
            handlers._tracking_store = handlers._artifact_repo = None


def silent(seconds: float) -> Answer:
    """A server that takes its time for everything but its health."""

    def answer(number: int, path: str) -> str | None:
        if path != "/health":
            time.sleep(seconds)
        return None

    return answer
