"""Entries to words: Holm over the suite, a word for each cell, a verdict for each part and for the claim.

A part is said to hold in general, so it is read as "in at least three quarters of the cells": CONFIRMED if it holds in so
many, REFUTED if it fails in more than a quarter (then it cannot), else UNDECIDED. A claim is CONFIRMED if every part is,
REFUTED if one part is. A cell without enough data never counts for or against.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd

from initbench.claims.cells import Entry, sampled
from initbench.claims.placed import Placed, number
from initbench.claims.prediction import Part
from initbench.report.numbers import times
from initbench.stats import remedy, verdict
from initbench.stats.rates import GATE

NO_RATIO = "fewer than 80% of one side arrive: no ratio to compare with the bound"
NO_PAIRS = "who arrives differs too little"
SHARE = Fraction(3, 4)  # of the cells in which a claim has to hold; ours
COSTS = ("flops", "stored_bytes", "activations")  # ratios of a race beside the one in steps
COLUMNS = [
    "part", "cell", "setup", "baseline", "quantity", "claims", "word", "reason", "ratio", "low", "high", "n", "p", "p_holm",
    "family", "lr", "lr_baseline", "note", "predictions", "predicted", "least", "most", *COSTS,
]  # fmt: skip
# what a word of a comparison means for a claim that puts the ratio there
HOLDS = {
    "below": {"faster": "holds", "slower": "fails", "equivalent": "fails"},
    "above": {"faster": "fails", "slower": "holds", "equivalent": "fails"},
    "not above": {"faster": "holds", "slower": "fails", "equivalent": "holds"},
}


def corrected(entries: Sequence[Entry | Placed], family: int, digest: str = "") -> pd.DataFrame:
    """One row a test (COLUMNS), its word by the procedure of every report, Holm over `family` tests.

    ratio, low, high: to the baseline, or the level itself, with its 95% interval; of a number against a region, the number
    with its 99% interval. The races of the family that are not among the entries count as races that showed nothing.
    """
    raced = [entry for entry in entries if isinstance(entry, Entry) and entry.contrast is not None]
    found = iter(_verdicts(raced, family))
    rows = []
    for entry in entries:
        if isinstance(entry, Placed):
            rows.append(_placed_row(entry))
        else:
            rows.append(_exact_row(entry) if entry.contrast is None else _row(entry, next(found)))
    return pd.DataFrame(rows, columns=COLUMNS).assign(family=family, predictions=digest)


def _verdicts(entries: Sequence[Entry], family: int) -> list[verdict.Verdict]:
    if len(entries) > family:
        raise ValueError(f"{len(entries)} tests in a family of {family}: predictions.yaml states too few")
    absent = family - len(entries)
    closed = verdict.Side(0.0, "")

    def words(contrasts: list[verdict.Contrast]) -> list[verdict.Verdict]:
        given = [*contrasts, *[sampled(np.zeros(0))] * absent]
        ours = [*(entry.side for entry in entries), *[closed] * absent]
        theirs = [*(entry.base for entry in entries), *[closed] * absent]
        return verdict.verdicts(given, ours, theirs)[: len(entries)]

    first = words([entry.contrast for entry in entries if entry.contrast is not None])
    again = words([entry.earlier or entry.contrast for entry in entries if entry.contrast is not None])
    return [verdict.stands(one, other) for one, other in zip(first, again)]


def _row(one: Entry, said: verdict.Verdict) -> dict[str, object]:
    assert one.contrast is not None
    word = HOLDS[one.claims].get(said.word, "undecided")
    if not np.isnan(one.bound) and said.word == "equivalent":
        word = "undecided"  # at the bound, on neither side of it
    reason = remedy.REASONS[said.why].format(n=one.contrast.n) if said.why else ""
    if said.test == "reached" and said.why == "seeds":
        reason = NO_PAIRS
    if said.test == "reached" and word == "holds" and _asks_for_more_than_earlier(one):
        word, reason = "undecided", NO_RATIO
    if said.why == "steps" and one.quantity != "steps":
        reason = "fewer than 80% of the seeds have a value"
    open_ = one.side.share >= GATE and one.base.share >= GATE
    logs = (one.contrast.estimate, *one.contrast.interval()) if open_ else (float("nan"),) * 3
    unit = 1.0 if np.isnan(one.bound) else one.bound
    ratio, low, high = (round(float(np.exp(x)) * unit, 9) for x in logs)
    if said.word == "equivalent":
        reason = "equal within 10%"
    spent = (one.costs.flops(ratio), one.costs.stored, one.costs.activations)
    return {
        **_names(one), **{name: round(x, 9) for name, x in zip(COSTS, spent)}, "word": word, "reason": reason,
        "ratio": ratio, "low": low, "high": high, "n": one.contrast.n, "p": said.p, "p_holm": said.p_holm,
        "lr": one.lr, "lr_baseline": one.lr_baseline,
    }  # fmt: skip


def _asks_for_more_than_earlier(one: Entry) -> bool:
    """Whether the bound asks for more than to be the one that arrives: that 40 nets of 40 arrive against 25 does not say
    that they need less than half of the steps. That a net arrives later is enough to fail any such bound."""
    return bool(one.bound > 1 if one.claims == "above" else one.bound < 1)  # NaN, no bound: neither


def _exact_row(one: Entry) -> dict[str, object]:
    """A ratio without chance: materially below or above 1, by the same margin as everywhere."""
    margin = verdict.MARGIN
    said = "faster" if one.exact < 1 / margin else "slower" if one.exact > margin else "equivalent"
    reason = "equal within 10%" if said == "equivalent" else ""
    return {**_names(one), "word": HOLDS[one.claims][said], "reason": reason, "ratio": round(one.exact, 9)}


def _placed_row(one: Placed) -> dict[str, object]:
    kept = ("part", "cell", "setup", "quantity", "n", "predicted", "least", "most", "note")
    given = {name: getattr(one, name) for name in kept}
    return {**given, "ratio": one.value, "low": one.low, "high": one.high, "word": one.word, "reason": one.reason}


def _names(one: Entry) -> dict[str, object]:
    named = {key: getattr(one, key) for key in ("part", "cell", "setup", "baseline", "claims", "quantity", "note")}
    beyond = np.isfinite(one.bound) and one.earlier is not None  # a race against another ratio than 1
    return {**named, "claims": f"{one.claims} {one.bound:.3g}"} if beyond else named


def part_word(words: Sequence[str]) -> str:
    """The verdict of a part from the words of its cells.

    >>> part_word(["holds"] * 9 + ["fails"] * 3), part_word(["holds"] * 8 + ["fails"] * 4)
    ('CONFIRMED', 'REFUTED')
    >>> part_word(["holds"] * 8 + ["undecided"] * 4), part_word([])
    ('UNDECIDED', 'UNDECIDED')
    """
    n, holds, fails = len(words), words.count("holds"), words.count("fails")
    if n and holds >= SHARE * n:
        return "CONFIRMED"
    return "REFUTED" if fails > (1 - SHARE) * n else "UNDECIDED"


def part_words(measured: pd.DataFrame, parts: Sequence[Part]) -> dict[str, str]:
    """{part: its verdict}"""
    return {part.name: part_word(list(measured.loc[measured["part"] == part.name, "word"])) for part in parts}


def claim_word(words: Sequence[str]) -> str:
    """
    >>> claim_word(["CONFIRMED", "REFUTED"]), claim_word(["CONFIRMED", "UNDECIDED"]), claim_word(["CONFIRMED"] * 2)
    ('REFUTED', 'UNDECIDED', 'CONFIRMED')
    """
    if "REFUTED" in words:
        return "REFUTED"
    return "CONFIRMED" if words and set(words) == {"CONFIRMED"} else "UNDECIDED"


def spread(rows: pd.DataFrame) -> str:
    """Median over the cells of a part, with the smallest and the largest: of ratios, or of what a region was asked of. One
    number stands alone.

    >>> spread(pd.DataFrame({"ratio": [2.0, 1.0, 4.0]})), spread(pd.DataFrame({"ratio": [2.0, np.nan]}))
    ('2.00x (1.00x to 4.00x)', '2.00x')
    """
    ratios = rows["ratio"].dropna()
    if ratios.empty:
        return "no ratio"
    say = number if is_placed(rows) else times
    low, middle, high = map(say, (ratios.min(), ratios.median(), ratios.max()))
    return f"{middle} ({low} to {high})" if len(ratios) > 1 else middle


def is_placed(rows: pd.DataFrame) -> bool:
    """Whether these rows are of numbers against a region; a table written before there were any has no such column."""
    return "least" in rows and bool(rows["least"].notna().all())
