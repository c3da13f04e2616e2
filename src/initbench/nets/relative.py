"""Relative scale: the first layer times a, the last over a, whatever initializer fills them.

A ReLU net's function is unchanged, since relu(a z) = a relu(z); its balance |W_1|^2 against |W_L|^2, which gradient flow
conserves, is not, and with it whether features or the head learn first (Kunin et al. 2024, 2406.06158).
"""

from __future__ import annotations

from collections.abc import Sequence

from initbench.config.groups import LayerSpec


def relative_factors(a: float, layers: Sequence[LayerSpec]) -> tuple[tuple[float, float], ...]:
    """Factor of each layer's weight and bias at the start: what follows the first layer is a times as large, so hidden
    biases are too.

    >>> relative_factors(2.0, [LayerSpec(i, 2, 3, 3) for i in range(3)])
    ((2.0, 2.0), (1.0, 2.0), (0.5, 1.0))
    """
    return tuple((a if layer.first else 1 / a if layer.last else 1.0, 1.0 if layer.last else a) for layer in layers)
