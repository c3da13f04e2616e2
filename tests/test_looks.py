"""Looking again: the chance of nested looks against SciPy and by simulation, words that stand, rates that are dropped."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from hand import NEVER, runs_of, spread, tuned
from initbench import stats
from initbench.stats import choice, looks, nested, verdict
from initbench.stats.panel import Panel, panels

SIZES = (10, 20, 40, 80, 200)


@given(
    steps=st.lists(st.integers(1, 100), min_size=2, max_size=5),
    first=st.integers(2, 100),
    bound=st.floats(0.5, 4.0),
)
@settings(max_examples=25, deadline=None)
def test_the_chance_of_crossing_is_that_of_correlated_normals(steps, first, bound):
    at = np.cumsum([first, *steps])
    correlation = np.sqrt(np.minimum.outer(at, at) / np.maximum.outer(at, at))
    inside = sps.multivariate_normal(cov=correlation, allow_singular=True).cdf(
        np.full(len(at), bound), lower_limit=np.full(len(at), -bound), rng=np.random.default_rng(1)
    )
    assert nested.crossed(tuple(at), bound) == pytest.approx(1 - inside, abs=2e-4)


@given(
    p=st.floats(1e-12, 0.999), q=st.floats(1e-12, 0.999), first=st.integers(1, 30), factors=st.lists(st.integers(2, 4), max_size=4)
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_counting_the_looks_never_helps_and_costs_at_most_their_number(p, q, first, factors):
    at = tuple(int(n) for n in first * np.cumprod([1, *factors]))
    one, other = nested.adjusted(p, at), nested.adjusted(q, at)
    assert p <= one <= min(1.0, len(at) * p) + 1e-6
    assert (one <= other + 1e-9) == (p <= q) or abs(one - other) < 1e-6
    assert nested.adjusted(nested.level(at, 0.05), at) == pytest.approx(0.05, abs=1e-6)


def test_what_cannot_be_tested_stays_so():
    assert np.isnan(nested.adjusted(float("nan"), SIZES))
    assert nested.adjusted(0.0, SIZES) == pytest.approx(0.0, abs=1e-12)
    assert nested.adjusted(1.0, SIZES) == 1.0


@pytest.mark.parametrize(("first", "most"), [(10, 200), (8, 20), (10, 25), (50, 40), (3, 1000)])
def test_planned_sizes_grow_and_end_at_the_most(first, most):
    at = nested.sizes(first, most)
    assert at[0] == first
    assert at[-1] == max(first, most)
    assert all(1.4 < b / a < 3 or (a, b) == (first, most) for a, b in itertools.pairwise(at))


def test_equal_arms_are_called_different_in_at_most_5_percent_of_whole_paths():
    """Normal logs, one rate: the words of verdicts() at nested looks, against looking again without counting."""
    paths = 1500
    d = np.random.default_rng(7).normal(0, 0.3, (paths, SIZES[-1]))
    least = np.min([sps.ttest_1samp(d[:, :n], 0, axis=1).pvalue for n in SIZES], axis=0)
    naive, counted = (least < 0.05).sum(), sum(nested.adjusted(p, SIZES) < 0.05 for p in least)
    error = np.sqrt(0.05 * 0.95 / paths)
    assert abs(counted / paths - 0.05) < 3 * error
    assert naive / paths > 0.12


def growing(n: int) -> pd.DataFrame:
    """Four arms: the baseline, an equal one, one twice as slow, and one that takes more seeds than there are to tell."""
    arms = {"base": (66, 0.2, 1), "equal": (66, 0.2, 2), "slow": (132, 0.2, 3), "near": (70.5, 0.3, 4)}
    return runs_of({name: tuned(list(spread(mean, 200, sd, seed)[:n])) for name, (mean, sd, seed) in arms.items()})


def path(study: dict | None = None) -> list[dict]:
    rows: list[dict] = []
    for number, n in enumerate(SIZES):
        rows += looks.take(growing(n), study or {"target": None, "baseline": "base"}, None, SIZES, number, rows)
    return rows


def test_a_pair_is_looked_at_until_it_has_a_word_which_stands():
    rows = path()
    by = {setup: [row for row in rows if row["setup"] == setup] for setup in ("equal", "slow", "near")}
    assert [row["verdict"] for row in by["slow"]] == ["slower"]
    assert by["equal"][-1]["verdict"] == "equivalent"
    assert all(row["verdict"] == "undecided" and row["why"] == "seeds" for row in by["equal"][:-1])
    assert [row["seeds"] for row in by["near"]] == [*SIZES]
    assert json.loads(json.dumps(rows)) == rows  # as study.json holds it
    assert set(rows[0]) == set(looks.LOOK_COLUMNS)


def test_rejected_pairs_leave_the_family_and_equivalent_ones_do_not():
    rows = path()
    families = {row["look"]: row["family"] for row in rows}
    fell = next(row["look"] for row in rows if row["verdict"] == "equivalent")
    assert families[0] == 3
    assert families[1] == 2
    assert families[fell + 1] == 2  # equal is not judged again, and counts


def test_the_interval_of_a_look_is_the_repeated_one():
    row = path()[-1]
    at = np.log(spread(70.5, 200, 0.3, 4)) - np.log(spread(66, 200, 0.2, 1))
    half = sps.t.isf(nested.level(SIZES, 0.05) / 2, 199) * at.std(ddof=1) / np.sqrt(200)
    assert np.log(row["ratio_high"] / row["ratio_low"]) / 2 == pytest.approx(half, rel=0.05)
    assert row["p_holm"] >= nested.adjusted(row["p"], SIZES)


def test_judging_a_decided_study_says_what_its_last_looks_said():
    rows = path()
    judged = stats.judge(growing(200), {"looks": rows, "baseline": "base", "arms": []}).pairs.set_index("setup")
    slow = next(row for row in rows if row["setup"] == "slow")
    assert judged.loc["slow", ["verdict", "pairs", "decided_at", "look", "ratio"]].tolist() == [
        "slower", 10, 10, 0, slow["ratio"]
    ]  # fmt: skip
    assert judged.loc["near", "verdict"] == "undecided"
    assert pd.isna(judged.loc["near", "decided_at"])
    assert judged.loc["base", "verdict"] == "baseline"
    other = stats.judge(growing(200), {"looks": rows, "arms": []}, baseline="slow").pairs.set_index("setup")
    assert pd.isna(other.loc["near", "look"])  # another baseline: other pairs, which nobody has looked at


def test_decided_at_counts_the_seeds_that_both_have():
    rows = [{**row, "pairs": row["pairs"] - 1} for row in path()]  # a seed of one side has failed
    judged = stats.judge(growing(200), {"looks": rows, "baseline": "base", "arms": []}).pairs.set_index("setup")
    assert judged.loc["slow", ["decided_at", "n_baseline"]].tolist() == [9, 10]


def test_once_a_word_has_fallen_the_baseline_stands():
    rows = [{**row, "baseline": "equal"} for row in path()[:3]]
    more = looks.take(growing(20), {"target": None, "baseline": "base"}, None, SIZES, 1, rows)
    assert {row["baseline"] for row in more} == {"equal"}


def test_a_dropped_rate_is_judged_on_its_own_seeds_only():
    whole = runs_of({"a": {0.1: list(spread(60, 20, 0.2, 1)), 0.3: list(spread(90, 20, 0.2, 2))}})
    runs = whole[(whole["optim.lr"] == 0.1) | (whole["seed"] < 10)].assign(lr_dropped=lambda r: r["optim.lr"] == 0.3)
    one = panels(runs)["a in s"]
    assert one.usable.all()
    assert one.kept.tolist() == [True, False]
    assert one.at(np.arange(20)).lrs.tolist() == [0.1]
    assert one.at(np.arange(10)).lrs.tolist() == [0.1, 0.3]
    assert choice.best(one) == 0
    without = panels(whole[(whole["optim.lr"] == 0.1) | (whole["seed"] < 10)])["a in s"]
    assert without.usable.sum() == 10  # not said to be dropped: its other runs are missing


@pytest.mark.parametrize(("best", "at"), [(0, "low"), (1, ""), (2, "high")])
def test_the_best_rate_and_the_end_it_lies_at(best, at):
    log = np.full((3, 9), 5.0) + np.random.default_rng(0).normal(0, 0.01, (3, 9))
    log[best] -= 1
    one = Panel(np.array([0.1, 0.2, 0.3]), np.arange(9), log, np.ones((3, 9)), np.ones((3, 9)))
    assert choice.best(one) == best
    assert choice.edge(one) == at
    assert choice.hopeless(one).tolist() == [rate != best for rate in range(3)]


def test_a_rate_that_may_win_is_not_dropped():
    rng = np.random.default_rng(3)
    dropped = 0
    for _ in range(300):
        log = rng.normal(4, 0.25, (2, 10))
        dropped += choice.hopeless(
            Panel(np.array([0.1, 0.3]), np.arange(10), log, np.ones((2, 10)), np.ones((2, 10)))
        ).any()
    assert dropped <= 6  # two equal rates: 3.5 standard errors, twice .34%
    few = Panel(np.array([0.1, 0.3]), np.arange(7), np.log([[9.0] * 7, [99.0] * 7]), np.ones((2, 7)), np.ones((2, 7)))
    assert not choice.hopeless(few).any()


def test_arrivals_are_looked_at_too():
    runs = runs_of({"base": tuned([60.0] * 20), "arm": tuned([60.0] * 3 + [NEVER] * 17)})
    rows = looks.take(runs, {"target": None, "baseline": "base"}, None, (20, 40), 0)
    assert [(row["test"], row["verdict"]) for row in rows] == [("reached", "slower")]
    assert rows[0]["p_holm"] == pytest.approx(nested.adjusted(verdict.mcnemar(0, 17), (20, 40)))
