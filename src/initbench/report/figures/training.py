"""F7: loss curves with bands, one panel per arm; and what each layer's gradient does over the steps."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from initbench.report import numbers as num
from initbench.report.figures.common import (
    WIDTH,
    axis_words,
    canvas,
    finite,
    inches,
    log_axis,
    of_arm,
    power_text,
    rule,
    ticks_between,
)
from initbench.report.palette import ALARM, LINE, SERIES


def losses(board: pd.DataFrame, train: pd.DataFrame, val: pd.DataFrame) -> Figure:
    """Median and 10-90% band of the train loss, median of the val loss dashed; shared log axis; diverged = +inf.

    A panel per row of `board`, which also says how many seeds diverged.
    """
    arms = list(board["arm"])
    columns = min(3, len(arms))
    rows = math.ceil(len(arms) / columns)
    wide, high = (WIDTH - 0.55) / columns, 1.6
    figure = canvas(rows * high + 0.45)
    shown = finite([*train["median"], *train["low"], *val["median"]])
    shown = shown[shown > 0]
    low, top = (float(shown.min()) / 1.2, float(shown.max()) * 1.2) if len(shown) else (0.1, 10.0)
    low, top = max(low, top / 1e6), min(top, max(low, 1e-12) * 1e9)
    last = max(1.0, float(train["step"].max()) if len(train) else 1.0)
    for k, (_, row) in enumerate(board.iterrows()):
        i, j = divmod(k, columns)
        arm = row["arm"]
        ax = inches(figure, 0.5 + j * wide, 0.4 + (rows - 1 - i) * high, wide - 0.14, high - 0.34)
        ax.set_yscale("log")
        ax.set_ylim(low, top)
        ax.set_xlim(0, last)
        rule(ax, "y")
        part, other = train[train["arm"] == arm], val[val["arm"] == arm]
        step = part["step"].to_numpy(float)
        under, over = (np.clip(part[name].to_numpy(float), low, top) for name in ("low", "high"))
        alive = np.isfinite(part["low"].to_numpy(float))
        ax.fill_between(step, under, over, where=alive, color=SERIES[0], alpha=0.25, linewidth=0)
        ax.plot(step, part["median"].replace(np.inf, np.nan), color=SERIES[0], linewidth=1.5)
        ax.plot(
            other["step"],
            other["median"].replace(np.inf, np.nan),
            color=SERIES[1],
            linewidth=1.2,
            linestyle=(0, (4, 2)),
        )
        if row["diverged"]:
            ended = part[part["median"] == np.inf]
            if len(ended) and ended["step"].iloc[0] > 0:
                before = part[part["step"] < ended["step"].iloc[0]].iloc[-1:]
                ax.plot(before["step"], before["median"], "x", color=ALARM, markersize=6)
            ax.text(0.97, 0.93, f"diverged {num.count(row['diverged'], row['n'])}", transform=ax.transAxes, ha="right", va="top",
                    fontsize=8, color=ALARM)  # fmt: skip
        of_arm(arm, ax.set_title(num.shorten(row["setup"], 34), fontsize=8.5, pad=3))
        ax.set_xticks([0, last / 2, last], ["0", num.steps(round(last / 2)), num.steps(last)])
        for place, label in zip(("left", "center", "right"), ax.get_xticklabels()):
            label.set_horizontalalignment(place)  # type: ignore[arg-type]
        log_axis(ax.yaxis, ticks_between(low, top, (1, 3), 5), power_text)
        if j:
            ax.set_yticklabels([])
        if i < rows - 1 and k + columns < len(arms):
            ax.set_xticklabels([])
        ax.tick_params(labelsize=7.5)
    axis_words(figure, "step", "loss (log)")
    return figure


def layers(arms: list[str], names: dict[str, str], maps: pd.DataFrame, tied: dict[str, list[int]]) -> Figure:
    """Layer x step medians of a per-layer norm, one panel per arm, one colour scale; `tied`: layers that share a weight."""
    columns = min(4, len(arms))
    rows = math.ceil(len(arms) / columns)
    steps = np.array(sorted(maps["step"].unique()))
    count = int(maps["layer"].max()) + 1
    wide = (WIDTH - 0.45 - 0.75) / columns
    high = min(1.6, max(0.75, 0.085 * count + 0.3)) + 0.22
    figure = canvas(rows * high + 0.5)
    values = maps["median"].to_numpy(float)
    good = np.log10(values[np.isfinite(values) & (values > 0)])
    low, top = (np.percentile(good, 1), np.percentile(good, 99)) if len(good) else (-1.0, 0.0)
    top = max(top, low + 0.5)
    image = None
    for k, arm in enumerate(arms):
        i, j = divmod(k, columns)
        ax = inches(figure, 0.4 + j * wide, 0.42 + (rows - 1 - i) * high, wide - 0.14, high - 0.3)
        part = maps[maps["arm"] == arm].pivot(index="layer", columns="step", values="median")
        table = part.reindex(index=range(count), columns=steps).to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.log10(np.where(table > 0, table, np.nan))
        log[~np.isfinite(log)] = np.nan
        image = ax.imshow(log, cmap="cividis", vmin=low, vmax=top, aspect="auto", interpolation="none")
        ax.set_ylim(count - 0.5, -0.5)
        ax.set_xlim(-0.5, len(steps) - 0.5)
        ax.autoscale(False)
        together = tied.get(arm, [])
        for first, last in _stretches(together):
            ax.plot([-0.5 - len(steps) * 0.02] * 2, [first - 0.35, last + 0.35], color=SERIES[1], linewidth=2.4, clip_on=False,
                    solid_capstyle="butt")  # fmt: skip
        of_arm(arm, ax.set_title(num.shorten(names[arm], 26), fontsize=8, pad=3))
        at = sorted({0, len(steps) // 3, 2 * len(steps) // 3, len(steps) - 1})
        ax.set_xticks(
            at, [num.steps(steps[t]) for t in at] if i == rows - 1 or k + columns >= len(arms) else [""] * len(at)
        )
        marks = sorted({0, count // 2, count - 1}) if count > 2 else list(range(count))
        ax.set_yticks(marks, [str(m) for m in marks] if not j else [""] * len(marks))
        ax.tick_params(length=0, labelsize=7.5)
        for spine in ax.spines.values():
            spine.set_color(LINE)
    _bar(figure, image, low, top)
    axis_words(figure, "step (the measured ones)", "layer (0 = first)", at=0.45)
    return figure


def _bar(figure: Figure, image: object, low: float, top: float) -> None:
    height = min(1.8, figure.get_size_inches()[1] - 0.7)
    axes = inches(figure, WIDTH - 0.68, figure.get_size_inches()[1] - height - 0.22, 0.13, height)
    bar = figure.colorbar(image, cax=axes)  # type: ignore[arg-type]
    bar.outline.set_visible(False)  # type: ignore[operator]
    ticks = ticks_between(10**low, 10**top, (1, 3), 6)
    axes.set_yticks(np.log10(ticks), [power_text(t) for t in ticks])
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_title("norm", fontsize=8, pad=4)


def _stretches(layers: list[int]) -> list[tuple[int, int]]:
    """Runs of neighbouring numbers: [1, 2, 3, 5] -> [(1, 3), (5, 5)]."""
    out: list[tuple[int, int]] = []
    for layer in sorted(layers):
        if out and layer == out[-1][1] + 1:
            out[-1] = (out[-1][0], layer)
        else:
            out.append((layer, layer))
    return out
