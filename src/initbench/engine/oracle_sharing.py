"""The formulas of sharing a second time, from their definitions, one run's matrices at a time: what the oracle computes.

They take nothing from the package's own but the tables that are drawn: indices, signs, P.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initbench.sharing import Formula

Get = Callable[[str], Tensor]


def transposed(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """W of the encoder, W^T of the decoder."""
    return get(slot) if slot == f"weight_{layer:02d}" else get(slot).T


def low_rank_delta(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """W0 + B_l A_l."""
    return get(slot) + get(f"delta_out_{layer:02d}") @ get(f"delta_in_{layer:02d}")


def scaled(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """diag(s_l) W0 diag(t_l)."""
    return torch.diag(get(f"scale_out_{layer:02d}")) @ get(slot) @ torch.diag(get(f"scale_in_{layer:02d}"))


def coefficients(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """sum_j a_lj T_j."""
    return torch.einsum("k,kmn->mn", get(f"coefficients_{layer:02d}"), get(slot))


def hashed(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Any) -> Tensor:
    """Entry by entry from the table of the hash."""
    values = get(slot)
    rows = [[values[k] * s for k, s in zip(ks, ss)] for ks, ss in zip(formula.index.tolist(), formula.sign.tolist())]
    return torch.stack([torch.stack(row) for row in rows])


def rolled(values: Tensor, rows: int, columns: int, size: int) -> Tensor:
    """The upper left (rows, columns) part of the circulant (size, size) whose first row is `values`, each row turned
    one to the right; `values` holds only the offsets that the part shows, ascending."""
    used = sorted({(j - i) % size for i in range(rows) for j in range(columns)})
    first = values.new_zeros(size).index_put((torch.tensor(used),), values)
    return torch.stack([torch.roll(first, i)[:columns] for i in range(rows)])


def circulant(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Any) -> Tensor:
    """Stacked circulants times the diagonal of signs."""
    m, n = shape
    parts, values = [], get(slot)
    for start in range(0, m, n):
        parts.append(rolled(values[start : start + n], min(n, m - start), n, n))
    return torch.cat(parts) @ torch.diag(torch.from_numpy(formula.sign[0]).to(values))


def block_circulant(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Any, b: int) -> Tensor:
    """Blocks (b, b), cut at the edge."""
    values, rows, taken = get(slot), [], 0
    for top in range(0, shape[0], b):
        row = []
        for left in range(0, shape[1], b):
            m, n = min(b, shape[0] - top), min(b, shape[1] - left)
            count = len({(j - i) % b for i in range(m) for j in range(n)})
            row.append(rolled(values[taken : taken + count], m, n, b))
            taken += count
        rows.append(torch.cat(row, dim=1))
    return torch.cat(rows)


def shared_basis(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """B C_l."""
    return torch.einsum("mr,rn->mn", get(slot), get(f"coefficients_{layer:02d}"))


def permuted(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """Rows and columns of W0 in another order."""
    rows, columns = get(f"permuted_out_{layer:02d}").argmax(1), get(f"permuted_in_{layer:02d}").argmax(0)
    return get(slot)[rows][:, columns]


def rotated(get: Get, slot: str, layer: int, shape: tuple[int, int], formula: Formula) -> Tensor:
    """P_l W0 Q_l."""
    return torch.einsum("ij,jk,kl->il", get(f"rotated_out_{layer:02d}"), get(slot), get(f"rotated_in_{layer:02d}"))


def intrinsic(get: Get, slot: str, layer: int, shape: tuple[int, ...], formula: Any) -> Tensor:
    """theta_0 + P z, P written out."""
    rows = int(np.prod(shape))
    if formula.kind == "dense":
        p = formula.table()[0]
    else:
        row, column, value = formula.table()
        p = np.zeros((rows, formula.columns))
        p[row, column] = value
    z = get("z")
    return get(slot) + (torch.from_numpy(p).to(z) @ z).reshape(shape)


FORMULAS: dict[str, Callable[..., Tensor]] = {
    "transposed": transposed,
    "low_rank_delta": low_rank_delta,
    "scaled": scaled,
    "coefficients": coefficients,
    "shared_basis": shared_basis,
    "permuted": permuted,
    "rotated": rotated,
    "intrinsic": intrinsic,
    "hashed": hashed,
    "hashed_global": hashed,
    "circulant": circulant,
    "block_circulant": block_circulant,
}
BIASES: dict[str, Callable[..., Tensor]] = {"intrinsic": intrinsic}
