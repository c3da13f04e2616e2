"""`python -m initbench.inspect`: the table against direct computation, and the trouble of bad set-ups in one line."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import small_arm
from initbench import data, inspect
from initbench.config.groups import InitConfig
from initbench.diagnosis import Signals, diagnose, flags
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.errors import InputError
from initbench.inspect import Inspection, main
from initbench.study.labels import labelled
from initbench.study.plan import planned
from options import option

DIGITS = {"name": "digits"}


def one(init: InitConfig | str, data: Mapping = DIGITS, sharing: str = "none", seeds=range(12), **model) -> Inspection:
    """The arm that `inspect` would make of such overrides, without Hydra's half second."""
    arm = small_arm(
        init=option(init) if isinstance(init, str) else init,
        data=data,
        sharing={"name": sharing},
        model={"depth": 6, "width": 32, "dtype": "float32", **model},
        optim={"lr": [0.1], "batch_size": 1},
        train={"steps": 0, "eval_samples": 256, "target": None},
        measure={"metrics": [*inspect.light(), *inspect.MORE]},
        seeds=seeds,
    )
    return inspect.inspect_arm(labelled([planned(arm)])[0])


# ------------------------------------------------------------------------------------------------ the diagnosis


@pytest.mark.parametrize(
    ("init", "model", "words"),
    [
        ("normal_001", {"depth": 20}, ["forward signal shrinks .0", "below .01 of its size at layer 2"]),
        ("ones", {}, ["all units of layers 0 to 5 are identical", "breaks no symmetry"]),
        ("xavier_normal", {"depth": 50}, ["forward signal shrinks .6", "below .01 of its size at layer 1"]),
        ("xavier_normal", {"activation": "sigmoid", "depth": 10}, ["backward signal shrinks .2", "below .01"]),
        ("zeros", {}, ["no signal at all", "layer 0"]),
        ("kaiming_normal", {"width": 2, "depth": 10}, ["dead at birth: ", " of 12 seeds"]),
        (option("normal", std=3.0), {"activation": "tanh"}, ["backward signal grows"]),
        (option("constant", value=0.5), {"activation": "tanh"}, ["identical"]),
        (option("orthogonal", gain=30.0), {"activation": "tanh", "depth": 1}, ["sit at their bounds"]),
        (option("orthogonal", gain=20.0), {"depth": 1}, ["starts at loss", "a guess has 2.3"]),
    ],
)
def test_bad_set_ups_are_named_in_one_line(init, model, words):
    found = one(init, **model)
    assert found.trouble
    assert "\n" not in found.diagnosis
    for word in words:
        assert word in found.diagnosis, found.diagnosis


def test_eye_with_negative_targets(tmp_path):
    """A net that starts as the identity, asked for minus the identity: it has to go through zero first."""
    x = np.random.default_rng(0).standard_normal((200, 6))
    for name, y in (("against", -x), ("with", x)):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)

    def look(kind: str, activation: str) -> Inspection:
        return one("eye", {"name": "npz", "path": f"{tmp_path}/{kind}.npz"}, width=6, depth=4, activation=activation)

    for activation in ("linear", "relu"):
        found = look("against", activation)
        assert found.trouble
        assert "outputs point against the targets" in found.diagnosis
    assert not look("with", "linear").trouble
    # the cosine from loss, outputs and targets is the real one: -1 for f = -y
    assert "cosine -1)" in look("against", "linear").diagnosis


@pytest.mark.parametrize(
    ("init", "changes"),
    [
        ("kaiming_normal", {}),
        ("orthogonal", {"activation": "tanh", "depth": 10}),
        ("kaiming_normal", {"sharing": "all"}),
        ("edge_of_chaos", {"activation": "tanh", "depth": 10, "width": 64}),
        ("xavier_normal", {"activation": "gelu", "depth": 3}),
        ("lecun_normal", {"data": {"name": "teacher"}, "activation": "selu"}),
    ],
)
def test_good_set_ups_raise_no_alarm(init, changes):
    found = one(init, **changes)
    assert not found.trouble, found.diagnosis
    assert found.diagnosis.startswith("no trouble seen")
    assert (found.table["flag"] == "").all()


