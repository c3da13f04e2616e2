"""The course notes' five claims: each analysis confirms data in which its claim is true, refutes data in which it is false,
and says nothing of too few; the procedure, the pages and the command around them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats as sps
from statsmodels.stats.multitest import multipletests

from claims_frames import crossing, grid, history_of, layered, made_runs
from initbench import claims, reproduce
from initbench.errors import InputError
from initbench.overrides.expand import expand_study

ROOT = Path(__file__).parents[1]
SLUGS = ["orthogonal-relu", "sharing-gap", "sharing-speed", "sparse-spread", "xavier-he"]
FAMILY = 56
GOOD, BAD = 0.5, 2.0


def sharing(factor, stored=0.7, flops=0.7):
    return {
        "kaiming_normal · none": {"sharing.name": "none", "factor": 1.0, "stored_parameters": 1000, "state_bytes": 8000, "flops_per_step": 100.0},
        "kaiming_normal · all": {"sharing.name": "all", "factor": factor, "stored_parameters": 1000 * stored, "state_bytes": 8000 * stored, "flops_per_step": 100 * flops},
        "kaiming_normal · none(width 20, parameters of all)": {"sharing.name": "none", "factor": 1.0, "stored_parameters": 1000 * stored, "state_bytes": 8000 * stored, "flops_per_step": 60.0},
    }  # fmt: skip


def speed_data(true, n):
    runs = made_runs(sharing(GOOD if true else BAD), n)
    return runs, grid(runs)


def gap_data(true, n):
    runs = made_runs(sharing(1.0), n)
    gaps = {"all": 0.5 if true else 2.0}
    losses = crossing(runs, lambda row: 0.2 * gaps.get(row["sharing.name"], 1.0), 0.1)
    return runs, losses


def orthogonal_data(true, n):
    slow = BAD if true else GOOD
    runs = made_runs(
        {
            "lecun_normal": {"init.name": "lecun_normal", "factor": 1.0},
            "kaiming_normal": {"init.name": "kaiming_normal", "factor": 1.0},
            "orthogonal": {"init.name": "orthogonal", "factor": slow},
            "orthogonal(gain=relu)": {"init.name": "orthogonal", "factor": slow},
        },
        n,
    )
    return runs, grid(runs)


def xavier_data(true, n):
    good, bad = (1.0, 1.8) if true else (1.8, 1.0)
    cells = [("digits", activation, depth) for activation in ("relu", "leaky_relu", "tanh") for depth in (3, 5)]
    runs = made_runs(
        {
            "torch_default": {"init.name": "torch_default", "factor": bad},
            "xavier_normal": {"init.name": "xavier_normal", "factor": good},
            "kaiming_normal": {"init.name": "kaiming_normal", "factor": good / 2 if true else good * 2},
        },
        n,
        cells,
    )

    def signal(row):
        lost = 2.0 if true else 50.0
        return np.linspace(lost, 1.0, row["model.depth"])

    signals = [
        layered(runs, metric, signal, step, noise=0.02)
        for metric in ("activation_msq", "backward_msq")
        for step in (0, 20)
    ]
    late = layered(runs, "activation_msq", lambda row: np.linspace(1e5, 1, row["model.depth"]), 100)
    return runs, pd.concat([grid(runs), *signals, late])


def sparse_data(true, n):
    setups = {"normal(std=0.25)": {"init.name": "normal", "factor": 1.0}}
    for zeros in (0.5, 0.9):
        setups[f"sparse(sparsity={zeros})"] = {"init.name": "sparse", "init.sparsity": zeros, "factor": 1.0}
    runs = made_runs(setups, n)
    more = 1.5 if true else 1 / 1.5

    def of(factor):
        return lambda row: 4.0 * (factor if row["init.name"] == "sparse" else 1.0)

    ratio, correlation = (
        layered(runs, "activation_participation_ratio", of(more)),
        layered(runs, "unit_correlation", of(1 / more)),
    )
    # the start says nothing of what was learned
    measures = ("activation_participation_ratio", "unit_correlation")
    starts = [layered(runs, metric, lambda row: 1.0, step=0, noise=0.3, seed=4) for metric in measures]
    return runs, pd.concat([grid(runs), ratio, correlation, *starts])


DATA = {
    "sharing-speed": speed_data,
    "sharing-gap": gap_data,
    "orthogonal-relu": orthogonal_data,
    "xavier-he": xavier_data,
    "sparse-spread": sparse_data,
}


@pytest.fixture(scope="module", params=SLUGS)
def study(request):
    return request.param, reproduce.analysis(request.param)


@pytest.mark.parametrize(
    ("true", "n", "word"), [(True, 12, "CONFIRMED"), (False, 12, "REFUTED"), (True, 7, "UNDECIDED")]
)
def test_each_analysis_confirms_what_is_true_refutes_what_is_false_and_says_nothing_of_too_little(study, true, n, word):
    slug, module = study
    measured = module.analyse(*DATA[slug](true, n), FAMILY)
    assert module.verdict(measured).word == word, module.page(measured)
    tested = measured[measured["quantity"].isin(["steps", *measured.loc[measured["n"].notna(), "quantity"]])]
    assert 3 * len(tested) == claims.load(ROOT / "experiments" / slug).tests["full"]  # a third of the study's cells
    wanted = {"CONFIRMED": "holds", "REFUTED": "fails", "UNDECIDED": "undecided"}[word]
    assert set(tested["word"]) == {wanted}
    if word == "UNDECIDED":
        assert set(tested["reason"]) == {"n=7, at least 8 seeds"}
    else:
        assert (tested["low"] < tested["ratio"]).all()
        assert (tested["ratio"] < tested["high"]).all()


def test_a_claim_that_is_true_for_one_activation_is_refuted_and_the_page_says_where_it_holds():
    module = reproduce.analysis("sharing-speed")
    runs = made_runs(sharing(lambda data, activation, depth: GOOD if activation == "tanh" else BAD), 12)
    measured = module.analyse(runs, grid(runs), FAMILY)
    assert module.verdict(measured).word == "REFUTED"
    page = module.page(measured)
    assert "- speed: holds on digits tanh (depth 3, 5); fails on digits relu (depth 3, 5)" in page
    assert "- parameters: holds on digits relu (depth 3, 5), digits tanh (depth 3, 5)" in page


def test_each_control_is_compared_with_its_own_net():
    """The narrow net is as fast, and has as small a gap, as the shared one; the wide one is twice as slow, with twice the gap."""
    setups = sharing(1.0)
    setups["kaiming_normal · none"]["factor"] = 2.0
    runs = made_runs(setups, 12, base=30.0)
    rows = reproduce.analysis("sharing-speed").analyse(runs, grid(runs), FAMILY)
    ratios = rows.groupby("part")["ratio"].median()
    assert ratios["speed"] == pytest.approx(0.5, rel=0.15)
    assert ratios["speed per number"] == pytest.approx(1.0, rel=0.15)
    losses = crossing(runs, lambda row: 0.4 if row["setup"] == "kaiming_normal · none" else 0.2, 0.1)
    rows = reproduce.analysis("sharing-gap").analyse(runs, losses, FAMILY)
    ratios = rows.groupby("part")["ratio"].median()
    assert ratios["same width"] == pytest.approx(0.5, rel=0.1)
    assert ratios["same numbers"] == pytest.approx(1.0, rel=0.1)


def test_equal_is_failing_but_for_no_later():
    module = reproduce.analysis("sharing-speed")
    runs = made_runs(sharing(1.0), 20, noise=0.02)
    rows = module.analyse(runs, grid(runs), FAMILY)
    equal = rows[rows["part"] == "speed"]
    assert set(equal["word"]) == {"fails"}
    assert set(equal["reason"]) == {"equal within 10%"}
    frames = claims.framed(runs, grid(runs), claims.sharing_role(runs))
    entries = [claims.race(frames, "He", cell, "all", "none", "not above") for cell in frames.cells]
    assert set(claims.corrected(entries, FAMILY)["word"]) == {"holds"}


def test_a_setup_that_never_arrives_is_slower_and_has_no_ratio():
    module = reproduce.analysis("orthogonal-relu")
    runs, history = orthogonal_data(True, 12)
    runs.loc[runs["init.name"] == "orthogonal", "steps_to_target"] = np.nan
    rows = module.analyse(runs, history, 168)
    assert set(rows["word"]) == {"undecided"}  # exact McNemar of 12 against 0, times 168, is not below .05
    assert rows["ratio"].isna().all()
    rows = module.analyse(runs, history, len(rows))
    assert set(rows["word"]) == {"holds"}
    assert rows["p"].to_numpy() == pytest.approx(2.0**-11)
    assert set(rows["note"]) == {"0/12 against 12/12 arrive"}


def test_the_ratio_and_its_p_of_a_difference_are_those_of_a_paired_t_test():
    """One learning rate: nothing is chosen, and SciPy's t test on log ratios is the oracle."""
    runs, history = sparse_data(True, 10)
    runs = runs[runs["optim.lr"] == 0.3]
    module = reproduce.analysis("sparse-spread")
    row = module.analyse(runs, history, FAMILY).iloc[0]
    assert (row["part"], row["cell"], row["setup"]) == ("participation", "digits, relu, depth 3", "sparse 50%")
    final = history[(history["metric"] == "activation_participation_ratio") & (history["layer"] < 3)]
    final = final[final["step"] == 300]
    logs = np.log(final.groupby("run")["value"].apply(sps.gmean))
    a, b = (
        [logs[f"digits-relu-3-{name}-0.3-{s}"] for s in range(10)]
        for name in ("sparse(sparsity=0.5)", "normal(std=0.25)")
    )
    known = sps.ttest_rel(a, b)
    ends = known.confidence_interval(0.95)
    assert row["p"] == pytest.approx(known.pvalue, rel=1e-6)
    assert (row["ratio"], row["low"], row["high"]) == pytest.approx(tuple(np.exp([np.mean(np.subtract(a, b)), *ends])))


