"""Names, targets and notices at every edge: pages, tables, pictures and MLflow stay well formed, and what is said is true."""

from __future__ import annotations

import io
import re
import shlex
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import frames
from hand import NEVER, runs_of, source_of, spread, tuned, warned
from initbench import report, stats
from initbench.config.groups import Target
from initbench.errors import InputError, masked, printable
from initbench.report import notices
from initbench.report.__main__ import main
from initbench.report.commands import hydra_text
from initbench.report.versus import Versus, unfair
from initbench.stats import remedy
from initbench.track import answers, records, uri

HOSTILE = (
    "[/x]", "<script>alert(1)</script>", "]]>", "$\\frac{$", "a|b", "=1+1", "-2+3", "@SUM(A1)", "\x1b[31mred", "a\0b",
    "\u202eright", "\u200fleft", "a" * 10_000, "two\nlines", "tab\there", "🎲", "李明", "`code`", "a\\", "{x}", "&amp;", "'q\"",
    "# head", "* item", "%s %d", "\x7f\x85", "\ufffe",
)  # fmt: skip
FORMULAS = tuple(name for name in HOSTILE if name[0] in "=-@")
IN_A_STUDY = (
    *FORMULAS,
    "a" * 10_000,
    " ".join(HOSTILE[:12]),
    " ".join(HOSTILE[13:]),
)  # a figure takes time for each arm


