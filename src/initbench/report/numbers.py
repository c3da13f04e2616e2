"""How numbers read on the page, in Markdown and in LaTeX: one way each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from initbench import grammar
from initbench.grammar import plural as plural  # said in the same words as in the terminal

MISSING = "–"


def is_missing(value: Any) -> bool:
    """None, NaN or pandas' NA."""
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def steps(value: Any) -> str:
    """A median of steps.

    >>> steps(66.0), steps(84.5), steps(float("inf")), steps(None)
    ('66', '84.5', 'never', '–')
    """
    if is_missing(value):
        return MISSING
    return "never" if math.isinf(value) else f"{value:,.1f}".removesuffix(".0")


def interval(low: Any, high: Any, text: Any = None) -> str:
    """The ends of an interval, by default of steps; empty where there is none.

    >>> interval(59.0, float("inf")), interval(float("nan"), 1.0)
    ('[59, never]', '')
    """
    show = text or steps
    return "" if is_missing(low) or is_missing(high) else f"[{show(low)}, {show(high)}]"


def times(value: Any) -> str:
    """A ratio: two decimals below 10, none above 100.

    >>> times(0.709), times(12.3), times(150.2), times(float("nan"))
    ('0.71x', '12.3x', '150x', '–')
    """
    if is_missing(value):
        return MISSING
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}x"


def count(k: Any, n: Any) -> str:
    """
    >>> count(9, 10)
    '9/10'
    """
    return f"{int(k)}/{int(n)}"


def rate(value: Any) -> str:
    """A learning rate.

    >>> rate(0.1), rate(3e-05)
    ('0.1', '3e-05')
    """
    return MISSING if is_missing(value) else f"{value:g}"


def real(value: Any) -> str:
    """A loss, an accuracy, a gap: three digits; what is not finite is missing.

    >>> real(0.02345), real(float("inf"))
    ('0.0234', '–')
    """
    return MISSING if is_missing(value) or math.isinf(value) else f"{value:.3g}"


def percent(value: Any) -> str:
    """
    >>> percent(0.9747), percent(1.0)
    ('97.5%', '100%')
    """
    return MISSING if is_missing(value) or math.isinf(value) else f"{100 * value:.1f}".removesuffix(".0") + "%"


def whole(value: Any) -> str:
    """
    >>> whole(7690), whole(None)
    ('7,690', '–')
    """
    return MISSING if is_missing(value) else f"{int(value):,}"


def big(value: Any) -> str:
    """FLOPs with a prefix.

    >>> big(1.57e8), big(float("inf")), big(950.0)
    ('157 M', 'never', '950')
    """
    if is_missing(value):
        return MISSING
    if math.isinf(value):
        return "never"
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g} {prefix}"
    return f"{value:.3g}"


def probability(p: Any) -> str:
    """
    >>> probability(0.098), probability(float("nan"))
    ('.098', '–')
    """
    return MISSING if is_missing(p) else grammar.probability(float(p))


def shorten(text: str, most: int) -> str:
    """The middle goes: a name's beginning and its arguments at the end both tell arms apart.

    >>> shorten("variance_scaling(scale=2, mode=fan_avg) · cycle(2)", 30)
    'variance_scalin…g) · cycle(2)'
    """
    if len(text) <= most:
        return text
    tail = (most - 1) * 9 // 20
    return text[: most - 1 - tail - 1] + "…" + text[len(text) - tail :]


def target_words(metric: str, value: float) -> str:
    """
    >>> target_words("accuracy/train", 0.95), target_words("accuracy/train", 0.9996), target_words("loss/val", 0.1)
    ('95% train accuracy', '99.96% train accuracy', 'a val loss of 0.1')
    """
    kind, _, split = metric.partition("/")
    if kind == "accuracy":
        return f"{100 * value:g}% {split} accuracy".replace("  ", " ")
    return f"a {split} loss of {value:g}".replace("  ", " ")


def measured_on(study: Mapping[str, Any]) -> str:
    """On how many samples losses and accuracies are measured, during training and for the target.

    >>> measured_on({"arms": [{"config": {"train": {"eval_samples": 512}}}]}), measured_on({"arms": []})
    ('512 fixed samples', 'fixed samples')
    """
    configs = [arm.get("config") or {} for arm in study.get("arms") or []]
    found = sorted({int(n) for config in configs if (n := (config.get("train") or {}).get("eval_samples"))})
    return f"{' or '.join(f'{n:,}' for n in found)} fixed samples".lstrip()
