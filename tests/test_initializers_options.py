"""Every option of conf/init in a net: those that fit start it, the others say in one line why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from conftest import small_arm
from initbench import data
from initbench.config.groups import InitConfig
from initbench.engine import stacked
from initbench.engine.material import Material, start_of_seed
from initbench.errors import NotApplicable
from initbench.initializers.option_files import known, load_option

# what a plain ReLU net with inputs of another number than its width gives no place to
REASONS = {
    "dirac": "use init=eye",
    "kumar": "smooth at 0, and relu is not",
    "literal": "init.file",
    "np_rnn": "needs a square matrix",
    "spectral_radius": "needs a square matrix",
}


def option(name):
    content = load_option(name)
    args = {key: value for key, value in content.items() if key not in ("name", "_target_", "bias")}
    return InitConfig(name, content["_target_"], content["bias"], args)


@pytest.mark.parametrize("name", known())
def test_an_option_starts_a_net_and_trains_or_says_why_not(name):
    arm = small_arm(init=option(name), model={"depth": 2, "width": 8}, seeds=[0], train={"steps": 2}, optim={"lr": 0.1})
    if name in REASONS:
        with pytest.raises(NotApplicable, match=REASONS[name]) as error:
            start_of_seed(Material(arm, data.load(arm.data)), 0)
        assert "\n" not in str(error.value)
        return
    stored = start_of_seed(Material(arm, data.load(arm.data)), 0)
    shapes = {"weight_00": (8, 5), "weight_01": (8, 8), "weight_02": (3, 8), "bias_00": (8,), "bias_01": (8,)}
    assert {key: tuple(value.shape) for key, value in stored.items()} == {**shapes, "bias_02": (3,)}
    assert all(bool(torch.isfinite(value).all()) for value in stored.values())
    chunk = stacked.run_chunk(arm, [(0, 0.1)], data.load(arm.data))
    assert chunk.series["loss/train"].values.shape[0] == 1


@pytest.mark.parametrize("name", sorted(REASONS))
def test_what_fits_no_default_net_fits_another(name, tmp_path):
    """No reason is a dead end, but dirac's: there a smooth activation, a square net or a file makes it run."""
    if name == "dirac":
        return
    change, init = {}, option(name)
    if name == "kumar":
        change = {"activation": "tanh"}
    elif name == "literal":
        torch.save([torch.ones(6, 5), torch.zeros(6), torch.ones(3, 6), torch.zeros(3)], tmp_path / "net.pt")
        change, init = {"depth": 1, "width": 6}, InitConfig(name, name, "zeros", {"file": str(tmp_path / "net.pt")})
    else:
        init = InitConfig("per_layer", "per_layer", None, {"map": {"hidden": name}, "default": "kaiming_normal"})
    start_of_seed(*seeded(small_arm(init=init, model=change)))


def seeded(arm):
    return Material(arm, data.load(arm.data)), 0


@pytest.mark.long
def test_a_sweep_over_all_options_on_the_default_net(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(stacked.__file__).parents[2]), "COLUMNS": "200"}
    asked = ["init=glob(*)", "sharing=none", "seeds=2", "train.steps=20", "optim.lr=0.1", "track.uri=null", "study=all"]
    command = [sys.executable, "-m", "initbench", *asked]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 1, done.stderr
    said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    for name, reason in REASONS.items():
        assert any(line.startswith(f"{name} · none: ") and reason in line for line in said), name
    runs = pd.read_parquet(tmp_path / "outputs" / "all" / "runs.parquet")
    trained = runs[runs["status"].isin(["completed", "diverged"])]
    assert set(trained["init.name"]) == set(known()) - set(REASONS)
    assert (trained.groupby("init.name").size() == 2).all()
    assert not (runs["status"] == "failed").any()
