"""What a net of linear activations is: one matrix, the product of all its layers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from initbench.measure.probe import Probe, input_jacobians


def product(p: Probe) -> Tensor | None:
    """The matrix (R, outputs, inputs) that a linear net computes, skip connections included; None for other nets."""
    if p.activation != "linear" or p.net is None:
        return None
    *_, last = input_jacobians(p)
    return last[:, :, 0]


def product_eigenvalue_max(p: Probe) -> Tensor | None:
    """Largest modulus of the eigenvalues of the product of all layers; absent where inputs and outputs are not as many."""
    moduli = eigenvalue_moduli(p)
    return None if moduli is None else moduli.amax(1)


def product_eigenvalue_min(p: Probe) -> Tensor | None:
    """Smallest modulus of the eigenvalues of the product of all layers."""
    moduli = eigenvalue_moduli(p)
    return None if moduli is None else moduli.amin(1)


def eigenvalue_moduli(p: Probe) -> Tensor | None:
    """|lambda| (R, n) of a linear net's matrix; NaN where it is not finite."""
    w = product(p)
    if w is None or w.shape[1] != w.shape[2]:
        return None
    finite = torch.isfinite(w).all(2).all(1)
    moduli = torch.linalg.eigvals(torch.where(finite[:, None, None], w, 0.0)).abs()
    return torch.where(finite[:, None], moduli, torch.nan)


def mode_strength(p: Probe) -> Tensor | None:
    """u_a^T W v_a of a linear net's matrix W, one column a mode: u_a, v_a the a-th singular vectors of the covariance of
    targets and inputs on the probe, the largest first (Saxe et al. 2013)."""
    w = product(p)
    if w is None or p.targets is None:
        return None
    y = p.targets
    if not y.is_floating_point():
        y = one_hot(y, p.zs[-1].shape[1]).transpose(1, 2).to(w.dtype)
    covariance = torch.bmm(y - y.mean(2, keepdim=True), p.hs[0].transpose(1, 2))  # times P
    u, _, vt = torch.linalg.svd(covariance, full_matrices=False)
    return torch.bmm(u.transpose(1, 2), torch.bmm(w, vt.transpose(1, 2))).diagonal(dim1=1, dim2=2)
