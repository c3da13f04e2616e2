"""Statistics for analyses of one's own, against SciPy and by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

import initbench as ib
from conftest import assert_template
from initbench.errors import InputError

VALUES = st.lists(st.sampled_from([0.0, 1.0, 2.5, 7.0, np.inf]), min_size=5, max_size=20)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(pairs=VALUES.flatmap(lambda x: st.tuples(st.just(x), st.permutations(x))))
def test_rank_correlations_are_scipys(pairs):
    """Also with ties and runs that never arrived; NaN where one side does not vary."""
    x, y = pairs
    found = ib.stats.rank_correlation(x, y)
    if len(set(x)) == 1:
        assert np.isnan(found.value)
        return
    # SciPy ranks infinity like any other number
    assert found.value == pytest.approx(scipy_stats.spearmanr(x, y).statistic, abs=1e-12)
    assert found.low <= found.value <= found.high
    assert found.n == len(x)


def test_the_interval_of_a_rank_correlation_covers():
    """95% of 2,000 Gaussian samples of 25 with Spearman's correlation .6, within 4 standard errors."""
    r = 2 * np.sin(np.pi / 6 * 0.6)
    draw = np.random.default_rng(1)
    x = draw.standard_normal((2000, 25))
    y = r * x + np.sqrt(1 - r**2) * draw.standard_normal((2000, 25))
    ends = [ib.stats.rank_correlation(a, b)[1:3] for a, b in zip(x, y)]
    covered = np.mean([low <= 0.6 <= high for low, high in ends])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 2000))


def test_rank_correlations_without_a_number():
    for x, y in (([1, 2, 3, np.nan, 5], [1, 2, 3, 4, 5]), ([1], [2]), ([], [])):
        assert np.isnan(ib.stats.rank_correlation(x, y).value)
    few = ib.stats.rank_correlation([1, 2, 3, 4], [1, 2, 4, 3])
    assert few.value == pytest.approx(0.8)
    assert np.isnan(few.low)
    assert ib.stats.rank_correlation(range(9), range(9)) == (1.0, 1.0, 1.0, 9)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 20), (1, 20), (10, 20), (19, 20), (20, 20), (364, 4000)])
def test_exact_shares_are_scipys(k, n, confidence):
    theirs = scipy_stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert ib.stats.exact_share(k, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert np.isnan(ib.stats.exact_share(0, 0)).all()


def race(words, p) -> pd.DataFrame:
    return pd.DataFrame({"setup": [f"s{i}" for i in range(len(p))], "verdict": words, "p": p, "p_holm": p})


def test_races_are_one_family():
    """p values are Holm's over all rows; a word that does not stand in the family is taken back, no other is."""
    races = {
        "a": race(["faster", "undecided"], [0.001, 0.3]),
        "b": race(["slower", "equivalent", "faster"], [0.02, np.nan, 0.012]),
    }
    found = ib.stats.holm_over(races)
    assert found["race"].tolist() == ["a", "a", "b", "b", "b"]
    # 5 x .001; 4 x .012; 3 x .02; then 2 x .3 and 1, each at least the one before
    assert found["p_holm"].to_numpy() == pytest.approx([0.005, 0.6, 0.06, 1.0, 0.048])
    assert found["verdict"].tolist() == ["faster", "undecided", "undecided", "equivalent", "faster"]
    assert found["p_holm"].to_numpy() == pytest.approx(ib.stats.holm(found["p"]))
    itself = pd.DataFrame({"setup": ["c"], "verdict": ["baseline"], "p": [np.nan], "p_holm": [np.nan]})
    with_baselines = ib.stats.holm_over({name: pd.concat([itself, table]) for name, table in races.items()})
    compared = with_baselines[with_baselines["verdict"] != "baseline"]  # a baseline is compared with nothing
    assert compared["p_holm"].tolist() == found["p_holm"].tolist()
    strict = ib.stats.holm_over(races, level=0.01)
    assert strict["verdict"].tolist() == ["faster", "undecided", "undecided", "equivalent", "undecided"]
    assert races["b"]["verdict"].tolist() == ["slower", "equivalent", "faster"]  # what came in is as it was


@pytest.mark.parametrize(
    "call",
    [
        lambda: ib.stats.rank_correlation([1, 2], [1, 2, 3]),
        lambda: ib.stats.rank_correlation([[1, 2]], [[1, 2]]),
        lambda: ib.stats.exact_share(3, 2),
        lambda: ib.stats.exact_share(1, 2, confidence=95),
        lambda: ib.stats.holm_over({}),
        lambda: ib.stats.holm_over({"a": pd.DataFrame({"p": [0.1]})}),
    ],
)
def test_misuse_is_one_line(call):
    with pytest.raises(InputError) as refusal:
        call()
    assert_template(str(refusal.value))


def test_the_rooms_of_analyses_are_public_names():
    assert ib.stats.exact_share is not None
    assert ib.theory.cross_entropy_at_start(0.0, 10) == pytest.approx(np.log(10))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ib.nothing
