"""Residual MLPs and parametrizations: against plain nets written out here, and against the tables of their papers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from conftest import TEACHER, small_arm
from initbench import data
from initbench.config.groups import RESIDUALS, EvaluateConfig, InitConfig, LayerSpec, ModelConfig, SharingConfig
from initbench.engine import one_by_one, stacked
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.engine.oracle import MLP
from initbench.errors import InputError, NotApplicable
from initbench.measure import measure
from initbench.nets.net import net as net_of
from initbench.nets.parametrization import Factors, cubed_paths, factors
from initbench.nets.residual import branches
from initbench.theory import mode_curve


def residual(rule: str, **more) -> dict:
    return {"name": "residual_mlp", "residual": rule, "depth": 5, "activation": "tanh", **more}


def losses(arm, run=(2, 0.05)) -> np.ndarray:
    return stacked.run_chunk(arm, [run], data.load(arm.data)).series["loss/train"].values[0]


def stack_of(arm) -> tuple[stacked.Stack, torch.Tensor, torch.Tensor]:
    """A stack at its start, with the probe batch."""
    material = Material(arm, data.load(arm.data))
    seeds = Seeds(material, arm.seeds)
    rows = torch.arange(len(arm.seeds))
    stack = stacked.Stack(material, seeds, rows, torch.full((len(rows),), 0.1, dtype=torch.float64))
    return stack, *stack.on_runs(*seeds.probe())


def logits(arm) -> torch.Tensor:
    """(R, classes, P) at the start."""
    stack, x, _ = stack_of(arm)
    return stack.net.forward(*stack.weights(), stack.stored, x).zs[-1]


# ------------------------------------------------------------------------------------------------------ residual


def test_no_skip_is_the_plain_net():
    """residual=none equals model=mlp of the same depth, all training long."""
    plain = small_arm(model={"depth": 5, "activation": "tanh"}, optim={"lr": [0.05]})
    assert np.allclose(losses(small_arm(model=residual("none"), optim={"lr": [0.05]})), losses(plain), rtol=1e-12)


@pytest.mark.parametrize("rule", ["skipinit", "rezero", "zero_gamma"])
def test_a_zero_gain_starts_as_stem_and_head(rule):
    """W_out phi(W_0 x + b_0) + b_out, whatever the branches hold; the gain learns."""
    arm = small_arm(model=residual(rule), init_bias="torch", optim={"lr": [0.1]}, seeds=(1, 2))
    stack, x, _ = stack_of(arm)
    s = stack.stored
    hidden = torch.tanh(s["weight_00"] @ x + s["bias_00"][:, :, None])
    expected = s["weight_05"] @ hidden + s["bias_05"][:, :, None]
    assert torch.allclose(logits(arm), expected, rtol=1e-13, atol=1e-13)
    assert s["gain_02"].shape == (2, 6 if rule == "zero_gamma" else 1)
    with torch.no_grad():
        for step in range(arm.train.steps):
            stack.loss(step)
            stack.update(step)
    assert (stack.stored["gain_02"] != 0).all()


def test_fixup_starts_by_its_three_rules():
    """L = 2 branches of 2: first matrices times 2^(-1/2), last 0, head 0 with biases 0: equal probabilities at the start;
    one multiplier 1 a branch, one scalar shift 0 before each matrix."""
    base = small_arm(model={"depth": 5, "activation": "tanh"}, init_bias="torch")
    arm = small_arm(model=residual("fixup"), init_bias="torch")
    plain, ours = (start_of_seed(Material(one, data.load(one.data)), 0) for one in (base, arm))
    assert torch.equal(ours["weight_00"], plain["weight_00"])
    assert torch.equal(ours["bias_00"], plain["bias_00"])
    for layer in (1, 3):
        assert torch.allclose(ours[f"weight_{layer:02d}"], plain[f"weight_{layer:02d}"] / math.sqrt(2), rtol=1e-15)
    for name in ("weight_02", "weight_04", "weight_05", "bias_01", "bias_02", "bias_05"):
        assert not ours[name].any(), name
    assert {name: value.tolist() for name, value in ours.items() if name[0] in "gs"} == {
        **{f"gain_{i:02d}": [1.0] for i in (2, 4)},
        **{f"shift_{i:02d}": [0.0] for i in (1, 2, 3, 4)},
    }
    assert not logits(arm).any()
    three = ModelConfig("residual_mlp", depth=7, residual="fixup", branch=3)
    layers = three.layers(4, 2)
    scheme_net = net_of(replace(arm, model=three), layers)
    assert [w for w, _ in scheme_net.init_factors] == [1.0, *[2**-0.25, 2**-0.25, 0.0] * 2, 0.0]  # k = 3: L^(-1/4)


@pytest.mark.parametrize(("rule", "per_branch"), [("inv_sqrt2", 1.0), ("inv_sqrt_depth", None), ("plain", 2.0)])
def test_the_stream_keeps_or_doubles_its_mean_square(rule, per_branch):
    """Linear branches of orthogonal matrices add independent signals of equal size: a branch multiplies the stream's
    mean square by 1 (1/sqrt 2), 1 + 1/L (L^-1/2), 2 (plain)."""
    branch_count = 10
    model = residual(rule, depth=branch_count + 1, branch=1, activation="linear", width=200)
    arm = small_arm(
        model=model, init="orthogonal", init_bias="zeros", seeds=tuple(range(4)), data={**TEACHER, "inputs": 20}
    )
    stack, x, _ = stack_of(arm)
    zs = stack.net.forward(*stack.weights(), stack.stored, x).zs
    growth = (zs[-2].square().mean() / zs[0].square().mean()).item() ** (1 / branch_count)
    assert abs(growth / (per_branch or 1 + 1 / branch_count) - 1) < 0.02


@pytest.mark.parametrize("rule", RESIDUALS)
def test_gradients_of_the_model_are_autograds(rule):
    """Against autograd through an nn.Module, for every stored tensor, gains and shifts included, at random values."""
    arm = small_arm(model=residual(rule, depth=7, branch=3), sharing={"name": "none"}, seeds=(0, 1))
    stack, x, y = stack_of(arm)
    draw = torch.Generator().manual_seed(1)
    for value in stack.stored.values():
        value.copy_(torch.randn(value.shape, generator=draw, dtype=torch.float64) * 0.5)
    weights, biases = stack.weights()
    trace = stack.net.forward(weights, biases, stack.stored, x)
    _, dlogits = stack.sample_loss(trace.zs[-1], y)
    dws, dbs, _, own = stack.net.backward(weights, stack.stored, trace, dlogits / x.shape[2])
    grads = {**stack.scheme.stored_grads(dws, dbs, stack.stored), **own}
    assert set(grads) == set(stack.stored)
    for run in range(2):
        module = MLP(stack.material, {name: value[run] for name, value in stack.stored.items()})
        nn.functional.cross_entropy(module(x[run].T), y[run]).backward()
        for name, parameter in module.tensors.items():
            assert torch.allclose(grads[name][run], parameter.grad, rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("rule", ["plain", "zero_gamma", "none"])
def test_the_jacobian_goes_through_the_branches(rule):
    """d z_last / d z_0 by torch.autograd.functional through the plain module."""
    arm = small_arm(model=residual(rule), init_bias="torch")
    stack, x, y = stack_of(arm)
    draw = torch.Generator().manual_seed(1)
    for name, value in stack.stored.items():
        if name.startswith("gain"):
            value.copy_(torch.randn(value.shape, generator=draw, dtype=torch.float64))
    ours = measure(stack.probe((x, y), *stack.weights(), None), ["jacobian_sv_max"])["jacobian_sv_max"]
    module = MLP(stack.material, {name: value[0] for name, value in stack.stored.items()})

    def after(z0: torch.Tensor) -> torch.Tensor:
        """The net from the stem's preactivation on."""
        identity = torch.eye(6, dtype=torch.float64)
        w = [identity, *(module.weight(i) for i in range(1, 6))]
        b = [None, *(module.bias(i) for i in range(1, 6))]
        return module.run(w, b, z0[None])[0][-1][0]

    z0 = stack.net.forward(*stack.weights(), stack.stored, x).zs[0][0]
    largest = [
        torch.linalg.svdvals(torch.autograd.functional.jacobian(after, z0[:, i].clone()))[0].item() for i in range(4)
    ]
    assert abs(ours[0, -1].item() / np.mean(largest) - 1) < 1e-10


