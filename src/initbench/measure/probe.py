"""The state of R runs on the probe batch, and the small reductions that every measure is made of.

Axes: R runs, m = fan_out, n = fan_in, P probe samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from initbench.measure.landscape import Point
from initbench.nets.mlp import ACTIVATIONS
from initbench.nets.net import Net
from initbench.sharing import Scheme, Slot

PROBE_SAMPLES = 256
JACOBIAN_SAMPLES = 4


@dataclass(frozen=True)
class Start:
    """Of R runs at step 0: layer outputs (R, m, P), and a copy of what is stored."""

    outputs: list[Tensor]
    stored: dict[str, Tensor]

    @classmethod
    def of(cls, probe: Probe) -> Start:
        return cls(probe.outputs, {name: value.clone() for name, value in probe.stored.items()})

    def kept(self, rows: Tensor) -> Start:
        """That of some runs."""
        return Start([one[rows] for one in self.outputs], {name: value[rows] for name, value in self.stored.items()})


@dataclass(frozen=True, kw_only=True)
class Probe:
    """R runs at one step: forward and backward pass of the mean loss on the first 256 training samples of the
    seed's split, before the next update. Lists have one entry per layer.
    """

    scheme: Scheme
    activation: str
    stored: Mapping[str, Tensor]  # (R, m, n) and (R, m)
    previous: Mapping[str, Tensor] | None  # before the last update; None at step 0
    zs: Sequence[Tensor]  # preactivations (R, m, P); the last are the logits
    hs: Sequence[Tensor]  # layer inputs (R, n, P); hs[0] is x
    dws: Sequence[Tensor]  # gradient of the mean loss by each layer's use of its weight (R, m, n)
    dbs: Sequence[Tensor]  # and of its bias (R, m)
    dzs: Sequence[Tensor]  # gradient of the mean loss by the preactivations (R, m, P)
    start: Start | None  # None at step 0
    net: Net | None = None  # how the layers are wired; None: each on the activations of the one before
    targets: Tensor | None = None  # class numbers (R, P), or values (R, k, P)
    loss: str = "cross_entropy"
    step: int = 0
    lr: Tensor | None = None  # (R,) learning rate of the next update, at the end of the last one

    @cached_property
    def point(self) -> Point | None:
        """Where the runs are in the landscape of their loss; None for a module of your own."""
        if self.net is None or self.targets is None:
            return None
        return Point(self.net, self.stored, self.hs[0], self.targets, self.loss, self.step)

    @property
    def layers(self) -> range:
        return range(len(self.zs))

    @cached_property
    def outputs(self) -> list[Tensor]:
        """Output of each layer: its activations; the logits for the last. (R, m, P)"""
        return [*self.hs[1:], self.zs[-1]]

    @cached_property
    def weights(self) -> list[Tensor]:
        """Weight that each layer uses, times its forward factor, (R, m, n)."""
        return self.weights_of(self.stored)

    def weights_of(self, stored: Mapping[str, Tensor]) -> list[Tensor]:
        """The same of other stored tensors."""
        if self.net is not None:
            return self.net.weights(stored)[0]
        return [self.scheme.weight(stored, i) for i in self.layers]

    @cached_property
    def grads(self) -> dict[str, Tensor]:
        """Gradient of each stored tensor."""
        return self.scheme.stored_grads(self.dws, self.dbs, self.stored)

    @cached_property
    def use_grads(self) -> list[Tensor]:
        """Gradient of each layer's use of its weight, pulled back to stored space."""
        return [self.scheme.use_grad(g, i, self.stored) for i, g in enumerate(self.dws)]

    @cached_property
    def weight_singular_values(self) -> list[Tensor]:
        """Singular values of each layer's weight, (R, min(m, n)); a weight that layers share is decomposed once."""
        found: dict[int, Tensor] = {}
        for w in self.weights:
            if w.data_ptr() not in found:
                found[w.data_ptr()] = singular_values(w)
        return [found[w.data_ptr()] for w in self.weights]

    @cached_property
    def jacobian_spectra(self) -> list[Tensor]:
        """Singular values of d z_l / d z_0 for l = 1 .. depth, (R, S, k) each."""
        return [singular_values(j.transpose(1, 2)) for j in jacobians(self)]

    @cached_property
    def input_jacobian_spectra(self) -> list[Tensor]:
        """Singular values of d z_l / d x for every layer, (R, S, k) each."""
        return [singular_values(j.transpose(1, 2)) for j in input_jacobians(self)]

    def slope(self, layer: int) -> Tensor:
        """phi'(z) of a hidden layer, (R, m, P)."""
        return ACTIVATIONS[self.activation].derivative(self.zs[layer])


