"""Matrices rescaled by their spectrum: by the largest singular value, or the largest eigenvalue."""

import math

import numpy as np
import torch
from torch import Tensor

from initbench.errors import inapplicable
from initbench.initializers._draw import fans, gaussian, put_
from initbench.initializers.contract import Case, Contract
from initbench.initializers.registry import catalogued
from initbench.initializers.variance import variance_scaling_
from initbench.startup.late import stats

Generator = torch.Generator | None


@catalogued(
    formula="W ~ N(0, sigma^2), sigma = n^-1/2 min(1, sqrt(m/n)): Var = min(n,m)/n^2",
    source="Yang et al. 2023 (2310.17813), Parametrization 1",
    meant_for="feature learning at any width; its learning-rate rule is the parametrization, not here",
    note="not confirmed: the law as quoted in public code",
    contract=Contract(
        "normal, mean 0, variance min(n,m)/n^2", law=lambda c: stats.norm(0, math.sqrt(min(c.n, c.m)) / c.n)
    ),
)
def spectral_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Normal with sigma = n^-1/2 min(1, sqrt(m/n)), shape (fan_out, fan_in): spectral norm about sqrt(m/n).

    Source: Yang et al. 2023, 2310.17813 (not confirmed: as quoted in public code). Without its learning-rate
    rule (SGD: times m/n a layer) this is one variance among others.

    >>> round(float(spectral_(torch.empty(100, 400)).std()), 3)
    0.025
    """
    n, m = fans(weight)
    return variance_scaling_(weight, generator=generator, scale=min(1.0, m / n))


@catalogued(
    formula="W = gain sqrt(m/n) G/|G|_2, G Gaussian",
    source="Yang et al. 2023 (2310.17813), exact variant",
    meant_for="RMS-to-RMS operator norm exactly gain",
    note="not confirmed: the law as quoted in public code",
    contract=Contract(
        "the spectral norm is gain sqrt(m/n)",
        spectral_norm=lambda c: c["gain"] * math.sqrt(c.m / c.n),
        mean=lambda c: 0.0,
        variants=({"gain": 2.0},),
    ),
)
def spectral_exact_(weight: Tensor, *, generator: Generator = None, gain: float = 1.0) -> Tensor:
    """A Gaussian matrix rescaled to spectral norm gain sqrt(m/n), shape (fan_out, fan_in).

    Source: Yang et al. 2023, 2310.17813, in its exact form (not confirmed: as quoted in public code).

    >>> round(float(torch.linalg.matrix_norm(spectral_exact_(torch.empty(16, 4)), 2)), 4)
    2.0
    """
    n, m = fans(weight)
    g = gaussian(weight, generator=generator)
    return put_(weight, g * (gain * math.sqrt(m / n) / torch.linalg.matrix_norm(g, 2)))


def _square(weight: Tensor, name: str) -> int:
    n, m = fans(weight)
    if n != m:
        raise inapplicable(
            f"init={name}",
            f"it needs a square matrix (it has eigenvalues), got {m} x {n} (fan_out x fan_in)",
            f"for the hidden layers alone use init=per_layer 'init.map={{hidden: {name}}}'",
        )
    return n


def _not_square(c: Case) -> str | None:
    return "needs a square matrix" if c.n != c.m else None


@catalogued(
    formula="W = rho U/max|eig U|, U_ij ~ U(-.5, .5), square",
    source="echo state networks; IDSIA/brainstorm EchoState",
    meant_for="one matrix applied L times (shared layers): its powers neither grow nor die at rho = 1",
    contract=Contract(
        "the largest |eigenvalue| is rho",
        checks={
            "max |eigenvalue| = rho": lambda c, w, b: math.isclose(
                float(torch.linalg.eigvals(w).abs().max()), c["rho"], rel_tol=1e-4
            )
        },
        mean=lambda c: 0.0 if c.n >= 16 else None,  # of one entry it would be the sign
        refuses=_not_square,
        variants=({"rho": 0.8},),
    ),
)
def spectral_radius_(weight: Tensor, *, generator: Generator = None, rho: float = 1.0) -> Tensor:
    """Uniform entries rescaled to spectral radius rho; square (fan_out, fan_in) only, else NotApplicable.

    W = rho U / max|eig U|, U_ij ~ U(-.5, .5). Source: IDSIA/brainstorm EchoState.

    >>> w = spectral_radius_(torch.empty(6, 6), rho=0.9)
    >>> round(float(torch.linalg.eigvals(w).abs().max()), 4)
    0.9
    """
    _square(weight, "spectral_radius")
    u = torch.empty_like(weight).uniform_(-0.5, 0.5, generator=generator)
    return put_(weight, u * (rho / torch.linalg.eigvals(u).abs().max()))


@catalogued(
    formula="A = R^T R/n, R Gaussian; W = (A + I)/max eig(A + I), square",
    source="Talathi & Vartak 2016",
    meant_for="one ReLU matrix applied L times: positive definite, one eigenvalue 1, the others below",
    note="not confirmed: READ in a public port",
    contract=Contract(
        "symmetric, positive definite, largest eigenvalue 1",
        checks={
            "W = W^T": lambda c, w, b: torch.allclose(w, w.T, rtol=1e-5),
            "eigenvalues in (0, 1], the largest 1": lambda c, w, b: _unit_top(w),
            # with a the eigenvalues of A: mean a = 1 up to noise, and max eig W = (max a + 1)/max(a + 1)
            "A = R^T R/n has mean eigenvalue near 1": lambda c, w, b: c.n < 16 or _mean_eigenvalue(w),
        },
        refuses=_not_square,
        values=lambda c: np.ones((1, 1)) if c.n == 1 else None,
    ),
)
def np_rnn_(weight: Tensor, *, generator: Generator = None) -> Tensor:
    """Positive definite with largest eigenvalue 1; square (fan_out, fan_in) only, else NotApplicable.

    A = R^T R/n, R ~ N(0, 1); W = (A + I)/max eig(A + I).
    Source: Talathi & Vartak 2016 (not confirmed: as in a public port).

    >>> w = np_rnn_(torch.empty(5, 5))
    >>> round(float(torch.linalg.eigvalsh(w).max()), 4)
    1.0
    """
    n = _square(weight, "np_rnn")
    r = gaussian(weight, generator=generator)
    a = r.T @ r / n + torch.eye(n, dtype=weight.dtype, device=weight.device)
    return put_(weight, a / torch.linalg.eigvalsh(a).max())


def _unit_top(w: Tensor) -> bool:
    values = torch.linalg.eigvalsh((w + w.T) / 2)
    return bool(values.min() > 0 and abs(float(values.max()) - 1) < 1e-4)


def _mean_eigenvalue(w: Tensor) -> bool:
    """The smallest eigenvalue of A is nearly 0, so W's smallest is nearly 1/(max a + 1)."""
    values = torch.linalg.eigvalsh(w)
    return abs(float(values.mean() / values.min()) - 1 - 1) < 0.5
