"""The family of comparisons: chosen by name, said before training where it is too large to decide anything."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

import frames
import initbench as ib
from hand import NEVER, runs_of, spread, tuned
from initbench import report, stats
from initbench.__main__ import main
from initbench.config.decide import FEWEST
from initbench.errors import InputError
from initbench.report.answer import answer
from initbench.report.notices import notices
from initbench.report.words import plain
from initbench.stats import looks, verdict
from initbench.stats.family import cannot_call, largest, named, seeds_to_call
from initbench.study import command
from initbench.study import foreseen as study_foreseen
from initbench.study.foreseen import foreseen, of_rates, of_seeds

FEW = ["sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", "track.uri=null", "engine.workers=1"]
BASE, CLOSE = spread(60, 12, 0.25, 4), spread(77, 12, 0.25, 3)
ARMS = {"base": tuned(BASE), "close": tuned(CLOSE), **{f"x{i}": tuned(spread(60 + i, 12, 0.3, i)) for i in range(6)}}


def said(runs, **how):
    return stats.judge(runs, None, "base", **how).pairs.set_index("setup")


def test_only_the_named_are_judged_and_counted():
    runs = runs_of(ARMS)
    every, few = said(runs), said(runs, family=["close"])
    alone = said(runs_of({name: ARMS[name] for name in ("base", "close")}))
    assert every.loc["close", "family"] == 7
    assert every.loc["close", "p_holm"] > 0.05 > few.loc["close", "p_holm"] == alone.loc["close", "p_holm"]
    assert (every.loc["close", "verdict"], few.loc["close", "verdict"]) == ("undecided", "slower")
    left = few.drop(["base", "close"])
    assert set(left["verdict"]) == {"not judged"}
    assert set(left["reason"]) == {"not in report.family"}
    assert left["p"].isna().all()
    assert (left["decide"] == "").all()
    assert left["ratio"].tolist() == every.loc[left.index, "ratio"].tolist()  # shown all the same


def test_a_study_s_own_family_counts_where_none_is_typed():
    runs = runs_of(ARMS)
    pairs = stats.judge(runs, {"baseline": "base", "family": ["close", "not swept"]}).pairs.set_index("setup")
    assert pairs.loc["close", "family"] == 1
    assert stats.judge(runs, {"baseline": "base", "family": ["close"]}, family="x1,x2").pairs["family"].max() == 2


def test_an_initializer_names_all_its_setups():
    runs = runs_of(
        {"base · none": tuned(BASE), "base · all": tuned(CLOSE), "x · none": tuned(CLOSE), "x · all": tuned(BASE)}
    )
    pairs = stats.judge(runs, None, "base", family=["x"]).pairs.set_index("setup")
    assert pairs.index[pairs["verdict"] == "not judged"].tolist() == ["base · all"]


def test_a_name_outside_that_is_the_same_net_as_one_inside_follows_it():
    runs = runs_of({"base": tuned(BASE), "a": tuned(CLOSE), "b": tuned(CLOSE)}, loss={"a": 0.2, "b": 0.2})
    pairs = said(runs, family=["b"])
    assert pairs.loc["b", ["verdict", "same_as", "family"]].tolist() == ["slower", "", 1]
    assert pairs.loc["a", ["verdict", "same_as"]].tolist() == ["slower", "b"]


def test_looks_are_taken_at_the_family_alone():
    study = {"target": {"metric": "accuracy/train", "value": 0.95}, "baseline": "base", "family": ["close", "x1"]}
    rows = looks.take(runs_of(ARMS), study, None, (12, 24), 0)
    assert {row["setup"]: row["family"] for row in rows} == {"close": 2, "x1": 2}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("a,b", ["a", "b"]),
        ("[a, b]", ["a", "b"]),
        (["b", "b"], ["b"]),
        ("a, b · none", ["a", "b · none"]),
        ("c,d", ["c,d"]),
    ],
)
def test_names(wanted, found):
    assert named(wanted, ["a", "b", "b · none", "c,d"]) == found


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        (["eys"], r"family=eys: unknown; did you mean eye\?"),
        ("eye,nobody", "family=nobody: unknown; must be one of: eye"),
        ("", "family=: no setup is named"),
        ([], r"family=\[\]: no setup is named"),
        ("[eye", r"family=\[eye: unknown"),
    ],
)
def test_wrong_names_in_one_line(wanted, line):
    with pytest.raises(InputError, match=line) as error:
        named(wanted, ["eye"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("typed", "family"),
    [
        ("report.family=eye", ["eye"]),
        ("report.family=eye · none,zeros", ["eye · none", "zeros"]),
        ("report.family=[eye,zeros]", ["eye", "zeros"]),
        ("report.family=['eye · none']", ["eye · none"]),
        ("report.family=null", None),
    ],
)
def test_typed_in_the_shell(folder, typed, family):
    assert command.plan(["init=eye,zeros", *FEW, typed]).config.report.family == family


@pytest.mark.parametrize("typed", ["[]", "{a:1}", "nobody", "[eye,3]", "", "[null]"])
def test_a_wrong_family_is_one_line_and_nothing_is_written(folder, typed, capfd):
    assert main(["init=eye,zeros", *FEW, f"report.family={typed}"]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("initbench: report.family=")
    assert not (folder / "outputs").exists()


def test_an_experiment_s_family_is_that_of_its_own_initializers(folder):
    arms = command.plan(["init=eye,zeros", *FEW]).arms
    assert command.family_of(["eye", "gone"], arms, [], []) == ["eye"]
    assert command.family_of(["gone"], arms, [], []) is None


def test_from_the_command_to_the_pages(folder, capfd):
    overrides = ["init=eye,zeros,normal_001", *FEW, "study=s", "report.family=zeros"]
    assert main(overrides) == 0
    board = pd.read_csv("outputs/s/leaderboard.csv").set_index("setup")
    assert board.loc["normal_001 · none", "verdict"] == "not judged"
    assert json.loads((folder / "outputs/s/study.json").read_text())["family"] == ["zeros"]
    assert "not judged" in capfd.readouterr().out
    assert main([*overrides[:-1], "report.family=null"]) == 0  # another family: the pages are made anew
    assert "not judged" not in set(pd.read_csv("outputs/s/leaderboard.csv")["verdict"])


def test_a_report_of_another_family(folder):
    runs, history, study = frames.make_study(seeds=10)
    where = frames.write_study(folder / "a", runs, history, study)
    ib.report.build(where, family=["eye", "orthogonal · none"], formats="md,csv")
    pairs = pd.read_csv(where / "comparisons.csv").set_index("setup")
    judged = pairs.index[~pairs["verdict"].isin(["not judged", "baseline"])]
    assert sorted(judged) == ["eye · all", "eye · none", "orthogonal · none"]
    assert set(pairs.loc[judged, "family"]) == {3}
    assert "--family 'eye,orthogonal · none'" in (where / "report.md").read_text()
    with pytest.raises(InputError, match=r"family=nobody: unknown"):
        ib.report.build(where, family=["nobody"])
    other = folder / "b"
    shutil.copytree(where, other)
    from initbench.report.__main__ import main as rebuild

    assert rebuild([str(other), "--family", "eye,orthogonal · none", "--format", "csv"]) == 0
    assert (other / "comparisons.csv").read_bytes() == (where / "comparisons.csv").read_bytes()
    assert rebuild([str(other), "--family", "eye,nobody"]) == 2
    assert rebuild([str(other), str(where), "--family", "eye"]) == 2


def test_the_page_says_how_many_comparisons_and_that_the_family_matters(tmp_path):
    runs, history, study = frames.make_study(seeds=10)
    source = report.open_source(frames.write_study(tmp_path / "a", runs, history, study))
    [about] = [plain(one.text) for one in notices(source) if one.title == "Verdicts are corrected for 15 comparisons"]
    assert "another word in a smaller family" in about
    assert "report.family=" in about
    few = report.open_source(tmp_path / "a", family="eye")
    assert "13 not judged" in plain(answer(few, few.settings[0]))


def test_counts_that_no_seed_could_decide_are_said_afterwards(tmp_path):
    arms = {"base": tuned(spread(60, 10, 0.2, 1)), **{f"n{i}": tuned([NEVER] * 10) for i in range(30)}}
    runs = runs_of(arms, loss={f"n{i}": 0.2 + i for i in range(30)})
    pairs = said(runs)
    assert set(pairs.loc[pairs["test"] == "reached", "verdict"]) == {"undecided"}
    assert cannot_call(30, range(10)) == (
        "with 30 comparisons, 10 seeds cannot call 10/10 against 0/10: seeds=11, or report.family=[...] with at most 25"
    )


# ---- before training


def test_the_numbers_that_a_plan_knows_without_importing_stats():
    assert (FEWEST, study_foreseen.ALPHA) == (stats.MIN_SEEDS, verdict.ALPHA)


@pytest.mark.parametrize("family", [1, 2, 5, 6, 25, 26, 92, 1000])
def test_the_seeds_named_are_the_fewest(family):
    n = seeds_to_call(family)
    assert verdict.mcnemar(n, 0) * family < 0.05 <= verdict.mcnemar(n - 1, 0) * family
    assert seeds_to_call(largest(n)) == n < seeds_to_call(largest(n) + 1)


def lines(*overrides: str) -> list[str]:
    return foreseen(command.plan([*FEW[:1], *FEW[4:], *overrides]))


def test_a_family_too_large_is_said_before_training(folder, capfd):
    wide = ["model.width=4", "model.depth=1", "init=normal", f"init.std={','.join(f'{k / 100}' for k in range(1, 29))}"]
    assert lines(*wide) == [
        "with 27 comparisons, 10 seeds cannot call 10/10 against 0/10: seeds=11, or report.family=[...] with at most 25"
    ]
    assert lines(*wide, "seeds=11") == []
    assert lines(*wide, "report.family=[normal(std=0.02) · none]") == []
    assert lines(*wide, "train.target=null") == lines(*wide, "train.steps=0") == []
    assert main([*wide, *FEW[:1], *FEW[4:], "train.dry_run=true"]) == 0
    assert "note: with 27 comparisons, 10 seeds cannot call" in capfd.readouterr().err


def test_too_few_seeds_and_rates_are_said_before_training(folder):
    assert lines("init=eye", "seeds=3", "optim.lr=0.1") == []  # nothing to compare
    assert lines("init=eye,zeros") == []
    two = lines("init=eye,zeros", "seeds=[3,4]", "optim.lr=[0.1,0.3]")
    assert two[0] == "n=2: fewer than 8 seeds decide nothing: 'seeds=[3,4,5,6,7,8,9,10,11,12]'"
    assert two[1].endswith("'optim.lr=[0.03,0.1,0.3,0.9]', or optim.lr=auto")
    assert of_seeds(range(8), 1) == of_seeds(range(10), 25) == ""
    assert [bool(of_rates([0.1 * 3**k for k in range(n)])) for n in (1, 2, 3, 4)] == [True, True, True, False]


@pytest.mark.parametrize("rates", [1, 2])
def test_with_one_or_two_rates_nothing_is_called(rates):
    """What the note before training says, of the rules themselves."""
    grid = [0.1, 0.3][:rates]
    fast, slow = spread(20, 20, 0.1, 1), spread(90, 20, 0.1, 2)
    runs = runs_of({name: {lr: [t * (1 + i) for t in steps] for i, lr in enumerate(grid)}
                    for name, steps in (("base", slow), ("fast", fast))})  # fmt: skip
    assert said(runs).loc["fast", "verdict"] == "undecided"
