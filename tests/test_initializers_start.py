"""How the engine starts a net: initializers that see it whole, bias rules that see targets, keys, refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from conftest import VALUES, small_arm
from initbench import data, rng
from initbench.config.groups import InitConfig
from initbench.data import split
from initbench.engine import netstart, one_by_one, stacked
from initbench.engine.material import Material, start_of_seed
from initbench.errors import InputError, NotApplicable
from initbench.initializers import REGISTRY, Contract, lsuv_, source_hash
from initbench.overrides.expand import expand
from initbench.own import sources
from initbench.study.plan import planned
from initbench.study.pool import chunks


def init(name, bias="zeros", **args):
    return InitConfig(name, name, bias, args)


def start(arm, seed=0):
    return start_of_seed(Material(arm, data.load(arm.data)), seed)


# ------------------------------------------------------------ initializers that see a net and a batch


@pytest.fixture
def counted(monkeypatch):
    """An initializer from data that counts how often it is called; starts of other tests are forgotten."""
    calls = []

    def counting_(module, *, batch, generator):
        calls.append(batch)
        return lsuv_(module, batch=batch, generator=generator)

    counting_.needs = "data"
    monkeypatch.setitem(
        REGISTRY, "counting", type(REGISTRY["lsuv"])("counting", counting_, "", "", "", Contract(""), needs="data")
    )
    monkeypatch.setattr(netstart, "_kept", type(netstart._kept)())
    return calls


@pytest.mark.parametrize("engine", [stacked, one_by_one])
def test_ten_seeds_times_five_rates_start_ten_times(counted, engine):
    arm = small_arm(
        init=init("counting"),
        seeds=range(10),
        optim={"lr": [0.01, 0.02, 0.03, 0.04, 0.05]},
        train={"steps": 0, "eval_samples": 4},
    )
    assert len(arm.runs) == 50
    for stack in chunks(arm, arm.runs, Material(arm, data.load(arm.data)).layers, workers=3, seeds_whole=True):
        netstart._kept.clear()  # as if each stack had a process of its own
        engine.run_chunk(arm, stack, data.load(arm.data))
    assert len(counted) == 10


@pytest.mark.parametrize(
    "option",
    [
        init("gradinit", iterations=2),
        init("metainit", steps=2),
        init("nio", iterations=2),
        init("krahenbuhl", between=True),
    ],
    ids=lambda option: option.name,
)
def test_a_start_that_looks_at_gradients_needs_no_gradients_around_it(option, monkeypatch):
    """The compiled kernel starts its nets where torch keeps no gradients."""
    arm = small_arm(init=option, seeds=[0])
    first = start(arm, 0)
    monkeypatch.setattr(netstart, "_kept", type(netstart._kept)())
    with torch.no_grad():
        again = start(arm, 0)
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_another_engine_dtype_or_optimizer_starts_no_more_another_width_does(counted):
    arm = small_arm(init=init("counting"), seeds=[3])
    first = start(arm, 3)
    for change in ({"model": {"dtype": "float32"}}, {"optim": {"name": "adam"}}, {"engine": {"name": "single"}}):
        again = start(small_arm(init=init("counting"), seeds=[3], **change), 3)
        assert all(torch.equal(again[name].double(), first[name].to(again[name].dtype).double()) for name in first)
    assert len(counted) == 1
    start(small_arm(init=init("counting"), seeds=[3], model={"width": 7}), 3)
    start(arm, 4)
    assert len(counted) == 3


def test_the_batch_is_the_seeds_own_training_samples(counted):
    arm = small_arm(init=init("counting"), data=VALUES)
    start(arm, 5)
    (x, y), held = counted[0], data.load(arm.data)
    part = split(held, 5)
    assert len(x) == len(part.train)  # all 48: fewer than the 512 that are taken
    centred = held.x[part.train] - held.x[part.train].mean(0)
    np.testing.assert_allclose(x.numpy(), centred / np.sqrt(np.square(centred).mean()), atol=1e-12)
    np.testing.assert_allclose(y.numpy().mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.square(y.numpy()).mean(), 1)


def plain(arm, stored):
    """The same MLP written by hand."""
    layers = []
    for index in range(arm.model.depth + 1):
        weight, bias = stored[f"weight_{index:02d}"], stored[f"bias_{index:02d}"]
        layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
        layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_lsuv_leaves_unit_deviations_on_the_batch_of_the_seed():
    arm = small_arm(init=init("lsuv", tol=0.001))
    net = plain(arm, start(arm, 1))
    z = netstart.training_batch(data.load(arm.data), "cross_entropy", 1)[0]
    for layer in net:
        z = layer(z)
        if isinstance(layer, nn.Linear):
            assert float(z.detach().std(correction=0)) == pytest.approx(1, abs=0.001)


def test_the_base_draws_the_matrices_of_its_own_arm():
    """Runs are paired: what gradinit rescales is what kaiming_normal starts from."""
    tuned = start(small_arm(init=init("gradinit", bias=0.1, iterations=5, lr=0.1)), 2)
    base = start(small_arm(init=init("kaiming_normal", bias=0.1)), 2)
    for name in base:
        ratio = tuned[name] / base[name]
        torch.testing.assert_close(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-12, atol=0)
    assert any(not torch.equal(tuned[name], base[name]) for name in base)


@pytest.mark.parametrize("name", ["lsuv", "krahenbuhl", "gradinit", "metainit"])
@pytest.mark.parametrize("bias", ["tied", "untied"])
def test_a_shared_weight_is_filled_once(name, bias):
    args = {"gradinit": {"iterations": 3}, "metainit": {"steps": 3}}.get(name, {})
    arm = small_arm(init=init(name, bias=0.1, **args), sharing={"name": "all", "bias": bias})
    stored = start(arm)
    assert [key for key in stored if key.startswith("weight")] == ["weight_00", "weight_01", "weight_04"]
    assert sum(key.startswith("bias") for key in stored) == (3 if bias == "tied" else 5)
    assert all(bool(torch.isfinite(value).all()) for value in stored.values())
    if name == "lsuv":  # still a multiple of an orthogonal matrix: rescaled at its first use alone
        s = torch.linalg.svdvals(stored["weight_01"])
        assert float(s.max() / s.min()) == pytest.approx(1)


def test_a_residual_net_is_seen_with_its_branches():
    """z_4 = z_2 + branch: lsuv brings the products of all layers to deviation 1, the stream grows by the skip."""
    model = {"name": "residual_mlp", "residual": "plain", "depth": 5, "branch": 2}
    arm = small_arm(init=init("lsuv", tol=0.001), model=model)
    stored = start(arm)
    w = [stored[f"weight_{index:02d}"] for index in range(6)]
    z = netstart.training_batch(data.load(arm.data), "cross_entropy", 0)[0] @ w[0].T
    products = [z]
    for first in (1, 3):
        inner = z.relu() @ w[first].T
        outer = inner.relu() @ w[first + 1].T
        products += [inner, outer]
        z = z + outer
    products.append(z.relu() @ w[5].T)
    assert [float(p.std(correction=0)) for p in products] == pytest.approx([1] * 6, abs=0.001)
    assert float(z.std(correction=0)) > 1.2


@pytest.mark.parametrize(
    ("model", "sharing", "words"),
    [
        ({"name": "residual_mlp", "residual": "fixup", "depth": 5}, {}, "model.residual=fixup would change it"),
        ({"parametrization": "mup", "width": 7}, {}, "model.parametrization=mup would change it"),
        ({"parametrization": "ntk"}, {}, "model.parametrization=ntk would change it"),
        ({}, {"name": "hashed"}, "sees the net as it starts"),
    ],
)
def test_nets_whose_weights_are_not_what_the_initializer_leaves(model, sharing, words):
    with pytest.raises(NotApplicable, match=words):
        start(small_arm(init=init("lsuv"), model=model, sharing=sharing))


def test_skips_without_a_factor_and_soft_sharing_start(folder):
    with pytest.raises(NotApplicable, match="sees the net as it starts"):  # said by the plan already
        arms("init=lsuv", "sharing=hashed")
    for change in (
        {"model": {"name": "residual_mlp", "residual": "skipinit", "depth": 5}},
        {"sharing": {"name": "soft"}},
    ):
        stored = start(small_arm(init=init("weight_norm_ddi"), **change))
        assert all(bool(torch.isfinite(value).all()) for value in stored.values())


@pytest.mark.parametrize("name", ["tied_at_init", "tie_then_untie"])
def test_layers_that_only_start_equal_are_seen_tied(name):
    copies, tied = (start(small_arm(init=init("lsuv"), sharing={"name": one})) for one in (name, "all"))
    assert torch.equal(copies["weight_01"], copies["weight_03"])
    torch.testing.assert_close(copies["weight_02"], tied["weight_01"])
    torch.testing.assert_close(copies["weight_04"], tied["weight_04"])


@pytest.mark.parametrize("name", ["balanced", "decoupled"])
def test_starts_of_linear_nets_want_matrices_of_their_own(name):
    with pytest.raises(NotApplicable, match="sharing=none"):
        start(small_arm(init=init(name), sharing={"name": "all"}))


# ------------------------------------------------------------ bias rules that see targets


@pytest.mark.parametrize("name", ["kaiming_normal", "lsuv", "pca"])
def test_the_last_bias_starts_at_the_class_priors(name):
    arm = small_arm(init=init(name, bias="class_log_priors"))
    if name != "kaiming_normal":  # they fill every bias themselves
        assert not start(arm)["bias_04"].any()
        return
    held = data.load(arm.data)
    counts = np.bincount(held.y[split(held, 3).train], minlength=3) + 1
    np.testing.assert_allclose(start(arm, 3)["bias_04"].exp(), counts / counts.sum())
    assert not start(arm, 3)["bias_03"].any()


def test_a_bias_rule_that_needs_other_targets_is_refused():
    with pytest.raises(InputError, match="needs class numbers"):
        start(small_arm(init=init("kaiming_normal", bias="class_log_priors"), data=VALUES))
    with pytest.raises(InputError, match="needs values"):
        start(small_arm(init=init("kaiming_normal", bias="target_mean")))
    last = start(small_arm(init=init("kaiming_normal", bias="target_mean"), data=VALUES))["bias_04"]
    assert last.abs().max() < 1e-12  # regression targets are centred


# ------------------------------------------------------------ per layer, literal, edited: from the command line


def arms(*overrides):
    shared = any(override.startswith("sharing=") for override in overrides)
    given = ["data=teacher", "seeds=1", "optim.lr=0.1", *overrides, *([] if shared else ["sharing=none"])]
    return [planned(arm) for arm in expand(given)]


def begun(*overrides):
    (arm,) = arms(*overrides)
    return arm, start(arm.config)


def test_first_layer_xavier_third_constant_42(folder):
    arm, stored = begun("init=per_layer", "init.map={first: xavier_uniform, 2: {name: constant, value: 42}}")
    first = torch.empty(32, arm.layers[0].fan_in, dtype=torch.float64)
    nn.init.xavier_uniform_(first, generator=rng.stream(0, "weight", 0))
    torch.testing.assert_close(stored["weight_00"].double(), first.float().double())
    assert (stored["weight_02"] == 42).all()
    second = torch.empty(32, 32, dtype=torch.float64)
    nn.init.kaiming_normal_(second, nonlinearity="relu", generator=rng.stream(0, "weight", 1))
    torch.testing.assert_close(stored["weight_01"].double(), second.float().double())
    assert "xavier_uniform" in arm.setup


def test_an_edited_start(folder):
    _, stored = begun("init=edited", "init.base=zeros", "init.add=1", "init.entries=[[0,0,42]]")
    assert (stored["weight_01"][0, 0], stored["weight_01"][0, 1], stored["weight_06"][0, 3]) == (42, 1, 1)


def test_a_literal_start_and_its_key(folder):
    arm, stored = begun("init=kaiming_normal")
    arrays = {name: value.numpy() for name, value in stored.items()}
    np.savez(folder / "net.npz", **arrays)
    again, literal = begun("init=literal", "init.file=net.npz")
    assert all(torch.equal(literal[name], stored[name]) for name in stored)
    np.savez(folder / "net.npz", **{**arrays, "weight_00": arrays["weight_00"] * 2})
    changed, other = begun("init=literal", "init.file=net.npz")
    assert torch.equal(other["weight_00"], stored["weight_00"] * 2)
    assert changed.key != again.key
    assert arm.key not in (again.key, changed.key)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["init=per_layer", "init.map={frist: eye}"],
            "init.map.frist: no layer has this name; must be one of: first, hidden, last",
        ),
        (["init=per_layer", "init.map={first: eey}"], "init=eey: unknown"),
        (
            ["init=per_layer", "init.map={first: {name: constant, vale: 1}}"],
            "no such argument; did you mean value? must be one of: value",
        ),
        (["init=literal", "init.file=nowhere.npz"], "no such file"),
        (["init=edited", "init.entries=[[99,0,1]]"], "lies outside"),
        (
            ["init=variance_scaling", "init.mode=fan"],
            "init.mode=fan: unknown; did you mean fan_in? must be one of: fan_in",
        ),
        (["init=kaiming_normal", "init.bias=zero"], "init.bias=zero: not a bias rule"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_starts(folder, overrides, words):
    with pytest.raises(InputError) as error:
        arms(*overrides)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_what_does_not_fit_says_so_before_anything_starts(folder):
    for option, words in (
        ("dirac", "use init=eye"),
        ("literal", "init.file"),
        ("np_rnn", "square"),
        ("random_walk", "no gain for gelu"),
    ):
        with pytest.raises(NotApplicable, match=words):
            arms(f"init={option}", *(["model.activation=gelu"] if option == "random_walk" else []))


def test_layers_of_one_weight_with_two_initializers_are_named(folder):
    by_map = "init.map={2: {name: constant, value: 42}}"
    with pytest.raises(
        NotApplicable, match=r"layers 1 and 2 share one weight, but init\.map gives them kaiming_normal and constant"
    ):
        arms("init=per_layer", by_map, "sharing=all")
    with pytest.raises(NotApplicable, match="layers 1 and 2 share"):
        arms("init=per_layer", by_map, "sharing=tied_at_init")
    assert arms("init=per_layer", by_map, "sharing=explicit", "sharing.groups=[[1,3]]")
    assert arms("init=per_layer", "init.map={1-5: eye}", "sharing=all")


# ------------------------------------------------------------ keys follow one's own files


def test_the_hash_follows_ones_own_code_also_as_a_base(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    path = Path("mine_hash.py")
    path.write_text("def fill(weight, *, generator):\n    weight.fill_(1.0)\n")
    before = source_hash("mine_hash.fill"), source_hash("zero_head", {"base": "mine_hash.fill"})
    assert "" not in before
    path.write_text("def fill(weight, *, generator):\n    weight.fill_(2.0)\n")
    sources.forget_edited()  # as every plan does
    after = source_hash("mine_hash.fill"), source_hash("per_layer", {"map": {0: "mine_hash.fill"}, "default": "eye"})
    assert not set(before) & set(after)
    assert source_hash("per_layer", {"map": {0: "ones"}, "default": "eye"}) == ""
    sys.modules.pop("mine_hash")


def test_swim_refuses_what_it_has_no_rule_for():
    for change, words in (
        ({"activation": "gelu"}, "it has no rule for gelu"),
        ({"bias": False}, "it places units by their biases"),
    ):
        arm = small_arm(init=init("swim"), model={"activation": "relu", **change})
        with pytest.raises(NotApplicable, match=words):
            start(arm)
