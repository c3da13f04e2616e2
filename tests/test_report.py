"""The report: known sentences for hand-made studies, the same bytes twice, hostile names, files that rebuild one another."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import frames
from hand import NEVER, NO_HISTORY, runs_of, source_of, spread, tuned, warned
from initbench import report, stats
from initbench.errors import InputError
from initbench.report import answer as answers
from initbench.report import focus, svg
from initbench.report import numbers as num
from initbench.report.__main__ import main
from initbench.report.figures import forest
from initbench.report.page import page
from initbench.report.palette import GROUND, TONES, contrast
from initbench.report.words import plain
from initbench.study.results import Results

SMALL = (("kaiming_normal", "none"), ("kaiming_normal", "all"), ("eye", "none"), ("eye", "all"), ("normal_001", "none"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of five arms, all files of its report."""
    path = frames.write_study(
        tmp_path_factory.mktemp("report") / "demo", *frames.make_study(SMALL, lrs=(0.03, 0.1, 0.3))
    )
    report.build(path, formats=report.FORMATS)
    return path


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def told(runs: pd.DataFrame, **study: object) -> str:
    source = source_of(runs, **study)
    return plain(answers.answer(source, source.settings[0]))


# ---- known sentences


def test_the_answer_of_a_clear_study():
    runs = runs_of({"base": tuned(spread(60, 10, 0.05, 0)), "fast": tuned(spread(30, 10, 0.05, 1)),
                    "same": tuned(spread(60, 10, 0.02, 0)), "dead": tuned([NEVER] * 10)}, loss={"dead": 2.0})  # fmt: skip
    text = told(runs)
    assert text.startswith("On s, fast reaches 95% train accuracy first: median ")
    assert re.search(
        r"10/10 seeds, lr 0.1. Against base \(60\.?5? steps, n=10\): 1 faster \(fast 0.50x \[0\.4\dx, 0\.5\dx\]\)", text
    )
    assert "1 equivalent (within 10%) (same 1.00x" in text
    assert text.endswith("1 of 4 setups never arrived.")


def test_all_censored():
    text = told(runs_of({"base": tuned([NEVER] * 10), "arm": tuned([NEVER] * 10)}, loss={"arm": 0.5}))
    assert text.startswith(
        "On s: No setup reaches 95% train accuracy within 300 steps, so arms are ranked by final train loss. base is lowest"
    )
    warning = warned(runs_of({"base": tuned([NEVER] * 10), "arm": tuned([NEVER] * 10)}))
    assert "No setup reached 95% train accuracy: Train longer: train.steps=600." in warning


def test_below_the_gate_nobody_is_first_and_no_ratio_is_promised():
    few = runs_of({"base": tuned([60.0] * 4 + [NEVER] * 6), "arm": tuned([60.0] * 2 + [NEVER] * 8)})
    text = told(few)
    assert text.startswith(
        "On s no setup reaches 95% train accuracy in at least 80% of its seeds; base does most often, 4/10."
    )
    assert "first" not in text
    assert "No setup reached 95% train accuracy in 80% of its seeds: no ratios" in warned(few)
    enough = runs_of({"base": tuned([60.0] * 8 + [NEVER] * 2), "arm": tuned([60.0] * 2 + [NEVER] * 8)})
    assert "On s, base reaches 95% train accuracy first" in told(enough)
    assert "eached 95%" not in warned(enough)


def test_the_map_gives_no_colour_below_the_gate():
    runs = runs_of({"a": tuned([60.0] * 10), "a · all": tuned([30.0] * 4 + [NEVER] * 6), "b": tuned([90.0] * 10)})
    figure = forest.sharing_map(source_of(runs, baseline="a").board)
    cells = figure.axes[0]
    hatched = [patch for patch in cells.patches if patch.get_hatch()]
    assert "4/10" in [text.get_text() for text in cells.texts]
    assert len(hatched) == 1
    assert len(cells.patches) == 3  # b with all was not run: blank


def test_one_arm_and_one_seed():
    assert told(runs_of({"base": tuned([60.0] * 10)})) == (
        "On s, base reaches 95% train accuracy first: median 60 steps [60, 60], 10/10 seeds, lr 0.1."
    )
    one = runs_of({"base": tuned([60.0]), "arm": tuned([30.0])})
    assert told(one) == (
        "On s, arm reaches 95% train accuracy first: median 30 steps, 1/1 seeds, lr 0.1. "
        "Against base (60 steps, n=1): 1 undecided."
    )
    assert "n=1 seeds: at least 8 are needed to tell: Only new seeds are trained: seeds=20." in warned(one)


