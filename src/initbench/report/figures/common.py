"""What the figures share: sizes in inches, log axes without mathtext, colours by rank, which rows to leave out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from initbench.report.palette import DASHES, LINE, MUTED, SERIES

WIDTH = 7.2  # inches; the page scales it between 560 and 900 pixels
ARM = "arm:"  # of the link of an artist
LABEL = 32  # characters of a setup's name in a figure; the table has it whole


def canvas(height: float) -> Figure:
    """A figure without pyplot: no global state, nothing to close."""
    return Figure(figsize=(WIDTH, height), dpi=72)


def inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches, so that rows keep their height whatever their number."""
    wide, high = figure.get_size_inches()
    return figure.add_axes((left / wide, bottom / high, width / wide, height / high))


def log_axis(axis: object, ticks: Sequence[float], text: Callable[[float], str]) -> None:
    """Own labels on a log axis: with mathtext off, matplotlib's would read $\\mathdefault{10^{1}}$."""
    axis.set_major_locator(FixedLocator(list(ticks)))  # type: ignore[attr-defined]
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))  # type: ignore[attr-defined]
    axis.set_minor_locator(NullLocator())  # type: ignore[attr-defined]
    axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]


def ticks_between(low: float, high: float, steps: Sequence[float] = (1, 2, 5), most: int = 7) -> list[float]:
    """Round values of a log axis, the powers of ten first thinned by `steps`.

    >>> ticks_between(3, 300)
    [5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
    """
    if not (0 < low <= high < math.inf):
        return []
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for chosen in (steps, steps[:1]):
        found = [float(f"{step * 10.0**power:.3g}") for power in powers for step in chosen]
        found = [tick for tick in found if low * 0.999 <= tick <= high * 1.001]
        if 2 <= len(found) <= most:
            return found
    return found[:: max(1, math.ceil(len(found) / most))]


def power_text(value: float) -> str:
    """
    >>> power_text(0.001), power_text(10.0), power_text(1e-07)
    ('0.001', '10', '1e-7')
    """
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def thin_rows(board: pd.DataFrame, most: int = 40) -> pd.DataFrame:
    """At most `most` rows of one setting's ranking: the first ones, the baseline, the last five."""
    if len(board) <= most:
        return board
    keep = set(board.index[: most - 6]) | set(board.index[-5:])
    keep |= set(board.index[board["setup"] == board["baseline"]][:1])
    return board[board.index.isin(keep)]


def picked(board: pd.DataFrame, most: int = 6) -> list[str]:
    """Arms worth a panel of their own: the first ones, the baseline, the last; in the order of the ranking."""
    arms = list(board["arm"])
    if len(arms) <= most:
        return arms
    base = list(board.loc[board["setup"] == board["baseline"], "arm"])[:1]
    last = arms[-1:]
    keep = [arm for arm in arms if arm not in base + last][: most - len(set(base + last))]
    return [arm for arm in arms if arm in {*keep, *base, *last}]


def series(i: int) -> dict[str, object]:
    """Colour and line style of the i-th coloured curve: either alone tells curves apart."""
    return {"color": SERIES[i % len(SERIES)], "linestyle": DASHES[i % len(DASHES)]}


def rule(ax: Axes, axis: str = "x") -> None:
    """Light grid lines along one axis, under the data, and no tick marks."""
    ax.grid(True, axis=axis, color=LINE, linewidth=0.6)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    ax.tick_params(length=0)


def bare(ax: Axes) -> None:
    """Only the data area: no spines, no ticks."""
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.patch.set_visible(False)


def note(ax: Axes, x: float, y: float, text: str, **more: object) -> None:
    """Small muted text in data coordinates."""
    ax.text(x, y, text, **{"fontsize": 8, "color": MUTED, "va": "center", **more})  # type: ignore[arg-type]


def of_arm(arm: object, *artists: Artist) -> None:
    """Artists that stand for an arm: hovering over them says its numbers, a click leads to its row of the page's table."""
    for artist in artists:
        artist.set_url(f"{ARM}{arm}")


def axis_words(figure: Figure, below: str, left: str = "", at: float = 0.5) -> None:
    """What all panels have on their axes, once: words below them, at a share of the width, and to their left."""
    figure.text(at, 0.06 / figure.get_size_inches()[1], below, ha="center", fontsize=8.5, color=MUTED)
    if left:
        figure.text(0.0, 0.5, left, va="center", rotation=90, fontsize=8.5, color=MUTED)


def finite(values: object) -> np.ndarray:
    """The finite ones, as floats."""
    array = np.asarray(values, dtype=float)
    return array[np.isfinite(array)]
