"""Parameters of any module: the table, look-up, initializing, tying, and the uses seen in a forward pass."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import initbench as ib
from initbench.errors import InputError


def mlp(*widths: int, bias: bool = True) -> nn.Sequential:
    parts: list[nn.Module] = []
    for n, m in pairwise(widths):
        parts += [nn.Linear(n, m, bias=bias), nn.Tanh()]
    return nn.Sequential(*parts[:-1])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class ByHand(nn.Module):
    """Parameters that no layer holds, used by functions; one frozen, one empty, one never used."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
        self.frozen = nn.Parameter(torch.full((2,), 0.25), requires_grad=False)
        self.idle = nn.Parameter(torch.zeros(0))
        self.register_buffer("steps", torch.tensor(3))
        self.mask = torch.eye(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.w.shape == (2, 2)
        assert self.w.size(0) == 2  # questions about a parameter are no uses of it
        return F.linear(torch.tanh(x @ self.w.T), self.w, self.frozen) @ self.mask


def refused(*words: str):
    return pytest.raises(InputError, match="(?s)^(?!.*\n)" + "".join(f"(?=.*{word})" for word in words))


# ------------------------------------------------------------------------------------------------ the table


def test_the_table_has_numpys_numbers():
    net = mlp(3, 5, 2)
    table = ib.parameter_table(net, values=True)
    assert table["name"].tolist() == ["0.weight", "0.bias", "2.weight", "2.bias"]
    for row in table.itertuples():
        x = dict(net.named_parameters())[row.name].detach().numpy().astype(np.float64)
        found = (row.mean, row.std, row.min, row.max, row.norm)
        assert np.allclose(found, (x.mean(), x.std(), x.min(), x.max(), math.sqrt((x**2).sum())))
        assert (row.shape, row.count, row.dtype, row.device) == (x.shape, x.size, "float32", "cpu")
        assert np.array_equal(row.value.numpy(), x)
        assert math.isnan(row.grad_norm)
        assert row.grad is None
        assert row.trainable
        assert not row.shared
    net(torch.ones(4, 3)).sum().backward()
    after = ib.parameter_table(net, values=True)
    for row in after.itertuples():
        gradient = dict(net.named_parameters())[row.name].grad
        assert row.grad_norm == pytest.approx(float(gradient.norm()))
        assert torch.equal(row.grad, gradient)


def test_frozen_empty_and_handmade_parameters_stand_in_the_table_and_constants_apart():
    net = ByHand()
    table = ib.parameter_table(net, inputs=torch.ones(3, 2)).set_index("name")
    assert table["uses"].to_dict() == {"w": 2, "frozen": 1, "idle": 0}
    assert table["trainable"].to_dict() == {"w": True, "frozen": False, "idle": True}
    assert table.loc["w", "shared"]
    assert math.isnan(table.loc["idle", "mean"])
    constants = ib.constant_table(net, values=True).set_index("name")
    assert constants["kind"].to_dict() == {"steps": "buffer", "mask": "attribute"}
    assert constants.loc["mask", "norm"] == pytest.approx(math.sqrt(2))
    assert torch.equal(constants.loc["mask", "value"], torch.eye(2))


def test_the_table_of_a_module_without_parameters_is_empty_and_lazy_ones_are_refused():
    assert len(ib.parameter_table(nn.ReLU())) == 0
    assert "count" in ib.parameter_table(nn.ReLU())
    with refused("0.weight", "run one batch"):
        ib.parameter_table(nn.Sequential(nn.LazyLinear(3)))


def test_look_up_by_name_and_alias_and_the_nearest_names_in_the_refusal():
    net = mlp(2, 2, 2)
    ib.share_(net, [["0", "2"]])
    assert ib.parameter(net, "2.weight") is net[0].weight
    with refused("2.wieght", "did you mean 2.weight"):
        ib.parameter(net, "2.wieght")


def test_observing_a_forward_pass_leaves_no_trace():
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), Noise(), nn.Linear(4, 2))
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert ib.count_uses(net, torch.rand(5, 3, generator=seeded(0)))["3.weight"] == 1
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [part.training for part in net] == [True, True, False, True]
    assert all(p.grad is None for p in net.parameters())


