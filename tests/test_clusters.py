"""Studies trained by other launchers: what each job trains, what is submitted, waited for and collected, what is refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import assert_template
from initbench import __main__ as command_line
from initbench.__main__ import main
from initbench.config.arm import Run
from initbench.errors import InputError
from initbench.store.parts import Store
from initbench.study import command, jobs, launchers, queues, submitted
from initbench.study.jobs import Piece
from initbench.study.launch import failure
from initbench.study.launchers import Launcher
from initbench.study.submitted import FILE, Queue

TINY = ["seeds=2", "optim.lr=[0.1,0.3]", "train.steps=3", "measure=none", "track.uri=null", "report.formats=[csv]"]
ONE = [*TINY, "study=s", "engine.workers=1"]
SLURM = next(target for target, (kind, _) in launchers.KINDS.items() if kind == "slurm")
JOBLIB = next(target for target, (kind, _) in launchers.KINDS.items() if kind == "joblib")


# ------------------------------------------------------------------------------------------------ what a job trains


@given(st.lists(st.tuples(st.integers(1, 9), st.floats(0, 1e13)), min_size=1, max_size=12), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_every_run_is_in_one_job(arms, tasks):
    pieces = [
        Piece((f"init={i}",), {f"key{i}": frozenset(Run(seed, 0.1) for seed in range(n))}, work)
        for i, (n, work) in enumerate(arms)
    ]
    share = max(jobs.WORTH, sum(one.operations for one in pieces) / tasks)
    parts = [part for piece in pieces for part in jobs.split(piece, share)]
    packs = jobs.packed(parts, tasks)
    made = [(key, run) for pack in packs for piece in pack for key, runs in piece.runs.items() for run in runs]
    assert sorted(made) == sorted((key, run) for piece in pieces for key, runs in piece.runs.items() for run in runs)
    assert len(packs) <= tasks
    assert all(packs)
    for part in parts:
        assert part.line[-1] == jobs.listed("seeds", jobs.seeds_of(part))
    heaviest = max(sum(piece.operations for piece in pack) for pack in packs)
    assert heaviest <= share * 1.001 + max(part.operations for part in parts)


def test_a_job_is_what_a_person_could_type(folder):
    plan = command.plan(["init=eye,zeros,normal", "sharing=all", "sharing.controls=true", "model.depth=3", *ONE])
    taken = {plan.arms[0].key: frozenset(run for run in plan.arms[0].config.runs if run.seed == 0)}
    made = jobs.jobs(plan, None, taken, tasks=2)
    assert len(made) == 2
    found = {}
    for job in made:
        first = [one for one in job.overrides if not one.startswith("hydra.")]
        (further,) = [one for one in job.overrides if one.startswith("hydra.sweeper.arms=")] or ["="]
        lines = [first, *jobs.read(parsed(further))] if further != "=" else [first]
        keys = set()
        for line in lines:
            again = command.plan([*(one for one in line if not one.startswith("study=")), "study=other"])
            for arm in again.arms:
                keys.add(arm.key)
                if arm.key in job.runs:
                    assert set(arm.config.runs) >= job.runs[arm.key]
        assert set(job.runs) <= keys
        for key, runs in job.runs.items():
            found[key] = found.get(key, frozenset()) | runs
    assert found == {arm.key: frozenset(arm.config.runs) - taken.get(arm.key, frozenset()) for arm in plan.arms}


def parsed(override: str) -> str:
    """The value of an override as Hydra reads it."""
    from initbench.overrides.read import parsed

    return parsed(override).value()


def test_more_seeds_are_new_jobs_of_the_new_seeds_only(folder):
    plan = command.plan(["init=eye", "sharing=none", *[one for one in ONE if one != "seeds=2"], "seeds=3"])
    (arm,) = plan.arms
    (job,) = jobs.jobs(plan, None, {arm.key: frozenset(run for run in arm.config.runs if run.seed < 2)}, tasks=8)
    assert "seeds=[2]" in job.overrides


# ------------------------------------------------------------------------------------------------ launchers


@pytest.mark.parametrize(
    ("overrides", "line"),
    {
        "hydra/launcher=submitit_slurm hydra.launcher.cpus_per_task=two": "hydra.launcher.cpus_per_task=two: not allowed",
        "hydra/launcher=submitit_slurm hydra.launcher.tasks=0": "hydra.launcher.tasks=0: not allowed",
        "hydra/launcher=submitit_slurm hydra.launcher.mem_gb=-1": "hydra.launcher.mem_gb=-1: not allowed",
        "hydra/launcher=joblib hydra.launcher.n_job=2": "hydra.launcher.n_job=2: no such key; did you mean hydra.launcher.n_jobs? must be one of: hydra.launcher.n_jobs",
        "hydra/launcher=joblib hydra.launcher.n_jobs=0": "hydra.launcher.n_jobs=0: not allowed",
        "hydra/launcher=submitit_slurm": "hydra/launcher=submitit_slurm: no sbatch here; run it where",
        "--detach": "--detach: the jobs of hydra/launcher=basic end with the command; add hydra/launcher=submitit_slurm",
        "--detach hydra/launcher=joblib": "--detach: the jobs of hydra/launcher=joblib end with the command",
        "--detach hydra/launcher=submitit_local optim.lr=auto": "--detach: decide=true and optim.lr=auto choose",
        "--detach --cfg job": "--detach: nothing is trained; leave it out",
    }.items(),
)  # fmt: skip
def test_refused_before_anything_starts(overrides, line, folder, capsys, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setenv("PATH", str(folder))
    few = [one for one in ("init=eye", "sharing=none", "optim.lr=0.1") if one.split("=")[0] not in overrides]
    assert main([*overrides.split(), *few, "track.uri=null"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert assert_template(shown.err.removeprefix("initbench: ").rstrip("\n")).startswith(line)
    assert list(folder.iterdir()) == []


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match="joblib: it needs the package hydra-joblib-launcher; install it: python -m pip"
    ):
        launchers.check_launcher(Launcher("joblib", {"_target_": JOBLIB}))


def test_workers_come_from_the_processors_of_a_job(monkeypatch):
    monkeypatch.setattr(launchers, "cores", lambda: 8)
    assert Launcher("slurm", {"_target_": SLURM, "cpus_per_task": 4}).cpus == 4
    assert Launcher("slurm", {"_target_": SLURM, "cpus_per_task": 16}).cpus == 8  # those that Slurm has bound it to
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert Launcher("slurm", {"_target_": SLURM, "cpus_per_task": None}).cpus == 3
    assert [Launcher("joblib", {"_target_": JOBLIB, "n_jobs": n}).cpus for n in (-1, 1, 2, 3, 20)] == [1, 8, 4, 2, 1]
    assert [Launcher("joblib", {"_target_": JOBLIB, "n_jobs": 4}).tasks(arms) for arms in (1, 9)] == [4, 9]
    local = next(target for target, (kind, _) in launchers.KINDS.items() if kind == "local")
    assert Launcher("local", {"_target_": local, "cpus_per_task": 2, "tasks": None}).tasks(9) == 4
    assert Launcher("basic").tasks(9) is None


def test_an_option_file_of_ones_own_is_known_by_its_class(folder, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    (folder / "conf" / "hydra" / "launcher").mkdir(parents=True)
    text = "defaults: [submitit_slurm, _self_]\npartition: long\ntasks: 100\n"
    (folder / "conf" / "hydra" / "launcher" / "ours.yaml").write_text(text)
    monkeypatch.setattr(launchers.shutil, "which", lambda name: name)
    plan = command.plan(["init=eye,zeros", "sharing=none", "hydra/launcher=ours", *ONE], ["conf"])
    launcher = launchers.launcher_of(plan.hydra)
    assert (launcher.kind, launcher.tasks(2), launcher.values["partition"]) == ("slurm", 100, "long")


def test_other_programs_in_this_process_keep_the_launchers_of_plugins(folder):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()
    command.plan(["init=eye", "sharing=none", *ONE])
    assert "joblib.yaml" in ConfigStore.instance().repo["hydra"]["launcher"]


# ------------------------------------------------------------------------------------------------ the queue


def program(folder: Path, name: str, text: str) -> None:
    """A program that answers like one of Slurm's."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_slurm_is_asked_and_its_accounts_where_it_has_forgotten(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    program(folder, "squeue", "echo '17_0|RUNNING|None'; echo '17_1|PENDING|Resources'; echo '17_4|TIMEOUT|TimeLimit'")
    program(folder, "sacct", "echo '17_2|CANCELLED by 1000'; echo '17_0|COMPLETED'")
    asked = [f"17_{i}" for i in range(5)]
    states = {
        "17_0": "RUNNING",
        "17_1": "PENDING (Resources)",
        "17_2": "CANCELLED by 1000",
        "17_3": "ended",
        "17_4": "TIMEOUT",
    }
    assert queues.states("slurm", asked) == states
    assert [queues.alive(state) for state in states.values()] == [True, True, False, False, False]
    program(folder, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    program(folder, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert set(queues.states("slurm", asked).values()) == {"ended"}
    program(folder, "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(queues.NoAnswer, match="Unable to contact"):
        queues.states("slurm", asked)


def test_a_number_that_another_process_has_by_now_is_no_job():
    assert queues.states("local", [str(os.getpid())]) == {str(os.getpid()): "ended"}


@pytest.fixture
def cluster(folder, monkeypatch):
    """A cluster that only takes jobs: `.states` are theirs, `.submitted` the overrides of each; they become
    `.while_waiting` when a command waits."""
    made = SimpleNamespace(states={}, submitted=[], while_waiting={})

    def submit(argv):
        from hydra_plugins.initbench_jobs import PlannedJobs  # as the command imports it: Hydra may have loaded it anew

        for job in PlannedJobs.jobs:
            number = str(len(made.submitted) + 1)
            made.submitted.append(job)
            made.states[number] = "PENDING"
            PlannedJobs.submitted.append(SimpleNamespace(job_id=number, paths=SimpleNamespace(stderr=Path("log.err"))))
        Path("outputs/s").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(command_line, "hydra_main", submit)
    monkeypatch.setattr(submitted.queues, "states", lambda kind, ids: {job: made.states[job] for job in ids})
    clock = SimpleNamespace(sleep=lambda seconds: made.states.update(made.while_waiting), monotonic=lambda: 0.0)
    monkeypatch.setattr(submitted, "time", clock)
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    return made


DETACHED = ["init=eye,zeros", "sharing=none", *ONE, "hydra/launcher=submitit_local", "hydra.launcher.tasks=2"]


def test_nothing_is_submitted_twice_and_what_is_there_is_collected(cluster, capsys):
    assert main([*DETACHED, "--detach"]) == 0
    assert (
        capsys.readouterr().out
        == "2 jobs, 2 PENDING (kill 1 2 ends them); the same command collects what they have finished\n"
    )
    assert not Path("outputs/s/runs.parquet").exists()  # nothing is there yet
    # one has trained its arm
    (eye, zeros) = command.plan(DETACHED).arms
    main(["init=eye", "sharing=none", *[one for one in ONE if one != "study=s"], "study=other"])
    cluster.states.update({"1": "COMPLETED", "2": "RUNNING"})
    capsys.readouterr()
    assert main([*DETACHED, "--detach"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].startswith("1 job, 1 RUNNING (kill 2 ends it); the same command collects")
    assert "without results" not in said.err
    assert len(cluster.submitted) == 2
    kept = {arm["label"]: arm["reason"] for arm in json.loads(Path("outputs/s/study.json").read_text())["arms"]}
    assert kept == {"eye · none": None, "zeros · none": "job 2 RUNNING; the same command collects it"}
    # the other has died: nobody waits, and what is missing is submitted again, once
    cluster.states["2"] = "TIMEOUT"
    assert main([*DETACHED, "--detach"]) == 0
    assert "job 2 TIMEOUT: what is missing is trained again" in capsys.readouterr().err
    assert len(cluster.submitted) == 3
    assert "init=zeros" in cluster.submitted[-1]
    queue = json.loads(Path("outputs/s", FILE).read_text())
    assert [one["id"] for one in queue] == ["3"]
    assert list(queue[0]["runs"]) == [zeros.key]
    assert eye.key != zeros.key


def test_a_job_that_dies_is_named_with_its_state(cluster, capsys, monkeypatch):
    cluster.while_waiting = {"1": "NODE_FAIL", "2": "FAILED"}
    assert main(DETACHED) == 1
    said = capsys.readouterr()
    assert "  eye · none: job 1 NODE_FAIL; run the same command again" in said.err
    assert "  zeros · none: job 2 FAILED (see log.err); run the same command again" in said.err
    assert "Traceback" not in said.err
    assert not Path("outputs/s", FILE).exists()


def test_another_launcher_leaves_to_a_job_what_it_trains(cluster, capsys, monkeypatch):
    assert main([*DETACHED, "--detach"]) == 0
    plain = [one for one in DETACHED if not one.startswith("hydra")]
    cluster.while_waiting = {"1": "CANCELLED", "2": "CANCELLED"}
    assert main(plain) == 1
    assert Store(Path("outputs/store")).parts(command.plan(plain).arms[0].key) == []


@pytest.mark.parametrize(
    "text", ["{", "[1]", '[{"id": "-e", "kind": "local", "runs": {}, "log": "", "state": "PENDING"}]']
)
def test_a_damaged_list_of_jobs_is_refused(text, folder):
    (folder / FILE).write_text(text)
    with pytest.raises(InputError, match="not a list of jobs; remove it, once no job of this study is queued"):
        Queue.of(folder)


# ------------------------------------------------------------------------------------------------ real jobs

OWN = """
import os, signal, socket, sys
from pathlib import Path

def guarded(weight, *, generator, std=0.1):
    if "SUBMITIT_EXECUTOR" in os.environ:
        assert "mlflow" not in sys.modules
        def refused(*args): raise OSError("a job needs no network")
        socket.socket.connect = refused
    return weight.normal_(0.0, std, generator=generator)

def told_to_end(weight, *, generator):
    if "SUBMITIT_EXECUTOR" in os.environ:
        os.kill(os.getpid(), signal.SIGTERM)
    return weight.normal_(0.0, 0.2, generator=generator)
"""
FRAMES = ("runs.parquet", "history.parquet", "leaderboard.csv", "comparisons.csv", "effects.csv", "summary.csv")


@pytest.mark.slow
def test_jobs_of_submitit_train_the_same_bytes_and_end_quietly(folder, capsys, monkeypatch):
    """Without MLflow or a network; what a job that is told to end has not trained, the next command does."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    Path("own_job.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    study = ["init=own_job.guarded,eye,own_job.told_to_end", "sharing=none", *ONE]
    local = ["hydra/launcher=submitit_local", "hydra.launcher.tasks=2", "outputs=local"]
    assert main([*study, *local]) == 1
    said = capsys.readouterr().err
    assert "  own_job.told_to_end · none: job " in said
    lost = [arm for arm in command.plan([*study, *local]).arms if not Store(Path("local/store")).parts(arm.key)]
    assert "own_job.told_to_end" in [arm.config.init.name for arm in lost]
    assert all(failure(Path("local/store"), arm.key) is None for arm in lost)
    logs = [path.read_text() for path in Path("local/s/hydra").glob("*/.submitit/*/*.err")]
    assert len(logs) == 2
    assert not any("Traceback" in text for text in logs)
    assert main([*study, "outputs=local"]) == 0
    assert main([*study, "outputs=basic"]) == 0
    for name in FRAMES:
        assert Path("local/s", name).read_bytes() == Path("basic/s", name).read_bytes(), name


# ------------------------------------------------------------------------------------------------ docs/clusters.md

PAGE = (Path(__file__).parents[1] / "docs" / "clusters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_page_are_understood(cluster, capsys, monkeypatch):
    monkeypatch.setattr(launchers.shutil, "which", lambda name: name)
    for text in [text for language, text in BLOCKS if language == "yaml"]:
        path = Path(text.splitlines()[0].removeprefix("# "))
        path.parent.mkdir(parents=True)
        path.write_text(text)
    lines = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines() if line[0] != "#"]
    assert lines[0] == "python -m pip install -c constraints.txt -e '.[cluster]'"
    for line in lines[1:]:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "initbench"]
        few = ["init=eye", "sharing=none", *(one for one in ONE if one != "study=s"), "study=s"]
        assert main([*words[3:], *few, *([] if "--detach" in words else ["--detach"])]) == 0
        assert "the same command collects" in capsys.readouterr().out
        Path("outputs/s", FILE).unlink()


def test_the_page_names_the_usual_values():
    import yaml

    values = yaml.safe_load((Path(__file__).parents[1] / "conf/hydra/launcher/submitit_slurm.yaml").read_text())
    named = dict(re.findall(r"^\| `(\w+)` \((\d+)\)", PAGE, re.MULTILINE))
    assert len(named) == 6
    assert named == {key: str(values[key]) for key in named}
    assert set(re.findall(r"`(\w+)`", re.search(r"^\| (`partition`.*?)\|", PAGE, re.MULTILINE)[1])) <= set(values)