def signals(**values) -> Signals:
    """Signals of 4 seeds, 3 layers, from one row each."""
    arrays = {name: np.tile(np.array(row, float), (4, 1)) for name, row in values.items()}
    return Signals(arrays, {name: range(len(row)) for name, row in values.items()}, np.full(4, 2.3), 2.3)


def test_rules_on_hand_made_signals():
    """Each rule alone, on both sides of its threshold."""
    calm = {"preactivation_msq": [1, 1, 1], "backward_msq": [1, 1, 1]}
    assert not diagnose(signals(**calm))[0]
    assert "below .01 of its size at layer 2" in diagnose(signals(**{**calm, "preactivation_msq": [1, 1e-2, 1e-5]}))[1]
    assert not diagnose(signals(**{**calm, "preactivation_msq": [1, 1e-2, 1.1e-4]}))[0]
    assert "backward signal grows" in diagnose(signals(**{**calm, "backward_msq": [1.1e4, 1e2, 1]}))[1]
    assert "50% of the units of layer 1 are dead" in diagnose(signals(**calm, dead_fraction=[0.1, 0.5]))[1]
    assert "60% of the activations of layer 0" in diagnose(signals(**calm, saturated_fraction=[0.6, 0.5]))[1]
    assert not diagnose(signals(**calm, saturated_fraction=[0.4, 0.49]))[0]
    assert "look alike from layer 1 on" in diagnose(signals(**calm, preactivation_cosine=[0.5, 0.9991, 0.9999]))[1]
    assert "no signal beyond layer 1" in diagnose(signals(**{**calm, "preactivation_msq": [1, 1, 0]}))[1]
    assert flags(signals(**{**calm, "backward_msq": [1e-5, 1, 1]}), 0) == "gradient lost"
    loud = Signals(signals(**calm).values, signals(**calm).layers, np.full(4, 7.0), 2.3)
    assert "starts at loss 7, a guess has 2.3" in diagnose(loud)[1]


# ---------------------------------------------------------------------------------------------------- the table


def test_the_table_is_what_direct_computation_gives():
    shape = {"depth": 4, "width": 9}
    found = one("xavier_uniform", sharing="all", seeds=(3,), **shape).table.set_index("layer")
    arm = small_arm(init=option("xavier_uniform"), sharing={"name": "all"}, model={**shape, "dtype": "float32"})
    material = Material(arm, data.load(DIGITS))
    start = start_of_seed(material, 3)
    h = Seeds(material, (3,)).probe()[0][0]
    for layer in range(5):
        name = f"weight_{layer if layer in (0, 4) else 1:02d}"
        w = start[name]
        z = h @ w.T
        assert found.loc[layer, "slot"] == name
        assert found.loc[layer, "uses"] == (1 if layer in (0, 4) else 3)
        assert found.loc[layer, "stored"] == (w.numel() if layer in (0, 1, 4) else 0)
        assert found.loc[layer, "mean"] == pytest.approx(w.mean().item(), rel=1e-5, abs=1e-8)
        assert found.loc[layer, "norm"] == pytest.approx(w.norm().item(), rel=1e-5)
        assert found.loc[layer, "forward"] == pytest.approx(z.square().mean().item(), rel=1e-4)
        h = torch.relu(z)
    assert found["forward x theory"].isna().all()  # no theory of shared layers


def test_theory_stands_beside_what_is_measured():
    table = one("kaiming_normal", width=100, depth=3, seeds=range(100)).table
    assert table["forward x theory"].to_numpy() == pytest.approx(1, abs=0.1)
    assert table["backward x theory"].to_numpy()[:-1] == pytest.approx(1, abs=0.08)
    assert np.isnan(table["backward x theory"].iloc[-1])