def test_shared_branches():
    """Branches that repeat share well; one start cannot be two."""
    alternate = small_arm(model=residual("fixup"), sharing={"name": "cycle"})
    assert net_of(alternate, alternate.model.layers(5, 3)).scheme.weights[1].layers == (1, 3)
    same = replace(alternate, sharing=SharingConfig("all"))
    with pytest.raises(NotApplicable, match=r"model\.residual=fixup: layers 1 and 2 share a weight, but start"):
        net_of(same, same.model.layers(5, 3))
    free = replace(same, model=ModelConfig(**residual("rezero")))
    assert net_of(free, free.model.layers(5, 3)).scheme.own[0].name == "gain_02"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "residual_mlp", "depth": 6, "residual": "plain"}, "set e.g. model.depth=5 or 7"),
        ({"name": "residual_mlp", "depth": 2, "residual": "plain"}, "set e.g. model.depth=3 or 5"),
        ({"name": "residual_mlp", "depth": 3, "residual": "plan"}, "did you mean plain?"),
        ({"name": "residual_mlp", "depth": 3, "width": [4, 5, 4], "residual": "plain"}, "need equal widths"),
        ({"name": "mlp", "residual": "plain"}, "model=mlp does not use it; choose model=residual_mlp"),
        ({"name": "mpl"}, "did you mean mlp?"),
        ({"parametrization": "muP"}, "did you mean mup?"),
        ({"base_width": 0}, "must be a whole number, 1 or more"),
    ],
    ids=lambda v: "" if isinstance(v, str) else "-".join(map(str, v.values())),
)
def test_models_that_cannot_be_are_refused(model, said):
    with pytest.raises(InputError) as refusal:
        ModelConfig(**model)
    assert said in str(refusal.value)


