"""The MLP as a pure function of stacked weights, with its backward pass written out.

Axes: R runs, m = fan_out, n = fan_in, B samples. Activations are (R, units, B), so that one layer reads like its
equation, Z = W H + b, and a softmax over classes runs along contiguous samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pkgutil import resolve_name

import torch
from torch import Tensor

from initbench.config.activations import ACTIVATIONS as FACTS
from initbench.config.activations import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

VECTORS = 64  # entries that whole vectors hold, also where torch takes four at a time
aten = torch.ops.aten
nn = torch._C._nn  # what torch.nn.functional calls; these take `out`


@dataclass(frozen=True)
class Stacked:
    """phi, and its pull-back: `pull(g, z, h)` = g phi'(z) elementwise, with h = phi(z), written over g.

    `phi(z, out)` writes to `out`, which may be z, and takes new memory without it. The pull-backs are torch's own
    backward kernels where it has one, so kinks are treated as autograd does. `by_value`: phi(z) says what phi'(z) is, and `pull` takes h in place of z as well.
    """

    phi: Callable[..., Tensor]
    pull: Callable[[Tensor, Tensor, Tensor], Tensor]
    by_value: bool = False

    def derivative(self, z: Tensor) -> Tensor:
        """phi'(z).

        >>> ACTIVATIONS["relu"].derivative(torch.tensor([-1.0, 2.0]))
        tensor([0., 1.])
        """
        return self.pull(torch.ones_like(z), z, self.phi(z))


def each_run_alike(activation: Stacked) -> Stacked:
    """The same for functions that torch computes by another routine, with other roundings, for the last entries of a
    tensor where they fill no vector. A run's bits would depend on its place among its stack-mates; so runs (R, ...) of
    such sizes are padded.
    """
    from torch.nn.functional import pad

    def whole(x: Tensor) -> Tensor:
        return pad(x.reshape(len(x), -1), (0, -x[0].numel() % VECTORS))

    def cut(values: Tensor, like: Tensor) -> Tensor:
        return values[:, : like[0].numel()].reshape(like.shape)

    def phi(z: Tensor, out: Tensor | None = None) -> Tensor:
        if z[0].numel() % VECTORS == 0:
            return activation.phi(z, out=out)
        h = cut(activation.phi(whole(z)), z)
        return h if out is None else out.copy_(h)

    def pull(g: Tensor, z: Tensor, h: Tensor) -> Tensor:
        if z[0].numel() % VECTORS == 0:
            return activation.pull(g, z, h)
        return g.copy_(cut(activation.pull(whole(g), whole(z), whole(h)), g))

    return replace(activation, phi=phi, pull=pull)


def elu_pull(alpha: float, scale: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Pull-back of scale * (z if z > 0 else alpha (e^z - 1))."""
    return lambda g, z, h: aten.elu_backward.grad_input(g, alpha, scale, 1.0, False, z, grad_input=g)


def sigmoid(z: Tensor, out: Tensor | None = None) -> Tensor:
    """1 / (1 + e^-z) = (1 + tanh(z / 2)) / 2.

    torch.sigmoid rounds the last few float32 entries of a stack otherwise than the rest, so that a run's bits would
    depend on its stack-mates; its tanh does not.
    """
    return torch.mul(z, 0.5, out=out).tanh_().mul_(0.5).add_(0.5)


ACTIVATIONS: dict[str, Stacked] = {
    "relu": Stacked(
        lambda z, out=None: torch.clamp_min(z, 0, out=out),
        lambda g, z, h: aten.threshold_backward.grad_input(g, z, 0, grad_input=g),
        by_value=True,
    ),
    "leaky_relu": Stacked(
        lambda z, out=None: nn.leaky_relu(z, LEAKY_SLOPE, out=out),
        lambda g, z, h: aten.leaky_relu_backward.grad_input(g, z, LEAKY_SLOPE, False, grad_input=g),
        by_value=True,
    ),
    "tanh": Stacked(
        torch.tanh,
        lambda g, z, h: aten.tanh_backward.grad_input(g, h, grad_input=g),
        by_value=True,
    ),
    "sigmoid": Stacked(
        sigmoid,
        lambda g, z, h: aten.sigmoid_backward.grad_input(g, h, grad_input=g),
        by_value=True,
    ),
    "gelu": Stacked(nn.gelu, lambda g, z, h: aten.gelu_backward.grad_input(g, z, grad_input=g)),
    "silu": Stacked(nn.silu, lambda g, z, h: aten.silu_backward.grad_input(g, z, grad_input=g)),
    "elu": Stacked(nn.elu, elu_pull(1.0, 1.0)),
    "selu": Stacked(
        lambda z, out=None: nn.elu(z, SELU_ALPHA, SELU_SCALE, out=out),  # type: ignore[call-arg]  # torch's stubs lack it
        elu_pull(SELU_ALPHA, SELU_SCALE),
    ),
    "softplus": Stacked(nn.softplus, lambda g, z, h: aten.softplus_backward.grad_input(g, z, 1.0, 20.0, grad_input=g)),
    "sin": Stacked(torch.sin, lambda g, z, h: g.mul_(torch.cos(z))),
    "erf": Stacked(torch.erf, lambda g, z, h: g.mul_(torch.exp(-z * z)).mul_(2 / math.sqrt(math.pi))),
    "abs": Stacked(torch.abs, lambda g, z, h: g.mul_(torch.sign(z))),
    "linear": Stacked(lambda z, out=None: z, lambda g, z, h: g, by_value=True),
}
ACTIVATIONS |= {name: each_run_alike(ACTIVATIONS[name]) for name in ("gelu", "silu", "elu", "selu", "softplus")}