def test_a_forward_pass_with_several_arguments_is_a_tuple():
    net = nn.Bilinear(2, 3, 1)
    assert ib.count_uses(net, (torch.ones(4, 2), torch.ones(4, 3))) == {"weight": 1, "bias": 1}


@settings(max_examples=30, deadline=None)
@given(
    slots=st.lists(st.integers(0, 2), min_size=2, max_size=6),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_each_parameter_counts_once_and_the_gradients_of_its_uses_add_up(slots, bias, seed):
    """Random ties of a chain of equal layers, against autograd's own sum and an untied copy's single gradients."""
    torch.manual_seed(seed)
    layers = [nn.Linear(3, 3, bias=bias).double() for _ in range(3)]
    net = nn.Sequential(*(part for slot in slots for part in (layers[slot], nn.Tanh())))
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    table = ib.parameter_table(net, inputs=x)
    assert table["count"].sum() == len(set(slots)) * (12 if bias else 9)
    assert table["uses"].sum() == len(slots) * (2 if bias else 1)
    uses = ib.use_gradients(net, lambda: F.mse_loss(net(x), y), values=True)
    assert all(p.grad is None for p in net.parameters())
    F.mse_loss(net(x), y).backward()
    for name, part in uses.groupby("name"):
        total = sum(part["gradient"])
        assert torch.allclose(total, ib.parameter(net, name).grad, atol=1e-12)
    apart = ib.untie_(net)
    assert ib.parameter_table(apart)["count"].sum() == len(slots) * (12 if bias else 9)
    apart.zero_grad()
    F.mse_loss(apart(x), y).backward()
    single = [p.grad for name, p in apart.named_parameters() if name.endswith("weight")]
    for gradient, expected in zip(uses[uses["name"].str.endswith("weight")]["gradient"], in_order(uses, slots, single)):
        assert torch.allclose(gradient, expected, atol=1e-12)


def in_order(uses, slots, single):
    """Gradients of the untied layers in the order of the table's rows: by slot, then by use."""
    first = list(dict.fromkeys(slots))
    return [single[i] for slot in first for i, other in enumerate(slots) if other == slot]


def test_the_cosine_is_with_the_sum_of_the_other_uses_and_a_lone_use_has_none():
    torch.manual_seed(0)
    net = ByHand()
    x = torch.randn(6, 2)
    uses = ib.use_gradients(net, lambda: net(x).square().mean(), values=True)
    assert uses["name"].tolist() == ["w", "w"]  # the frozen one has no gradient
    a, b = uses["gradient"]
    assert uses["cosine"][0] == pytest.approx(float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0)), abs=1e-6)
    assert uses["norm"][1] == pytest.approx(float(b.norm()))
    lone = ib.use_gradients(mlp(2, 2), lambda: torch.zeros((), requires_grad=True))
    assert len(lone) == 0
    with refused("loss", "one number"):
        ib.use_gradients(net, lambda: net(x))


# ------------------------------------------------------------------------------------------------ ties


def test_tied_layers_hold_one_tensor_and_train_as_one():
    torch.manual_seed(0)
    net = ib.share_(mlp(4, 6, 6, 6, 2), [["2", "4"]])
    assert net[2] is not net[4]
    assert net[2].weight is net[4].weight
    table = ib.parameter_table(net).set_index("name")
    assert table.loc["2.weight", "aliases"] == ("4.weight",)
    assert table["count"].sum() == 4 * 6 + 6 + 36 + 6 + 12 + 2
    stepper = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.ones(1, 4)).sum().backward()
    expected = net[2].weight.detach() - 0.1 * net[2].weight.grad
    stepper.step()
    assert torch.equal(net[4].weight, expected)