def test_branches_cover_the_hidden_layers():
    for depth, k in ((3, 2), (9, 4), (7, 1)):
        found = branches(ModelConfig("residual_mlp", depth=depth, residual="plain", branch=k))
        assert [i for b in found for i in range(b.first, b.last + 1)] == list(range(1, depth))


# ------------------------------------------------------------------------------------------------ parametrizations


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("kind", ["standard", "ntk", "mup", "spectral"])
def test_mup_at_its_base_width_is_standard(kind, name):
    arm = small_arm(model={"width": 6, "base_width": 6, "parametrization": kind}, optim={"name": name, "lr": [0.05]})
    same = np.array_equal(losses(arm), losses(small_arm(model={"width": 6}, optim={"name": name, "lr": [0.05]})))
    assert same == (kind in ("standard", "mup"))


def test_ntk_is_the_same_function_with_weights_of_order_one():
    standard = small_arm(init="lecun_normal", model={"width": 400}, init_bias="torch")
    ntk = replace(standard, model=replace(standard.model, parametrization="ntk"))
    assert torch.allclose(logits(ntk), logits(standard), rtol=1e-10, atol=1e-12)
    stored = start_of_seed(Material(ntk, data.load(ntk.data)), 0)
    assert abs(stored["weight_01"].std().item() - 1) < 0.01


def hand_trained(arm, rates, decays=None, forward=lambda i, w, h: nn.functional.linear(h, w)) -> list[float]:
    """Full-batch SGD on a plain list of tensors, each with its own learning rate; the loss before every step."""
    material = Material(arm, data.load(arm.data))
    seeds = Seeds(material, (2,))
    x, y = (t[0] for t in seeds.samples(next(seeds.batches())))
    stored = start_of_seed(material, 2)
    count = len(material.layers)
    w = [nn.Parameter(stored[f"weight_{i:02d}"].clone()) for i in range(count)]
    b = [nn.Parameter(stored[f"bias_{i:02d}"].clone()) for i in range(count)]
    groups = [{"params": [p], "lr": rate} for p, rate in zip([*w, *b], rates)]
    stepper = torch.optim.SGD(groups, lr=0.0)
    found = []
    for _ in range(arm.train.steps + 1):
        h = x
        for i in range(count):
            z = forward(i, w[i], h) + b[i]
            h = torch.tanh(z) if i < count - 1 else z
        loss = nn.functional.cross_entropy(h, y)
        found.append(loss.item())
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    return found


