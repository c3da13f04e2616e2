"""Collects series on the device while runs train, and hands them over once, at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from initbench import measure
from initbench.engine.chunk import Chunk, Series, blank_after_divergence
from initbench.sharing import Scheme


class Recorder:
    """Rows of (R,) or (R, k) tensors by metric and step; `chunk` turns them into arrays."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme
        self.rows: dict[str, list[tuple[int, Tensor]]] = {}
        self.place: Tensor | None = None  # of each run still in the stack among all; None while all are
        self.total = 0

    def add(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Values of one step, (R,) each or (R, k); NaN for runs that have left."""
        for name, value in values.items():
            if self.place is not None:
                whole = value.new_full((self.total, *value.shape[1:]), torch.nan)
                whole[self.place] = value
                value = whole
            else:
                self.total = len(value)
            self.rows.setdefault(name, []).append((step, value))

    def keep(self, kept: Tensor) -> None:
        """From now on values come for some of the runs alone: those at these places of the last stack."""
        self.place = kept if self.place is None else self.place[kept]

    def chunk(self, runs: Sequence[tuple[int, float]], diverged_at: Tensor, stopped_at: Tensor | None = None) -> Chunk:
        """Everything recorded, as arrays on the host, blank from each run's divergence on."""
        series = {}
        for name, rows in self.rows.items():
            steps = tuple(step for step, _ in rows)
            values = torch.stack([value for _, value in rows], dim=1).cpu().numpy()[: len(runs)]
            layers = tuple(measure.axis(name, self.scheme)) if name in measure.MEASURES else None
            series[name] = Series(steps, layers, values)
        dead = diverged_at.cpu().numpy()[: len(runs)].astype(np.int64)
        stopped = None if stopped_at is None else stopped_at.cpu().numpy()[: len(runs)].astype(np.int64)
        return Chunk(tuple(runs), dead, blank_after_divergence(series, dead), stopped)
