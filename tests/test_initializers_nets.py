"""Initializers that see a whole net: their contracts on batches, use of the generator, refusals."""

import copy
import dataclasses
import functools
import random

import pytest
import torch
from torch import nn

from initbench.errors import InputError, NotApplicable
from initbench.initializers import REGISTRY, initialize, options, verify_net
from initbench.initializers.contract import NetDraw
from initbench.initializers.option_files import base as base_of
from initbench.initializers.verify_net import plain_net, sample
from initbench.initializers.whole_net import fill_base_, linears

WHOLE = sorted(name for name, entry in REGISTRY.items() if entry.needs != "nothing")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def filled(name, args=None, **more):
    return verify_net.filled(REGISTRY[name], args, **more)


def runs():
    for name in WHOLE:
        for args, activation in verify_net.cases(REGISTRY[name]):
            yield name, args, activation


@pytest.mark.parametrize(("name", "args", "activation"), runs())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_contract_holds(name, args, activation, dtype):
    assert REGISTRY[name].contract.net
    assert verify_net.violations(REGISTRY[name], args, activation, dtype) == []


@pytest.mark.parametrize("name", WHOLE)
def test_the_generator_is_used_and_no_other(name):
    assert verify_net.use_of_generator(REGISTRY[name]) == []


def altered(name, change):
    """The entry with a function that does `change(module)` after its own work."""
    entry = REGISTRY[name]

    @functools.wraps(entry.function)
    def function(module, **given):
        entry.function(module, **given)
        change(module)

    return dataclasses.replace(entry, function=function)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("lsuv", lambda m: torch.rand(1), "a global random generator was used"),
        ("lsuv", lambda m: m[0].weight.data.fill_(1.0), "every seed gives the same weights"),
        ("pca", lambda m: m[0].weight.data.mul_(1 + 1e-3 * COUNTER.random()), "gave other numbers"),
        ("krahenbuhl", lambda m: m[2].weight.data.mul_(1.05), "unit means beta, stds 1"),
        ("gradinit", lambda m: m[2].weight.data[0].mul_(1.05), "W stays proportional"),
        ("balanced", lambda m: m[2].weight.data.mul_(1.05), "balanced"),
    ],
)
def test_a_broken_one_is_caught(name, change, words, monkeypatch):
    broken = altered(name, change)
    monkeypatch.setitem(REGISTRY, name, broken)  # an entry of the catalogue: it is not guarded like one's own code
    assert any(words in found for found in verify_net.check(broken))


COUNTER = random.Random(0)


def test_contracts_of_nets_can_fail():
    module, _ = plain_net()
    weights = [part.weight.detach().flip(0) for part in linears(module)]
    for name in WHOLE:
        args = options(REGISTRY[name].function)
        drawn = NetDraw(module, linears(module), weights, sample()[0], args)
        assert any(not holds(drawn) for holds in REGISTRY[name].contract.net.values()), name


@pytest.mark.parametrize("scale", [0.95, 1.05])
def test_five_per_cent_break_the_unit_statistics(scale):
    for name in ("weight_norm_ddi", "krahenbuhl"):
        module, _ = filled(name)
        with torch.no_grad():
            linears(module)[1].weight.mul_(scale)
        drawn = NetDraw(module, linears(module), [], sample()[0], options(REGISTRY[name].function))
        assert not all(holds(drawn) for holds in REGISTRY[name].contract.net.values())


def test_lsuv_gives_up_after_the_corrections():
    module, _ = filled("lsuv", {"iterations": 0})  # one correction: exact for relu, the bias being 0
    stds = [float(z.std(correction=0)) for z in NetDraw(module, linears(module), [], sample()[0], {}).preactivations()]
    assert stds == pytest.approx([1] * 4, abs=1e-6)


def test_lsuv_centres_only_if_asked():
    plain, _ = filled("lsuv")
    centred, _ = filled("lsuv", {"center": True})
    assert all(float(part.bias.detach().abs().max()) == 0 for part in linears(plain))
    assert any(bool(part.bias.any()) for part in linears(centred))


def test_krahenbuhl_between_brings_the_rates_together():
    def spread(module):
        x = sample()[0]
        logs = []
        for seed in range(20):
            out = module(x)
            noise = torch.randn(out.shape, dtype=out.dtype, generator=generator(100 + seed))
            grads = torch.autograd.grad((out * noise).sum(), [part.weight for part in linears(module)])
            logs.append(
                [float((g.square().mean() / p.weight.square().mean()).log()) for g, p in zip(grads, linears(module))]
            )
        return float(torch.tensor(logs).mean(0).std())

    assert spread(filled("krahenbuhl", {"between": True})[0]) < 0.3 * spread(filled("krahenbuhl")[0])


def test_gradinit_makes_the_first_step_better():
    module, layers = plain_net()
    fill_base_(module, {"name": "normal", "std": 1.0}, layers, None, [generator(100 + k) for k in range(4)])
    tuned, _ = filled("gradinit", {"base": {"name": "normal", "std": 1.0}, "iterations": 200, "lr": 0.03})

    def after_a_step(net):
        net = copy.deepcopy(net)
        x, y = sample()
        loss = nn.functional.cross_entropy(net(x), y)
        grads = torch.autograd.grad(loss, list(net.parameters()))
        size = torch.cat([g.flatten() for g in grads]).norm()
        with torch.no_grad():
            for p, g in zip(net.parameters(), grads):
                p -= 0.1 * g / size
        return float(nn.functional.cross_entropy(net(x), y).detach()), float(size)

    (plain_loss, _), (tuned_loss, tuned_size) = after_a_step(module), after_a_step(tuned)
    assert tuned_loss < plain_loss
    assert tuned_size < 2  # gamma is 1


def test_scales_keep_above_their_floor():
    tuned, layers = filled("gradinit", {"lr": 0.5, "iterations": 30, "floor": 0.2})
    base, _ = plain_net()
    fill_base_(base, "kaiming_normal", layers, None, [generator(100 + k) for k in range(4)])
    for a, b in zip(linears(tuned), linears(base)):
        assert float(a.weight.detach().norm() / b.weight.detach().norm()) >= 0.2 - 1e-9


def test_a_whole_net_initializer_does_not_fill_a_matrix_and_the_reverse():
    _, layers = plain_net()
    with pytest.raises(InputError, match="fills a whole net from data"):
        initialize(torch.empty(12, 8), None, function_or_target="lsuv", layer=layers[0], generator=generator())
    with pytest.raises(InputError, match="fills one matrix"):
        filled("eye")
    with pytest.raises(InputError, match="cannot be the base"):
        base_of("lsuv")
    with pytest.raises(InputError, match="no such argument"):
        filled("lsuv", {"tolerance": 1})
    with pytest.raises(InputError, match="elwise, pca"):
        filled("krahenbuhl", {"kind": "x"})
    with pytest.raises(InputError, match="sgd, adam"):
        filled("gradinit", {"optimizer": "x"})


def test_nets_to_which_they_do_not_apply():
    with pytest.raises(NotApplicable, match="needs at least 12 samples"):
        filled("krahenbuhl", {"kind": "rand"}, batch=(sample()[0][:5], sample()[1][:5]))
    with pytest.raises(NotApplicable, match="constant pre-activation"):
        filled("weight_norm_ddi", batch=(torch.zeros(20, 8, dtype=torch.float64), sample()[1][:20]))
    with pytest.raises(NotApplicable, match="hidden widths of at least"):
        filled("balanced", width=3)
    with pytest.raises(NotApplicable, match=r"no nn\.Linear"):
        linears(nn.ReLU())