def test_ties():
    text = told(runs_of({"base": tuned([60.0] * 10), "same": tuned([60.0] * 10)}))
    assert "Against base (60 steps, n=10): 1 equivalent (within 10%) (same 1.00x [1.00x, 1.00x])." in text


def test_a_diverged_arm_and_a_crashed_one():
    arms = {"base": tuned([60.0] * 20), "dies": tuned([30.0] * 3 + [NEVER] * 17), "crash": tuned([50.0] * 20)}
    runs = runs_of(arms, diverged={"dies": range(3, 20)}, failed={"crash": range(20)})
    assert "1 slower (dies 3/20 seeds against 20/20)" in told(runs)
    warning = warned(runs)
    assert (
        "1 arm diverged in some seed at the chosen learning rate: Every run stays in n; one that arrived first keeps its steps, the others never arrive: dies 17/20."
        in warning
    )
    assert "Some runs failed: They count in n as never arrived: crash 20/20." in warning


def test_missing_seeds_one_rate_and_an_edge():
    arms = {"base": tuned([60.0] * 12), "arm": tuned([30.0] * 12)}
    assert "1 faster (arm 0.50x" in told(runs_of(arms, failed={"arm": [0, 1]}))
    flat = runs_of({"base": {0.1: [60.0] * 10}, "arm": {0.1: [30.0] * 10}})
    assert "1 undecided" in told(flat)
    assert (
        "One learning rate for all: nothing was tuned: A setup may be slow only because this rate does not suit it. Try 'optim.lr=[0.03,0.1,0.3]'."
        in warned(flat)
    )
    edge = runs_of({"base": {0.01: [200.0] * 10, 0.1: [100.0] * 10, 1.0: [60.0] * 10}, "arm": tuned([30.0] * 10)})
    assert "Learning rate at the edge of its grid: 1 arm: base (1)" in warned(edge)
    assert "'optim.lr=[0.01,0.1,1,10]'" in warned(edge)


def test_unequal_grids_are_unfairly_tuned():
    runs = runs_of({"base": {0.1: [60.0] * 10}, "arm": tuned([30.0] * 10)})
    assert "Arms had different learning rate grids: Arms with more rates had more chances." in warned(runs)


def test_non_finite_values_reach_no_page(tmp_path: Path):
    runs = runs_of({"base": tuned([60.0] * 10), "arm": tuned([NEVER] * 10)}, diverged={"arm": range(10)})
    runs.loc[runs.index[:3], "loss/train"] = [np.inf, -np.inf, np.nan]
    study = {"study": "odd", "target": {"metric": "accuracy/train", "value": 0.95}, "baseline": "base", "arms": []}
    paths = report.build(SimpleNamespace(runs=runs, history=NO_HISTORY, study=study, folder=tmp_path), formats="html")
    page = paths["report.html"].read_text(encoding="utf-8")
    assert not re.search(r">\s*(nan|NaN|inf|-inf|None|<NA>)\s*<", page)


def test_what_the_size_of_a_study_can_call_and_what_would_decide():
    runs = runs_of(
        {
            "base": tuned(spread(60, 10, 0.2, 0)),
            "near": tuned(spread(72, 10, 0.2, 1)),
            "x": tuned(spread(66, 10, 0.2, 2)),
        }
    )
    text = warned(runs, command="python -m initbench init=a,b seeds=10")
    assert re.search(r"With n=10, 8 in 10 comparisons of a true ratio of 1\.\d\dx get a word: ", text)
    from initbench.report import judged
    from initbench.report.block import Draw

    source = source_of(runs, command="python -m initbench init=a,b seeds=10")
    said = str(judged.decide(source, Draw(source)).items[0].sentence)
    needed = int(source.pairs["seeds_needed"].min())
    assert f"<code>python -m initbench init=a,b seeds={needed}</code>" in said
    assert needed > 10


