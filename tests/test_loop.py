"""One loop trains whatever trains; it is compared with a naive one, and all trainers with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conftest import TEACHER, small_arm
from initbench import data
from initbench.config.groups import EvaluateConfig, ModelConfig, Target
from initbench.engine import one_by_one, stacked
from initbench.engine.kernel import run as kernel
from naive_loop import naive

GOAL = 0.6
STEPS = 30


def arm_of(dtype: str = "float64", sharing: dict | None = None, **optim):
    train = {
        "steps": STEPS,
        "evaluate": EvaluateConfig(dense=2, ratio=1.6),
        "stop_when_reached": True,
        "target": Target("accuracy/train", GOAL),
    }
    return small_arm(
        data=TEACHER,
        model={"depth": 3, "width": 6, "activation": "relu", "dtype": dtype},
        sharing=sharing or {"name": "none"},
        optim={"lr": [0.02, 0.3, 1.0, 1e160 if dtype == "float64" else 1e8], **optim},
        train=train,
        seeds=(0, 1),
        measure={"name": "none"},
    )


CASES = {
    "plain": ({}, {}),
    "clip": ({}, {"clip": 0.5}),
    "cosine": ({}, {"schedule": "cosine"}),
    "untie": ({"name": "tie_then_untie", "step": 7}, {}),
    "untie clipped": ({"name": "tie_then_untie", "step": 7}, {"clip": 0.5}),
    "tie clipped": ({"name": "untie_then_tie", "step": 7}, {"clip": 0.5}),
}
TIES = {"tie_then_untie": range(7), "untie_then_tie": range(7, STEPS)}


@pytest.mark.parametrize("trainer", [stacked, one_by_one])
@pytest.mark.parametrize("case", CASES)
def test_the_loop_is_the_naive_one(case, trainer):
    sharing, optim = CASES[case]
    arm = arm_of(sharing={**sharing, "reduce": "mean"} if sharing else None, **optim)
    chunk = trainer.run_chunk(arm, arm.runs, data.load(arm.data))
    ends = set()
    for i, (seed, lr) in enumerate(arm.runs):
        theirs = naive(arm, seed, lr, GOAL, TIES.get(sharing.get("name"), range(0)))
        assert (chunk.diverged_at[i], chunk.stopped_at[i]) == (theirs["diverged"], theirs["stopped"]), (seed, lr)
        ours = dict(zip(chunk.series["loss/train"].steps, chunk.series["loss/train"].values[i]))
        alive = {t: v for t, v in theirs["curve"].items() if not 0 <= theirs["diverged"] <= t}
        assert alive == pytest.approx({t: ours[t] for t in alive}, rel=1e-9)
        ends.add((theirs["diverged"] >= 0, theirs["stopped"] >= 0))
    assert ends >= {(True, True), (False, True)}  # some diverge, some arrive


def test_all_trainers_stop_and_diverge_at_the_same_steps(folder):
    """Kernel, stack, oracle and a person's own module: a diverged run leaves at the evaluation that sees it."""
    (folder / "loop_net.py").write_text(
        "from torch import nn\n\n\ndef net(inputs, outputs):\n"
        "    sizes = [inputs, 6, 6, 6, outputs]\n    parts = []\n"
        "    for a, b in zip(sizes, sizes[1:]):\n        parts += [nn.Linear(a, b), nn.ReLU()]\n"
        "    return nn.Sequential(*parts[:-1])\n",
        "utf-8",
    )
    arm = arm_of("float32")
    arm = replace(arm, train=replace(arm.train, evaluate=EvaluateConfig(dense=0, ratio=6.0)))  # 0, 1, 6, 30
    module = replace(arm, model=ModelConfig("module", target="loop_net.net"))
    set_ = data.load(arm.data)
    chunks = [one.run_chunk(arm, arm.runs, set_) for one in (kernel, stacked, one_by_one)]
    chunks.append(one_by_one.run_chunk(module, module.runs, set_))
    diverged = chunks[0].diverged_at
    assert sorted(set(diverged.tolist())) == [-1, 2]  # between two evaluations
    assert set(chunks[0].stopped_at[diverged == 2].tolist()) == {6}
    for chunk in chunks[1:]:
        assert chunk.diverged_at.tolist() == diverged.tolist()
        assert chunk.stopped_at.tolist() == chunks[0].stopped_at.tolist()
        for name, one in chunk.series.items():
            expected = chunks[0].series[name]
            assert np.allclose(one.values, expected.values, rtol=1e-3, atol=1e-4, equal_nan=True), name
