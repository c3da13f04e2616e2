"""A report from MLflow alone, and an arm against itself under other seeds with real training."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

import frames
import initbench as ib
from conftest import assert_template
from initbench import report, stats, track
from initbench.report.__main__ import main
from initbench.study.results import load


def test_the_report_of_an_experiment_is_that_of_its_folder(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arms = (("kaiming_normal", "none"), ("eye", "none"))
    runs, history, study = frames.make_study(arms, lrs=(0.1, 0.3), seeds=8, layer_metrics=())
    folder = frames.write_study(tmp_path / "outputs" / "default", runs, history, study)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    known = track.experiment(uri, "default")
    report.build(folder, formats="html,md,csv")
    assert track.fill(load(folder), uri, children="none").experiment_id == known
    assert main(["mlflow:default", "--format", "csv,md"]) == 0
    again = tmp_path / "outputs" / "default-mlflow"
    for name in ("leaderboard.csv", "comparisons.csv", "summary.csv", "effects.csv", "report.md"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert main(["mlflow:default", str(folder), "--format", "csv"]) == 0
    assert pd.read_csv(folder / "versus-default-mlflow.csv")["same_bits"].all()
    capsys.readouterr()
    assert main(["mlflow:nobody"]) == 2
    assert "mlflow:nobody: no such experiment" in capsys.readouterr().err
    assert "must be one of: initbench default" in main_error(["mlflow:nobody"], capsys)


def main_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_an_experiment_without_frames_says_so(tmp_path: Path, capsys):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    track.experiment(uri, "bare")
    assert "runs.parquet, history.parquet, study.json not attached" in main_error(["mlflow:bare", "--uri", uri], capsys)


@pytest.mark.parametrize("given", [[], ["--uri", "sqlite:///no/where.db"], ["--uri", "sqlite:///other.db"]])
def test_a_store_without_mlflow_s_tables_is_refused_and_left_as_it_is(given, folder, capsys):
    with sqlite3.connect("other.db") as other:
        other.execute("CREATE TABLE mine (x)")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    line = assert_template(main_error(["mlflow:x", *given], capsys).removesuffix("\n"))
    if "other.db" in " ".join(given):
        assert line.endswith(
            "--uri=sqlite:///other.db: not a database of MLflow; move it away, or set --uri to another file"
        )
    else:
        assert "no database at /" in line
        assert line.endswith("; repeat the study with track.uri on, or name its store with --uri")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_wrong_store_names_the_flag(folder, capsys):
    assert main_error(["mlflow:x", "--uri", "localhost:5000"], capsys) == (
        "initbench.report: --uri=localhost:5000: the scheme is missing; did you mean http://localhost:5000?\n"
    )
    assert list(folder.iterdir()) == []


def test_tracking_that_is_off_or_gone_gives_no_experiment(tmp_path: Path):
    assert track.experiment(None, "x") is None
    assert track.experiment("http://127.0.0.1:9", "x") is None


def test_an_arm_against_itself_under_other_seeds_is_not_called_different(tmp_path: Path):
    """Real training: the same setup on seeds 0..11 and 12..23, in two studies."""
    common = ["init=kaiming_normal", "sharing=none", "data=teacher", "model.depth=2", "model.width=16", "train.steps=120",
              "optim.lr=[0.03,0.1,0.3,1]", "train.target.value=0.8", "measure=none", "track.uri=null", "engine.workers=1",
              "report.formats=[csv]"]  # fmt: skip
    first, second = (
        ib.run([*common, f"seeds=[{','.join(map(str, seeds))}]", f"outputs={tmp_path}/{name}"])
        for name, seeds in (("a", range(12)), ("b", range(12, 24)))
    )
    row = stats.compare_studies(first.runs, second.runs, first.study, second.study).iloc[0]
    assert row["verdict"] in ("equivalent", "undecided")
    assert not row["paired"]
    assert row["reached_a"] >= 10
    assert row["ratio_low"] < 1 < row["ratio_high"]