def torch_function(activation: str) -> Callable[[Tensor], Tensor]:
    """An activation as torch has it.

    >>> torch_function("relu") is torch.relu
    True
    """
    found: Callable[[Tensor], Tensor] = resolve_name(FACTS[activation].torch)
    return found


def phi_of(activation: str) -> Callable[..., Tensor]:
    """phi(z, out) as in ACTIVATIONS; of a z that autograd looks at, as torch has it."""
    ours, theirs = ACTIVATIONS[activation].phi, torch_function(activation)
    return lambda z, out=None: theirs(z) if z.requires_grad else ours(z, out=out)


@dataclass(frozen=True)
class Room:
    """Memory that every training step of a stack writes over, so that training takes none and stays in cache.

    `zs` (R, m, B) are the preactivations of each layer and `hs` the activations of each hidden one, the same memory
    where phi says what phi' is. `gradients` are those by `hs`; two memories take turns, for a layer's gradient is done
    with when the one below is known.
    """

    zs: list[Tensor]
    hs: list[Tensor]
    gradients: list[Tensor]

    @classmethod
    def of(cls, weights: Sequence[Tensor], x: Tensor, activation: str) -> Room:
        """Room for the layers of `weights` (R, m, n) on x (R, n, B)."""
        runs, samples = x.shape[0], x.shape[2]
        zs = [x.new_empty(runs, w.shape[1], samples) for w in weights]
        hidden = zs[:-1]
        hs = hidden if ACTIVATIONS[activation].by_value else [torch.empty_like(z) for z in hidden]
        turns = x.new_empty(2, max((z.numel() for z in hidden), default=0))
        return cls(zs, hs, [turns[i % 2][: z.numel()].view(z.shape) for i, z in enumerate(hidden)])


def affine(w: Tensor, b: Tensor | None, h: Tensor, out: Tensor | None = None) -> Tensor:
    """W H + b: (R, m, n), (R, m) or None, (R, n, B) -> (R, m, B)."""
    return torch.bmm(w, h, out=out) if b is None else torch.baddbmm(b.unsqueeze(2), w, h, out=out)


