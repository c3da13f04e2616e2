"""Update rules of the kernel, as those of `engine.optim`: `rule(p, g, s, v, n, rate, c) -> largest bits of |p|`.

p, g, s, v: n parameters, their gradients, and two buffers of optimizer state. `rate` is the run's learning rate at this
step, c the constants of `layout.constants`. The bits of the largest magnitude tell whether every parameter is finite.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from initbench.engine.kernel.activations import MAGNITUDE
from initbench.engine.kernel.elementary import ONE
from initbench.engine.kernel.vector import bits, fma, root

DECAY, MU, MEAN, KEEP, NEW, EPS, CORRECTION, RATE = range(8)  # places in the constants of a step
CONSTANTS = 8


def sgd(p, g, s, v, n, rate, c):
    """p <- p - lr (g + decay p)."""
    decay, largest = c[DECAY], np.int32(0)
    for i in range(n):
        new = fma(-rate, fma(decay, p[i], g[i]), p[i])
        p[i] = new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def momentum(p, g, s, v, n, rate, c):
    """s <- mu s + g; p <- p - lr s."""
    decay, mu, largest = c[DECAY], c[MU], np.int32(0)
    for i in range(n):
        speed = fma(mu, s[i], fma(decay, p[i], g[i]))
        new = fma(-rate, speed, p[i])
        s[i], p[i] = speed, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def nesterov(p, g, s, v, n, rate, c):
    """s <- mu s + g; p <- p - lr (g + mu s)."""
    decay, mu, largest = c[DECAY], c[MU], np.int32(0)
    for i in range(n):
        force = fma(decay, p[i], g[i])
        speed = fma(mu, s[i], force)
        new = fma(-rate, fma(mu, speed, force), p[i])
        s[i], p[i] = speed, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def adam(p, g, s, v, n, rate, c):
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


def adamw(p, g, s, v, n, rate, c):
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


def adagrad(p, g, s, v, n, rate, c):
    """v <- v + g^2; p <- p - lr g / (sqrt v + eps)."""
    decay, eps, largest = c[DECAY], c[EPS], np.int32(0)
    for i in range(n):
        force = fma(decay, p[i], g[i])
        second = fma(force, force, v[i])
        new = p[i] - rate * force / (root(second) + eps)
        v[i], p[i] = second, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def rmsprop(p, g, s, v, n, rate, c):
    """v <- alpha v + (1 - alpha) g^2; p <- p - lr g / (sqrt v + eps)."""
    decay, keep, fresh, eps, largest = c[DECAY], c[KEEP], c[NEW], c[EPS], np.int32(0)
    for i in range(n):
        force = fma(decay, p[i], g[i])
        second = fma(fresh * force, force, keep * v[i])
        new = p[i] - rate * force / (root(second) + eps)
        v[i], p[i] = second, new
        largest = max(largest, bits(new) & MAGNITUDE)
    return largest


def lion(p, g, s, v, n, rate, c):
    """p <- (1 - lr decay) p - lr sign(s + (1 - beta1) (g - s)); then s <- s + (1 - beta2) (g - s)."""
    shrink, mean, fresh, largest = fma(-rate, c[DECAY], ONE), c[MEAN], c[NEW], np.int32(0)
    for i in range(n):
        new = p[i] * shrink - rate * np.sign(fma(mean, g[i] - s[i], s[i]))
        s[i], p[i] = fma(fresh, g[i] - s[i], s[i]), new
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
    "lion": lion,
}
