"""Geometry: spectra of weights and Jacobians, angles between samples, correlations between units.

These cost decompositions or products of size units x units x samples, so they are in `full`, not in `light`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from initbench.measure.probe import Probe, input_jacobians, jacobians, stack


def weight_spectral_norm(p: Probe) -> Tensor:
    """Largest singular value of each layer's weight."""
    return stack([s[:, 0] for s in p.weight_singular_values])


def weight_stable_rank(p: Probe) -> Tensor:
    """|W|_F^2 / |W|_2^2, between 1 and the rank; NaN for W = 0."""
    return stack([s.square().sum(1) / s[:, 0].square() for s in p.weight_singular_values])


def weight_sv_min(p: Probe) -> Tensor:
    """Smallest of the min(m, n) singular values of each layer's weight."""
    return stack([s[:, -1] for s in p.weight_singular_values])


def weight_condition(p: Probe) -> Tensor:
    """Largest over smallest singular value of each layer's weight; NaN for a singular one."""
    return stack([s[:, 0] / s[:, -1] for s in p.weight_singular_values])


def jacobian_sv_mean_square(p: Probe) -> Tensor:
    """Mean of s^2 over the singular values of d z_l / d z_0, then over samples: |J|_F^2 / min(m_l, m_0)."""
    return stack([j.square().sum((1, 3)).mean(1) / min(j.shape[1], j.shape[3]) for j in jacobians(p)])


def jacobian_sv_square_var(p: Probe) -> Tensor:
    """Variance of s^2 over its squared mean, mean over samples: k sum s^4 / (sum s^2)^2 - 1, k = min(m_l, m_0)."""
    columns = []
    for j in jacobians(p):
        j = j.transpose(1, 2)  # (R, S, m, m_0)
        k = min(j.shape[2], j.shape[3])
        gram = j @ j.mT if j.shape[2] <= j.shape[3] else j.mT @ j
        columns.append((k * gram.square().sum((2, 3)) / j.square().sum((2, 3)).square() - 1).mean(1))
    return stack(columns)


def jacobian_sv_max(p: Probe) -> Tensor:
    """Largest singular value of d z_l / d z_0, mean over samples."""
    return stack([s[..., 0].mean(1) for s in p.jacobian_spectra])


def jacobian_sv_min(p: Probe) -> Tensor:
    """Smallest singular value of d z_l / d z_0, mean over samples."""
    return stack([s[..., -1].mean(1) for s in p.jacobian_spectra])


def jacobian_sv_median(p: Probe) -> Tensor:
    """Median singular value of d z_l / d z_0 (of the two in the middle their mean), mean over samples."""
    return stack([middle(s).mean(1) for s in p.jacobian_spectra])


def input_jacobian_sv_mean_square(p: Probe) -> Tensor:
    """Mean of s^2 over the singular values of d z_l / d x, then over samples: |J|_F^2 / min(m_l, inputs)."""
    return stack([j.square().sum((1, 3)).mean(1) / min(j.shape[1], j.shape[3]) for j in input_jacobians(p)])


def input_jacobian_sv_max(p: Probe) -> Tensor:
    """Largest singular value of d z_l / d x, mean over samples."""
    return stack([s[..., 0].mean(1) for s in p.input_jacobian_spectra])


def input_jacobian_sv_median(p: Probe) -> Tensor:
    """Median singular value of d z_l / d x, mean over samples."""
    return stack([middle(s).mean(1) for s in p.input_jacobian_spectra])


def input_jacobian_sv_min(p: Probe) -> Tensor:
    """Smallest singular value of d z_l / d x, mean over samples."""
    return stack([s[..., -1].mean(1) for s in p.input_jacobian_spectra])


