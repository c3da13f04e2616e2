"""From two arms to one word: faster, slower, equivalent or undecided, and what would decide it.

The order of the rules: fewer than 8 paired seeds, or neither arm arrives -> undecided. Both arrive in at least
80% of their seeds -> the ratio of steps; only one does -> exact McNemar on the seeds that arrived. Equivalent if
the 90% interval of the ratio lies inside [1/1.1, 1.1] (at least 10 seeds); else faster or slower if Holm's p over
the family is below .05; else undecided. Where the same pair is looked at several times, every p and interval counts the
looks (nested.py). Nothing is faster than an arm whose best learning rate lies at the end of
its grid, and no word stands that would change if every time were one evaluation earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from initbench.startup.late import stats as sps
from initbench.stats import nested, student
from initbench.stats.crossfit import Crossfit, at_rates
from initbench.stats.intervals import standard_error, wilson
from initbench.stats.panel import Panel
from initbench.stats.rates import GATE, MIN_SEEDS

ALPHA = 0.05
MARGIN = 1.1  # ratios inside 1/1.1 .. 1.1 are equal for all purposes
MIN_EQUIVALENT = 10  # seeds
DECIDED = ("faster", "slower", "equivalent")
NAN = float("nan")


class Contrast(NamedTuple):
    """An arm against its baseline on the n seeds both have; logs, so 0 is equal and below 0 is faster."""

    n: int
    estimate: float  # theta - the baseline's
    error: float  # standard error by the bootstrap; NaN below 3 pairs
    reached: np.ndarray  # (n,) whether the seed arrives at rates chosen without it, in most halvings
    reached_base: np.ndarray
    first: np.ndarray  # (n,) share of halvings in which the arm arrives earlier; a tie is half
    paired: bool = True  # seed by seed; else two samples

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """``estimate +- t(n-1) error``."""
        half = float(student.ppf(0.5 + confidence / 2, self.n - 1)) * self.error if self.n > 1 else NAN
        return self.estimate - half, self.estimate + half

    @property
    def p_ratio(self) -> float:
        """Two-sided p of ``estimate / error`` against t(n-1)."""
        if not self.error > 1e-12:  # all pairs alike: certain, or exactly equal
            return NAN if np.isnan(self.error) else float(abs(self.estimate) < 1e-9)
        return float(2 * student.sf(abs(self.estimate) / self.error, self.n - 1))

    @property
    def p_reached(self) -> float:
        """Exact McNemar on which seeds arrived; Fisher's exact test where they are not paired."""
        if not self.paired:
            k = [int(self.reached.sum()), int(self.reached_base.sum())]
            return float(sps.fisher_exact([k, [len(self.reached) - k[0], len(self.reached_base) - k[1]]])[1])
        only, only_base = int((self.reached & ~self.reached_base).sum()), int((self.reached_base & ~self.reached).sum())
        return mcnemar(only, only_base)

    @property
    def p_faster(self) -> tuple[float, float, float]:
        """P(faster) over seeds with its Wilson interval."""
        k = float(self.first.sum())
        return (k / self.n if self.n else NAN, *wilson(k, self.n))


class Side(NamedTuple):
    """What the rules ask of an arm besides its contrast."""

    share: float  # arrived / all seeds, failed ones included
    at_edge: str  # "low", "high", "only" or ""


class Verdict(NamedTuple):
    """The word; `why` names the missing thing of an undecided one: few, steps, seeds, lr, grid."""

    word: str
    why: str
    test: str  # "ratio", "reached" or ""
    p: float
    p_holm: float


def contrast(arm: Panel, fit: Crossfit, base: Panel, fit_base: Crossfit) -> Contrast:
    """Two arms on the same seeds, both cross-fitted on them."""
    n = len(arm.seeds)
    error = standard_error(fit.draws - fit_base.draws, n) if n >= 3 else NAN
    ours, theirs = at_rates(arm.reached, fit.rates), at_rates(base.reached, fit_base.rates)  # (H, n)
    # arriving at the budget itself is still earlier than never
    gap = (at_rates(arm.log, fit.rates) - 1e-6 * ours) - (at_rates(base.log, fit_base.rates) - 1e-6 * theirs)
    first = (np.where(np.abs(gap) < 1e-9, 0.5, gap < 0)).mean(axis=0)
    return Contrast(n, fit.mean - fit_base.mean, error, ours.mean(axis=0) >= 0.5, theirs.mean(axis=0) >= 0.5, first)