def test_holm_is_over_the_whole_suite_whatever_was_run():
    runs, history = sparse_data(True, 10)
    module = reproduce.analysis("sparse-spread")
    rows = module.analyse(runs, history, FAMILY)
    padded = np.concatenate([rows["p"].to_numpy(float), np.ones(FAMILY - len(rows))])
    assert rows["p_holm"].to_numpy(float) == pytest.approx(multipletests(padded, method="holm")[1][: len(rows)])
    with pytest.raises(ValueError, match="16 tests in a family of 3"):
        module.analyse(runs, history, 3)
    assert {claims.family(ROOT / "experiments" / slug, False) for slug in SLUGS} == {168}
    assert {claims.family(ROOT / "experiments" / slug, True) for slug in SLUGS} == {112}


def test_a_run_that_diverges_counts_as_unstable_and_one_without_a_gap_makes_no_pair():
    module = reproduce.analysis("xavier-he")
    runs, history = xavier_data(True, 12)
    lost = (
        history["run"].str.contains("xavier_normal") & (history["step"] == 20) & (history["metric"] == "backward_msq")
    )
    lost &= history["layer"] == 1  # one layer is enough
    history.loc[lost, "value"] = np.nan
    rows = module.analyse(runs, history, FAMILY)
    assert set(rows.loc[rows["part"] == "stable", "word"]) == {"fails"}
    assert rows.loc[rows["part"] == "stable", "ratio"].to_numpy() == pytest.approx(1e6)
    module = reproduce.analysis("sharing-gap")
    runs, history = gap_data(True, 12)
    for seeds, word in (([0, 1], "holds"), ([0, 1, 2], "undecided")):
        gone = runs[runs["seed"].isin(seeds) & (runs["sharing.name"] == "all")]["run"]
        rows = module.analyse(runs, history[~history["run"].isin(gone)], 8)
        assert set(rows["n"]) == {12 - len(seeds)}
        assert set(rows["word"]) == {word}


