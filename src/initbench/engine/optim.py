"""The optimizers of torch.optim on stacked tensors, with one learning rate per run.

Each rule is `(parameter, gradient, state, lr, t, config) -> None`: it updates `parameter` (R, ...) in place. `lr` is
(R, 1, ..); `state` a dict that belongs to this parameter; t counts updates from 1. The order of operations follows
torch.optim's single-tensor code, so that float64 results agree to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from initbench.config.groups import OptimConfig

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
    v = slot(state, "momentum", p).mul_(c.momentum or 0.0).add_(decayed(g, p, c))
    p.addcmul_(v, lr, value=-1.0)


def nesterov(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """v <- mu v + g; p <- p - lr (g + mu v)."""
    g = decayed(g, p, c)
    v = slot(state, "momentum", p).mul_(c.momentum or 0.0).add_(g)
    p.addcmul_(g.add(v, alpha=c.momentum or 0.0), lr, value=-1.0)


def adam_step(p: Tensor, g: Tensor, state: State, lr: Tensor, t: int, c: OptimConfig) -> None:
    """m, v: moving means of g and g^2, corrected for their start at 0; p <- p - lr m / (sqrt v + eps)."""
    beta1, beta2 = c.betas or (0.9, 0.999)
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


RULES: dict[str, Rule] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
}


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
