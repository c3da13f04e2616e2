"""What an optimizer does besides its rule: which tensors it steps, what rises on the way, what the kernel leaves to others."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from conftest import TEACHER, small_arm
from initbench import data
from initbench.config.groups import OptimConfig
from initbench.engine import one_by_one, optim, stacked
from initbench.engine.kernel import declared
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.errors import InputError, NotApplicable
from initbench.study.costs import costs

MUON = {"name": "muon", "lr": [0.02], "momentum": 0.9, "weight_decay": 0.1, "batch_size": None}


def after_one_step(arm):
    """Stored tensors of the first run, before and after one update."""
    material = Material(arm, data.load(arm.data))
    seeds = Seeds(material, arm.seeds)
    rates = torch.full((1,), arm.optim.lrs[0], dtype=material.dtype)
    stack = stacked.Stack(material, seeds, torch.tensor([0]), rates)
    before = {name: value[0].clone() for name, value in stack.stored.items()}
    stack.loss(0)
    stack.update(0)
    return before, {name: value[0] for name, value in stack.stored.items()}


# ------------------------------------------------------------------------------------------ a momentum that rises


@given(t=st.integers(0, 5000), rise=st.sampled_from([1, 7, 250]), most=st.floats(0.5, 0.999))
def test_the_momentum_rises_as_in_sutskever_2013(t, rise, most):
    """mu_t = min(1 - 2^(-1 - log2(floor(t / 250) + 1)), mu_max)."""
    c = OptimConfig("nesterov", momentum=most, momentum_rise=rise)
    paper = min(1 - 2 ** (-1 - math.log2(math.floor(t / rise) + 1)), most)
    assert optim.momentum_at(c, t) == pytest.approx(paper, rel=1e-12)
    assert optim.momentum_at(replace(c, momentum_rise=None), t) == most


def test_a_rising_momentum_is_that_of_each_update():
    """By hand: v <- mu_t v + g, p <- p - lr v on the full batch, mu rising every second update."""
    arm = small_arm(
        model={"depth": 2, "activation": "tanh"},
        optim={"name": "momentum", "momentum": 0.8, "momentum_rise": 2, "lr": [0.1], "batch_size": None},
        train={"steps": 7},
        measure={"schedule": {"every": 1}},
        seeds=(2,),
    )
    material = Material(arm, data.load(arm.data))
    start, seeds = start_of_seed(material, 2), Seeds(material, (2,))
    x, y = (t[0] for t in seeds.samples(next(seeds.batches())))
    own = [nn.Parameter(start[f"{kind}_{i:02d}"].clone()) for i in range(3) for kind in ("weight", "bias")]
    speeds, losses = [torch.zeros_like(p) for p in own], []
    for t in range(8):
        h = x
        for i in range(3):
            z = nn.functional.linear(h, own[2 * i], own[2 * i + 1])
            h = torch.tanh(z)
        loss = nn.functional.cross_entropy(z, y)
        losses.append(loss.item())
        for p, g, v in zip(own, torch.autograd.grad(loss, own), speeds):
            v.mul_([0.5, 0.5, 0.75, 0.75, 0.8, 0.8, 0.8, 0.8][t]).add_(g)
            p.data.sub_(0.1 * v)
    chunk = stacked.run_chunk(arm, [(2, 0.1)], data.load(arm.data))
    assert np.allclose(chunk.series["loss/batch"].values[0], losses, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"name": "adam", "momentum_rise": 3}, "optim.momentum_rise=3: optim=adam does not use it; .*nesterov"),
        ({"name": "momentum", "momentum": 0.9, "momentum_rise": 0}, "optim.momentum_rise=0"),
        ({"name": "sgd", "rest_lr": 0.1}, "optim.rest_lr=0.1: optim=sgd does not use it; choose one of optim=muon"),
        ({"name": "muon", "rest_lr": 0.0}, "optim.rest_lr=0"),
    ],
)
def test_keys_of_another_optimizer_are_refused(given_, words):
    with pytest.raises(InputError, match=words):
        OptimConfig(**given_)


# ----------------------------------------------------------------------------------------------------------- muon


@pytest.mark.parametrize(
    "change", [{}, {"sharing": {"name": "all"}}, {"sharing": {"name": "low_rank_delta", "rank": 2}}]
)
def test_muon_steps_hidden_matrices_and_adamw_the_rest(change):
    """A hidden matrix (m, n) moves by lr sqrt(max(1, m/n)) O with singular values of O in about [.5, 1.5]; all else as
    AdamW at lr rest_lr moves it."""
    arm = small_arm(model={"depth": 3, "width": 6, "activation": "tanh"}, optim={**MUON, "rest_lr": 0.5}, **change)
    before, after = after_one_step(arm)
    same = {"name": "adamw", "lr": [0.01], "weight_decay": 0.1, "batch_size": None, "betas": [0.9, 0.95], "eps": 1e-10}
    _, by_adamw = after_one_step(replace(arm, optim=OptimConfig(**same)))
    hidden = Material(arm, data.load(arm.data)).net.hidden_matrices
    assert hidden == {name for name in before if name.startswith("weight") and name not in ("weight_00", "weight_03")}
    for name, p in after.items():
        if name not in hidden:
            assert torch.equal(p, by_adamw[name]), name
            continue
        moved = before[name] * (1 - 0.02 * 0.1) - p
        sizes = torch.linalg.svdvals(moved) / 0.02
        assert 0.3 < float(sizes.min()) <= float(sizes.max()) < 1.3


def test_a_tall_matrix_moves_by_the_square_root_of_its_shape():
    arm = small_arm(model={"depth": 3, "width": [4, 16, 4], "activation": "tanh"}, optim={**MUON, "weight_decay": 0.0})
    before, after = after_one_step(arm)
    sizes = {name: torch.linalg.svdvals(before[name] - after[name]).max() / 0.02 for name in ("weight_01", "weight_02")}
    assert sizes["weight_01"] == pytest.approx(2 * float(sizes["weight_02"]), rel=0.5)
    assert sizes["weight_01"] > 1.4


def test_muon_is_left_to_the_stack_and_says_why():
    arm = small_arm(model={"dtype": "float32"}, optim=MUON)
    words = "optim=muon: its rule for whole matrices is not compiled"
    assert declared.refuses(arm, Material(arm, data.load(arm.data))) == words
    lion = replace(arm, optim=OptimConfig("lion", lr=[0.01]))
    assert declared.refuses(lion, Material(lion, data.load(lion.data))) == ""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stack_mates_change_no_bit_of_muon(dtype):
    arm = small_arm(
        model={"dtype": dtype, "width": 7},
        optim={**MUON, "lr": [0.02, 1e9], "batch_size": 8},
        seeds=(0, 1, 2),
        train={"steps": 6},
    )
    runs, set_ = list(arm.runs), data.load(arm.data)
    losses = lambda some: stacked.run_chunk(arm, some, set_).series["loss/train"].values  # noqa: E731
    whole = losses(runs)
    assert whole.tobytes() == np.concatenate([losses([run]) for run in runs]).tobytes()


@pytest.mark.parametrize("kind", ["mup", "spectral"])
def test_rates_by_entry_are_refused_for_muon(kind):
    arm = small_arm(model={"parametrization": kind}, optim=MUON)
    with pytest.raises(
        NotApplicable, match=f"model.parametrization={kind} optim=muon: its learning rates are for updates"
    ):
        Material(arm, data.load(arm.data)).net.check()


def test_muon_costs_its_products():
    """Two hidden matrices 6 x 6: 10 operations an entry and 5 rounds of 4 s^2 l + 2 s^3; the rest as AdamW's 14."""
    arm = small_arm(model={"depth": 3, "width": 6}, optim=MUON)
    material = Material(arm, data.load(arm.data))
    ours = costs(arm, material.layers, material.scheme, batch=8)
    theirs = costs(replace(arm, optim=OptimConfig("adamw")), material.layers, material.scheme, batch=8)
    assert ours["flops_per_step"] - theirs["flops_per_step"] == 2 * (36 * (10 - 14) + 5 * 6 * 6**3)
    assert theirs["state_bytes"] - ours["state_bytes"] == 8 * 2 * 36


class Own(nn.Module):
    """A plain net as a person writes it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        sizes = (inputs, 6, 6, 6, outputs)
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


def test_muon_treats_your_own_module_as_the_same_net():
    same = {"optim": {**MUON, "rest_lr": 0.5}, "train": {"steps": 4}, "seeds": (1,), "measure": {"name": "none"}}
    arms = [
        small_arm(model={"depth": 3, "width": 6, "activation": "tanh", "dtype": "float64"}, **same),
        small_arm(
            model={"name": "module", "target": f"{__name__}.Own", "activation": "tanh", "dtype": "float64"},
            data=TEACHER,
            **same,
        ),
    ]
    plain, own = (one_by_one.run_chunk(arm, [(1, 0.02)], data.load(arm.data)).series["loss/train"] for arm in arms)
    assert np.allclose(plain.values, own.values, rtol=1e-12, atol=0)
