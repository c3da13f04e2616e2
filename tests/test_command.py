"""What a person types: wrong input is one line and status 2 before anything starts; help; a first study in a folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from conftest import assert_template
from initbench.__main__ import main
from initbench.overrides.expand import expand

OFF = ["track.uri=null"]


def refused(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """The one line that a wrong command ends with; nothing else is printed or written."""
    before = sorted(Path().rglob("*"))
    given = [o.split("=")[0] for o in overrides]
    few = [o for o in ("init=eye", "sharing=none") if o.split("=")[0] not in given]  # not the 16 arms of the default
    assert main([*overrides, *few, *OFF]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith("initbench: ")
    assert "Traceback" not in line
    assert sorted(Path().rglob("*")) == before
    return assert_template(line.removeprefix("initbench: "))


WRONG = {
    "init=xavier_normall": r"init=xavier_normall: unknown; did you mean xavier_normal\? must be one of: xavier_normal, xavier_uniform, .*orthogonal",
    "initt=eye": r"initt=eye: no such key; did you mean init\? must be one of: data, decide, engine, init",
    "sed=1": r"sed=1: no such key; did you mean seeds\?",
    "init=xavier_normal init.gian=2": r"init.gian=2: no such key; did you mean init.gain\?",
    "model.width=-3": r"model.width=-3: not allowed; must be a whole number, 1 or more",
    "model.width=[3,4]": r"model.width=\[3, 4\]: 2 widths for model.depth=6",
    "model.depth=two": r"model.depth=two: not allowed; must be a whole number$",
    "model.activation=rely": r"model.activation=rely: unknown; did you mean relu\? must be one of: relu, elu, selu, leaky_relu",
    "seeds=0": r"seeds=0: at least one seed is needed",
    "seeds=1,2": r"seeds=1,2: .*write seeds=\[1,2,3\]",
    "seeds=[1,1]": r"seeds=\[1, 1\]: a seed is repeated; list each seed only once",
    "optim.lr=fast": r"optim.lr=fast: not allowed; must be a number above 0 or a list",
    "optim.lr=0.1,0.2": r"optim.lr=0.1,0.2: .*write 'optim.lr=\[0.1,0.2\]'",
    "optim=sdg": r"optim=sdg: unknown; did you mean sgd\? must be one of: sgd",
    "train.target.metric=speed": r"train.target.metric=speed: unknown; must be one of: auto, accuracy/train",
    "train.target.value=2": r"train.target.value=2.0: an accuracy lies between 0 and 1; must be above 0 and at most 1$",
    "train.steps=-1": r"train.steps=-1: not allowed; must be a whole number, 0 or more",
    "data=digit": r"data=digit: unknown; did you mean digits\? must be one of: digits",
    "data=npz": r"data=npz: it needs data.path; add data.path=FILE.npz",
    "data=npz data.path=nan.npz": r"data.path=nan.npz: x holds NaN or infinity in 6 of",
    "data=npz data.path=none.npz": r"data.path=none.npz: no such file",
    "data=npz data.path=a_file": r"data.path=a_file: not a readable .npz",
    "sharing=explicit sharing.groups=[[0,1]]": r"layer 0 has shape \(32, 64\) and layer 1 \(32, 32\)",
    "sharing=explicit sharing.groups=[[1,9]]": r"no layer 9; name layers 0 to 6",
    "outputs=a_file/out": r"outputs=a_file/out: cannot be written",
    "init=no_such_module.f": r"init=no_such_module.f: no module named 'no_such_module'",
    "init=os.nothing": r"init=os.nothing: os has no 'nothing'",
    "init=": r"init=: unknown; must be one of: ",
    "init=dirac sharing=none": r"init=dirac: it needs 3 to 5 dimensions .*use init=eye",
    "init=looks_linear model.width=7": r"init=looks_linear: it needs even hidden widths, got fan_out=7",
    "init=xavier_normal init.gain=big": r"gain=big: neither a number nor an activation; must be a number or one of: auto, relu, leaky_relu",
    "engine=reference": r"engine=reference: now called single; write engine=single",
    "engine.path=torch": r"engine.path=torch: no longer a key; write engine=auto, kernel, stacked or single",
    "engine=fast": r"engine=fast: unknown; .*must be one of: auto, kernel, single, stacked",
    "engine.device=abacus": r"engine.device=abacus: .*; use engine.device=cpu",
    "report.baseline=eys": r"report.baseline=eys: unknown; did you mean eye\?",
    "study=a/b": r"study=a/b: not a name of a study; use letters, digits",
    "experiment=dflt": r"experiment=dflt: unknown; did you mean default\? must be one of: default",
    "--nonsense": r"unrecognized arguments: --nonsense; see python -m initbench --help",
    "--config-dir nowhere init=eye": r"--config-dir nowhere: no such folder",
    "=": r"=: no such key; must be one of: data, decide, engine",
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_one_line_and_status_2(command, folder, capsys):
    Path("a_file").write_text("not a folder, not arrays")
    np.savez("nan.npz", x=np.full((6, 1), np.nan), y=np.arange(6))
    assert re.search(WRONG[command], refused(capsys, *command.split()))


def test_help_names_every_group_option_and_key(capsys):
    from initbench.disk import conf_folder

    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    options = list(conf_folder().glob("*/*.yaml"))
    assert len(options) > 100
    for path in options:
        (line,) = re.findall(rf"(?s)^{path.parent.name}=\n.*?^(  {re.escape(path.stem)} +\S.*?)$", text, re.MULTILINE)
        assert len(line.split(maxsplit=1)[1]) > 3, f"{path.stem} has no meaning"
    for key in ("seeds:", "steps:", "target:", "baseline:"):
        assert key in text


@pytest.mark.parametrize("name", ["default", "quick", "depth", "activations", "optimizers"])
def test_prepared_studies_compose(name):
    from initbench.cli.help import meaning
    from initbench.disk import conf_folder
    from initbench.overrides.expand import expand

    path = conf_folder() / "experiment" / f"{name}.yaml"
    command = path.read_text(encoding="utf-8").splitlines()[1]
    overrides = [] if name == "default" else [f"experiment={name}"]
    assert command == " ".join(["# python -m initbench", *overrides])
    assert meaning(path)
    arms = expand(overrides)
    assert len({arm.key("", "", "2.0") for arm in arms}) == len(arms) >= 6


def test_an_axis_of_an_experiment_can_be_replaced():
    from initbench.overrides.expand import expand

    arms = expand(["experiment=depth", "init=eye", "model.depth=2,3", "sharing=none"])
    assert [(arm.init.name, arm.model.depth) for arm in arms] == [("eye", 2), ("eye", 3)]


def test_the_issue_s_example_is_4_arms_of_20_runs():
    from initbench.overrides.expand import expand

    arms = expand(["init=xavier_normal,kaiming_normal", "sharing=none,all", "seeds=20", "optim.lr=0.1"])
    assert [len(arm.runs) for arm in arms] == [20] * 4


def test_no_arm_reaches_the_target_names_the_override_to_try(folder, capsys):
    small = ["seeds=2", "optim.lr=0.1", "train.steps=3", "engine.workers=1", "report.formats=[html]"]
    assert main(["init=zeros", "sharing=none", *small, *OFF]) == 0
    shown = capsys.readouterr()
    assert "no arm reached the target: try train.steps=6" in shown.err
    assert "0/2" in shown.out
    assert Path(shown.out.split("report: ")[1].splitlines()[0]).is_file()


def test_a_dry_run_writes_nothing(folder, capsys):
    assert main(["init=eye", "sharing=none", "seeds=2", "engine.workers=1", "train.dry_run=true", *OFF]) == 0
    assert "1 arm, 10 runs" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_an_arm_that_does_not_apply_is_listed_and_does_not_stop_the_others(folder, capsys):
    small = ["seeds=2", "optim.lr=0.1", "train.steps=2", "engine.workers=1"]
    assert main(["init=dirac,eye", "sharing=none", *small, *OFF, "report.formats=[csv]"]) == 1
    shown = capsys.readouterr()
    assert "dirac · none: init=dirac: it needs 3 to 5 dimensions" in shown.err
    assert "eye · none" in shown.out


def test_an_unreachable_server_leaves_the_study_on_disk(folder, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody listens
    small = ["init=eye", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=2", "engine.workers=1", "study=s"]
    assert main([*small, "report.formats=[html]"]) == 1
    shown = capsys.readouterr()
    assert Path("outputs/s/report.html").is_file()
    assert Path("outputs/s/runs.parquet").is_file()
    assert re.search(r"127.0.0.1:9 is incomplete: .*completes it: python -m initbench.sync outputs/s\n", shown.err)
    assert main([*small, *OFF, "report.formats=[csv]"]) == 0
    assert "2 already stored, 0 to train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ([], {"log": 15}),
        (["measure.schedule={every: 5}"], {"every": 5}),
        (["measure.schedule={log: 4}"], {"log": 4}),
        (["measure.schedule=[0,7]"], [0, 7]),
    ],
)
def test_a_measuring_schedule_replaces_the_usual_one(given, schedule):
    (arm,) = expand(["init=eye", "sharing=none", *given])
    assert arm.measure.schedule == schedule


def test_without_a_target_nothing_arrives_or_never_does(folder, capsys):
    """A study of the start alone has no column of arrivals and no `never`; with a target it has both."""
    small = [
        "init=eye",
        "sharing=none",
        "seeds=2",
        "optim.lr=0.1",
        "model.depth=1",
        "measure=none",
        "engine.workers=1",
        *OFF,
    ]
    assert main([*small, "train.steps=0", "train.target=null", "report.formats=[csv]"]) == 0
    shown = capsys.readouterr().out
    assert "0 steps: no target" in shown
    assert not re.search(r"never|arrived|steps  |0/2", shown)
    assert re.search(r"lr +n +x base +verdict +loss", shown)
    assert main([*small, "train.steps=0", "report.formats=[csv]"]) == 0
    assert re.search(r"arrived +steps(.|\n)+0/2 +never", capsys.readouterr().out)