def test_what_a_factor_costs_in_words():
    arms = {f"{init} · {sharing}": tuned([t * cost for t in spread(100, 12, 0.05, 0)])
            for init in ("a", "b", "c") for sharing, cost in (("none", 1.0), ("all", 1.1 if init == "c" else 2.0))}  # fmt: skip
    source = source_of(runs_of(arms, tau=3000), baseline="a · none")
    from initbench.report import judged

    text = plain(judged.about_effects(source.effects[source.effects["factor"] == "sharing.name"]))
    assert re.fullmatch(r"sharing=all takes 1\.64x \[1\.6\dx, 1\.6\dx\] the steps of none on average over 3 matched pairs, "
                        r"but 1\.10x under init=c\.", text)  # fmt: skip


# ---- the page


def test_settings_are_folded_below_one_answer(tmp_path: Path):
    settings = [f"digits, {depth}x32 relu, sgd, batch 64" for depth in (2, 4, 6)]
    study = frames.make_study(SMALL[:2], lrs=(0.1,), seeds=8, settings=settings, layer_metrics=())
    text = report.build(frames.write_study(tmp_path / "three", *study), formats="html")["report.html"].read_text()
    answer = text[text.index('<section id="answer"') : text.index('<section id="settings"')]
    assert re.search(r'class="answer"><strong>\w+ · \w+</strong> \([^)]*\) reaches the target first in', answer)
    assert re.findall(r"<h3>(.*?)</h3>", answer[answer.index("The answer in each") :])[:3] == [
        f"{s}, 300 steps" for s in settings
    ]
    fastest = text[text.index('<section id="fastest"') : text.index('<section id="decide"')]
    assert re.findall(r'<details class="setting"( open)?>', fastest) == [" open", "", ""]
    assert answer.count("Verdicts are corrected") <= 1


def test_the_page_needs_nothing_else_and_lets_nothing_else_in(html: str):
    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert " style=" not in html and "onclick" not in html  # noqa: PT018
    assert len(html) < 300_000


def test_the_page_asks_its_questions_in_order(html: str):
    keys = re.findall(r'<section id="([^"]+)"', html)
    assert keys == ["answer", "fastest", "decide", "sharing", "factors", "arrivals", "rates", "all", "losses", "gradients",
                    "parameters", "elsewhere", "against", "methods"]  # fmt: skip
    assert html.count("How to read this") == len(keys) - 2
    assert re.findall(r'href="#([^"]+)"', html)[1 : len(keys) + 1] == keys


def test_figures_are_well_formed_named_and_small(html: str):
    drawn = re.findall(r"<svg viewBox.*?</svg>", html, re.S)
    figures = [one for one in drawn if "aria-labelledby" in one]
    assert len(figures) >= 9
    ids = []
    for one in figures:
        root = ET.fromstring(one)
        ids += [element.get("id") for element in root.iter() if element.get("id")]
        title, about = root[0], root[1]
        assert title.text
        assert about.text
        assert len(one) < 250_000
        assert "NaN" not in one
    assert len(ids) == len(set(ids))
    referred = set(re.findall(r'(?:url\(#|xlink:href="#|<use href="#)([^")]+)', "".join(figures)))
    assert referred <= set(ids)


def test_never_arrived_is_on_the_page_as_a_count_not_as_a_point(html: str):
    forest = re.search(r'<svg[^>]*aria-labelledby="forest0-t.*?</svg>', html, re.S)[0]
    assert "▷ 0/10" in forest
    dots = re.search(r'<svg[^>]*aria-labelledby="dots0-t.*?</svg>', html, re.S)[0]
    assert "× 10" in dots


def test_the_table_sorts_by_numbers_and_never_is_last(html: str):
    body = re.search(r'<table class="sortable">.*?</table>', html, re.S)[0]
    never = re.findall(r'<td data-v="([^"]*)"[^>]*>never', body)
    assert never
    assert set(never) == {""}
    assert body.count('scope="row"') == len(SMALL)


def test_a_row_links_to_its_runs_in_mlflow(folder: Path, tmp_path: Path):
    results = Results(*[pd.read_parquet(folder / f"{name}.parquet") for name in ("runs", "history")],
                      json.loads((folder / "study.json").read_text()), tmp_path)  # fmt: skip
    results.study["mlflow"] = {"uri": "https://ml.example", "experiment_id": "7"}
    page = report.build(results, formats="html")["report.html"].read_text()
    key = results.study["arms"][0]["arm_key"]
    assert (
        f"https://ml.example/#/experiments/7/runs?workflowType=machine_learning&amp;searchFilter=tags.%60initbench.arm%60%20%3D%20%27{key}%27"
        in page
    )


