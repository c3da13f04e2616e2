"""Curvature, gradient noise and tangent kernel against whole Hessians and Jacobians by autograd, in plain torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from conftest import TEACHER, VALUES, same_bits, small_arm
from initbench import data
from initbench.engine import one_by_one, stacked
from initbench.engine.kernel import run as kernel
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.engine.oracle import MLP
from initbench.measure.landscape import KERNEL_SAMPLES, largest_eigenvalue

NAMES = ["sharpness", "step_sharpness", "gradient_noise_scale", "kernel_change"]
CASES = {
    "untied relu": {},
    "tied tanh": {"sharing": {"name": "all"}, "model": {"activation": "tanh"}},
    "values": {"data": VALUES, "model": {"activation": "gelu"}},
    "sigmoid without biases": {"model": {"activation": "sigmoid", "bias": False}},
    "low rank": {"sharing": {"name": "low_rank_delta", "rank": 2}},
    "subspace": {"sharing": {"name": "intrinsic", "dimension": 7}},
    "injected": {"sharing": {"name": "input_injection"}},
    "rezero": {"model": {"name": "residual_mlp", "residual": "skipinit", "depth": 3}},
    "fixup": {"model": {"name": "residual_mlp", "residual": "fixup", "depth": 3, "activation": "tanh"}},
    "still tied": {"sharing": {"name": "tie_then_untie", "step": 9}},
}


def arm_of(case: str, steps: int = 1, **more):
    change = CASES[case]
    return small_arm(
        data=change.get("data", TEACHER),
        sharing=change.get("sharing", {}),
        model={"depth": 3, "width": 4, **change.get("model", {})},
        optim={"lr": [0.1], "batch_size": None, "schedule": "cosine"},
        train={"steps": steps},
        measure={"metrics": NAMES, "schedule": {"every": 1}},
        seeds=(0, 1),
        **more,
    )


def by_hand(arm, seed: int) -> dict[str, list[float]]:
    """Of a run at step 0 and after one step of gradient descent, from the whole Hessian and Jacobian."""
    material = Material(arm, data.load(arm.data))
    net = MLP(material, start_of_seed(material, seed))
    x, y = (t[0] for t in Seeds(material, (seed,)).probe())
    names, shapes = zip(*((name, p.shape) for name, p in net.named_parameters()))

    def outputs(theta, x):
        parts = theta.split([shape.numel() for shape in shapes])
        held = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes)}
        return torch.func.functional_call(net, held, (x,))

    def loss(theta, x=x, y=y):
        return F.cross_entropy(outputs(theta, x), y) if arm.data["classes"] else F.mse_loss(outputs(theta, x), y)

    theta = torch.cat([p.detach().flatten() for p in net.parameters()])
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    kernels = []
    for _ in range(2):
        hessian = torch.autograd.functional.hessian(loss, theta, vectorize=True)
        found["sharpness"].append(float(torch.linalg.eigvalsh(hessian)[-1]))
        found["step_sharpness"].append(found["sharpness"][-1] * 0.1 / 2)  # of one step, whose rate is the whole one
        each = torch.stack([torch.func.grad(loss)(theta, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
        mean = each.mean(0)
        found["gradient_noise_scale"].append(float(each.var(0, unbiased=False).sum() / mean.square().sum()))
        jacobian = torch.autograd.functional.jacobian(lambda t: outputs(t, x[:KERNEL_SAMPLES]).flatten(), theta)
        kernels.append(jacobian @ jacobian.T)
        theta = theta - 0.1 * torch.func.grad(loss)(theta)
    found["kernel_change"] = [float((kernels[1] - kernels[0]).norm() / kernels[0].norm())]
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_landscape_is_that_of_whole_hessians_and_jacobians(case):
    arm = arm_of(case)
    series = stacked.run_chunk(arm, list(arm.runs), data.load(arm.data)).series
    expected = by_hand(arm, seed=1)
    for name, numbers in expected.items():
        assert series[name].layers is None
        assert series[name].values[1] == pytest.approx(numbers, rel=1e-5 if "sharpness" in name else 1e-9), name


def test_all_engines_give_the_landscape():
    """Stack and oracle in float64; the kernel, which measures by torch, in float32."""
    arm = arm_of("tied tanh", steps=3)
    ours, oracle = (e.run_chunk(arm, list(arm.runs), data.load(arm.data)).series for e in (stacked, one_by_one))
    for name in NAMES:
        assert ours[name].values == pytest.approx(oracle[name].values, rel=1e-7), name
    arm = arm_of("untied relu", steps=3)
    single = replace(arm, model=replace(arm.model, dtype="float32"))
    ours, compiled = (
        engine.run_chunk(one, list(arm.runs), data.load(arm.data)).series
        for engine, one in ((stacked, arm), (kernel, single))
    )
    for name in NAMES:
        assert compiled[name].values == pytest.approx(ours[name].values, rel=2e-3), name


def test_stack_mates_change_no_bit_of_the_landscape():
    """In float32, beside a diverged run, alone, and in another order."""
    arm = small_arm(
        model={"depth": 3, "width": 7, "dtype": "float32", "activation": "gelu"},
        optim={"lr": [0.1]},
        train={"steps": 2},
        measure={"metrics": NAMES},
    )
    runs = [(0, 0.1), (3, 0.1), (1, 1e30), (2, 0.1)]
    set_ = data.load(arm.data)
    among = stacked.run_chunk(arm, runs, set_).series
    for place in (1, 3):
        alone = stacked.run_chunk(arm, runs[place : place + 1], set_).series
        assert not same_bits(
            alone, {n: type(s)(s.steps, s.layers, s.values[place : place + 1]) for n, s in among.items()}
        )
    assert np.isnan(among["sharpness"].values[2, -1])


@settings(max_examples=15, derandomize=True, deadline=None)
@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_lanczos_finds_the_largest_eigenvalue(values, seed):
    """Of any spectrum, also where the largest modulus is negative, or eigenvalues are equal."""
    n = len(values)
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))[0]
    a = q @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ q.T
    scale = max(map(abs, values))
    assert float(largest_eigenvalue(lambda v: a @ v, n)) == pytest.approx(max(values), abs=0.02 * scale + 1e-12)
