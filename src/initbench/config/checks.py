"""Checks of single values. Each refuses with one line: what was given, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Any

from initbench.errors import InputError, refusal, shown

PERCENT = 10  # an accuracy of so much or more was meant in percent


def is_whole(value: Any) -> bool:
    """A whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check(good: bool, key: str, value: Any, allowed: str) -> None:
    """Refuse `value` of `key` in one line that names what is allowed."""
    if not good:
        raise refusal(f"{key}={shown(value)}", "not allowed", f"must be {allowed}")


def check_choice(key: str, value: Any, allowed: Sequence[str]) -> None:
    """One of the known names; the nearest one is offered first."""
    if value not in allowed:
        raise unknown(key, value, allowed)


def unknown(key: str, value: object, allowed: Sequence[str]) -> InputError:
    """The refusal of a name that is none of those allowed.

    >>> str(unknown("model.activation", "rely", ("tanh", "relu")))
    'model.activation=rely: unknown; did you mean relu? must be one of: relu, tanh'
    """
    return refusal(f"{key}={shown(value)}", "unknown", one_of(value, allowed))


def one_of(value: object, allowed: Iterable[str]) -> str:
    """The names allowed, the nearest first, as what to do.

    >>> one_of("gian", ("bias", "gain")), one_of("gian", ())
    ('did you mean gain? must be one of: gain, bias', 'leave it out, none is allowed')
    """
    allowed = list(allowed)
    if not allowed:
        return "leave it out, none is allowed"
    near = nearest(str(value)[:200], allowed)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}must be one of: {', '.join([*near, *(name for name in allowed if name not in near)])}"


def nearest(value: str, names: Iterable[str]) -> list[str]:
    """The three names that a mistyped one is most like, whole or as a beginning.

    >>> nearest("xavir", ["vi3nr", "xavier_normal", "xavier_uniform", "eye"])
    ['xavier_normal', 'xavier_uniform', 'vi3nr']
    """

    def like(name: str) -> tuple[float, float, str]:
        whole, begun = (SequenceMatcher(None, text, value).ratio() for text in (name, name[: len(value) + 1]))
        return max(whole, 0.99 * begun), whole, name

    return [name for score, _, name in sorted(map(like, names), reverse=True)[:3] if score >= 0.5]


def check_whole(key: str, value: Any, low: int, note: str = "") -> None:
    """A whole number from `low` on. `note`: what else is allowed."""
    if not is_whole(value) or value < low:
        raise refusal(f"{key}={shown(value)}", "not allowed", f"must be a whole number, {low} or more{note}")


def check_number(
    key: str,
    value: Any,
    low: float | None = None,
    above: float | None = None,
    below: float | None = None,
    note: str = "",
) -> None:
    """A finite number within bounds. `note`: what else is allowed."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if good:
        good = (low is None or value >= low) and (above is None or value > above) and (below is None or value < below)
    if not good:
        bounds = [
            f"of at least {low:g}" if low is not None else "",
            f"above {above:g}" if above is not None else "",
            f"below {below:g}" if below is not None else "",
        ]
        allowed = " and ".join(b for b in bounds if b) or "that is finite"
        raise refusal(f"{key}={shown(value)}", "not allowed", f"must be a number {allowed}{note}")


def check_target(key: str, metric: str, value: Any) -> None:
    """A level that a metric can reach: a share for an accuracy, a positive number for a loss.

    A share is suggested only for what looks like a percentage: 2 hardly means 2%.

    >>> check_target("target", "accuracy/train", 95)
    Traceback (most recent call last):
    initbench.errors.InputError: target=95: an accuracy lies between 0 and 1; did you mean 0.95?
    """
    check_number(key, value)
    if metric.startswith("accuracy") and not 0 < value <= 1:
        hint = f"did you mean {value / 100:g}?" if PERCENT <= value <= 100 else "must be above 0 and at most 1"
        raise refusal(f"{key}={shown(value)}", "an accuracy lies between 0 and 1", hint)
    if metric.startswith("loss") and value <= 0:
        raise refusal(f"{key}={shown(value)}", "a loss is above 0", "write e.g. 0.1")