def test_hostile_names_stay_text(tmp_path: Path):
    arms = (("</script><script>alert(1)</script>", "none"), ("a $\\frac{$ | b_%&", "all"), ("kaiming_normal", "none"))
    path = frames.write_study(tmp_path / "hostile", *frames.make_study(arms, lrs=(0.1,), seeds=8, layer_metrics=()))
    paths = report.build(path, formats=("html", "md", "latex"))
    page = paths["report.html"].read_text()
    assert page.count("<script>") == 1
    assert "alert(1)" in page
    markdown = paths["report.md"].read_text()
    assert "<script>" not in markdown
    assert r"a \$\\frac{\$ \| b\_%&amp;" in markdown
    assert r"a \$\textbackslash{}frac\{\$ | b\_\%\&" in paths["report.tex"].read_text()


@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_told_from_their_ground(dark: bool):
    ground = GROUND[dark]
    for name, tone in TONES.items():
        if name not in ("line", "shade"):  # grid lines and bands carry no information of their own
            assert contrast(tone.dark if dark else tone.light, ground) >= (
                4.5 if name in ("ink", "muted", "alarm") else 3
            )


# ---- files


def test_the_same_study_gives_the_same_bytes(folder: Path, tmp_path: Path):
    copy = tmp_path / "demo"
    copy.mkdir()
    for name in ("runs.parquet", "history.parquet", "study.json"):
        (copy / name).write_bytes((folder / name).read_bytes())
    code = "import sys; from initbench import report; report.build(sys.argv[1], formats=report.FORMATS)"
    subprocess.run([sys.executable, "-c", code, str(copy)], check=True)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file())
    assert [name for name in names if (folder / name).read_bytes() != (copy / name).read_bytes()] == []
    assert {Path(name).suffix for name in names} == {
        ".html",
        ".md",
        ".csv",
        ".tex",
        ".svg",
        ".pdf",
        ".zip",
        ".json",
        ".parquet",
    }


