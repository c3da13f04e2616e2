"""Every two setups: verdicts of one family, average ranks over settings against published numbers, and what the report shows."""

from __future__ import annotations

import csv
import json
import re
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import networkx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sps
from statsmodels.stats.multitest import multipletests

from hand import NEVER, runs_of, source_of, spread, tuned
from initbench import report, stats
from initbench.report import pairs as every
from initbench.report import text
from initbench.report.__main__ import main
from initbench.report.block import Draw
from initbench.report.figures.ranks import critical_difference
from initbench.report.page import page
from initbench.report.svg import drawing
from initbench.report.words import plain
from initbench.stats.average_ranks import all_p, cliques

ARMS = {
    "base": tuned(spread(60, 10, 0.1, 0)), "near": tuned(spread(63, 10, 0.1, 1)), "twin": tuned([60.0] * 10),
    "fast": tuned(spread(30, 10, 0.1, 2)), "dead": {0.01: [NEVER] * 10, 0.1: [90.0] + [NEVER] * 9, 1.0: [NEVER] * 10},
}  # fmt: skip


def of_settings(centres: dict[str, list[float]]) -> pd.DataFrame:
    """{setup: steps in each setting}, eight seeds."""
    many = len(next(iter(centres.values())))
    frames = [runs_of({name: {0.1: [t[i]] * 8} for name, t in centres.items()}, setting=f"s{i}") for i in range(many)]
    return pd.concat([frame.assign(run=f"{i}/" + frame["run"]) for i, frame in enumerate(frames)])


# ---- verdicts


def test_all_pairs_are_one_family_and_follow_the_rules_of_the_comparisons():
    judged = stats.judge(runs_of(ARMS), baseline="base")
    found = stats.judge_pairs(judged)
    assert [(row["setup"], row["other"]) for _, row in found.iterrows()] == list(combinations(judged.board["setup"], 2))
    assert set(found["family"]) == {10}
    tested = found["p"].fillna(1.0)
    assert found["p_holm"].to_numpy(float) == pytest.approx(multipletests(tested, method="holm")[1])
    for base in ("near", "twin"):  # ratio, interval, p and test are those of the comparison with either as the baseline
        alone = stats.judge(runs_of(ARMS), baseline=base).pairs.set_index("setup")
        for _, row in found[found["other"] == base].iterrows():
            own = alone.loc[row["setup"]]
            if own["baseline"] == base:  # one that never arrives is no baseline
                for name in ("ratio", "ratio_low", "ratio_high", "p", "test", "pairs"):
                    assert (
                        row[name] == pytest.approx(own[name], nan_ok=True) if name != "test" else row[name] == own[name]
                    )
    words = found.set_index(["setup", "other"])["verdict"]
    assert words["fast", "base"] == "faster"
    assert words["fast", "dead"] == "faster"  # by counts: 10/10 against 1/10
    assert words["base", "near"] == "undecided"


def test_two_setups_are_judged_as_one_comparison_is():
    runs = runs_of({name: ARMS[name] for name in ("base", "near")})
    judged = stats.judge(runs, baseline="base")
    (row,) = stats.judge_pairs(judged).to_dict("records")
    own = judged.pairs.set_index("setup").loc["near"]
    assert row["verdict"] == own["verdict"]
    assert row["reason"] == own["reason"]


def test_a_larger_family_takes_words_away_and_a_named_one_gives_them_back():
    arms = {f"x{i}": tuned(spread((60, 69, 64)[min(i, 2)], 10, 0.1, i)) for i in range(8)}
    judged = stats.judge(runs_of(arms), baseline="x0")
    all_of_them = stats.judge_pairs(judged).set_index(["setup", "other"])
    few = stats.judge_pairs(judged, None, ["x0", "x1"]).set_index(["setup", "other"])
    assert (len(all_of_them), len(few)) == (28, 1)
    assert all_of_them.loc[("x0", "x1"), "verdict"] == "undecided"
    assert "28 comparisons" in all_of_them.loc[("x0", "x1"), "reason"]
    assert few.loc[("x0", "x1"), "verdict"] == "faster"


def test_earlier_looks_count_for_pairs_too():
    judged = stats.judge(runs_of({name: ARMS[name] for name in ("base", "near", "fast")}), baseline="base")
    once = stats.judge_pairs(judged)
    again = stats.judge_pairs(judged, {"decide": {"sizes": [10, 20, 40]}})
    tested = once["p"] > 1e-6
    assert (again["p_holm"] >= once["p_holm"])[tested].all()
    assert (again["p_holm"] > once["p_holm"])[tested & (once["p_holm"] < 1)].any()
    assert (again["ratio_high"] > once["ratio_high"])[once["ratio"].notna()].any()


