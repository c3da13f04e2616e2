"""Small pictures as SVG text: they take the colours of the page (`currentColor`, classes of site.css), dark ones too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def picture(width: float, height: float, parts: Iterable[str], says: str) -> str:
    """An SVG in a figure; `says`: what it shows, for those who do not see it."""
    inside = "".join(parts)
    return (
        f'<svg class="drawn" viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}px" role="img" '
        f'aria-label="{escape(says)}">{inside}</svg>'
    )


def text(x: float, y: float, words: object, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.5g}" y="{y:.5g}" text-anchor="{anchor}" class="{kind}">{escape(str(words))}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str = "") -> str:
    return f'<line x1="{x1:.5g}" y1="{y1:.5g}" x2="{x2:.5g}" y2="{y2:.5g}" class="{kind}"/>'


def box(x: float, y: float, width: float, height: float, kind: str = "") -> str:
    return f'<rect x="{x:.5g}" y="{y:.5g}" width="{width:.5g}" height="{height:.5g}" class="{kind}"/>'


def dot(x: float, y: float, kind: str = "", radius: float = 4) -> str:
    return f'<circle cx="{x:.5g}" cy="{y:.5g}" r="{radius:g}" class="{kind}"/>'


def bars(heights: Sequence[float], width: float, height: float) -> list[str]:
    """A histogram that fills a place of this size."""
    step, most = width / len(heights), max(heights) or 1
    return [box(i * step, height * (1 - h / most), 0.9 * step, height * h / most, "bar") for i, h in enumerate(heights)]
