"""Colours of the page: one name, a placeholder in the figures, a value for light and one for dark.

Okabe-Ito, adapted: its sky blue, orange and yellow vanish on white (2.3:1, 2.2:1, 1.3:1) and its black on a dark page,
so each name has a darker and a lighter form of the same hue, at least 3:1 on its ground. Lines also differ in style.
"""

from __future__ import annotations

from typing import NamedTuple


class Tone(NamedTuple):
    """A placeholder that occurs nowhere else, and what it becomes."""

    placeholder: str
    light: str
    dark: str


GROUND = ("#ffffff", "#14181d")  # page behind the figures: light, dark
TONES = {
    "ink": Tone("#010a01", "#1b2229", "#e8ebee"),
    "muted": Tone("#010a02", "#59636e", "#a3adb8"),
    "line": Tone("#010a03", "#d5dae0", "#3a434d"),
    "shade": Tone("#010a04", "#e9edf1", "#28303a"),
    "alarm": Tone("#010a05", "#b3261e", "#ff8a80"),
    "c1": Tone("#010a11", "#0068a8", "#5cb8f0"),
    "c2": Tone("#010a12", "#c24a00", "#ff9248"),
    "c3": Tone("#010a13", "#00805c", "#2fcb9c"),
    "c4": Tone("#010a14", "#a64a86", "#ee9acb"),
    "c5": Tone("#010a15", "#8f6400", "#f0c030"),
    "c6": Tone("#010a16", "#3d4650", "#d7dde3"),
}
INK, MUTED, LINE, SHADE, ALARM = (TONES[n].placeholder for n in ("ink", "muted", "line", "shade", "alarm"))
SERIES = tuple(TONES[f"c{i}"].placeholder for i in range(1, 7))
DASHES: tuple[object, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.5, 1.5)),
    (0, (6, 1.5, 1.5, 1.5)),
    (0, (8, 3)),
    (0, (3, 1, 1, 1)),
)


def variables(dark: bool) -> str:
    """Declarations for a :root block.

    >>> variables(False).split(";")[0]
    '--ink:#1b2229'
    """
    return ";".join(f"--{name}:{tone.dark if dark else tone.light}" for name, tone in TONES.items())


def contrast(first: str, second: str) -> float:
    """WCAG contrast of two colours: (L1 + .05) / (L2 + .05), L = relative luminance.

    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)
