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
    assert net.training
    assert net[1].training
    assert [p.grad for p in net.parameters()] == [None] * 6
    assert not any(part._forward_hooks for part in net.modules())


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
        (nn.LSTM(2, 3), torch.ones(4, 5, 2), {}, r"calls no layer|returns a tuple"),
    ],
)
def test_what_cannot_be_diagnosed_is_said_in_one_line(net, given, more, words):
    with pytest.raises(InputError, match=words) as error:
        ib.diagnose(net, given, **more)
    assert_template(str(error.value))
