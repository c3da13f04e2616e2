"""A study that was looked at until it was decided: the interval of each pair, look by look, one panel a pair."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from initbench.report import numbers as num
from initbench.report.figures.common import WIDTH, axis_words, canvas, finite, inches, log_axis, of_arm, rule
from initbench.report.palette import ALARM, INK, MUTED, SERIES, SHADE

PANELS = 24
SIDES = 8.0  # as in the forest: wider says nothing any more
COLOURS = {"faster": SERIES[2], "slower": SERIES[1], "equivalent": SERIES[0], "undecided": MUTED}


def paths(looks: pd.DataFrame, arms: list[str], sizes: list[int]) -> Figure:
    """Ratio to the baseline with its interval against seeds, in the order of `arms`; the word where it fell.

    looks: rows of study.json's looks. `sizes`: planned seeds of each look, evenly spaced on the axis. A look at which only
    one of the two arrives has no ratio, but counts.
    """
    shown = arms[:PANELS]
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    wide, high = (WIDTH - 0.5) / columns, 1.35
    figure = canvas(rows * high + 0.45)
    ends = finite([1.0, *looks["ratio"], *looks["ratio_low"], *looks["ratio_high"]])
    low = max(min(float(ends.min()) / 1.1, 1 / 1.5), 1 / SIDES)
    high_end = min(max(float(ends.max()) * 1.1, 1.5), SIDES)
    for k, arm in enumerate(shown):
        i, j = divmod(k, columns)
        ax = inches(figure, 0.45 + j * wide, 0.4 + (rows - 1 - i) * high, wide - 0.12, high - 0.32)
        part = looks[looks["arm"] == arm].sort_values("look")
        _panel(ax, part, (low, high_end), len(sizes))
        title = num.shorten(str(part["setup"].iloc[0]), 26 if columns > 2 else 40)
        of_arm(arm, ax.set_title(title, fontsize=8, pad=4.5))
        below = i == rows - 1 or k + columns >= len(shown)
        ax.set_xticks(range(len(sizes)), [str(n) if below else "" for n in sizes])
        if j:
            ax.set_yticklabels([])
        ax.tick_params(labelsize=7.5)
    axis_words(figure, "seeds at each look", "steps / the baseline's (log2)")
    return figure


def _panel(ax: Axes, part: pd.DataFrame, ends: tuple[float, float], looks: int) -> None:
    low, high = ends
    ax.set_yscale("log", base=2)
    ax.set_ylim(low, high)
    ax.set_xlim(-0.5, looks - 0.5)
    ax.axhspan(1 / 1.1, 1.1, color=SHADE, linewidth=0, zorder=0)
    ax.axhline(1, color=MUTED, linewidth=0.8, zorder=1)
    rule(ax, "y")
    ticks = [t for t in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0) if low * 0.99 <= t <= high * 1.01]
    log_axis(ax.yaxis, ticks, lambda v: f"{v:g}x")
    for _, row in part.iterrows():
        last = row["look"] == part["look"].max()
        word = str(row["verdict"])
        colour = COLOURS.get(word, MUTED) if last else MUTED
        x, above = int(row["look"]), 1.0
        if num.is_missing(row["ratio"]):
            y = math.sqrt(low * high) if high / low > 4 else 1.0
            text = f"{row['reached']}:{row['reached_baseline']}"
            ax.annotate(text, (x, y), ha="center", va="center", fontsize=7, color=ALARM if last else MUTED)
            above = y
        else:
            bottom, top = np.clip([row["ratio_low"], row["ratio_high"]], low, high)
            ax.plot([x, x], [bottom, top], color=colour, linewidth=2 if last else 1.2, solid_capstyle="butt")
            ax.plot([x], np.clip([row["ratio"]], low, high), "o" if word != "undecided" else "s", color=colour, markersize=4.5,
                    markerfacecolor=colour if last and word != "undecided" else "none")  # fmt: skip
            above = float(top)
        if last:
            up = above < high / 1.35
            at = above if up or num.is_missing(row["ratio"]) else float(np.clip(row["ratio_low"], low, high))
            ha = "left" if x == 0 else "right" if x == looks - 1 else "center"
            ax.annotate(word, (x, at), xytext=({"left": -6, "right": 6, "center": 0}[ha], 6 if up else -6), ha=ha,
                        textcoords="offset points", va="bottom" if up else "top", fontsize=7.5, color=INK)  # fmt: skip
