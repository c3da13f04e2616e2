"""F6: signals by layer with theory beside them, what the uses of a shared weight pull at, Jacobian spectra."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from initbench.report import numbers as num
from initbench.report.figures.common import (
    WIDTH,
    axis_words,
    canvas,
    finite,
    inches,
    log_axis,
    power_text,
    rule,
    series,
    ticks_between,
)
from initbench.report.palette import GROUND, INK, MUTED, SERIES, TONES

FLOW = (
    ("preactivation_msq", "forward: mean square of preactivations"),
    ("backward_msq", "backward: of their gradients"),
)
DECADES = 12  # of a log axis at most: what is fainter lies on its lower edge
PANEL = 1.35  # inches
GAP = 0.62  # between the columns: the end labels of one and the tick labels of the other


def flow(panels: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> Figure:
    """One row per arm: forward and backward mean squares by layer; dots with intervals: step 0; dashed: theory; thin lines:
    later steps.

    `panels`: (name, metric -> {layer, mean, low, high (k,), theory (k,) or None, later: {step: (k,)}}).
    """
    figure = canvas(len(panels) * PANEL + 0.7)
    height = figure.get_size_inches()[1]
    wide = (WIDTH - 0.5 - GAP) / 2
    for column, (metric, title) in enumerate(FLOW):
        shown = [one[metric] for _, one in panels if metric in one]
        low, top = bounds([v for one in shown for v in everything(one)])
        figure.text(
            (0.5 + column * (wide + GAP)) / WIDTH, 1 - 0.12 / height, title, fontsize=8, color=MUTED, va="center"
        )
        for row, (name, one) in enumerate(panels):
            bottom = 0.42 + (len(panels) - 1 - row) * PANEL
            ax = inches(figure, 0.5 + column * (wide + GAP), bottom, wide, PANEL - 0.34)
            ax.set_yscale("log")
            ax.set_ylim(low, top)
            rule(ax, "y")
            if metric in one:
                draw_flow(ax, one[metric], low, top)
            log_axis(ax.yaxis, ticks_between(low, top, (1,), 4), power_text)
            ax.tick_params(labelsize=7.5)
            if row < len(panels) - 1:
                ax.set_xticklabels([])
            label = num.shorten(name, 44) if column == 0 else ""
            ax.set_title(label, fontsize=8.5, pad=3)
    axis_words(figure, "layer")
    return figure


def draw_flow(ax: Axes, one: Mapping[str, Any], low: float, top: float) -> None:
    """One arm, one direction."""
    layers = np.asarray(one["layer"], float)
    for i, (step, values) in enumerate(sorted(one.get("later", {}).items())):
        style = {**series(2 + i), "linewidth": 1.1}
        ax.plot(layers, np.clip(values, low, top), **style)  # type: ignore[arg-type]
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            at = known[-1]
            ax.text(layers[at], np.clip(values[at], low, top), f" {num.steps(step)}", fontsize=7,
                    va="top" if i == 0 else "bottom", color=style["color"])  # fmt: skip
    mean, edges = np.asarray(one["mean"], float), np.stack([one["low"], one["high"]])
    seen = np.isfinite(mean) & (mean > 0)
    errors = np.abs(np.clip(edges, low, top)[:, seen] - np.clip(mean[seen], low, top))
    ax.errorbar(layers[seen], np.clip(mean[seen], low, top), yerr=errors, fmt="o", color=SERIES[0], markersize=3.2,
                linewidth=1.0, capsize=0, zorder=3)  # fmt: skip
    theory = one.get("theory")
    if theory is not None:
        expected = np.array([np.nan if value is None else value for value in theory], float)
        ax.plot(layers[: len(expected)], np.clip(expected, low, top), color=INK, linestyle=(0, (4, 2)), linewidth=1.2)
    ax.set_xticks(ticks(layers))
    ax.set_xlim(layers.min() - 0.3, layers.max() + max(0.3, 0.06 * len(layers)))


def everything(one: Mapping[str, Any]) -> list[float]:
    """All numbers of a panel that its axis should hold."""
    theory = [value for value in one.get("theory") or () if value is not None]
    return [*one["mean"], *theory, *(v for values in one.get("later", {}).values() for v in values)]


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """Ends of a log axis: at most DECADES below the largest number.

    >>> bounds([1.0, 10.0])[0] < 1 < 10 < bounds([1.0, 10.0])[1]
    True
    """
    good = finite(values)
    good = good[good > 0]
    if not len(good):
        return 0.1, 10.0
    top = min(float(good.max()) * 1.6, 1e30)
    return max(float(good.min()) / 1.6, top / 10**DECADES), top


def ticks(layers: np.ndarray) -> list[int]:
    """A few whole layer numbers, the first and the last among them.

    >>> ticks(np.arange(51.0))
    [0, 13, 25, 38, 50]
    """
    first, last = int(layers.min()), int(layers.max())
    if last - first <= 8:
        return list(range(first, last + 1))
    return [round(first + (last - first) * k / 4 + 1e-9) for k in range(5)]


def light_svg(figure: Figure, title: str) -> str:
    """A figure as an SVG file of its own, on white; the page's SVGs take their colours from the page."""
    figure.patch.set_facecolor(GROUND[0])
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Title": title})
    text = out.getvalue()
    for tone in TONES.values():
        text = text.replace(tone.placeholder, tone.light)
    return text