class Balanced(HTMLParser):
    """Every tag that is opened is closed, in order."""

    VOID = ("meta", "link", "br", "img", "input", "col", "hr", "path", "use")

    def __init__(self):
        super().__init__()
        self.open, self.scripts = [], 0

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            while self.open.pop() != tag:
                pass


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Every format of a study whose initializers have hostile names."""
    arms = [(name, "none") for name in ("kaiming_normal", *IN_A_STUDY)]
    made = frames.make_study(arms, lrs=(0.1,), seeds=3, steps=60, layer_metrics=())
    folder = frames.write_study(tmp_path_factory.mktemp("hostile") / "h", *made)
    return report.build(folder, formats=report.FORMATS)


def test_pictures_and_page_are_well_formed(written):
    pictures = [path for path in written.values() if path.suffix == ".svg"]
    assert pictures
    for path in pictures:
        ET.fromstring(path.read_bytes())
    page = written["report.html"].read_text(encoding="utf-8")
    for one in re.findall(r"<svg viewBox.*?</svg>", page, re.S):
        ET.fromstring(one)
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert parser.scripts == 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e\u200f]", page)


def test_csv_holds_each_name_once_and_no_formula(written):
    board = pd.read_csv(io.StringIO(written["leaderboard.csv"].read_text()), keep_default_na=False)
    setups = {f"{printable(name)} · none" for name in IN_A_STUDY}
    assert setups <= {name.removeprefix("'") if name[1:2] in tuple("=-@+") else name for name in board["setup"]}
    assert not any(str(cell)[:1] in tuple("=+-@\t") for name in ("setup", "init", "arm") for cell in board[name])


def test_markdown_tables_keep_their_columns(written):
    lines = written["report.md"].read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == len(IN_A_STUDY) + 3
    assert len({len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) for line in table}) == 1
    assert "<script>" not in "\n".join(lines)


def test_latex_has_balanced_groups_and_one_row_an_arm(written):
    rows = [line for line in written["report.tex"].read_text(encoding="utf-8").splitlines() if line.endswith(r" \\")]
    assert len(rows) == len(IN_A_STUDY) + 2
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    for row in rows:
        plain_row = re.sub(r"\\[{}]", "", row)
        assert plain_row.count("{") == plain_row.count("}")


def test_the_archive_keeps_the_names_as_they_are(written, tmp_path):
    (tmp_path / "study.zip").write_bytes(written["study.zip"].read_bytes())
    source = report.open_source(tmp_path / "study.zip")
    assert set(source.own_runs["init.name"]) == {"kaiming_normal", *IN_A_STUDY}


def test_names_that_look_the_same_are_refused():
    runs = runs_of({"a\nb": tuned([1.0] * 8), "a\\nb": tuned([1.0] * 8)})
    with pytest.raises(InputError, match="look the same"):
        source_of(runs)


@pytest.mark.parametrize("name", HOSTILE)
def test_mlflow_gets_values_that_it_takes(name):
    value = records._text(name)
    assert value.isprintable()
    assert len(value) <= 6000


# ---- targets: one check for the study, the command and the function


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("accuracy/train", 95, "target=95.*between 0 and 1; did you mean 0.95"),
        ("accuracy/train", 2.0, "between 0 and 1; must be above 0 and at most 1"),
        ("accuracy/val", -0.1, "between 0 and 1"),
        ("accuracy/val", 0, "between 0 and 1"),
        ("loss/train", 0.0, "a loss is above 0"),
        ("loss/val", -1, "a loss is above 0"),
    ],
)
def test_a_target_that_cannot_be_is_refused_everywhere_alike(metric, value, said, written, capsys):
    folder = written["report.md"].parent
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for given in (f"{metric}:{value}", (metric, value), {"metric": metric, "value": value}):
        with pytest.raises(InputError, match=said):
            report.build(folder, target=given, formats="md")
    with pytest.raises(InputError, match=said.replace("target=", "train.target.value=")):
        Target(metric, value)
    assert main([str(folder), "--target", f"{metric}:{value}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", True, "", "loss/train:", [0.9], None.__class__])
def test_what_is_no_target_is_refused(text):
    with pytest.raises(InputError, match="target"):
        report.source.parse_target(text)


def test_out_belongs_to_mlflow(written, capsys):
    assert main([str(written["report.md"].parent), "--out", "x"]) == 2
    assert "mlflow:<experiment>" in capsys.readouterr().err


# ---- notices


def test_a_run_that_diverges_after_it_arrived_has_arrived():
    runs = runs_of({"base": tuned([60.0] * 10), "dies": tuned([30.0] * 10)}, diverged={"dies": range(10)})
    said = warned(runs)
    assert "can never arrive" not in said
    assert "dies 10/10, 10 of them after it had arrived" in said


@pytest.mark.parametrize("level", [0.9501, 0.97, 0.9, 0.41, 0.04])
def test_an_easier_accuracy_is_lower_and_met(level):
    runs = runs_of({"base": tuned([NEVER] * 10)}).assign(**{"accuracy/train": level})
    value = notices.reachable(source_of(runs), "s")
    assert value is None or 0 < value < min(0.95, level)
    assert (value is None) == (level in (0.9501, 0.97, 0.04))


@pytest.mark.parametrize("level", [0.06, 0.2, 3.0, 123.0, 0.049])
def test_an_easier_loss_is_higher_and_met(level):
    runs = runs_of({"base": tuned([NEVER] * 10)}).assign(**{"loss/train": level})
    source = source_of(runs, target={"metric": "loss/train", "value": 0.05})
    value = notices.reachable(source, "s")
    assert value > max(0.05, level)
    assert "aim lower" not in warned(runs, target={"metric": "loss/train", "value": 0.05})


@pytest.mark.parametrize(("metric", "end"), [("loss/train", 1.5), ("accuracy/train", 0.2)])
def test_what_a_net_meets_before_it_trains_is_no_easier_target(metric, end):
    runs = runs_of({"base": tuned([NEVER] * 10)}).assign(**{metric: end})
    start = pd.DataFrame({"run": runs["run"], "step": 0, "metric": metric, "layer": pd.NA, "value": 0.5})
    target = {"metric": metric, "value": 0.05 if metric == "loss/train" else 0.95}
    content = {"study": "hand", "target": target, "baseline": "base", "arms": []}
    for history, expected in ((start, None), (start.assign(value=1 / 0.5 if metric == "loss/train" else 0.1), "some")):
        parts = SimpleNamespace(runs=runs, history=history, study=content, folder=Path("nowhere"))
        value = notices.reachable(report.open_source(parts), "s")
        assert (value is None) == (expected is None)


def test_a_baseline_that_nobody_asked_for_is_not_missed():
    runs = runs_of({"a": tuned([60.0] * 10), "b": tuned([30.0] * 10)})
    arms = [{"label": one, "setup": one} for one in ("a", "b")]
    assert "Ratios are not to the baseline" not in warned(runs, baseline="gone", overrides=["init=a,b"], arms=[])
    del arms
    asked = warned(runs, baseline="gone", overrides=["report.baseline=gone"])
    assert "Ratios are not to the baseline: The baseline gone is not among the arms" in asked


def test_more_seeds_go_on_from_those_that_are_there():
    runs = runs_of({"base": tuned([60.0] * 3), "b": tuned([30.0] * 3)}, seeds=[5, 6, 7])
    advised = re.search(r"Only new seeds are trained: '(seeds=\[[^']*)'", warned(runs))[1]
    assert advised.startswith("seeds=[5,6,7,8,")


@pytest.mark.parametrize(
    "rates", [[0.1], [0.1, 0.105], [0.0951, 0.1], [1e-8, 1e-7], [0.1, 0.3, 1 / 3], [0.1234567, 0.2]]
)
def test_a_wider_grid_holds_the_old_one_and_is_wider(rates):
    text = shlex.split(remedy.wider(rates, {"low", "high"}))[0]
    grid = [float(lr) for lr in text.removeprefix("optim.lr=[").removesuffix("]").split(",")]
    assert grid[1:-1] == rates
    assert grid == sorted(set(grid))


def test_what_is_advised_parses_as_overrides():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    advised = [remedy.wider([0.1], {"low", "high"}), remedy.more_seeds([3, 5], 9), remedy.longer(30), remedy.denser(12.5),
               remedy.SOME_TARGET, *(shlex.quote(f"init={hydra_text(name)}") for name in HOSTILE if name.isprintable())]  # fmt: skip
    for one in advised:
        assert len(shlex.split(one)) == 1
        parser.parse_override(shlex.split(one)[0])
    for name in HOSTILE:
        if name.isprintable() and name != "{x}":
            assert parser.parse_override(f"init={hydra_text(name)}").value() == name or name[:1].isalpha()


# ---- two studies of one setup


def versus_of(a: pd.DataFrame, b: pd.DataFrame) -> Versus:
    return Versus(source_of(a, baseline=None), source_of(b, baseline=None))


def many_rates(seeds: int = 20) -> pd.DataFrame:
    rates = {
        lr: spread(steps, seeds, 0.3, i)
        for i, (lr, steps) in enumerate(((0.01, 200), (0.03, 90), (0.1, 60), (0.3, 45), (1.0, 70)))
    }
    return runs_of({"base": rates}, tau=400)


@pytest.mark.parametrize("kept", [[0.01, 0.1, 1.0], [0.3], [0.01, 0.03]])
def test_the_same_bits_are_never_faster_than_themselves(kept):
    whole = many_rates()
    part = whole[whole["optim.lr"].isin(kept)].reset_index(drop=True)
    for one, two in ((part, whole), (whole, part)):
        both = versus_of(one, two)
        row = both.table.iloc[0]
        assert row["ratio"] == 1.0
        assert row["verdict"] == "equivalent"
        assert row["same_bits"]
        assert "learning rates: judged at " + ", ".join(f"{lr:g}" for lr in kept) in row["differs"]
        assert any("differ between the studies" in notice.title for notice in unfair(both))


def test_unequal_seeds_are_said_and_paired():
    whole = many_rates()
    row = versus_of(whole, whole[whole["seed"] < 10].reset_index(drop=True)).table.iloc[0]
    assert (row["verdict"], row["differs"]) == ("equivalent", "seeds: 20 and 10, 10 in both")


def test_no_rate_in_common_is_not_judged():
    whole = many_rates()
    a, b = (whole[whole["optim.lr"].isin(rates)].reset_index(drop=True) for rates in ([0.01], [0.3]))
    row = versus_of(a, b).table.iloc[0]
    assert (row["verdict"], row["reason"]) == ("undecided", "no learning rate is in both")


def test_different_targets_are_not_judged():
    runs = many_rates()
    both = Versus(
        source_of(runs, baseline=None),
        source_of(runs, baseline=None, target={"metric": "accuracy/train", "value": 0.9}),
    )
    assert both.table["verdict"].tolist() == ["undecided"]
    assert both.table["ratio"].isna().all()


def test_a_coarser_evaluation_grid_is_not_slower():
    runs, history, study = frames.make_study((("eye", "none"),), lrs=(0.1,), seeds=12, steps=200, layer_metrics=())
    steps = np.unique(history["step"])
    coarse = history[history["step"].isin(steps[::6])]
    b = stats.retarget(runs, coarse, "accuracy/train", 0.95)
    assert (b["steps_to_target"] > runs["steps_to_target"]).any()
    sides = [
        SimpleNamespace(runs=r, history=h, study=study, folder=Path("x")) for r, h in ((runs, history), (b, coarse))
    ]
    row = Versus(*map(report.open_source, sides)).table.iloc[0]
    assert (row["ratio"], row["verdict"], row["reason"]) == (1.0, "equivalent", "")


# ---- tracking addresses


@pytest.mark.parametrize(
    "address", ["http://alice:s3cret@host:5000", "postgresql://u:s3cret@h/db?password=s3cret", "https://x:a:s3cret@h/p"]
)
def test_passwords_are_never_shown(address):
    shown = [
        masked(address),
        uri.ui_command(address),
        uri.link(address, "1"),
        answers.said(f"no answer from {address}"),
    ]
    assert not any("s3cret" in text for text in shown)
    with pytest.raises(InputError) as error:
        uri.resolve_uri(address.replace("://", "x://"))
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "text", "pipe", "newer"])
def test_a_database_that_cannot_be_used_is_named_at_once(kind, tmp_path, monkeypatch):
    import os
    import sqlite3

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mlflow.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("not a database at all")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with sqlite3.connect(path) as made:
            made.execute("CREATE TABLE alembic_version (version_num TEXT)")
            made.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
        made.close()
    for setting in ("auto", "sqlite:///mlflow.db"):
        with pytest.raises(InputError, match=r"track.uri=sqlite:///.*mlflow.db: .*move it away|update mlflow"):
            uri.resolve_uri(setting)