def test_the_gap_is_taken_where_the_training_loss_crosses_the_level():
    module = reproduce.analysis("sharing-gap")
    runs = pd.DataFrame({"run": ["a", "b", "c"], "data.name": "digits"})
    rows = []
    for run, train, val in (
        ("a", [1.0, 0.2, 0.0], [1.1, 0.4, 0.6]),
        ("b", [1.0, 0.5], [1.0, 0.7]),
        ("c", [0.05], [0.3]),
    ):
        for step, (t, v) in enumerate(zip(train, val)):
            rows += [(run, step, "loss/train", None, t), (run, step, "loss/val", None, v)]
    gaps = module.gap_at_level(runs, history_of(rows))
    assert gaps["a"] == pytest.approx(0.5 - 0.1)
    assert np.isnan(gaps["b"])
    assert gaps["c"] == pytest.approx(0.25)


# ------------------------------------------------------------------------------------- predictions, pages, the command


def test_every_study_states_its_predictions_and_its_result_carries_their_hash(study):
    slug, _ = study
    folder = ROOT / "experiments" / slug
    given = claims.load(folder)
    assert given.suite == "notes"
    for name, overrides in given.overrides(False).items():
        assert "seeds=60" in overrides, name
        assert "model.depth=3,5,8" in overrides, name
    text = "\n".join(one for overrides in given.sweeps.values() for one in overrides)
    assert {"data=digits", "data=mnist1d"} <= set(text.split("\n"))
    for overrides in given.overrides(True).values():
        assert overrides[-2] == "seeds=12"
    measured = pd.read_csv(folder / "results" / "summary.csv")
    assert set(measured["predictions"]) == {given.digest}
    assert set(measured["part"]) == {part.name for part in given.parts}


