"""The MLP as a pure function of stacked weights, with its backward pass written out.

Axes: R runs, m = fan_out, n = fan_in, B samples. Activations are (R, units, B), so that one layer reads like its
equation, Z = W H + b, and a softmax over classes runs along contiguous samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
LEAK = 0.01
aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """phi, and its pull-back: `pull(g, z, h)` = g phi'(z) elementwise, with h = phi(z).

    The pull-backs are torch's own backward kernels where it has one, so kinks are treated as autograd does. `range`
    is the pair of bounds if phi is bounded on both sides.
    """

    phi: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor, Tensor], Tensor]
    kinked: bool = False
    range: tuple[float, float] | None = None

    def derivative(self, z: Tensor) -> Tensor:
        """phi'(z).

        >>> ACTIVATIONS["relu"].derivative(torch.tensor([-1.0, 2.0]))
        tensor([0., 1.])
        """
        return self.pull(torch.ones_like(z), z, self.phi(z))


def elu_pull(alpha: float, scale: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Pull-back of scale * (z if z > 0 else alpha (e^z - 1))."""
    return lambda g, z, h: aten.elu_backward(g, alpha, scale, 1.0, False, z)


def sigmoid(z: Tensor) -> Tensor:
    """1 / (1 + e^-z) = (1 + tanh(z / 2)) / 2.

    torch.sigmoid rounds the last few float32 entries of a stack otherwise than the rest, so that a run's bits would
    depend on its stack-mates; its tanh does not.
    """
    return torch.tanh(z * 0.5).mul_(0.5).add_(0.5)


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(torch.relu, lambda g, z, h: aten.threshold_backward(g, z, 0), kinked=True),
    "leaky_relu": Activation(
        lambda z: F.leaky_relu(z, LEAK),
        lambda g, z, h: aten.leaky_relu_backward(g, z, LEAK, False),
        kinked=True,
    ),
    "tanh": Activation(torch.tanh, lambda g, z, h: aten.tanh_backward(g, h), range=(-1.0, 1.0)),
    "sigmoid": Activation(sigmoid, lambda g, z, h: aten.sigmoid_backward(g, h), range=(0.0, 1.0)),
    "gelu": Activation(F.gelu, lambda g, z, h: aten.gelu_backward(g, z)),
    "silu": Activation(F.silu, lambda g, z, h: aten.silu_backward(g, z)),
    "elu": Activation(F.elu, elu_pull(1.0, 1.0)),
    "selu": Activation(F.selu, elu_pull(SELU_ALPHA, SELU_SCALE)),
    "softplus": Activation(F.softplus, lambda g, z, h: aten.softplus_backward(g, z, 1.0, 20.0)),
    "sin": Activation(torch.sin, lambda g, z, h: g * torch.cos(z), range=(-1.0, 1.0)),
    "erf": Activation(torch.erf, lambda g, z, h: g * torch.exp(-z * z) * (2 / math.sqrt(math.pi)), range=(-1.0, 1.0)),
    "abs": Activation(torch.abs, lambda g, z, h: g * torch.sign(z), kinked=True),
    "linear": Activation(lambda z: z, lambda g, z, h: g),
}


def affine(w: Tensor, b: Tensor | None, h: Tensor) -> Tensor:
    """W H + b: (R, m, n), (R, m) or None, (R, n, B) -> (R, m, B)."""
    return torch.bmm(w, h) if b is None else torch.baddbmm(b.unsqueeze(2), w, h)


def forward(
    weights: Sequence[Tensor], biases: Sequence[Tensor | None], x: Tensor, activation: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Z_l = W_l H_l + b_l, H_{l+1} = phi(Z_l), the output layer linear.

    x (R, n, B); returns the preactivations Z_0..Z_depth, each (R, m, B), the last being the logits, and the layer
    inputs H_0 = x .. H_depth, each (R, n, B).

    >>> w = [torch.ones(2, 3, 4), torch.ones(2, 1, 3)]
    >>> z, h = forward(w, [None, None], torch.ones(2, 4, 5), "relu")
    >>> z[1][0, 0, 0].item()
    12.0
    """
    phi = ACTIVATIONS[activation].phi
    zs, hs = [], [x]
    for i, (w, b) in enumerate(zip(weights, biases)):
        z = affine(w, b, hs[-1])
        zs.append(z)
        if i < len(weights) - 1:
            hs.append(phi(z))
    return zs, hs


def predict(
    weights: Sequence[Tensor], biases: Sequence[Tensor | None], x: Tensor, activation: str, block: int
) -> Tensor:
    """Logits (R, classes, B) of x (R, n, B), `block` runs at a time so that their activations stay in cache."""
    phi = ACTIVATIONS[activation].phi
    parts = []
    for start in range(0, len(x), block):
        # The last block may not be a lone run (other bits, see the fused engine); it takes one from before it.
        low = max(0, start - 1) if len(x) - start == 1 else start
        h = x[low : start + block]
        for i, (w, b) in enumerate(zip(weights, biases)):
            w = w[low : start + block]
            z = affine(w, None if b is None else b[low : start + block], h)
            h = phi(z) if i < len(weights) - 1 else z
        parts.append(h[start - low :])
    return torch.cat(parts)


def right(logits: Tensor, y: Tensor) -> Tensor:
    """Whether the largest logit (the first of equal ones) is that of class y: (R, classes, B), (R, B) -> (R, B)."""
    # argmax over a short strided axis is slow in torch; a running maximum over the classes is not
    best, where = logits[:, 0], torch.zeros_like(y)
    for c in range(1, logits.shape[1]):
        better = logits[:, c] > best
        where.masked_fill_(better, c)
        best = torch.maximum(best, logits[:, c])
    return where == y


def backward(
    weights: Sequence[Tensor], zs: Sequence[Tensor], hs: Sequence[Tensor], dlogits: Tensor, activation: str
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """dW_l = dZ_l H_l^T, db_l = sum over samples of dZ_l, dZ_{l-1} = phi'(Z_{l-1}) * W_l^T dZ_l.

    `dlogits` (R, classes, B) is the gradient of each run's loss by its logits. Returns, one a layer, dW (R, m, n),
    db (R, m) and dZ (R, m, B). Each layer's gradient is its own, also where layers share a weight: these are the
    gradients of each use.
    """
    pull = ACTIVATIONS[activation].pull
    dz = dlogits
    dzs = [dz]
    for i in range(len(weights) - 1, 0, -1):
        dz = pull(torch.bmm(weights[i].transpose(1, 2), dz), zs[i - 1], hs[i])
        dzs.append(dz)
    dzs.reverse()
    dws = [torch.bmm(dz, h.transpose(1, 2)) for dz, h in zip(dzs, hs)]
    dbs = [dz.sum(2) for dz in dzs]
    return dws, dbs, dzs


def cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """-log softmax(logits)_y of each sample, and its gradient softmax - onehot(y).

    logits (R, classes, B), y (R, B) int64; returns (R, B) and (R, classes, B), in nats.
    """
    log_p = torch.log_softmax(logits, dim=1)
    index = y.unsqueeze(1)
    loss = -log_p.gather(1, index).squeeze(1)
    gradient = log_p.exp_()
    return loss, gradient.scatter_add_(1, index, gradient.new_full((), -1.0).expand_as(index))


def squared_error(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over outputs of (f - y)^2 of each sample, and its gradient 2 (f - y) / k.

    outputs (R, k, B), y (R, k, B); returns (R, B) and (R, k, B).
    """
    difference = outputs - y
    return difference.square().mean(1), difference * (2 / outputs.shape[1])


LOSSES = {"cross_entropy": cross_entropy, "squared_error": squared_error}