def full_batch(**model):
    return small_arm(
        model={"activation": "tanh", "depth": 3, **model},
        optim={"lr": [0.05], "batch_size": None},
        measure={"schedule": {"every": 1}},
        init_bias="torch",
        seeds=(2,),
    )


def test_ntk_descends_as_the_standard_net_with_lr_over_fan_in():
    """W = w / sqrt n: a step lr dw is a step lr / n dW. So a standard net with rate lr / n on W traces the same losses."""
    arm, standard = full_batch(parametrization="ntk"), full_batch()
    by_hand = hand_trained(standard, [0.05 / n for n in (5, 6, 6, 6)] + [0.05] * 4)
    ours = stacked.run_chunk(arm, [(2, 0.05)], data.load(arm.data)).series["loss/batch"].values[0]
    assert np.allclose(ours, by_hand, rtol=1e-11)


def test_mup_descends_by_the_table_of_microsofts_package():
    """Width 12 over base 3, r = 4, SGD: input W and hidden b at lr r, hidden W at lr, output W at lr r, output b at lr;
    the head reads h / r, and starts sqrt r times as large."""
    arm = full_batch(parametrization="mup", width=12, base_width=3)
    r = 4
    by_hand = hand_trained(
        arm,
        [0.05 * r, 0.05, 0.05, 0.05 * r, 0.05 * r, 0.05 * r, 0.05 * r, 0.05],
        forward=lambda i, w, h: nn.functional.linear(h / r if i == 3 else h, w),
    )
    ours = stacked.run_chunk(arm, [(2, 0.05)], data.load(arm.data)).series["loss/batch"].values[0]
    assert np.allclose(ours, by_hand, rtol=1e-11)
    plain = start_of_seed(Material(full_batch(width=12), data.load(arm.data)), 2)
    scaled = start_of_seed(Material(arm, data.load(arm.data)), 2)
    assert torch.equal(scaled["weight_03"], plain["weight_03"] * 2)
    assert torch.equal(scaled["bias_03"], plain["bias_03"] * 2)
    assert torch.equal(scaled["weight_01"], plain["weight_01"])


def test_factors_are_those_of_the_tables():
    model = ModelConfig(depth=3, width=[64, 128, 64], parametrization="mup", base_width=32)
    layers = model.layers(10, 5)
    sgd, adam = factors(model, "momentum", layers), factors(model, "rmsprop", layers)
    assert [f.lr for f in sgd] == [2, 4 / 2, 2 / 4, 2]  # r_out; r_out / r_in twice; r_in
    assert [f.bias_lr for f in sgd] == [2, 4, 2, 1]
    assert [f.lr for f in adam] == [1, 1 / 2, 1 / 4, 1]
    assert [f.bias_lr for f in adam] == [1, 1, 1, 1]
    assert [f.forward for f in adam] == [1, 1, 1, 1 / 2]
    model = replace(model, parametrization="spectral")
    sgd, adam = factors(model, "sgd", layers), factors(model, "adam", layers)
    assert [f.lr for f in sgd] == [64 / 10, 2, 0.5, 5 / 64]  # m / n
    assert [f.lr for f in adam] == [1 / 10, 1 / 64, 1 / 128, 1 / 64]
    assert [f.init for f in sgd] == [1, 1, math.sqrt(0.5), math.sqrt(5 / 64)]
    assert set(factors(replace(model, parametrization="standard"), "sgd", layers)) == {Factors()}


def test_decay_times_rate_stays_unless_decoupled():
    model = ModelConfig(depth=2, width=64, parametrization="mup", base_width=32)
    for name, expected in (("sgd", 0.5), ("adam", 2.0), ("adamw", 1.0)):
        arm = small_arm(model={**vars(model)}, optim={"name": name})
        decay = net_of(arm, model.layers(5, 3)).decay_factor
        assert decay["weight_00" if name == "sgd" else "weight_01"] == expected