def test_a_net_of_two_names_is_paired_once_and_nobody_is_paired_where_nobody_arrives():
    same = runs_of({"base": ARMS["base"], "copy": ARMS["base"], "fast": ARMS["fast"]}, loss={"base": 0.1, "copy": 0.1})
    assert len(stats.judge_pairs(stats.judge(same, baseline="base"))) == 1
    dead = source_of(runs_of({name: tuned([NEVER] * 10) for name in "ab"}), pairs=True, baseline=None)
    assert dead.all_pairs.empty
    assert "there are not two setups of which one arrives" in plain(every.about_pairs(dead, "s"))


def test_too_many_setups_say_what_to_do(monkeypatch):
    monkeypatch.setattr("initbench.stats.every.MOST_PAIRED", 4)
    monkeypatch.setattr(stats, "MOST_PAIRED", 4)
    assert plain(every.about_pairs(source_of(runs_of(ARMS), pairs=True, baseline=None), "s")) == (
        "No pairs: 5 setups are more than 4: name those that matter with --family."
    )


# ---- average ranks

DEMSAR = np.array([  # AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 data sets (Demsar 2006, table 6)
    [.763, .768, .771, .798], [.599, .591, .590, .569], [.954, .971, .968, .967], [.628, .661, .654, .657],
    [.882, .888, .886, .898], [.936, .931, .916, .931], [.661, .668, .609, .685], [.583, .583, .563, .625],
    [.775, .838, .866, .875], [1.00, 1.00, 1.00, 1.00], [.940, .962, .965, .962], [.619, .666, .614, .669],
    [.972, .981, .9751, .975], [.957, .978, .946, .970],
])  # fmt: skip


def demsar() -> pd.DataFrame:
    """His table as a leaderboard: the larger AUC takes fewer steps."""
    rows = []
    for i, line in enumerate(DEMSAR):
        for k, name in enumerate(("C4.5", "m", "cf", "m+cf")):
            rank = 1 + len({value for value in line if value > line[k]})  # of equal ones alike
            rows.append({"setting": f"data {i}", "setup": name, "init": name, "arm": f"{name} {i}", "reached": 8,
                         "rank": rank, "mean_steps": np.exp(5 - line[k]), "same_as": ""})  # fmt: skip
    return pd.DataFrame(rows)


def test_average_ranks_are_those_of_demsar():
    found = stats.average_ranks(demsar())
    assert dict(zip(found.setups, found.ranks.round(3))) == {"C4.5": 3.143, "m": 2.0, "cf": 2.893, "m+cf": 1.964}
    assert found.setups[0] == "m+cf"
    assert found.settings == 14
    # his Friedman statistic from these ranks: 9.28
    assert 12 * 14 / 20 * ((found.ranks**2).sum() - 4 * 25 / 4) == pytest.approx(9.28, abs=0.03)


def test_wilcoxon_is_that_of_demsar_and_corrected_by_holm():
    values = -DEMSAR
    gap = np.round(values[:, 0] - values[:, 1], 9)
    assert sps.wilcoxon(gap, zero_method="zsplit").statistic == 12  # his T for C4.5 and C4.5+m
    raw = [sps.wilcoxon(np.round(values[:, i] - values[:, j], 9), zero_method="zsplit").pvalue
           for i, j in combinations(range(4), 2)]  # fmt: skip
    expected = multipletests(raw, method="holm")[1]
    found = all_p(values)
    assert found[np.triu_indices(4, 1)] == pytest.approx(expected)
    assert (found == found.T).all()
    assert raw[0] == pytest.approx(0.011, abs=0.0015)  # his z = -2.54


@given(st.integers(2, 8), st.data())
@settings(max_examples=40, deadline=None)
def test_groups_are_the_maximal_cliques(k: int, data: st.DataObject):
    edges = data.draw(st.lists(st.sampled_from(list(combinations(range(k), 2))), unique=True))
    joined = np.eye(k, dtype=bool)
    for i, j in edges:
        joined[i, j] = joined[j, i] = True
    graph = networkx.Graph(edges)
    assert cliques(joined) == sorted(sorted(group) for group in networkx.find_cliques(graph) if len(group) > 1)


def test_a_diagram_needs_three_setups_and_settings_that_can_tell():
    rng = np.random.default_rng(0)
    steps = {name: list(np.round(40 * 2**i * np.exp(0.05 * rng.normal(size=7)))) for i, name in enumerate("abc")}
    found = stats.average_ranks(stats.ranked(of_settings(steps)))
    assert found.ranks.tolist() == [1, 2, 3]
    assert found.groups == []  # seven settings that agree: p 2/2^7, times three
    few = stats.average_ranks(stats.ranked(of_settings({name: t[:6] for name, t in steps.items()})))
    assert few == "6 settings cannot tell 3 setups apart: 3 comparisons take at least 7"
    two = stats.average_ranks(stats.ranked(of_settings({name: steps[name] for name in "ab"})))
    assert two == "2 setups stand in all settings, and it takes 3 to 100"
    one = stats.average_ranks(stats.ranked(of_settings({name: t[:1] for name, t in steps.items()})))
    assert one == "ranks are averaged over settings, and setups arrive in one"


