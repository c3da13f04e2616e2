"""python -m initbench.sync: whatever a command has left undone, on disk and in MLflow; and parts of a study as one."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
from dataclasses import replace
from glob import glob
from pathlib import Path

import pandas as pd
import pytest

import initbench as ib
import mlflow_server
from conftest import assert_template
from initbench import track
from initbench.__main__ import main
from initbench.errors import InputError
from initbench.report.__main__ import main as report
from initbench.study import begun, command, launch
from initbench.sync.__main__ import main as sync
from test_track import snapshot, stored

FILES = ("runs.parquet", "history.parquet", "leaderboard.csv", "comparisons.csv")
SMALL = ["optim.lr=0.1", "train.steps=3", "engine.workers=1", "measure=none", "report.formats=[csv]", "study=s"]
BOTH = ["init=eye,zeros", "sharing=none", "seeds=2", *SMALL]


class Killed(BaseException):
    """As SIGKILL: nothing is cleaned up by the command."""


@pytest.fixture
def killed(monkeypatch):
    """killed(where, name): a command that ends when it comes to `name`."""

    def patched(where, name, argv):
        def end(*args, **kwargs):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(where, name, end)
            with pytest.raises(Killed):
                main(argv)

    return patched


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder in which BOTH ran, tracked in mlflow.db."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(BOTH) == 0
    return folder


def here(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "outputs/s" / name).read_bytes() for name in FILES}


def database(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def in_mlflow(folder: Path) -> dict:
    """What is in MLflow, without the digest of files that say when they were made."""
    seen = snapshot(database(folder), "s")
    for run in seen.values():
        run.pop("info")
        run["history"] = {name: [point[:2] for point in points] for name, points in run["history"].items()}
        if run["parent"] is None and "initbench.report" in run["tags"]:
            run["tags"].pop("initbench.content")
    return seen


def test_a_study_that_was_killed_before_its_frames_is_made_whole(killed, folder, undisturbed, capsys, monkeypatch):
    monkeypatch.setattr("initbench.sync.__main__.EVERY", math.inf)  # what a slow machine is told on the way is no fault
    killed(command, "collect", BOTH)
    assert [path.name for path in (folder / "outputs/s").iterdir()] == [begun.RECORD]
    capsys.readouterr()
    assert sync(["outputs/s"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0].startswith(
        "s: 2 arms and 4 runs in MLflow, 7 written now: http://127.0.0.1:5000/#/exp"
    )
    assert said.out.splitlines()[1:] == [
        f"complete: 1 study in {database(folder)}",
        f"MLflow: mlflow ui --backend-store-uri {database(folder)}",
    ]
    assert said.err == ""
    assert here(folder) == here(undisturbed)
    assert in_mlflow(folder) == in_mlflow(undisturbed)
    assert not (folder / "outputs/s" / begun.RECORD).exists()
    assert sync(["outputs/s"]) == 0
    assert "0 written now" in capsys.readouterr().out


def test_a_study_that_was_killed_while_it_trained_says_what_is_missing(killed, folder, undisturbed, capsys):
    assert main(["init=eye", *BOTH[1:], "track.uri=null", "outputs=other"]) == 0  # the runs that it has come to
    killed(launch.Training, "train", BOTH)
    assert sync(["outputs/s"]) == 1
    command_of = f"python -m initbench {' '.join(BOTH)}".replace("report.formats=[csv]", "'report.formats=[csv]'")
    said = capsys.readouterr()
    assert f"initbench.sync: s: 4 of 4 runs are not trained: {command_of}" in said.err.splitlines()
    assert "incomplete: 1 study in " in said.out
    shutil.copytree("other/store", "outputs/store", dirs_exist_ok=True)
    assert sync(["outputs/s"]) == 1
    said = capsys.readouterr()
    assert f"initbench.sync: s: 2 of 4 runs are not trained: {command_of}" in said.err.splitlines()
    assert "2 arms and 4 runs in MLflow" in said.out
    runs = ib.load("outputs/s").runs
    assert runs["status"].tolist() == ["completed"] * 2 + ["failed"] * 2
    assert main(BOTH) == 0
    assert here(folder) == here(undisturbed)
    assert in_mlflow(folder) == in_mlflow(undisturbed)
    assert not (folder / "outputs/s" / begun.RECORD).exists()


def test_runs_that_came_after_the_study_had_ended_are_taken_in(folder, undisturbed, capsys, monkeypatch):
    """Those of a cluster's jobs whose parent gave up."""
    with monkeypatch.context() as patch:
        patch.setattr(launch.Training, "train", lambda self, arms: None)
        assert main([*BOTH, "track.uri=null"]) == 1
    assert main([*BOTH, "track.uri=null", "outputs=other"]) == 0
    shutil.copytree("other/store", "outputs/store", dirs_exist_ok=True)
    assert sync(["outputs/s"]) == 0
    one, other = ib.load("outputs/s"), ib.load(undisturbed / "outputs/s")
    pd.testing.assert_frame_equal(one.runs, other.runs, check_like=True)
    pd.testing.assert_frame_equal(one.history, other.history)
    assert {run.info.status for run in stored(database(folder), "s")} == {"FINISHED"}


