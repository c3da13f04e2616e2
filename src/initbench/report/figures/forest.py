"""F1: ratio to the baseline with its interval, arms by rank; and every run as a dot."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from initbench.report import numbers as num
from initbench.report.figures.common import LABEL, WIDTH, canvas, finite, inches, log_axis, of_arm, rule, thin_rows
from initbench.report.palette import ALARM, INK, LINE, MUTED, SERIES, SHADE

ROW = 0.215  # inches
_LEFT, _RIGHT, _GUTTER = 2.15, 2.75, 0.5
SIDES = 8.0  # an axis wider than 1/8x..8x shows nothing any more: clamped, with an arrow


def forest(board: pd.DataFrame) -> Figure:
    """Forest of one setting's leaderboard.

    An arm below the gate has no point: a hollow mark in the gutter beyond the axis says how many arrived.
    """
    rows = thin_rows(board)
    height = ROW * (len(rows) + 1) + 0.55
    figure = canvas(height)
    ax = inches(figure, _LEFT, 0.5, WIDTH - _LEFT - _RIGHT, ROW * (len(rows) + 1))
    by_loss = bool((rows["ratio_of"] == "loss").any())
    ends = finite([1.0, *rows["ratio"], *rows["ratio_low"], *rows["ratio_high"]])
    low = max(min(ends.min() / 1.15, 1 / 1.5), 1 / SIDES)
    high = min(max(ends.max() * 1.15, 1.5), SIDES)
    ax.set_xscale("log", base=2)
    ax.set_xlim(low, high)
    ax.set_ylim(len(rows) - 0.5, -1.5)
    ax.axvspan(1 / 1.1, 1.1, color=SHADE, linewidth=0, zorder=0)
    ax.axvline(1, color=MUTED, linewidth=0.8, zorder=1)
    rule(ax)
    what = "final train loss" if by_loss else "steps to target"
    ax.set_xlabel(f"{what} / the baseline's  (log2; left = {'lower' if by_loss else 'faster'})")
    all_ticks = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0] if high > 4 * low else [0.5, 0.67, 1.0, 1.5, 2.0]
    log_axis(ax.xaxis, [t for t in all_ticks if low * 0.99 <= t <= high * 1.01], lambda v: f"{v:g}x")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    columns = _columns(by_loss)
    for name, x, _ in columns:
        ax.annotate(name, (1, -1), xycoords=("axes fraction", "data"), xytext=(x * 72, 0), textcoords="offset points",
                    va="center", ha="right", fontsize=8, color=MUTED)  # fmt: skip
    skipped = rows["rank"].diff().fillna(1) > 1
    for y, (_, row) in enumerate(rows.iterrows()):
        if skipped.iloc[y]:
            ax.axhline(y - 0.5, color=LINE, linewidth=0.8, linestyle=(0, (2, 2)), xmin=-0.6, clip_on=False)
        _label(ax, y, row)
        _interval(ax, y, row, low, high)
        for _, x, text in columns:
            ax.annotate(text(row), (1, y), xycoords=("axes fraction", "data"), xytext=(x * 72, 0),
                        textcoords="offset points", va="center", ha="right", fontsize=8.5)  # fmt: skip
    return figure


def _columns(by_loss: bool) -> list:
    first = (
        ("final loss", lambda r: num.real(r["loss_train"])) if by_loss else ("steps", lambda r: num.steps(r["steps"]))
    )
    second = ("lost", lambda r: num.count(r["diverged"] + r["failed"], r["n"])) if by_loss else (
        "arrived", lambda r: num.count(r["reached"], r["n"]))  # fmt: skip
    edge = {"low": "↓", "high": "↑"}
    third = ("lr", lambda r: num.rate(r["lr"]) + edge.get(r["lr_at_edge"], ""))
    fourth = ("verdict", lambda r: "" if r["verdict"] == "baseline" else str(r["verdict"]))
    columns = (first, second, third) if by_loss else (first, second, third, fourth)
    return [(name, _GUTTER + x, text) for (name, text), x in zip(columns, (0.42, 0.97, 1.45, 2.2))]


def _label(ax, y, row) -> None:
    base = row["setup"] == row["baseline"]
    text = ax.annotate(
        num.shorten(row["setup"], LABEL), (0, y), xycoords=("axes fraction", "data"), xytext=(-8, 0),
        textcoords="offset points", va="center", ha="right", fontsize=9, fontweight="bold" if base else "normal",
    )  # fmt: skip
    of_arm(row["arm"], text)


def _interval(ax, y, row, low, high) -> None:
    if num.is_missing(row["ratio"]):
        word = num.count(row["reached"], row["n"]) if row["ratio_of"] == "steps" else "no loss"
        ax.annotate(f"▷ {word}", (1, y), xycoords=("axes fraction", "data"), xytext=(4, 0), annotation_clip=False,
                    textcoords="offset points", va="center", ha="left", fontsize=8, color=ALARM)  # fmt: skip
        return
    if row["setup"] == row["baseline"]:
        ax.plot([1], [y], "D", color=INK, markersize=5, zorder=3)
        return
    if not num.is_missing(row["ratio_low"]):
        left, right = max(row["ratio_low"], low), min(row["ratio_high"], high)
        of_arm(
            row["arm"], *ax.plot([left, right], [y, y], color=SERIES[0], linewidth=2, solid_capstyle="butt", zorder=2)
        )
        for end, edge, mark in ((row["ratio_low"], low, "<"), (row["ratio_high"], high, ">")):
            if not low <= end <= high:
                ax.plot([edge], [y], mark, color=SERIES[0], markersize=5, clip_on=False, zorder=2)
    if low <= row["ratio"] <= high:
        of_arm(row["arm"], *ax.plot([row["ratio"]], [y], "o", color=SERIES[0], markersize=5.5, zorder=3))
    else:
        text, edge = num.times(row["ratio"]), low if row["ratio"] < low else high
        ax.annotate(text, (edge, y), va="center", ha="left" if edge == low else "right", fontsize=8,
                    xytext=(8 if edge == low else -8, 5), textcoords="offset points")  # fmt: skip


def dots(board: pd.DataFrame, chosen: pd.DataFrame, tau: float) -> Figure:
    """One open dot per seed at its T, at the chosen learning rate; runs without T are counted beyond tau."""
    rows = thin_rows(board)
    figure = canvas(ROW * len(rows) + 0.55)
    ax = inches(figure, _LEFT, 0.5, WIDTH - _LEFT - 0.75, ROW * len(rows))
    ax.set_xlim(0, max(tau, 1.0))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    rule(ax)
    ax.set_xlabel("steps to target, one dot per seed")
    ax.set_yticks([])
    ax.axvline(max(tau, 1.0), color=MUTED, linewidth=0.8)
    groups = {str(arm): part for arm, part in chosen.groupby(chosen["arm"].astype(str), sort=False)}
    for y, (_, row) in enumerate(rows.iterrows()):
        name = ax.annotate(num.shorten(row["setup"], LABEL), (0, y), xytext=(-8, 0), textcoords="offset points",
                           va="center", ha="right", fontsize=9)  # fmt: skip
        of_arm(row["arm"], name)
        part = groups.get(row["arm"])
        steps = np.sort(finite(part["steps_to_target"])) if part is not None else np.zeros(0)
        # equal times would hide one another: stacked a little
        shift = pd.Series(steps).groupby(steps).cumcount().to_numpy() * 0.13 if len(steps) else steps
        ax.plot(steps, y - np.minimum(shift, 0.4), "o", markerfacecolor="none", markeredgecolor=SERIES[0],
                markersize=4, markeredgewidth=0.9, clip_on=False)  # fmt: skip
        missing = int(row["n"]) - len(steps)
        if missing:
            ax.annotate(f"× {missing}", (1, y), xycoords=("axes fraction", "data"), xytext=(6, 0), color=ALARM,
                        textcoords="offset points", va="center", ha="left", fontsize=8.5)  # fmt: skip
    return figure


def sharing_map(board: pd.DataFrame) -> Figure:
    """F2: initializers x sharings, cell = ratio to the best cell; below the gate no colour, hatched, "3/10"."""
    by_loss = bool((board["ratio_of"] == "loss").any())
    value = "loss_train" if by_loss else "mean_steps"
    from initbench.stats import GATE

    best = board.sort_values("rank").drop_duplicates(["init", "sharing"])  # other setup axes: the best one stands
    shown = best["share"] >= GATE if not by_loss else np.isfinite(best["loss_train"].astype(float))
    log = np.log2(best[value].astype(float).where(shown) / best.loc[shown, value].astype(float).min())
    best = best.assign(log=log)
    rows, columns = (_by_effect(best, axis) for axis in ("init", "sharing"))
    table = best.set_index(["init", "sharing"])
    wide, high = max(0.75, min(1.15, 4.6 / len(columns))), 0.26
    texts = len(rows) <= 40 and len(columns) <= 12
    if not texts:
        wide, high = 4.8 / len(columns), min(0.26, 7.0 / len(rows))
    figure = canvas(high * len(rows) + 0.6)
    left = 2.15 if texts else 0.5
    ax = inches(figure, left, 0.12, wide * len(columns), high * len(rows))
    top = max(1.0, float(np.nanmax(best["log"])) if best["log"].notna().any() else 1.0)
    grid = table["log"].unstack("sharing").reindex(index=rows, columns=columns)
    from matplotlib import colormaps

    colours = colormaps["cividis_r"]
    if texts:
        for i, init in enumerate(rows):
            for j, sharing in enumerate(columns):
                if (init, sharing) in table.index:
                    _cell(ax, j, i, table.loc[(init, sharing)], top, colours, by_loss)
        ax.set_xticks(range(len(columns)), [num.shorten(c, 16) for c in columns])
        ax.set_yticks(range(len(rows)), [num.shorten(r, LABEL) for r in rows])
    else:
        ax.imshow(grid, cmap=colours, vmin=0, vmax=top, aspect="auto", interpolation="none")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_ylabel(f"{len(rows)} initializers, best on top", labelpad=4)
        ax.set_title(f"{len(columns)} sharing schemes, best on the left")
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    if texts:
        ax.xaxis.tick_top()
    ax.tick_params(length=0, labelsize=9, labelcolor=INK)
    for spine in ax.spines.values():
        spine.set_visible(False)
    _scale(figure, left + wide * len(columns) + 0.25, high * len(rows) + 0.12, top, colours)
    return figure


def _by_effect(best: pd.DataFrame, axis: str) -> list[str]:
    """Names of an axis, best mean first; those without a shown cell last, in the order of the ranking."""
    means = best.groupby(axis, sort=False)["log"].mean()
    return [str(name) for name in means.sort_values(kind="stable", na_position="last").index]


def _cell(ax, x, y, row, top, colours, by_loss) -> None:
    if num.is_missing(row["log"]):
        ax.add_patch(
            Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor="none", edgecolor=LINE, hatch="////", linewidth=0)
        )
        text = "failed" if row["failed"] == row["n"] else "no loss" if by_loss else num.count(row["reached"], row["n"])
        ax.text(x, y, text, ha="center", va="center", fontsize=8.5, color=ALARM)
        return
    red, green, blue, _ = colours(row["log"] / top)
    ax.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=(red, green, blue), linewidth=0))
    dark = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.2
    shown = num.times(2 ** row["log"])
    of_arm(
        row["arm"], ax.text(x, y, shown, ha="center", va="center", fontsize=9, color="#ffffff" if dark else "#000000")
    )


def _scale(figure, left, top_edge, top, colours) -> None:
    """A colour bar in words: 1x is the best cell."""
    height = min(1.1, top_edge - 0.15)
    if height < 0.3:
        return
    ax = inches(figure, left, top_edge - height, 0.12, height)
    ax.imshow(np.linspace(0, 1, 64)[:, None], cmap=colours, aspect="auto", interpolation="none", extent=(0, 1, top, 0))
    ticks = [0.0, top / 2, top] if height > 0.5 else [0.0, top]
    ax.set_yticks(ticks, [num.times(2**t) for t in ticks])
    ax.yaxis.tick_right()
    ax.set_xticks([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
