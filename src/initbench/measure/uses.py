"""What each use of a shared weight pulls at: gradients of single uses, in stored space."""

from __future__ import annotations

import torch
from torch import Tensor

from initbench.measure.probe import Probe, cosine, dot, norm, shared, shared_layers, stack


def use_grad_norm(p: Probe) -> Tensor:
    """Norm of each use's gradient."""
    return stack([norm(p.use_grads[i]) for i in shared_layers(p.scheme)])


def use_grad_cosine(p: Probe) -> Tensor:
    """Cosine of each use's gradient with the sum of the others."""
    columns: dict[int, Tensor] = {}
    for slot in shared(p.scheme):
        uses = [p.use_grads[i] for i in slot.layers]
        total = torch.stack(uses).sum(0)
        columns |= {layer: cosine(g, total - g) for layer, g in zip(slot.layers, uses)}
    return stack([columns[layer] for layer in shared_layers(p.scheme)])


def use_grad_alignment(p: Probe) -> Tensor:
    """|sum of uses| / sum of |uses|: 1 if they pull alike, 0 if they cancel."""
    columns = []
    for slot in shared(p.scheme):
        uses = [p.use_grads[i] for i in slot.layers]
        columns.append(norm(torch.stack(uses).sum(0)) / stack([norm(u) for u in uses]).sum(1))
    return stack(columns)


def use_grad_coherence(p: Probe) -> Tensor:
    """sum_{i != j} <g_i, g_j> / sum_{i != j} |g_i||g_j|: 0 independent, 1 aligned."""
    columns = []
    for slot in shared(p.scheme):
        uses = [p.use_grads[i] for i in slot.layers]
        norms = stack([norm(u) for u in uses])
        squares = norms.square().sum(1)
        total = torch.stack(uses).sum(0)
        columns.append((dot(total, total) - squares) / (norms.sum(1).square() - squares))
    return stack(columns)