def test_a_study_that_goes_on_is_left_to_its_command(killed, folder, capsys):
    auto = ["init=eye", "sharing=none", "seeds=2", "optim.lr=auto", *SMALL[1:], "track.uri=null"]
    killed(command, "collect", auto)
    assert sync(["outputs/s"]) == 1
    assert "s: what it asks for depends on what came out: python -m initbench init=eye" in capsys.readouterr().err
    assert not Path("outputs/s/study.json").exists()


def test_an_untracked_study_reaches_any_store_and_its_report_says_so(folder, capsys):
    assert main([*BOTH, "track.uri=null", "report.formats=[md]"][:-1]) == 0
    assert sync(["outputs/s", "--to", "sqlite:///there.db", "--children", "none"]) == 0
    assert len(stored(f"sqlite:///{folder / 'there.db'}", "s")) == 3
    assert json.loads(Path("outputs/s/study.json").read_text())["mlflow"]["uri"].endswith("/there.db")
    before = Path("outputs/s/study.json").read_bytes()
    assert sync(["outputs/s", "outputs/s", "--to", "sqlite:///other.db"]) == 0
    assert Path("outputs/s/study.json").read_bytes() == before  # of the store it was first tracked in
    assert capsys.readouterr().out.count("2 arms and 4 runs in MLflow, 7 written now") == 1


