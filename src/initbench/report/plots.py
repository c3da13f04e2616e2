"""The figures of the page as ordinary Matplotlib figures, for a notebook or a script."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from initbench.config.checks import one_of
from initbench.errors import refusal, shown
from initbench.report.block import Draw
from initbench.report.blocks import BLOCKS
from initbench.report.export import recolour
from initbench.report.source import Source, open_source
from initbench.report.svg import drawing
from initbench.report.words import Sentence

DPI = 110  # the page's figures are drawn at 72 points an inch, too coarse for pixels


class Kept(Draw):
    """Figures by their key, none of them made into a part of a page."""

    def svg(self, figure: Figure, name: str, setting: str, title: str, sentence: Sentence) -> Markup:
        index = self.source.settings.index(setting)
        figure.set_label(f"{title}: {setting}" if len(self.source.settings) > 1 else title)
        self.figures.append((f"{name}{index or ''}", title, figure))
        return Markup("")


def plot(results: Any, name: str | None = None) -> Any:
    """The figure of a name as Axes, or a list of Axes where it has panels; None: all of them, {name: Axes}."""
    source = open_source(results)
    with drawing():
        figures = drawn(source, name)
        if name is not None and name not in figures:
            raise refusal(f"plot({shown(repr(name))})", "this study has no such figure", one_of(name, figures))
        for figure in figures.values():
            figure.draw_without_rendering()  # the ticks, which else would be made with somebody's own settings
            recolour(figure)
            figure.set_facecolor("white")
            figure.set_dpi(DPI)
    axes = {key: axes_of(registered(figure)) for key, figure in figures.items()}
    return axes if name is None else axes[name]


def drawn(source: Source, name: str | None) -> dict[str, Figure]:
    """All figures; drawing ends with the one that is asked for, and gives it alone."""
    draw = Kept(source)
    for make in BLOCKS:
        make(source, draw)
        found = {key: figure for key, _, figure in draw.figures}
        if name in found and name is not None:
            return {name: found[name]}
    return found


def axes_of(figure: Figure) -> Axes | list[Axes]:
    """One Axes, or a list of them."""
    return figure.axes[0] if len(figure.axes) == 1 else list(figure.axes)


def registered(figure: Figure) -> Figure:
    """A figure that pyplot knows: shown by a notebook at the end of the cell, and by plt.show()."""
    import matplotlib.pyplot as plt

    manager = plt.figure(figsize=tuple(figure.get_size_inches())).canvas.manager
    if manager is not None:
        manager.canvas.figure = figure
        figure.set_canvas(manager.canvas)
    return figure
