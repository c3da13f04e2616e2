"""Small helpers shared by the initializers: write a matrix without a gradient, draw in the matrix's own type."""

import torch
from torch import Tensor


def put_(weight: Tensor, values: Tensor) -> Tensor:
    """Copy `values` into `weight` in place, outside autograd, and return it.

    >>> put_(torch.empty(1, 2), torch.ones(1, 2))
    tensor([[1., 1.]])
    """
    with torch.no_grad():
        return weight.copy_(values)


def gaussian(weight: Tensor, *shape: int, generator: torch.Generator | None) -> Tensor:
    """A new tensor of standard normal draws, of the weight's type and device; its shape, if none is given.

    >>> gaussian(torch.empty(2, 3), 4, generator=torch.Generator()).shape
    torch.Size([4])
    """
    new = torch.empty(shape or weight.shape, dtype=weight.dtype, device=weight.device)
    return new.normal_(generator=generator)


def signs(weight: Tensor, *shape: int, generator: torch.Generator | None) -> Tensor:
    """A new tensor of fair random signs +1 and -1, of the weight's type.

    >>> set(signs(torch.empty(2, 3), 40, generator=torch.Generator().manual_seed(0)).tolist()) == {1.0, -1.0}
    True
    """
    bits = torch.randint(2, shape or weight.shape, generator=generator, device=weight.device)
    return bits.to(weight.dtype) * 2 - 1


def fans(weight: Tensor) -> tuple[int, int]:
    """`(n, m)` = (fan_in, fan_out) of a `(fan_out, fan_in)` matrix.

    >>> fans(torch.empty(5, 3))
    (3, 5)
    """
    m, n = weight.shape
    return n, m
