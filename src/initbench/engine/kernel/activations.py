"""Activations of the kernel: `phi(z, h, n)` fills h with phi(z), `pull(g, z, h, n)` multiplies g by phi'(z), n floats
each. Kinks are treated as autograd treats them, and NaN goes through.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from initbench.config.activations import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from initbench.engine.kernel.elementary import HALF, ONE, F, erf, exp, expm1, log1p, sigmoid, sincos, tanh
from initbench.engine.kernel.vector import bits, fma

ZERO, LEAKY = F(0), F(LEAKY_SLOPE)
SELU_A, SELU_S = F(SELU_ALPHA), F(SELU_SCALE)
ROOT_HALF, DENSITY = F(math.sqrt(0.5)), F(1 / math.sqrt(2 * math.pi))
ERF_SLOPE = F(2 / math.sqrt(math.pi))
FAR = np.int32(np.float32(1e9).view(np.int32))  # beyond, sine is left to the C library
MAGNITUDE, INFINITY = np.int32(0x7FFFFFFF), np.int32(0x7F800000)

inner = njit(error_model="numpy")


def relu(z, h, n):
    """max(z, 0)."""
    for i in range(n):
        h[i] = ZERO if z[i] < ZERO else z[i]


def relu_pull(g, z, h, n):
    for i in range(n):
        g[i] = ZERO if h[i] <= ZERO else g[i]


def leaky_relu(z, h, n):
    """z for z > 0, else z / 100."""
    for i in range(n):
        h[i] = z[i] if z[i] > ZERO else z[i] * LEAKY


def leaky_relu_pull(g, z, h, n):
    for i in range(n):
        g[i] = g[i] if z[i] > ZERO else g[i] * LEAKY


def tanh_(z, h, n):
    """tanh z."""
    for i in range(n):
        h[i] = tanh(z[i])


def tanh_pull(g, z, h, n):
    for i in range(n):
        g[i] = g[i] * fma(-h[i], h[i], ONE)


def sigmoid_(z, h, n):
    """1 / (1 + e^-z)."""
    for i in range(n):
        h[i] = sigmoid(z[i])


def sigmoid_pull(g, z, h, n):
    for i in range(n):
        g[i] = g[i] * ((ONE - h[i]) * h[i])


def gelu(z, h, n):
    """z Phi(z) = z (1 + erf(z / sqrt 2)) / 2."""
    for i in range(n):
        h[i] = z[i] * HALF * (ONE + erf(z[i] * ROOT_HALF))


def gelu_pull(g, z, h, n):
    for i in range(n):
        below = HALF * (ONE + erf(z[i] * ROOT_HALF))
        g[i] = g[i] * fma(z[i], DENSITY * exp(-HALF * z[i] * z[i]), below)


def silu(z, h, n):
    """z / (1 + e^-z)."""
    for i in range(n):
        h[i] = z[i] / (ONE + exp(-z[i]))


def silu_pull(g, z, h, n):
    for i in range(n):
        s = sigmoid(z[i])
        g[i] = g[i] * s * fma(z[i], ONE - s, ONE)


def elu(z, h, n):
    """z for z > 0, else e^z - 1."""
    for i in range(n):
        low = expm1(ZERO if z[i] > ZERO else z[i])
        h[i] = z[i] if z[i] > ZERO else low


def elu_pull(g, z, h, n):
    for i in range(n):
        slope = exp(ZERO if z[i] > ZERO else z[i])
        g[i] = g[i] * slope


def selu(z, h, n):
    """scale (z for z > 0, else alpha (e^z - 1))."""
    for i in range(n):
        low = SELU_A * expm1(ZERO if z[i] > ZERO else z[i])
        h[i] = SELU_S * (z[i] if z[i] > ZERO else low)


def selu_pull(g, z, h, n):
    for i in range(n):
        slope = SELU_A * exp(ZERO if z[i] > ZERO else z[i])
        g[i] = g[i] * SELU_S * (ONE if z[i] > ZERO else slope)


def softplus(z, h, n):
    """ln(1 + e^z), without overflow: max(z, 0) + ln(1 + e^-|z|)."""
    for i in range(n):
        h[i] = (ZERO if z[i] < ZERO else z[i]) + log1p(exp(-abs(z[i])))


def softplus_pull(g, z, h, n):
    for i in range(n):
        g[i] = g[i] * sigmoid(z[i])


@inner
def beyond(z, n):
    """Whether some |z| is too large for the reduction of `sincos`."""
    largest = np.int32(0)
    for i in range(n):
        largest = max(largest, bits(z[i]) & MAGNITUDE)
    return largest >= FAR


def sin(z, h, n):
    """sin z."""
    for i in range(n):
        h[i] = sincos(z[i])[0]
    if beyond(z, n):
        for i in range(n):
            h[i] = F(math.sin(np.float64(z[i])))


def sin_pull(g, z, h, n):
    far = beyond(z, n)
    for i in range(n):
        g[i] = g[i] * (F(math.cos(np.float64(z[i]))) if far else sincos(z[i])[1])


def erf_(z, h, n):
    """erf z."""
    for i in range(n):
        h[i] = erf(z[i])


def erf_pull(g, z, h, n):
    for i in range(n):
        g[i] = g[i] * (exp(-z[i] * z[i]) * ERF_SLOPE)


def abs_(z, h, n):
    """|z|."""
    for i in range(n):
        h[i] = abs(z[i])


def abs_pull(g, z, h, n):
    for i in range(n):
        sign = ONE if z[i] > ZERO else ZERO
        g[i] = g[i] * (sign - (ONE if z[i] < ZERO else ZERO))


def linear(z, h, n):
    """z."""
    for i in range(n):
        h[i] = z[i]


def linear_pull(g, z, h, n):
    pass


FUNCTIONS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "relu": (relu, relu_pull),
    "leaky_relu": (leaky_relu, leaky_relu_pull),
    "tanh": (tanh_, tanh_pull),
    "sigmoid": (sigmoid_, sigmoid_pull),
    "gelu": (gelu, gelu_pull),
    "silu": (silu, silu_pull),
    "elu": (elu, elu_pull),
    "selu": (selu, selu_pull),
    "softplus": (softplus, softplus_pull),
    "sin": (sin, sin_pull),
    "erf": (erf_, erf_pull),
    "abs": (abs_, abs_pull),
    "linear": (linear, linear_pull),
}