def test_one_parameter_can_be_tied_alone_and_blocks_as_a_whole():
    net = nn.Sequential(mlp(3, 3, 3), mlp(3, 3, 3))
    ib.share_(net, [["0.0.weight", "1.2.weight"]])
    assert net[0][0].weight is net[1][2].weight
    assert net[0][0].bias is not net[1][2].bias
    blocks = ib.share_(nn.Sequential(mlp(3, 3, 3), mlp(3, 3, 3)), [["0", "1"]])
    assert len(list(blocks.parameters())) == 4


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([["0", "2"]], ["0.weight", r"\(5, 3\)", "2.weight", r"\(5, 5\)"]),
        ([["2", "4"], ["4", "6"]], ["4.", "two groups"]),
        ([["2", "4"], ["6", "2"]], ["2.", "two groups"]),
        ([["2", "9"]], ["9", "not in this module"]),
        ([["2"]], ["two or more"]),
        ([["2", "2"]], ["different"]),
        (["24"], ["two or more"]),
        ([["2", "4.weight"]], ["layer", "parameter"]),
        ([["2.weight", "4"]], ["parameter", "layer"]),
        ([["1", "3"]], ["layer 1", "no parameters"]),
        ([["2", "8"]], ["layer 2 has weight, bias", "layer 8 weight"]),
    ],
)
def test_ties_that_cannot_be_are_refused_and_nothing_is_changed(groups, words):
    net = mlp(3, 5, 5, 5, 5)
    net.append(nn.Tanh())
    net.append(nn.Linear(5, 5, bias=False))
    before = [id(p) for p in net.parameters()]
    good = ["4.weight", "6.weight"] if len(groups) == 1 else None
    with refused(*words):
        ib.share_(net, [*([good] if good and "4" not in str(groups) else []), *groups])
    assert [id(p) for p in net.parameters()] == before


def test_untying_copies_values_and_named_ones_alone_leave():
    torch.manual_seed(0)
    net = ib.share_(mlp(3, 3, 3, 3), [["0", "2", "4"]])
    x = torch.randn(2, 3)
    y = net(x)
    ib.untie_(net, ["2.weight"])
    assert net[0].weight is net[4].weight
    assert net[2].weight is not net[0].weight
    assert net[2].bias is net[0].bias
    assert torch.equal(net(x), y)
    ib.untie_(net, ["0"])  # also the first name may leave
    assert net[0].weight is not net[4].weight
    assert net[2].bias is net[4].bias
    assert torch.equal(net(x), y)
    ib.untie_(net)
    assert len(list(net.parameters())) == 6
    with refused("untie_: 7", "not in this module"):
        ib.untie_(net, ["7"])


def test_untying_one_object_at_two_places_makes_two_objects():
    block = mlp(2, 2, 2)
    net = nn.Sequential(block, nn.ReLU(), block)
    net[0][0].weight.requires_grad_(False)
    net(torch.ones(1, 2)).sum().backward()
    ib.untie_(net, ["2.0"])
    assert net[0][0].weight is not net[2][0].weight
    assert net[0][2].weight is net[2][2].weight
    assert not net[2][0].weight.requires_grad
    assert net[2][0].bias.grad is None
    assert net[0][0].bias.grad is not None


# ------------------------------------------------------------------------------------------------ initializing


@pytest.mark.parametrize(
    ("spec", "torchs"),
    [
        ("xavier_uniform", nn.init.xavier_uniform_),
        ("xavier_normal", nn.init.xavier_normal_),
        ({"name": "normal", "std": 0.01}, lambda w, generator: nn.init.normal_(w, 0, 0.01, generator)),
        ("orthogonal", nn.init.orthogonal_),
    ],
)
def test_the_same_generator_gives_torchs_own_numbers(spec, torchs):
    net, other = mlp(4, 8, 1), mlp(4, 8, 1)
    ib.initialize_(net, spec, seeded(3))
    generator = seeded(3)
    for part in (other[0], other[2]):
        torchs(part.weight, generator=generator)
        nn.init.zeros_(part.bias)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))


def test_the_first_pattern_that_fits_is_the_rule_and_what_none_fits_is_left_alone():
    net = nn.Sequential(mlp(3, 4, 4, 2), nn.BatchNorm1d(2))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    report = ib.initialize_(
        net,
        {
            "0.0.bias": 0.5,
            "last": {"name": "constant", "value": 42, "bias": 7.0},
            0: "ones",
            "1.w*": torch.tensor([2.0, 3.0]),
        },
    ).set_index("name")
    assert (net[0][0].weight == 1).all()
    assert (net[0][0].bias == 0.5).all()
    assert (net[0][4].weight == 42).all()
    assert (net[0][4].bias == 7).all()
    assert net[1].weight.tolist() == [2, 3]
    assert torch.equal(net[0][2].weight, before["0.2.weight"])
    assert report["done"].to_dict() == {
        name: "left alone" if name in ("0.2.weight", "0.2.bias", "1.bias") else "filled" for name in before
    }
    assert report.loc["0.4.weight", "what"] == "constant(value=42)"
    assert report.loc["0.4.bias", "what"] == "bias 7.0"
    assert report.loc["0.0.weight", "rule"] == "0"
    assert report.loc["1.weight", "what"] == "given values"