def test_the_sweeps_of_every_study_can_be_planned():
    """Composed and refused as a command would be, nothing is trained: the quick sweeps, and all overrides of the full ones."""
    for page in sorted(ROOT.glob("experiments/*/predictions.yaml")):
        given = claims.load(page.parent)
        assert all(given.overrides(False).values())  # no key twice
        first = next(iter(given.overrides(True).values()))
        assert expand_study([*first, "track.uri=null"]).arms, page.parent.name


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A clone whose orthogonal-relu is one small cell: its folder of studies, and where results go."""
    folder = tmp_path_factory.mktemp("clone") / "experiments"
    shutil.copytree(ROOT / "experiments/orthogonal-relu", folder / "orthogonal-relu")
    page = folder / "orthogonal-relu/predictions.yaml"
    given = yaml.safe_load(page.read_text("utf-8"))
    given["tests"] = {"full": 2, "quick": 2}
    given["sweeps"] = {
        "all": [
            *("data=digits", "sharing=none", "model.activation=relu", "model.depth=2", "model.width=16", "seeds=8"),
            *("optim.lr=[0.1,0.3,1.0]", "train.steps=60", "train.target.value=0.6", "measure=none", "engine.workers=1"),
        ],
        "gaussian": ["init=lecun_normal,kaiming_normal,orthogonal"],
        "relu": ["init=orthogonal", "init.gain=relu"],
    }
    given["quick"] = {"gaussian": [], "relu": []}
    page.write_text(yaml.safe_dump(given, sort_keys=False), encoding="utf-8")
    return folder


def test_one_command_runs_a_study_prints_its_table_and_writes_the_same_into_its_folder(
    small, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(reproduce, "experiments_folder", lambda: small)
    home = small / "orthogonal-relu"
    before = (home / "README.md").read_text("utf-8")
    assert reproduce.main(["orthogonal-relu", "--outputs", str(tmp_path)]) == 0
    said, told = capsys.readouterr()
    assert "training:" not in said + told, "one progress line, that of all studies"
    readme = (home / "README.md").read_text("utf-8")
    result = re.search(f"{re.escape(reproduce.START)}\n(.*)\n{re.escape(reproduce.END)}", readme, re.DOTALL)[1]
    assert f"\n{result}\n" in said
    assert readme != before
    assert reproduce.written(readme, "") == reproduce.written(before, "")
    measured = pd.read_csv(home / "results/summary.csv")
    assert list(measured["cell"]) == ["digits, relu, depth 2"] * 2
    assert set(measured["n"]) == {8}
    assert re.search(r"^  (CONFIRMED|REFUTED|UNDECIDED): gain 1 ", said, re.MULTILINE)
    # again, quick: the same runs, nothing is trained, and the folder of the study stays as it is
    marked = reproduce.written(readme, "left alone")
    (home / "README.md").write_text(marked, encoding="utf-8")
    store = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.parquet")}
    assert reproduce.main(["orthogonal-relu", "--quick", "--outputs", str(tmp_path), "--workers", "1"]) == 0
    assert result in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.parquet")} == store
    assert (home / "README.md").read_text("utf-8") == marked
    quick = pd.read_csv(tmp_path / "orthogonal-relu/summary_quick.csv")
    pd.testing.assert_frame_equal(quick, measured)


def test_a_part_of_which_nothing_is_measured_is_an_error_not_an_undecided_claim(tmp_path, monkeypatch):
    """An analysis that looks for a setup under another name than the sweep's finds no race, and nobody would see it."""
    runs, history = orthogonal_data(True, 10)
    tests = reproduce.analysis("orthogonal-relu").tests
    study = claims.Study(
        ROOT / "experiments/orthogonal-relu", lambda *frames: [one for one in tests(*frames) if one.part == "gain 1"]
    )
    monkeypatch.setattr("initbench.claims.study.swept", lambda *args: (runs, history))
    with pytest.raises(LookupError, match="nothing was measured of activation's gain"):
        study.measure(tmp_path)
    assert set(study.measure(tmp_path, quick=True)["part"]) == {"gain 1"}  # which may leave parts out


