"""exp, log, tanh, erf and sine of single floats as polynomials, so that a loop over them becomes vector code.

float32 in and out, errors of one or two units in the last place (the tests measure them against float64). NaN stays
NaN: a diverged run must show. Coefficients are minimax fits in the form of Cephes (S. Moshier), those of erf a fit of
our own (see the tests for how good).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from initbench.engine.kernel.vector import bits, fma, from_bits, low_bits

F = np.float32
HALF, ONE, TWO = F(0.5), F(1), F(2)
TO_LOG2, ROUNDER = (
    F(1.4426950408889634),
    F(12582912.0),
)  # adding 1.5 2^23 leaves the nearest whole number in the low bits
LN2_HIGH, LN2_LOW = F(0.693359375), F(-2.12194440e-4)
LOWEST, HIGHEST = F(-104.0), F(89.0)
EXP = (
    F(1.9875691500e-4),
    F(1.3981999507e-3),
    F(8.3334519073e-3),
    F(4.1665795894e-2),
    F(1.6666665459e-1),
    F(5.0000001201e-1),
)
LOG = (
    *(F(7.0376836292e-2), F(-1.1514610310e-1), F(1.1676998740e-1), F(-1.2420140846e-1), F(1.4249322787e-1)),
    *(F(-1.6668057665e-1), F(2.0000714765e-1), F(-2.4999993993e-1), F(3.3333331174e-1)),
)
SQRT_HALF = F(0.70710678118654752)
TANH = (F(-5.70498872745e-3), F(2.06390887954e-2), F(-5.37397155531e-2), F(1.33314422036e-1), F(-3.33332819422e-1))
SMALL = F(0.625)
ERF_EDGE = F(0.927734375)
ERF_LOW = (
    *(F(-5.96761703e-4), F(4.99119423e-3), F(-2.67681349e-2), F(1.12819925e-1), F(-3.76125336e-1), F(1.28379166e-1)),
)
ERF_HIGH = (
    *(F(-1.72853470e-5), F(3.83197126e-4), F(-3.88396438e-3), F(2.42546219e-2)),
    *(F(-1.06777877e-1), F(-6.34846687e-1), F(-1.28717512e-1)),
)
QUARTER, TO_QUARTERS, ROUNDER64 = np.float64(np.pi / 2), np.float64(2 / np.pi), np.float64(1.5 * 2**52)
SIN = (F(-1.9515295891e-4), F(8.3321608736e-3), F(-1.6666654611e-1))
COS = (F(2.443315711809948e-5), F(-1.388731625493765e-3), F(4.166664568298827e-2))

scalar = njit(error_model="numpy", inline="never")


@scalar
def polynomial(x, coefficients):
    """Horner's rule, the highest power first."""
    value = coefficients[0]
    for c in coefficients[1:]:
        value = fma(value, x, c)
    return value


@scalar
def reduced(x):
    """(k, r): x = k ln 2 + r with a whole k, |r| <= ln 2 / 2; k as ROUNDER + k."""
    k = fma(x, TO_LOG2, ROUNDER)
    whole = k - ROUNDER
    return k, fma(whole, -LN2_LOW, fma(whole, -LN2_HIGH, x))


@scalar
def power_of_two(k):
    """2^k of ROUNDER + k, -127 < k < 128."""
    return from_bits(np.int32((bits(k) + np.int32(127)) << np.int32(23)))


@scalar
def exp(x):
    """e^x; in two factors, so that tiny and huge values come out as floats can hold them."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    k, r = reduced(x)
    value = fma(polynomial(r, EXP), r * r, r) + ONE
    half = fma(k - ROUNDER, HALF, ROUNDER)
    return value * power_of_two(half) * power_of_two(k - (half - ROUNDER))


@scalar
def expm1(x):
    """e^x - 1 for x <= 0, exact also near 0."""
    x = LOWEST if x < LOWEST else x
    k, r = reduced(x)
    tail = fma(polynomial(r, EXP), r * r, r)
    whole = k - ROUNDER
    scale = power_of_two(k if whole > F(-126) else ROUNDER - F(126))
    return fma(tail, scale, scale - ONE)


@scalar
def log(x):
    """ln x of a positive normal float."""
    pattern = bits(x)
    exponent = np.float32((pattern >> np.int32(23)) - np.int32(126))
    m = from_bits((pattern & np.int32(0x007FFFFF)) | np.int32(0x3F000000))  # in [1/2, 1)
    low = m < SQRT_HALF
    exponent = exponent - ONE if low else exponent
    m = m + m - ONE if low else m - ONE
    square = m * m
    tail = fma(exponent, LN2_LOW, polynomial(m, LOG) * m * square)
    value = fma(exponent, LN2_HIGH, m + fma(square, -HALF, tail))
    return value if x == x else x


@scalar
def log1p(u):
    """ln(1 + u) for 0 <= u <= 1."""
    w = ONE + u
    return log(w) + (u - (w - ONE)) / w


@scalar
def tanh(x):
    """tanh x: a polynomial near 0, else 1 - 2 / (e^2|x| + 1) with the sign of x."""
    square = x * x
    near = fma(polynomial(square, TANH) * square, x, x)
    size = abs(x)
    far = ONE - TWO / (exp(size + size) + ONE)
    far = -far if x < F(0) else far
    return near if size < SMALL else far


@scalar
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return ONE / (ONE + exp(-x))


@scalar
def erf(x):
    """erf x: a polynomial up to .93, else 1 - e^polynomial (fits of N. Juffa)."""
    size, square = abs(x), x * x
    low = polynomial(square, ERF_LOW)
    high = polynomial(size, ERF_HIGH)
    far = ONE - exp(fma(high, size, -size))
    far = -far if x < F(0) else far
    return far if size > ERF_EDGE else fma(low, x, x)


@scalar
def sincos(x):
    """(sin x, cos x) for |x| < 10^9: reduced by multiples of pi / 2 in float64, then two polynomials."""
    wide = np.float64(x)
    k = wide * TO_QUARTERS + ROUNDER64
    quarter = low_bits(k)
    r = np.float32(wide - (k - ROUNDER64) * QUARTER)
    square = r * r
    s = fma(polynomial(square, SIN) * square, r, r)
    c = fma(polynomial(square, COS) * square, square, fma(square, -HALF, ONE))
    odd = (quarter & np.int32(1)) != np.int32(0)
    sine, cosine = (c, s) if odd else (s, c)
    sine = -sine if (quarter & np.int32(2)) != np.int32(0) else sine
    cosine = -cosine if ((quarter + np.int32(1)) & np.int32(2)) != np.int32(0) else cosine
    return sine, cosine
