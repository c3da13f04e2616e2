"""F10 critical-difference diagram: setups at their average rank, bars over those that could not be told apart."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from initbench.report import numbers as num
from initbench.report.figures.common import LABEL, WIDTH, bare, canvas, inches
from initbench.report.palette import INK, MUTED, SERIES
from initbench.stats import AverageRanks

MOST = 24  # setups
SIDE, TOP, BAR, ROW = 2.35, 0.45, 0.13, 0.2  # inches: beside and above the axis, between bars, between names


def critical_difference(found: AverageRanks) -> Figure:
    """Names to the left of the better half, to the right of the other; a bar has a dot at each setup that it joins."""
    k = min(len(found.setups), MOST)
    groups = [kept for group in found.groups if len(kept := [i for i in group if i < k]) > 1]
    half = math.ceil(k / 2)
    names = TOP + 0.15 + BAR * len(groups) + 0.1
    figure = canvas(names + ROW * half)
    ax = inches(figure, 0, 0, *figure.get_size_inches())
    bare(ax)
    ax.set_xlim(0, WIDTH)
    ax.set_ylim(names + ROW * half, 0)
    x = SIDE + (WIDTH - 2 * SIDE) * (found.ranks - 1) / max(len(found.setups) - 1, 1)
    _axis(ax, len(found.setups))
    for i in range(k):
        left = i < half
        y = names + ROW * ((i if left else k - 1 - i) + 0.3)
        end = SIDE - 0.15 if left else WIDTH - SIDE + 0.15
        ax.plot([x[i], x[i], end], [TOP, y, y], color=MUTED, linewidth=0.8)
        label = num.shorten(found.setups[i], LABEL - 5)
        text = f"{label}  {found.ranks[i]:.2f}" if left else f"{found.ranks[i]:.2f}  {label}"
        ax.text(end + (-0.06 if left else 0.06), y, text, ha="right" if left else "left", va="center", fontsize=8.5)
    for row, group in enumerate(groups):
        y = TOP + 0.15 + BAR * row
        ax.plot(x[group], np.full(len(group), y), "o-", color=SERIES[0], linewidth=3, markersize=5.5)
    return figure


def _axis(ax: Axes, k: int) -> None:
    """The ranks, 1 to the left."""
    ax.plot([SIDE, WIDTH - SIDE], [TOP, TOP], color=INK, linewidth=1)
    step = max(1, math.ceil((k - 1) / 8))
    for rank in range(1, k + 1, step):
        x = SIDE + (WIDTH - 2 * SIDE) * (rank - 1) / max(k - 1, 1)
        ax.plot([x, x], [TOP, TOP - 0.06], color=INK, linewidth=1)
        ax.text(x, TOP - 0.09, str(rank), ha="center", va="bottom", fontsize=8, color=MUTED)
    ax.text(SIDE - 0.15, TOP, "average rank (1 = fastest)", ha="right", va="center", fontsize=8.5, color=MUTED)
