"""Commands that are forked from this process, which has imported all that they need: a tenth of the time of a new one.

They are processes, groups and sessions of their own, and die as others do.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from functools import cache
from importlib import import_module
from multiprocessing import process, resource_tracker
from multiprocessing.util import _exit_function
from pathlib import Path

from benchmarks.faults.world import ALONE, Running, World


class Child:
    """A forked command, as subprocess has it."""

    def __init__(self, pid: int) -> None:
        self.pid, self.status = pid, None

    def poll(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def wait(self, seconds=60.0):
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.002)
        return self.status


class Forked(World):
    """A world whose commands are forked from this process."""

    def start(self, *asked, module="initbench", env=None, before=lambda: None, streams=None, code=None):
        warm()
        self.look()
        files = [self.folder / f"{len(self.begun)}.{name}" for name in ("out", "err")]
        for file in files:
            file.touch()
        pid = os.fork()
        if pid == 0:
            status = 70
            try:
                status = self.child(files, asked or self.study, module, env or {}, before, streams or {})
                _exit_function()  # as at the end of a process
            finally:
                os._exit(status)
        self.begun.append(Running(Child(pid), *files))
        return self.begun[-1]

    def child(self, files, asked, module, env, before, streams):
        """What the forked process does."""
        from initbench.startup.processes import interrupt_twice

        tempfile.tempdir = resource_tracker._resource_tracker._fd = None  # else those of this process
        config = process.current_process()._config
        config.pop("tempdir", None)
        config["semprefix"] = "/mp"
        os.setsid()
        os.chdir(self.place)
        wanted = self.env(env)
        os.environ.clear()
        os.environ.update(wanted)
        for number, (name, file) in enumerate(zip(("stdout", "stderr"), files), 1):
            given = streams.get(name)
            given = os.open(file, os.O_WRONLY) if given is None else given
            os.dup2(given if isinstance(given, int) else given.fileno(), number)
        encoding = env.get("PYTHONIOENCODING", "utf-8")
        before()
        sys.stderr = open(2, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        try:
            sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        except OSError:
            sys.stdout = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupt_twice()
        return import_module(f"{module}.__main__").main(list(asked))


@cache
def warm() -> None:
    """Import all that a command needs, by giving one here."""
    from initbench.__main__ import main

    before, address = Path.cwd(), os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            main(["init=eye", *ALONE[1:4], "train.steps=1", *ALONE[5:]])
        finally:
            os.chdir(before)
            if address is not None:
                os.environ["MLFLOW_TRACKING_URI"] = address
