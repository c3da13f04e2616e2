"""How results show themselves: ten lines, a table in a notebook, figures as axes; and that `ib.run` says how far it is."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import matplotlib
import pandas as pd
import pytest
from matplotlib.axes import Axes

import frames
import initbench as ib
from initbench.errors import InputError
from initbench.report.palette import TONES
from initbench.study import shown

matplotlib.use("Agg")
ARMS = [(init, sharing) for init in ("eye", "kaiming_normal", "orthogonal") for sharing in ("none", "all")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    runs, history, study = frames.make_study(ARMS, lrs=(0.03, 0.1, 0.3), seeds=8, depth=2)
    study["cautions"] = [{"title": "A <b>trap</b>", "text": "text.", "arms": []}]
    return ib.Results(runs, history, study, tmp_path_factory.mktemp("shown"))


def test_results_are_ten_lines_in_a_console(results):
    lines = repr(results).splitlines()
    assert len(lines) <= 10
    assert lines[0].startswith("Results of ")
    assert "6 arms, 144 runs, steps to accuracy/train 0.95, in " in lines[0]
    order = results.leaderboard()["setup"].tolist()[:5]
    assert [setup for setup, line in zip(order, lines[3:]) if setup in line] == order
    assert "1 more arm; .leaderboard() has the verdicts" in lines[-1]


@pytest.mark.parametrize("runs", [pd.DataFrame(), pd.DataFrame({"arm": ["a"]})])
def test_results_show_themselves_whatever_was_done_to_their_frames(results, runs):
    edited = ib.Results(runs, results.history, results.study, results.folder)
    assert repr(edited).splitlines()[0].startswith("Results of ")
    assert "<p>" in edited._repr_html_()


def test_a_notebook_shows_the_leaderboard_with_its_verdicts(results):
    board = results.leaderboard()
    page = ET.fromstring(f"<div>{results._repr_html_()}</div>")
    heads = [cell.text for cell in page.iter("th")]
    rows = [dict(zip(heads, (cell.text for cell in row.iter("td")))) for row in page.iter("tr")][1:]
    assert [row["setup"] for row in rows] == board["setup"].tolist()
    assert [row["verdict"] for row in rows] == board["verdict"].tolist()
    assert {"undecided", "baseline"} <= {row["verdict"] for row in rows}
    assert "color: #00805c" in shown.cells({"verdict": "faster"})
    assert "A <b>trap</b>" in "".join(page.itertext())


def test_the_figures_of_the_report_are_axes(tmp_path):
    import matplotlib.pyplot as plt

    few = frames.make_study(ARMS[:3:2], lrs=(0.03, 0.1, 0.3), seeds=8, depth=1, layer_metrics=())
    results = ib.Results(*few, tmp_path)
    before = set(plt.get_fignums())
    forest = results.plot("forest")
    assert isinstance(forest, Axes)
    assert forest.figure.canvas.manager.num in set(plt.get_fignums()) - before
    assert "steps to target" in forest.get_xlabel()
    drawn = {line.get_color() for line in forest.lines} | {text.get_color() for text in forest.texts}
    assert not drawn & {tone.placeholder for tone in TONES.values()}
    panels = results.plot("rates")
    assert [isinstance(ax, Axes) for ax in panels] == [True] * 2
    with pytest.raises(InputError, match=r"plot\('fores'\): this study has no such figure; did you mean forest\?"):
        results.plot("fores")
    plt.close("all")


def test_run_says_how_far_it_is_unless_it_is_told_not_to(folder, capsys):
    small = [
        "init=eye",
        "sharing=none",
        "seeds=2",
        "optim.lr=0.1",
        "train.steps=2",
        "track.uri=null",
        "engine.workers=1",
    ]
    more = ["measure=none", "report.formats=[csv]"]
    ib.run([*small, *more], progress=False)
    assert capsys.readouterr() == ("", "")
    ib.run([*small, *more, "train.rerun=true"])
    said = capsys.readouterr()
    assert said.out == ""
    assert "100%, 2/2 runs of 1 arm" in said.err
