"""One truth a page: every number of a study that is shown in several places is the same in all of them.

A real small study and a hand-made one with more kinds of rows: sentences, tables, figures (their SVG text), CSV files,
report.md, and MLflow's metrics, notes and order of rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import frames
import initbench as ib
from initbench import report, stats, track
from initbench.grammar import probability
from initbench.report import numbers as num
from initbench.study.results import load
from initbench.track.store import experiment_name

ARMS = (("kaiming_normal", "none"), ("eye", "all"), ("orthogonal", "none"), ("late", "none"), ("normal_001", "none"),
        ("dies", "none"), ("rare", "none"))  # fmt: skip


class Shown:
    """All that a person can read of one study."""

    def __init__(self, folder: Path, uri: str) -> None:
        from mlflow import MlflowClient

        self.source = report.open_source(folder)
        self.board, self.pairs, self.summary = (
            pd.read_csv(folder / f"{name}.csv") for name in ("leaderboard", "comparisons", "summary")
        )
        for frame in (self.board, self.pairs, self.summary):
            frame.set_index("setup", inplace=True, drop=False)
        self.copies = set(
            self.board.loc[self.board["same_as"].notna(), "setup"]
        )  # the same nets: counted and drawn once
        self.html = unescape((folder / "report.html").read_text(encoding="utf-8"))
        self.markdown = (folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
        client = MlflowClient(tracking_uri=uri)
        self.experiment = client.get_experiment_by_name(experiment_name(str(self.source.study["study"])))
        runs = client.search_runs([self.experiment.experiment_id], order_by=["attributes.start_time DESC"])
        self.arms = [run for run in runs if run.data.tags.get("initbench.kind") == "arm"]
        self.curves = {
            run.data.tags["initbench.setup"]: client.get_metric_history(run.info.run_id, "loss/train")
            for run in self.arms
        }
        self.notes = {run.data.tags["initbench.setup"]: run.data.tags["mlflow.note.content"] for run in self.arms}

    def section(self, key: str) -> str:
        return re.search(rf'<section id="{key}".*?</section>', self.html, re.S)[0]

    def sentence(self, key: str) -> str:
        return re.sub(r"<[^>]+>", "", re.search(r"<p>(.*?)</p>", self.section(key), re.S)[1])

    def text(self) -> str:
        return re.sub(r"<[^>]+>", "", self.section("answer"))

    def table(self, key: str) -> list[dict[str, str]]:
        """The table of a section, its rows as {head: text}."""
        found = re.search(r"<table.*?</table>", self.section(key), re.S)[0]
        heads = [clean(h) for h in re.findall(r"<th scope=\"col\".*?</th>", found, re.S)]
        rows = re.findall(r"<tr(?: id=\"[^\"]*\")?><th scope=\"row\">.*?</tr>|<tr id=.*?</tr>", found, re.S)
        return [dict(zip(heads, (clean(c) for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)))) for row in rows]

    def drawn(self, figure: str) -> list[list[str]]:
        """The texts of a figure, line by line."""
        svg = re.search(rf'<svg[^>]*aria-labelledby="{figure}0-t.*?</svg>', self.html, re.S)[0]
        texts = [
            (float(y), float(x), t) for x, y, t in re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)">([^<]*)<', svg)
        ]
        lines: dict[int, list[tuple[float, str]]] = {}
        for y, x, text in texts:
            at = next((line for line in lines if abs(line - y) < 2), round(y))
            lines.setdefault(at, []).append((x, text))
        return [[text for _, text in sorted(lines[y])] for y in sorted(lines)]


def clean(cell: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", cell)).strip()


@pytest.fixture(scope="module", params=["real", "made"])
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    root = tmp_path_factory.mktemp("truth")
    uri = f"sqlite:///{root}/mlflow.db"
    if request.param == "real":
        done = ib.run(["init=kaiming_normal,identity,eye,xavier_normal,normal_001", "sharing=none", "seeds=10", "optim.lr=[0.1,0.3,1,3]",
                       "model.depth=3", "model.width=24", "train.steps=70", "measure=none", "engine.workers=1", "study=truth",
                       "report.formats=[html,md,csv]", "track.children=none", f"outputs={root}", f"track.uri={uri}"])  # fmt: skip
        return Shown(Path(done.folder), uri)
    runs, history, study = frames.make_study(ARMS, lrs=(0.03, 0.1, 0.3, 1.0), scatter=0.35, layer_metrics=())
    rng = np.random.default_rng(2)
    late = (runs["init.name"] == "late") & (runs["seed"] > 3)
    lost = (runs["init.name"] == "dies") & (rng.random(len(runs)) < 0.7)
    rare = (runs["init.name"] == "rare") & ~(
        (runs["seed"] == 9) & (runs["optim.lr"] == 0.1)
    )  # only at rates chosen with it
    runs.loc[late | lost | rare, ["steps_to_target", "flops_to_target", "gap_at_target"]] = np.nan
    runs.loc[lost, "status"], runs.loc[lost, "loss/train"] = "diverged", np.nan
    gone = history["run"].isin(runs.loc[lost, "run"]) & (history["step"] > 0)
    history.loc[gone, "value"] = np.nan
    runs.loc[lost, "diverged_at"] = 1
    folder = frames.write_study(root / "made", runs, history, study)
    report.build(folder, formats="html,md,csv")
    track.fill(load(folder), uri, children="none")
    return Shown(folder, uri)


def same(one: float, two: float) -> bool:
    return bool(one == two or (np.isnan(one) and np.isnan(two)) or abs(one - two) <= 1e-12 * abs(one))


def test_every_place_ranks_alike(shown: Shown):
    order = list(shown.board["setup"])
    nets = [setup for setup in order if setup not in shown.copies]
    assert list(shown.board.loc[nets, "rank"]) == list(range(1, len(nets) + 1))
    assert [row["Setup"] for row in shown.table("all")] == order
    assert re.findall(r"^\| \d+ \| (.*?) \|", shown.markdown, re.M) == order
    assert [run.data.tags["initbench.setup"] for run in shown.arms] == order
    assert [run.data.metrics["rank"] for run in shown.arms] == list(shown.board["rank"])
    note = shown.experiment.tags["mlflow.note.content"]
    assert re.findall(r"^\| \d+ \| (.*?) \|", note, re.M) == order
    in_forest = [line for line in shown.drawn("forest") if line[0] in order]
    assert [line[0] for line in in_forest] == nets
    assert re.search(rf", {re.escape(order[0])}( \([^()]*\))?$", shown.text().split(" reaches ")[0])


def test_numbers_of_an_arm_are_the_same_everywhere(shown: Shown):
    note = dict(re.findall(r"^\| \d+ \| (.*?) \| (.*) \|$", shown.experiment.tags["mlflow.note.content"], re.M))
    forest = {line[0]: line[1:] for line in shown.drawn("forest")}
    tables = {row["Setup"]: row for row in shown.table("all")}
    lines = {line.split(" | ")[1]: line for line in shown.markdown.splitlines() if re.match(r"\| \d+ \|", line)}
    for run in shown.arms:
        setup, metrics = run.data.tags["initbench.setup"], run.data.metrics
        row, sums, table = shown.board.loc[setup], shown.summary.loc[setup], tables[setup]
        # counts
        arrived = f"{row['reached']}/{row['n']}"
        assert table["Arrived"].split()[0] == arrived
        assert arrived in lines[setup]
        assert setup in shown.copies or arrived in forest[setup]
        assert (sums["reached"], sums["n"]) == (row["reached"], row["n"])
        assert metrics["share_reached"] * metrics["n"] == row["reached"]
        assert metrics["trained_share"] == row["share"]
        assert [int(x) for x in note[setup].split(" | ")[1:3]] == [row["n"], row["reached"]]
        assert table["Div. / failed"] == f"{row['diverged']} / {row['failed']}"
        assert (
            (metrics["diverged"], metrics["failed"])
            == (row["diverged"], row["failed"])
            == (sums["diverged"], sums["failed"])
        )
        # steps, with their interval
        assert same(row["steps"], sums["steps"])
        assert [row[name] for name in ("steps_low", "steps_high")] == [
            sums[name] for name in ("steps_low", "steps_high")
        ]
        assert same(row["steps"], metrics.get("steps_to_target_median", np.inf))
        assert table["Steps to target"].split(" ")[0] == num.steps(row["steps"])
        span = "" if row["steps_low"] == np.inf else num.interval(row["steps_low"], row["steps_high"])
        assert f"{num.steps(row['steps'])} {span}".strip() == table["Steps to target"]
        assert setup in shown.copies or num.steps(row["steps"]) in forest[setup]
        assert note[setup].split(" | ")[3] == ("never" if np.isinf(row["steps"]) else f"{row['steps']:g}")
        # learning rate
        assert same(row["lr"], metrics["lr_chosen"])
        assert same(row["lr"], sums["lr"])
        assert table["lr"].split(" ")[0] == num.rate(row["lr"])
        if setup not in shown.copies:
            assert forest[setup][-1 if setup == row["baseline"] else -2].rstrip("↑↓") == num.rate(row["lr"])
        assert note[setup].split(" | ")[0] == num.rate(row["lr"])
        assert f"| **{row['lr']:g}** | **{row['n']}** | **{row['reached']}** |" in shown.notes[setup]
        # final losses
        assert same(row["loss_train"], sums["final_loss"])
        assert same(row["loss_train"], metrics.get("loss_train", np.inf))
        assert table["Train loss"] == num.real(row["loss_train"])
        assert note[setup].split(" | ")[4] == (
            "diverged" if np.isinf(row["loss_train"]) else num.real(row["loss_train"])
        )
        assert same(metrics.get(f"lr_{row['lr']:g}/loss_train", np.inf), row["loss_train"])
        last = max(shown.curves[setup], key=lambda point: point.step)
        if np.isfinite(row["loss_train"]):
            assert same(last.value, row["loss_train"])
        assert same(metrics.get("accuracy_val", -np.inf), row["accuracy_val"])
        assert table["Val acc."] == num.percent(row["accuracy_val"])
        assert table["FLOPs to target"] == num.big(row["flops_to_target"])
        assert same(metrics.get("flops_to_target_median", np.inf), row["flops_to_target"])


def test_the_curves_of_the_figures_end_at_the_numbers_of_the_table(shown: Shown):
    source = shown.source
    bands = stats.loss_bands(source.history, source.chosen[source.chosen["status"] != "failed"])
    ends = bands.sort_values("step").groupby("arm").tail(1).set_index("arm")["median"]
    for _, row in source.board.iterrows():
        assert same(ends[row["arm"]], row["loss_train"])
    text = shown.sentence("losses")
    known = shown.board[np.isfinite(shown.board["loss_train"])]
    best, worst = known.loc[known["loss_train"].idxmin()], known.loc[known["loss_train"].idxmax()]
    assert f"runs from {num.real(best['loss_train'])} ({best['setup']}) to {num.real(worst['loss_train'])}" in text
    in_mlflow = {run.data.tags["initbench.setup"]: run.data.metrics.get("loss_train", np.inf) for run in shown.arms}
    assert min(in_mlflow, key=lambda setup: in_mlflow[setup]) == best["setup"]
    died = [line for line in shown.drawn("losses") if any("diverged" in text for text in line)]
    counts = re.findall(r"diverged (\d+/\d+)", " ".join(text for line in died for text in line))
    assert sorted(counts) == sorted(f"{r['diverged']}/{r['n']}" for _, r in picked(shown) if r["diverged"])


def picked(shown: Shown) -> Iterator[tuple[Any, pd.Series]]:
    from initbench.report.figures.common import picked as arms

    return shown.board[shown.board["arm"].isin(arms(shown.board))].iterrows()


def test_every_count_of_verdicts_is_one_count(shown: Shown):
    pairs, board = (table.drop(index=list(shown.copies)) for table in (shown.pairs, shown.board))
    words = pairs.loc[pairs["verdict"] != "baseline", "verdict"].value_counts().to_dict()
    assert board.loc[board["verdict"] != "baseline", "verdict"].value_counts().to_dict() == words
    told = {
        "answer": shown.text(),
        "forest": shown.sentence("fastest"),
        "methods": shown.section("methods").split("Verdicts: ")[1],
        "markdown": shown.markdown.split("Against ")[1],
    }
    for place, text in told.items():
        for word in ("faster", "slower", "equivalent", "undecided"):
            found = re.search(rf"(\d+) {word}", text)
            assert (int(found[1]) if found else 0) == words.get(word, 0), (place, word)
            assert bool(found) == (word in words), (place, word)
    forest = {line[0]: line[-1] for line in shown.drawn("forest")}
    table = {row["Setup"]: row["Verdict"] for row in shown.table("all")}
    for setup, row in shown.pairs.iterrows():
        if setup in shown.copies:
            assert table[setup] == f"= {row['same_as']} the same nets"
            assert row["verdict"] == shown.pairs.loc[row["same_as"], "verdict"]
            continue
        assert forest[setup] == row["verdict"] or row["verdict"] == "baseline"
        assert table[setup].split(" ")[0] == row["verdict"]
    if "decide" in re.findall(r'<section id="([^"]+)"', shown.html):
        assert f"{words['undecided']} comparison" in shown.sentence("decide")
    several = re.search(r"Undecided: (\d+) of (\d+) comparison", shown.text())
    assert several is None or [int(x) for x in several.groups()] == [words.get("undecided", 0), len(pairs) - 1]


def test_comparisons_say_one_thing(shown: Shown):
    table = {row["Setup"]: row for row in shown.table("all")}
    open_ = shown.pairs[shown.pairs["verdict"] == "undecided"]
    decide = {row["Setup"]: row for row in shown.table("decide")} if len(open_) else {}
    against = {line[0]: line[-1] for line in shown.drawn("against")}
    for setup, row in shown.pairs.iterrows():
        bullet = next((line for line in shown.markdown.splitlines() if line.startswith(f"- **{setup}** ")), "")
        board = shown.board.loc[setup]
        for name in ("ratio", "ratio_low", "ratio_high", "pairs"):
            assert same(float(row[name]), float(board[name]))
        assert (row["reached"], row["n"], row["lr"]) == (board["reached"], board["n"], board["lr"])
        if row["verdict"] == "baseline" or setup in shown.copies:
            continue
        ratio = f"{num.times(row['ratio'])} {num.interval(row['ratio_low'], row['ratio_high'], num.times)}".strip()
        assert table[setup]["Ratio"] == ratio
        if np.isnan(row["ratio"]):
            theirs = shown.board.loc[row["baseline"]]
            assert f"{board['reached']}/{board['n']} seeds arrive against {theirs['reached']}/{theirs['n']}" in bullet
        else:
            assert f"{ratio} the steps, n={row['pairs']}" in bullet
        p = [round(float(row[name]), 2) for name in ("p_faster", "p_faster_low", "p_faster_high")]
        assert against[setup] == f"{p[0]:.2f} [{p[1]:.2f}, {p[2]:.2f}]"
        if row["verdict"] != "undecided":
            continue
        assert board["reason"] == row["reason"]
        assert table[setup]["Verdict"] == f"undecided {row['reason']}"
        assert f"({row['reason']})" in bullet
        mine = decide[setup]
        assert (mine["Why undecided"], mine["Ratio"]) == (row["reason"], num.times(row["ratio"]))
        assert mine["P after Holm"] == num.probability(row["p_holm"])
        assert mine["Seeds in total"] == num.whole(row["seeds_needed"])
        assert mine["Try"] == " or ".join(["decide=true", *([row["decide"]] if isinstance(row["decide"], str) else [])])
        if row["reason"].endswith("comparisons"):
            assert row["reason"].endswith(
                f"p {probability(row['p'])}, {probability(row['p_holm'])} after correction for {row['family']} comparisons"
            )


def test_counts_of_those_who_never_arrived(shown: Shown):
    cells = sum(row["Steps to target"].startswith("never") for row in shown.table("all"))
    none = int((shown.board["reached"] == 0).sum())
    assert cells == int(np.isinf(shown.board["steps"]).sum())
    said = re.search(
        r"(\d+) of \d+ setups never arrived\.|In (\d+) of \d+ setups half of the seeds or more never arrived",
        shown.text(),
    )
    assert int(said[1] or said[2]) == cells
    assert bool(said[1]) == (cells == none)
    every = re.search(r"in (\d+) of them every seed", shown.text())
    assert (int(every[1]) if every else 0) == (none if said[2] else 0)


def test_counts_of_runs_and_arms(shown: Shown):
    runs = shown.source.runs
    four = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", shown.section("answer")))
    assert four["arms"] == str(len(shown.board))
    assert four["runs"] == f"{len(runs):,}"
    assert four["never arrived"] == f"{int(runs['steps_to_target'].isna().sum()):,}"
    assert f"{len(runs):,} runs in all" in shown.section("methods")
    assert f"· {len(runs):,} runs ·" in shown.html
    assert f"{len(runs):,} runs of up to" in shown.text()
    assert f"{four['diverged / failed']} diverged / failed" in shown.markdown
    other = int(shown.source.profile.loc[~shown.source.profile["chosen"], "n"].sum())
    assert f"The choice took {other:,} of {len(runs):,} runs" in shown.sentence("rates")


def test_other_targets_repeat_the_page_at_its_own(shown: Shown):
    own = num.target_words(*shown.source.target)
    for row in shown.table("elsewhere"):
        board = shown.board.loc[row["Setup"]]
        never = np.isinf(board["steps"])
        text = f"#{board['rank']}, {num.steps(board['steps'])}{'' if never else ' steps'} {board['reached']}/{board['n']} arrived"
        word = "" if board["verdict"] == "baseline" else f", {board['verdict']}"
        assert row[own] == text + word


def test_the_target_says_on_how_many_samples(shown: Shown):
    on = num.measured_on(shown.source.study)
    assert on in shown.html.split("</header>")[0]
    assert on in shown.section("methods")
    assert f"{on} (train.eval_samples)" in shown.section("answer")


def test_power_is_told_beside_what_was_called(shown: Shown):
    found = re.search(r"the smallest called is ([\d.]+)x, the largest not called ([\d.]+)x", shown.text())
    tested = shown.pairs[shown.pairs["test"] == "ratio"]
    size = np.exp(np.abs(np.log(tested["ratio"])))
    called = size[tested["verdict"].isin(["faster", "slower"])]
    open_ = size[(tested["verdict"] == "undecided") & (tested["p_holm"] >= 0.05)]
    assert bool(found) == (len(called) > 0 and len(open_) > 0)
    if found:
        assert [f"{found[1]}x", f"{found[2]}x"] == [num.times(called.min()), num.times(open_.max())]
