"""Collects series on the device while runs train, and hands them over once, at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from initbench import measure
from initbench.config.arm import Run
from initbench.sharing import Scheme
from initbench.store.chunk import Chunk, Series, blank_after_divergence


class Recorder:
    """Rows of (R,) or (R, k) tensors by metric and step, and how each run ended.

    `runs`: (seed, lr) of those asked for; the first of the R, of which a padded stack has more.
    """

    def __init__(self, scheme: Scheme, runs: Sequence[Run], trained: int, device: str = "cpu") -> None:
        self.scheme, self.runs, self.asked = scheme, tuple(runs), len(runs)
        self.rows: dict[str, list[tuple[int, Tensor]]] = {}
        self.place = torch.arange(trained, device=device)  # of each run still in training among all R
        self.all_there = True
        self.diverged_at = torch.full_like(self.place, -1)
        self.stopped_at = torch.full_like(self.place, -1)

    def add(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Values of one step, (R,) each or (R, k); NaN for runs that have left."""
        for name, value in values.items():
            if not self.all_there:
                whole = value.new_full((len(self.diverged_at), *value.shape[1:]), torch.nan)
                whole[self.place] = value
                value = whole
            self.rows.setdefault(name, []).append((step, value))

    def left(self, gone: Tensor, step: int, diverged_at: Tensor) -> None:
        """Runs, of those still in training, leave at this step."""
        self.end(diverged_at)
        self.stopped_at[self.place[gone]] = step

    def keep(self, places: Tensor) -> None:
        """From now on values come for the runs at these places alone."""
        self.place, self.all_there = self.place[places], False

    def end(self, diverged_at: Tensor) -> None:
        """The steps at which the runs still in training diverged."""
        self.diverged_at[self.place] = diverged_at

    def chunk(self, may_stop: bool) -> Chunk:
        """Everything recorded, as arrays on the host, blank from each run's divergence on."""
        series = {}
        for name, rows in self.rows.items():
            steps = tuple(step for step, _ in rows)
            values = torch.stack([value for _, value in rows], dim=1).cpu().numpy()[: self.asked]
            places = measure.axis(name, self.scheme) if name in measure.MEASURES else None
            layers = None if places is None else tuple(places)
            series[name] = Series(steps, layers, values)
        dead, stopped = (at.cpu().numpy()[: self.asked].astype(np.int64) for at in (self.diverged_at, self.stopped_at))
        return Chunk(self.runs, dead, blank_after_divergence(series, dead), stopped if may_stop else None)
