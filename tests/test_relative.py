"""init.relative: the first layer times a, the last over a, for every initializer; a ReLU net's function stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from conftest import small_arm
from initbench import data
from initbench.config.groups import InitConfig
from initbench.engine import one_by_one, stacked
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.errors import InputError, NotApplicable
from initbench.overrides.expand import expand
from initbench.study.build import build
from initbench.study.labels import init_label
from initbench.theory.arm import weight_laws


def scaled(arm, a):
    return replace(arm, init=replace(arm.init, relative=a))


def logits(arm):
    """(runs, classes, samples) at the start, and the stored tensors."""
    material = Material(arm, data.load(arm.data))
    material.net.check()
    seeds = Seeds(material, arm.seeds)
    stack = stacked.Stack(material, seeds, torch.arange(len(arm.seeds)), torch.ones(len(arm.seeds)))
    x, _ = stack.on_runs(*seeds.probe())
    return stack.net.forward(*stack.weights(), stack.stored, x).zs[-1], stack.stored


MODELS = {
    "relu": {"activation": "relu"},
    "one_layer": {"activation": "relu", "depth": 1},
    "abs": {"activation": "abs"},
    "residual": {"activation": "relu", "name": "residual_mlp", "residual": "inv_depth", "depth": 5},
    "mup": {"activation": "relu", "parametrization": "mup", "base_width": 3},
}
# whole-net starts set every size themselves, so not with mup; swim has no rule for abs
WITHOUT = {("lsuv", "mup"), ("swim", "mup"), ("swim", "abs")}
CASES = [(init, model) for init in ("kaiming_normal", "rai", "lsuv", "swim", "edge_of_chaos") for model in MODELS]


@pytest.mark.parametrize(("init", "model"), [case for case in CASES if case not in WITHOUT])
def test_the_function_of_a_relu_net_is_unchanged_and_its_balance_is_not(init, model):
    a = 3.7
    arm = small_arm(init=InitConfig(init, init, 0.3), model=MODELS[model])
    (before, old), (after, new) = logits(arm), logits(scaled(arm, a))
    assert torch.allclose(before, after, rtol=1e-10, atol=1e-10)
    last = len([name for name in old if name.startswith("weight")]) - 1
    assert torch.allclose(new["weight_00"], a * old["weight_00"], rtol=1e-15)
    assert torch.allclose(new[f"weight_{last:02d}"] * a, old[f"weight_{last:02d}"], rtol=1e-14)
    assert all(torch.equal(new[name], old[name]) for name in (f"weight_{i:02d}" for i in range(1, last)))
    assert torch.equal(new[f"bias_{last:02d}"], old[f"bias_{last:02d}"])


def test_tanh_feels_it():
    arm = small_arm(model={"activation": "tanh"})
    assert not torch.allclose(logits(arm)[0], logits(scaled(arm, 2.0))[0], rtol=0.1)


def test_tied_layers_keep_one_start_or_are_refused():
    tied = small_arm(sharing={"name": "all"}, model={"activation": "relu"})
    assert torch.allclose(logits(tied)[0], logits(scaled(tied, 4.0))[0], rtol=1e-10, atol=1e-10)
    ends = scaled(small_arm(sharing={"name": "explicit", "groups": [[0, 1]]}, data={**tied.data, "inputs": 6}), 2.0)
    hashed = scaled(small_arm(sharing={"name": "hashed"}), 2.0)
    with pytest.raises(NotApplicable, match=r"init.relative=2: layers 0 and 1 share a weight, but start 2 and 1 times"):
        logits(ends)
    with pytest.raises(
        NotApplicable, match=r"init.relative=2: it scales the first and the last weight, but the sharing"
    ):
        logits(hashed)


def test_both_engines_start_and_train_it_alike():
    arm = scaled(small_arm(seeds=(3,)), 2.0)
    ours, oracle = (e.run_chunk(arm, list(arm.runs), data.load(arm.data)) for e in (stacked, one_by_one))
    gaps = ours.series["loss/train"].values - oracle.series["loss/train"].values
    assert abs(gaps).max() < 1e-12


def test_it_is_an_argument_of_every_option_and_of_your_own_function(monkeypatch, tmp_path):
    (tmp_path / "mine_relative.py").write_text("def f(weight):\n    weight.fill_(0.5)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("eye", "lsuv", "mine_relative.f"):
        one, two, plain = expand([f"init={name}", "init.relative=2,0.5,1", "sharing=none"])
        assert [arm.init.relative for arm in (one, two, plain)] == [2, 0.5, 1]
        assert init_label(one) == f"{name}(relative=2)"
        assert init_label(plain) == name
    weights = [build([f"init.relative={a}", "init=mine_relative.f"]).layers[0].weight for a in (1, 4)]
    assert torch.equal(weights[1], 4 * weights[0])


def test_what_an_arm_is_called_by_stays_where_it_is_1():
    plain, one = expand(["init=eye", "sharing=none"])[0], expand(["init=eye", "init.relative=1", "sharing=none"])[0]
    keys = [arm.key("", "", "2.0") for arm in (plain, one, scaled(plain, 2.0))]
    assert keys[0] == keys[1] != keys[2]
    assert "relative" not in plain.plain()["init"]
    assert scaled(plain, 2.0).plain()["init"]["relative"] == 2.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["init.relative=0"], r"init.relative=0: not allowed; must be a number above 0"),
        (["init.relative=big"], r"init.relative=big: .* must be a number above 0"),
        (
            ["model=module", "model.target=test_relative.Net", "init.relative=2"],
            "init.relative=2: which layers are first",
        ),
    ],
)
def test_wrong_input_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        expand([*given, "sharing=none"])


def test_an_argument_of_this_name_is_refused():
    with pytest.raises(
        InputError, match=r"init.relative: it is the scale of the first and last layer, not an argument"
    ):
        build(["init=test_relative.own"])


class Net(torch.nn.Module):
    """A module of one's own."""


def own(weight, *, relative=1.0):
    """An initializer whose argument has a name of ours."""
    weight.fill_(relative)


def test_theory_knows_it():
    arm = small_arm(init="kaiming_normal", init_bias="torch")
    material = Material(arm, data.load(arm.data))
    about = (material.layers, material.scheme)
    plain, ours = weight_laws(arm, *about), weight_laws(scaled(arm, 3.0), *about)
    assert [law.variance for law in ours] == pytest.approx(
        [law.variance * f for law, f in zip(plain, [9, 1, 1, 1, 1 / 9])]
    )
    assert [law.bias_variance for law in ours[:-1]] == pytest.approx([9 * law.bias_variance for law in plain[:-1]])
    assert ours[-1].bias_variance == plain[-1].bias_variance


def test_start_of_seed_draws_the_same_noise():
    arm = small_arm()
    material, other = (Material(one, data.load(one.data)) for one in (arm, scaled(arm, 2.0)))
    one, two = start_of_seed(material, 0), start_of_seed(other, 0)
    assert torch.equal(one["weight_02"], two["weight_02"])