def test_types_positions_globs_and_bias_rules():
    net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2), nn.Linear(2, 3))
    report = ib.initialize_(
        net, {nn.LayerNorm: 0.25, -1: "zeros", "*.bias": {"name": "normal", "std": 2.0}, nn.Linear: "eye"}
    )
    assert (net[1].weight == 0.25).all()
    assert (net[1].bias == 0.25).all()
    assert (net[3].weight == 0).all()
    assert (net[3].bias == 0).all()
    assert torch.equal(net[2].weight, torch.eye(2))
    assert float(net[2].bias.detach().abs().max()) > 0.01
    assert report.set_index("name").loc["0.bias", "what"] == "normal(std=2.0)"


def test_edits_change_what_is_there():
    net = mlp(2, 3, 1)
    before = net[0].weight.detach().clone()
    ib.initialize_(
        net,
        {"0.weight": {"multiply": 2, "add": 1, "entries": [[0, 0, 42], [-1, 1, -5]]}, "2.weight": lambda w: w.add_(1)},
    )
    expected = 2 * before + 1
    expected[0, 0], expected[-1, 1] = 42, -5
    assert torch.equal(net[0].weight, expected)


def own_global(weight):
    return torch.randn(weight.shape)


def own_drawn(weight, *, generator, scale=1.0):
    return weight.normal_(0, scale, generator=generator)


@pytest.mark.parametrize("function", [own_global, own_drawn])
def test_ones_own_function_draws_other_numbers_for_each_layer_and_the_same_for_the_same_generator(function):
    nets = [mlp(4, 4, 4) for _ in range(3)]
    for net, seed in zip(nets, (0, 0, 1)):
        ib.initialize_(net, function, seeded(seed))
    assert torch.equal(nets[0][0].weight, nets[1][0].weight)
    assert not torch.equal(nets[0][0].weight, nets[2][0].weight)
    assert not torch.equal(nets[0][0].weight, nets[0][2].weight)
    assert (nets[0][0].bias == 0).all()
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    ib.initialize_(nets[0], {"name": own_drawn, "scale": 3.0}, seeded(2))
    assert torch.equal(torch.rand(2), expected)
    assert 1.5 < float(nets[0][0].weight.detach().std()) < 6


def test_a_law_over_weight_and_bias_gets_both_or_a_passing_bias():
    net = mlp(9, 100, 1)
    ib.initialize_(net, "torch_default", seeded(0))
    assert 0.2 < float(net[0].bias.detach().abs().max()) <= 1 / 3
    net[0].bias.data.fill_(5)
    ib.initialize_(net, {"0.weight": "torch_default"}, seeded(0))
    assert (net[0].bias == 5).all()
    assert 0.2 < float(net[0].weight.detach().abs().max()) <= 1 / 3


def test_a_tied_parameter_is_filled_once_and_its_second_name_is_reported():
    net = ib.share_(mlp(4, 4, 4), [["0", "2"]])
    calls = []

    def counted(weight):
        calls.append(tuple(weight.shape))
        return weight.fill_(len(calls))

    report = ib.initialize_(net, counted).set_index("name")
    assert calls == [(4, 4)]
    assert report.loc["2.weight", "done"] == "tied to 0.weight, filled there"
    assert (net[2].weight == 1).all()
    ib.initialize_(net, {"2": "ones"})  # by its second name alone
    assert (net[0].weight == 1).all()
    with refused("0.weight", "2.weight", "two rules"):
        ib.initialize_(net, {"0": "ones", "2": "zeros"})


