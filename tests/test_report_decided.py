"""The report and the records of a study that went on until it was decided, and of one that was widened by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frames
from hand import NEVER, runs_of, source_of, spread, tuned
from initbench import report
from initbench.report import looked, notices
from initbench.report.words import plain
from initbench.stats import remedy
from initbench.study.results import Results
from initbench.track.records import arms_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six setups, looked at with 10, 20 and 40 seeds; one rate dropped after the first look."""
    path = frames.write_study(
        tmp_path_factory.mktemp("decided") / "decided", *frames.decided_study(scatter=0.3, layer_metrics=())
    )
    report.build(path, formats="html,md,csv")
    return path


@pytest.fixture(scope="module")
def source(folder: Path) -> report.Source:
    return report.open_source(folder)


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def section(html: str, key: str) -> str:
    return re.search(rf'<section id="{key}".*?</section>', html, re.S)[0]


def rows(table: str) -> list[list[str]]:
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>.*?</t[hd]>", row, re.S)]
        for row in re.findall(r"<tr>(?!<th scope=\"col\").*?</tr>", table, re.S)
    ]


def test_each_word_has_its_look_and_its_n(source: report.Source, html: str):
    tables = re.findall(r"<table.*?</table>", section(html, "looks"), re.S)
    shown = {row[0]: row[1:] for row in rows(tables[0])}
    pairs = source.pairs.set_index("setup")
    last = source.looks.groupby("setup").tail(1).set_index("setup")
    assert set(shown) == set(last.index)
    for setup, (word, look, n, *_) in shown.items():
        assert word == last.loc[setup, "verdict"] == pairs.loc[setup, "verdict"]
        assert int(look) - 1 == last.loc[setup, "look"] == pairs.loc[setup, "look"]
        assert int(n) == last.loc[setup, "pairs"] == pairs.loc[setup, "pairs"]
    words = set(pairs["verdict"])
    assert {"faster", "slower", "undecided"} <= words  # the frames have all of these, at different looks
    assert len(set(last["look"])) == 3
    sentence = re.sub(r"<[^>]+>", "", re.search(r"<p>(.*?)</p>", section(html, "looks"), re.S)[1])
    fell = source.looks[source.looks["verdict"] != "undecided"]
    assert sentence.startswith(f"Of 5 comparisons, {len(fell)} got a word: ")
    for n, part in fell.groupby("seeds"):
        assert f"{len(part)} at n = {n}" in sentence


def test_the_figure_has_a_panel_a_pair_and_the_word_where_it_fell(source: report.Source, html: str):
    svg = re.search(r'<svg[^>]*aria-labelledby="looks0-t.*?</svg>', html, re.S)[0]
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    for setup, word in source.pairs[["setup", "verdict"]].itertuples(index=False):
        assert texts.count(setup) == (word != "baseline")
    counts = source.pairs["verdict"].value_counts()
    for word in ("faster", "slower", "undecided"):
        assert texts.count(word) == counts[word]
    assert "0:10" in texts  # no ratio: who arrived
    assert len(svg) < 60_000


def test_what_the_path_cost(source: report.Source, html: str, folder: Path):
    found = looked.cost(source)
    rounds = source.decide["rounds"]
    assert found.runs == len(source.runs) == sum(one["runs"] for one in rounds)
    assert found.fixed == 6 * 4 * 40  # every arm at every rate tried at the seeds of the last look
    answer = re.sub(r"<[^>]+>", "", section(html, "answer"))
    assert f"{found.runs} runs, 3.0 minutes, in 3 rounds. A fixed design" in answer
    assert "would have 960 runs." in answer
    assert "2 of 5 comparisons are open at decide.seeds=40." in answer
    assert "all 5 comparisons and 3 planned looks (n = 10, 20, 40) together" in answer
    assert "10–40 seeds × 4 learning rates" in answer
    assert "the look at which its pair stopped" in answer
    for name in ("How sure", "What it cost", "Why it ended"):
        assert f"- {name}: " in (folder / "report.md").read_text(encoding="utf-8")
    table = rows(re.findall(r"<table.*?</table>", section(html, "looks"), re.S)[1])
    assert [row[1] for row in table] == ["first look", "more seeds", "more seeds"]
    assert [int(row[3]) for row in table] == [one["runs"] for one in rounds]
    assert [int(row[5]) for row in table] == [one["open"] for one in rounds]
    assert looked.took(300.0) == "5.0 minutes"


