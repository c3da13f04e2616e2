"""The loss of a classifier at the start: what cross-entropy is where the logits are independent noise."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from initbench.errors import refusal
from initbench.initializers.gains import gaussian_nodes

STEP = 0.25


@lru_cache(maxsize=1024)
def cross_entropy_at_start(q: float, classes: int) -> float:
    """E ln sum_c e^z_c for independent logits z_c ~ N(0, q): the mean cross-entropy of a net that knows nothing, for the logit of
    the true class has mean 0. ln C at q = 0, and ln C + q (C - 1) / (2 C) for small q.

    With S = sum_c e^z_c it is the integral of (e^-t - (E exp(-t e^z))^C) / t over t > 0, taken on a logarithmic grid
    (error below 1e-9, since the integrand is analytic and falls off on both sides).

    >>> [round(cross_entropy_at_start(q, 10), 4) for q in (0.0, 0.01, 1.0, 5.0)]
    [2.3026, 2.3071, 2.7289, 4.0674]
    """
    if not q >= 0 or classes < 1:
        raise refusal(
            f"q={q}, classes={classes}", "not allowed", "must be a variance of 0 or more, and 1 class or more"
        )
    if q == 0 or classes == 1:
        return math.log(classes)
    z, weights = gaussian_nodes()
    far = 12.0 * math.sqrt(q)
    u = np.arange(-40.0 - far, 8.0 + far, STEP)  # t = e^u
    with np.errstate(over="ignore", under="ignore"):
        survived = np.exp(-np.exp(u[:, None] + math.sqrt(q) * z)) @ weights
        integrand = np.exp(-np.exp(u)) - survived**classes
    return float(integrand.sum() * STEP)
