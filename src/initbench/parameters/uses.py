"""Where parameters are used: each use in a forward pass is seen, and has a gradient of its own.

A torch function mode sees every torch function that the forward pass calls, so it makes no difference whether a layer
is reused, tied to another one, or its parameter handed to `torch.nn.functional` by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from initbench.errors import refusal
from initbench.parameters.naming import check_module, stored_parameters
from initbench.parameters.storage import evaluating

# attributes of a parameter that are tensors but not its value; .T or .data are uses
READS = ("grad", "_grad", "_base")


class Uses(TorchFunctionMode):
    """Inside: notes each use of these parameters. With `split`, a use sees an alias that is its own node in the graph,
    so that the gradient of each use can be asked for."""

    def __init__(self, parameters: Mapping[int, str], split: bool = False) -> None:
        super().__init__()
        self.parameters, self.split = parameters, split
        self.seen: list[tuple[str, Tensor]] = []  # (slot, what this use sees)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if (
            getattr(func, "__name__", "") == "__get__"
            and getattr(getattr(func, "__self__", None), "__name__", "") in READS
        ):
            return func(*args, **kwargs)

        def use(value: Any) -> Any:
            if not isinstance(value, nn.Parameter) or id(value) not in self.parameters:
                return value
            alias = value.view_as(value) if self.split and torch.is_grad_enabled() else value
            used.append((self.parameters[id(value)], alias))
            return alias

        used: list[tuple[str, Tensor]] = []
        args, kwargs = tree_map(use, args), tree_map(use, kwargs)
        result = func(*args, **kwargs)
        # .size(), .dim(), is_floating_point(p): questions about a parameter, not uses of it
        if used and any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            self.seen += used
        return result


@contextmanager
def quiet(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, no graph, and the random state put back: a forward pass that leaves no trace."""
    with evaluating(module), torch.no_grad(), torch.random.fork_rng(devices=[]):
        yield


def count_uses(module: nn.Module, inputs: Any) -> dict[str, int]:
    """How often each stored parameter is used in one forward pass.

    It leaves no trace: evaluation mode, no graph, and the random state put back.

    Formula:
        uses(p) = number of torch functions of the pass that receive p and return a tensor.

    Args:
        module: any nn.Module.
        inputs: a batch (N, ...), or a tuple of arguments.

    Returns:
        Uses by the first dotted name of each parameter.

    Raises:
        InputError: not a module.

    Examples:
        >>> shared = nn.Linear(2, 2)
        >>> count_uses(nn.Sequential(shared, nn.ReLU(), shared), torch.ones(1, 2))
        {'0.weight': 2, '0.bias': 2}

    Source:
        initbench; the reused layer is that of Dive into Deep Learning, 5.1.3 and 5.2.3.
    """
    check_module("count_uses", module)
    known = stored_parameters(module)
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    with quiet(module), Uses({id(one.tensor): one.slot for one in known}) as uses:
        module(*given)
    counts = {one.slot: 0 for one in known}
    for slot, _ in uses.seen:
        counts[slot] += 1
    return counts


def use_gradients(module: nn.Module, loss: Callable[[], Tensor], values: bool = False) -> pd.DataFrame:
    """The gradient of each USE of each trainable parameter; a stored parameter's gradient is their sum. No `.grad` changes.

    Formula:
        dL/dw = sum_u g_u, g_u = dL / d(the copy of w that use u sees); cosine_u = (g_u · r_u) / (|g_u| |r_u|), r_u = sum of
        the other uses.

    Args:
        module: any nn.Module.
        loss: computes the loss, a tensor of one number, by a forward pass of `module`.
        values: whether to add the gradients themselves.

    Returns:
        One row per use, in order of the forward pass: `name` (first dotted name), `use` (0, 1, ...), `uses`, `norm`
        (Frobenius), `cosine` (-1 to 1; NaN for a single use, or where one of the two is 0), and with `values` `gradient`,
        in the parameter's shape.

    Raises:
        InputError: not a module, or `loss()` returned no number that depends on the parameters.

    Examples:
        >>> shared = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(shared.weight, 3.0)
        >>> net = nn.Sequential(shared, shared)  # w w x: each use contributes w x
        >>> use_gradients(net, lambda: net(torch.ones(1, 1)).sum())[["name", "use", "norm", "cosine"]].values.tolist()
        [['0.weight', 0, 3.0, 1.0], ['0.weight', 1, 3.0, 1.0]]

    Source:
        The chain rule with shared weights: Rumelhart, Hinton & Williams 1986 (unfolded recurrent nets); Dive into Deep
        Learning, 5.2.3.
    """
    check_module("use_gradients", module)
    known = {id(one.tensor): one.slot for one in stored_parameters(module) if one.tensor.requires_grad}
    with torch.enable_grad(), Uses(known, split=True) as uses:
        value = loss()
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise refusal(
            "use_gradients", "loss() returned no loss", "return a tensor of one number that depends on the parameters"
        )
    aliases = [alias for _, alias in uses.seen]
    found = torch.autograd.grad(value.reshape(()), aliases, allow_unused=True) if aliases else ()
    grads: dict[str, list[Tensor]] = {slot: [] for slot in known.values()}
    for (slot, _), gradient in zip(uses.seen, found):
        if gradient is not None:  # an alias that the loss does not depend on is no use
            grads[slot].append(gradient)
    rows = []
    for slot, uses_of_it in grads.items():
        total = sum(uses_of_it[1:], uses_of_it[0]) if uses_of_it else torch.zeros(())
        for index, gradient in enumerate(uses_of_it):
            row = {
                "name": slot,
                "use": index,
                "uses": len(uses_of_it),
                "norm": float(torch.linalg.vector_norm(gradient)),
                "cosine": cosine(gradient, total - gradient) if len(uses_of_it) > 1 else float("nan"),
            }
            rows.append({**row, "gradient": gradient} if values else row)
    columns = ["name", "use", "uses", "norm", "cosine", *(["gradient"] if values else [])]
    return pd.DataFrame(rows, columns=columns)


def cosine(a: Tensor, b: Tensor) -> float:
    """a . b / (|a| |b|); NaN where one is zero.

    >>> cosine(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 0.0]))
    -1.0
    """
    return float((a * b).sum() / (torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)))
