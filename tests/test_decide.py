"""decide=true and optim.lr=auto: what is asked next, when it ends, and that the same command comes the same way again."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import initbench as ib
from conftest import assert_template
from initbench.__main__ import main
from initbench.config.arm import runs_of
from initbench.errors import InputError
from initbench.overrides.expand import expand, expand_study
from initbench.stats.looks import LOOK_COLUMNS
from initbench.stats.panel import Panel
from initbench.store.parts import Store
from initbench.study import command, decide
from initbench.study.clock import NOTE, Clock
from initbench.study.decide import Asked, Budget, End, Limits, Move, Seen, State
from initbench.study.jobs import round_lines
from initbench.study.limits import first_seeds

# ------------------------------------------------------------------------------------------------ by hand

RATES = (0.01, 0.1, 1.0)
TEN = tuple(range(10))
LIMITS = Limits(TEN, (10, 20, 40), 40, 5, (400, 400, 400))
FREE = Budget(math.inf, lambda state: 1.0)


def panel(steps, rates=RATES, seeds=10, spread=0.1, **more) -> Panel:
    """An arm with these typical steps at its rates."""
    noise = np.random.default_rng(0).normal(0, spread, (len(rates), seeds))
    log = np.log(np.array(steps, float))[:, None] + noise
    ones = np.ones_like(log)
    return Panel(np.array(rates), np.arange(seeds), log, ones, ones, **more)


def seen(name="a", steps=(80, 20, 90), share=1.0, setting="s", **more) -> Seen:
    found = None if steps is None else panel(steps, **more)
    return Seen(f"{name} in {setting}", name, setting, found, share, 20.0 if share else math.inf)


def state(n=3, look=0, **more) -> State:
    return State(tuple(Asked(TEN, RATES, 100, 20, **more) for _ in range(n)), look)


def row(setup, why="seeds", look=0, setting="s", baseline="base", needed=None) -> dict:
    """A comparison at a look: open for a reason, or decided where that is empty."""
    verdict = "undecided" if why else "slower"
    return {"setting": setting, "setup": setup, "baseline": baseline, "verdict": verdict, "why": why, "look": look,
            "seeds_needed": needed}  # fmt: skip


THREE = [seen("base"), seen("a"), seen("b")]


@pytest.mark.parametrize(
    ("steps", "rates"),
    [((20, 40, 80), (0.001, *RATES)), ((80, 40, 20), (*RATES, 10.0)), ((40, 20, 80), RATES)],
)
def test_a_grid_is_continued_by_its_own_ratio_where_the_best_rate_lies_at_an_end(steps, rates):
    found = [seen("base", steps), seen("a", steps), seen("b")]
    move = decide.settled(state(), found, [], LIMITS)
    assert (move.why == "grid") == (rates != RATES)
    assert [arm.rates for arm in move.state.arms] == [rates, rates, RATES]  # the baseline by the same rule
    later = decide.settled(state(), found, [row("a", "")], LIMITS)
    assert [arm.rates for arm in later.state.arms] == [rates, RATES, RATES]  # decided arms get nothing more


def test_one_rate_is_continued_to_both_sides_and_the_limit_counts_dropped_rates():
    one = State((Asked(TEN, (0.1,), 100, 20),))
    only = [seen(steps=(20,), rates=(0.1,))]
    assert decide.settled(one, only, [], LIMITS).state.arms[0].rates == (0.03, 0.1, 0.3)
    assert decide.settled(one, only, [], LIMITS._replace(rates=2)).state.arms[0].rates == (0.1, 0.3)
    full = State((Asked(TEN, RATES, 100, 20, dropped=((3.0, TEN), (9.0, TEN))),))
    assert decide.settled(full, [seen(steps=(10, 20, 30))], [], LIMITS).why == ""


def test_the_steps_are_doubled_where_nobody_arrives_up_to_the_limit():
    nobody = [seen(name, share=0.7) for name in ("base", "a", "b")]
    steps = []
    now = state()
    while (move := decide.settled(now, nobody, [], LIMITS._replace(steps=(300,) * 3))).why:
        assert move.why == "longer"
        now = move.state
        steps.append({arm.steps for arm in now.arms})
    assert steps == [{200}, {300}]
    other = [*nobody[:2], seen("b", setting="t")]
    assert [arm.steps for arm in decide.settled(state(), other, [], LIMITS).state.arms] == [200, 200, 100]
    assert decide.settled(state(), nobody, [row("a", "")], LIMITS).why == ""  # a word has fallen there
    assert decide.settled(state(), [seen(x, None, 0.0) for x in ("base", "a", "b")], [], LIMITS).why == ""  # all failed


def test_auto_rates_are_refined_once_and_those_that_cannot_win_cost_no_more_seeds():
    limits = Limits(tuple(range(30)), (), 0, 9, (400,) * 3, auto=True)
    now = decide.first(state().arms, limits)
    assert {arm.seeds for arm in now.arms} == {TEN}
    move = decide.settled(now, THREE, [], limits)
    assert move.why == "rates refined"
    assert {arm.rates for arm in move.state.arms} == {(0.01, 0.032, 0.1, 0.32, 1.0)}
    found = [seen(name, (80, 25, 20, 24, 90), rates=move.state.arms[0].rates) for name in ("base", "a", "b")]
    last = decide.settled(move.state, found, [], limits)
    assert last.why == "more seeds"
    for arm in last.state.arms:
        assert arm.dropped == ((0.01, TEN), (0.032, TEN), (0.32, TEN), (1.0, TEN))
        assert (arm.rates, arm.seeds) == ((0.1,), tuple(range(30)))
        assert len(arm.runs) == 30 + 4 * 10
    assert decide.settled(last.state, found, [], limits).why == ""


def test_auto_keeps_room_for_refining_and_does_not_refine_a_failed_arm():
    limits = Limits(TEN, (), 0, 5, (400,) * 3, auto=True)
    edge = [seen("base", (20, 40, 80)), seen("a", None, 0.0), seen("b")]
    move = decide.settled(state(), edge, [], limits)
    assert move.why == "rates refined"  # five rates are no room for continuing and refining
    assert [arm.rates for arm in move.state.arms] == [(0.01, 0.032, 0.1, 1.0), RATES, (0.01, 0.032, 0.1, 0.32, 1.0)]


def test_the_end_when_every_comparison_has_a_word():
    assert decide.after(state(), THREE, [row("a", ""), row("b", "")], LIMITS, FREE) == End(
        "decided", "every comparison has a word"
    )
    assert decide.after(state(1), THREE[:1], [], LIMITS, FREE).ended == "decided"


def test_open_comparisons_and_their_baseline_get_the_seeds_of_the_next_look():
    move = decide.after(state(), THREE, [row("a"), row("b", "")], LIMITS, FREE)
    assert isinstance(move, Move)
    assert (move.why, move.state.look) == ("more seeds", 1)
    assert [len(arm.seeds) for arm in move.state.arms] == [20, 20, 10]
    assert move.state.arms[0].dropped == ((0.01, TEN), (1.0, TEN))
    assert move.state.arms[0].beyond(state().arms[0]) == 10
    later = decide.after(replace(state(), look=1), THREE, [row("a", look=1)], LIMITS, FREE)
    assert isinstance(later, Move)
    assert later.state.arms[0].dropped == ()  # rates are dropped after the first look only
    assert len(later.state.arms[0].seeds) == 40


def test_a_baseline_that_changes_before_a_word_has_fallen_makes_no_more_comparisons():
    rows = [row("a"), row("b"), row("base", look=1, baseline="a"), row("b", look=1, baseline="a")]
    assert [len(decide.open_of(rows)[0]), decide.open_of(rows)[1]] == [2, 2]
    assert decide.open_of([]) == ([], 0)
    end = decide.after(replace(state(), look=1), THREE, rows, LIMITS._replace(most=20), FREE)
    assert end == End("seeds", "2 of 2 comparisons are open at decide.seeds=20")


def test_the_end_by_seeds():
    last = replace(state(), look=2)
    end = decide.after(last, THREE, [row("a", look=2), row("b", "", look=0)], LIMITS, FREE)
    assert end == End("seeds", "1 of 2 comparisons is open at decide.seeds=40")
    beyond = LIMITS._replace(most=20)  # looked at 40 before, under another limit
    assert decide.after(replace(state(), look=1), THREE, [row("a", look=1)], beyond, FREE).ended == "seeds"


def test_the_end_where_more_seeds_would_not_decide():
    end = decide.after(state(), THREE, [row("a", "lr"), row("b", "steps")], LIMITS, FREE)
    assert isinstance(end, End)
    assert end.ended == "nothing would change"
    assert "2 of 2 comparisons are open" in end.reason
    assert "1: the best lr of the slower one lies at the end of its grid (decide.rates=5)" in end.reason
    assert "1: neither arrives in 80% of its seeds (decide.steps=400)" in end.reason
    failed = [seen("base"), seen("a", None, 0.0), seen("b")]
    end = decide.after(state(), failed, [row("a", "few"), row("b", "")], LIMITS, FREE)
    assert isinstance(end, End)
    assert "1: an arm of theirs has failed" in end.reason


def test_the_end_by_time_comes_after_what_time_still_allows():
    rows = [row("a", needed=70), row("b", needed=15)]

    def seconds(new: State) -> float:
        return float(sum(arm.beyond(old) for arm, old in zip(new.arms, state().arms)))

    assert seconds(state(0)) == 0
    all_ = decide.after(state(), THREE, rows, LIMITS, Budget(30, seconds))
    some = decide.after(state(), THREE, rows, LIMITS, Budget(20, seconds))
    assert [len(arm.seeds) for arm in all_.state.arms] == [20, 20, 20]
    assert [len(arm.seeds) for arm in some.state.arms] == [20, 10, 20]  # that which needs fewer seeds
    end = decide.after(state(), THREE, rows, LIMITS._replace(left="decide.minutes=1"), Budget(19, seconds))
    assert end == End("minutes", "2 of 2 comparisons are open; the next round would take about 20 s, and 19 s of "
                      "decide.minutes=1 are left")  # fmt: skip


def test_what_one_evaluation_earlier_would_change_is_evaluated_at_every_step_and_looked_at_again():
    now = state()
    found = [seen("base"), replace_steps(seen("a"), 33.5), seen("b")]
    rows = [row("a", "grid"), row("b", "")]
    first = decide.after(now, found, rows, LIMITS, FREE)
    assert isinstance(first, Move)
    assert (first.why, first.state.look) == ("denser", 0)
    assert [arm.dense for arm in first.state.arms] == [34, 34, 20]
    second = decide.after(first.state, found, rows, LIMITS, FREE)
    assert [arm.dense for arm in second.state.arms] == [100, 100, 20]  # all steps
    third = decide.after(second.state, found, rows, LIMITS, FREE)
    assert third.why == "more seeds"


def replace_steps(one: Seen, steps: float) -> Seen:
    return one._replace(steps=steps)


@given(st.integers(1, 12), st.floats(1.2, 10), st.integers(0, 11))
def test_midpoints_lie_between(n, ratio, best):
    rates = [0.01 * ratio**i for i in range(n)]
    best = min(best, n - 1)
    for middle in decide.midpoints(rates, best):
        assert middle not in rates
        assert rates[max(0, best - 1)] < middle < rates[min(n - 1, best + 1)]


# ------------------------------------------------------------------------------------------------ configuration

OFF = ["track.uri=null", "engine.workers=1", "report.formats=[csv]"]
TWO = ["init=eye,kaiming_normal", "sharing=none"]
WRONG = {
    "decide=5": "decide=5: not allowed; must be true or false",
    "decide=true,false": "must be true or false",
    "decide={minutes:5}": "must be true or false",
    "decide=null": "must be true or false",
    "+decide=true": "keys cannot be added; write decide=true",
    "~decide": "keys cannot be deleted",
    "decide.minutes=60": "decide.minutes=60: nothing uses it without decide=true; add decide=true, or leave it out",
    "decide=false decide.seeds=30": "nothing uses it without decide=true",
    "decide=true decide=false": "decide=true decide=false: decide.enabled is given twice",
    "decide=true decide.minutes=0": "decide.minutes=0.*must be a number above 0, or null for no limit",
    "decide=true decide.minutes=soon": "must be a number",
    "decide=true decide.minutes=nan": "must be a number",
    "decide=true decide.seeds=7": "decide.seeds=7: not allowed; must be a whole number, 8 or more",
    "decide=true decide.seeds=9": "decide.seeds=9: less than the 10 seeds of the first look; set decide.seeds=10 or more",
    "decide=true decide.seeds=1e3": "must be a whole number",
    "decide=true decide.seeds=1000000000000": "decide.seeds=1000000000000: needs .* of memory",
    "decide=true decide.seeds=20,30": "a command takes one decide.seeds",
    "decide=true decide.steps=100": "decide.steps=100: less than the 300 steps of train.steps",
    "decide=true decide.rates=3": "decide.rates=3: less than the 5 learning rates of optim.lr",
    "decide=true decide.rates=0": "must be a whole number, 1 or more",
    "decide=true decide.foo=1": "no such key; .*must be one of: decide.enabled, decide.minutes",
    "decide=true train.target=null": "decide=true: train.target=null sets no target to compare by",
    "decide=true train.steps=0": "decide=true: train.steps=0 trains nothing",
    "decide=true init=eye": "decide=true: each setting has one setup: nothing to compare",
    "decide=true init=eye model.width=8,16": "nothing to compare",
    "optim.lr=[auto]": "optim.lr=auto: not allowed",
    "optim.lr=Auto": "must be a number above 0 or a list of them, .*, or auto",
    "optim.lr=auto,0.1": "it would be a sweep of jobs",
    "optim.lr=[auto,0.1]": "not allowed; must be a number",
}


@pytest.mark.parametrize("typed", WRONG)
def test_wrong_limits_are_one_line_before_anything_starts(typed, folder, capsys):
    mine = typed.split()
    few = [one for one in TWO if not any(other.startswith(one.split("=")[0] + "=") for other in mine)]
    assert main([*mine, *few, *OFF]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert re.search(WRONG[typed], assert_template(line.removeprefix("initbench: ")))
    assert (out, list(folder.iterdir())) == ("", [])


def test_limits_change_neither_arms_nor_the_study_s_folder():
    plain = expand_study(["decide=true", *TWO])
    limited = expand_study(
        ["decide=true", "decide.minutes=5", "decide.seeds=50", "decide.steps=900", "decide.rates=7", *TWO]
    )
    assert plain.study.name == limited.study.name != expand_study(TWO).study.name
    assert plain.arms == limited.arms == expand(TWO)
    (one,) = expand(["init=eye", "sharing=none", "optim.lr=auto"])
    key = lambda arm: arm.key("", "", "2.0")  # noqa: E731
    assert (
        key(one)
        == key(replace(one, dropped=((0.1, (0, 1)),), seeds=(0,)))
        == key(expand(["init=eye", "sharing=none"])[0])
    )


def test_auto_starts_from_the_optimizer_s_usual_rates():
    arms = expand(["init=eye", "sharing=none", "optim=sgd,adam", "optim.lr=auto"])
    usual = expand(["init=eye", "sharing=none", "optim=sgd,adam"])
    assert [arm.optim.lrs for arm in arms] == [arm.optim.lrs for arm in usual]
    assert arms[0].optim.lrs != arms[1].optim.lrs


def test_the_runs_of_an_arm_with_dropped_rates_are_sorted():
    runs = runs_of((0, 1, 2), (0.1,), ((0.03, (0, 1)), (1.0, (0,))))
    assert list(runs) == sorted(runs)
    assert len(runs) == 3 + 2 + 1


# ------------------------------------------------------------------------------------------------ real studies

TINY = [
    *(
        "init=kaiming_normal,eye,xavier_normal",
        "sharing=none",
        "model.width=8",
        "model.depth=2",
        "optim.lr=[0.03,0.3,1.0]",
    ),
    *("train.steps=40", "measure=none", "train.eval_samples=64", "train.target.value=0.7", "study=s", *OFF),
]
DECIDE = [*TINY, "seeds=8", "decide=true", "decide.seeds=16", "decide.steps=80"]
S = Path("outputs", "s")


def left_behind(folder: Path = S) -> dict[str, object]:
    """The bytes of what a study leaves, and study.json without what tells times."""
    found: dict[str, object] = {
        path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".parquet")
    }
    content = json.loads((folder / "study.json").read_text())
    for name in ("created", "elapsed", "whole"):
        content.pop(name)
    for one in content.get("decide", {}).get("rounds", []):
        del one["seconds"]
    return found | {"study": content}


def parts(root: Path = Path("outputs/store")) -> set[str]:
    return {path.name for path in root.glob("*/part-*.parquet")}


def words(out: str) -> list[str]:
    """What was said of the results: lines end elsewhere where the terminal is narrower."""
    return re.sub(r"done in.*|─", "", out).split()


def rounds(err: str) -> list[str]:
    return re.findall(r"^round .*?; \d+ of \d+ comparisons open", err, re.MULTILINE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which the tiny study was decided, and what was printed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            assert main(DECIDE) == 0
    return folder, out.getvalue(), err.getvalue()


def test_a_study_is_decided_and_says_how(whole, monkeypatch):
    folder, out, err = whole
    monkeypatch.chdir(folder)
    results = ib.load(S)
    told = results.study["decide"]
    assert told["sizes"] == [8, 16]
    assert (told["seeds"], told["minutes"], told["steps"], told["rates"]) == (16, 60.0, 80, 9)
    assert [one["round"] for one in told["rounds"]] == list(range(len(told["rounds"])))
    assert told["rounds"][0]["why"] == "first look"
    assert len(rounds(err)) == len(told["rounds"]) >= 2
    assert f"after {len(told['rounds'])} rounds: {told['reason']}" in out
    assert list(results.looks.columns) == LOOK_COLUMNS
    assert len(results.looks) >= 2
    assert sum(one["runs"] for one in told["rounds"]) >= len(results.runs)
    for arm in results.study["arms"]:
        asked = runs_of(arm["seeds"], arm["lrs"], arm["config"]["dropped"])
        mine = results.runs[results.runs["arm"] == arm["label"]]
        assert len(mine) == len(asked) == arm["runs"]
        assert set(zip(mine["seed"], mine["optim.lr"])) == set(asked)
    found = results.compare().set_index("setup")["verdict"].drop("kaiming_normal · none")
    last = results.looks.groupby("setup").last()["verdict"]
    assert found.to_dict() == last.to_dict()
    kept = {arm["init"]: (arm["lrs"], len(arm["seeds"])) for arm in results.study["arms"]}
    assert kept["eye"] == ([0.03, 0.3, 1.0, 3.0], 8)  # decided at the first look: nothing more
    assert kept["kaiming_normal"][1] == kept["xavier_normal"][1] == 16
    assert len(kept["kaiming_normal"][0]) < 4


def test_a_second_call_trains_nothing_says_the_same_and_changes_no_byte(whole, monkeypatch, capsys):
    folder, first_out, first_err = whole
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()}
    trained = []
    monkeypatch.setattr(Store, "write", lambda *args: trained.append(args))
    assert main(DECIDE) == 0
    out, err = capsys.readouterr()
    assert trained == []
    assert rounds(err) == rounds(first_err)
    assert words(out) == words(first_out)
    assert {path: path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("after", [2, 9])  # in the first look, and in a later one
def test_killed_at_any_moment_it_ends_in_the_same_bytes(after, whole, folder, monkeypatch):
    write, done = Store.write, []

    def killing(self, key, chunk):
        done.append(key)
        if len(done) > after:
            raise KeyboardInterrupt
        return write(self, key, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", killing)
        assert main([*DECIDE, "engine.chunk=12"]) == 130
    assert main(DECIDE) == 0
    monkeypatch.chdir(whole[0])
    expected = left_behind()
    monkeypatch.chdir(folder)
    assert left_behind() == expected


@pytest.mark.slow
def test_a_kill_from_outside_too(whole, folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "initbench", *DECIDE, "engine.chunk=6"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not parts() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert main(DECIDE) == 0
    assert left_behind() == left_behind(whole[0] / S)


def test_a_path_that_ended_by_time_ends_there_again_and_more_time_goes_on(whole, folder, capsys):
    shutil.copytree(whole[0] / "outputs", folder / "outputs")
    note = json.loads((S / NOTE).read_text())
    clock = Clock(S, note["asked"])
    assert clock.rounds == note["rounds"]
    for one in clock.rounds.values():
        one[0] = 25.0
    clock.write()
    for _ in range(2):
        assert main([*DECIDE, "decide.minutes=1"]) == 0
        out, err = capsys.readouterr()
        assert "ended by decide.minutes" in out
        assert re.search(r"the next round would take about 12 s, and 10 s of decide.minutes=1 are left", out)
        assert len(rounds(err)) == 2
    short = json.loads((S / "study.json").read_text())
    assert short["decide"]["ended"] == "minutes"
    assert main([*DECIDE, "decide.minutes=60"]) == 0
    assert left_behind()["study"]["looks"] == left_behind(whole[0] / S)["study"]["looks"]


HARMS = ["{", "[]", '{"whole": 1}', "", '{"whole": "x", "rounds": {}, "looked": [], "asked": ""}', "[" * 100_000]


@pytest.mark.parametrize("text", HARMS)
def test_a_damaged_note_of_times_counts_as_none(text, tmp_path):
    (tmp_path / NOTE).write_text(text)
    clock = Clock(tmp_path, "q")
    assert (clock.rounds, clock.looked) == ({}, [])
    clock.start("a")
    clock.stop(anew=True)
    clock.look(10)
    assert Clock(tmp_path, "q").looked == [10]
    assert Clock(tmp_path, "another question").looked == []
    assert Clock(tmp_path, "another question").rounds == clock.rounds


def test_a_round_that_was_interrupted_adds_to_its_time(tmp_path):
    clock = Clock(tmp_path, "q")
    clock.rounds["a"] = [100.0, False]
    clock.start("a")
    clock.stop(anew=True)
    assert 100 <= clock.seconds(["a"]) < 110
    clock.start("a")
    clock.stop(anew=False)
    assert 100 <= clock.seconds(["a"]) < 110  # done: it keeps its time
    clock.start("a")
    clock.stop(anew=True)
    assert clock.seconds(["a"]) < 10  # trained again


def test_a_dry_run_says_what_it_would_probably_do_and_writes_nothing(folder, capsys):
    assert main([*DECIDE, "train.dry_run=true"]) == 0
    err = capsys.readouterr().err
    assert "72 runs at 8 seeds" in err
    assert re.search(r"decide.seeds=16, decide.minutes=60.*\n.*about [\d.]+ (s|min)", err)
    assert main(auto("seeds=2", "train.dry_run=true")) == 0
    err = capsys.readouterr().err
    assert "rates from 0.01, 0.03, 0.1, 0.3, 1" in err
    assert "probably about 42 runs" in err
    assert list(folder.iterdir()) == []


def auto(*more: str) -> list[str]:
    """The tiny study with optim.lr=auto."""
    return [*(one for one in TINY if not one.startswith("optim.lr")), "optim.lr=auto", *more]


def test_auto_rates_follow_one_rule_for_all_arms_and_few_of_them_get_all_seeds(folder, capsys):
    results = ib.run(auto("seeds=12"))
    told = capsys.readouterr().err.splitlines()
    of_rounds = [int(line[6:].partition(",")[0]) for line in told if line.startswith("round ")]
    assert of_rounds == list(range(1, 1 + len(of_rounds)))
    assert sum(line.startswith("training: 100%") for line in told) == len(of_rounds) > 1
    arms = results.study["arms"]
    for arm in arms:
        rates = sorted([*arm["lrs"], *(lr for lr, _ in arm["config"]["dropped"])])
        assert len(rates) >= 7  # five, and two between the best and its neighbours
        assert {0.01, 0.03, 0.1, 0.3, 1.0} <= set(rates)
        assert arm["seeds"] == list(range(12))
        assert all(seeds == list(range(10)) for _, seeds in arm["config"]["dropped"])
    assert any(arm["config"]["dropped"] for arm in arms)
    runs = results.runs
    assert runs["lr_dropped"].any()
    assert runs[~runs["lr_dropped"]].groupby(["arm", "optim.lr"])["seed"].nunique().eq(12).all()
    assert runs[runs["lr_dropped"]].groupby(["arm", "optim.lr"])["seed"].nunique().eq(10).all()
    board = results.leaderboard()
    assert not any(
        ((runs["arm"] == one["arm"]) & (runs["optim.lr"] == one["lr"]) & runs["lr_dropped"]).any()
        for one in board.to_dict("records")
    )
    assert results.looks.empty
    assert list(results.looks.columns) == LOOK_COLUMNS
    assert "decide" not in results.study
    assert ib.load(S).runs.equals(runs)
    before = parts()
    assert main(auto("seeds=12")) == 0
    assert parts() == before


def test_an_arm_whose_code_fails_is_listed_and_the_others_are_decided(folder, capsys):
    Path("mine_decide.py").write_text(
        "def init(weight, *, generator):\n    if generator.initial_seed() % 2: raise ValueError('odd')\n"
        "    return weight.normal_(0, 0.3, generator=generator)\n"
    )
    mine = [one.replace("xavier_normal", "mine_decide.init") for one in DECIDE]
    assert main(mine) == 1
    err = capsys.readouterr().err
    assert "mine_decide.init · none: " in err
    study = json.loads((S / "study.json").read_text())
    assert {row["setup"]: row["verdict"] for row in study["looks"] if row["setup"].startswith("eye")} == {
        "eye · none": "faster"
    }
    assert study["decide"]["ended"] == "nothing would change"
    sys.modules.pop("mine_decide", None)


def test_fewer_than_eight_seeds_are_raised_to_eight():
    plan = command.plan([*TINY, "seeds=[4,6]", "decide=true", "decide.seeds=8"])
    assert first_seeds(plan.arms[0], plan.config.decide) == (4, 6, 7, 8, 9, 10, 11, 12)
    assert first_seeds(plan.arms[0], replace(plan.config.decide, enabled=False)) == (4, 6)


def test_rerun_trains_each_run_once_more_and_gives_the_same_bytes(whole, folder):
    shutil.copytree(whole[0] / "outputs", folder / "outputs")
    before, written, write = left_behind(), [], Store.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write", lambda self, key, chunk: written.extend(chunk.runs) or write(self, key, chunk))
        assert main([*DECIDE, "train.rerun=true"]) == 0
    assert len(written) == len(ib.load(S).runs)
    after = left_behind()
    assert {name: after[name] for name in after if name != "study"} == {
        name: before[name] for name in before if name != "study"
    }
    assert ib.run(DECIDE).looks.equals(ib.load(S).looks)


def test_a_look_under_other_limits_counts(whole, folder):
    shutil.copytree(whole[0] / "outputs", folder / "outputs")
    results = ib.run([*DECIDE[:-2], "decide.seeds=12", "decide.steps=80"])
    looked = {row["seeds"] for row in json.loads((whole[0] / S / "study.json").read_text())["looks"]}
    assert set(results.study["decide"]["sizes"]) == {8, 12} | looked
    assert max(len(arm["seeds"]) for arm in results.study["arms"]) <= 12


def test_a_look_by_hand_before_counts_and_one_after_does_not(folder):
    results = ib.run([*TINY, "seeds=8"])
    assert results.looks.empty
    first = ib.run([*TINY, "seeds=9", "decide=true", "decide.seeds=18"])
    assert first.study["decide"]["sizes"] == [8, 9, 18]
    assert sorted(set(first.looks["look"]))[0] == 1
    assert "looked" not in first.study
    fewer = [one for one in TINY if not one.startswith(("optim.lr", "study"))]
    ib.run([*fewer, "seeds=8", "optim.lr=[0.3,1.0]", "study=later"])
    again = ib.run([*TINY, "seeds=9", "decide=true", "decide.seeds=18"])
    assert again.looks.equals(first.looks)
    plain = ib.run([*TINY, "seeds=9", "decide=true", "decide.seeds=18", "outputs=fresh"])
    assert plain.study["decide"]["sizes"] == [9, 18]
    both = [one.looks.query("seeds == 9").set_index("setup")["p_holm"].fillna(0) for one in (first, plain)]
    assert (both[0] >= both[1]).all()
    assert (both[0] > both[1]).any()


def test_setups_that_are_the_same_nets_count_once_and_their_copies_get_no_seeds(folder):
    names = "init=xavier_normal,kaiming_normal,identity,eye"
    results = ib.run(
        [
            names,
            *TINY[1:],
            "seeds=8",
            "decide=true",
            "decide.seeds=16",
            "report.family=[kaiming_normal,xavier_normal,eye]",
        ]
    )
    assert results.study["decide"]["rounds"][0]["open"] == 2  # the family of xavier_normal: identity is not in it
    assert "identity · none" not in set(results.looks["setup"])
    whole = ib.run([names, *TINY[1:], "seeds=8", "decide=true", "decide.seeds=16"])
    (copy,) = whole.looks.query("same_as != ''").to_dict("records")
    assert {copy["setup"], copy["same_as"]} == {"eye · none", "identity · none"}
    assert f"{len(decide.open_of(whole.study['looks'])[0])} of 2 comparisons" in whole.study["decide"]["reason"]


# ------------------------------------------------------------------------------------------------ other launchers


def test_each_arm_of_a_round_is_a_job_of_its_own(tmp_path):
    plan = command.plan(
        ["init=eye", "sharing=all", "sharing.controls=true", "seeds=3", "optim.lr=[0.1,0.3]", "train.steps=4"]
    )
    for arm in plan.arms:
        asked = replace(arm, config=replace(arm.config, seeds=(0, 1), dropped=((0.9, (0,)),)))
        lines = round_lines(asked, set(asked.config.runs))
        jobs = [list(line) for line, _ in lines]
        assert [job[-2:] for job in jobs] == [["seeds=[0,1]", "optim.lr=[0.1,0.3]"], ["seeds=[0]", "optim.lr=[0.9]"]]
        assert set().union(*(runs for _, runs in lines)) == set(asked.config.runs)
        made = [command.plan([*job, "study=s"]) for job in jobs]
        assert [[one.key for one in plan.arms] for plan in made] == [[arm.key]] * 2


@pytest.mark.slow
def test_another_launcher_goes_the_same_way(whole, folder, capsys):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert main([*DECIDE, "hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]) == 0
    mine, expected = left_behind(), left_behind(whole[0] / S)
    assert mine["study"]["looks"] == expected["study"]["looks"]
    assert mine["runs.parquet"] == expected["runs.parquet"]
    # Hydra has loaded its plugins anew: option files are checked as before
    Path("init").mkdir()
    Path("init/torn.yaml").write_text("name: [")
    capsys.readouterr()
    assert main(["--config-dir", ".", "init=torn"]) == 2
    assert "init/torn.yaml: line 1" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ study.json

DAMAGED = {
    "looks=5": "looks must be a list of objects",
    "looks.0.verdict='faster?'": r"looks\[0\].verdict must be faster, slower",
    "looks.0.look=-1": r"looks\[0\].look must be a whole number",
    "looks.0.p='x'": r"looks\[0\].p must be a number",
    "looks=None": "looks is missing",
    "decide=None": "decide is missing",
    "decide.ended='soon'": "decide.ended must be decided, seeds, minutes or nothing would change",
    "decide.sizes=[1.5]": "decide.sizes must be a list of whole numbers",
    "decide.rounds=[1]": "decide.rounds must be a list of objects",
    "decide.rounds.0.seconds=None": r"decide.rounds\[0\].seconds must be a number",
    "arms.0.config.dropped=[[1]]": r"arms\[0\].config.dropped must be a list of learning rates",
}


@pytest.mark.parametrize("harm", DAMAGED)
def test_a_damaged_study_is_refused_in_one_line(harm, whole, tmp_path):
    shutil.copytree(whole[0] / S, tmp_path / "s")
    file = tmp_path / "s" / "study.json"
    content = json.loads(file.read_text())
    path, _, value = harm.partition("=")
    *way, last = path.split(".")
    node = content
    for key in way:
        node = node[int(key) if key.isdigit() else key]
    node[last] = eval(value)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=DAMAGED[harm]) as error:
        ib.load(tmp_path / "s")
    assert_template(str(error.value))
