"""The parameters of any module as a table: one row per stored parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from initbench.parameters.naming import Stored, check_module, constants, stored_parameters
from initbench.parameters.storage import check_shaped, memories
from initbench.parameters.uses import count_uses

NAN = float("nan")


class ParameterTable(pd.DataFrame):
    """A table of parameters; what is computed from it is an ordinary frame."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        """For a notebook: every name has a row, and those of one stored parameter are linked."""
        columns = [
            name for name in self.columns if name not in ("name", "aliases", "slot", "memory_with", "value", "grad")
        ]
        lines = ["".join(f"<th>{escape(name)}</th>" for name in ("name", *columns))]
        for record in self.to_dict("records"):
            own = str(record["name"])
            beside = "".join(f"<br>same memory as {linked(other)}" for other in record["memory_with"])
            cells = "".join(f"<td>{escape(cell(record[name]))}</td>" for name in columns)
            lines.append(f'<td id="{anchor(own)}"><b>{escape(own)}</b>{beside}</td>{cells}')
            lines += [
                f'<td>&#8627; {escape(alias)}</td><td colspan="{len(columns)}">the same parameter as {linked(own)}</td>'
                for alias in record["aliases"]
            ]
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def anchor(name: str) -> str:
    """Where a row of the table is linked to."""
    return escape(f"parameter-{name}")


def linked(name: str) -> str:
    """A name as a link to its row."""
    return f'<a href="#{anchor(name)}">{escape(name)}</a>'


def cell(value: Any) -> str:
    """A value as the table shows it.

    >>> cell((2, 3)), cell(0.123456), cell(float("nan")), cell(True)
    ('2x3', '0.1235', '', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


def parameter_table(module: nn.Module, *, inputs: Any = None, values: bool = False) -> ParameterTable:
    """One row per stored parameter of a module; a tied one has one row with every name that uses it.

    Buffers and constants: `constant_table`.

    Formula:
        norm = sqrt(sum_i w_i^2) (Frobenius), mean = sum_i w_i / n, std = sqrt(sum_i (w_i - mean)^2 / n), n = `count`.

    Args:
        module: any nn.Module.
        inputs: a batch (N, ...), or a tuple of arguments of one forward pass, which then counts uses.
        values: whether to add detached copies of values and gradients.

    Returns:
        Columns `name` (its first dotted name), `aliases` (all others), `slot` (= name), `shape`, `dtype`, `device`,
        `trainable`, `count` (entries), `mean`, `std`, `min`, `max`, `norm`, `grad_norm` (NaN before a backward pass),
        `shared` (more than one name, more than one use, or common memory), `memory_with` (other parameters that hold some
        of the same memory; an optimizer updates each). With `inputs` also `uses`: how often one forward pass uses it. With
        `values` also `value` and `grad` (None before a backward pass).

    Raises:
        InputError: not a module, or a parameter that has no shape yet.

    Examples:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> parameter_table(net)[["name", "shape", "count"]].values.tolist()
        [['0.weight', (8, 4), 32], ['0.bias', (8,), 8], ['2.weight', (1, 8), 8], ['2.bias', (1,), 1]]

    Source:
        Dive into Deep Learning, 5.2.1 (parameter access).
    """
    check_module("parameter_table", module)
    known = stored_parameters(module)
    check_shaped((one.slot, one.tensor) for one in known)
    beside: dict[str, list[str]] = {one.slot: [] for one in known}
    for pair in memories([one.tensor for one in known]):
        for this, other in (pair, pair[::-1]):
            beside[known[this].slot].append(known[other].slot)
    uses = None if inputs is None else count_uses(module, inputs)
    rows = [row(one, beside[one.slot], None if uses is None else uses[one.slot], values) for one in known]
    extra = [*(["uses"] if inputs is not None else []), *(["value", "grad"] if values else [])]
    return ParameterTable(rows, columns=[*COLUMNS, *extra])


COLUMNS = [
    *("name", "aliases", "slot", "shape", "dtype", "device", "trainable", "count"),
    *("mean", "std", "min", "max", "norm", "grad_norm", "shared", "memory_with"),
]


def row(one: Stored, beside: Sequence[str], uses: int | None, values: bool) -> dict[str, Any]:
    """One row of the table."""
    tensor = one.tensor
    line = {
        "name": one.slot,
        "aliases": one.names[1:],
        "slot": one.slot,
        **described(tensor),
        "trainable": tensor.requires_grad,
        **statistics(tensor),
        "grad_norm": NAN if tensor.grad is None else float(torch.linalg.vector_norm(tensor.grad)),
        "shared": len(one.names) > 1 or bool(beside) or (uses or 0) > 1,
        "memory_with": tuple(beside),
    }
    if uses is not None:
        line["uses"] = uses
    if values:
        line["value"] = tensor.detach().clone()
        line["grad"] = None if tensor.grad is None else tensor.grad.detach().clone()
    return line


def described(tensor: Tensor) -> dict[str, Any]:
    """Shape, type, place and size.

    >>> described(torch.ones(2, 3))
    {'shape': (2, 3), 'dtype': 'float32', 'device': 'cpu', 'count': 6}
    """
    return {
        "shape": tuple(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "device": str(tensor.device),
        "count": tensor.numel(),
    }


def statistics(tensor: Tensor) -> Mapping[str, float]:
    """Mean, standard deviation (no Bessel correction), extremes and Frobenius norm over all entries; NaN if there are
    none.

    >>> statistics(torch.tensor([3.0, -1.0]))["std"]
    2.0
    """
    if not tensor.numel() or tensor.is_complex() or tensor.is_meta or tensor.is_quantized:
        return dict.fromkeys(("mean", "std", "min", "max", "norm"), NAN)
    x = (tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()).double()
    return {
        "mean": float(x.mean()),
        "std": float(x.std(correction=0)),
        "min": float(x.min()),
        "max": float(x.max()),
        "norm": float(torch.linalg.vector_norm(x)),
    }


def constant_table(module: nn.Module, values: bool = False) -> pd.DataFrame:
    """One row per tensor of a module that is not a parameter and that no optimizer changes.

    Formula:
        mean, std and norm as in `parameter_table`.

    Args:
        module: any nn.Module.
        values: whether to add a detached copy of each.

    Returns:
        Columns `name`, `kind` (buffer: moves and is saved with the module; attribute: a plain tensor, which does neither),
        `shape`, `dtype`, `device`, `count`, `mean`, `std`, `min`, `max`, `norm`; with `values` also `value`.

    Raises:
        InputError: not a module.

    Examples:
        >>> constant_table(nn.BatchNorm1d(3))[["name", "kind", "count"]].values.tolist()
        [['running_mean', 'buffer', 3], ['running_var', 'buffer', 3], ['num_batches_tracked', 'buffer', 1]]

    Source:
        Dive into Deep Learning, 5.1.3 (a constant matrix in a forward pass).
    """
    check_module("constant_table", module)
    rows = []
    for name, kind, tensor in constants(module):
        line = {"name": name, "kind": kind, **described(tensor), **statistics(tensor)}
        rows.append({**line, "value": tensor.detach().clone()} if values else line)
    columns = ["name", "kind", "shape", "dtype", "device", "count", "mean", "std", "min", "max", "norm"]
    return pd.DataFrame(rows, columns=[*columns, *(["value"] if values else [])])
