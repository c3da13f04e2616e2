"""Which learning rates of an arm can still win: its best one, whether that lies at an end of the grid, and which to drop."""

from __future__ import annotations

import numpy as np

from initbench.stats.panel import Panel

HOPELESS = 3.5  # standard errors by which a rate must be worse than the best one to be dropped


def best(panel: Panel) -> int:
    """Index of the rate with the smallest mean outcome over the usable seeds, among those tried at all seeds.

    >>> panel = Panel(np.array([0.1, 1.0]), np.arange(2), np.log([[8.0, 8.0], [2.0, 2.0]]), np.ones((2, 2)), np.ones((2, 2)))
    >>> best(panel)
    1
    """
    means = panel.key[:, panel.usable].mean(axis=1) if panel.usable.any() else np.zeros(len(panel.lrs))
    return int(np.argmin(np.where(panel.kept, means, np.inf)))


def edge(panel: Panel) -> str:
    """At which end of all rates tried the best one lies: "low", "high", "only" where there is one, or ""."""
    at = best(panel)
    if len(panel.lrs) == 1:
        return "only"
    return "low" if at == 0 else "high" if at == len(panel.lrs) - 1 else ""


def hopeless(panel: Panel) -> np.ndarray:
    """(L,) rates that cannot win: on at least 8 usable seeds, worse than the best by 3.5 standard errors of the paired mean.

    The rule looks at one arm alone, so it favours none; the rates that are left are chosen from by cross-fitting.

    >>> log = np.log([[9.0, 8, 9, 8, 9, 8, 9, 8], [2.0, 3, 2, 3, 2, 3, 2, 3]])
    >>> hopeless(Panel(np.array([0.1, 1.0]), np.arange(8), log, np.ones((2, 8)), np.ones((2, 8)))).tolist()
    [True, False]
    """
    log, n = panel.log[:, panel.usable], int(panel.usable.sum())
    if n < 8:
        return np.zeros(len(panel.lrs), bool)
    worse = log - log[best(panel)]
    error = worse.std(axis=1, ddof=1) / np.sqrt(n)
    return np.asarray(panel.kept & (worse.mean(axis=1) > HOPELESS * error + 1e-9))