def test_each_arm_s_rates_and_what_choosing_cost(source: report.Source, html: str):
    part = section(html, "rates")
    table = {row[0]: row[1:] for row in rows(re.search(r"<table.*?</table>", part, re.S)[0])}
    for setup, (kept, gone, chosen, spent) in table.items():
        runs = source.runs[source.runs["setup"] == setup]
        grew = runs["seed"].nunique() > 10
        assert gone == ("0.03 (n = 10)" if grew else "–")
        assert kept == ("0.1, 0.3, 1" if grew else "0.03, 0.1, 0.3, 1")
        assert int(spent) == (runs["optim.lr"] != float(chosen)).sum()
    total = sum(int(row[3]) for row in table.values())
    assert f"The choice took {total} of {len(source.runs)} runs" in part


def test_an_ordinary_study_has_no_looks_but_says_how_sure_it_is():
    plainly = source_of(runs_of({"base": tuned(spread(60, 10, 0.05, 0)), "fast": tuned(spread(30, 10, 0.05, 1))}))
    facts = {name: plain(text) for name, text in looked.facts(plainly)}
    assert facts == {
        "How sure": "If all setups were equal, at most 5% of such studies would call one faster or slower, the one comparison "
        "together. Intervals are 95%, each for itself.",
        "What it cost": "60 runs of up to 300 steps.",
    }
    assert looked.cost(plainly) is None


@pytest.mark.parametrize(
    ("ended", "limits", "words"),
    [
        ("seeds", {"seeds": 40}, ["decide.seeds=101"]),
        ("seeds", {"seeds": 80}, ["decide.seeds=160"]),
        ("minutes", {"minutes": 2.5}, ["decide.minutes=5"]),
        ("minutes", {"minutes": None}, ["seeds=101"]),
        ("nothing would change", {}, ["seeds=101"]),
    ],
)
def test_what_to_try_when_a_decided_study_has_ended(ended, limits, words):
    assert remedy.tries("seeds=101", {"ended": ended, **limits}) == words


def test_a_decided_study_asks_for_the_limit_that_was_met():
    limits = {"ended": "nothing would change", "seeds": 200, "rates": 9, "steps": None}
    assert remedy.tries("'optim.lr=[0.1,1,10]'", limits) == ["decide.rates=18"]
    assert remedy.tries("train.steps=600", limits) == ["train.steps=600"]
    assert remedy.tries("train.steps=600", limits | {"steps": 1200}) == ["decide.steps=2400"]
    assert remedy.tries("train.evaluate.dense=60", limits) == ["train.evaluate.dense=60"]
    assert remedy.tries("", limits | {"ended": "seeds"}) == ["decide.seeds=400"]


def test_the_remedy_column_begins_with_decide():
    wide = {"base": tuned(spread(60, 10, 0.3, 0)), "near": tuned(spread(64, 10, 0.4, 1))}
    from initbench.report import judged
    from initbench.report.block import Draw

    found = source_of(runs_of(wide), command="python -m initbench init=a,b")
    table = judged.decide(found, Draw(found)).items[0].table
    needed = found.pairs.set_index("setup").loc["near", "seeds_needed"]
    assert [row[-1] for row in table["rows"]] == [f"decide=true or seeds={needed}"]
    text = str(judged.decide(found, Draw(found)).items[0].sentence)
    assert "<code>python -m initbench init=a,b decide=true</code>" in text
    assert text.index("decide=true") < text.index(f"seeds={needed}")


def test_mlflow_has_the_rounds_as_tags_and_where_a_word_fell_as_a_metric(folder: Path, source: report.Source):
    runs, history = (pd.read_parquet(folder / f"{name}.parquet") for name in ("runs", "history"))
    results = Results(runs, history, dict(source.study), folder)
    arms = {arm.parent.own_tags["initbench.setup"]: arm.parent for arm in arms_of(results, "none")}
    for setup, row in source.pairs.set_index("setup").iterrows():
        metrics = dict(zip(arms[setup].points.key, arms[setup].points.value))
        tags = arms[setup].own_tags
        if row["verdict"] in ("faster", "slower"):
            assert metrics["decided_at"] == row["decided_at"] == row["pairs"]
        else:
            assert "decided_at" not in metrics
        if row["verdict"] == "baseline":
            assert "initbench.rounds" not in tags
            continue
        assert tags["initbench.verdict"] == row["verdict"]
        seen = source.looks[source.looks["setup"] == setup]
        assert tags["initbench.rounds"].split("; ") == [
            f"{'more seeds' if look else 'first look'}, n={n}: {word}"
            for look, n, word in seen[["look", "pairs", "verdict"]].itertuples(index=False)
        ]