def middle(s: Tensor) -> Tensor:
    """Median of ordered values (..., k).

    >>> middle(torch.tensor([[9.0, 4.0, 1.0, 0.0], [8.0, 2.0, 2.0, 2.0]]))
    tensor([2.5000, 2.0000])
    """
    k = s.shape[-1]
    return (s[..., (k - 1) // 2] + s[..., k // 2]) / 2


def mean_pair_cosine(x: Tensor) -> Tensor:
    """Mean cosine of all pairs of columns, (R, units, P) -> (R,). All-zero columns have no angle and are left out.

    The sum over pairs is |sum of unit vectors|^2 - their number: no P x P matrix. NaN with fewer than two columns.

    >>> x = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]], dtype=torch.float64)  # 90, 45 and 45 degrees
    >>> abs(mean_pair_cosine(x).item() - 2**0.5 / 3) < 1e-15
    True
    """
    # scaled first, so that squares of tiny activations do not vanish
    x = x / x.abs().amax(1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    n = (length > 0).sum(2).squeeze(1).to(x.dtype)
    total = (x / length.clamp_min(1e-30)).sum(2)
    return (total.square().sum(1) - n) / torch.where(n > 1, n * (n - 1), torch.nan)


def cosine_similarity(p: Probe) -> Tensor:
    """Mean cosine of sample pairs, of each layer's output."""
    return stack([mean_pair_cosine(h) for h in p.outputs])


def preactivation_cosine(p: Probe) -> Tensor:
    """Mean cosine of sample pairs, of each layer's preactivation."""
    return stack([mean_pair_cosine(z) for z in p.zs])


def unit_correlation(p: Probe) -> Tensor:
    """Mean absolute correlation of unit pairs over the probe, of each layer's output.

    Units that do not vary have no correlation and are left out; NaN with fewer than two others.
    """
    return stack([mean_absolute_correlation(h) for h in p.outputs])


def mean_absolute_correlation(x: Tensor) -> Tensor:
    """Mean |corr| over pairs of rows, (R, units, P) -> (R,).

    >>> x = torch.tensor([[[0.0, 1.0, 2.0], [1.0, -1.0, -3.0], [5.0, 5.0, 5.0]]], dtype=torch.float64)
    >>> round(mean_absolute_correlation(x).item(), 12)
    1.0
    """
    centred, varies = centred_rows(x)
    unit = centred / torch.linalg.vector_norm(centred, dim=2, keepdim=True).clamp_min(1e-30)
    n = varies.sum(1).to(x.dtype)
    correlation = torch.bmm(unit, unit.mT).abs()
    pairs = correlation.sum((1, 2)) - correlation.diagonal(dim1=1, dim2=2).sum(1)
    return pairs / torch.where(n > 1, n * (n - 1), torch.nan)


def centred_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (R, units, P) minus their means, zero where a row only varies by rounding; and which vary, (R, units)."""
    centred = x - x.mean(2, keepdim=True)
    size = x.abs().amax(2)
    varies = centred.abs().amax(2) > 8 * torch.finfo(x.dtype).eps * size
    return centred * varies.unsqueeze(2), varies


def activation_participation_ratio(p: Probe) -> Tensor:
    """(sum lambda)^2 / sum lambda^2 of the covariance of each layer's output over the probe: 1 to its rank.

    = (tr C)^2 / |C|_F^2: no eigenvalues needed. NaN where nothing varies.
    """
    columns = []
    for h in p.outputs:
        centred, _ = centred_rows(h)
        scaled = centred / centred.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(h.dtype).tiny)
        c = torch.bmm(scaled, scaled.mT)
        columns.append(c.diagonal(dim1=1, dim2=2).sum(1).square() / c.square().sum((1, 2)))
    return stack(columns)


def unit_spread(p: Probe) -> Tensor:
    """Largest difference between two units of a layer on one sample, over the layer's largest output.

    0: the units are identical, and stay so under gradient descent. NaN where all outputs are 0: there is no size to
    compare with, though such units are identical too.
    """
    return stack([(h.amax(1) - h.amin(1)).amax(1) / h.abs().amax((1, 2)) for h in p.outputs])
