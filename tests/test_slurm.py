"""A sweep of 20 arms on a real Slurm of one node: a job is killed, one cancelled, one ends at its time limit, the node is
drained on the way; the same command again completes the study byte for byte. So do joblib and submitit_local."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ENOUGH = 600.0  # seconds; everything here is far faster, but the machine may be busy
FRAMES = ("runs.parquet", "history.parquet", "leaderboard.csv", "comparisons.csv", "effects.csv", "summary.csv")
HELD = ("killed", "cancelled", "late")
OWN = """
import os, sys, time
from pathlib import Path

def start(weight, generator, name, std):
    if "SUBMITIT_EXECUTOR" in os.environ:
        assert "mlflow" not in sys.modules
        try:
            told = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']} {os.getpid()}"
            with open(f"held-{name}", "x") as file:
                file.write(told)
        except (FileExistsError, KeyError):  # another job; submitit_local
            pass
        else:
            while not Path("released").exists():
                time.sleep(0.1)
    return weight.normal_(0.0, std, generator=generator)

def killed(weight, *, generator): return start(weight, generator, "killed", 0.2)
def cancelled(weight, *, generator): return start(weight, generator, "cancelled", 0.3)
def late(weight, *, generator): return start(weight, generator, "late", 0.4)
"""
INITS = "eye,zeros,orthogonal,held.killed,normal,held.cancelled,kaiming_normal,held.late,xavier_normal,lecun_normal"
STUDY = [
    *(f"init={INITS}", "sharing=none,all", "seeds=2", "optim.lr=[0.1,0.3]", "train.steps=4", "track.uri=null"),
    *("report.formats=[csv]", "study=s", "measure=none"),
]
SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.tasks=7", "hydra.launcher.cpus_per_task=1", "outputs=slurm",
         "hydra.launcher.mem_gb=1"]  # fmt: skip

pytestmark = [pytest.mark.needs_slurm, pytest.mark.slow]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a Slurm of one node."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="hydra-submitit-launcher is not installed")
    for program in ("sbatch", "munged", "slurmctld", "slurmd"):
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            pytest.skip(f"no {program}: install the system packages slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    script = str(ROOT / ".ci" / "slurm")
    with open(folder / "start", "w") as output:
        started = subprocess.run([script, "start", str(folder), "5"], stdout=output, stderr=output, timeout=ENOUGH)
    try:
        if started.returncode:
            pytest.skip(f"Slurm does not start here: {(folder / 'start').read_text().strip().splitlines()[-1:]}")
        yield {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "COLUMNS": "200"}
    finally:
        subprocess.run([script, "stop", str(folder)], timeout=ENOUGH)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + ENOUGH
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.2)


def done(folder: Path, env: dict[str, str], *more: str, status: int = 0) -> str:
    """What the study's command prints."""
    command = [sys.executable, "-m", "initbench", *STUDY, *more]
    made = subprocess.run(
        command, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ENOUGH
    )
    assert made.returncode == status, made.stdout + made.stderr
    return made.stdout + made.stderr


@pytest.fixture(scope="module")
def basic(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of the basic launcher."""
    folder = tmp_path_factory.mktemp("basic")
    (folder / "held.py").write_text(OWN)
    done(folder, slurm, "outputs=basic", "engine.workers=1")
    return folder / "basic"


def test_faults_on_the_way_cost_nothing(slurm, basic, tmp_path):
    (tmp_path / "held.py").write_text(OWN)

    def ask(*command: str) -> str:
        return subprocess.run(
            command, env=slurm, capture_output=True, text=True, timeout=ENOUGH, check=True
        ).stdout.strip()

    def state(job: str) -> str:
        return ask("squeue", "--noheader", "--states=all", "--array", "--format=%T", f"--jobs={job}")

    command = [sys.executable, "-m", "initbench", *STUDY, *SLURM]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    study = subprocess.Popen(command, cwd=tmp_path, env=slurm, text=True, **pipes)
    try:
        files = {name: tmp_path / f"held-{name}" for name in HELD}
        until(lambda: all(path.exists() and path.stat().st_size for path in files.values()), "three jobs are held")
        held = {name: path.read_text().split() for name, path in files.items()}
        jobs = {name: job for name, (job, _) in held.items()}
        node = ask("sinfo", "--noheader", "--format=%n")
        ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        os.kill(int(held["killed"][1]), signal.SIGKILL)
        ask("scancel", jobs["cancelled"])
        # submitit takes a job that ends long before its time for a preempted one, and may be quick enough to queue it again
        ask("scontrol", "update", f"jobid={jobs['late']}", "Requeue=0", "EndTime=now+1seconds")
        until(lambda: all(state(job) in ("FAILED", "CANCELLED", "TIMEOUT") for job in jobs.values()), "they have ended")
        assert study.poll() is None
        ask("scontrol", "update", f"nodename={node}", "state=resume")
        said = study.communicate(timeout=ENOUGH)[0]
    finally:
        study.kill()
        study.wait()
    assert study.returncode == 1, said
    for name, word in {"killed": "FAILED", "cancelled": "CANCELLED", "late": "TIMEOUT"}.items():
        assert any(
            f"job {jobs[name]} {word}" in line for line in said.splitlines() if line.startswith(f"  held.{name}")
        ), said
    assert "Traceback" not in said
    assert "BrokenProcessPool" not in said
    records = json.loads((tmp_path / "slurm" / "s" / "study.json").read_text())["arms"]
    lost = [arm for arm in records if arm["status"] != "done"]
    assert {"held.killed", "held.cancelled", "held.late"} <= {arm["init"] for arm in lost}
    assert len(lost) <= 9  # the arms of three jobs
    assert not (tmp_path / "slurm" / "s" / ".jobs.json").exists()
    (tmp_path / "released").touch()
    again = done(tmp_path, slurm, *SLURM)
    assert f"study s: 20 arms, 80 runs, {80 - 4 * len(lost)} already stored" in again
    assert_same(tmp_path / "slurm", basic)


@pytest.mark.parametrize(
    "launcher",
    [["joblib", "hydra.launcher.n_jobs=2"], ["submitit_local", "hydra.launcher.tasks=2"]],
    ids=lambda one: one[0],
)
def test_launchers_on_this_machine_give_the_same(launcher, slurm, basic, tmp_path):
    (tmp_path / "held.py").write_text(OWN)
    name, *more = launcher
    done(tmp_path, slurm, f"hydra/launcher={name}", *more, "outputs=other")
    assert_same(tmp_path / "other", basic)


def assert_same(outputs: Path, basic: Path) -> None:
    """The frames and tables of the study have the bytes that the basic launcher's have."""
    for name in FRAMES:
        assert (outputs / "s" / name).read_bytes() == (basic / "s" / name).read_bytes(), name
