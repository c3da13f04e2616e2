"""The optimizers of torch.optim on stacked tensors, with one learning rate per run.

Each rule is `(parameter, gradient, state, lr, t, config) -> None`: it updates `parameter` (R, ...) in place. `lr` is
(R, 1, ..); `state` a dict that belongs to this parameter; t counts updates from 1. The order of operations follows
torch.optim's single-tensor code, so that float64 results agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from initbench.config.groups import OptimConfig
from initbench.config.optimizers import OPTIMIZERS

State = dict[str, Tensor]
Rule = Callable[[Tensor, Tensor, State, Tensor, int, OptimConfig], None]


def slot(state: State, name: str, like: Tensor) -> Tensor:
    """A tensor of the state, zeros at first.

    Its runs lie apart in memory, so that torch walks over it run by run: over a whole stack it would round the last
    few entries otherwise, and a run's bits would depend on its stack-mates.
    """
    if name not in state:
        state[name] = apart(torch.zeros_like(like))
    return state[name]


def apart(values: Tensor) -> Tensor:
    """A copy (R, ...) whose runs lie apart in memory."""
    size = values[0].numel()
    buffer = values.new_empty(len(values), size + 1)
    buffer[:, :size] = values.flatten(1)
    return buffer[:, :size].unflatten(1, values.shape[1:])


def kept(state: State, rows: Tensor) -> State:
    """The state of some runs of a stack."""
    return {name: apart(values[rows]) for name, values in state.items()}


def decayed(g: Tensor, p: Tensor, c: OptimConfig) -> Tensor:
    """g + weight_decay p (L2, as all of torch.optim but AdamW)."""
    return g.add(p, alpha=c.weight_decay) if c.weight_decay else g


def sgd(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """p <- p - lr g."""
    p.addcmul_(decayed(g, p, c), lr, value=-1.0)


def momentum(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """v <- mu v + g; p <- p - lr v."""
    v = slot(state, "momentum", p).mul_(momentum_at(c, t - 1)).add_(decayed(g, p, c))
    p.addcmul_(v, lr, value=-1.0)


def nesterov(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """v <- mu v + g; p <- p - lr (g + mu v)."""
    g, mu = decayed(g, p, c), momentum_at(c, t - 1)
    v = slot(state, "momentum", p).mul_(mu).add_(g)
    p.addcmul_(g.add(v, alpha=mu), lr, value=-1.0)


def betas_of(c: OptimConfig) -> tuple[float, float]:
    """The two rates of moving means: those given, or the optimizer's own."""
    beta1, beta2 = c.betas or ((0.9, 0.99) if c.name == "lion" else (0.9, 0.999))
    return beta1, beta2