def alignment(names: Mapping[str, str], frame: pd.DataFrame, chance: Mapping[str, float]) -> Figure:
    """Median alignment of the uses of a shared weight over the steps, one line per arm; dotted: independent directions.

    `frame`: arm, step, median; `chance`: arm -> 1/sqrt(uses).
    """
    figure = canvas(2.3)
    ax = inches(figure, 0.5, 0.42, WIDTH - 2.6, 1.7)
    rule(ax, "y")
    arms = [arm for arm in names if arm in set(frame["arm"])]
    place = [0.94 - 0.13 * i for i in range(len(arms))]
    for i, arm in enumerate(arms):
        part = frame[frame["arm"] == arm].sort_values("step")
        ax.plot(part["step"], part["median"], linewidth=1.5, **series(i))  # type: ignore[arg-type]
        ax.plot([1.03, 1.09], [place[i]] * 2, transform=ax.transAxes, clip_on=False, linewidth=1.5, **series(i))  # type: ignore[arg-type]
        ax.text(1.11, place[i], num.shorten(names[arm], 30), transform=ax.transAxes, fontsize=8, va="center")
    for level in sorted(set(chance.values())):
        ax.axhline(level, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    ax.set_ylim(0, 1.02)
    ax.set_xscale("symlog", linthresh=1)
    last = float(frame["step"].max())
    log_axis(ax.xaxis, [0, *ticks_between(1, max(last, 1.0), (1,), 5)], num.steps)
    ax.set_xlim(0, max(last, 1.0))
    ax.set_xlabel("step (log)", color=MUTED, fontsize=8.5)
    ax.set_ylabel("|sum| / sum of |uses|", color=MUTED, fontsize=8.5)
    return figure


def spectra(panels: Sequence[tuple[str, pd.DataFrame, Sequence[float | None] | None]]) -> Figure:
    """Singular values of d z_l / d z_0 at step 0 by layer, one panel per arm: band smallest to largest, line root mean
    square, dashed theory.

    `panels`: (name, frame with layer, low, high, rms; theory of the mean square from layer 1 on).
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    wide = (WIDTH - 0.55) / columns
    figure = canvas(rows * 1.6 + 0.45)
    low, top = bounds([v for _, frame, _ in panels for v in frame[["low", "high", "rms"]].to_numpy().ravel()])
    low = max(low, top / 1e8)
    for k, (name, frame, theory) in enumerate(panels):
        i, j = divmod(k, columns)
        ax = inches(figure, 0.5 + j * wide, 0.4 + (rows - 1 - i) * 1.6, wide - 0.14, 1.6 - 0.34)
        ax.set_yscale("log")
        ax.set_ylim(low, top)
        rule(ax, "y")
        layers = frame["layer"].to_numpy(float)
        band = [np.clip(frame[side].to_numpy(float), low, top) for side in ("low", "high")]
        if np.isfinite(band).any():
            ax.fill_between(layers, *band, color=SERIES[0], alpha=0.25, linewidth=0)
        ax.plot(layers, np.clip(frame["rms"].to_numpy(float), low, top), color=SERIES[0], linewidth=1.5)
        if theory is not None:
            expected = np.sqrt([np.nan if value is None else value for value in theory])
            ax.plot(np.arange(1, len(expected) + 1), np.clip(expected, low, top), color=INK, linestyle=(0, (4, 2)),
                    linewidth=1.2)  # fmt: skip
        ax.set_title(num.shorten(name, 34), fontsize=8.5, pad=3)
        log_axis(ax.yaxis, ticks_between(low, top, (1,), 5), power_text)
        ax.set_xticks(ticks(layers))
        if j:
            ax.set_yticklabels([])
        ax.tick_params(labelsize=7.5)
    axis_words(figure, "layer")
    return figure
