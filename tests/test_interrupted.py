"""Ctrl-C while a person's own code loops for ever: one line and status 130, the second one ends at once, nobody is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROCESSES = Path("/proc")
ENOUGH = 60.0  # seconds; everything here is far faster, but the machine may be busy
COMMAND = [
    *("sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", "track.uri=null", "measure=none"),
    *("engine.chunk=1", "report.formats=[csv]", "study=s"),
]
OWN = """
import multiprocessing
from pathlib import Path

def loops(weight):
    if multiprocessing.parent_process() is not None:
        Path("looping").touch()
        while True: pass
    weight.fill_(0.1)

def never_listens(weight):
    while True:
        try:
            Path("looping").touch()
            while True: pass
        except BaseException:
            Path("heard").touch()
"""

pytestmark = pytest.mark.skipif(not (PROCESSES / "self" / "stat").exists(), reason="no list of processes to look at")


def until(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + ENOUGH
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def alive(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    found = []
    for path in PROCESSES.glob("[0-9]*"):
        try:
            state, _, its_group = (path / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append((path / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended meanwhile
            continue
    return found


def listening() -> None:
    """As in a terminal: a shell's job in the background, which these tests may be, ignores Ctrl-C and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(tmp_path):
    """Start a command with an initializer of one's own, as a terminal does; gives it when that loops."""
    (tmp_path / "own_loop.py").write_text(OWN)
    started = []

    def starting(function: str, workers: int) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "initbench",
            f"init=own_loop.{function}",
            f"engine.workers={workers}",
            *COMMAND,
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            command, cwd=tmp_path, text=True, start_new_session=True, preexec_fn=listening, **pipes
        )
        started.append(process)
        assert until((tmp_path / "looping").exists)
        return process

    yield starting
    for process in started:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def test_a_worker_that_loops_ends_with_the_command(start):
    process = start("loops", 2)
    assert len(alive(process.pid)) > 1
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=ENOUGH)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "initbench: interrupted; finished runs are stored, the same command goes on"
    assert until(lambda: not alive(process.pid)), alive(process.pid)


SWALLOWED = """
import os, signal, time, weakref
from initbench.startup.processes import interrupt_twice
interrupt_twice()
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda gone: os.kill(os.getpid(), signal.SIGINT))
try:
    del thing  # Python drops what is raised in there
    time.sleep(60)
except KeyboardInterrupt:
    print("heard")
"""


def test_one_that_python_drops_comes_again():
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED], capture_output=True, text=True, preexec_fn=listening, timeout=ENOUGH
    )
    assert "Exception ignored" in done.stderr
    assert (done.returncode, done.stdout) == (0, "heard\n")


def test_the_second_one_ends_also_what_took_the_first(start, tmp_path):
    process = start("never_listens", 1)
    os.killpg(process.pid, signal.SIGINT)
    assert until((tmp_path / "heard").exists)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=ENOUGH) == ("", "")
    assert process.returncode == -signal.SIGINT  # a shell says 130
    assert until(lambda: not alive(process.pid)), alive(process.pid)
