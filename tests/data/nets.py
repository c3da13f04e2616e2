"""Modules that the tests train with model=module."""

from itertools import pairwise

import torch
from torch import nn


class FancyMLP(nn.Module):
    """The course notes' module (exercise 1), as printed there: a constant matrix, a reused layer, a loop."""

    def __init__(self, **kwargs):
        super(FancyMLP, self).__init__(**kwargs)  # noqa: UP008
        self.rand_weight = torch.rand((20, 20), requires_grad=False)
        self.linear = nn.Linear(20, 20)

    def forward(self, x):
        x = self.linear(x)
        x = nn.functional.relu(torch.mm(x, self.rand_weight.data) + 1)
        x = self.linear(x)
        while x.norm().item() > 1:
            x /= 2
        if x.norm().item() < 0.8:
            x *= 10
        return x.sum()


class Plain(nn.Module):
    """A plain MLP, written as a person would; the same net as model=mlp."""

    def __init__(self, inputs, outputs, width=6, depth=4):
        super().__init__()
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(n, m) for n, m in pairwise(sizes))
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.head(x)


class Extras(nn.Module):
    """A parameter of no layer, a frozen one, dropout, and a layer without bias."""

    def __init__(self, inputs, outputs, drop=0.5):
        super().__init__()
        self.scale = nn.Parameter(torch.full((), 2.0))
        self.frozen = nn.Parameter(torch.ones(7), requires_grad=False)
        self.body = nn.Sequential(nn.Linear(inputs, 8, bias=False), nn.ReLU(inplace=True), nn.Dropout(drop))
        self.head = nn.Linear(8, outputs)

    def forward(self, x):
        return self.scale * self.head(self.body(x))


class Restless(nn.Module):
    """Calls its layers in another order after the first time."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(inputs, inputs), nn.Linear(inputs, inputs)])
        self.head = nn.Linear(inputs, outputs)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        for layer in self.layers if self.calls == 1 else reversed(self.layers):
            x = layer(x)
        return self.head(x)


class Fragile(nn.Module):
    """Must not be called once its parameters are no numbers: a loop over them might never end."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear, self.head = nn.Linear(inputs, 4), nn.Linear(4, outputs)

    def forward(self, x):
        assert all(torch.isfinite(p).all() for p in self.parameters()), "called on a dead net"
        return self.head(torch.relu(self.linear(x)))


class Pair(nn.Linear):
    """Returns two tensors."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)

    def forward(self, x):
        return super().forward(x), x


class Direct(nn.Module):
    """Has no nn.Linear."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(inputs, outputs))

    def forward(self, x):
        return x @ self.w


def number():
    return 3


def broken():
    raise RuntimeError("no such luck\nsecond line")
