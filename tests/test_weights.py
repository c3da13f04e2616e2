"""The weights of a run on request: those that it had, byte for byte, whatever trained it and beside whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import initbench as ib
from conftest import small_arm
from initbench import data
from initbench.engine import stacked
from initbench.engine.kernel import run as kernel
from initbench.engine.loop import train
from initbench.engine.material import Material, start_of_seed
from initbench.engine.recorder import Recorder
from initbench.engine.schedule import Schedule
from initbench.errors import InputError
from initbench.study.weights import arm_of_plain

SMALL = ["model.depth=3", "model.width=6", "seeds=2", "train.steps=12", "track.uri=null", "engine.workers=1",
         "report.formats=[csv]", "data=teacher", "optim.batch_size=16", "train.eval_samples=64", "measure=light"]  # fmt: skip
CASES = {
    "kernel": ["init=kaiming_normal", "sharing=all", "optim.lr=[0.1,0.3]"],
    "stacked": ["init=per_layer", "init.map={0: eye}", "sharing=low_rank_delta", "optim=adam", "optim.lr=[0.01,0.03]"],
    "single": ["init=orthogonal", "sharing=untie_then_tie", "sharing.step=5", "engine=single", "optim.lr=[0.1]"],
    "module": ["init=kaiming_normal", "sharing=none", "model=module", "model.target=own_net.net", "optim.lr=[0.1]"],
}
NET = """
from torch import nn


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, outputs))
"""


@pytest.mark.parametrize("case", CASES)
def test_a_run_has_the_weights_that_it_had(folder, case):
    """Its norms are the history's to the last digit of float32, at the end and on the way; at step 0 it is the start."""
    (folder / "own_net.py").write_text(NET)
    own = [text for text in SMALL if case != "module" or not text.startswith("model.")]
    results = ib.run([*CASES[case], *own])
    assert set(results.runs["path"]) == {case if case != "module" else "single"}
    rows = results.history[results.history["metric"] == "weight_norm"]
    run = results.runs.iloc[-1]
    first = "weight_00" if case != "module" else "0.weight"
    for step in (None, 1):
        found = ib.weights(ib.load(results.folder), run["run"], step)
        at = 12 if step is None else step
        (expected,) = rows[(rows["run"] == run["run"]) & (rows["step"] == at) & (rows["layer"] == 0)]["value"]
        assert np.linalg.norm(found[first].astype(float)) == pytest.approx(expected, rel=1e-6)
    if case == "stacked":
        arm = arm_of_plain(results.study["arms"][0]["config"])
        start = start_of_seed(Material(arm, data.load(arm.data)), int(run["seed"]))
        begun = ib.weights(results, run["run"], 0)
        assert {name: v.numpy().tobytes() for name, v in start.items()} == {n: v.tobytes() for n, v in begun.items()}


@pytest.mark.parametrize("engine", [kernel, stacked])
def test_the_bytes_are_those_of_the_run_among_others(engine):
    """What a stack of runs holds after its training is what each of them gives alone."""
    arm = small_arm(model={"dtype": "float32"}, sharing={"name": "all"}, measure={"name": "none"})
    material = Material(arm, data.load(arm.data))
    runs = list(arm.runs)
    with torch.no_grad():
        if engine is kernel:
            training = kernel.Training(material, runs)
            training.train(lambda done: None)
            held = {name: place.view(training.parameters).numpy() for name, place in training.tensors.items()}
        else:
            stack = stacked.stack_of(material, runs)
            recorder = Recorder(material.scheme, runs, len(runs))
            train(stack, Schedule.of(arm, True), recorder, lambda done: None)
            held = {name: value.numpy() for name, value in stack.stored.items()}
    for place, run in enumerate(runs):
        alone = engine.stored_after(arm, run, material.data, arm.train.steps)
        assert set(alone) == set(held)
        assert all(alone[name].tobytes() == held[name][place].tobytes() for name in alone)


def test_a_run_that_stopped_early_gives_what_it_had_then(folder):
    stop = ["train.stop_when_reached=true", "train.target.value=1.0", "train.evaluate.dense=2"]
    results = ib.run([*CASES["kernel"], *SMALL, *stop])
    row = results.runs[results.runs["steps"] < 12].iloc[0]
    early, named = ib.weights(results, row["run"]), ib.weights(results, row["run"], int(row["steps"]))
    arm = arm_of_plain(results.study["arms"][0]["config"])
    run = (int(row["seed"]), float(row["optim.lr"]))
    whole = kernel.stored_after(arm, run, data.load(arm.data), int(row["steps"]))
    assert all(early[name].tobytes() == named[name].tobytes() == whole[name].tobytes() for name in early)
    with pytest.raises(InputError, match=f"made {int(row['steps'])} updates; give 0 to {int(row['steps'])}"):
        ib.weights(results, row["run"], 12)


def test_what_cannot_be_given_is_refused_in_one_line(folder):
    (folder / "own_start.py").write_text("def fill(weight, *, generator):\n    return weight.fill_(0.1)\n")
    results = ib.run(["init=own_start.fill", "sharing=none", "optim.lr=0.1", *SMALL])
    run = results.runs["run"].iloc[0]
    assert (ib.weights(results, run, 0)["weight_01"] == np.float32(0.1)).all()
    for asked, said in ((("nothing",), "no run nothing"), ((run, -1), "made 12 updates"), ((run, 99), "give 0 to 12")):
        with pytest.raises(InputError, match=said):
            ib.weights(results, *asked)
    failed = replace(results, runs=results.runs.assign(status="failed"))
    with pytest.raises(InputError, match="failed, so it has no weights"):
        ib.weights(failed, run)
    (folder / "own_start.py").write_text("def fill(weight, *, generator):\n    return weight.fill_(0.2)\n")
    with pytest.raises(InputError, match=r"cannot be trained again: .* run the study again"):
        ib.weights(results, run)