def test_outside_of_a_clone_one_line_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "__file__", str(tmp_path / "site/initbench/reproduce.py"))
    for arguments in (["--list"], ["all"], ["sharing-gap"]):
        assert reproduce.main(arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert re.fullmatch(
            r"initbench: initbench\.reproduce: .* is not installed; run it in a clone of the repository\n", said.err
        )


def test_wrong_predictions_and_options_are_refused_in_one_line(small, tmp_path, capsys, monkeypatch):
    assert reproduce.main(["sharing-gap", "--workers", "0"]) == 2
    assert capsys.readouterr().err == "initbench: --workers 0: not allowed; must be a whole number, 1 or more\n"
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "predictions.yaml").write_text("claim: none\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"wrong/predictions\.yaml: its keys are claim; must be: claim, parts"):
        claims.load(wrong)


# ------------------------------------------------------------------------------------- numbers against a region


def numbers(factor=1.0, n=20, spread=0.02, seed=0):
    """Entries of a claim about numbers: two formulas, a share and a bound, all true at factor 1."""
    rng = np.random.default_rng(seed)
    entries = [
        claims.formula("growth", f"N {size}", "tied", "E u^2", true * factor * rng.normal(1, spread, n), true, 0.05)
        for size, true in ((4, 7.5), (8, 28.7))
    ]
    count = 0 if factor == 1.0 else 200
    entries.append(claims.share("never", "digits", "tied", "arrived", count, 50 * n, most=0.05))
    entries.append(claims.bound("exact", "float64", "tied", "error", 1e-16 * factor**200, most=1e-10))
    return entries


def given_numbers(folder):
    """predictions.yaml of such a claim."""
    parts = {name: {"says": f"{name} is right", "expected": "CONFIRMED"} for name in ("growth", "never", "exact")}
    rest = {
        "claim": "numbers",
        "source": "none",
        "suite": "papers",
        "tests": {"full": 0, "quick": 0},
        "sweeps": {},
        "quick": {},
    }
    text = yaml.safe_dump({**rest, "parts": parts, "numbers": {"full": 4, "quick": 4}, "unit": "nets"})
    (folder / "predictions.yaml").write_text(text, encoding="utf-8")
    return claims.Study(folder, lambda runs, history: [])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (numbers(), {"growth": "CONFIRMED", "never": "CONFIRMED", "exact": "CONFIRMED"}),
        (numbers(1.2), {"growth": "REFUTED", "never": "REFUTED", "exact": "REFUTED"}),
        (numbers(n=7, spread=0.3), {"growth": "UNDECIDED", "never": "CONFIRMED", "exact": "CONFIRMED"}),
        (numbers(spread=0.3), {"growth": "UNDECIDED", "never": "CONFIRMED", "exact": "CONFIRMED"}),
    ],
)
def test_a_number_holds_where_its_whole_interval_lies_in_the_claimed_region(made, words, tmp_path):
    study = given_numbers(tmp_path)
    measured = claims.corrected(made, 0, study.given.digest)
    assert claims.words.part_words(measured, study.given.parts) == words
    page = study.page(measured)
    assert "Holm" not in page  # no races
    assert "| never | digits | arrived: tied |" in page
    assert "at most 0.05" in page
    assert "Quick version" not in page
    assert "Quick version" in study.page(measured.head(2))
    assert study.figure(measured) == study.figure(measured)