def test_mup_moves_activations_by_as_much_at_every_width():
    """Coordinate check (Tensor Programs V): after 5 Adam steps the mean square change of the logits hardly depends on
    the width under mup and grows with it under the standard parametrization."""
    change = {}
    for kind in ("standard", "mup"):
        for width in (32, 256):
            arm = small_arm(
                data={"name": "digits"},
                model={"width": width, "base_width": 32, "parametrization": kind, "depth": 3, "dtype": "float32"},
                init_bias="zeros",
                optim={"name": "adam", "lr": [0.003], "batch_size": 64},
                train={"steps": 5, "eval_samples": 8},
                measure={"metrics": ["activation_change_msq"], "schedule": [5]},
                seeds=(0, 1),
            )
            chunk = stacked.run_chunk(arm, list(arm.runs), data.load(arm.data))
            change[kind, width] = chunk.series["activation_change_msq"].values[:, -1, -1].mean()
    slope = {kind: math.log(change[kind, 256] / change[kind, 32]) / math.log(8) for kind in ("standard", "mup")}
    assert abs(slope["mup"]) < 0.5
    assert slope["standard"] > 1.0


def test_spectral_has_its_sigma():
    """init=lecun_normal: sigma = n^-1/2 min(1, sqrt(m/n))."""
    layer = LayerSpec(1, 2, fan_in=400, fan_out=100)
    arm = small_arm(init="lecun_normal", model={"depth": 2, "width": [400, 100], "parametrization": "spectral"})
    stored = start_of_seed(Material(arm, data.load(arm.data)), 0)
    expected = layer.fan_in**-0.5 * min(1, math.sqrt(layer.fan_out / layer.fan_in))
    assert abs(stored["weight_01"].std().item() / expected - 1) < 4 / math.sqrt(2 * 40_000)


FORMULA = {"name": "low_rank_delta", "rank": 2, "groups": [[1, 3], [2, 4]]}


@pytest.mark.parametrize(
    ("model", "sharing"),
    [
        (residual("fixup"), FORMULA),
        ({"parametrization": "mup", "base_width": 3}, FORMULA),
        ({"parametrization": "depth_mup", "base_width": 3, "base_depth": 2}, FORMULA),
        (residual("looped", residual_scale=0.5), {"name": "cycle", "slots": 2}),
    ],
    ids=["fixup", "mup", "depth_mup", "looped"],
)
def test_models_share_too(model, sharing):
    """A residual or reparametrized net that shares, both engines (float64, 1e-11)."""
    arm = small_arm(
        model={"depth": 5, "activation": "tanh", **model},
        sharing=sharing,
        optim={"lr": [0.05]},
        seeds=(1,),
        measure={"schedule": [0, 5]},
    )
    ours, oracle = (e.run_chunk(arm, list(arm.runs), data.load(arm.data)) for e in (stacked, one_by_one))
    for name, one in ours.series.items():
        assert np.allclose(one.values, oracle.series[name].values, rtol=1e-11, atol=1e-11, equal_nan=True), name


@pytest.mark.parametrize("depth", [1, 2])
def test_a_decoupled_start_learns_mode_by_mode_on_the_known_curves(depth):
    """Whitened inputs, N = depth + 1 matrices: the loss is sum_i (s_i - u_i(t))^2 / k with Saxe's u_i (within 1% of the
    start's). The mean over k outputs makes tau = k / (2 lr)."""
    modes, k, lr = [3.0, 2.0], 3, 0.003
    arm = small_arm(
        data={"name": "linear", "modes": modes, "samples": 60, "inputs": 4, "outputs": k},
        model={"depth": depth, "width": 5, "activation": "linear", "bias": False},
        init=InitConfig("decoupled", "decoupled", args={"strength": 0.05}),
        optim={"lr": [lr], "batch_size": None},
        train={"steps": 1500, "evaluate": EvaluateConfig(dense=0, ratio=1.3)},
        measure={"name": "none"},
        seeds=(0,),
    )
    series = stacked.run_chunk(arm, [(0, lr)], data.load(arm.data)).series["loss/train"]
    t = np.array(series.steps, dtype=float)
    left = [(s - mode_curve(t, s, 0.05, tau=k / (2 * lr), matrices=depth + 1)) ** 2 for s in modes]
    rest = (mode_curve(t, 1e-9, 0.05, tau=k / (2 * lr), matrices=depth + 1) - 0.0) ** 2  # the third mode has s = 0
    theory = (sum(left) + rest) / k
    assert series.values[0, -1] < 0.02 * series.values[0, 0]
    assert np.abs(series.values[0] - theory).max() < 0.01 * theory[0]


