"""python -m initbench.reproduce over many studies: progress, failures, the pages of all studies, and that every shipped number is one
of a results file that the command makes again."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from claims_frames import grid, made_runs
from initbench import claims, reproduce
from initbench.claims.found import Found
from initbench.config.arm import NUMERICS_VERSION
from initbench.reproduce import pages
from initbench.reproduce.outcome import Outcome, study_of
from initbench.reproduce.progress import Progress
from initbench.reproduce.verdict import WORDS, Verdict
from initbench.reproduce.work import Work, work

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"
SHIPPED = [slug for slug in reproduce.slugs() if (EXPERIMENTS / slug / "results/summary.csv").is_file()]
# studies of a few seconds each, run again here once they are shipped
CHEAP = ["replay", "share-sum", "glorot-back"]

# ------------------------------------------------------------------------------------------------ what is shipped


def test_the_pages_of_all_studies_are_what_the_command_makes_of_the_shipped_results():
    for name, text in reproduce.all_pages().items():
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (EXPERIMENTS / link).is_file(), link
        assert (EXPERIMENTS / name).read_text("utf-8") == text, f"run {pages.COMMAND}"


@pytest.mark.parametrize("slug", SHIPPED)
def test_the_result_of_every_study_is_what_its_analysis_makes_of_the_shipped_table(slug):
    study, measured = reproduce.analysis(slug), reproduce.results(slug)
    readme = (EXPERIMENTS / slug / "README.md").read_text("utf-8")
    assert readme == reproduce.written(readme, study.page(measured))
    if hasattr(study, "figure"):
        assert (EXPERIMENTS / slug / "results/figure.svg").read_text("utf-8") == study.figure(measured)
    assert "Quick version" not in readme
    assert set(measured["numerics"]) == {NUMERICS_VERSION}, f"run python -m initbench.reproduce {slug} again"
    if "predictions" in measured:
        assert set(measured["predictions"]) == {claims.load(EXPERIMENTS / slug).digest}
        cut = study.page(measured[measured["cell"] == measured["cell"].iloc[0]])
        assert ("Quick version" in cut) == (measured["cell"].nunique() > 1)
        grown = f"its suite has other tests now: run python -m initbench.reproduce {slug} again"
        assert set(measured["family"]) == {claims.family(EXPERIMENTS / slug, quick=False)}, grown


@pytest.mark.parametrize("slug", sorted({path.parent.name for path in EXPERIMENTS.glob("*/predictions.yaml")}))
def test_every_study_says_what_it_left_out(slug):
    readme = (EXPERIMENTS / slug / "README.md").read_text("utf-8")
    limits = readme.partition(reproduce.END)[2].partition("\n## Limits\n")[2] or readme.partition("**Limits.**")[2]
    assert len(limits.split()) > 20


@pytest.mark.parametrize("slug", SHIPPED)
def test_no_number_of_a_page_stands_in_no_file_that_makes_it(slug):
    """Outside of the result, every number of two digits with a point is one of the predictions or the analysis, or one of the
    table, rounded. Code is left out, and what a sentence tells of the quick run after which a study was changed."""
    home = EXPERIMENTS / slug
    before, _, rest = (home / "README.md").read_text("utf-8").partition(reproduce.START)
    text = re.sub(r"`[^`]*`|\d{4}\.\d{5}|[Ss]ections? [\d.]+", "", before + rest.partition(reproduce.END)[2])
    sentences = re.split(r"\n\n|(?<=[.:)*])\s(?=[A-Z])", text)
    given = "".join(
        path.read_text("utf-8") for path in (home / "predictions.yaml", home / "analysis.py") if path.is_file()
    )
    numbers = re.compile(r"(?<![\w.])(?=[\d.]*[1-9][\d.]*\d)\d*\.\d+(?![\w.]*\d)")
    known = {float(one) for one in numbers.findall(given)}
    measured = reproduce.results(slug).select_dtypes("number").abs().to_numpy(float).ravel()
    for one in numbers.findall(" ".join(one for one in sentences if "quick run" not in " ".join(one.split()))):
        digits = len(one.partition(".")[2])
        assert float(one) in known or float(one) in np.round(measured, digits), f"{slug}: {one}"


@pytest.mark.parametrize("slug", CHEAP)
def test_a_cheap_study_run_again_gives_the_shipped_table(slug, tmp_path):
    if slug not in SHIPPED:
        pytest.skip(f"experiments/{slug} has no results yet: python -m initbench.reproduce {slug}")
    study = reproduce.analysis(slug)
    takes = inspect.signature(study.measure).parameters
    (tmp_path / slug).mkdir()
    again = study.measure(tmp_path / slug, **({"extra": ["engine.workers=1"]} if "extra" in takes else {}))
    reproduce.put(again, tmp_path / "again.csv")
    again = reproduce.table(tmp_path / "again.csv")
    # on another processor a last digit may differ
    pd.testing.assert_frame_equal(again, reproduce.results(slug), rtol=1e-6, atol=1e-12)


# ------------------------------------------------------------------------------------------------ the pages, by hand


def outcomes():
    missed = ("x of y, c: 3, claimed 2",)
    parts = (
        Found(
            "fast", "it is faster", *WORDS[:2], 4, 1, 3, "1.20x (0.80x to 1.50x)", "holds on a; fails on b", (), "steps"
        ),
        Found("size", "it is 2", *WORDS[:1] * 2, 4, 4, 0, "2 (1 to 3)", "holds on a", missed),
    )
    return [
        Outcome("b-open", "never run", "A 2020", "fast CONFIRMED"),
        Outcome("c-wrong", "a|b is\ntrue", "B 2021", "fast CONFIRMED", Verdict("REFUTED", "fast"), "8 seeds", parts),
        Outcome("a-right", "plain", "notes", "it holds", Verdict("CONFIRMED", "1.1", "1 to 1.2"), "9 numbers"),
    ]


def test_the_page_of_all_studies_says_the_verdict_first_and_what_has_not_run():
    page = pages.readme(outcomes())
    rows = [line for line in page.splitlines() if line.startswith("| **")]
    assert rows == [
        "| **CONFIRMED** | plain | 1.1 (1 to 1.2) | 9 numbers | notes | [a-right](a-right/README.md) |",
        "| **REFUTED** | a\\|b is true | it is faster: refuted, holds in 1 and fails in 3 of 4 settings; steps: 1.20x (0.80x to 1.50x)<br>"
        "it is 2: confirmed, holds in 4 and fails in 0 of 4 settings; 2 (1 to 3) | 8 seeds | B 2021 | [c-wrong](c-wrong/README.md) |",
        "| **not yet run in full** | never run | expected: fast CONFIRMED |  | A 2020 | [b-open](b-open/README.md) |",
    ]
    assert "**3 studies: 1 confirmed, 1 refuted, 0 undecided, 1 not yet run in full.**" in page
    assert "leaderboard" not in page
    assert "(leaderboard/README.md)" in pages.readme(outcomes(), board=True)


def test_surprises_are_what_is_refuted_differs_by_setting_misses_a_number_or_was_not_expected():
    page = pages.surprises(outcomes())
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}
    refuted, split, missed, other = sections.values()
    assert "- **a|b is\ntrue** ([study](c-wrong/README.md), [numbers](c-wrong/results/summary.csv))" in refuted
    assert "  - it is faster: refuted, holds in 1" in refuted
    assert "it is 2" not in refuted
    assert "  - it is faster: holds on a; fails on b" in split
    assert "it is 2" not in split
    assert "  - size: x of y, c: 3, claimed 2" in missed
    assert "  - expected CONFIRMED: it is faster: refuted" in other
    assert "it is 2" not in other
    assert "a-right" not in page
    assert pages.surprises(outcomes()[:1]).count("None.") == 4


# ------------------------------------------------------------------------------------------------ progress


class Clock:
    """Time and a store that a test moves on."""

    now = 0.0
    there = 100

    def __call__(self):
        return self.now

    def runs(self):
        return self.there


def test_progress_counts_what_is_read_as_done_and_the_time_left_by_what_is_trained(capsys):
    clock = Clock()
    plans = {"one": {"a": Work(50, 100.0)}, "two": {"a": Work(50, 100.0), "b": Work(100, 200.0)}}
    progress = Progress(plans, clock, 2, clock)
    assert progress.note() == "0/200 runs done, 0 s, about 3.3 min left"  # 400 seconds of two cores
    progress.begin("one")
    with progress.sweep("a") as ended:  # everything is stored
        clock.now += 3
        ended(50)
    progress.end("one")
    assert progress.note() == "50/200 runs done, 3 s, about 2.5 min left"
    progress.begin("two")
    with progress.sweep("a") as ended:
        clock.now, clock.there = clock.now + 200, clock.there + 25
        assert progress.note() == "75/200 runs done, 3.4 min, about 12 min left"  # 50 seconds of the plan took 200
        ended(50)
    progress.end("two")  # the other sweep failed
    assert progress.note() == "200/200 runs done, 3.4 min"
    assert progress.total() == "2 studies in 3.4 min; 25 runs trained, 75 read from the store"
    said = capsys.readouterr().out
    assert "study 1 of 2, 0/200 runs done, 0 s, about 3.3 min left\n" in said
    assert "  50 read from the store, 3 s\n" in said
    assert "study 2 of 2, 50/200 runs done" in said
    assert "  25 runs trained, 25 read from the store, 3.3 min\n" in said


def test_the_work_of_a_sweep_grows_with_runs_steps_and_controls():
    small = ["init=eye", "sharing=none", "seeds=2", "optim.lr=[0.1,0.3]", "train.steps=100"]
    one = work(small)
    assert one.runs == 4
    assert work([*small[:2], "seeds=4", *small[3:]]).runs == 8
    assert work([*small[:4], "train.steps=1000"]).seconds > one.seconds
    assert work([*small[:1], "sharing=all", "sharing.controls=true", *small[2:]]).runs == 12


ANALYSIS = '''"""Is it {word}?"""
import pandas as pd
from initbench.reproduce.verdict import WORDS, Verdict

CLAIM, SOURCE = "it is {word}", "nobody"

def predict():
    return "yes"

def measure(folder, quick=False):
    {body}
    return pd.DataFrame({{"x": [1.5]}})

def verdict(measured):
    return Verdict("{word}", f"x {{measured['x'][0]}}")

def page(measured):
    return f"x is {{measured['x'][0]}}"
'''


@pytest.fixture
def three(tmp_path, monkeypatch):
    """Three studies, the second of which breaks."""
    for slug, word, body in (
        ("a", "CONFIRMED", ""),
        ("b", "REFUTED", 'raise ValueError("no\\nluck")'),
        ("c", "UNDECIDED", ""),
    ):
        home = tmp_path / "experiments" / slug
        home.mkdir(parents=True)
        (home / "analysis.py").write_text(ANALYSIS.format(word=word, body=body or "pass"), encoding="utf-8")
        (home / "README.md").write_text(f"# {slug}\n{reproduce.START}\n{reproduce.END}\n", encoding="utf-8")
    monkeypatch.setattr(reproduce, "experiments_folder", lambda: tmp_path / "experiments")
    return tmp_path / "experiments"


def test_a_study_that_fails_stops_no_other_and_a_last_table_has_all_verdicts(three, tmp_path, capsys):
    assert reproduce.main(["all", "--outputs", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert said.err == "initbench: b failed: ValueError: no\n"
    table = said.out.split("\n\n")[-1].splitlines()
    assert [re.sub(r"\[.*?\]", "[]", line) for line in table[:-1]] == [
        "CONFIRMED  a  []  expected: yes  measured: x 1.5",
        "failed     b  []  expected:   measured: ValueError: no",
        "UNDECIDED  c  []  expected: yes  measured: x 1.5",
    ]
    assert re.fullmatch(r"3 studies in \d+ s; no runs", table[-1])
    assert (three / "a/README.md").read_text("utf-8").splitlines()[2] == "x is 1.5"
    page = (three / "README.md").read_text("utf-8")
    assert "| **CONFIRMED** | it is CONFIRMED | x 1.5 |" in page
    assert "| **not yet run in full** | it is REFUTED | expected: yes |" in page
    assert (three / "SURPRISES.md").is_file()


def test_quick_writes_no_page_and_pages_run_nothing(three, tmp_path, capsys):
    before = {path: path.read_text("utf-8") for path in three.rglob("*.*") if path.is_file()}
    assert reproduce.main(["a", "c", "--quick", "--outputs", str(tmp_path / "out")]) == 0
    assert {path: path.read_text("utf-8") for path in before} == before
    assert not (three / "README.md").exists()
    capsys.readouterr()
    assert reproduce.main(["--pages"]) == 0
    assert capsys.readouterr().out == f"{three / 'README.md'}\n{three / 'SURPRISES.md'}\n"
    assert (three / "README.md").read_text("utf-8").count(f"| **{pages.OPEN}** |") == 3


def test_a_broken_analysis_stops_no_other(three, tmp_path, capsys):
    (three / "b/analysis.py").write_text("no python", encoding="utf-8")
    assert reproduce.main(["all", "--quick", "--outputs", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    line = "experiments/b/analysis.py: it raised SyntaxError: "
    assert said.err.startswith(f"initbench: b failed: {line}")
    assert "UNDECIDED  c" in said.out
    assert reproduce.main(["b"]) == 2
    assert capsys.readouterr().err.startswith(f"initbench: {line}")


# ------------------------------------------------------------------------------------------------ fair by cost


def raced(**columns):
    """A race of a shared net against an untied and a narrower one, the frames as runs have them."""
    setups = {
        "all": {"factor": 1.2, "flops_per_step": 100.0, "state_bytes": 4000, "init_flops": 0.0, "model.width": "32"},
        "none": {"factor": 1.0, "flops_per_step": 100.0, "state_bytes": 8000, "init_flops": 0.0, "model.width": "32"},
        "narrow": {
            "factor": 1.0,
            "flops_per_step": 40.0,
            "state_bytes": 4000,
            "init_flops": 0.0,
            "model.width": "[16, 8, 8]",
        },
    }
    for name, values in columns.items():
        for setup, value in zip(setups, values):
            setups[setup][name] = value
    runs = made_runs(setups, 12, [("digits", "relu", 3)]).assign(**{"optim.batch_size": 64})
    frames = claims.framed(runs, grid(runs), runs["setup"])
    entries = [claims.race(frames, "speed", frames.cells[0], "all", other, "below") for other in ("none", "narrow")]
    return claims.corrected(entries, 2)


def test_a_race_says_its_ratio_in_flops_stored_bytes_and_activations():
    same, narrow = raced().to_dict("records")
    assert same["flops"] == same["ratio"]
    assert (same["stored_bytes"], same["activations"]) == (0.5, 1.0)
    assert narrow["flops"] == pytest.approx(narrow["ratio"] * 2.5)
    assert (narrow["stored_bytes"], narrow["activations"]) == (1.0, 3.0)


def test_the_passes_of_a_start_count():
    """The baseline takes about 60 steps at its best rate, 6,000 operations: a start of as many doubles them."""
    rows = raced(init_flops=(6000.0, 0.0, 0.0))
    assert rows["flops"][0] == pytest.approx(rows["ratio"][0] + 1.0, rel=0.15)
    rows = raced(init_flops=(0.0, 6000.0, 0.0))
    assert rows["flops"][0] == pytest.approx(rows["ratio"][0] / 2, rel=0.15)
    assert np.isnan(raced(init_flops=(np.nan, 0.0, 0.0))["flops"][0])


def test_a_page_shows_costs_where_nets_differ_in_them_only():
    study = study_of(reproduce.analysis("sharing-speed"))
    page = study.page(raced())
    assert "| ratio [95% interval] | in FLOPs | stored bytes | activations | n |" in page
    assert "equal activation memory" in page
    alike = raced(flops_per_step=(9.0,) * 3, state_bytes=(9,) * 3, **{"model.width": ("32",) * 3})
    assert "in FLOPs" not in study.page(alike)
    assert "in FLOPs" not in study.page(alike.drop(columns=["flops", "stored_bytes", "activations"]))


def test_a_changed_clone_is_noticed(tmp_path, monkeypatch):
    """One number of a shipped table changed: the page is no longer what the command makes of it."""
    shutil.copytree(EXPERIMENTS / "replay", tmp_path / "replay")
    monkeypatch.setattr(reproduce, "experiments_folder", lambda: tmp_path)
    before = reproduce.all_pages()
    path = tmp_path / "replay/results/summary.csv"
    path.write_text(path.read_text("utf-8").replace("1.121", "1.921"), encoding="utf-8")
    assert reproduce.all_pages()["README.md"] != before["README.md"]
