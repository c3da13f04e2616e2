"""F3: who has arrived by which step, with a table under the curves. F4: steps against learning rate, one panel per arm."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from initbench.report import numbers as num
from initbench.report.figures.common import (
    WIDTH,
    axis_words,
    bare,
    canvas,
    finite,
    inches,
    log_axis,
    of_arm,
    picked,
    rule,
    series,
    ticks_between,
)
from initbench.report.palette import ALARM, INK, LINE, MUTED, SERIES, SHADE

PANELS = 24  # learning-rate panels; above it a strip of all arms
GREY = 24  # uncoloured curves; above it a band of arms


def trained(board: pd.DataFrame, curves: pd.DataFrame, tau: float) -> Figure:
    """Share of seeds arrived against step, and how many by a few steps, one row per coloured curve."""
    arms = picked(board)
    tau = max(tau, 1.0)
    high, row = 2.5, 0.2
    bottom = 0.15 + row * (len(arms) + 1)
    figure = canvas(high + bottom + 0.6)
    left, right = 2.15, 0.6
    ax = inches(figure, left, bottom + 0.5, WIDTH - left - right, high)
    parts = {str(arm): part for arm, part in curves.groupby("arm", sort=False)}
    others = [arm for arm in board["arm"] if arm not in arms and arm in parts]
    grid = np.unique(np.concatenate([[0.0, tau], *(parts[a]["step"].to_numpy(float) for a in parts)]))
    if len(others) > GREY:
        values = np.array([_share_at(parts[arm], grid) for arm in others])
        for low, up, alpha in ((10, 90, 0.55), (25, 75, 1.0)):
            edges = np.percentile(values, [low, up], axis=0)
            ax.fill_between(grid, edges[0], edges[1], step="post", color=SHADE, alpha=alpha, linewidth=0)
    else:
        for arm in others:
            part = parts[arm]
            of_arm(arm, *ax.step(part["step"], part["share"], where="post", color=LINE, linewidth=1))
    info = board.set_index("arm")
    for i, arm in enumerate(arms):
        if arm not in parts:
            continue
        part = parts[arm]
        of_arm(arm, *ax.step(part["step"], part["share"], where="post", linewidth=1.8, **series(i)))  # type: ignore[arg-type]
        end = float(part["share"].iloc[-1])
        if end < 1:
            ax.plot([tau], [end], "x", color=series(i)["color"], markersize=6, clip_on=False)
    ends: dict[str, tuple[float, int]] = {}
    for i, arm in enumerate(arms):  # curves that end at the same share say so once
        if arm in parts and parts[arm]["share"].iloc[-1] < 1:
            ends.setdefault(
                num.count(info.loc[arm, "reached"], info.loc[arm, "n"]), (float(parts[arm]["share"].iloc[-1]), i)
            )
    for text, (end, i) in ends.items():
        ax.annotate(text, (tau, end), xytext=(8, 0), textcoords="offset points", va="center", fontsize=8,
                    color=series(i)["color"])  # fmt: skip
    ax.set_xlim(0, tau)
    ax.set_ylim(-0.02, 1.02)
    rule(ax, "y")
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    ax.set_ylabel("share of seeds arrived")
    ax.set_xlabel("step")
    marks = _round_steps(tau)
    ax.set_xticks([0.0, *marks], [num.steps(t) for t in (0.0, *marks)])
    table = inches(figure, left, 0.1, WIDTH - left - right, row * (len(arms) + 1))
    bare(table)
    table.set_xlim(0, tau)
    table.set_ylim(len(arms) - 0.5, -1.5)
    table.text(-0.005 * tau, -1, "seeds arrived by step  ", ha="right", va="center", fontsize=8, color=MUTED)
    for mark in marks:
        table.text(mark, -1, num.steps(mark), ha="center", va="center", fontsize=8, color=MUTED)
    for y, arm in enumerate(arms):
        line = series(y)
        table.annotate("", (0, y), xytext=(-24, 0), xycoords="data", textcoords="offset points", annotation_clip=False,
                       arrowprops={"arrowstyle": "-", "color": line["color"], "linestyle": line["linestyle"],
                                   "linewidth": 1.8, "shrinkA": 0, "shrinkB": 4})  # fmt: skip
        name = table.annotate(num.shorten(str(info.loc[arm, "setup"]), 27), (0, y), xytext=(-29, 0),
                              textcoords="offset points", ha="right", va="center", fontsize=8.5)  # fmt: skip
        of_arm(arm, name)
        for mark in marks:
            arrived = round(_share_at(parts[arm], np.array([mark]))[0] * info.loc[arm, "n"]) if arm in parts else 0
            table.text(mark, y, str(arrived), ha="center", va="center", fontsize=8.5)
        lost = board[board["arm"] == arm].iloc[0]
        gone = [f"{name[0]}{int(lost[name])}" for name in ("diverged", "failed") if lost[name]]
        if gone:
            table.annotate(" ".join(gone), (1, y), xycoords=("axes fraction", "data"), xytext=(16, 0), fontsize=8,
                           textcoords="offset points", va="center", color=ALARM)  # fmt: skip
    return figure


def _share_at(part: pd.DataFrame, steps: np.ndarray) -> np.ndarray:
    at = np.searchsorted(part["step"].to_numpy(float), steps, side="right") - 1
    return np.where(at >= 0, part["share"].to_numpy(float)[np.maximum(at, 0)], 0.0)


def _round_steps(tau: float) -> list[float]:
    """Four to seven round steps up to tau, tau included if it is round."""
    size = 10 ** math.floor(math.log10(tau)) if tau >= 1 else 1
    for unit in (size / 5, size / 2, size, size * 2):
        if 4 <= tau / unit <= 7 and (unit >= 1 or tau < 4):
            return [unit * k for k in range(1, int(tau / unit + 1e-9) + 1)]
    return [tau * k / 4 for k in range(1, 5)] if tau >= 4 else [tau]


def rates(
    board: pd.DataFrame,
    profile: pd.DataFrame,
    runs: pd.DataFrame,
    tau: float,
    chosen: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Figure:
    """Small multiples by rank: a dot for each seed, a line through medians over ALL seeds, counts of the rest above tau.

    `chosen`: arm -> (rates, how often each was chosen on half of the seeds), drawn as bars at the bottom.
    """
    arms = list(board["arm"])
    if len(arms) > PANELS:
        return _strip(board, profile)
    columns = min(4, len(arms))
    rows = math.ceil(len(arms) / columns)
    wide, high = (WIDTH - 0.55) / columns, 1.3
    figure = canvas(rows * high + 0.45)
    tau = max(tau, 1.0)
    lrs = sorted(profile["lr"].unique())
    arrived = finite(runs["steps_to_target"])
    floor = max(1.0, float(arrived.min()) / 1.25 if len(arrived) else tau / 30)
    floor = min(floor, tau / 2)
    top, rail = tau * (tau / floor) ** 0.2, tau * (tau / floor) ** 0.1
    by_arm = {str(arm): part for arm, part in runs.groupby(runs["arm"].astype(str), sort=False)}
    for k, (_, arm) in enumerate(board.iterrows()):
        i, j = divmod(k, columns)
        ax = inches(figure, 0.5 + j * wide, 0.4 + (rows - 1 - i) * high, wide - 0.12, high - 0.32)
        part = profile[profile["arm"] == arm["arm"]]
        _panel(ax, part, by_arm.get(arm["arm"]), lrs, (floor, tau, rail, top))
        for rate, share in zip(*(chosen or {}).get(str(arm["arm"]), ((), ()))):
            ax.plot([rate, rate], [0, 0.22 * share], transform=ax.get_xaxis_transform(), color=SERIES[1], linewidth=5,
                    solid_capstyle="butt", alpha=0.8)  # fmt: skip
        title = f"{arm['rank']}  {num.shorten(arm['setup'], 26 if columns > 2 else 40)}"
        of_arm(arm["arm"], ax.set_title(title, fontsize=8, pad=4.5))
        if j:
            ax.set_yticklabels([])
        if i < rows - 1 and k + columns < len(arms):
            ax.set_xticklabels([])
    axis_words(figure, "learning rate (log)", "steps to target (log)")
    return figure


def _panel(ax, part, runs, lrs, levels) -> None:
    floor, tau, rail, top = levels
    ax.set_yscale("log")
    ax.set_xscale("log")
    ax.set_ylim(floor, top)
    pad = (lrs[-1] / lrs[0]) ** 0.09 if len(lrs) > 1 else 2.0
    ax.set_xlim(lrs[0] / pad, lrs[-1] * pad)
    rule(ax, "y")
    ax.axhline(tau, color=MUTED, linewidth=0.7, linestyle=(0, (3, 2)))
    chosen = part[part["chosen"]]
    if len(chosen):
        x = float(chosen["lr"].iloc[0])
        ax.axvspan(x / pad**0.55, x * pad**0.55, color=SHADE, linewidth=0, zorder=0)
    if runs is not None and len(runs):
        seeds = sorted(runs["seed"].unique())
        place = {seed: (k / max(1, len(seeds) - 1) - 0.5) * 0.7 for k, seed in enumerate(seeds)}
        arrived = runs[runs["steps_to_target"].notna()]
        x = arrived["optim.lr"].to_numpy(float) * pad ** arrived["seed"].map(place).to_numpy(float)
        ax.plot(x, np.maximum(arrived["steps_to_target"].to_numpy(float), floor), "o", color=SERIES[0], markersize=2.4,
                markeredgewidth=0, alpha=0.55)  # fmt: skip
    median = part["steps"].replace(np.inf, np.nan).to_numpy(float)
    ax.plot(part["lr"], median, "-o", color=INK, linewidth=1.4, markersize=3)
    for _, row in part.iterrows():
        missing = int(row["n"] - row["reached"])
        if missing:
            ax.text(row["lr"], rail, str(missing), ha="center", va="center", fontsize=7, color=ALARM)
    log_axis(ax.yaxis, ticks_between(floor, tau, (1, 2, 5), 4), lambda v: num.steps(v))
    most = lrs if len(lrs) <= 6 else lrs[:: math.ceil(len(lrs) / 6)]
    log_axis(ax.xaxis, most, lambda v: f"{v:g}".removeprefix("0"))
    ax.tick_params(labelsize=7.5)


def _strip(board: pd.DataFrame, profile: pd.DataFrame) -> Figure:
    """All arms x learning rates as one image: colour = log median steps; white = fewer than half arrived."""
    lrs = sorted(profile["lr"].unique())
    table = profile.pivot(index="arm", columns="lr", values="steps").reindex(index=board["arm"], columns=lrs)
    values = np.log10(np.maximum(table.to_numpy(float), 1.0))
    values[~np.isfinite(values)] = np.nan
    high = min(6.0, max(2.0, 0.02 * len(board)))
    figure = canvas(high + 0.75)
    ax = inches(figure, 0.8, 0.5, 5.0, high)
    limits = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0.0, 1.0)
    image = ax.imshow(values, cmap="cividis_r", aspect="auto", interpolation="none", vmin=limits[0], vmax=limits[1])
    ax.set_xticks(range(len(lrs)), [f"{lr:g}" for lr in lrs])
    ax.set_xlabel("learning rate")
    ax.set_ylabel("arms by rank (first on top)")
    ax.tick_params(length=0)
    bar = figure.colorbar(image, cax=inches(figure, 6.0, 0.5, 0.13, min(2.0, high)))
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    marks = ticks_between(10 ** limits[0], 10 ** limits[1], (1, 2, 5), 6)
    bar.ax.set_yticks(np.log10(marks), [num.steps(m) for m in marks])
    bar.ax.set_title("median steps", fontsize=8)
    return figure