def test_setups_that_cannot_be_told_apart_are_joined_and_never_called_equal():
    rng = np.random.default_rng(1)
    steps = {name: list(np.round(60 * np.exp(0.2 * rng.normal(size=9)))) for name in ("a", "b")}
    runs = of_settings({**steps, "slow": [200.0] * 9})
    found = stats.average_ranks(stats.ranked(runs))
    assert found.groups == [[0, 1]]
    told = plain(every.ranks_told(SimpleNamespace(settings=list("st"), every=False, average_ranks=found)))
    assert "could be told apart from 1 of 2 others" in told
    assert "joined by a bar could not be told apart by these settings; that does not make them equal" in told
    with drawing():
        (bar,) = [line for line in critical_difference(found).axes[0].lines if line.get_marker() == "o"]
    assert len(bar.get_xdata()) == 2
    assert bar.get_xdata()[1] - bar.get_xdata()[0] == pytest.approx((found.ranks[1] - found.ranks[0]) * 2.5 / 2)


# ---- the report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import frames

    arms = (("kaiming_normal", "none"), ("eye", "none"), ("eye", "all"), ("normal_001", "none"))
    path = tmp_path_factory.mktemp("pairs") / "demo"
    return frames.write_study(path, *frames.make_study(arms, lrs=(0.03, 0.1, 0.3), layer_metrics=(), scatter=0.05))


def test_pairs_are_shown_where_they_are_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert every.every_pair(report.open_source(folder), None).items == []  # type: ignore[arg-type]
    assert main([str(folder), "--pairs", "--format", "md,csv"]) == 0
    assert "pairs.csv" in capsys.readouterr().out
    note, source = (folder / "report.md").read_text(), report.open_source(folder, pairs=True)
    with drawing():
        draw = Draw(source)
        html = page(source, drawn=([make(source, draw) for make in (every.every_pair, every.over_settings)], draw))
    table = re.search(r'<table class="matrix">.*?</table>', html, re.S)[0]
    cells = re.findall(r'<td class="(\w+)" title="([^"]*)">(\S+) <i>(\w+)</i></td>', table)
    with open(folder / "pairs.csv") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 6
    assert {"faster", "undecided"} <= {row["verdict"] for row in rows}
    assert len(cells) == 12
    setups = re.findall(r'<th scope="row">\d+ (.*?)</th>', table)
    shown = dict(zip([(one, other) for one in setups for other in setups if one != other], cells))
    for row in rows:
        word, tip, ratio, again = shown[row["setup"], row["other"]]
        mirrored = shown[row["other"], row["setup"]]
        assert word == again == row["verdict"]
        assert mirrored[0] == {"faster": "slower", "slower": "faster"}.get(word, word)
        assert tip == mirrored[1]
        assert tip.startswith(f"{row['setup']} ")
        if row["ratio"]:
            assert ratio == f"{float(row['ratio']):.2f}x"
            assert f"[{float(row['ratio_low']):.2f}x, {float(row['ratio_high']):.2f}x]" in tip
            assert float(mirrored[2][:-1]) == pytest.approx(1 / float(row["ratio"]), abs=0.051)
            line = next(line for line in note.splitlines() if re.match(rf"\| \d+ {re.escape(row['setup'])} \|", line))
            cell = line.split(" | ")[setups.index(row["other"]) + 1].strip(" |").replace("\\", "")
            assert cell.startswith(f"{word} {ratio} [{float(row['ratio_low']):.2f}x, ")
    assert "Undecided is not equal" in html
    assert "--pairs" in re.search(r"Run it again</h3>\s*<pre.*?</pre>", html, re.S)[0]
    assert "No critical-difference diagram: ranks are averaged over settings" in html
    assert main([str(folder), "--pairs", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pairs"]) == 6
    assert main([str(folder), str(folder), "--pairs"]) == 2
    assert main([str(folder), "--pairs", "--focus", "eye"]) == 2


def test_a_study_that_asks_for_pairs_is_rebuilt_with_them(folder: Path):
    before = (folder / "study.json").read_text()
    (folder / "study.json").write_text(json.dumps(json.loads(before) | {"pairs": True}))
    try:
        assert "pairs.csv" in report.build(folder, formats="csv")
    finally:
        (folder / "study.json").write_text(before)
    assert "pairs.csv" not in report.build(folder, formats="csv")


def test_settings_that_can_tell_get_a_diagram_in_every_page():
    rng = np.random.default_rng(0)
    steps = {name: list(np.round(40 * 2**i * np.exp(0.05 * rng.normal(size=7)))) for i, name in enumerate("abc")}
    source = source_of(of_settings(steps), baseline=None)
    with drawing():
        (item,) = every.over_settings(source, Draw(source)).items
    assert item.n == "n = 7 settings, 3 setups"
    lines = text.report_markdown(source).splitlines()
    for name, rank in zip("abc", ("1.00", "2.00", "3.00")):
        assert re.search(rf">({name} +{rank}|{rank} +{name})<", str(item.figure))
        assert f"| {name} | {rank} |  |" in lines
