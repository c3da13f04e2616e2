"""Signals: what travels forward and backward through the layers. Each gives (R, k), one column per layer."""

from __future__ import annotations

from torch import Tensor

from initbench.config.activations import ACTIVATIONS
from initbench.measure.probe import Probe, msq, spread, stack


def dead_fraction(p: Probe) -> Tensor | None:
    """Share of units with phi' = 0 on the whole probe; absent for smooth phi."""
    if not ACTIVATIONS[p.activation].kinked or len(p.layers) < 2:
        return None
    if p.activation == "relu":  # phi'(z) = 0 on all samples exactly if the largest z is not above 0
        return stack([(z.amax(2) <= 0).to(z.dtype).mean(1) for z in p.zs[:-1]])
    # the largest slope of a unit is 0; torch's `all` along an axis takes ten times as long as `amax`
    return stack([(p.slope(i).abs().amax(2) == 0).to(p.zs[i].dtype).mean(1) for i in p.layers[:-1]])


def saturated_fraction(p: Probe) -> Tensor | None:
    """Share of activations within 1% of the range's width from either end; absent if phi is unbounded."""
    bounds = ACTIVATIONS[p.activation].range
    if bounds is None:
        return None
    low, high = bounds
    margin = 0.01 * (high - low)
    return stack([((h < low + margin) | (h > high - margin)).to(h.dtype).flatten(1).mean(1) for h in p.hs[1:]])


def backward_msq(p: Probe) -> Tensor:
    """Mean square of d loss_i / d preactivation; loss_i is one sample's, P times its part of the mean loss."""
    return stack([msq(dz) * dz.shape[2] ** 2 for dz in p.dzs])


def activation_change_msq(p: Probe) -> Tensor | None:
    """Mean square change of each layer's output since step 0 (coordinate check); absent at step 0."""
    if p.start is None:
        return None
    return stack([msq(h - start) for h, start in zip(p.outputs, p.start.outputs)])


def by_sample(x: Tensor) -> Tensor:
    """Mean square of each sample, (R, units, P) -> (R, P)."""
    return x.square().mean(1)


def sample_std(x: Tensor) -> Tensor:
    """Standard deviation over samples of their mean squares, (R,)."""
    return spread(by_sample(x))