def unpaired(arm: Panel, fit: Crossfit, base: Panel, fit_base: Crossfit) -> Contrast:
    """Two arms on different seeds: errors add, and the smaller sample gives the degrees of freedom."""
    n = min(len(arm.seeds), len(base.seeds))
    errors = [standard_error(f.draws, len(p.seeds)) for f, p in ((fit, arm), (fit_base, base))] if n >= 3 else [NAN]
    error = float(np.linalg.norm(errors))
    ours, theirs = at_rates(arm.reached, fit.rates), at_rates(base.reached, fit_base.rates)
    when = at_rates(arm.log, fit.rates) - 1e-6 * ours
    when_base = at_rates(base.log, fit_base.rates) - 1e-6 * theirs
    gap = when[:, :, None] - when_base[:, None, :]  # (H, n, n_base)
    share = float(np.where(np.abs(gap) < 1e-9, 0.5, gap < 0).mean())
    reached = ours.mean(axis=0) >= 0.5, theirs.mean(axis=0) >= 0.5
    return Contrast(n, fit.mean - fit_base.mean, error, *reached, np.full(n, share), paired=False)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p of McNemar's test: discordant pairs are fair coins.

    >>> mcnemar(10, 0)
    0.001953125
    """
    discordant = only_first + only_second
    return float(sps.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down p values (Holm 1979); a test that could not be made (NaN) stays in the family as 1.

    ``p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))``. Not statsmodels' `multipletests`: that one runs the garbage
    collector in every call (0.1 s), too much for thousands of simulated studies; the tests compare with it.

    >>> holm([0.01, 0.04, float("nan")]).round(3).tolist()
    [0.03, 0.08, 1.0]
    """
    values = np.nan_to_num(np.asarray(p, dtype=float), nan=1.0)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    out = np.empty(len(values))
    out[order] = np.minimum(stepped, 1.0)
    return out


def kind(one: Contrast, side: Side, base: Side) -> tuple[str, str]:
    """(test, why none): which test the gates allow."""
    if one.n < MIN_SEEDS:
        return "", "few"
    open_, open_base = side.share >= GATE, base.share >= GATE
    if open_ and open_base:
        return "ratio", ""
    return ("reached", "") if open_ or open_base else ("", "steps")


def verdicts(
    contrasts: Sequence[Contrast],
    sides: Sequence[Side],
    bases: Sequence[Side],
    *,
    at: tuple[int, ...] = (),
    others: int = 0,
) -> list[Verdict]:
    """One verdict per contrast of a side with its base: together they are the family of Holm's correction.

    `at`: the sizes of all looks at these pairs, planned and past; none for a look that is the only one. `others`: more
    members of the family, which are not tested again and not rejected.
    """
    kinds = [kind(one, side, base) for one, side, base in zip(contrasts, sides, bases)]
    p = [
        NAN if not test else one.p_ratio if test == "ratio" else one.p_reached
        for one, (test, _) in zip(contrasts, kinds)
    ]
    counted = holm([*(nested.adjusted(each, at) for each in p), *[NAN] * others])
    out = []
    for one, side, base, (test, why), raw, adjusted in zip(contrasts, sides, bases, kinds, p, counted):
        word = "undecided"
        if test:
            word, why = _word(one, side, base, test, float(adjusted), at)
        out.append(Verdict(word, why, test, raw, float(adjusted) if test else NAN))
    return out


def _word(one: Contrast, side: Side, base: Side, test: str, adjusted: float, at: tuple[int, ...]) -> tuple[str, str]:
    if test == "ratio":
        low, high = one.interval(1 - nested.level(at, 2 * ALPHA))
        if one.n >= MIN_EQUIVALENT and -np.log(MARGIN) <= low and high <= np.log(MARGIN):
            return ("undecided", "lr") if side.at_edge or base.at_edge else ("equivalent", "")
        faster = one.estimate < 0
    else:
        faster = side.share >= GATE
    if not adjusted < ALPHA:
        return "undecided", "seeds"
    loser = base if faster else side
    return ("undecided", "lr") if loser.at_edge else ("faster" if faster else "slower", "")


