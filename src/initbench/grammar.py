"""Numbers and other values as words, for the terminal and the report alike."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

READ_AS_OTHER = ("", "null", "true", "false", "nan", "inf", "-inf", "none")


def plural(n: int, word: str, more: str | None = None) -> str:
    """
    >>> plural(1, "arm"), plural(2, "arm"), plural(0, "study", "studies")
    ('1 arm', '2 arms', '0 studies')
    """
    return f"{n:,} {word if n == 1 else more or word + 's'}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first of some names, and how many more.

    >>> listed(["a", "b", "c"], most=2), listed(["a", "b"])
    ('a, b and 1 more', 'a, b')
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def together(reasons: Iterable[tuple[str, str]], most: int = 3) -> list[tuple[str, str]]:
    """(arm, reason) with the arms of a reason that more than `most` have in one.

    >>> together([("a", "x"), ("b", "x"), ("c", "y"), ("d", "x")], most=2)
    [('3 arms (a, b and 1 more)', 'x'), ('c', 'y')]
    """
    arms_of: dict[str, list[str]] = {}
    for arm, reason in reasons:
        arms_of.setdefault(reason, []).append(arm)
    out = []
    for reason, arms in arms_of.items():
        if len(arms) > most:
            arms = [f"{plural(len(arms), 'arm')} ({listed(arms, most)})"]
        out += [(arm, reason) for arm in arms]
    return out


def number(value: float) -> str:
    """A number in six digits, or in as many as tell it from every other.

    >>> number(0.1), number(2.0), number(0.1234567), number(1e-8)
    ('0.1', '2', '0.1234567', '1e-08')
    """
    short = f"{value:g}"
    return short if float(short) == value or value != value else repr(float(value))


def duration(seconds: float) -> str:
    """Seconds in words.

    >>> duration(0.4), duration(59.7), duration(90), duration(3599), duration(7200), duration(4e5)
    ('0 s', '1 min', '1.5 min', '1 h', '2 h', '111 h')
    """
    for size, unit in ((1, "s"), (60, "min"), (3600, "h")):
        number = seconds / size if unit == "s" else max(seconds / size, 1)
        text = f"{number:.2g}" if unit != "s" and number < 10 else f"{number:,.0f}"
        if float(text.replace(",", "")) < 60:
            break
    return f"{text} {unit}"


def megabytes(size: float) -> str:
    """Bytes for a person.

    >>> megabytes(86_400_000), megabytes(4_200_000), megabytes(51_000), megabytes(0), megabytes(2.3e10)
    ('86 MB', '4.2 MB', '0.051 MB', '0 MB', '23 GB')
    """
    if size >= 1e10:
        return f"{size / 1e9:,.0f} GB"
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.2g} MB"


def probability(p: float) -> str:
    """A p value in two digits, without the zero before its point.

    >>> probability(0.001953), probability(0.098), probability(0.6049), probability(1.0), probability(1e-7)
    ('.0020', '.098', '.60', '1', '<.0001')
    """
    if p < 1e-4:
        return "<.0001"
    text = f"{p:#.2g}"
    return "1" if float(text) >= 1 else text.removeprefix("0")


def plain(value: Any) -> str:
    """A value as a person would write it; values that differ are written differently.

    >>> plain(2.0), plain([1, 2]), plain(None), plain("null"), plain(0.1234567)
    ('2', '[1,2]', 'null', '"null"', '0.1234567')
    """
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(plain(v) for v in value) + "]"
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(value: str) -> str:
    """Text as it is, in quotes where it would read as something else.

    >>> quoted("relu"), quoted("2"), quoted("a, b=1")
    ('relu', '"2"', '"a, b=1"')
    """
    if value.lower() in READ_AS_OTHER or any(c in value for c in "\"',()[]{}=:·"):
        return json.dumps(value, ensure_ascii=False)
    try:
        float(value)
    except ValueError:
        return value
    return json.dumps(value)