def test_intervals_of_numbers_are_those_of_scipy():
    values = np.random.default_rng(1).normal(2, 0.1, 12)
    row = claims.corrected([claims.within("p", "c", "s", "q", values, 1.5, 2.5)], 0).iloc[0]
    ends = sps.ttest_1samp(values, 0).confidence_interval(0.99)
    assert (row["ratio"], row["low"], row["high"]) == pytest.approx((values.mean(), *ends))
    one = claims.share("p", "c", "s", "q", 910, 1000, 0.903, 0.925)
    ends = sps.binomtest(910, 1000).proportion_ci(0.99, method="exact")
    assert (one.value, one.low, one.high, one.word) == (0.91, ends.low, ends.high, "undecided")


def test_seeds_without_a_value_are_not_left_out_in_silence():
    one = claims.within("p", "c", "s", "q", [1.0] * 19 + [np.nan], 0.5, 1.5)
    assert (one.word, one.n, one.note) == ("undecided", 19, "1 of 20 without a value")
    assert claims.share("p", "c", "s", "q", 0, 0).word == "undecided"


def test_a_page_has_a_table_of_races_and_one_of_numbers(tmp_path):
    study = given_numbers(tmp_path)
    runs = made_runs(sharing(GOOD), 12)
    activation = runs["model.activation"]
    runs = runs[runs["model.depth"] == 3]
    frames = claims.framed(runs, grid(runs), claims.sharing_role(runs), cell=activation[runs.index])
    races = [claims.race(frames, "growth", cell, "all", "none", "below") for cell in frames.cells]
    assert frames.cells == ["relu", "tanh"]
    measured = claims.corrected([*races, *numbers()[2:]], 5)
    page = study.page(measured)
    assert "| part | cell | compared | ratio [95% interval] |" in page
    assert "| part | cell | measured | value [99% interval] |" in page
    assert "Holm over the 5 comparisons of the suite" in page
    assert "- growth: holds on relu, tanh" in page
