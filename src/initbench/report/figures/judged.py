"""F8 performance profile, F9 P(faster), and the effects of factors: bars that are intervals, and curves that stop short."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from initbench.report import numbers as num
from initbench.report.figures.common import LABEL, WIDTH, canvas, finite, inches, log_axis, of_arm, rule, series
from initbench.report.palette import INK, MUTED, SERIES, SHADE

ROW = 0.215  # inches
CURVES = 8
_TICKS = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0]


def _rows(count: int, left: float, right: float) -> tuple[Figure, Axes]:
    figure = canvas(ROW * (count + 1) + 0.5)
    ax = inches(figure, left, 0.45, WIDTH - left - right, ROW * count)
    ax.set_ylim(count - 0.5, -0.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    rule(ax)
    return figure, ax


def _name(ax: Axes, y: float, text: str, bold: bool = False) -> Text:
    return ax.annotate(text, (0, y), xycoords=("axes fraction", "data"), xytext=(-8, 0), textcoords="offset points",
                       va="center", ha="right", fontsize=9 if bold else 8.5, fontweight="bold" if bold else "normal")  # fmt: skip


def _right(ax: Axes, y: float, text: str) -> None:
    ax.annotate(text, (1, y), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
                va="center", ha="left", fontsize=8.5, color=INK)  # fmt: skip


def p_faster(pairs: pd.DataFrame) -> Figure:
    """One bar per setup against the baseline: the Wilson interval of P(faster), a dot at the share, a line at 1/2."""
    figure, ax = _rows(len(pairs), 2.15, 1.45)
    ax.set_xlim(0, 1)
    ax.axvline(0.5, color=MUTED, linewidth=0.9)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    ax.set_xlabel("share of seeds in which it arrives before the baseline (ties count half)")
    for y, (_, row) in enumerate(pairs.iterrows()):
        of_arm(row["arm"], _name(ax, y, num.shorten(str(row["setup"]), LABEL)))
        low, high = float(row["p_faster_low"]), float(row["p_faster_high"])
        ax.barh(y, high - low, left=low, height=0.5, color=SERIES[0], alpha=0.35, linewidth=0)
        ax.plot([row["p_faster"]], [y], "o", color=SERIES[0], markersize=5)
        _right(ax, y, f"{float(row['p_faster']):.2f} [{low:.2f}, {high:.2f}]")
    return figure


def effects(table: pd.DataFrame, words: dict[str, str], against: str = "the reference") -> Figure:
    """Main effects as rows of a forest, effects within a level of another factor below them, smaller."""
    by_rank = bool((table["scale"] == "rank").any())
    figure, ax = _rows(len(table), 2.45, 1.6)
    ends = finite([*table["effect"], *table["low"], *table["high"], 0.0 if by_rank else 1.0])
    if by_rank:
        most = max(0.1, float(np.abs(ends).max()) * 1.1)
        ax.set_xlim(-most, most)
        ax.axvline(0, color=MUTED, linewidth=0.8)
        ax.set_xlabel(num.shorten(f"mean rank minus that of {against}  (0 first, 1 last)", 80))
    else:
        low, high = max(ends.min() / 1.1, 1 / 16), min(ends.max() * 1.1, 16.0)
        low, high = min(low, 1 / 1.25), max(high, 1.25)
        ax.set_xscale("log", base=2)
        ax.set_xlim(low, high)
        ax.axvspan(1 / 1.1, 1.1, color=SHADE, linewidth=0, zorder=0)
        ax.axvline(1, color=MUTED, linewidth=0.8)
        log_axis(ax.xaxis, _fitting(low, high), lambda v: f"{v:g}x")
        ax.set_xlabel(num.shorten(f"steps / those of {against}  (log2)", 70))
    for y, (_, row) in enumerate(table.iterrows()):
        main = row["given"] == ""
        _name(ax, y, num.shorten(words[str(y)], 34), bold=main)
        left, right = np.clip([row["low"], row["high"]], *ax.get_xlim())
        colour = SERIES[0] if main else SERIES[5]
        if not np.isnan(row["low"]):
            ax.plot([left, right], [y, y], color=colour, linewidth=2.2 if main else 1.2, solid_capstyle="butt")
        if ax.get_xlim()[0] <= row["effect"] <= ax.get_xlim()[1]:
            ax.plot([row["effect"]], [y], "o" if main else "D", color=colour, markersize=5.5 if main else 3.5)
        show = (lambda v: f"{v:+.2f}") if by_rank else num.times
        _right(ax, y, f"{show(row['effect'])} {num.interval(row['low'], row['high'], show)}")
    return figure


def _fitting(low: float, high: float) -> list[float]:
    """Five ticks or so between the ends: powers of two, with steps between where there is room."""
    fine = [0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0] if high < 4 * low else [0.33, 0.5, 0.67, 1.0, 1.5, 2.0, 3.0]
    found = [tick for tick in _TICKS if low <= tick <= high]
    return found if len(found) >= 4 else [tick for tick in fine if low <= tick <= high]


def profile(table: pd.DataFrame, setups: list[str]) -> Figure:
    """Share of settings within a ratio of the best: at most CURVES curves, labelled at their end."""
    figure = canvas(2.9)
    ax = inches(figure, 0.6, 0.5, WIDTH - 0.6 - 2.3, 2.3)
    ax.set_xscale("log", base=2)
    ax.set_xlim(1, float(table["ratio"].max()))
    ax.set_ylim(-0.02, 1.03)
    rule(ax, "y")
    log_axis(ax.xaxis, [1, 2, 4, 8], lambda v: f"{v:g}x")
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    ax.set_xlabel("steps / those of the best setup of the setting (log2)")
    ax.set_ylabel("share of settings")
    shown = setups[:CURVES]
    ends = []
    for i, setup in enumerate(shown):
        part = table[table["setup"] == setup]
        ax.step(part["ratio"], part["share"], where="post", linewidth=1.7, **series(i))  # type: ignore[arg-type]
        ends.append(float(part["share"].iloc[-1]))
    for setup, y, i in _spread(shown, ends):
        ax.annotate(num.shorten(setup, 30), (1, y), xycoords=("axes fraction", "data"), xytext=(8, 0), va="center",
                    textcoords="offset points", fontsize=8.5, color=series(i)["color"])  # fmt: skip
    return figure


def _spread(names: list[str], ends: list[float], gap: float = 0.075) -> list[tuple[str, float, int]]:
    """Labels at the ends of curves, moved apart where they would lie on one another."""
    order = sorted(range(len(names)), key=lambda i: -ends[i])
    out, last = [], 1.03 + gap
    for i in order:
        last = min(ends[i], last - gap)
        out.append((names[i], last, i))
    return out
