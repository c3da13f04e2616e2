"""The tables of activations and optimizers: their facts are true, and every other writing has the same names."""

from __future__ import annotations

from pkgutil import resolve_name

import numpy as np
import pytest
import torch

from initbench.config.activations import ACTIVATIONS
from initbench.config.optimizers import OPTIMIZERS
from initbench.disk import conf_folder
from initbench.engine import optim, oracle
from initbench.engine.kernel import activations as compiled
from initbench.engine.kernel import rules
from initbench.nets import mlp as model

WIDE = np.linspace(-200, 200, 4001)
WIDE = np.concatenate([WIDE[WIDE != 0], [-1e-6, 1e-6]])


def test_every_writing_has_the_same_names():
    for names in (model.ACTIVATIONS, oracle.PHI, compiled.FUNCTIONS):
        assert set(names) == set(ACTIVATIONS)
    options = {path.stem for path in (conf_folder() / "optim").glob("*.yaml")}
    for names in (optim.RULES, options):
        assert set(names) == set(OPTIMIZERS)
    assert set(rules.RULES) == {name for name, one in OPTIMIZERS.items() if one.compiled}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_facts_of_an_activation_are_true(name):
    one = ACTIVATIONS[name]
    with np.errstate(over="ignore", under="ignore"):
        values, slopes = one.phi(WIDE), one.slope(WIDE)
    theirs = torch.from_numpy(WIDE).requires_grad_()
    outputs = resolve_name(one.torch)(theirs)
    outputs.sum().backward()
    assert np.allclose(values, outputs.detach().numpy(), rtol=1e-9, atol=1e-9)
    assert np.allclose(slopes, theirs.grad.numpy(), rtol=1e-7, atol=1e-7)
    if one.slopes is None:
        assert len(np.unique(slopes.round(9))) > 2
    else:
        assert np.array_equal(slopes, np.where(WIDE < 0, *one.slopes))
    jump = abs(float(one.slope(np.array(1e-6)) - one.slope(np.array(-1e-6))))
    assert (jump < 1e-4) == one.smooth
    if one.range is None:
        assert values.max() > 100
    else:
        assert (values.min(), values.max()) == pytest.approx(one.range, abs=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_facts_of_an_optimizer_are_true(name):
    """State as torch keeps it; adaptive: a gradient 100 times as large makes the same first step."""
    one, shape = OPTIMIZERS[name], (3, 3)
    found = resolve_name(one.torch)

    def make(parameters, **options):  # a hidden matrix where these are treated apart
        return found([{"params": parameters, "muon": one.rest is not None}], **options)

    given = {"momentum": 0.9} if "momentum" in one.keys else {}
    given |= {"nesterov": True} if name == "nesterov" else {}
    steps = []
    for size in (1.0, 100.0):
        parameter = torch.nn.Parameter(torch.zeros(shape))
        stepper = make([parameter], lr=0.1, **given)
        parameter.grad = torch.full(shape, size)
        stepper.step()
        steps.append(float(-parameter.detach()[0, 0]))
        kept = [v for v in stepper.state[parameter].values() if isinstance(v, torch.Tensor) and v.shape == shape]
        assert len(kept) == one.state
    assert (steps[1] == pytest.approx(steps[0], rel=1e-4)) == one.adaptive
    parameter = torch.nn.Parameter(torch.ones(shape))
    stepper = make([parameter], lr=0.1, weight_decay=0.5, **given)
    parameter.grad = torch.zeros(shape)
    stepper.step()
    if one.adaptive:  # a decay that is part of the gradient is scaled like one
        assert (float(parameter.detach()[0, 0]) == pytest.approx(1 - 0.1 * 0.5)) == one.decoupled
    for key in ("momentum", "betas", "alpha", "eps", "rest_lr"):
        if key in one.keys:
            assert key in stepper.defaults
