"""Update rules of the kernel, as those of `engine.optim`: `rule(p, g, s, v, n, rate, c) -> largest bits of |p|`.

p, g, s, v: n parameters, their gradients, and two buffers of optimizer state. `rate` is the run's learning rate at this
step, c the constants of `constants`. The bits of the largest magnitude tell whether every parameter is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from initbench.config import OptimConfig
from initbench.engine.kernel.activations import MAGNITUDE
from initbench.engine.kernel.elementary import ONE
from initbench.engine.kernel.vector import bits, fma, root

DECAY, MU, MEAN, KEEP, NEW, EPS, CORRECTION, RATE = range(8)  # places in the constants of a step


def constants(c: OptimConfig, t: int) -> list[float]:
    """What the rules use at update t (from 1): weight decay, momentum, 1 - beta1, beta2 or alpha, 1 - that, eps, and
    Adam's corrections for moments that start at 0: sqrt(1 - beta2^t), and 1 - beta1^t of the rate."""
    beta1, beta2 = c.betas or (0.9, 0.999)
    keep = (0.99 if c.alpha is None else c.alpha) if c.name == "rmsprop" else beta2
    eps = (1e-10 if c.name == "adagrad" else 1e-8) if c.eps is None else c.eps
    correction, rate = math.sqrt(1 - beta2**t), 1 - beta1**t
    return [c.weight_decay, c.momentum or 0.0, 1 - beta1, keep, 1 - keep, eps, correction, rate]


def sgd(p, g, s, v, n, rate, c):  # type: ignore[no-untyped-def]
    """p <- p - lr (g + decay p)."""
    decay, largest = c[DECAY], np.int32(0)
    for i in range(n):
        new = fma(-rate, fma(decay, p[i], g[i]), p[i])
        p[i] = new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def momentum(p, g, s, v, n, rate, c):  # type: ignore[no-untyped-def]
    """s <- mu s + g; p <- p - lr s."""
    decay, mu, largest = c[DECAY], c[MU], np.int32(0)
    for i in range(n):
        speed = fma(mu, s[i], fma(decay, p[i], g[i]))
        new = fma(-rate, speed, p[i])
        s[i], p[i] = speed, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def nesterov(p, g, s, v, n, rate, c):  # type: ignore[no-untyped-def]
    """s <- mu s + g; p <- p - lr (g + mu s)."""
    decay, mu, largest = c[DECAY], c[MU], np.int32(0)
    for i in range(n):
        force = fma(decay, p[i], g[i])
        speed = fma(mu, s[i], force)
        new = fma(-rate, fma(mu, speed, force), p[i])
        s[i], p[i] = speed, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def adam(p, g, s, v, n, rate, c):  # type: ignore[no-untyped-def]
    """s, v: moving means of g and g^2; p <- p - lr s / (sqrt v + eps), both corrected for their start at 0."""
    decay, mean, keep, fresh, eps = c[DECAY], c[MEAN], c[KEEP], c[NEW], c[EPS]
    rate, correction, largest = rate / c[RATE], ONE / c[CORRECTION], np.int32(0)
    for i in range(n):
        force = fma(decay, p[i], g[i])
        first = fma(mean, force - s[i], s[i])
        second = fma(fresh * force, force, keep * v[i])
        new = p[i] - rate * first / fma(root(second), correction, eps)
        s[i], v[i], p[i] = first, second, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def adamw(p, g, s, v, n, rate, c):  # type: ignore[no-untyped-def]
    """Adam with decoupled decay: p <- (1 - lr decay) p first."""
    shrink, mean, keep, fresh, eps = fma(-rate, c[DECAY], ONE), c[MEAN], c[KEEP], c[NEW], c[EPS]
    rate, correction, largest = rate / c[RATE], ONE / c[CORRECTION], np.int32(0)
    for i in range(n):
        first = fma(mean, g[i] - s[i], s[i])
        second = fma(fresh * g[i], g[i], keep * v[i])
        new = p[i] * shrink - rate * first / fma(root(second), correction, eps)
        s[i], v[i], p[i] = first, second, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def adagrad(p, g, s, v, n, rate, c):  # type: ignore[no-untyped-def]
    """v <- v + g^2; p <- p - lr g / (sqrt v + eps)."""
    decay, eps, largest = c[DECAY], c[EPS], np.int32(0)
    for i in range(n):
        force = fma(decay, p[i], g[i])
        second = fma(force, force, v[i])
        new = p[i] - rate * force / (root(second) + eps)
        v[i], p[i] = second, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def rmsprop(p, g, s, v, n, rate, c):  # type: ignore[no-untyped-def]
    """v <- alpha v + (1 - alpha) g^2; p <- p - lr g / (sqrt v + eps)."""
    decay, keep, fresh, eps, largest = c[DECAY], c[KEEP], c[NEW], c[EPS], np.int32(0)
    for i in range(n):
        force = fma(decay, p[i], g[i])
        second = fma(fresh * force, force, keep * v[i])
        new = p[i] - rate * force / (root(second) + eps)
        v[i], p[i] = second, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


RULES: dict[str, Callable[..., int]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
}