def test_an_initializer_that_sees_data_takes_a_batch():
    torch.manual_seed(0)
    net = mlp(5, 20, 20, 1)
    x = 7 * torch.randn(200, 5)
    report = ib.initialize_(net, "lsuv", seeded(0), batch=(x, torch.zeros(200, 1)))
    assert set(report["done"]) == {"filled"}
    with torch.no_grad():
        assert float(net[:3](x).std()) == pytest.approx(1, abs=0.11)
    with refused("lsuv", "batch"):
        ib.initialize_(net, "lsuv")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"5": "ones"}, ["5: fits no parameter", "0.weight"]),
        ({nn.Conv2d: "ones"}, ["Conv2d: fits no parameter"]),
        ("xavier_norml", ["xavier_norml"]),
        ({"0": {"name": "normal", "sdt": 1}}, ["sdt"]),
        ({"0.weight": [[1.0]]}, ["0.weight", r"\(3, 2\)", r"\(1, 1\)"]),
        ({"0.weight": [["a"]]}, ["0.weight", "numbers"]),
        ({"0.weight": {"ad": 1}}, ["ad is not an edit", "multiply"]),
        ({"0.weight": {"entries": [[9, 0, 1]]}}, ["entry", r"\(3, 2\)"]),
        ({"0.weight": None}, ["None is not a rule"]),
        ({"0.bias": "xavier_normal"}, ["xavier_normal", "bias rule"]),
        ({"norm.weight": "xavier_normal"}, ["norm.weight", "matrices"]),
    ],
)
def test_wrong_rules_are_one_line(spec, words):
    net = mlp(2, 3, 1)
    net.add_module("norm", nn.LayerNorm(1))
    with refused(*words):
        ib.initialize_(net, spec)


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["sharing=none"], ["layers.0.weight", "layers.1.weight", "layers.2.weight", "layers.3.weight"]),
        (["sharing=all"], ["layers.0.weight", "layers.1.weight", "layers.3.weight"]),
        (["sharing=circulant"], ["tensors.weight_00", "tensors.weight_01", "tensors.weight_02", "tensors.weight_03"]),
        (["model=residual_mlp"], ["tensors.weight_00", "tensors.weight_01", "tensors.weight_02", "tensors.weight_03"]),
    ],
)
def test_a_net_of_initbench_is_a_module_that_starts_as_its_runs_do(overrides, names):
    """Loss at step 0 of the built net equals that of the run."""
    from initbench.engine import stacked
    from initbench.engine.material import Seeds
    from initbench.overrides.expand import expand
    from initbench.study.plan import planned

    asked = ["init=kaiming_normal", "model.depth=3", "model.width=8", "model.dtype=float64", *overrides]
    net = ib.build(asked, seed=3)
    table = ib.parameter_table(net)
    assert [name for name in table["name"] if "weight" in name] == names
    arm = planned(expand([*asked, "seeds=[3]", "optim.lr=0.1", "train.steps=0", "measure=none"])[0])
    assert table["count"].sum() == arm.scheme.stored_parameters
    seeds = Seeds(arm.material, (3,))
    x, y = (part[0] for part in seeds.samples(seeds.first("train", 512)))
    loss = float(F.cross_entropy(net(x), y).detach())
    chunk = stacked.run_chunk(arm.config, arm.config.runs, arm.data)
    assert chunk.series["loss/train"].values[0, 0] == pytest.approx(loss, rel=1e-12)


def test_one_net_is_built_at_a_time():
    with refused("build: the overrides make 2 arms"):
        ib.build(["init=eye,zeros"])


def test_importing_initbench_imports_no_torch():
    code = "import sys, initbench; assert 'torch' not in sys.modules and 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_notebook_shows_a_row_for_every_name_with_tied_ones_linked():
    import xml.etree.ElementTree as ET

    shared = nn.Linear(3, 3)
    net = nn.ModuleDict({"first": shared, "again": shared, "<own>": nn.Linear(3, 3, bias=False)})
    net["<own>"].weight = nn.Parameter(shared.weight.data)
    table = ib.parameter_table(net)
    rows = [list(row) for row in ET.fromstring(table._repr_html_().replace("<br>", "<br/>")).iter("tr")][1:]
    names = ["".join(row[0].itertext()) for row in rows]
    assert names[:4] == [
        "first.weightsame memory as <own>.weight",
        "\u21b3 again.weight",
        "first.bias",
        "\u21b3 again.bias",
    ]
    links = [row[1].find("a") for row in rows if len(row) == 2]
    assert [link.get("href") for link in links] == ["#parameter-first.weight", "#parameter-first.bias"]
    assert {row[0].get("id") for row in rows} >= {link.get("href")[1:] for link in links}
    assert type(table[["name"]]) is type(table.head(1)) is pd.DataFrame