@pytest.mark.parametrize("formats", [["html"], report.DEFAULT], ids=["html", "default"])
def test_the_page_links_to_files_that_are_beside_it(folder: Path, tmp_path: Path, formats):
    for name in ("runs.parquet", "history.parquet", "study.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    report.build(tmp_path, formats=formats)
    for beside in (tmp_path, folder):  # `folder` has every format
        text = (beside / "report.html").read_text(encoding="utf-8")
        linked = set(re.findall(r'<li><a href="([^"#]+)">', text))
        assert {name for name in linked if not (beside / name).exists()} == set()
        there = {f"{path.name}/" if path.is_dir() else path.name for path in beside.iterdir()}
        assert there - linked <= {"report.html", "report.tex"}


def test_titles_stand_where_matplotlib_would_put_them(folder: Path, html: str, monkeypatch):
    monkeypatch.setitem(svg.RC, "axes.titley", None)  # it measures all ticks then
    measured = page(report.open_source(folder), formats=report.FORMATS)
    assert measured == html


def test_the_tables_can_be_rebuilt_from_the_archive_alone(folder: Path, tmp_path: Path):
    (tmp_path / "study.zip").write_bytes((folder / "study.zip").read_bytes())
    assert main([str(tmp_path / "study.zip"), "--format", "csv,md"]) == 0
    for name in ("leaderboard.csv", "comparisons.csv", "effects.csv", "summary.csv", "report.md"):
        assert (tmp_path / "study" / name).read_bytes() == (folder / name).read_bytes()


def test_compare_is_comparisons_csv(folder: Path):
    from initbench.study.results import load

    ours = load(folder).compare()
    theirs = pd.read_csv(folder / "comparisons.csv", keep_default_na=True)
    assert ours["verdict"].tolist() == theirs["verdict"].tolist()
    for name in ("ratio", "ratio_low", "p_holm", "p_faster", "pairs"):
        assert ours[name].astype(float).to_numpy() == pytest.approx(theirs[name].to_numpy(float), nan_ok=True)
    other = load(folder).compare(baseline="eye")
    assert other["baseline"].unique().tolist() == ["eye · none"]


def test_figures_as_files_are_light_and_have_no_placeholder_left(folder: Path):
    files = sorted((folder / "figures").iterdir())
    assert {path.stem for path in files if path.suffix == ".pdf"} == {
        path.stem for path in files if path.suffix == ".svg"
    }
    for path in files:
        data = path.read_bytes()
        if path.suffix == ".pdf":
            assert data.startswith(b"%PDF")
            continue
        root = ET.fromstring(data)
        assert root.tag.endswith("svg")
        assert b"#010a" not in data
        assert TONES["ink"].light.encode() in data or TONES["muted"].light.encode() in data


def test_another_target_and_baseline_are_said_on_the_page(folder: Path, tmp_path: Path):
    results = Results(*[pd.read_parquet(folder / f"{name}.parquet") for name in ("runs", "history")],
                      json.loads((folder / "study.json").read_text()), tmp_path)  # fmt: skip
    paths = results.report(target="accuracy/val:0.8", baseline="eye", formats="md,csv")
    text = paths["report.md"].read_text()
    assert "80% val accuracy" in text
    assert "--baseline eye --target accuracy/val:0.8" in text
    assert set(pd.read_csv(paths["comparisons.csv"])["baseline"]) == {"eye · none"}


def test_many_arms_are_told_to_confirm_on_fresh_seeds():
    runs = runs_of({f"init_{i}": {0.1: [60.0 + i] * 8} for i in range(41)})
    assert "Confirm the first 20 on fresh seeds: python -m initbench init=init_0,init_1," in warned(
        runs, baseline="init_0"
    )
    assert "'seeds=[8,9,10," in warned(runs, baseline="init_0")


def test_every_pair_has_its_sentence(folder: Path):
    text = (folder / "report.md").read_text()
    pairs = pd.read_csv(folder / "comparisons.csv")
    for _, row in pairs[pairs["verdict"] != "baseline"].iterrows():
        assert any(line.startswith(f"- **{row['setup'].replace('_', chr(92) + '_')}**") for line in text.splitlines())
    assert "normal\\_001 · none** is slower than kaiming" in text or "is undecided" in text


def test_markdown_has_every_arm_and_its_verdict(folder: Path):
    text = (folder / "report.md").read_text()
    board = stats.leaderboard(pd.read_parquet(folder / "runs.parquet"), json.loads((folder / "study.json").read_text()))
    for _, row in board.iterrows():
        line = next(line for line in text.splitlines() if line.startswith(f"| {row['rank']} |"))
        assert row["setup"].replace("_", r"\_") in line
        assert row["verdict"] in line


# ---- two studies


def test_two_studies_side_by_side(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    slower = frames.make_study(SMALL[:3], lrs=(0.03, 0.1, 0.3), rng_seed=0)
    runs, history, study = slower
    late = runs["init.name"] == "eye"
    history = history.assign(
        step=np.where(history["run"].isin(runs.loc[late, "run"]), history["step"] * 2, history["step"])
    )
    runs = runs.assign(steps_to_target=np.where(late, runs["steps_to_target"] * 2, runs["steps_to_target"]))
    b = frames.write_study(tmp_path / "after", runs, history, study | {"study": "after"})
    assert main([str(folder), str(b)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(b / "versus-demo.html")
    table = pd.read_csv(b / "versus-demo.csv").set_index("setup")
    assert sorted(table.index) == ["eye · none", "kaiming_normal · all", "kaiming_normal · none"]
    text = (b / "versus-demo.md").read_text()
    assert text.startswith("# after against default")
    page = (b / "versus-demo.html").read_text()
    assert "2 setups only in default" in page
    assert table.loc["eye · none", "ratio"] > 1.5


def test_one_setup_against_the_field(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(folder), "--focus", "eye"]) == 0
    path = Path(capsys.readouterr().out.strip())
    try:
        assert path == folder / "focus-eye.html"
        text = path.read_text(encoding="utf-8")
    finally:
        path.unlink()
    assert "<h1>eye against the field</h1>" in text
    source = report.open_source(folder, baseline="eye")
    place = list(source.board["setup"]).index("eye · none") + 1
    lead = re.search(r'<p class="answer">(.*?)</p>', text)[1]
    assert f"<strong>eye · none</strong> (the identity, no sharing) is number {place} of {len(SMALL)}: median" in lead
    assert "Against <strong>eye · none</strong>" in lead
    assert re.findall(r'<section id="([^"]+)"', text)[:3] == ["answer", "fastest", "against"]
    again = re.search(r"Run it again</h3>\s*<pre[^>]*><code>(.*?)</code>", text, re.S)[1].splitlines()
    assert again[-1] == "python -m initbench.report outputs/default --focus eye"
    assert "--baseline" not in text
    assert main([str(folder), "--focus", "eyee"]) == 2
    assert "--focus eyee: unknown; did you mean eye · none?" in capsys.readouterr().err
    assert main([str(folder), "--focus", "eye", "--baseline", "eye"]) == 2


def test_a_page_about_one_setup_sums_its_settings_up():
    runs = [
        runs_of({"mine": {0.1: [a] * 8}, "other": {0.1: [30.0] * 8}}, setting=f"s{i}")
        for i, a in enumerate((20.0, 20.0, 60.0))
    ]
    runs = pd.concat([frame.assign(run=f"{i}/" + frame["run"]) for i, frame in enumerate(runs)])
    told = plain(focus.over_settings(source_of(runs, baseline="mine")))
    assert told == (
        "mine is number 1 in 2 of 3 settings, and at worst number 2 of 2 (s2). Against it, over all settings: 3 undecided."
    )


def test_a_study_against_itself_is_equivalent(folder: Path, tmp_path: Path):
    paths = report.build_versus(folder, folder, formats="csv")
    table = pd.read_csv(paths["versus-demo.csv"])
    paths["versus-demo.csv"].unlink()
    assert set(table.loc[table["test"] == "ratio", "verdict"]) == {"equivalent"}
    assert table["same_bits"].all()


# ---- the command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["FOLDER", "--baseline", "nobody"], "baseline=nobody: unknown; must be one of: eye"),
        (["FOLDER", "--target", "soon"], "target=soon: not allowed; must be a number"),
        (["FOLDER", "--target", "loss/test:1"], "target metric 'loss/test': not in the history; did you mean loss/train? must be one of: loss/train"),
        (["FOLDER", "--format", "docx"], "format docx: unknown; must be one of: html, md, csv, latex, figures, archive"),
        (["FOLDER", "FOLDER", "FOLDER"], "3 studies are too many; name one study, or two to compare"),
        (["FOLDER", "FOLDER", "--baseline", "eye"], "--baseline: with two studies the first one is the baseline"),
        (["broken.zip"], "broken.zip: not an archive of a study"),
        (["mlflow:"], "mlflow:: it names no experiment; write mlflow:EXPERIMENT, e.g. mlflow:default"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(arguments, said, folder: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("broken.zip").write_bytes(b"PK not really")
    assert main([str(folder) if word == "FOLDER" else word for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_report_needs_neither_torch_nor_mlflow(folder: Path, tmp_path: Path):
    code = ("import sys; from initbench import report; report.build(sys.argv[1], formats='html');"
            "print([name for name in ('torch', 'mlflow', 'hydra', 'statsmodels') if name in sys.modules])")  # fmt: skip
    path = frames.write_study(tmp_path / "tiny", *frames.make_study(SMALL[:2], lrs=(0.1,), seeds=3, layer_metrics=()))
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numbers_read_one_way():
    assert num.interval(0.5, 2.0, num.times) == "[0.50x, 2.00x]"
    with pytest.raises(InputError, match="target"):
        report.source.parse_target("x:y")


@pytest.mark.long
def test_ten_thousand_runs_fit_a_small_page(tmp_path: Path):
    """1,000 arms x 10 seeds."""
    arms = [(f"init_{i:03d}", sharing) for i in range(250) for sharing in ("none", "all", "pairs", "cycle")]
    made = frames.make_study(arms, lrs=(0.1,), seeds=10, steps=100, baseline="init_007", layer_metrics=("grad_norm",))
    page = report.build(frames.write_study(tmp_path / "big", *made), formats="html")["report.html"].read_text()
    assert len(page.encode()) < 3_000_000
    assert max(len(one) for one in re.findall(r"<svg viewBox.*?</svg>", page, re.S)) < 250_000
    assert "1,000" in page
    assert "more in the table" in page
