"""Student's t without `scipy.stats`, whose import takes longer than a small report."""

from __future__ import annotations

from typing import Any

from initbench.startup.late import special


def ppf(p: Any, df: Any) -> Any:
    """Quantile at p.

    >>> round(float(ppf(0.975, 9)), 3)
    2.262
    """
    return special.stdtrit(df, p)


def sf(t: Any, df: Any) -> Any:
    """Probability of a larger value than t.

    >>> round(float(sf(2.262, 9)), 3)
    0.025
    """
    return special.stdtr(df, -t)
