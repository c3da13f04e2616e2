"""The figures of the leaderboard: places with their intervals, performance profiles, every setting, what sharing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from initbench.leaderboard.board import GROUPS, Board
from initbench.leaderboard.profile import Profile
from initbench.report import numbers as num
from initbench.report.figures.common import LABEL, WIDTH, canvas, finite, inches, log_axis, note, of_arm, rule, series
from initbench.report.palette import INK, LINE, MUTED, SERIES, SHADE
from initbench.stats.rates import GATE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW = 0.17  # inches of a row
LEFT = 1.95
TONE = dict(zip(GROUPS, (SERIES[2], SERIES[0], MUTED, SERIES[1])))
MARK = dict(zip(GROUPS, ("o", "s", "D", "v")))
TICKS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
LEVELS = 5  # shades of a ratio on either side of 1
FULL = 8.0  # the ratio of the strongest shade


def places(board: Board) -> Figure:
    """Left: geometric mean of the ratios to the baseline; right: rank; both with 95% intervals, coloured by group."""
    names = board.order
    table = board.against_baseline.loc[names]
    figure = canvas(ROW * len(names) + 0.85)
    high = ROW * len(names)
    ax = inches(figure, LEFT, 0.5, 2.9, high)
    right = inches(figure, LEFT + 3.1, 0.5, WIDTH - LEFT - 3.15, high)
    ends = finite([1.0, *table["low"], *table["high"]])
    ax.set_xscale("log", base=2)
    ax.set_xlim(max(ends.min() / 1.1, 1 / FULL), min(ends.max() * 1.1, FULL))
    ax.axvspan(1 / 1.1, 1.1, color=SHADE, linewidth=0, zorder=0)
    ax.axvline(1, color=MUTED, linewidth=0.8, zorder=1)
    log_axis(ax.xaxis, [t for t in TICKS if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]], lambda v: f"{v:g}x")
    ax.set_xlabel(f"steps / those of {num.shorten(board.grid.baseline, 20)} (log2)")
    right.set_xlim(0.5, len(names) + 0.5)
    right.set_xlabel("rank")
    for one in (ax, right):
        one.set_ylim(len(names) - 0.5, -0.5)
        one.set_yticks([])
        one.spines["left"].set_visible(False)
        rule(one)
    for y, name in enumerate(names):
        group, row = board.group(name), table.loc[name]
        how = {"color": TONE[group], "marker": MARK[group], "markersize": 3.5, "linestyle": "none"}
        if name == board.grid.baseline:
            how |= {"color": INK, "marker": "|", "markersize": 8}
        ax.hlines(y, row["low"], row["high"], color=TONE[group], linewidth=1.4)
        ax.plot([row["ratio"]], [y], **how)  # type: ignore[arg-type]
        rank, low, top = board.place(name)
        right.hlines(y, low, top, color=TONE[group], linewidth=1.4)
        right.plot([rank], [y], **how)  # type: ignore[arg-type]
        text = ax.annotate(
            num.shorten(name, LABEL - 4), (0, y), xycoords=("axes fraction", "data"), xytext=(-6, 0),
            textcoords="offset points", va="center", ha="right", fontsize=8,
            fontweight="bold" if name == board.grid.baseline else "normal",
        )  # fmt: skip
        of_arm(name, text)
    for i, (group, words) in enumerate(zip(GROUPS, GROUP_WORDS)):
        x = LEFT + GROUP_AT[i]
        figure.text(
            x / WIDTH, 1 - 0.16 / (high + 0.85), f"{SIGNS[i]} {words}", fontsize=8, color=TONE[group], va="center"
        )
    return figure


SIGNS = ("●", "■", "◆", "▼")
GROUP_WORDS = ("could be the best", "faster", "equivalent or undecided", "slower")
GROUP_AT = (0.0, 1.3, 2.15, 3.95)  # inches


def profiles(found: Profile, names: Sequence[str]) -> Figure:
    """Share of settings within a ratio of the best, with the band of the bootstrap; rows of `found` as `names`."""
    figure = canvas(3.1)
    ax = inches(figure, 0.6, 0.5, WIDTH - 0.6 - 2.1, 2.5)
    ax.set_xscale("log", base=2)
    ax.set_xlim(1, float(found.ratios[-1]))
    ax.set_ylim(-0.02, 1.03)
    rule(ax, "y")
    log_axis(ax.xaxis, [1, 2, 4, 8], lambda v: f"{v:g}x")
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    ax.set_xlabel("steps / those of the best initializer of the setting (log2)")
    ax.set_ylabel("share of settings")
    last = 1.1
    for i in range(len(names)):
        how = series(i)
        ax.fill_between(
            found.ratios, found.low[i], found.high[i], step="post", color=how["color"], alpha=0.13, linewidth=0
        )
        ax.step(found.ratios, found.share[i], where="post", linewidth=1.7, **how)  # type: ignore[arg-type]
    for i in sorted(range(len(names)), key=lambda i: -found.share[i, -1]):
        last = min(float(found.share[i, -1]), last - 0.075)
        ax.annotate(num.shorten(names[i], 26), (1, last), xycoords=("axes fraction", "data"), xytext=(8, 0), va="center",
                    textcoords="offset points", fontsize=8.5, color=series(i)["color"])  # fmt: skip
    return figure


def heat(board: Board, names: Sequence[str]) -> Figure:
    """Ratio to the baseline in each setting: blue is faster, orange slower; a dot is no verdict."""
    labels = [one.label for one in board.grid.settings]
    pairs = {(row["setup"], row["setting"]): row for _, row in board.judged.pairs.iterrows()}
    arrived = board.judged.board.set_index(["setup", "setting"])["share"]
    head = 1.35
    figure = canvas(ROW * len(names) + head + 0.4)
    wide = WIDTH - LEFT - 0.1
    ax = inches(figure, LEFT, 0.4, wide, ROW * len(names))
    ax.set_xlim(-0.5, len(labels) - 0.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    for y, name in enumerate(names):
        for x, label in enumerate(labels):
            if (name, label) in pairs:
                _cell(ax, x, y, pairs[name, label], float(arrived[name, label]))
    ax.set_yticks(range(len(names)), [num.shorten(name, LABEL - 4) for name in names])
    ax.set_xticks(range(len(labels)), labels, rotation=90)
    ax.xaxis.tick_top()
    ax.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    for spine in ax.spines.values():
        spine.set_visible(False)
    _legend(figure)
    return figure


def _cell(ax: Axes, x: int, y: int, row: pd.Series, share: float) -> None:
    if row["verdict"] == "baseline":
        ax.barh(y, 0.92, 0.86, x - 0.46, color=SHADE)
    elif num.is_missing(row["ratio"]):
        sign, tone = ("×", SERIES[1]) if share < GATE else ("✓", SERIES[0])
        sure = row["verdict"] != "undecided"
        ax.text(x, y, sign, ha="center", va="center", fontsize=8, color=tone if sure else MUTED)
    else:
        strength = min(abs(np.log(row["ratio"])) / np.log(FULL), 1.0)
        alpha = np.ceil(strength * LEVELS) / LEVELS
        ax.barh(y, 0.92, 0.86, x - 0.46, color=SERIES[0] if row["ratio"] < 1 else SERIES[1], alpha=alpha, linewidth=0)
    if row["verdict"] == "undecided" and not num.is_missing(row["ratio"]):
        ax.plot([x], [y], ".", color=INK, markersize=2.5)
    elif row["verdict"] == "equivalent":
        ax.text(x, y, "=", ha="center", va="center", fontsize=7, color=INK)


def _legend(figure: Figure) -> None:
    ax = inches(figure, LEFT, 0.1, WIDTH - LEFT - 0.1, 0.16)
    ax.set_xlim(0, 50)
    ax.set_ylim(0, 1)
    ax.axis("off")
    for i in range(2 * LEVELS):
        side, level = (SERIES[0], LEVELS - i) if i < LEVELS else (SERIES[1], i - LEVELS + 1)
        ax.barh(0.5, 0.9, 0.9, i + 3, color=side, alpha=level / LEVELS, linewidth=0)
    note(ax, 2.8, 0.5, f"{1 / FULL:g}x", ha="right")
    note(ax, 2 * LEVELS + 3.2, 0.5, f"{FULL:g}x")
    note(
        ax,
        2 * LEVELS + 6,
        0.5,
        "· undecided  = equivalent  × under 80% arrive  ✓ arrives alone (grey: undecided)",
        fontsize=7.5,
    )


def shared(rows: Sequence[tuple[str, float, float]], text: Callable[[float], str]) -> Figure:
    """Score without and with sharing, a line an initializer; those whose order changes cross."""
    height = 0.19 * len(rows) + 0.85
    figure = canvas(height)
    for x, (sign, tone) in zip((0.0, 1.5), (("● own weights", SERIES[0]), ("■ one shared weight", SERIES[1]))):
        figure.text((LEFT + x) / WIDTH, 1 - 0.12 / height, sign, fontsize=8, color=tone, va="center")
    ax = inches(figure, LEFT, 0.5, WIDTH - LEFT - 0.2, 0.19 * len(rows))
    ax.set_xscale("log", base=2)
    values = finite([value for _, *both in rows for value in both])
    ax.set_xlim(values.min() / 1.1, values.max() * 1.1)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ticks = [t for t in 2.0 ** np.arange(-3, 14) if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]
    log_axis(ax.xaxis, ticks, text)
    rule(ax)
    ax.set_xlabel("steps to target, geometric mean over settings (log2)")
    for y, (_, alone, together) in enumerate(rows):
        ax.hlines(y, *sorted((alone, together)), color=LINE, linewidth=1.4)
        ax.plot([alone], [y], "o", color=SERIES[0], markersize=4)
        ax.plot([together], [y], "s", color=SERIES[1], markersize=4)
    ax.set_yticks(range(len(rows)), [num.shorten(name, LABEL - 4) for name, *_ in rows])
    ax.tick_params(length=0, labelsize=8, labelcolor=INK)
    return figure
