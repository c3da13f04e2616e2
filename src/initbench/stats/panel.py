"""The runs of one arm as a rectangle: learning rates by seeds.

A learning rate that cannot win is dropped after some seeds. On these seeds an arm is judged at all its rates, on more
seeds at the rates that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from initbench.stats.rates import budget, column, log_outcome

# what breaks a tie of the mean outcome, and how much it weighs beside a difference of the log outcome
_REACHED, _LOSS, _RATE = 1e-6, 1e-9, 1e-12


@dataclass(frozen=True)
class Panel:
    """One arm. Axes: (L learning rates, ascending; n seeds, ascending). A run that is missing or failed is NaN.

    log: log min(T, tau). reached: whether T is finite. loss: last train loss, diverged = inf. dropped: rates that were not
    tried at all seeds; None: none.
    """

    lrs: np.ndarray  # (L,)
    seeds: np.ndarray  # (n,)
    log: np.ndarray  # (L, n)
    reached: np.ndarray  # (L, n), 0 or 1
    loss: np.ndarray  # (L, n)
    dropped: np.ndarray | None = None  # (L,)

    @cached_property
    def kept(self) -> np.ndarray:
        """(L,) rates tried at all seeds."""
        return np.ones(len(self.lrs), bool) if self.dropped is None else ~self.dropped

    @cached_property
    def usable(self) -> np.ndarray:
        """(n,) seeds with a result at every kept learning rate: only those can be chosen on and judged alike."""
        return np.asarray(~np.isnan(self.log[self.kept]).any(axis=0))

    def at(self, seeds: np.ndarray) -> Panel:
        """The columns of these seeds, all of them usable, at the kept rates and at dropped ones that have all of them."""
        keep = np.isin(self.seeds, seeds)
        rates = ~np.isnan(self.log[:, keep]).any(axis=1)
        tables = (values[np.ix_(rates, keep)] for values in (self.log, self.reached, self.loss))
        return Panel(self.lrs[rates], self.seeds[keep], *tables)

    @cached_property
    def key(self) -> np.ndarray:
        """(L, n) whose smallest mean chooses the rate: outcome; then larger share, lower loss, smaller rate."""
        order = np.unique(np.where(np.isnan(self.loss), np.inf, self.loss), return_inverse=True)[1]
        rank = order.reshape(self.loss.shape) / max(1, order.max(initial=0))
        rate = np.arange(len(self.lrs))[:, None]
        return np.asarray(self.log - _REACHED * self.reached + _LOSS * rank + _RATE * rate)


def panels(runs: pd.DataFrame) -> dict[str, Panel]:
    """{arm: Panel} in the order of the frame. A (seed, rate) met twice counts once, its first row."""
    frame = pd.DataFrame(
        {
            "arm": runs["arm"].astype(str).to_numpy(),
            "lr": runs["optim.lr"].to_numpy(float),
            "seed": runs["seed"].to_numpy(),
            "log": log_outcome(runs),
            "reached": runs["steps_to_target"].notna().to_numpy(float),
            "loss": column(runs, "loss/train"),
            "tau": budget(runs),
            "dropped": runs["lr_dropped"].to_numpy(bool) if "lr_dropped" in runs else False,
        }
    )
    return {str(arm): _panel(part) for arm, part in frame.groupby("arm", sort=False)}


def _panel(part: pd.DataFrame) -> Panel:
    lrs, row = np.unique(part["lr"].to_numpy(), return_inverse=True)
    seeds, place = np.unique(part["seed"].to_numpy(), return_inverse=True)

    def table(values: np.ndarray, absent: float) -> np.ndarray:
        out = np.full((len(lrs), len(seeds)), absent)
        out[row[::-1], place[::-1]] = values[::-1]
        return out

    loss = table(part["loss"].to_numpy(), np.nan)
    dropped = np.isin(lrs, part.loc[part["dropped"].to_numpy(), "lr"])
    return Panel(
        lrs,
        seeds,
        table(part["log"].to_numpy(), np.nan),
        table(part["reached"].to_numpy(), 0.0),
        np.where(np.isnan(loss), np.inf, loss),
        dropped if dropped.any() else None,
    )
