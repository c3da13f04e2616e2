"""What may not go wrong in a claim's study without a word: runs that failed, cells that are left out, a bound that no ratio was
compared with, a loss that was low for a while, a number that is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from claims_frames import FAMILY, grid, made_runs
from initbench import claims, reproduce
from test_claims import orthogonal_data
from test_claims_papers import he_30_data, rai_data

ROOT = Path(__file__).parents[1]
NEVER = np.inf


def race_against(bound, claims_it, factors, never=()):
    """The row of one race of a against b; `never`: seeds of b that do not arrive."""
    runs = made_runs({name: {"factor": factor} for name, factor in factors.items()}, 40, [("digits", "tanh", 12)])
    runs.loc[(runs["setup"] == "b") & runs["seed"].isin(never), "steps_to_target"] = np.nan
    frames = claims.framed(runs, grid(runs), runs["setup"])
    entry = claims.race(frames, "part", frames.cells[0], "a", "b", claims_it, bound)
    return claims.corrected([entry], 1).iloc[0]


def test_who_arrives_says_nothing_of_a_bound_on_the_ratio():
    """All of a arrive and 25 of 40 of b, in as many steps: a is earlier, and not by a factor of two."""
    some = race_against(np.nan, "below", {"a": 1.0, "b": 1.0}, never=range(15))
    assert (some["word"], np.isnan(some["ratio"])) == ("holds", True)
    half = race_against(0.5, "below", {"a": 1.0, "b": 1.0}, never=range(15))
    assert (half["word"], np.isnan(half["ratio"]), half["reason"]) == ("undecided", True, claims.words.NO_RATIO)
    # the other way round: a never arrives, so it needs more steps, but who knows whether 1.5 times as many
    assert race_against(1.5, "above", {"a": NEVER, "b": 1.0})["word"] == "undecided"
    # a net that never arrives is not below any bound, one that arrives where the other never does not above any
    assert race_against(0.5, "below", {"a": NEVER, "b": 1.0})["word"] == "fails"
    assert race_against(1.5, "above", {"a": 1.0, "b": NEVER})["word"] == "fails"
    # with a ratio the bound is judged as before
    assert race_against(0.5, "below", {"a": 0.3, "b": 1.0})["word"] == "holds"
    assert race_against(0.5, "below", {"a": 0.8, "b": 1.0})["word"] == "fails"


def test_a_race_without_a_ratio_is_not_called_too_wide_an_interval():
    few = race_against(np.nan, "below", {"a": 1.0, "b": 1.0}, never=[*range(5), *range(35, 40)])
    assert (few["word"], few["reason"]) == ("holds", "")
    runs = made_runs({name: {"factor": 1.0} for name in "ab"}, 10, [("digits", "tanh", 12)])
    runs.loc[(runs["setup"] == "b") & (runs["seed"] < 3), "steps_to_target"] = np.nan
    frames = claims.framed(runs, grid(runs), runs["setup"])
    row = claims.corrected([claims.race(frames, "part", frames.cells[0], "a", "b", "below")], 1).iloc[0]
    assert (row["word"], row["reason"]) == ("undecided", claims.words.NO_PAIRS)


def test_runs_that_failed_give_no_verdict(tmp_path, monkeypatch):
    """Not counted as nets that never arrived: a crash would confirm that."""
    runs, history = orthogonal_data(True, 10)
    study = claims.Study(ROOT / "experiments/orthogonal-relu", reproduce.analysis("orthogonal-relu").tests)
    runs.loc[3, ["status", "steps_to_target"]] = "failed", np.nan
    monkeypatch.setattr("initbench.claims.study.swept", lambda *args: (runs, history))
    for quick in (False, True):
        with pytest.raises(RuntimeError, match=rf"1 of {len(runs):,} runs failed, first of lecun_normal"):
            study.measure(tmp_path, quick=quick)


def test_a_cell_that_lacks_a_setup_is_an_error_in_full(tmp_path, monkeypatch):
    """The rest would be a verdict over fewer cells than were planned."""
    runs, history = orthogonal_data(True, 10)
    study = claims.Study(ROOT / "experiments/orthogonal-relu", reproduce.analysis("orthogonal-relu").tests)
    monkeypatch.setattr("initbench.claims.study.swept", lambda *args: (runs, history))
    with pytest.raises(LookupError, match="8 of 24 tests were made"):
        study.measure(tmp_path)
    assert len(study.measure(tmp_path, quick=True)) == 8


def test_a_net_whose_loss_was_low_for_a_while_did_not_stall():
    """he-30: Xavier never gets below a loss, which its loss at the end does not say."""
    module = reproduce.analysis("he-30")
    runs, history = he_30_data(True, 110)
    stalled = runs[(runs["init.name"] == "xavier_normal") & (runs["model.depth"] == 30)]
    dips = pd.DataFrame({"run": stalled["run"], "step": 400, "metric": "loss/train", "value": 2.1})
    table = module.analyse(runs, history, FAMILY).set_index("part")
    assert dict(table["word"][["Xavier 30", "Adam"]]) == {"Xavier 30": "holds", "Adam": "holds"}
    table = module.analyse(runs, pd.concat([history, dips], ignore_index=True), FAMILY).set_index("part")
    assert dict(table["word"][["Xavier 30", "Adam"]]) == {"Xavier 30": "fails", "Adam": "fails"}


def test_no_learning_rate_is_the_best_where_all_runs_diverged():
    runs = pd.DataFrame(
        {"seed": 0, "depth": [4, 4, 8, 8], "optim.lr": [0.1, 0.2] * 2, "loss/train": [2.0, 1.0, *[np.nan] * 2]}
    )
    best = claims.best_rates(runs, "depth")
    assert best[4].tolist() == [0.2]
    assert best[8].isna().all()
    drift = np.log2(best[8] / best[4])
    assert claims.within("p", "c", "s", "q", drift, -1, 1).note == "1 of 1 without a value"


def test_a_replay_with_a_number_that_is_none_is_refuted():
    module = reproduce.analysis("replay")
    for pairs in ({"a": (1.0, 1.0), "b": (np.nan, 1.0)}, {"b": (np.nan, 1.0), "a": (1.0, 1.0)}):
        assert np.isnan(module.largest(pairs)[1])
    measured = reproduce.results("replay")
    measured.loc[0, "largest_deviation"] = np.nan
    assert module.verdict(measured).word == "REFUTED"


def test_a_name_that_would_be_ignored_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(reproduce, "run_all", lambda *args: 0)
    monkeypatch.setattr(reproduce, "write_pages", list)
    for arguments, said in (
        (["sharing-ordr", "all"], "sharing-ordr: no such study; did you mean sharing-order?"),
        (["--pages", "recall"], "--pages recall: the pages are of all studies; leave the name out"),
    ):
        assert reproduce.main(arguments) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"initbench: {said}")


def test_a_collapsed_net_counts_as_one_whatever_samples_its_loss_is_taken_on():
    """rai: the best constant leaves .232 on some seeds' samples, below 95% of what it leaves on all points."""
    runs, history = rai_data(True, 20)
    assert (runs["loss/train"].between(0.02, 0.95 * 0.25)).any()
    table = reproduce.analysis("rai").analyse(runs, history, FAMILY)
    assert table["note"].tolist() == ["920 of 1000", "400 of 1000"]
