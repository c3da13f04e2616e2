"""A sigmoid unit for each class: its losses against torch.nn over a training, and where they are refused."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from conftest import VALUES, small_arm
from initbench import data
from initbench.data.doubts import without_inputs
from initbench.engine import one_by_one, stacked
from initbench.engine.kernel import declared
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.errors import InputError
from initbench.inspect import guess_of

LOSSES = {
    "sigmoid_cross_entropy": nn.BCELoss(),
    "sigmoid_squared_error": nn.MSELoss(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_net_that_ends_in_sigmoids_as_a_person_writes_it(loss):
    """nn.Sequential(..., nn.Sigmoid()) with torch's loss on its outputs, full batch, 20 steps of SGD."""
    arm = small_arm(
        model={"depth": 2, "activation": "sigmoid"},
        optim={"lr": [0.5], "batch_size": None},
        train={"steps": 20, "loss": loss},
        measure={"schedule": {"every": 1}},
        seeds=(2,),
    )
    material = Material(arm, data.load(arm.data))
    start, seeds = start_of_seed(material, 2), Seeds(material, (2,))
    x, y = (t[0] for t in seeds.samples(next(seeds.batches())))
    assert y.shape == (len(x), 3)
    linears = [nn.Linear(n, m).double() for n, m in pairwise((5, 6, 6, 3))]
    for i, linear in enumerate(linears):
        linear.weight.data, linear.bias.data = start[f"weight_{i:02d}"], start[f"bias_{i:02d}"]
    net = nn.Sequential(*[part for linear in linears for part in (linear, nn.Sigmoid())])
    stepper, losses = torch.optim.SGD(net.parameters(), lr=0.5), []
    for _ in range(21):
        stepper.zero_grad()
        value = LOSSES[loss](net(x), y)
        value.backward()
        losses.append(value.item())
        stepper.step()
    for engine in (stacked, one_by_one):
        found = engine.run_chunk(arm, [(2, 0.5)], material.data).series
        assert np.allclose(found["loss/batch"].values[0], losses, rtol=0, atol=1e-12)
        right = (net(x).argmax(1) == y.argmax(1)).double().mean().item()
        assert abs(found["accuracy/train"].values[0, -1] - right) < 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_sigmoid_outputs_need_classes_and_no_kernel(loss):
    values = small_arm(data=VALUES, train={"loss": loss})
    with pytest.raises(InputError, match=f"train.loss={loss}: these data have no classes; must be one of: auto"):
        Material(values, data.load(values.data)).loss  # noqa: B018
    arm = small_arm(model={"dtype": "float32"}, train={"loss": loss})
    words = f"train.loss={loss}: the kernel has no sigmoid output units"
    assert declared.refuses(arm, Material(arm, data.load(arm.data))) == words


@pytest.mark.parametrize("loss", LOSSES)
def test_the_best_constant_answer_has_the_loss_of_the_class_frequencies(loss):
    """What a caution compares a target with, and what inspect calls a guess."""
    set_ = data.load({"name": "digits"})
    samples = np.arange(1000)
    p = np.bincount(set_.y[samples], minlength=10) / 1000
    onehot = torch.eye(10, dtype=torch.float64)[torch.from_numpy(set_.y[samples])]
    expected = LOSSES[loss](torch.from_numpy(p).expand_as(onehot), onehot).item()
    assert without_inputs(set_, samples, samples, "loss/train", loss) == pytest.approx(expected, rel=1e-12)
    assert guess_of(loss, 10) == pytest.approx(expected, rel=1e-2)
    assert guess_of("auto", 10) == math.log(10)