def test_one_arm_unless_more_are_asked_for():
    found = inspect.look(["seeds=3", "init=eye,zeros", "model.depth=2,3"])
    assert [(one.label, len(one.table)) for one in found] == [
        ("eye · none · depth=2", 3), ("eye · none · depth=3", 4), ("zeros · none · depth=2", 3), ("zeros · none · depth=3", 4)
    ]  # fmt: skip
    assert len(found[0].signals.loss) == 3
    assert inspect.asked([])[:3] == ["seeds=64", "init=torch_default", "sharing=none"]
    with pytest.raises(InputError, match=r"model\.dpth"):
        inspect.look(["model.dpth=2"])
    with pytest.raises(InputError, match="sharing=sandwich: it needs at least 3 hidden-to-hidden layers"):
        inspect.look(["sharing=sandwich", "model.depth=2"])


MODULE = """
import torch
from torch import nn

class MyNet(nn.Module):
    def __init__(self, inputs, outputs, width=8):
        super().__init__()
        self.enter, self.middle, self.leave = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, outputs)

    def forward(self, x):
        x = torch.tanh(self.enter(x))
        for _ in range(3):
            x = torch.tanh(self.middle(x))
        return self.leave(x)
"""


def test_a_module_of_ones_own(folder, capsys):
    """Its layers by their own names, a layer called three times as one slot; no theory, no Jacobian."""
    (folder / "inspected_module.py").write_text(MODULE)
    overrides = [
        "model=module",
        "model.target=inspected_module.MyNet",
        "model.activation=tanh",
        "init=orthogonal",
        "seeds=2",
    ]
    assert inspect.main([*overrides, "--csv", "out.csv"]) == 0
    assert "middle.weight" in capsys.readouterr().out
    table = pd.read_csv(folder / "out.csv")
    assert table["name"].tolist() == ["enter.weight", *["middle.weight"] * 3, "leave.weight"]
    assert table["uses"].tolist() == [1, 3, 3, 3, 1]
    assert table["stored"].tolist() == [512, 64, 0, 0, 80]
    assert table["norm"].to_numpy()[1:4] == pytest.approx(8**0.5)  # an orthogonal 8 x 8 matrix
    assert table["forward x theory"].isna().all()
    assert (table["backward"] > 0).all()


# -------------------------------------------------------------------------------------------------- the command


def test_the_command_prints_a_table_and_a_line_and_draws(folder, capsys):
    status = inspect.main(["init=kaiming_normal", "model.depth=3", "seeds=6", "--plot", "out.svg", "--csv", "out.csv"])
    printed = capsys.readouterr().out
    assert status == 0
    assert "weight_03" in printed
    assert printed.count("diagnosis: no trouble seen") == 1
    root = ET.parse(folder / "out.svg").getroot()
    assert root.tag.endswith("svg")
    text = (folder / "out.svg").read_text()
    assert "forward: mean square" in text
    assert "#010a" not in text  # no placeholder colours in a file of its own
    lines = (folder / "out.csv").read_text().splitlines()
    assert len(lines) == 5
    assert not (folder / "outputs").exists()
    assert not (folder / "mlflow.db").exists()


def test_wrong_input_is_one_line_and_status_2(folder, capsys):
    for argv in (["init=no_such"], ["--plot", "out.jpg"], ["seeds=0"], ["--config-dir", "nowhere"]):
        assert inspect.main(argv) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert err.startswith("initbench.inspect: ")
    assert inspect.main(["--plott", "x.svg"]) == 2


def test_steps_are_refused_rather_than_ignored(capsys):
    assert main(["init=eye", "sharing=none", "train.steps=3"]) == 2
    line = "initbench.inspect: train.steps=3: inspect looks at step 0, before any update; leave it out"
    assert capsys.readouterr().err.splitlines() == [line]