def test_other_targets_repeat_the_words_that_fell_at_the_study_s_own(source: report.Source):
    """A pair that one look alone would call, and all looks counted do not."""
    from initbench.report import tables

    rows = [{**row, "verdict": "undecided"} if row["setup"] == "eye · none" else row for row in source.study["looks"]]
    open_ = replace(source, study={**source.study, "looks": rows})
    heads, lines, _ = tables.target_table(open_, open_.settings[0])
    own = heads.index("95% train accuracy")
    assert next(line[own] for line in lines if line[0] == "eye · none").small.endswith(", undecided")


# ---- what could make an answer wrong


def warned(source: report.Source) -> dict[str, str]:
    return {one.title: plain(one.text) for one in notices.notices(source)}


def test_a_baseline_that_was_tuned_less_is_named_with_what_tuning_it_costs():
    rival = {lr: [30.0 * (1 + abs(np.log10(lr / 0.1)))] * 10 for lr in (0.01, 0.03, 0.1, 0.3, 1.0)}
    runs = runs_of({"base": tuned([60.0] * 10), "rival": rival, "poor": tuned([60.0] * 10)})
    text = warned(source_of(runs))["The baseline was tuned less than its rivals"]
    assert text.startswith("base had 3 learning rates, up to 5 for rival. ")
    assert "arXiv 2509.02046" in text
    assert text.endswith("The rates that it lacks take 20 runs: 'optim.lr=[0.01,0.03,0.1,0.3,1]'.")
    fair = runs_of({"base": rival, "poor": tuned([60.0] * 10)})
    assert "The baseline was tuned less than its rivals" not in warned(source_of(fair))


def test_a_baseline_that_beats_what_was_tuned_more_needs_no_word():
    slow = {lr: [90.0 * (1 + abs(np.log10(lr / 0.1)))] * 10 for lr in (0.01, 0.03, 0.1, 0.3, 1.0)}
    runs = runs_of({"base": tuned([60.0] * 10), "slow": slow})
    assert source_of(runs).pairs.set_index("setup").loc["slow", "verdict"] == "slower"
    assert "The baseline was tuned less than its rivals" not in warned(source_of(runs))


def test_grids_of_one_rule_are_no_unequal_chance(source: report.Source):
    rival = {lr: [30.0] * 10 for lr in (0.01, 0.1, 1.0, 10.0)}
    runs = runs_of({"base": rival, "arm": tuned([60.0] * 10)})
    title = "Arms had different learning rate grids"
    assert warned(source_of(runs))[title] == "Arms with more rates had more chances."
    arms = [{"label": f"{name} in s", "setup": name, "config": {"optim": {"auto": True}}} for name in ("base", "arm")]
    assert warned(source_of(runs, arms=arms))[title].startswith("Each grid was continued by the same rule")
    assert title not in warned(source)  # a dropped rate was tried


def test_looks_by_hand_are_told():
    arms = {"base": tuned([60.0] * 10), "arm": tuned([30.0] * 10), "dead": tuned([NEVER] * 10)}
    past = [{"setting": "s", "times": 3, "n": [10, 20, 40], "error": 0.1084}]
    text = warned(source_of(runs_of(arms), looked=past))["Looked at 3 times before (n = 10, 20, 40)"]
    assert "in 10.8% of studies: words after looking are less sure" in text
    assert text.endswith("p values and intervals here count every look. decide=true plans its looks and counts them.")
    assert not [title for title in warned(source_of(runs_of(arms))) if title.startswith("Looked")]
    elsewhere = [{**past[0], "setting": "t"}]
    assert not [title for title in warned(source_of(runs_of(arms), looked=elsewhere)) if title.startswith("Looked")]


def test_nobody_could_be_first_whom_a_verdict_calls_slower(source: report.Source):
    from initbench.report.answer import answer

    text = plain(answer(source, source.settings[0]))
    assert "Could also be first: 1 setup (orthogonal · none)." in text
