"""The report that another process draws: the same bytes as by this one, and errors, Ctrl-C and an early end come through."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import initbench as ib
from initbench.__main__ import main
from initbench.errors import InputError
from initbench.startup import processes
from initbench.startup.processes import later
from initbench.study import again, worker
from initbench.study import command as study
from initbench.study import launch as job
from initbench.study.written import report

FORMATS = ("html", "md", "csv", "latex", "figures", "archive")
COMMAND = [
    *("init=eye,kaiming_normal", "sharing=none", "seeds=3", "optim.lr=[0.1,0.3]", "train.steps=20", "track.uri=null"),
    *("model.depth=3", "model.width=8", "train.target.value=0.2", f"report.formats=[{','.join(FORMATS)}]", "study=s"),
]
NOT_HERE = ("matplotlib", "fontTools", "initbench.report.blocks", "scipy.linalg")
CODE = """
import sys
from initbench.__main__ import main
status = main(sys.argv[2:])
print(status, *[name for name in sys.argv[1].split(",") if name in sys.modules])
"""

pytestmark = pytest.mark.skipif(
    processes.context().get_start_method() != "forkserver" or processes.cores() == 1,
    reason="no process to fork from, or no second core",
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """The folder of a study whose report another process has drawn; this one has imported nothing for it."""
    folder = tmp_path_factory.mktemp("beside")
    # compiled here: where no kernel is kept yet, the command compiles it, and Numba imports scipy.linalg
    worker.ready(job.functions(study.plan([*COMMAND, f"outputs={folder}"]).arms))
    command = [sys.executable, "-c", CODE, ",".join(NOT_HERE), *COMMAND]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["0"], done.stdout + done.stderr
    return folder / "outputs" / "s"


@pytest.fixture
def results(drawn, tmp_path):
    """The same study in a folder without report."""
    for name in ("runs.parquet", "history.parquet", "study.json"):
        shutil.copy(drawn / name, tmp_path / name)
    return ib.load(tmp_path)


@pytest.fixture
def process():
    assert processes.begin()
    with study.beside(True) as one:
        yield one


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != again.NOTE]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_it_has_the_same_bytes(drawn, results):
    results.report(formats=FORMATS)
    here, there = files(results.folder), files(drawn)
    assert {"report.html", "report.tex", "study.zip"} < here.keys()
    assert any(name.endswith(".pdf") for name in here)
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_errors_come_through(results, process):
    with pytest.raises(InputError, match="format pdf: unknown; must be one of: html"):
        later(process, report, results.folder, ("pdf",))()


def test_a_killed_process_costs_no_report(results, process):
    number = process.submit(os.getpid).result()
    drawn = later(process, report, results.folder, ("csv",))
    os.kill(number, signal.SIGKILL)
    assert drawn()[0]["leaderboard.csv"].is_file()
    with pytest.raises(BrokenProcessPool):
        process.submit(os.getpid).result()
    assert later(process, report, results.folder, ("md",))()[0]["report.md"].is_file()


def test_ctrl_c_is_this_process_s_and_ends_the_other_cleanly(process):
    assert process.submit(signal.raise_signal, signal.SIGINT).result() is None
    assert process.submit(gc.get_threshold).result()[0] == 100_000  # it draws as fast as the command's own
    with pytest.raises(SystemExit):  # what was being written is cleaned up, as by any exception
        process.submit(signal.raise_signal, signal.SIGTERM).result()


def test_an_exception_here_ends_the_other_at_once():
    processes.begin()
    context = study.beside(True)
    endless = context.__enter__().submit(signal.pause)
    while not endless.running():
        time.sleep(0.01)
    assert not context.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with pytest.raises((SystemExit, BrokenProcessPool)):
        endless.result()


def test_one_core_or_one_worker_draws_in_this_process(folder, monkeypatch, capsys):
    monkeypatch.setattr(processes, "cores", lambda: 1)
    assert not processes.begin()
    monkeypatch.setattr(processes, "begin", lambda: pytest.fail("a process was started"))
    alone = [o for o in COMMAND if not o.startswith("report")]
    assert main([*alone, "report.formats=[csv]", "engine.workers=1"]) == 0
    assert Path("outputs/s/leaderboard.csv").is_file()
