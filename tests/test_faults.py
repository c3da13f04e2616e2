"""The fault matrix in small: kills at random moments of every phase, and the cheap rows, each compared with what was undisturbed.

Commands are forked from this process, which has imported everything: a kill costs a quarter of a second. The same with real
processes and workers is `python -m benchmarks.faults`.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from importlib import import_module
from multiprocessing import process, resource_tracker
from multiprocessing.util import _exit_function
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDY = (
    *("init=eye", "sharing=none", "seeds=4", "optim.lr=0.1", "train.steps=3", "model.width=8", "model.depth=2", "measure=none"),
    *("engine.workers=1", "engine.chunk=1", "report.formats=[csv,archive]", "study=s"),
)  # fmt: skip
UNTRACKED = (*STUDY, "track.uri=null")
KILLS = 12

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no list of processes to look at")
sys.path.insert(0, str(ROOT))
from benchmarks.faults import kills, rows, world  # noqa: E402

sys.path.remove(str(ROOT))


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


class Forked(world.World):
    """A world whose commands are forked from this process."""

    def start(self, *asked, module="initbench", env=None, before=lambda: None, streams=None, code=None):
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
        self.begun.append(world.Running(Child(pid), *files))
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


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Gives new worlds; all that a command imports is imported here."""
    from initbench.__main__ import main

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("here"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(list(STUDY)) == 0
    count = iter(range(1000))
    return lambda study=STUDY: Forked(study, tmp_path_factory.mktemp("faults") / str(next(count)))


@pytest.fixture(scope="module")
def finished(at):
    """The untracked study, undisturbed."""
    made = at(UNTRACKED)
    assert made.run().status == 0
    return made


def test_killed_at_random_moments_of_every_phase_it_ends_as_if_nothing_had_happened(at, monkeypatch):
    undisturbed = at()
    assert undisturbed.run().status == 0
    truth = undisturbed.content()
    assert truth["MLflow points"]
    monkeypatch.setattr(kills, "STATUS", 0)
    short = {
        "planning": 0.1,
        "training": 0.08,
        "frames": 0.02,
        "report": 0.1,
        "MLflow": 0.1,
        "archive": 0.005,
        "end": 0.01,
    }
    for phase, seconds in short.items():
        monkeypatch.setitem(kills.PHASES, phase, seconds)
    chains = []
    for index in (0, 2):  # the two that need no workers
        left = KILLS - len(kills.hits(chains))
        chains.append(kills.chain(index, truth, os.getpid(), left, at))
    for one in chains:
        assert (one.status, one.differs, one.leftovers) == (0, [], [])
        assert [kill.orphans for kill in one.kills if kill.orphans] == []
    assert len(kills.hits(chains)) >= KILLS - 2
    assert len({kill.phase for kill in kills.hits(chains)}) >= 5


@pytest.mark.parametrize("one", [one for one in rows.CASES if one.quick], ids=lambda one: one.name)
def test_a_fault_is_one_line_and_the_same_command_ends_as_if_nothing_had_happened(one, at, finished):
    quick = rows.Case(one.group, one.name, one.act, one.finished, UNTRACKED)
    row = rows.judged(quick, finished, finished.content(), at)
    assert row.fine, row
    assert row.said.isprintable()