def stands(verdict: Verdict, earlier: Verdict) -> Verdict:
    """A decided word that another evaluation grid would change is none."""
    if verdict.word in DECIDED and earlier.word != verdict.word:
        return verdict._replace(word="undecided", why="grid")
    return verdict


# P(a word) that the seeds named shall have. Above 80%, because effects that are undecided are nearer to the margin than a flat
# prior says: with .88, 80% of the pairs of simulated studies get a word (benchmarks/seeds.py)
SURE = 0.88


def seeds_to_decide(one: Contrast, test: str, family: int, at: Sequence[int] = ()) -> int | None:
    """How many seeds in all would probably decide, judged as one more look; None: more than 1000.

    The smallest m > n with ``P(|D| >= t_{1 - a/2k} s/sqrt(m) or |D| <= log 1.1 - t_{1-b/2} s/sqrt(m)) >= SURE``: faster or slower, or
    equivalent. D, the estimate from m seeds, n of which are there: ``d + t_{n-1} s sqrt(1/n - 1/m)``. k = `family`: the
    comparisons that Holm's correction still counts; a and b: levels of a look, of the looks `at` and this one.

    >>> one = Contrast(10, float(np.log(1.5)), 0.2, *[np.ones(10, bool)] * 2, np.zeros(10))
    >>> seeds_to_decide(one, "ratio", 7)
    117
    """
    looks = tuple(at) if at and at[-1] > one.n else (*(at or (one.n,)), 4 * max(one.n, 1))
    alpha, beta = nested.level(looks, ALPHA), nested.level(looks, 2 * ALPHA)
    m = np.arange(max(one.n + 1, MIN_SEEDS), 1001)
    if test == "reached" and not one.paired:
        return None
    if test == "reached":
        only = (one.reached & ~one.reached_base).sum() / one.n
        only_base = (one.reached_base & ~one.reached).sum() / one.n
        more, less = max(only, only_base) * m, min(only, only_base) * m
        a, b = np.round(more), np.round(less)  # the counts that the same shares would give
        enough = 2 * sps.binom.cdf(b, a + b, 0.5) < alpha / family
        return int(m[np.argmax(enough)]) if enough.any() else None
    if np.isnan(one.error):
        return MIN_SEEDS
    spread, d, df = max(one.error, 1e-12) * np.sqrt(one.n), abs(one.estimate), one.n - 1
    error, moves = spread / np.sqrt(m), spread * np.sqrt(1 / one.n - 1 / m)
    equal = np.where(m >= MIN_EQUIVALENT, np.log(MARGIN) - student.ppf(1 - beta / 2, m - 1) * error, 0.0).clip(0.0)
    differ = np.maximum(student.ppf(1 - alpha / 2 / family, m - 1) * error, equal)
    above = {bound: [student.sf((side * bound_at - d) / moves, df) for side in (1, -1)]
             for bound, bound_at in (("equal", equal), ("differ", differ))}  # fmt: skip
    word = above["differ"][0] + 1 - above["differ"][1] + above["equal"][1] - above["equal"][0]
    enough_at = np.flatnonzero(word >= SURE)
    return int(m[enough_at[0]]) if len(enough_at) else None


def callable_ratio(errors: np.ndarray, n: int, family: int) -> float:
    """The smallest ratio above 1 that probably gets a word: ``exp((t_{1 - .05/2k} + t_.8) median error)``.

    errors (k,): standard errors of log ratios from n pairs of seeds; k = `family`: the first step of Holm.

    >>> round(callable_ratio(np.array([0.1]), 10, 1), 2)
    1.37
    """
    critical = student.ppf(1 - ALPHA / 2 / family, n - 1) + student.ppf(0.8, n - 1)
    return float(np.exp(critical * np.median(errors)))
