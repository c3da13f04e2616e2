"""Large studies: pages, terminal and tables that answer first and say what they leave out; memory that does not multiply."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hand import NEVER, runs_of, source_of, spread, tuned
from initbench import report, stats
from initbench.cli import terminal
from initbench.report import FORMATS, block, notices, overview, text
from initbench.report.page import page, what_was_run
from initbench.report.words import plain
from initbench.stats import factors
from initbench.track.points import NEVER as FINITE
from initbench.track.points import History, bands


@pytest.fixture(scope="module")
def settings() -> report.Source:
    """Eight settings: a is first in five, b in two, in the last nobody arrives."""
    parts = []
    for i in range(8):
        a, b = (NEVER, NEVER) if i == 7 else (30, 60) if i < 5 else (60, 30)
        arms = {
            "base": tuned(spread(100, 10, 0.05, 3)),
            "a": tuned(spread(a, 10, 0.05, 1)),
            "b": tuned(spread(b, 10, 0.05, 2)),
        }
        if i == 7:
            arms = {name: tuned([NEVER] * 10) for name in arms}
        parts.append(runs_of(arms, setting=f"depth {i}"))
    runs = pd.concat(parts, ignore_index=True)
    return source_of(runs.assign(run=runs["run"] + runs["setting"]), baseline="base")


def test_many_settings_are_answered_together(settings: report.Source):
    assert re.fullmatch(
        r"a reaches the target first in 5 of 8 settings, b in 2\. There it takes 0\.30x( to 0\.3\dx)? the steps of base\. "
        r"In 1 of them no setup arrives in 80% of its seeds\. The first is called faster than the baseline in 7 of 7\.",
        plain(overview.first_answer(settings)),
    )
    rows = overview.rows(settings)
    assert [row[:2] for row in rows[4:6]] == [["depth 4", "a"], ["depth 5", "b"]]
    assert rows[0][5] == "faster"
    assert rows[0][7] == "2 faster"
    assert len(overview.settings(settings, None).items[0].table["rows"]) == 8  # type: ignore[arg-type, index]


def test_few_settings_have_one_answer_first_and_an_answer_each(settings: report.Source):
    few = source_of(settings.runs[settings.runs["setting"].isin([f"depth {i}" for i in range(6)])], baseline="base")
    assert plain(overview.first_answer(few)).startswith("a reaches the target first in 5 of 6 settings, b in 1.")
    assert [plain(one)[:11] for _, one in overview.each(few)] == [f"On depth {i}," for i in range(6)]
    alone = source_of(settings.runs[settings.runs["setting"] == "depth 0"], baseline="base")
    assert plain(overview.first_answer(alone)).startswith("On depth 0, a reaches")
    assert overview.each(alone) == []
    assert overview.settings(alone, None).items == []  # type: ignore[arg-type]
    assert block.drawn_settings(few) == few.settings
    assert block.drawn_settings(settings) == settings.settings[:3]


def test_the_markdown_of_many_settings_is_their_table_and_the_first(settings: report.Source):
    lines = text.report_markdown(settings).splitlines()
    assert lines[2].startswith("**a** reaches the target first in 5 of 8 settings")
    assert sum(line.startswith("| depth ") for line in lines) == 8
    assert [line for line in lines if line.startswith("## ")] == ["## depth 0", "## depth 1", "## depth 2"]
    assert "5 more settings in leaderboard.csv and comparisons.csv." in lines


def test_notices_of_many_settings_are_told_once(settings: report.Source):
    titles = [one.title for one in notices.notices(settings)]
    assert "Verdicts are corrected for 2 comparisons (depth 0; the like in 6 more settings)" in titles
    assert len(titles) < 6


def test_lists_of_what_was_run_end(settings: report.Source):
    names = {f"i{k:03d}": {0.1: [60.0]} for k in range(60)}
    told = dict(what_was_run(source_of(runs_of(names), baseline="i000")))
    assert told["Initializers"].endswith("i039 and 20 more")
    assert dict(what_was_run(settings))["Settings"].endswith("depth 5 and 2 more")


def test_the_table_of_all_arms_holds_the_first_of_each_setting_and_its_baseline():
    board = pd.DataFrame({"setting": np.repeat(["s", "t"], 20), "rank": [*range(1, 21)] * 2,
                          "setup": [f"a{i}" for i in range(20)] * 2, "baseline": "a15"})  # fmt: skip
    kept = block.in_table(board, most=10)
    assert kept["rank"].tolist() == [1, 2, 3, 4, 5, 16] * 2
    assert block.in_table(board, most=40) is board


def test_the_first_of_many_are_confirmed_with_the_values_that_they_have():
    names = [f"normal(std={k})" for k in range(1, 51)]
    runs = runs_of({name: {0.1: [60.0 + k] * 8} for k, name in enumerate(names)})
    runs["init.name"], runs["init.std"] = "normal", runs["setup"].str.extract(r"(\d+)")[0].astype(float) / 100
    command = f"python -m initbench init=normal init.std={','.join(str(k / 100) for k in range(1, 51))} seeds=8"
    [notice] = [
        one for one in notices.notices(source_of(runs, baseline=names[0], command=command)) if "first of" in one.title
    ]
    said = plain(notice.text)
    assert said.startswith("Confirm the first 20 on fresh seeds: python -m initbench init=normal ")
    values = re.search(r"init\.std=([\d.,]+)", said)
    assert values is not None
    assert [float(one) for one in values[1].split(",")] == [k / 100 for k in range(1, 21)]


@pytest.mark.parametrize("width", [40, 80, 110])
def test_names_stay_whole_in_a_narrow_terminal(width: int, monkeypatch, capsys):
    names = [f"xavier_uniform(gain={k}) · cycle(2)" for k in range(2)]
    board = stats.leaderboard(runs_of({name: {0.1: [60.0]} for name in names}))
    monkeypatch.setattr(terminal, "out", terminal.Terminal(width=width))
    terminal.leaderboard(board, {"metric": "accuracy/train", "value": 0.95})
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert ("loss" in shown) == (width == 110)
    assert max(map(len, shown.splitlines()[1:])) <= width
    if width > 40:
        assert all(name in shown for name in names)
        assert "verdict" in shown


def test_the_terminal_shows_the_first_and_says_where_the_rest_is(monkeypatch, capsys):
    board = stats.leaderboard(runs_of({f"i{k:03d}": {0.1: [60.0]} for k in range(30)}))
    many = pd.concat([board.assign(setting=f"s{i}") for i in range(9)])
    monkeypatch.setattr(terminal, "out", terminal.Terminal(width=110))
    monkeypatch.setattr(terminal, "err", terminal.Terminal(stderr=True))
    terminal.leaderboard(board, None)
    assert len(re.findall(r"i0\d\d", (alone := capsys.readouterr().out))) == 20
    assert "10 more in the report" in alone
    terminal.leaderboard(many, None)
    together = capsys.readouterr().out
    assert len(re.findall(r"i0\d\d", together)) == 60
    assert "3 more settings in the report" in together
    terminal.trouble([(f"arm {k}", "why") for k in range(900)] + [(f"arm {k}", f"why {k}") for k in range(900, 1000)])
    shown = capsys.readouterr().err.splitlines()
    assert shown[:2] == ["1,000 arms without results:", "  900 arms (arm 0, arm 1, arm 2 and 897 more): why"]
    assert shown[2] == "  arm 900: why 900"
    assert shown[-1] == "  81 more in study.json, each with its reason"
    assert len(shown) == 22


def test_a_page_without_the_archive_says_how_to_make_it():
    source = source_of(runs_of({"base": {0.1: [60.0] * 3}}))
    command = "python -m initbench.report outputs/hand --format archive"
    assert command in page(source, formats=report.DEFAULT)
    assert command not in page(source, formats=FORMATS)
    assert "archive" not in report.DEFAULT


def test_medians_of_many_arms_take_no_copy_of_all_for_each():
    groups, steps = 400, 100
    runs = pd.DataFrame({"run": [f"{i:04d}" for i in range(groups)]})
    history = pd.DataFrame({"run": np.repeat(runs["run"], steps), "step": np.tile(np.arange(steps), groups),
                            "metric": "loss/train", "value": 1.0})  # fmt: skip
    one = History.of(history.assign(layer=pd.array([pd.NA] * len(history), "Int16")), runs)
    tracemalloc.start()
    try:
        found = bands(one, np.arange(groups), groups, np.full(groups, FINITE))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [len(points) for points in found] == [3 * steps] * groups
    assert peak < 40 * history["step"].nbytes  # 400 times, with a copy an arm


def test_arms_are_ranked_once_for_all_levels(monkeypatch):
    arms = {f"i{k} · {sharing}": {0.1: [NEVER] * 8} for k in range(6) for sharing in ("none", "all")}
    runs, calls = runs_of(arms), []
    rank = factors.sps.rankdata
    monkeypatch.setattr(factors.sps, "rankdata", lambda *a, **k: calls.append(1) or rank(*a, **k))
    found = stats.effects(runs, stats.ranked(runs))
    assert set(found["scale"]) == {"rank"}
    assert (found["given"] == "").sum() == 6  # five initializers and one sharing, against the first
    assert len(calls) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_that_of_all_processes_together():
    """In a process of its own: that of the tests has others beside it."""
    child = "import subprocess, sys; a = bytearray(60_000_000); a[::4096] = b'x' * len(a[::4096]); subprocess.run([sys.executable, '-c', sys.argv[1]])"
    inner = "import time; a = bytearray(60_000_000); a[::4096] = b'x' * len(a[::4096]); time.sleep(1)"
    watch = (
        "import subprocess, sys; from benchmarks import size\n"
        "with size.watched() as peak: subprocess.run([sys.executable, '-c', *sys.argv[1:]], check=True)\n"
        "print(peak().processes, peak().memory)"
    )
    given = [sys.executable, "-c", watch, child, inner]
    said = subprocess.run(given, cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True).stdout
    processes, memory = map(int, said.split())
    assert processes == 2
    assert 120e6 < memory < 250e6
