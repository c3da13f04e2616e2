"""Weights sampled from pairs of data points: where the targets change fast, units look along the way."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable
from initbench.initializers._draw import put_
from initbench.initializers.contract import Contract, NetDraw
from initbench.initializers.option_files import base as base_of
from initbench.initializers.registry import catalogued
from initbench.initializers.whole_net import Batch, linears, output_of

Generator = torch.Generator | None

NEAREST = 1e-10  # distances, and sums of slopes, count as at least this
# preactivations at the two points of a pair: relu gives 0 and 1 there, tanh -1/2 and 1/2
AT_PAIRS = {"relu": (0.0, 1.0), "tanh": (-math.atanh(0.5), math.atanh(0.5))}


def sampled_pairs(x: Tensor, y: Tensor, units: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """(from, difference), (units, n) each: pairs of the samples x (N, n) drawn by how fast y (N, k) changes between them.

    Candidates: N ceil(units/N) pairs i ~ U, j = (i + delta) mod N, delta ~ U{1..N-2}; of these `units` with replacement,
    in proportion to max_k |y_j - y_i| / |x_j - x_i|; uniformly where y does not change at all.
    """
    n = len(x)
    count = n * math.ceil(units / n)
    first = torch.randint(n, (count,), generator=generator)
    second = (first + torch.randint(1, n - 1, (count,), generator=generator)) % n
    difference = x[second] - x[first]
    slopes = (y[second] - y[first]).abs().amax(1) / difference.norm(dim=1).clamp_min(NEAREST)
    if float(slopes.sum()) < NEAREST:
        slopes = torch.ones_like(slopes)
    taken = torch.multinomial(slopes, units, replacement=True, generator=generator)
    return x[first[taken]], difference[taken]


def fit_last_(part: nn.Linear, h: Tensor, y: Tensor) -> None:
    """Least squares of the targets y (N, k) on the layer's inputs h (N, n) and 1, of smallest norm where many fit."""
    inputs = torch.cat([h, torch.ones_like(h[:, :1])], dim=1)
    solution = torch.linalg.lstsq(inputs, y, driver="gelsd").solution.T
    put_(part.weight, solution[:, :-1])
    put_(part.bias, solution[:, -1])


def _exact_at_pairs(d: NetDraw) -> bool:
    """Whether each hidden unit takes both stated values on samples, and looks along the difference of the two."""
    kind = next(type(part).__name__.lower() for part in d.module.children() if not isinstance(part, nn.Linear))
    low, high = {"relu": (0.0, 1.0), "tanh": (-0.5 * math.log(3), 0.5 * math.log(3))}[kind]
    h, off = d.inputs, 1e-9 if d.inputs.dtype == torch.float64 else 1e-4
    for part, z in zip(d.linears[:-1], d.preactivations()):
        ends = [(z - value).abs().min(0) for value in (low, high)]
        way = h[ends[1].indices] - h[ends[0].indices]
        along = way * ((high - low) / way.square().sum(1, keepdim=True))
        if any(bool((end.values > off).any()) for end in ends) or not torch.allclose(part.weight, along, rtol=10 * off):
            return False
        h = torch.relu(z) if kind == "relu" else torch.tanh(z)
    return True


@catalogued(
    formula="w = (b - a) d/|d|^2, d = x_j - x_i, phi(w x + bias) = phi(a), phi(b) at the pair (relu 0, 1; tanh -1/2, 1/2), "
    "pairs by |y_j - y_i|/|d|; last layer least squares",
    source="Bolager et al. 2023 (2306.16830); swimnetworks",
    meant_for="relu and tanh nets whose units start where the targets change; a net that needs little training",
    needs="data",
    contract=Contract(
        "each hidden unit is exact at the two samples of its pair",
        net={"exact at the points of the pairs": _exact_at_pairs},
        variants=({"last": "kaiming_normal"},),
    ),
)
def swim_(
    module: nn.Module,
    *,
    batch: Batch,
    layers: Sequence[LayerSpec],
    generator: Generator = None,
    last: str | Mapping[str, Any] = "least_squares",
) -> nn.Module:
    """Sample where it matters: each hidden unit from a pair of samples, layer by layer on the outputs before; weights and
    biases.

    Pairs by `sampled_pairs`, classes as one-hot targets. d = x_j - x_i: relu w = d/|d|^2, b = -w x_i; tanh
    w = 2 s d/|d|^2, b = -w x_i - s, s = ln(3)/2. `last`: least_squares on the targets, or another initializer.
    NotApplicable to other activations, nets without biases, fewer than 3 samples.
    Source: Bolager et al. 2023, 2306.16830; swimnetworks.

    >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 1))
    >>> specs = [LayerSpec(0, 1, 3, 5), LayerSpec(1, 1, 5, 1)]
    >>> x = torch.randn(50, 3)
    >>> net = swim_(net, batch=(x, x[:, :1]), layers=specs)
    >>> bool((net[0](x).abs().amin(0) < 1e-5).all())
    True
    """
    parts, (x, y) = linears(module), batch
    name = layers[0].activation
    if name not in AT_PAIRS:
        raise inapplicable("init=swim", f"it has no rule for {name}", "use model.activation=relu or tanh")
    if parts[0].bias is None:
        raise inapplicable("init=swim", "it places units by their biases", "set model.bias=true")
    if len(x) < 3:
        raise inapplicable("init=swim", f"it needs at least 3 samples, got {len(x)}", "use more samples")
    if not y.is_floating_point():
        y = nn.functional.one_hot(y, parts[-1].out_features).to(x)
    y = y.reshape(len(x), -1).to(x)
    low, high = AT_PAIRS[name]
    for part in parts[:-1]:
        start, way = sampled_pairs(output_of(module, part, x)[0], y, part.out_features, generator)
        size = way.norm(dim=1, keepdim=True).clamp_min(NEAREST)
        put_(part.weight, (high - low) * way / size**2)
        put_(part.bias, low - (part.weight * start).sum(1))
    if last == "least_squares":
        fit_last_(parts[-1], output_of(module, parts[-1], x)[0], y)
    else:
        base_of(last).call_(parts[-1].weight, parts[-1].bias, layer=layers[-1], generator=generator)
    return module
