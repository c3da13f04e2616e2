"""What a start costs that sees the whole net: its passes, counted while it makes them.

A forward pass of B samples is 2 B n m operations a layer. The gradient of something costs twice that thing more, two
products for each product: a value with its gradient is 3 forward passes (the 6 B n m of a training step), with the
gradient of that 9, and once more 27. What is no pass (singular values, clusters, draws) is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Spent:
    """Operations so far."""

    flops: float = 0.0


_counting: list[Spent] = []  # the innermost last


def forward_flops(module: nn.Module, samples: int) -> int:
    """Operations of one forward pass: 2 B sum n m over the nn.Linear layers, also of those that share a weight.

    >>> forward_flops(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), samples=10)
    180
    """
    parts = (part for part in module.modules() if isinstance(part, nn.Linear))
    return 2 * samples * sum(part.in_features * part.out_features for part in parts)


@contextmanager
def counted(module: nn.Module) -> Iterator[Spent]:
    """Inside: every forward pass through an nn.Linear of the net counts, and what `gradients` is told.

    >>> net = nn.Linear(2, 3)
    >>> with counted(net) as spent:
    ...     output = net(Tensor([[1.0, 2.0]]))
    >>> spent.flops
    12.0
    """
    spent = Spent()

    def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        spent.flops += 2 * output.numel() * args[0].shape[-1]

    hooks = [part.register_forward_hook(hook) for part in module.modules() if isinstance(part, nn.Linear)]
    _counting.append(spent)
    try:
        yield spent
    finally:
        _counting.pop()
        for one in hooks:
            one.remove()


def gradients(module: nn.Module, samples: int, order: int = 1) -> None:
    """Tell that a forward pass of so many samples is differentiated `order` times: 3^order - 1 more of it.

    Nothing happens where nobody counts.

    >>> net = nn.Linear(2, 3)
    >>> with counted(net) as spent:
    ...     net(Tensor([[1.0, 2.0]])).sum().backward()
    ...     gradients(net, samples=1)
    >>> spent.flops
    36.0
    """
    if _counting:
        _counting[-1].flops += (3**order - 1) * forward_flops(module, samples)
