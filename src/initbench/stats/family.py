"""The family of comparisons that Holm's correction counts: every setup against its baseline, or those that are named.

A smaller family corrects less, so the same runs may get another word in it. It has to be chosen before the results are
seen; what is left out gets no word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from initbench.config.checks import unknown
from initbench.errors import refusal, shown
from initbench.grammar import plural
from initbench.stats import remedy, student, verdict
from initbench.stats.same import distinct
from initbench.stats.verdict import ALPHA, mcnemar

NOT_JUDGED = "not judged"
NOT_FOUND = {
    "verdict": NOT_JUDGED, "why": "", "reason": "not in report.family", "decide": "", "seeds_needed": pd.NA,
    "p": float("nan"), "p_holm": float("nan"), "test": "", "family": 0,
}  # fmt: skip


def named(wanted: str | Sequence[str], known: Iterable[str], key: str = "family") -> list[str]:
    """The setups or initializers of a family, from a list or from text with commas; InputError for one that is not known.

    >>> named("eye,zeros", ["eye", "zeros", "normal"]), named("a, b", ["a, b"])
    (['eye', 'zeros'], ['a, b'])
    """
    known = list(dict.fromkeys(known))
    listed = [wanted] if isinstance(wanted, str) else list(wanted)
    if isinstance(wanted, str) and wanted not in known:
        inner = wanted[1:-1] if wanted[:1] + wanted[-1:] == "[]" else wanted
        listed = [one.strip() for one in inner.split(",") if one.strip()]
    if not listed:
        raise refusal(f"{key}={shown(wanted)}", "no setup is named", f"name at least one, e.g. {key}={known[0]}")
    for one in listed:
        if one not in known:
            raise unknown(key, one, known)
    return list(dict.fromkeys(listed))


def members(part: pd.DataFrame, names: Sequence[str] | None) -> list[str]:
    """The arms of a leaderboard whose setup or initializer is among `names`; all without any."""
    rows = part if names is None else part[part["setup"].isin(names) | part["init"].isin(names)]
    return [str(arm) for arm in rows["arm"]]


def names_of(board: pd.DataFrame) -> list[str]:
    """What a family can be named by."""
    return sorted({*map(str, board["setup"]), *map(str, board["init"])})


def family_of(
    board: pd.DataFrame, study: Mapping[str, Any] | None, wanted: str | Sequence[str] | None
) -> list[str] | None:
    """The names typed, else the study's own as far as the board has them; None: everyone."""
    if wanted is not None:
        return named(wanted, names_of(board))
    own = (study or {}).get("family")
    return own and [name for name in own if name in names_of(board)]


def unjudged(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Comparisons outside the family: their ratios are shown, without a test or a word."""
    return {arm: {**row, **NOT_FOUND} for arm, row in found.items()}


def seeds_to_call(family: int) -> int:
    """The fewest seeds with which a family of so many comparisons can call n/n arrived against 0/n: exact McNemar's
    smallest p, 2^(1-n), times the family, is below .05.

    >>> seeds_to_call(1), seeds_to_call(25), seeds_to_call(92)
    (6, 10, 12)
    """
    n = 1
    while not mcnemar(n, 0) * family < ALPHA:
        n += 1
    return n


def cannot_call(family: int, seeds: Sequence[int]) -> str:
    """That so many seeds cannot decide by counts, and what to type; empty where they can.

    >>> cannot_call(92, range(10))
    'with 92 comparisons, 10 seeds cannot call 10/10 against 0/10: seeds=12, or report.family=[...] with at most 25'
    >>> cannot_call(25, range(10))
    ''
    """
    n, needed = len(seeds), seeds_to_call(family)
    if n >= needed:
        return ""
    smaller = f", or report.family=[...] with at most {largest(n)}" if largest(n) else ""
    more = remedy.more_seeds(seeds, needed)
    return f"with {plural(family, 'comparison')}, {n} seeds cannot call {n}/{n} against 0/{n}: {more}{smaller}"


def largest(n: int) -> int:
    """The largest family in which n seeds can call n/n arrived against 0/n.

    >>> largest(10), largest(12)
    (25, 102)
    """
    size = int(ALPHA / mcnemar(n, 0))
    return size if mcnemar(n, 0) * size < ALPHA else size - 1


def callable_ratio(pairs: pd.DataFrame) -> float | None:
    """The smallest ratio that the comparisons of one setting can probably call (80% power); None without a test."""
    tested = distinct(pairs[pairs["test"] == "ratio"])
    if tested.empty:
        return None
    n = int(tested["pairs"].median())
    width = np.log(tested["ratio_high"].to_numpy(float) / tested["ratio_low"].to_numpy(float))
    errors = width / 2 / student.ppf(0.975, tested["pairs"].to_numpy(float) - 1)
    return verdict.callable_ratio(errors, n, int(tested["family"].max()))


def looked_at(study: Mapping[str, Any] | None, setting: str, n: int) -> tuple[int, ...]:
    """The sizes of all looks at a setting, the present one with n seeds last, where it was looked at before; else none.

    >>> looked_at({"looked": [{"setting": "s", "n": [10]}]}, "s", 20), looked_at(None, "s", 20)
    ((10, 20), ())
    """
    before = [one["n"] for one in (study or {}).get("looked") or [] if one["setting"] == setting]
    return (*before[0], n) if before and n else ()