@pytest.mark.parametrize("null", [None, 0.0, 0.2])
def test_null_modes_of_a_decoupled_start(null):
    """Two modes among three outputs: the third starts at `null_strength`. By Saxe's equation with s = 0 the loss that it
    leaves falls as (u0 / (1 + 2 u0 t / tau))^2 / k, so not at all at 0."""
    k, lr, u0, steps = 3, 0.01, 0.05 if null is None else null, 400
    arm = small_arm(
        data={"name": "linear", "modes": [3.0, 2.0], "samples": 60, "inputs": 4, "outputs": k},
        model={"depth": 1, "width": 5, "activation": "linear", "bias": False},
        init=InitConfig("decoupled", "decoupled", args={"strength": 0.05, "null_strength": null}),
        optim={"lr": [lr], "batch_size": None},
        train={"steps": steps},
        measure={"name": "none"},
        seeds=(0,),
    )
    material = Material(arm, data.load(arm.data))
    start = start_of_seed(material, 0)
    found = torch.linalg.svdvals(start["weight_01"] @ start["weight_00"])
    assert found.tolist() == pytest.approx(sorted([0.05, 0.05, u0], reverse=True), abs=1e-12)
    last = stacked.run_chunk(arm, [(0, lr)], material.data).series["loss/train"].values[0, -1]
    assert last == pytest.approx((u0 / (1 + 2 * u0 * steps * 2 * lr / k)) ** 2 / k, rel=0.02, abs=3e-6)


# ------------------------------------------------------- residual rules of tied branches, rates of deep nets


def growth_of_the_stream(rule, count, shared, lam=1.0, runs=6, width=250):
    """E|u|^2 after `count` linear branches W u over that before, W of LeCun's normal law."""
    arm = small_arm(
        model=residual(
            rule, depth=count + 1, branch=1, activation="linear", width=width, residual_scale=lam, bias=False
        ),
        sharing={"name": "all" if shared else "none"},
        init="lecun_normal",
        seeds=tuple(range(runs)),
        data={**TEACHER, "inputs": 20},
    )
    stack, x, _ = stack_of(arm)
    zs = stack.net.forward(*stack.weights(), stack.stored, x).zs
    return (zs[-2].square().mean() / zs[0].square().mean()).item()


@pytest.mark.parametrize("count", [4, 16])
@pytest.mark.parametrize("shared", [False, True])
def test_tied_branches_add_up_as_the_closed_forms_say(count, shared):
    """Rule 1/N: tied sum_k C(N,k)^2 N^-2k, untied (1 + 1/N^2)^N. Of an untied net looped is 1/sqrt N: (1 + 1/N)^N."""
    tied = sum(math.comb(count, k) ** 2 * count ** (-2 * k) for k in range(count + 1))
    expected = tied if shared else (1 + 1 / count**2) ** count
    assert growth_of_the_stream("inv_depth", count, shared) == pytest.approx(expected, rel=0.04)
    of_loops = tied if shared else (1 + 1 / count) ** count
    assert growth_of_the_stream("looped", count, shared) == pytest.approx(of_loops, rel=0.04)


def test_looped_divides_by_its_uses_and_the_root_of_the_different_blocks():
    """lambda / (N sqrt L), L blocks each used N times; blocks used unequally often each by its own N."""
    model = ModelConfig("residual_mlp", depth=9, residual="looped", branch=2, residual_scale=3.0)
    layers = model.layers(5, 3)

    def scales(**sharing):
        arm = small_arm(model={**vars(model), "width": 6}, sharing=sharing)
        return [b.scale for b in net_of(arm, layers).branches]

    assert scales(name="none") == pytest.approx([3 / 2] * 4)  # L = 4, N = 1
    assert scales(name="all") == pytest.approx([3 / 4] * 4)  # L = 1, N = 4
    assert scales(name="cycle", slots=4) == pytest.approx([3 / (2 * 2**0.5)] * 4)  # L = 2, N = 2
    uneven = scales(name="explicit", groups=[[1, 3, 5], [2, 4, 6]])
    assert uneven == pytest.approx([*[3 / (3 * 2**0.5)] * 3, 3 / 2**0.5])
    with pytest.raises(NotApplicable, match="branches 0 and 1 share some of their weights, not all"):
        scales(name="cycle", slots=3)
    with pytest.raises(NotApplicable, match="it counts the uses of a weight, but the sharing computes"):
        scales(name="hashed")


