"""Values and edits that a person gives for a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initbench.errors import refusal

EDITS = ("multiply", "add", "entries")


def put_values(tensor: Tensor, values: Any, name: str) -> None:
    """Copy given values of the same shape."""
    try:
        given = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values)).to(tensor)
    except (TypeError, ValueError) as error:
        raise refusal(
            f"initialize_: {name}",
            f"these values are not an array of numbers ({error})",
            "give numbers in the shape of the parameter",
        ) from None
    if given.shape != tensor.shape:
        raise refusal(
            f"initialize_: {name}",
            f"has shape {tuple(tensor.shape)}, the values {tuple(given.shape)}",
            "give values of the same shape",
        )
    tensor.copy_(given)


def edit(tensor: Tensor, changes: Mapping[str, Any], name: str) -> None:
    """x <- multiply x + add, then single entries [row, column, value]."""
    for key in changes:
        if key not in EDITS:
            raise refusal(
                f"initialize_: {name}",
                f"{key} is not an edit",
                f"must be one of: {', '.join(EDITS)}, or name: INIT",
            )
    tensor.mul_(changes.get("multiply", 1)).add_(changes.get("add", 0))
    for entry in changes.get("entries", []):
        *index, value = entry
        if len(index) != tensor.ndim or not all(-n <= i < n for i, n in zip(index, tensor.shape)):
            raise refusal(
                f"initialize_: {name}",
                f"entry {list(entry)} is not an [index, value] in shape {tuple(tensor.shape)}",
                "give one index a dimension, then the value",
            )
        tensor[tuple(index)] = value