def jacobians(p: Probe) -> Iterator[Tensor]:
    """J_l = d z_l / d z_0 = W_l diag(phi'(z_{l-1})) J_{l-1}, J_0 = 1, for l = 1 .. depth; skip connections added.

    On the first JACOBIAN_SAMPLES = S samples; (R, m, S, m_0) each, m_0 = width of the first hidden layer.
    """
    r, m0 = p.zs[0].shape[:2]
    s = min(JACOBIAN_SAMPLES, p.zs[0].shape[2])
    one = torch.eye(m0, dtype=p.zs[0].dtype, device=p.zs[0].device)
    yield from chained(p, one[None, :, None, :].expand(r, m0, s, m0))


def input_jacobians(p: Probe) -> Iterator[Tensor]:
    """J_l = d z_l / d x: J_0 = W_0, then as `jacobians`, with what is injected; (R, m, S, inputs) each, from layer 0 on."""
    s = min(JACOBIAN_SAMPLES, p.zs[0].shape[2])
    first = p.weights[0].unsqueeze(2).expand(-1, -1, s, -1)
    yield first
    injected: dict[int, Tensor] = {}
    if p.net is not None:
        for slot in p.scheme.injections:
            v = p.net.injection(slot, p.stored).unsqueeze(2).expand(-1, -1, s, -1)
            injected |= dict.fromkeys(slot.layers, v)
    yield from chained(p, first, injected)


def chained(p: Probe, j: Tensor, injected: Mapping[int, Tensor] | None = None) -> Iterator[Tensor]:
    """The Jacobians of layers 1 .. depth from that of layer 0, (R, m, S, n) each."""
    s, n = j.shape[2:]
    skips = p.net is not None and bool(p.net.branches)
    earlier = [j.flatten(2)]
    for layer in p.layers[1:]:
        bent = p.slope(layer - 1)[:, :, :s, None] * j
        # one product per run, whatever the number of samples
        flat = torch.bmm(p.weights[layer], bent.flatten(2))
        if injected and layer in injected:
            flat = flat + injected[layer].flatten(2)
        if skips and p.net is not None:
            flat = p.net.join(layer, flat, earlier, p.stored)
            earlier.append(flat)
        j = flat.unflatten(2, (s, n))
        yield j


def norm(x: Tensor) -> Tensor:
    """Frobenius norm of each run's part, (R,)."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def msq(x: Tensor) -> Tensor:
    """Mean square of each run's part, (R,); by its norm, which needs no tensor of squares."""
    return norm(x).square() / x[0].numel()


def mean(x: Tensor) -> Tensor:
    """Mean of each run's part, (R,)."""
    return x.flatten(1).mean(1)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Inner product of each run's parts, (R,)."""
    return (x * y).flatten(1).sum(1)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of each run's parts, (R,); NaN where one is zero."""
    return dot(x, y) / (norm(x) * norm(y))


def spread(x: Tensor) -> Tensor:
    """Standard deviation over all entries of each run's part (no Bessel correction), (R,).

    >>> spread(torch.tensor([[1.0, 3.0], [2.0, 2.0]])), spread(torch.tensor([[[[1.0]], [[3.0]]]]))  # any shape a run
    (tensor([1., 0.]), tensor([1.]))
    """
    return msq(x - mean(x).view(-1, *[1] * (x.dim() - 1))).sqrt()


def stack(columns: Sequence[Tensor]) -> Tensor:
    """(R,) each -> (R, k)."""
    return torch.stack(list(columns), dim=1)


def singular_values(x: Tensor) -> Tensor:
    """Singular values (..., min(m, n)) of matrices (..., m, n), descending.

    NaN for a matrix that is not finite: LAPACK would refuse the whole batch, its finite neighbours included.

    >>> singular_values(torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[torch.nan, 0.0], [0.0, 1.0]]]))
    tensor([[4., 3.], [nan, nan]])
    """
    finite = torch.isfinite(x).all(dim=-1).all(dim=-1)[..., None, None]
    values = torch.linalg.svdvals(torch.where(finite, x, 0.0))
    return torch.where(finite.squeeze(-1), values, torch.nan)


def shared(scheme: Scheme) -> list[Slot]:
    """Weights used by more than one layer."""
    return [slot for slot in scheme.weights if len(slot.layers) > 1]


def shared_layers(scheme: Scheme) -> list[int]:
    """Layers whose weight another layer uses too."""
    return sorted(layer for slot in shared(scheme) for layer in slot.layers)