def forward(
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    x: Tensor,
    activation: str,
    room: Room | None = None,
    injected: Mapping[int, Tensor] | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Z_l = W_l H_l + b_l, H_{l+1} = phi(Z_l), the output layer linear; `injected` (R, m, B) are added to some Z_l.

    x (R, n, B); returns the preactivations Z_0..Z_depth, each (R, m, B), the last being the logits, and the layer
    inputs H_0 = x .. H_depth, each (R, n, B). In a `room` they last until its next use, and Z_l may be H_{l+1}.

    >>> w = [torch.ones(2, 3, 4), torch.ones(2, 1, 3)]
    >>> z, h = forward(w, [None, None], torch.ones(2, 4, 5), "relu")
    >>> z[1][0, 0, 0].item()
    12.0
    """
    phi = phi_of(activation)
    zs, hs = [], [x]
    for i, (w, b) in enumerate(zip(weights, biases)):
        z = affine(w, b, hs[-1], None if room is None else room.zs[i])
        if injected and i in injected:
            z = z.add_(injected[i])
        zs.append(z)
        if i < len(weights) - 1:
            hs.append(phi(z, out=None if room is None else room.hs[i]))
    return zs, hs


def predict(
    weights: Sequence[Tensor], biases: Sequence[Tensor | None], x: Tensor, activation: str, block: int
) -> Tensor:
    """Logits (R, classes, B) of x (R, n, B), `block` runs at a time so that their activations stay in cache."""
    phi = ACTIVATIONS[activation].phi
    parts = []
    for start in range(0, len(x), block):
        # The last block may not be a lone run (other bits, see engine/stacked.py); it takes one from before it.
        low = max(0, start - 1) if len(x) - start == 1 else start
        h = x[low : start + block]
        for i, (w, b) in enumerate(zip(weights, biases)):
            w = w[low : start + block]
            z = affine(w, None if b is None else b[low : start + block], h)
            h = phi(z, out=z) if i < len(weights) - 1 else z
        parts.append(h[start - low :])
    return torch.cat(parts)


def right(logits: Tensor, y: Tensor) -> Tensor:
    """Whether the largest logit (the first of equal ones) is that of class y: (R, classes, B), (R, B) -> (R, B).

    >>> right(torch.tensor([[[1.0], [3.0], [3.0]]]), torch.tensor([[1]]))
    tensor([[True]])
    """
    # argmax over a short strided axis is 25 times as slow in torch
    classes = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device).unsqueeze(1)
    largest = logits == logits.amax(1, keepdim=True)
    return torch.where(largest, classes, logits.shape[1]).amin(1) == y


def pull_back(
    weights: Sequence[Tensor],
    zs: Sequence[Tensor],
    hs: Sequence[Tensor],
    dlogits: Tensor,
    activation: str,
    room: Room | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Layers from the last to the first, each with dZ_l (R, m, B): dZ_{l-1} = phi'(Z_{l-1}) * W_l^T dZ_l.

    `dlogits` (R, classes, B) is the gradient of each run's loss by its logits. A layer's weight has done its part when
    its dZ_l comes: it may then be changed. In a `room` dZ_l lasts until the next but one comes.
    """
    pull = ACTIVATIONS[activation].pull
    dz = dlogits
    for i in range(len(weights) - 1, 0, -1):
        dh = torch.bmm(weights[i].transpose(1, 2), dz, out=None if room is None else room.gradients[i - 1])
        yield i, dz
        dz = pull(dh, zs[i - 1], hs[i])
    yield 0, dz


def cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """-log softmax(logits)_y of each sample, and its gradient softmax - onehot(y).

    logits (R, classes, B), y (R, B) int64; returns (R, B) and (R, classes, B), in nats.
    """
    log_p = torch.log_softmax(logits, dim=1)
    loss, index = of_class(log_p, y).neg_(), y.unsqueeze(1)
    gradient = log_p.exp_()
    return loss, gradient.scatter_add_(1, index, gradient.new_full((), -1.0).expand_as(index))


def of_class(values: Tensor, y: Tensor) -> Tensor:
    """The value of each sample's class: (R, classes, B), (R, B) -> (R, B)."""
    return values.gather(1, y.unsqueeze(1)).squeeze(1)


def squared_error(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over outputs of (f - y)^2 of each sample, and its gradient 2 (f - y) / k.

    outputs (R, k, B), y (R, k, B); returns (R, B) and (R, k, B).
    """
    difference = outputs - y
    return difference.square().mean(1), difference * (2 / outputs.shape[1])


def sigmoid_cross_entropy(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over outputs of -y log s - (1 - y) log(1 - s), s = sigmoid(logits), and its gradient (s - y) / k.

    logits (R, k, B), y (R, k, B) in 0..1; returns (R, B) and (R, k, B), in nats.
    """
    return binary_entropies(logits, y), (sigmoid(logits) - y).div_(logits.shape[1])


def binary_entropies(logits: Tensor, y: Tensor) -> Tensor:
    """max(z, 0) - z y + log(1 + exp(-|z|)), mean over outputs (R, B)."""
    return (logits.clamp_min(0) - logits * y + ACTIVATIONS["softplus"].phi(-logits.abs())).mean(1)


def sigmoid_squared_error(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over outputs of (s - y)^2, s = sigmoid(logits), and its gradient 2 (s - y) s (1 - s) / k; shapes as above."""
    s = sigmoid(logits)
    difference = s - y
    return difference.square().mean(1), difference.mul_(s).mul_(1 - s).mul_(2 / logits.shape[1])


LOSSES = {
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "sigmoid_squared_error": sigmoid_squared_error,
}
# the losses alone, where nothing is trained by them
LOSS_VALUES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": lambda logits, y: of_class(torch.log_softmax(logits, dim=1), y).neg_(),
    "squared_error": lambda outputs, y: (outputs - y).square().mean(1),
    "sigmoid_cross_entropy": binary_entropies,
    "sigmoid_squared_error": lambda logits, y: (sigmoid(logits) - y).square().mean(1),
}
