"""Is the number of seeds that a report names enough? Studies of normal log steps, grown to the seeds named for each pair.

    python -m benchmarks.seeds        # a table, in two minutes

Every pair that is undecided at n seeds for want of seeds is judged again in the same study, grown to the number that was named
for it, as a second look. Aim: 80% of the pairs get a word.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from initbench.stats import verdict
from initbench.stats.verdict import Contrast, Side

FIRST, MOST, STUDIES = 10, 1000, 400
OPEN = Side(1.0, "")


def contrasts(logs: np.ndarray, n: int) -> list[Contrast]:
    """The arms against the first; logs: (arms, seeds), of which the first n are run."""
    gaps, there = logs[1:, :n] - logs[0, :n], np.ones(n, bool)
    errors = gaps.std(axis=1, ddof=1) / np.sqrt(n)
    return [Contrast(n, float(g.mean()), float(e), there, there, np.zeros(n)) for g, e in zip(gaps, errors)]


def judged(logs: np.ndarray, n: int, at: tuple[int, ...] = ()) -> list[verdict.Verdict]:
    found = contrasts(logs, n)
    return verdict.verdicts(found, [OPEN] * len(found), [OPEN] * len(found), at=at)


def paths(arms: int, sd: float, effect: float, rng: np.random.Generator, studies: int) -> list[tuple[int, bool]]:
    """(seeds named, whether they decided) of every pair that was advised; true log ratios: N(0, effect)."""
    out = []
    for _ in range(studies):
        true = np.concatenate([[0.0], rng.normal(0, effect, arms - 1)])
        logs = true[:, None] + rng.normal(0, sd, (arms, MOST))
        for i, needed in advised(contrasts(logs, FIRST), judged(logs, FIRST)):
            again = judged(logs, needed, (FIRST, needed))[i]
            out.append((needed, again.word != "undecided"))
    return out


def advised(found: Sequence[Contrast], said: Sequence[verdict.Verdict]) -> list[tuple[int, int]]:
    """(which pair, seeds named for it)"""
    out = []
    counted = sum(word.word not in ("faster", "slower") for word in said)
    for i, (one, word) in enumerate(zip(found, said)):
        if word.why == "seeds":
            needed = verdict.seeds_to_decide(one, word.test, counted)
            if needed is not None:
                out.append((i, needed))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES)
    studies = parser.parse_args().studies
    rng = np.random.default_rng(20250101)
    print("| arms | sd | sd of true log ratios | pairs advised | median seeds named | decided there |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    shares = []
    for arms in (2, 6, 16):
        for sd, effect in ((0.25, 0.1), (0.25, 0.3), (0.25, 0.6), (0.5, 0.3), (0.5, 0.6)):
            found = paths(arms, sd, effect, rng, max(1, studies // arms))
            named, shares = [n for n, _ in found], [*shares, float(np.mean([good for _, good in found]))]
            print(f"| {arms} | {sd} | {effect} | {len(found)} | {np.median(named):.0f} | {shares[-1]:.0%} |")
    print(f"\nmean of the cells: {np.mean(shares):.0%}")


if __name__ == "__main__":
    main()
