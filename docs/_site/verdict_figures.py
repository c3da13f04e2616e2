"""The pictures of verdicts.md: simulated races whose truth is known, judged by the functions that judge studies."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from drawn import box, dot, line, picture, text

from initbench.stats import holm, median_interval
from initbench.stats.intervals import resampled, standard_error
from initbench.stats.verdict import MARGIN, Contrast, Side, verdicts

WIDE = 560
SPREAD = 0.25  # sd of log steps over seeds, about that of the default study
BAND = math.log(MARGIN)


def steps(middle: float, seeds: int, stream: int) -> np.ndarray:
    """Steps to target of (seeds,) runs whose true median is `middle`."""
    return middle * np.exp(SPREAD * np.random.default_rng(stream).standard_normal(seeds))


def axis(left: float, right: float, low: float, high: float) -> Callable[[float], float]:
    return lambda value: left + (right - left) * (value - low) / (high - low)


def ruler(place: Callable[[float], float], ticks: list[float], y: float, words: str) -> list[str]:
    marks = [line(place(t), y, place(t), y + 5) + text(place(t), y + 20, f"{t:g}", "middle", "small") for t in ticks]
    return [
        line(place(ticks[0]), y, place(ticks[-1]), y),
        *marks,
        text(place(ticks[-1]), y + 38, words, "end", "small"),
    ]


def seeds_differ() -> str:
    """Twenty seeds of two starts: one run of each says little."""
    place = axis(70, WIDE - 10, 20, 120)
    slow, fast = steps(67, 20, 1), steps(55, 20, 2)
    parts = [text(0, 44, "start A"), text(0, 94, "start B")]
    for y, runs in ((40, slow), (90, fast)):
        parts += [dot(place(x), y, "seed") for x in runs]
        parts += [line(place(float(np.median(runs))), y - 16, place(float(np.median(runs))), y + 16, "median")]
    wins = float(np.mean(fast[:, None] < slow))
    said = f"one run of B arrives before one run of A in {wins:.0%} of pairs"
    return picture(WIDE, 165, [*parts, *ruler(place, [20, 40, 60, 80, 100, 120], 120, "steps to target"),
                               text(0, 12, said)], said)  # fmt: skip


def intervals() -> str:
    """The experiment repeated forty times, with the interval that each would report."""
    place, truth, times = axis(20, WIDE - 10, 40, 100), 67, 40
    parts, missed = [line(place(truth), 24, place(truth), 24 + 6 * times, "median")], 0
    for i in range(times):
        middle, low, high = median_interval(steps(truth, 20, 100 + i))
        out = not low <= truth <= high
        missed += out
        y = 28 + 6 * i
        parts += [line(place(low), y, place(high), y, "missed" if out else "interval")]
        parts += [dot(place(middle), y, "missed" if out else "seed", 2)]
    said = f"{times} times 20 seeds: {missed} intervals miss the true median, {truth}"
    return picture(WIDE, 28 + 6 * times + 45, [text(20, 12, said), *parts,
                   *ruler(place, [40, 60, 80, 100], 28 + 6 * times, "steps to target")], said)  # fmt: skip


def words() -> str:
    """Four ratios with their intervals, and the word that each gets."""
    place = axis(150, WIDE - 100, math.log(0.4), math.log(2.5))
    races = (("far ahead", 0.6, 20), ("far behind", 1.6, 20), ("the same", 1.0, 400), ("too few seeds", 0.9, 8))
    parts = [
        box(place(-BAND), 20, place(BAND) - place(-BAND), 150, "band"),
        line(place(0), 20, place(0), 170, "median"),
    ]
    said = []
    for i, (name, truth, seeds) in enumerate(races):
        difference = math.log(truth) + SPREAD * np.random.default_rng(40 + i).standard_normal(seeds)
        one, word = judged(difference)
        ratio, (low, high) = one.estimate, one.interval()
        y = 42 + 36 * i
        parts += [text(0, y + 4, name), line(place(low), y, place(high), y, "interval"), dot(place(ratio), y, "seed")]
        parts += [text(WIDE - 90, y + 4, word)]
        said.append(f"{name}: {math.exp(ratio):.2f}x, {word}")
    ticks = [0.5, 0.7, 1, 1.4, 2]
    parts += [line(place(math.log(t)), 170, place(math.log(t)), 175) for t in ticks]
    parts += [text(place(math.log(t)), 190, f"{t:g}x", "middle", "small") for t in ticks]
    return picture(WIDE, 212, [*parts, text(place(math.log(2)), 208, "steps / steps of the baseline", "end", "small")],
                   "; ".join(said))  # fmt: skip


def judged(difference: np.ndarray) -> tuple[Contrast, str]:
    """Log ratios, seed by seed, as a contrast of two arms that always arrive, and its word if it is the only one."""
    n, all_arrive, inside = len(difference), np.ones(len(difference), bool), Side(1.0, "")
    error = standard_error(resampled(difference, np.mean), n)
    one = Contrast(n, float(difference.mean()), error, all_arrive, all_arrive, np.zeros(n))
    return one, verdicts([one], [inside], [inside])[0].word


@cache
def by_chance(comparisons: int, corrected: bool, races: int = 4000) -> float:
    """How often some of equal arms looks faster or slower, by p < .05 each or by Holm."""
    p = np.random.default_rng(comparisons).uniform(size=(races, comparisons))
    smallest = np.array([holm(row).min() for row in p]) if corrected else p.min(axis=1)
    return float(np.mean(smallest < 0.05))


def many() -> str:
    """The chance of a wrong word somewhere, with and without the correction."""
    counts = [1, 2, 5, 10, 20]
    place = axis(60, WIDE - 125, 0, len(counts) - 1)
    up = axis(160, 20, 0, 0.7)
    parts, ends = [], []
    for corrected in (False, True):
        heights = [by_chance(n, corrected) for n in counts]
        kind = "interval" if corrected else "missed"
        points = [(place(i), up(h)) for i, h in enumerate(heights)]
        parts += [line(*a, *b, kind) for a, b in pairwise(points)]
        parts += [dot(x, y, "seed" if corrected else "missed") for x, y in points]
        ends.append(heights[-1])
        parts += [text(points[-1][0] + 10, points[-1][1] + 4, "corrected" if corrected else "not corrected", "start")]
    parts += [text(50, up(t) + 4, f"{t:.0%}", "end", "small") for t in (0, 0.2, 0.4, 0.6)]
    parts += [text(place(i), 180, n, "middle", "small") for i, n in enumerate(counts)]
    parts += [text(place(len(counts) - 1), 198, "arms that are all the same", "end", "small")]
    said = f"20 equal arms: a wrong word in {ends[0]:.0%} of studies, corrected {ends[1]:.0%}"
    return picture(WIDE, 205, [text(0, 12, said), *parts], said)


FIGURES = {"seeds": seeds_differ, "intervals": intervals, "words": words, "many": many}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if page.file.src_uri != "verdicts.md":
        return markdown
    return re.sub(r"<!-- figure: (\w+) -->", lambda match: FIGURES[match[1]](), markdown)