@pytest.mark.parametrize(
    ("argv", "wrong"),
    [
        (["nowhere"], "nowhere: no such folder; a study folder holds"),
        (["study.zip"], "study.zip: an archive, not a folder; unpack it first: unzip study.zip -d study"),
        (["good", "nowhere"], "nowhere: no such folder"),
        (["good", "--to", "localhost:5000"], "--to=localhost:5000: the scheme is missing; did you mean http://"),
        (["torn"], r"torn/.planned.json: not JSON"),
        (["good", "--children", "all"], "command line: argument --children: invalid choice"),
    ],
)
def test_what_is_no_study_is_refused_before_anything_is_written(argv, wrong, folder, undisturbed, capsys):
    shutil.copytree(undisturbed / "outputs/s", "good")
    Path("torn").mkdir()
    Path("torn", begun.RECORD).write_text('{"half')
    before = sorted(map(str, folder.rglob("*")))
    assert sync(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wrong in assert_template(line.removeprefix("initbench.sync: "))
    assert sorted(map(str, folder.rglob("*"))) == before


def test_a_store_that_is_gone_is_one_line_and_the_next_call_goes_on(folder, undisturbed, capsys):
    shutil.copytree(undisturbed / "outputs/s", "outputs/s")
    assert sync(["outputs/s", "--to", "http://127.0.0.1:9"]) == 1
    said = capsys.readouterr()
    assert said.err == (
        "initbench.sync: s: tracking to http://127.0.0.1:9 is incomplete: Connection refused; the results are on disk, "
        "and this completes it: python -m initbench.sync outputs/s --to http://127.0.0.1:9\n"
    )
    assert said.out == "incomplete: 1 study in http://127.0.0.1:9\n"


# --- merging -------------------------------------------------------------------------------------------------------

SWEEP = ["optim.lr=[0.1,0.3]", "train.steps=4", "engine.workers=1", "track.uri=null", "report.formats=[csv]", "study=s",
         "sharing=all", "sharing.controls=true", "model.depth=3", "measure.metrics=[grad_norm,weight_std]"]  # fmt: skip
PARTS = {
    "whole": ["init=eye,zeros", "seeds=3"],
    "first": ["init=eye,zeros", "seeds=[0,1]"],
    "rest": ["init=eye,zeros", "seeds=[2]"],
    "eye": ["init=eye", "seeds=3"],
    "zeros": ["init=zeros", "seeds=3"],
}
SHAPES = ["init=eye", "sharing=none", "seeds=1", "optim.lr=0.1", "measure=none", *SWEEP[1:6]]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with whole/s and its parts, each of a machine of its own; and depth/s of depth2/s and depth3/s."""
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, asked in PARTS.items():
            assert main([*SWEEP, *asked, f"outputs={name}"]) == 0
        for name, depth in (("depth", "2,3"), ("depth2", "2"), ("depth3", "3")):
            assert main([*SHAPES, f"model.depth={depth}", f"outputs={name}"]) == 0
    return folder


@pytest.mark.parametrize(
    ("whole", "those"),
    [
        ("whole", ["first", "rest"]),
        ("whole", ["eye", "zeros"]),
        ("whole", ["rest", "whole", "eye"]),
        ("depth", ["depth2", "depth3"]),
    ],
)
def test_a_merged_study_is_that_of_one_machine_byte_for_byte(whole, those, parts, folder, capsys):
    assert report([*(str(parts / name / "s") for name in those), "--merge", "--out", "m", "--format", "md,csv"]) == 0
    for name in (*FILES, "effects.csv", "summary.csv"):
        assert Path("m", name).read_bytes() == (parts / whole / "s" / name).read_bytes(), name
    one, many = ib.load(parts / whole / "s"), ib.load([parts / name / "s" for name in those])
    pd.testing.assert_frame_equal(many.runs, one.runs)
    pd.testing.assert_frame_equal(many.history, one.history)
    written = ib.load("m").study
    assert [arm["label"] for arm in written["arms"]] == [arm["label"] for arm in one.study["arms"]]
    if "whole" not in those:
        own = [text for text in one.study["overrides"] if not text.startswith(("track", "study", "outputs", "engine"))]
        assert sorted(written["overrides"]) == sorted(own)
    (caution, *_) = written["cautions"]
    assert caution["title"] == f"Merged from {len(those)} studies"
    assert caution["title"] in Path("m/report.md").read_text()


def test_a_merged_study_goes_to_mlflow(parts, folder):
    assert report([str(parts / "depth2/s"), str(parts / "depth3/s"), "--merge", "--out", "m", "--format", "csv"]) == 0
    assert sync(["m"]) == 0
    assert len(stored(database(folder), "s")) == 2 + 2 + 1
    merged = ib.load([parts / "depth2/s", parts / "depth3/s"])
    whole = ib.load(parts / "depth/s")
    pd.testing.assert_frame_equal(merged.leaderboard(), whole.leaderboard())
    pd.testing.assert_frame_equal(merged.compare(), whole.compare())
    assert merged.folder == parts / "depth2/s-merged"
    merged = replace(merged, folder=folder / "saved")
    merged.save()
    pd.testing.assert_frame_equal(ib.load("saved").history, whole.history)


def edited(parts: Path, name: str, edit, base: str = "rest") -> str:
    """A copy of a part with another study.json."""
    shutil.copytree(parts / base / "s", name)
    study = json.loads(Path(name, "study.json").read_text())
    for key in ("frames", "whole"):
        study.pop(key, None)
    edit(study)
    Path(name, "study.json").write_text(json.dumps(study))
    return name


def on_arms(**values):
    """Other values of each arm, by the name of a key or of a group in its configuration; so other keys too."""

    def edit(study):
        for arm in study["arms"]:
            arm["arm_key"] = "x" + arm["arm_key"][1:]
            for key, value in values.items():
                if key == "data_hash":
                    arm[key] = value
                else:
                    arm["config"][key].update(value)

    return edit


def lrs(study):
    for arm in study["arms"]:
        arm["lrs"] = [0.1, 0.5]


UNLIKE = {
    "NUMERICS_VERSION is 6 and 5; train one of them again with the other's version": lambda s: s.update(numerics=5),
    r"torch is 2\.\d+ and 1.9; train": lambda s: s["versions"].update(torch="1.9.1"),
    "the target is accuracy/train 0.95 and loss/train 0.1; run one command again": lambda s: s.update(
        target={"metric": "loss/train", "value": 0.1}
    ),
    "train.steps is 4 and 9; train both alike": on_arms(train={"steps": 9}),
    "train.eval_samples is 512 and 99; train both alike": on_arms(train={"eval_samples": 99}),
    "the data digits are others; use the same data": on_arms(data_hash="00"),
    "eye · all has other code in them; use the same files": on_arms(),
    "has seed 0 at other learning rates than 0.5; train the same learning rates on both": lrs,
    "the baselines are eye and zeros; give both the same": lambda s: s.update(baseline="zeros"),
}


@pytest.mark.parametrize("wrong", UNLIKE)
def test_what_cannot_be_merged_is_said_and_nothing_is_written(wrong, parts, folder, capsys):
    first = edited(parts, "a", lambda study: study.update(baseline="eye"), "first")
    other = edited(parts, "b", UNLIKE[wrong])
    assert report([first, other, "--merge", "--out", "m"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert assert_template(line.removeprefix("initbench.report: ")).startswith("a and b: cannot be merged: ")
    with pytest.raises(InputError, match=wrong):
        ib.load([first, other])
    assert not Path("m").exists()


def test_a_run_with_other_values_in_another_part_is_named(parts, folder):
    name = edited(parts, "b", lambda study: None, "whole")
    runs, history = pd.read_parquet("b/runs.parquet"), pd.read_parquet("b/history.parquet")
    whole = runs.copy()
    runs.loc[3, "loss/train"] += 1e-9
    runs.to_parquet("b/runs.parquet")
    row = runs.loc[3]
    which = rf"{row['arm']}, seed {row['seed']}, lr {row['optim.lr']:g} has another loss/train in them".replace(
        "(", r"\("
    ).replace(")", r"\)")
    with pytest.raises(InputError, match=which):
        ib.load([parts / "first/s", name])
    assert len(ib.load([parts / "rest/s", name]).runs) == len(runs)  # its own runs are those of the other seeds
    whole.to_parquet("b/runs.parquet")
    at = history.index[history["run"] == row["run"]][5]
    history.loc[at, "value"] += 1e-9
    history.to_parquet("b/history.parquet")
    with pytest.raises(InputError, match=f"has another history of {history.loc[at, 'metric']} in them"):
        ib.load([parts / "first/s", name])


def test_of_a_run_that_failed_in_one_part_the_other_s_is_taken(parts, folder):
    name = edited(parts, "b", lambda study: study["arms"][0].update(status="failed", reason="it broke"), "whole")
    runs, history = pd.read_parquet("b/runs.parquet"), pd.read_parquet("b/history.parquet")
    lost = (runs["arm"] == runs["arm"][0]) & (runs["seed"] < 2)
    runs.loc[lost, "status"], runs.loc[lost, "steps_to_target"] = "failed", float("nan")
    runs.to_parquet("b/runs.parquet")
    history[~history["run"].isin(runs.loc[lost, "run"])].to_parquet("b/history.parquet")
    merged = ib.load([name, parts / "first/s"])
    pd.testing.assert_frame_equal(merged.runs, ib.load(parts / "whole/s").runs)
    assert {arm["status"] for arm in merged.study["arms"]} == {"done"}
    alone = ib.load([name, parts / "rest/s"])
    assert (alone.study["arms"][0]["status"], alone.study["arms"][0]["reason"]) == ("failed", "it broke")


@pytest.mark.parametrize(
    ("argv", "wrong"),
    [
        (["a", "--merge"], "--merge: it takes two studies or more"),
        (["a", "./a", "--merge"], "--merge: it takes two studies or more"),
        (["a", "b", "--merge", "--out", "a"], "--out a: this is one of the parts; name a new folder"),
        (["a", "b", "c"], "3 studies are too many; name one study, or two to compare; parts of one study are merged with --merge"),
        (["a", "b", "--out", "m"], "--out, --uri: they go with mlflow:<experiment>"),
    ],
)  # fmt: skip
def test_a_merge_that_makes_no_sense_is_one_line(argv, wrong, parts, folder, capsys):
    for name, part in (("a", "first"), ("b", "rest")):
        shutil.copytree(parts / part / "s", name)
    assert report(argv) == 2
    assert wrong in capsys.readouterr().err


def test_archives_are_merged_too(parts, folder):
    for name in ("first", "rest"):
        shutil.copytree(parts / name / "s", name)
        assert report([name, "--format", "archive"]) == 0
    assert report(["first/study.zip", "rest/study.zip", "--merge", "--format", "csv"]) == 0
    for name in FILES:
        assert Path("first/s-merged", name).read_bytes() == (parts / "whole/s" / name).read_bytes(), name


# --- docs/tracking.md ----------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs/tracking.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
COMMANDS = {"initbench": main, "initbench.report": report, "initbench.sync": sync}
TINY = ["optim.lr=0.1", "train.steps=2", "engine.workers=1", "measure=none", "report.formats=[csv]"]


def test_every_command_of_the_page_on_tracking_runs(folder, capsys):
    import click
    from mlflow import cli

    kinds = []
    track.warm_up(f"sqlite:///{folder}/server.db")
    with mlflow_server.serving(f"sqlite:///{folder}/server.db", folder / "artifacts") as (where, _):
        for line in LINES:
            words = shlex.split(line.replace("http://localhost:5000", where))
            if words[0] == "mlflow":
                command_of = cli.cli.get_command(click.Context(cli.cli), words[1])
                context = command_of.make_context(words[1], words[2:])
                assert context.params["backend_store_uri"].startswith("postgresql://")
                kinds.append("mlflow")
                continue
            assert words[:2] == ["python", "-m"]
            kinds.append(words[2])
            if words[2] == "pip":
                assert line == "python -m pip install -c constraints.txt -e '.[postgresql]'"
                continue
            arguments = [found for word in words[3:] for found in (sorted(glob(word)) if "*" in word else [word])]
            if words[2] == "initbench":
                small = [*TINY, *([] if "seeds=" in line else ["seeds=2"])]
                arguments = [*arguments, *small] + (["study=quick"] if "experiment=quick" in line else [])
            assert COMMANDS[words[2]](arguments) == 0, line
    assert set(kinds) == {"mlflow", "pip", *COMMANDS}
    assert len(ib.load("outputs/both").runs) == 40
    said = capsys.readouterr().out
    assert f"complete: 1 study in {where}" in said
