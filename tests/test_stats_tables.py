"""Curves, restricted means, summaries, profiles, factors, two studies: published numbers and known answers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sps

import frames
from hand import NEVER, runs_of, spread, tuned
from initbench import stats
from initbench.errors import InputError
from initbench.stats.intervals import bootstrap_medians
from initbench.stats.rates import lr_profile
from initbench.stats.summary import interquartile_mean, loss_area

# Freireich et al. (1963), Blood 21: weeks of remission of leukaemia under 6-MP (9 relapses, 12 censored) and placebo.
SIX_MP = np.array([6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35], dtype=float)
SIX_MP_RELAPSED = np.array([True] * 9 + [False] * 12)
PLACEBO = np.array([1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], dtype=float)


def test_kaplan_meier_of_published_data():
    """Literal numbers: lifelines 0.30.3, KaplanMeierFitter().fit(...).survival_function_ and its event table."""
    curve = stats.kaplan_meier(SIX_MP, SIX_MP_RELAPSED)
    assert curve.steps.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curve.waiting == pytest.approx(
        [0.857143, 0.806723, 0.752941, 0.690196, 0.627451, 0.537815, 0.448179], abs=1e-6
    )
    assert curve.error == pytest.approx([0.07636, 0.086935, 0.09635, 0.106815, 0.114054, 0.128234, 0.134591], abs=1e-6)
    assert curve.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]


def test_restricted_mean_of_published_data():
    """Literal means: lifelines 0.30.3, restricted_mean_survival_time. Without censoring the error is sd / sqrt(n)."""
    curve = stats.kaplan_meier(SIX_MP, SIX_MP_RELAPSED)
    assert stats.restricted_mean(curve, 35)[0] == pytest.approx(23.287394957983185)
    assert stats.restricted_mean(curve, 20)[0] == pytest.approx(16.1165266, abs=1e-6)
    placebo = stats.kaplan_meier(PLACEBO, np.ones(21, bool))
    mean, error = stats.restricted_mean(placebo, 35)
    assert mean == pytest.approx(PLACEBO.mean()) == pytest.approx(8.666666666666666)
    assert error == pytest.approx(PLACEBO.std() / np.sqrt(21))
    assert stats.restricted_mean(placebo, 12) == pytest.approx(
        (7.285714285714285, np.minimum(PLACEBO, 12).std() / np.sqrt(21))
    )


def test_kaplan_meier_is_that_of_scipy_on_random_data():
    rng = np.random.default_rng(3)
    t, watched = rng.integers(1, 30, 60).astype(float), rng.random(60) < 0.6
    data = sps.CensoredData.right_censored(t, ~watched)
    theirs = sps.ecdf(data).sf
    ours = stats.kaplan_meier(t, watched)
    at = np.isin(theirs.quantiles, ours.steps)
    assert ours.waiting == pytest.approx(theirs.probabilities[at])


def test_trained_by_step_is_one_minus_kaplan_meier_and_counts_everybody():
    runs = runs_of({"arm": {0.1: [10, 20, 20, NEVER, 30, NEVER, 300, 5]}}, failed={"arm": [3]})
    curve = stats.trained_by_step(runs)
    assert curve[["step", "arrived"]].values.tolist() == [[0, 0], [5, 1], [10, 2], [20, 4], [30, 5], [300, 6]]
    assert (curve["n"] == 8).all()
    steps = runs["steps_to_target"].to_numpy()
    km = stats.kaplan_meier(np.where(np.isnan(steps), np.inf, steps), ~np.isnan(steps))
    assert (1 - km.waiting) == pytest.approx(curve["share"].iloc[1:])
    low, high = sps.binomtest(4, 8).proportion_ci(method="wilson")
    assert curve.loc[3, ["low", "high"]].tolist() == pytest.approx([low, high])


def test_summary_drops_nobody():
    """Two of four never arrive, one of them diverged: median infinite (20 and never), mean of min(T, 100) = 57.5."""
    runs = runs_of({"arm": {0.1: [10, 20, NEVER, NEVER]}}, tau=100, diverged={"arm": [3]}, loss={"arm": 1.0})
    row = stats.summary(runs).iloc[0]
    assert (row["n"], row["reached"], row["diverged"]) == (4, 2, 1)
    assert row["steps"] == np.inf
    assert row["restricted_mean"] == pytest.approx((10 + 20 + 100 + 100) / 4)
    assert row["final_loss"] == pytest.approx((1.01 + 1.02) / 2)  # median of 1.00, 1.01, 1.02, inf
    assert row["final_loss"] == stats.ranked(runs).iloc[0]["loss_train"]


@pytest.mark.parametrize("n", [3, 6, 7, 10, 21])
def test_the_interval_of_a_median_is_the_exact_bootstrap(n):
    """Against every resample where they can be listed, else against a million drawn ones."""
    values = np.sort(np.random.default_rng(n).integers(50, 90, n).astype(float))
    values[-1] = np.inf
    if n**n <= 10**5:
        drawn = np.array(list(product(range(n), repeat=n)))
    else:
        drawn = np.random.default_rng(1).integers(0, n, (200_000, n))
    with np.errstate(invalid="ignore"):
        medians = np.median(values[drawn], axis=1)
    low, high, share = bootstrap_medians(n)
    assert share.sum() == pytest.approx(1)
    exact = (values[low] + values[high]) / 2
    for at in np.unique(medians)[:-1:3]:
        assert share[exact <= at].sum() == pytest.approx((medians <= at).mean(), abs=1e-12 if n**n <= 10**5 else 0.005)
    assert stats.median_interval(values)[1:] == tuple(np.quantile(medians, [0.025, 0.975], method="inverted_cdf"))


def test_interquartile_mean_is_scipys_trim():
    values = np.array([5.0, 1.0, 9.0, 3.0, 7.0, np.inf, 0.0, 4.0])
    assert interquartile_mean(values) == pytest.approx(np.mean([3, 4, 5, 7]))


def test_loss_area_is_the_trapezoid_and_a_diverged_run_is_infinite():
    runs = pd.DataFrame({"run": ["a", "b", "c"]})
    rows = [("a", 0, 2.0), ("a", 10, 1.0), ("a", 40, 0.5), ("b", 0, 2.0), ("b", 10, np.nan), ("b", 40, np.nan)]
    history = pd.DataFrame(rows, columns=["run", "step", "value"]).assign(metric="loss/train")
    history["layer"] = pd.array([pd.NA] * len(history), "Int16")
    area = loss_area(runs, history)
    assert area[0] == pytest.approx(np.trapezoid([2.0, 1.0, 0.5], [0, 10, 40]) / 40)
    assert area[1:].tolist() == [np.inf, np.inf]


def test_a_profile_of_learning_rates_by_hand():
    """The geometric mean of the steps chooses, not their median, and never a rate that was dropped."""
    runs = runs_of({"a": {0.1: [10, 10, 270], 0.3: [20, 20, 20], 1.0: [5, 5, NEVER]}}, tau=300, diverged={"a": [2]})
    profile = lr_profile(runs.assign(lr_dropped=runs["optim.lr"] == 1.0))
    counts = profile[["lr", "n", "reached", "diverged", "failed", "chosen"]].to_numpy(float).tolist()
    assert counts == [[0.1, 3, 3, 1, 0, 0], [0.3, 3, 3, 1, 0, 1], [1.0, 3, 2, 1, 0, 0]]
    assert profile["mean_steps"].to_numpy() == pytest.approx([30, 20, (5 * 5 * 300) ** (1 / 3)])
    assert profile["steps"].tolist() == [10, 20, 5]
    assert lr_profile(runs_of({"a": {0.1: [9, 9]}}, failed={"a": [1]}))["failed"].tolist() == [1]


def test_performance_profile_by_hand():
    """a: best in s, 2x in t, below the gate in u; b: 4x in s, best in t, best in u."""
    board = pd.DataFrame(
        {
            "setting": list("ssttuu"), "setup": list("ababab"), "mean_steps": [10.0, 40.0, 60.0, 30.0, 5.0, 90.0],
            "share": [1.0, 1.0, 1.0, 1.0, 0.7, 0.9],
        }
    )  # fmt: skip
    table = stats.performance_profile(board, np.array([1.0, 2.0, 4.0, 8.0])).pivot(
        index="setup", columns="ratio", values="within"
    )
    assert table.loc["a"].tolist() == [1, 2, 2, 2]
    assert table.loc["b"].tolist() == [2, 2, 3, 3]


# ---- factors


def grid(cost: dict[str, dict[str, float]], n: int = 12, sd: float = 0.1) -> pd.DataFrame:
    """init x sharing; cost[sharing][init] multiplies the steps."""
    arms = {}
    for sharing, by_init in cost.items():
        for i, (init, factor) in enumerate(by_init.items()):
            steps = [t * factor if np.isfinite(factor) else NEVER for t in spread(100, n, sd, i)]
            arms[f"{init} · {sharing}"] = tuned(steps)
    return runs_of(arms, tau=3000)


def test_main_effect_and_interaction_by_hand():
    """all costs 2x, 2x and 1.1x: on average (2 * 2 * 1.1)^(1/3); under orthogonal 1.1, .55 of the effect elsewhere."""
    inits = ("xavier", "kaiming", "orthogonal")
    runs = grid({"none": dict.fromkeys(inits, 1.0), "all": dict(zip(inits, (2.0, 2.0, 1.1)))})
    found = stats.effects(runs, stats.ranked(runs)).set_index(["factor", "level", "given"])
    main = found.loc[("sharing.name", "all", "")]
    assert main["effect"] == pytest.approx((2 * 2 * 1.1) ** (1 / 3), rel=0.01)
    assert main[["cells", "open_cells", "scale", "reference"]].tolist() == [3, 3, "steps", "none"]
    assert main["low"] <= main["effect"] <= main["high"]
    under = found.loc[("sharing.name", "all", "init.name=orthogonal")]
    assert under["effect"] == pytest.approx(1.1, rel=0.01)
    assert under["interaction"] == pytest.approx(1.1 / 2.0, rel=0.01)
    assert under["interaction_high"] < 1
    assert found.loc[("init.name", "kaiming", "sharing.name=all"), "effect"] == pytest.approx(1.0, rel=0.03)


def test_effects_turn_to_ranks_when_most_cells_never_arrive():
    """none: a < b < c < d, all arrive; all: only a arrives. One open cell of four: ranks speak, steps would say 1x."""
    runs = grid(
        {"none": {"a": 1.0, "b": 1.2, "c": 1.5, "d": 2.0}, "all": {"a": 1.0, "b": np.inf, "c": np.inf, "d": np.inf}},
        sd=0.0,
    )
    row = (
        stats.effects(runs, stats.ranked(runs)).set_index(["factor", "level", "given"]).loc[("sharing.name", "all", "")]
    )
    assert (row["scale"], row["cells"], row["open_cells"]) == ("rank", 4, 1)
    # ranks 0..7: none .5 (tied with all a), 2, 3, 4; all .5, 6, 6, 6 -> mean difference (0 + 4 + 3 + 2) / 4 / 7
    assert row["effect"] == pytest.approx(9 / 4 / 7)


def test_effects_of_a_full_study_agree_with_its_own_means():
    """Main effect of sharing = geometric mean of the ratios of mean steps over initializers that arrive in both."""
    runs, _, study = frames.make_study(layer_metrics=())
    judged = stats.judge(runs, study)
    found = stats.effects(runs, judged.board)
    row = found[(found["factor"] == "sharing.name") & (found["given"] == "")].iloc[0]
    wide = (
        judged.board[judged.board["share"] >= 0.8].pivot(index="init", columns="sharing", values="mean_steps").dropna()
    )
    assert row["effect"] == pytest.approx(np.exp(np.log(wide["all"] / wide["none"]).mean()), rel=1e-6)
    assert row["open_cells"] == len(wide)


def test_one_arm_has_no_factors():
    runs = runs_of({"a · none": tuned([10.0] * 8)})
    assert stats.factors_of(runs) == {}
    assert stats.effects(runs, stats.ranked(runs)).empty


# ---- two studies


def test_the_same_study_twice_is_equivalent_bit_for_bit():
    runs = runs_of({"a": tuned(spread(60, 12, 0.3, 0)), "b": tuned(spread(90, 12, 0.3, 1))})
    table = stats.compare_studies(runs, runs.copy())
    assert table["verdict"].tolist() == ["equivalent"] * 2
    assert table["same_bits"].all()
    assert table["paired"].all()


def test_a_slower_second_study_is_slower_paired_or_not():
    a = runs_of({"x": tuned(spread(60, 12, 0.1, 0))})
    for seeds in (range(12), range(20, 32)):
        b = runs_of({"x": tuned(spread(120, 12, 0.1, 1))}, seeds=seeds)
        row = stats.compare_studies(a, b).iloc[0]
        assert row["verdict"] == "slower"
        assert row["paired"] == (seeds[0] == 0)
        assert row["ratio"] == pytest.approx(2.0, rel=0.03)
        assert not row["same_bits"]


def test_unpaired_errors_are_those_of_two_samples():
    a, b = spread(60, 20, 0.2, 0), spread(70, 20, 0.3, 1)
    row = stats.compare_studies(runs_of({"x": {0.1: a}}), runs_of({"x": {0.1: b}}, seeds=range(50, 70))).iloc[0]
    se = np.sqrt(np.log(a).var(ddof=1) / 20 + np.log(b).var(ddof=1) / 20)
    assert np.log(row["ratio_high"] / row["ratio_low"]) == pytest.approx(2 * sps.t.ppf(0.975, 19) * se, rel=0.05)
    faster = np.mean([[(y < x) + 0.5 * (x == y) for y in b] for x in a])
    assert row["p_faster"] == pytest.approx(faster)


def test_arrivals_on_other_seeds_are_compared_by_fishers_test():
    a = runs_of({"x": tuned([60.0] * 10)})
    b = runs_of({"x": tuned([60.0] * 2 + [NEVER] * 8)}, seeds=range(10, 20), loss={"x": 1.0})
    row = stats.compare_studies(a, b).iloc[0]
    assert row["test"] == "reached"
    assert row["p"] == pytest.approx(sps.fisher_exact([[2, 10], [8, 0]])[1])


def test_studies_without_a_common_arm_are_refused():
    with pytest.raises(InputError, match="x in s against y in s"):
        stats.compare_studies(runs_of({"x": tuned([1.0] * 8)}), runs_of({"y": tuned([1.0] * 8)}))
