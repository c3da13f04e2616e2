"""What a person types, names, imports or feeds in by mistake: one line of the one form, status 2, and nothing written."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import frames
import initbench as ib
from conftest import assert_template
from initbench.data import load
from initbench.errors import InputError

# command: its lines, each with the start of what is said of it
LINES: dict[str, dict[str, str]] = {
    "initbench": {
        # words and values
        "sedes=3": "sedes=3: no such key; did you mean seeds?",
        "model.dept=3": "model.dept=3: no such key; did you mean model.depth?",
        "init=kaiming_norml": "init=kaiming_norml: ",
        "experiment=quik": "experiment=quik: ",
        "hello": "'hello': not an override; ",
        "init=[": "init=[: ",
        "seeds=0": "seeds=0: ",
        "seeds=[1,1]": "seeds=[1, 1]: a seed is repeated; ",
        "optim.lr=-1": "optim.lr=-1",
        "optim.lr=nan": "optim.lr=nan: ",
        "optim=sgd optim.betas=[0.9,0.9]": "optim.betas=",
        "model.activation=rely": "model.activation=rely: unknown; did you mean relu?",
        "model.depth=1e9": "model.depth=1e9: not allowed; must be a whole number",
        "model.width=[3,4] model.depth=3": "model.width=",
        "train.steps=-1": "train.steps=-1: ",
        "train.rerun=maybe": "train.rerun=maybe: not allowed; must be true or false",
        "train.steps=null": "train.steps=null: not allowed; must not be null",
        "train.target.value=95": "train.target.value=95",
        "report.formats=[doc]": "report.formats=",
        "report.baseline=nobody": "report.baseline=nobody: ",
        "track.uri=localhost:5000": "track.uri=localhost:5000: ",
        "study=../x": "study=../x: ",
        "outputs=my.npz": "outputs=",
        "engine=gpu": "engine=gpu: ",
        "sharing=explicit": "sharing",
        "sharing=explicit sharing.groups=[[1,99]]": "sharing.groups=",
        "init=dirac": "init=dirac: ",
        "init=constant init.valu=3": "init.valu=3: ",
        "hydra/launcher=slurm": "hydra/launcher=slurm: ",
        "--nonsense": "command line: ",
        "--config-dir nowhere": "--config-dir",
        # data
        "data=npz": "data=npz: it needs data.path; ",
        "data=npz data.path=gone.npz": "data.path=gone.npz: no such file; ",
        "data=npz data.path=text.npz": "data.path=text.npz: ",
        "data=npz data.path=pickled.npz": "data.path=pickled.npz: ",
        "data=npz data.path=nan.npz": "data.path=nan.npz: ",
        # a person's own code and option files
        "init=no_such.fn": "init=no_such.fn: ",
        "init=broken_code.fn": "init=broken_code.fn: ",
        "init=own_code.nobody": "init=own_code.nobody: ",
        "init=own_code.number": "init=own_code.number: ",
        "sharing=own_code.outside": "sharing=own_code.outside: ",
        "model=module model.target=own_code.number": "model.target=own_code.number: ",
        "model=module model.target=own_code.NoLinear": "model.target=own_code.NoLinear: ",
        "--config-dir options init=torn": "init/torn.yaml: line 2: ",
        "--config-dir options init=unknown_key": "init",
    },
    "initbench.report": {
        "": "command line: ",
        "gone": "gone: ",
        "my.npz": "my.npz: ",
        "empty": "empty: ",
        "torn": "torn",
        "newer": "newer",
        "evil.zip": "evil.zip: ",
        "good --format doc": "format doc: unknown; ",
        "good --target 95": "target=95.0: an accuracy lies between 0 and 1; did you mean 0.95?",
        "good --target speed:3": "target=speed:3: ",
        "good --baseline nobody": "baseline=nobody: ",
        "good good good": "good good good: ",
        "good --out x": "--out, --uri: ",
        "mlflow:demo": "mlflow:demo: no database at ",
    },
    "initbench.inspect": {
        "init=eyee": "init=eyee: ",
        "init=eye --csv table.txt": "table.txt: ",
        "--plot": "command line: ",
    },
    "initbench.predict": {
        "": "command line: ",
        "gone": "gone: ",
        "good": "predict: ",
        "torn": "torn",
    },
    "initbench.catalogue": {
        "xyzzy": "xyzzy: no initializer mentions it; ",
        "--check eyee": "--check eyee: ",
        "--check own_code.nobody": "init=own_code.nobody: ",
        "--check eye gain": "gain: no argument; ",
    },
    "initbench.reproduce": {
        "sharing-sped": "sharing-sped: no such study; did you mean sharing-speed?",
        "sharing-speed --workers 0": "--workers 0: ",
    },
}
ONE_ARM = ("init=eye", "sharing=none", "engine.workers=1")
MODULES = {"initbench": "initbench.__main__", "initbench.report": "initbench.report.__main__"}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


def nothing(weight: torch.Tensor) -> None:
    pass


CALLS: dict[str, tuple[Callable[[], object], str]] = {
    "data, y too short": (lambda: load({"name": "npz", "path": "short.npz"}), "data.path=short.npz: "),
    "data, no y": (lambda: load({"name": "npz", "path": "no_y.npz"}), "data.path=no_y.npz: "),
    "data, class a million": (lambda: load({"name": "npz", "path": "far.npz"}), "data.path=far.npz: "),
    "run": (lambda: ib.run(["sedes=3"]), "sedes=3: "),
    "run, no list": (lambda: ib.run("experiment=quick"), ""),
    "run, two targets": (lambda: ib.run(["train.target.value=0.8,0.9"]), "train.target.value=0.8,0.9: "),
    "build": (lambda: ib.build(["init=eyee"], seed=0), "init=eyee: "),
    "load": (lambda: ib.load("gone"), "gone: "),
    "load, torn": (lambda: ib.load("torn"), "torn"),
    "initialize_": (lambda: ib.initialize_(net(), "kaiming_norml"), "init=kaiming_norml: unknown; "),
    "initialize_, no such layer": (lambda: ib.initialize_(net(), {"7": "eye"}), "initialize_: "),
    "initialize_, no module": (lambda: ib.initialize_(None, "eye"), "initialize_: None is no nn.Module; "),
    "initialize_, own": (lambda: ib.initialize_(net(), nothing), "init"),
    "share_, one layer": (lambda: ib.share_(net(), [["0"]]), "share_: "),
    "share_, no such layer": (lambda: ib.share_(net(), [["0", "7"]]), "share_: "),
    "share_, other shapes": (
        lambda: ib.share_(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 4)), [["0", "1"]]),
        "share_: ",
    ),
    "untie_": (lambda: ib.untie_(net(), 0), "untie_: "),
    "parameter": (lambda: ib.parameter(net(), "0.wieght"), ""),
    "theory, variance": (
        lambda: import_module("initbench.theory.mean_field").length_map("relu", 1.0, -1.0),
        "sigma_w^2=-1.0, sigma_b^2=0.0: not allowed; ",
    ),
    "theory, curve": (
        lambda: import_module("initbench.theory.linear").mode_curve(np.arange(3), -1.0, 0.1, 2),
        "mode_curve: ",
    ),
    "claims": (lambda: import_module("initbench.claims.prediction").load(Path("claim")), "claim/predictions.yaml: "),
}

OWN = """
    from torch import nn

    number = 3

    def outside(config, layers):
        return [[0, 99]]

    class NoLinear(nn.Module):
        def __init__(self, inputs=64, outputs=10):
            super().__init__()
            self.fold = nn.Flatten()
        def forward(self, x):
            return self.fold(x)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, code, option files and studies of all kinds of fault."""
    folder = tmp_path_factory.mktemp("above") / "made"  # so that what is written beside it shows too
    folder.mkdir()
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    arrays: dict[str, dict[str, object]] = {
        "my": {"x": x, "y": y},
        "pickled": {"x": x, "y": np.array([[1], {}], dtype=object)},
        "nan": {"x": np.where(x == 7, np.nan, x), "y": y},
        "short": {"x": x, "y": y[:7]},
        "no_y": {"x": x, "labels": y},
        "far": {"x": x, "y": y + 10**6},
    }
    for name, one in arrays.items():
        np.savez(folder / f"{name}.npz", **one)
    (folder / "text.npz").write_text("x,y\n1,2\n")
    (folder / "own_code.py").write_text(textwrap.dedent(OWN))
    (folder / "broken_code.py").write_text("def fn(weight:\n")
    (folder / "options/init").mkdir(parents=True)
    (folder / "options/init/torn.yaml").write_text("name: [\n")
    (folder / "options/init/unknown_key.yaml").write_text("name: unknown_key\n_target_: eye\nwidht: 3\n")
    (folder / "empty").mkdir()
    good = frames.make_study((("kaiming_normal", "none"),), lrs=(0.1,), seeds=3, steps=50, layer_metrics=())
    frames.write_study(folder / "good", *good)
    for name, edit in {"torn": lambda text: text[:50], "newer": lambda text: json.dumps({"schema": 99})}.items():
        shutil.copytree(folder / "good", folder / name)
        path = folder / name / "study.json"
        path.write_text(edit(path.read_text("utf-8")), "utf-8")
    with zipfile.ZipFile(folder / "evil.zip", "w") as archive:
        archive.writestr("../out/study.json", "{}")
    (folder / "claim").mkdir()
    (folder / "claim/predictions.yaml").write_text("claim: x\n")
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch):
    """In that folder; afterwards it is as it was, and what was imported from it is gone."""
    monkeypatch.chdir(made)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = contents(made.parent)
    yield
    for name in ("own_code", "broken_code"):
        sys.modules.pop(name, None)
    assert contents(made.parent) == before


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    found = {str(path): path.stat() for path in folder.rglob("*")}
    return {name: (one.st_size, one.st_mtime_ns) for name, one in found.items()}


@pytest.mark.parametrize(
    ("command", "line"), [pytest.param(c, line, id=f"{c} {line}") for c, lines in LINES.items() for line in lines]
)
def test_a_command_refuses_in_one_line_and_writes_nothing(command, line, here, capsys):
    words = line.split()
    if command == "initbench":  # one arm is composed faster than sixteen, and in this process
        words += [one for one in ONE_ARM if one.partition("=")[0] not in line]
    assert import_module(MODULES.get(command, command)).main(words) == 2
    shown = capsys.readouterr()
    (said,) = shown.err.splitlines()
    name, _, words = said.partition(": ")
    assert name in (command, "initbench")
    assert assert_template(words).startswith(LINES[command][line]), words
    assert shown.out == ""


@pytest.mark.parametrize("call", CALLS)
def test_a_function_refuses_in_one_line_and_writes_nothing(call, here, capsys):
    function, begins = CALLS[call]
    with pytest.raises(InputError) as refused:
        function()
    assert assert_template(str(refused.value)).startswith(begins), str(refused.value)
    assert capsys.readouterr() == ("", "")


def test_the_table_is_long_enough():
    assert sum(map(len, LINES.values())) + len(CALLS) > 90