def adam_step(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """m, v: moving means of g and g^2, corrected for their start at 0; p <- p - lr m / (sqrt v + eps)."""
    beta1, beta2 = betas_of(c)
    eps = 1e-8 if c.eps is None else c.eps
    m = slot(state, "mean", p).lerp_(g, 1 - beta1)
    v = slot(state, "square", p).mul_(beta2).addcmul_(g, g, value=1 - beta2)
    denominator = v.sqrt().div_(math.sqrt(1 - beta2**t)).add_(eps)
    p.addcdiv_(m * (lr / (1 - beta1**t)), denominator, value=-1.0)


def adam(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """Adam with L2 weight decay."""
    adam_step(p, decayed(g, p, c), state, lr, t, c)


def adamw(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """Adam with decoupled weight decay: p <- (1 - lr weight_decay) p first."""
    if c.weight_decay:
        p.mul_(1 - lr * c.weight_decay)
    adam_step(p, g, state, lr, t, c)


def adagrad(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """s <- s + g^2; p <- p - lr g / (sqrt s + eps)."""
    g = decayed(g, p, c)
    s = slot(state, "square", p).addcmul_(g, g)
    p.addcdiv_(g * lr, s.sqrt().add_(1e-10 if c.eps is None else c.eps), value=-1.0)


def rmsprop(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """s <- alpha s + (1 - alpha) g^2; p <- p - lr g / (sqrt s + eps)."""
    g = decayed(g, p, c)
    alpha = 0.99 if c.alpha is None else c.alpha
    s = slot(state, "square", p).mul_(alpha).addcmul_(g, g, value=1 - alpha)
    p.addcdiv_(g * lr, s.sqrt().add_(1e-8 if c.eps is None else c.eps), value=-1.0)


def lion(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """p <- (1 - lr weight_decay) p - lr sign(m + (1 - beta1) (g - m)); then m <- m + (1 - beta2) (g - m)."""
    beta1, beta2 = betas_of(c)
    m = slot(state, "mean", p)
    direction = torch.lerp(m, g, 1 - beta1).sign_()
    if c.weight_decay:
        p.mul_(1 - lr * c.weight_decay)
    p.addcmul_(direction, lr, value=-1.0)
    m.lerp_(g, 1 - beta2)


def orthogonalized(update: Tensor) -> Tensor:
    """A (m, n) matrix with its singular values near 1, by five rounds of Newton and Schulz in bfloat16.

    The operations of torch.optim.Muon, one after another, so that the numbers are its own.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = update.shape[0] > update.shape[1]
    x = update.bfloat16().T if tall else update.bfloat16()
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def muon(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """v <- v + (1 - mu) (g - v); p <- (1 - lr weight_decay) p - lr sqrt(max(1, m/n)) O, O the orthogonalized g + mu (v - g).

    Matrices (R, m, n), orthogonalized run by run: batched products of bfloat16 were seen to add up in another order.
    """
    mu, (m, n) = momentum_at(c, t - 1), p.shape[1:]
    v = slot(state, "momentum", p).lerp_(g, 1 - mu)
    directions = torch.stack([orthogonalized(one) for one in torch.lerp(g, v, mu)])
    if c.weight_decay:
        p.mul_(1 - lr * c.weight_decay)
    p.addcmul_(directions.to(p.dtype), lr * math.sqrt(max(1.0, m / n)), value=-1.0)


RULES: dict[str, Rule] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "lion": lion,
    "muon": muon,
}


def of_tensor(c: OptimConfig, hidden: bool) -> tuple[float, OptimConfig]:
    """Share of the learning rate, and the optimizer, of a stored tensor: muon leaves to AdamW what is no hidden matrix.

    >>> share, own = of_tensor(OptimConfig("muon", momentum=0.95), hidden=False)
    >>> share, own.name, own.betas
    (0.015, 'adamw', [0.9, 0.95])
    """
    rest = OPTIMIZERS[c.name].rest
    if rest is None or hidden:
        return 1.0, c
    own = replace(c, momentum=None, momentum_rise=None, rest_lr=None, name=rest, betas=c.betas or [0.9, 0.95])
    return 0.015 if c.rest_lr is None else c.rest_lr, own if c.eps is not None else replace(own, eps=1e-10)


def lr_factor(c: OptimConfig, t: int, steps: int) -> float:
    """Factor of the learning rate at update t = 0..steps-1: linear warm-up times the schedule.

    cosine: (1 + cos(pi t / steps)) / 2; step: 1, then .1 from half, .01 from three quarters of the steps.

    >>> [lr_factor(OptimConfig(schedule="step"), t, 8) for t in (0, 3, 4, 6)]
    [1.0, 1.0, 0.1, 0.01]
    """
    warm = min(1.0, (t + 1) / c.warmup) if c.warmup else 1.0
    if c.schedule == "cosine":
        return warm * 0.5 * (1 + math.cos(math.pi * t / steps))
    if c.schedule == "step":
        return warm * (1.0 if t < steps / 2 else 0.1 if t < steps * 3 / 4 else 0.01)
    return warm


def momentum_at(c: OptimConfig, t: int) -> float:
    """Momentum of update t = 0..steps-1: `momentum`, or with `momentum_rise` min(1 - 1/(2 (floor(t/rise) + 1)), momentum).

    That is 1 - 2^(-1 - log2(floor(t/250) + 1)) of Sutskever et al. 2013 where the momentum rises every 250 updates.

    >>> c = OptimConfig("nesterov", momentum=0.8, momentum_rise=2)
    >>> [round(momentum_at(c, t), 3) for t in range(7)]
    [0.5, 0.5, 0.75, 0.75, 0.8, 0.8, 0.8]
    """
    most = c.momentum or 0.0
    return most if c.momentum_rise is None else min(1 - 0.5 / (t // c.momentum_rise + 1), most)


def rate_at(c: OptimConfig, step: int, steps: int) -> float:
    """Factor of the learning rate of the next update at a step; at the end, of the last one.

    >>> [rate_at(OptimConfig(schedule="step"), t, 8) for t in (0, 4, 8)], rate_at(OptimConfig(), 0, 0)
    ([1.0, 0.1, 0.01], 1.0)
    """
    return lr_factor(c, max(0, min(step, steps - 1)), max(steps, 1))


def clip_factor(grads: Mapping[str, Tensor], largest: float) -> Tensor:
    """min(1, largest / (|g| + 1e-6)) with |g| the norm of a run's whole gradient, (R,), as clip_grad_norm_ does."""
    # one row per run: a sum down the columns would be taken in an order that depends on the number of runs
    squares = torch.stack([g.flatten(1).square().sum(1) for g in grads.values()], dim=1)
    return (largest / (squares.sum(1).sqrt() + 1e-6)).clamp(max=1.0)


def column(values: Tensor, like: Tensor) -> Tensor:
    """(R,) shaped to broadcast over a stacked tensor (R, ...)."""
    return values.view(-1, *([1] * (like.dim() - 1)))
