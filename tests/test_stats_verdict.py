"""Verdicts: against slow oracles, against SciPy, and on hand-made frames with known answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps

from hand import NEVER, runs_of, spread, tuned
from initbench import stats
from initbench.errors import InputError
from initbench.grammar import probability
from initbench.stats import nested, verdict
from initbench.stats.crossfit import RESAMPLES, crossfit, halvings, weights
from initbench.stats.panel import Panel, panels

TEN = range(10)


def said(runs: pd.DataFrame, baseline: str = "base", **more: object) -> pd.DataFrame:
    return stats.judge(runs, None, baseline, **more).pairs.set_index("setup")  # type: ignore[arg-type]


def panel(rates: int, n: int, seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    log = rng.normal(4, 0.4, (rates, n))  # no ties
    return Panel(np.arange(rates) * 0.1 + 0.1, np.arange(n), log, np.ones((rates, n)), rng.random((rates, n)))


# ---- the procedure against a slow oracle


def slow_theta(seeds: list[int], log: np.ndarray) -> float:
    """Halvings one by one, the drawn seeds as a list with its copies; NaN-free, no weights, no matrices."""
    values = []
    for side in halvings(log.shape[1]):
        on = [s for s in seeds if side[s] == 1]
        off = [s for s in seeds if side[s] == 0]
        if not on or not off:
            continue
        total = 0.0
        for choose, judge in ((on, off), (off, on)):
            best = min(range(len(log)), key=lambda rate: np.mean([log[rate, s] for s in choose]))
            total += sum(log[best, s] for s in judge)
        values.append(total / len(seeds))
    return float(np.mean(values)) if values else 0.0


@pytest.mark.parametrize(("rates", "n"), [(4, 9), (2, 8), (5, 2)])
def test_crossfit_is_the_slow_loop(rates, n):
    one = panel(rates, n, seed=rates)
    fit = crossfit(one)
    assert fit.mean == pytest.approx(slow_theta(list(range(n)), one.log), abs=1e-12)
    drawn = weights(n)
    assert drawn.shape == (RESAMPLES, n)
    for row in range(0, RESAMPLES, 97):
        copies = [s for s in range(n) for _ in range(int(drawn[row, s]))]
        assert fit.draws[row] == pytest.approx(slow_theta(copies, one.log), abs=1e-12)


def test_no_seed_is_judged_by_a_choice_it_took_part_in():
    one = panel(3, 8)
    fit = crossfit(one)
    for side, rates in zip(halvings(8), fit.rates):
        for seed in range(8):
            others = side != side[seed]
            assert rates[seed] == np.argmin(one.log[:, others].mean(axis=1))


def test_weights_are_a_bootstrap_and_halvings_are_halves():
    assert (weights(11).sum(axis=1) == 11).all()
    assert weights(11).var(axis=0).mean() == pytest.approx(10 / 11, rel=0.05)  # multinomial: n (1/n) (1 - 1/n)
    assert (halvings(11).sum(axis=1) == 5).all()
    assert len({tuple(row) for row in halvings(11)}) > 15


def test_ties_go_to_the_larger_share_then_the_lower_loss_then_the_smaller_rate():
    log, n = np.full((3, 8), np.log(300.0)), 8
    one = Panel(np.array([0.1, 0.2, 0.3]), np.arange(n), log, np.zeros((3, n)), np.ones((3, n)))
    assert (crossfit(one).rates == 0).all()
    loss = np.array([[3.0], [2.0], [1.0]]) * np.ones((3, n))
    assert (crossfit(Panel(one.lrs, one.seeds, log, one.reached, loss)).rates == 2).all()
    reached = np.array([[0.0], [1.0], [0.0]]) * np.ones((3, n))  # arrives at the budget itself
    assert (crossfit(Panel(one.lrs, one.seeds, log, reached, loss)).rates == 1).all()


# ---- tests and corrections


def test_mcnemar_is_the_two_sided_sign_test_of_the_discordant_pairs():
    """10:2 discordant: 2 (C(12,0) + C(12,1) + C(12,2)) / 2^12 = 158/4096."""
    assert verdict.mcnemar(10, 2) == pytest.approx(158 / 4096)
    assert verdict.mcnemar(0, 0) == 1.0


def test_holm_by_hand():
    """Holm (1979): sorted p times 4, 3, 2, 1, made monotone."""
    assert verdict.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert verdict.holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=8, deadline=None)
def test_holm_is_that_of_statsmodels(p):
    from statsmodels.stats.multitest import multipletests

    assert verdict.holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def test_the_standard_error_of_few_seeds_is_not_too_small():
    """By sqrt(n / (n - 1)) larger than the spread of the draws: 7% at n=8."""
    a, b = np.log(spread(60, 8, 0.2, 1)), np.log(spread(70, 8, 0.3, 2))
    row = said(runs_of({"base": {0.1: list(np.exp(b))}, "arm": {0.1: list(np.exp(a))}})).loc["arm"]
    half = sps.t.ppf(0.975, 7) * (a - b).std(ddof=1) / np.sqrt(8)
    assert np.log(row["ratio_high"] / row["ratio_low"]) / 2 == pytest.approx(half, rel=0.04)


def test_one_rate_is_the_paired_t_test_up_to_the_bootstrap():
    """Without a choice of rates the procedure is a paired t-test whose SE is bootstrapped."""
    a, b = spread(60, 20, 0.2, 1), spread(70, 20, 0.3, 2)
    row = said(runs_of({"base": {0.1: b}, "arm": {0.1: a}})).loc["arm"]
    d = np.log(a) - np.log(b)
    assert row["ratio"] == pytest.approx(np.exp(d.mean()), rel=1e-9)
    t = d.mean() / (d.std(ddof=1) / np.sqrt(20))
    assert row["p"] == pytest.approx(2 * sps.t.sf(abs(t), 19), rel=0.15)
    half = sps.t.ppf(0.975, 19) * d.std(ddof=1) / np.sqrt(20)
    assert np.log(row["ratio_high"] / row["ratio_low"]) == pytest.approx(2 * half, rel=0.04)


@pytest.mark.parametrize(("ratio", "family"), [(1.4, 1), (1.4, 7), (1.03, 1)])
def test_seeds_to_decide_has_the_power_it_promises(ratio, family):
    """By simulation: the rest of the seeds is drawn from what the first ten say (flat prior), all are judged at a second look."""
    one = verdict.Contrast(10, float(np.log(ratio)), 0.15, np.ones(10, bool), np.ones(10, bool), np.ones(10))
    m, rng = verdict.seeds_to_decide(one, "ratio", family), np.random.default_rng(0)
    assert m is not None
    shares = []
    for seeds in (m // 2, m):
        sd = one.error * np.sqrt(10)
        chi = np.sqrt(9 / rng.chisquare(9, 40_000))  # of the true spread, given the one seen
        true = one.estimate + one.error * chi * rng.normal(size=40_000)
        new = true + sd * chi / np.sqrt(seeds - 10) * rng.normal(size=40_000)
        estimate, error = (10 * one.estimate + (seeds - 10) * new) / seeds, sd / np.sqrt(seeds)
        p = 2 * sps.t.sf(np.abs(estimate) / error, seeds - 1)
        equal = np.abs(estimate) + sps.t.ppf(1 - nested.level((10, 40), 0.1) / 2, seeds - 1) * error <= np.log(1.1)
        shares.append(float(((p < nested.level((10, 40), 0.05) / family) | equal).mean()))
    assert shares[0] < 0.8
    assert shares[1] == pytest.approx(0.885, abs=0.01)


def test_seeds_to_decide_may_promise_equivalence_or_nothing():
    def needed(estimate: float) -> int | None:
        return verdict.seeds_to_decide(
            verdict.Contrast(10, estimate, 0.08, np.ones(10, bool), np.ones(10, bool), np.ones(10)), "ratio", 1
        )

    assert needed(0.0) < 100
    assert needed(float(np.log(1.1))) < 100  # differs from 1
    assert needed(float(np.log(1.5))) == 11
    flat = verdict.Contrast(10, 0.05, 2.0, np.ones(10, bool), np.ones(10, bool), np.ones(10))
    assert verdict.seeds_to_decide(flat, "ratio", 1) is None


def test_the_seeds_named_count_the_looks():
    one = verdict.Contrast(20, float(np.log(1.3)), 0.1, np.ones(20, bool), np.ones(20, bool), np.ones(20))
    once, again = (verdict.seeds_to_decide(one, "ratio", 5, at) for at in ((), (8, 12, 20)))
    assert once < again
    assert once < verdict.seeds_to_decide(one, "ratio", 5, (10, 20, 40, 80))


# ---- hand-made frames, known answers


def test_faster_and_slower():
    found = said(runs_of({"base": tuned(spread(60, 10, 0.05, 0)), "fast": tuned(spread(30, 10, 0.05, 1)),
                          "slow": tuned(spread(120, 10, 0.05, 2))}))  # fmt: skip
    assert found["verdict"].to_dict() == {"fast": "faster", "base": "baseline", "slow": "slower"}
    assert found.loc["fast", "ratio"] == pytest.approx(0.5, rel=0.03)
    assert found.loc["slow", ["test", "reason", "decide"]].tolist() == ["ratio", "", ""]
    assert found.loc["fast", "p_faster"] == 1.0
    assert found.loc["slow", "p_faster"] == 0.0


def test_ties_are_equivalent_from_ten_seeds_on():
    for n, word in ((9, "undecided"), (10, "equivalent")):
        found = said(runs_of({"base": tuned([60] * n), "same": tuned([60] * n)}))
        assert found.loc["same", "verdict"] == word
        assert found.loc["same", ["ratio", "ratio_low", "ratio_high", "p_faster"]].tolist() == [1, 1, 1, 0.5]


def test_equivalent_needs_the_whole_interval_inside_the_margin():
    base = [100.0] * 12
    inside, across = [104.0, 106.0] * 6, [100.0, 118.0] * 6
    found = said(runs_of({"base": tuned(base), "inside": tuned(inside), "across": tuned(across)}))
    assert found.loc["inside", "verdict"] == "equivalent"
    assert found.loc["inside", "equal_high"] < 1.1
    assert found.loc["across", "verdict"] != "equivalent"
    assert found.loc["across", "equal_high"] > 1.1


def test_all_censored():
    found = said(runs_of({"base": tuned([NEVER] * 10), "arm": tuned([NEVER] * 10)}))
    row = found.loc["arm"]
    assert (row["verdict"], row["reason"]) == ("undecided", "neither arrives in 80% of its seeds")
    assert row["decide"] == "train.steps=600"
    assert row["ratio_of"] == "loss"
    assert row["ratio"] == pytest.approx(1.0)


def test_both_below_the_gate():
    few = [50.0] * 7 + [NEVER] * 3
    row = said(runs_of({"base": tuned(few), "arm": tuned([60.0] + [NEVER] * 9)})).loc["arm"]
    assert (row["verdict"], row["decide"], row["test"]) == ("undecided", "train.steps=600", "")
    assert np.isnan(row["ratio"])


def test_one_arm():
    found = said(runs_of({"base": tuned([60.0] * 10)}))
    assert found["verdict"].tolist() == ["baseline"]


@pytest.mark.parametrize("n", [1, 2, 7])
def test_few_seeds(n):
    row = said(runs_of({"base": tuned([60.0] * n), "arm": tuned([20.0] * n)})).loc["arm"]
    assert (row["verdict"], row["reason"], row["decide"]) == ("undecided", f"n={n}, at least 8 seeds", "seeds=8")
    assert row["ratio"] == pytest.approx(1 / 3)
    assert np.isnan(row["ratio_low"]) == (n < 3)


def test_an_arm_that_dies_is_slower_by_the_seeds_that_arrived():
    runs = runs_of({"base": tuned(spread(60, 20, 0.05, 0)), "dies": tuned([30.0] * 3 + [NEVER] * 17)},
                   diverged={"dies": range(3, 20)})  # fmt: skip
    row = said(runs).loc["dies"]
    assert (row["verdict"], row["test"]) == ("slower", "reached")
    assert (row["reached_pairs"], row["reached_pairs_baseline"]) == (3, 20)
    assert row["p"] == pytest.approx(2 * 0.5**17)
    back = said(runs, "dies").loc["base"]  # the baseline is below the gate: the first listed above it stands in
    assert back["verdict"] == "baseline"


def test_an_arm_that_dies_in_a_quarter_of_its_seeds_is_not_called():
    """6 discordant of 20: p = .03, but Holm over two."""
    runs = runs_of({"base": tuned([60.0] * 20), "dies": tuned([30.0] * 14 + [NEVER] * 6), "x": tuned([60.0] * 20)})
    row = said(runs).loc["dies"]
    assert row["p"] == pytest.approx(2 * 0.5**6)
    assert (row["verdict"], row["reason"]) == (
        "undecided",
        "14/20 against 20/20 seeds arrived: p .031, .062 after correction for 2 comparisons",
    )
    assert row["seeds_needed"] > 20


def test_missing_seeds_make_no_pair_and_stay_in_n():
    arms = {"base": tuned([60.0] * 12), "arm": tuned([30.0] * 12)}
    row = said(runs_of(arms, failed={"arm": [0, 1]})).loc["arm"]
    assert (row["pairs"], row["n"], row["reached"], row["verdict"]) == (10, 12, 10, "faster")
    runs = runs_of(arms)
    fewer = runs[~((runs["setup"] == "arm") & (runs["seed"] > 6))]
    assert said(fewer).loc["arm", "reason"] == "n=7, at least 8 seeds"
    disjoint = runs[(runs["setup"] == "arm") != (runs["seed"] > 5)]
    assert said(disjoint).loc["arm", ["pairs", "verdict"]].tolist() == [0, "undecided"]


def test_one_rate_is_not_tuned():
    row = said(runs_of({"base": {0.1: [60.0] * 10}, "arm": {0.1: [30.0] * 10}})).loc["arm"]
    assert (row["verdict"], row["decide"]) == ("undecided", "'optim.lr=[0.03,0.1,0.3]'")


def test_nobody_is_faster_than_an_arm_at_the_edge_of_its_grid():
    edge = {0.01: [200.0] * 10, 0.1: [100.0] * 10, 1.0: [60.0] * 10}
    inner = tuned([30.0] * 10)
    row = said(runs_of({"base": edge, "arm": inner})).loc["arm"]
    assert (row["verdict"], row["decide"]) == ("undecided", "'optim.lr=[0.01,0.1,1,10]'")
    # the other way round the edge belongs to the winner: a wider grid could only help it
    swapped = said(runs_of({"base": tuned([120.0] * 10), "arm": edge})).loc["arm"]
    assert swapped["verdict"] == "faster"
    # and nobody is equal to it either
    same = said(runs_of({"base": edge, "arm": edge})).loc["arm"]
    assert (same["verdict"], same["reason"]) == (
        "undecided",
        "the best lr of the slower one lies at the end of its grid",
    )


def history_of(runs: pd.DataFrame, grid: list[int]) -> pd.DataFrame:
    """Accuracies on an evaluation grid: only the steps matter here."""
    rows = [(run, step, "accuracy/train", 0.5) for run in runs["run"] for step in grid]
    frame = pd.DataFrame(rows, columns=["run", "step", "metric", "value"])
    return frame.assign(layer=pd.array([pd.NA] * len(frame), "Int16"))


def test_a_word_that_one_evaluation_would_change_is_none():
    """Steps 20 against 30 on a grid of 10: one evaluation earlier 10 against 20. Fine: slower both times.
    Equal at 30, but known only to 10 and 29: what looked equal may be 1 to 2.9."""
    runs = runs_of({"base": tuned([20.0] * 10), "slow": tuned([30.0] * 10)})
    found = said(runs, history=history_of(runs, [0, 10, 20, 30, 40, 60]), metric="accuracy/train")
    assert found.loc["slow", "verdict"] == "slower"
    runs = runs_of({"base": tuned([100.0] * 10), "near": tuned([104.0] * 10)})
    fine = said(runs, history=history_of(runs, [0, 99, 100, 103, 104, 200, 208]), metric="accuracy/train")
    assert fine.loc["near", "verdict"] == "equivalent"
    coarse = said(runs, history=history_of(runs, [0, 50, 100, 104, 150, 208]), metric="accuracy/train")
    row = coarse.loc["near"]
    assert (row["verdict"], row["reason"]) == ("undecided", "one evaluation earlier would change the verdict")
    assert row["decide"] == "train.evaluate.dense=104"


def test_non_finite_values():
    """An infinite time is never; an infinite or missing loss breaks no tie and no ratio."""
    runs = runs_of({"base": tuned([60.0] * 10), "arm": tuned([30.0] * 10)})
    runs.loc[runs.index[:7], "loss/train"] = [np.inf, -np.inf, np.nan, np.inf, np.nan, 1e308, 0.0]
    assert said(runs).loc["arm", "verdict"] == "faster"
    never = runs.assign(steps_to_target=runs["steps_to_target"].where(runs["setup"] == "base", np.nan))
    never.loc[never["optim.lr"] == 0.1, "loss/train"] = 0.01  # nobody arrives: the loss chooses the rate
    assert said(never).loc["arm", ["verdict", "test"]].tolist() == ["slower", "reached"]
    lost = runs.assign(steps_to_target=np.nan)
    assert said(lost).loc["arm", "verdict"] == "undecided"


def test_no_target():
    runs = runs_of({"base": tuned([NEVER] * 10), "arm": tuned([NEVER] * 10)})
    row = stats.judge(runs, {"target": None, "baseline": "base", "arms": []}).pairs.set_index("setup").loc["arm"]
    assert (row["verdict"], row["reason"], row["decide"]) == (
        "undecided",
        "no target to reach",
        "'train.target={metric:auto}'",
    )


# ---- why nothing is decided, in words


def test_the_four_causes_that_ask_for_seeds_have_four_names():
    base = spread(60, 10, 0.3, 0)
    shape = np.random.default_rng(4).normal(size=10)
    near = [t * np.exp(0.3 + 0.3 * z) for t, z in zip(base, (shape - shape.mean()) / shape.std())]
    arms = {"base": {0.1: base, 1.0: [t * 9 for t in base], 0.01: [t * 9 for t in base]}, "holm": tuned(near, 4),
            "wide": tuned(spread(64, 10, 0.4, 7), 4), "dead": tuned([NEVER] * 10)}  # fmt: skip
    crowd = {f"x{i}": tuned([NEVER] * 10) for i in range(60)}
    row = said(runs_of(arms | crowd, tau=3000)).loc
    p, p_holm = (probability(row["holm", name]) for name in ("p", "p_holm"))
    assert row["holm", "p"] < 0.05
    assert row["holm", "reason"] == f"p {p}, {p_holm} after correction for 63 comparisons"
    assert row["dead", "reason"] == (
        "0/10 against 10/10 seeds arrived: p .0020, .12 after correction for 63 comparisons; "
        "at n=10 the exact test cannot go below .0020"
    )
    assert row["wide", "reason"] == (
        f"the interval is too wide: p {probability(row['wide', 'p'])}, {probability(row['wide', 'p_holm'])} after "
        "correction for 63 comparisons"
    )
    equal = said(runs_of({"base": tuned([60.0] * 9), "near": tuned([60.0, 61.0, 60.0] * 3)})).loc["near"]
    assert equal["reason"] == "n=9: equal within 10%, which takes at least 10 seeds to say"


def test_where_no_number_of_seeds_is_advised_the_reason_says_why():
    rng = np.random.default_rng(0)
    base, arm = (np.exp(4 + 1.4 * rng.normal(size=10)) for _ in range(2))
    arm = arm * np.exp(np.log(base).mean() - np.log(arm).mean() + 0.045)
    row = said(runs_of({"base": {0.1: base, 0.01: base * 99, 1.0: base * 99},
                        "arm": {0.1: arm, 0.01: arm * 99, 1.0: arm * 99}}, tau=10**6)).loc["arm"]  # fmt: skip
    assert (row["decide"], row["seeds_needed"]) == ("", pd.NA)
    assert row["reason"].endswith(
        "; more than 1,000 seeds would be needed: 1.05x is too near to 1x and to 1.1x for a spread this large"
    )
    same = runs_of({"base": tuned([60.0] * 8 + [NEVER] * 2), "arm": tuned([NEVER, NEVER] + [60.0] * 7 + [NEVER])})
    row = said(same).loc["arm"]
    assert row["test"] == "reached"
    assert ("too near to one another" in row["reason"]) == pd.isna(row["seeds_needed"])


def test_the_reason_counts_arrivals_as_the_table_does_and_names_the_tested_ones():
    """One seed arrives at one rate only: at rates chosen on the other seeds it does not."""
    arm = {0.01: [NEVER] * 9 + [50.0], 0.1: [NEVER] * 10, 1.0: [NEVER] * 10}
    runs = runs_of({"base": tuned([60.0] * 10), "arm": arm} | {f"x{i}": tuned([NEVER] * 10) for i in range(60)})
    row = said(runs).loc["arm"]
    assert row["reached"] == 1
    assert row["reason"].startswith(
        f"1/10 against 10/10 seeds arrived, {row['reached_pairs']} against 10 of 10 at rates chosen on other seeds: p "
        if row["reached_pairs"] != 1
        else "1/10 against 10/10 seeds arrived: p "
    )


# ---- the family and the baseline


def test_holm_counts_every_setup_of_the_setting_also_those_that_cannot_be_tested():
    close, base = spread(75, 12, 0.25, 3), spread(60, 12, 0.25, 4)
    alone = said(runs_of({"base": tuned(base), "arm": tuned(close)})).loc["arm"]
    crowd = {f"x{i}": tuned([NEVER] * 12) for i in range(4)}
    many = said(runs_of({"base": tuned(base), "arm": tuned(close), **crowd})).loc["arm"]
    assert alone["p"] == many["p"] == pytest.approx(alone["p_holm"])
    assert many["p_holm"] >= many["p"]
    assert many["family"] == 5
    assert many["ratio"] == alone["ratio"]


def test_settings_are_judged_apart():
    arms = {"base": tuned([60.0] * 10), "arm": tuned([30.0] * 10)}
    runs = pd.concat([runs_of(arms, setting="s"), runs_of({k: tuned([t * 3 for t in v[0.1]]) for k, v in arms.items()},
                                                         setting="t")], ignore_index=True)  # fmt: skip
    pairs = stats.judge(runs, None, "base").pairs
    assert pairs.groupby("setting")["family"].first().tolist() == [1, 1]
    assert pairs.loc[pairs["setup"] == "arm", "ratio"].tolist() == pytest.approx([0.5, 0.5])


def test_without_a_baseline_the_first_listed_setup_is_it_not_the_fastest():
    runs = runs_of({"slow": tuned([90.0] * 10), "fast": tuned([30.0] * 10)})
    assert stats.comparisons(runs)["baseline"].unique().tolist() == ["slow"]
    dead = runs_of({"dead": tuned([NEVER] * 10), "slow": tuned([90.0] * 10), "fast": tuned([30.0] * 10)})
    assert stats.comparisons(dead)["baseline"].unique().tolist() == ["slow"]
    nobody = runs_of({"b": tuned([NEVER] * 10), "a": tuned([NEVER] * 10)})
    assert stats.comparisons(nobody)["baseline"].unique().tolist() == ["b"]


def test_an_unknown_baseline_is_refused_with_what_is_allowed():
    with pytest.raises(InputError, match=r"baseline=nobody: unknown; must be one of: arm, base"):
        said(runs_of({"base": tuned([60.0] * 8), "arm": tuned([30.0] * 8)}), "nobody")


# ---- laws


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([8, 11]))
def test_laws(seed, n):
    """The order of rows and the names do not matter; swapping the sides turns the ratio round; same in, same out."""
    rng = np.random.default_rng(seed)
    table = {name: {lr: rng.integers(20, 200, n).tolist() for lr in (0.1, 0.2, 0.3)} for name in ("a", "b", "c")}
    runs = runs_of(table)
    one, again = (said(frame, "a") for frame in (runs, runs.sample(frac=1, random_state=1)))
    pd.testing.assert_frame_equal(one.loc[["b", "c"]], again.loc[["b", "c"]])
    back = said(runs, "b").loc["a"]
    assert back["ratio"] == pytest.approx(1 / one.loc["b", "ratio"], rel=1e-9)
    assert back["p"] == pytest.approx(one.loc["b", "p"], rel=1e-9)
    assert back["p_faster"] == pytest.approx(1 - one.loc["b", "p_faster"])
    alone = said(runs[runs["setup"] != "c"], "a").loc["b"]
    assert alone["ratio"] == one.loc["b", "ratio"]
    assert alone["p"] == one.loc["b", "p"]
    scaled = said(runs.assign(steps_to_target=runs["steps_to_target"] * 3, **{"train.steps": 900}), "a")
    assert scaled.loc["b", "ratio"] == pytest.approx(one.loc["b", "ratio"], rel=1e-9)


def test_the_procedure_beats_choosing_on_the_same_seeds():
    """Five equal rates against one such rate: chosen and judged on the same seeds the many look faster than the one."""
    rng = np.random.default_rng(5)
    naive, fair = [], []
    for _ in range(60):
        log = rng.normal(4, 0.5, (6, 10))
        many = Panel(np.arange(5.0), np.arange(10), log[:5], np.ones((5, 10)), np.ones((5, 10)))
        naive.append(log[:5].mean(axis=1).min() - log[5].mean())
        fair.append(crossfit(many, 1).mean - log[5].mean())
    assert np.mean(naive) < -0.1
    assert abs(np.mean(fair)) < 0.06


def test_rank_intervals_cover_what_cannot_be_told_apart():
    arms = {f"x{i}": tuned(spread(60, 12, 0.2, i)) for i in range(3)} | {"last": tuned(spread(200, 12, 0.05, 9))}
    board = stats.leaderboard(runs_of(arms)).set_index("setup")
    assert board.loc[["x0", "x1", "x2"], "rank_low"].max() <= 2
    assert board.loc[["x0", "x1", "x2"], "rank_high"].min() >= 2
    assert board.loc["last", ["rank_low", "rank_high"]].tolist() == [4, 4]


def test_all_pairs_say_how_much_and_how_often_but_no_word():
    runs = runs_of({"base": tuned([60.0] * 10), "arm": tuned([30.0] * 9 + [90.0]), "dead": tuned([NEVER] * 10)})
    table = stats.all_pairs(runs)
    assert not {"verdict", "reason"} & set(table)
    assert len(table) == 6
    row = table.set_index(["setup", "other"]).loc[("arm", "base")]
    assert row["p_faster"] == pytest.approx(0.9)
    low, high = sps.binomtest(9, 10).proportion_ci(method="wilson")
    assert (row["p_faster_low"], row["p_faster_high"]) == pytest.approx((low, high))
    assert np.isnan(table.set_index(["setup", "other"]).loc[("dead", "base"), "ratio"])


def test_panels_hold_what_the_frame_says():
    runs = runs_of({"arm": {0.3: [5.0, NEVER], 0.1: [7.0, 400.0]}}, failed={"arm": []}, tau=300)
    one = panels(runs)["arm in s"]
    assert one.lrs.tolist() == [0.1, 0.3]
    assert np.exp(one.log).round(6).tolist() == [[7.0, 300.0], [5.0, 300.0]]
    assert one.reached.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    holes = panels(runs.iloc[1:])["arm in s"]
    assert holes.usable.tolist() == [False, True]