def test_a_sum_of_two_starts_by_its_in_degree():
    """Var = 2 / (d_in fan_in): half as much into the sum of stream and branch. So linear branches double nothing."""
    arm = small_arm(model=residual("indegree", depth=5, branch=2), init="kaiming_normal")
    plain = small_arm(model=residual("plain", depth=5, branch=2), init="kaiming_normal")
    ours, theirs = (start_of_seed(Material(one, data.load(one.data)), 0) for one in (arm, plain))
    for i in range(6):
        factor = math.sqrt(0.5) if i in (2, 4) else 1.0
        assert torch.allclose(ours[f"weight_{i:02d}"], theirs[f"weight_{i:02d}"] * factor, rtol=1e-15)
        assert torch.equal(ours[f"bias_{i:02d}"], theirs[f"bias_{i:02d}"])


def test_depth_mup_is_mup_at_rates_that_fall_with_depth():
    """lr times (depth / base)^(-3/2) for every tensor; at the base it is mup."""
    mup = ModelConfig(depth=8, width=64, parametrization="mup", base_width=32)
    for base in (8, 2):
        deep = replace(mup, parametrization="depth_mup", base_depth=base)
        for one, two in zip(factors(mup, "sgd", mup.layers(10, 5)), factors(deep, "sgd", mup.layers(10, 5))):
            slower = (8 / base) ** -1.5
            expected = replace(one, lr=one.lr * slower, bias_lr=one.bias_lr * slower)
            assert [vars(two)[key] for key in vars(two)] == pytest.approx([vars(expected)[key] for key in vars(two)])
    with pytest.raises(NotApplicable, match=r"model.parametrization=depth_mup optim=adam: .*; use optim=sgd"):
        factors(replace(mup, parametrization="depth_mup"), "adam", mup.layers(10, 5))
    other = replace(mup, name="residual_mlp", depth=9, residual="plain", parametrization="depth_mup")
    with pytest.raises(NotApplicable, match="plain nets, and for residual nets that start by in-degree"):
        factors(other, "sgd", other.layers(10, 5))


@pytest.mark.parametrize(("depth", "branch"), [(5, 1), (7, 2), (7, 3)])
def test_paths_of_a_residual_net_by_listing_them(depth, branch):
    """Each branch is taken or not; a path has the stem's layer and those of the branches taken."""
    model = ModelConfig("residual_mlp", depth=depth, residual="indegree", branch=branch)
    lengths = [1]
    for _ in range((depth - 1) // branch):
        lengths += [length + branch for length in lengths]
    assert cubed_paths(model) == sum(length**3 for length in lengths)


def test_the_last_hidden_layer_moves_by_the_cube_of_the_depth():
    """2305.07810: one step of SGD changes the last hidden preactivations by lr^2 depth^3 in mean square; under depth_mup
    by as much at every depth."""
    change = {}
    for kind in ("mup", "depth_mup"):
        for depth in (4, 16):
            arm = small_arm(
                data={"name": "digits"},
                model={"width": 128, "depth": depth, "parametrization": kind, "dtype": "float32", "base_depth": 4},
                init_bias="zeros",
                optim={"lr": [1e-4], "batch_size": 64},
                train={"steps": 1, "eval_samples": 8},
                measure={"metrics": ["activation_change_msq"], "schedule": [1]},
                seeds=tuple(range(8)),
            )
            chunk = stacked.run_chunk(arm, list(arm.runs), data.load(arm.data))
            change[kind, depth] = chunk.series["activation_change_msq"].values[:, -1, -2].mean()
    slope = {kind: math.log(change[kind, 16] / change[kind, 4]) / math.log(4) for kind in ("mup", "depth_mup")}
    assert 2 < slope["mup"] < 4
    assert slope["depth_mup"] == pytest.approx(slope["mup"] - 3, abs=0.1)
