"""`ib.diagnose(net, batch)`: the table against autograd by hand, troubles that are named, and a net that stays as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import initbench as ib
from conftest import assert_template
from initbench.errors import InputError


def mlp(depth: int, width: int = 16, activation: type[nn.Module] = nn.ReLU, gain: float = 2.0) -> nn.Sequential:
    torch.manual_seed(0)
    parts = [part for _ in range(depth) for part in (nn.Linear(width, width), activation())]
    net = nn.Sequential(*parts, nn.Linear(width, 3))
    for part in net:
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=(gain / width) ** 0.5)
            nn.init.zeros_(part.bias)
    return net


def batch(n: int = 32, width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(n, width), torch.randint(3, (n,))


def test_the_table_is_what_autograd_says_by_hand():
    net, (x, y) = mlp(2), batch()
    z0 = net[0](x)
    z1 = net[2](z0.relu())
    z2 = net[4](z1.relu())
    grads = torch.autograd.grad(cross_entropy(z2, y, reduction="sum"), [z0, z1, z2])
    found = ib.diagnose(net, (x, y))
    assert found.table["name"].tolist() == ["0", "2", "4"]
    assert found.table["shape"].tolist() == ["16x16", "16x16", "3x16"]
    for i, (z, g) in enumerate(zip((z0, z1, z2), grads)):
        assert found.table["forward"][i] == pytest.approx(float(z.detach().square().mean().sqrt()), rel=1e-5)
        assert found.table["backward"][i] == pytest.approx(float(g.square().mean().sqrt()), rel=1e-5)
    assert found.table["dead"][:2].tolist() == [float((z <= 0).all(0).double().mean()) for z in (z0, z1)]
    assert not found.trouble
    assert "no trouble seen" in found.line


class Identical(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 8), nn.Linear(8, 3)
        for parameter in self.a.parameters():
            nn.init.ones_(parameter)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def dying() -> nn.Module:
    net = mlp(3)
    nn.init.constant_(net[2].bias, -1e3)
    return net


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (mlp(12, gain=0.1), "forward signal shrinks .2"),
        (mlp(12, gain=20.0), "forward signal grows"),
        (mlp(20, activation=nn.Sigmoid), "backward signal shrinks"),
        (dying(), "dead: nothing passes layer 1"),
        (Identical(), "all units of layer 0 are identical"),
        (mlp(1, activation=nn.Tanh, gain=900.0), "sit at their bounds"),
        (
            nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)),
            "no trouble",
        ),
    ],
)
def test_troubles_are_named(net, words):
    torch.manual_seed(2)
    x = torch.randn(32, 1, 8, 8) if isinstance(net, nn.Sequential) and isinstance(net[0], nn.Conv2d) else batch()[0]
    for given in (x, (x, batch()[1]), [x, batch()[1]]):
        found = ib.diagnose(net, given)
        assert words in found.line
        assert found.trouble == ("no trouble" not in words)
        assert repr(found).splitlines()[-1].endswith(found.line)
        assert found.line in found._repr_html_()


def test_a_net_stays_as_it_was():
    net = nn.Sequential(
        nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(16, 3)
    ).train()
    net[0].weight.requires_grad_(False)
    given = batch()
    before, state = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    first = ib.diagnose(net, given)
    assert first.table.equals(ib.diagnose(net, given).table)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    without = ib.diagnose(net, given[0]).table
    torch.manual_seed(9)
    assert without.equals(ib.diagnose(net, given[0]).table)
    assert net.training
    assert net[1].training
    assert [p.grad for p in net.parameters()] == [None] * 6
    assert not any(part._forward_hooks for part in net.modules())


def test_a_norm_in_training_takes_the_statistics_of_the_batch():
    parts = [part for _ in range(12) for part in (nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())]
    net, given = nn.Sequential(*parts, nn.Linear(16, 3)).train(), batch()
    with torch.no_grad():
        by_hand = copy.deepcopy(net)[:-1](given[0])
        by_hand = nn.functional.linear(by_hand, net[-1].weight, net[-1].bias)
    found = ib.diagnose(net, given)
    assert found.table["forward"].iloc[-1] == pytest.approx(float(by_hand.square().mean().sqrt()), rel=1e-4)
    assert net[1].training
    assert int(net[1].num_batches_tracked) == 0
    assert torch.equal(net[1].running_var, torch.ones(16))
    assert not found.trouble
    assert "backward signal shrinks" in ib.diagnose(net.eval(), given).line


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(16, 16) for _ in range(3))
        nn.init.constant_(self.a.bias, -10.0)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        mixed = nn.functional.linear(
            torch.tanh(b), torch.eye(16)
        )  # a layer that is no module: its units are not those of b
        return self.c(torch.relu(a) + torch.relu(mixed))


def test_an_activation_belongs_to_the_layer_whose_output_it_is_given():
    found = ib.diagnose(Branches(), batch()[0]).table
    assert found["dead"].tolist() == pytest.approx([1.0, float("nan"), float("nan")], nan_ok=True)
    assert found["saturated"].tolist() == pytest.approx([float("nan"), 0.0, float("nan")], nan_ok=True)
    x = torch.randn(3, 2, 16)  # the last axis is that of the units
    net = mlp(1)
    net[0].bias.data[:4] = -50.0
    assert ib.diagnose(net, x).table["dead"][0] == float((net[0](x) <= 0).all(0).all(0).double().mean()) > 0
    assert ib.diagnose(mlp(2), batch(1)).table["dead"].isna().all()  # on one sample half of all units are off


def test_lost_numbers_are_a_trouble_and_a_parametrized_layer_is_one():
    net = mlp(2)
    net[2].weight.data[0, 0] = float("nan")
    assert "numbers are lost: the output of layer 1 is NaN or infinite" in ib.diagnose(net, batch()).line
    normed = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16)), nn.ReLU(), nn.Linear(16, 3))
    before = copy.deepcopy(normed.state_dict())
    assert ib.diagnose(normed, batch()).table["name"].tolist() == ["0", "2"]
    assert all(torch.equal(before[name], value) for name, value in normed.state_dict().items())


class Cut(nn.Sequential):
    def forward(self, x):
        return super().forward(x).detach()


def test_a_layer_called_twice_has_two_rows_and_values_get_squared_errors():
    shared = nn.Linear(4, 4)
    x = torch.randn(8, 4)
    found = ib.diagnose(nn.Sequential(shared, nn.ReLU(), shared), (x, torch.randn(8, 4)))
    assert found.table["name"].tolist() == ["0", "0"]
    own = ib.diagnose(shared, (x, x), loss=lambda out, y: (out - y).abs().mean())
    assert own.table["backward"][0] == pytest.approx(0.25)  # |d mean |e| / d e| = 1 / (8 * 4), of one sample 1 / 4


@pytest.mark.parametrize(
    ("net", "given", "more", "words"),
    [
        (nn.Linear, torch.ones(2, 2), {}, r"the class Linear is no nn.Module"),
        (nn.ReLU(), torch.ones(2, 2), {}, r"calls no layer with a weight matrix"),
        (nn.Linear(2, 3), (torch.ones(4, 2), torch.ones(4, 2)), {}, r"outputs \(4, 3\) for float32 targets \(4, 2\)"),
        (nn.Linear(2, 3), (torch.ones(4, 2), torch.ones(5, dtype=torch.long)), {}, r"outputs \(4, 3\) for int64"),
        (nn.Linear(2, 3), torch.ones(4, 2), {"loss": cross_entropy}, r"a loss without targets"),
        (nn.Linear(2, 3), (torch.ones(4, 2), torch.ones(4)), {"loss": lambda o, y: 3.0}, r"loss\(\) returned no loss"),
        (
            nn.Linear(2, 3),
            (torch.ones(4, 2), torch.tensor([0, 1, 2, 3])),
            {},
            r"class 3 of the targets for outputs of 3 cl",
        ),
        (nn.LazyLinear(3), torch.ones(4, 2), {}, r"no shape yet"),
        (nn.Linear(2, 3), torch.ones(2), {}, r"net gives \(3,\), one sample without the batch's axis"),
        (nn.Conv2d(1, 4, 3), torch.ones(1, 8, 8), {}, r"net gives \(4, 6, 6\), one sample without"),
        (nn.Linear(2, 3), torch.ones(0, 2), {}, r"the batch is empty"),
        (Cut(nn.Linear(2, 3)), torch.ones(4, 2), {}, r"forward pass keeps no graph"),
        (nn.LSTM(2, 3), torch.ones(4, 5, 2), {}, r"calls no layer|returns a tuple"),
    ],
)
def test_what_cannot_be_diagnosed_is_said_in_one_line(net, given, more, words):
    with pytest.raises(InputError, match=words) as error:
        ib.diagnose(net, given, **more)
    assert_template(str(error.value))
