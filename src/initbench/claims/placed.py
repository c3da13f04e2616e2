"""Tests of a number against the place where a claim puts it: a formula, a share, an exact bound.

A claim's region is an interval of numbers. The claim holds where the whole 99% interval of what was measured lies inside
the region, fails where the two have nothing in common, and is undecided otherwise: an equivalence test, not the absence
of a difference. Such tests take no part in the correction for many races.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from initbench.startup.late import stats as sps
from initbench.stats.rates import MIN_SEEDS

CONFIDENCE = 0.99
NAN, INF = float("nan"), float("inf")


class Placed(NamedTuple):
    """A number measured in one cell with its interval, and the region [least, most] that the claim names.

    `predicted`: the number that the claim gives, NaN where it names a bound only. `n`: seeds, nets; NaN for a number
    without chance, whose interval is the number itself.
    """

    part: str
    cell: str
    setup: str
    quantity: str
    value: float
    low: float
    high: float
    n: float
    predicted: float
    least: float
    most: float
    note: str = ""

    @property
    def word(self) -> str:
        """holds, fails or undecided.

        >>> one = Placed("p", "c", "s", "q", 2.0, 1.9, 2.1, 20, 2.0, 1.8, 2.2)
        >>> one.word, one._replace(most=2.05).word, one._replace(least=2.15, most=3).word, one._replace(low=NAN).word
        ('holds', 'undecided', 'fails', 'undecided')
        """
        if self.least <= self.low and self.high <= self.most:
            return "holds"
        return "fails" if self.high < self.least or self.low > self.most else "undecided"

    @property
    def reason(self) -> str:
        """Why there is no word, or which way it fails."""
        if np.isnan(self.low) or np.isnan(self.high):
            few = np.isfinite(self.n) and self.n < MIN_SEEDS
            return f"n={int(self.n)}, at least {MIN_SEEDS} seeds" if few else "no value"
        said = {"holds": "", "undecided": "the interval crosses the bound"}
        return said.get(self.word, "too large" if self.low > self.most else "too small")


def formula(
    part: str, cell: str, setup: str, quantity: str, values: Sequence[float] | np.ndarray, predicted: float,
    tolerance: float, *, absolute: bool = False, note: str = "",
) -> Placed:  # fmt: skip
    """The mean of one value a seed against what a formula gives, with its t interval.

    `tolerance`: a share of what is predicted, or with `absolute` a difference. Seeds without a value make n smaller; with
    any of them missing nothing is said, because those that are missing are not missing by chance.

    >>> formula("p", "c", "s", "q", [2.0, 2.1, 1.9, 2.0, 2.0, 2.1, 1.9, 2.0], 2.0, 0.1).word
    'holds'
    """
    wide = tolerance if absolute else abs(predicted) * tolerance
    return within(part, cell, setup, quantity, values, predicted - wide, predicted + wide, predicted, note=note)


def within(
    part: str, cell: str, setup: str, quantity: str, values: Sequence[float] | np.ndarray, least: float = -INF,
    most: float = INF, predicted: float = NAN, *, note: str = "",
) -> Placed:  # fmt: skip
    """The mean of one value a seed against a region, with its t interval."""
    given = np.asarray(values, dtype=float)
    known = given[np.isfinite(given)]
    n, missing = len(known), len(given) - len(known)
    mean = float(known.mean()) if n else NAN
    low = high = NAN
    if n >= MIN_SEEDS and not missing:
        half = float(sps.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * float(known.std(ddof=1)) / np.sqrt(n)
        low, high = mean - half, mean + half
    lacking = f"{missing} of {len(given)} without a value" if missing else ""
    said = "; ".join(text for text in (note, lacking) if text)
    return Placed(part, cell, setup, quantity, mean, low, high, n, predicted, least, most, said)


def share(
    part: str, cell: str, setup: str, quantity: str, count: int, n: int, least: float = -INF, most: float = INF,
    predicted: float = NAN, *, note: str = "",
) -> Placed:  # fmt: skip
    """A share of n against a region, with the exact interval of Clopper and Pearson (1934).

    >>> one = share("never", "c", "s", "arrived", 0, 60, most=0.1)
    >>> one.word, round(one.high, 3)
    ('holds', 0.085)
    """
    if not n:
        return Placed(part, cell, setup, quantity, NAN, NAN, NAN, 0, predicted, least, most, note)
    ends = sps.binomtest(int(count), int(n)).proportion_ci(CONFIDENCE, method="exact")
    said = "; ".join(text for text in (f"{count} of {n}", note) if text)
    return Placed(part, cell, setup, quantity, count / n, ends.low, ends.high, n, predicted, least, most, said)


def bound(
    part: str, cell: str, setup: str, quantity: str, value: float, least: float = -INF, most: float = INF,
    predicted: float = NAN, *, note: str = "",
) -> Placed:  # fmt: skip
    """A number without chance against a region.

    >>> bound("exact", "c", "s", "error", 1e-16, most=1e-10).word
    'holds'
    """
    return Placed(part, cell, setup, quantity, value, value, value, NAN, predicted, least, most, note)


def number(value: float, digits: int = 4) -> str:
    """A measured number: four digits.

    >>> number(2.27958), number(0.0), number(-INF), number(1.4e-16)
    ('2.28', '0', '-infinite', '1.4e-16')
    """
    return "–" if np.isnan(value) else f"{value:.{digits}g}".replace("inf", "infinite")


def region(predicted: float, least: float, most: float) -> str:
    """Where a claim puts a number, in words; as many digits as tell the ends from the number.

    >>> region(2.28, 2.17, 2.39), region(NAN, -INF, 0.1), region(NAN, 0.9, INF), region(NAN, 0.0, 0.0)
    ('2.28 (2.17 to 2.39)', 'at most 0.1', 'at least 0.9', '0')
    >>> region(1.0, 0.9999, 1.0001)
    '1 (0.9999 to 1.0001)'
    """
    if least == most:
        return number(least)
    if np.isinf(least) or np.isinf(most):
        ends = f"at most {number(most)}" if np.isinf(least) else f"at least {number(least)}"
        return ends if np.isnan(predicted) else f"{number(predicted)} ({ends})"
    digits = 4 if len({number(one) for one in (least, predicted, most)}) == 3 else 6
    ends = f"{number(least, digits)} to {number(most, digits)}"
    return ends if np.isnan(predicted) else f"{number(predicted)} ({ends})"
