"""`python -m initbench.export`: what each tool reads back is what the study holds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import frames
import initbench as ib
from conftest import assert_template
from initbench.export.__main__ import main

ARMS = [("eye", "none"), ("normal_001", "all")]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    made = frames.make_study(ARMS, lrs=(0.1, 0.3), seeds=2, steps=30, depth=2, failed=[("normal_001", "all")])
    folder = frames.write_study(tmp_path / "s", *made)
    return folder


def trained(study: Path) -> pd.DataFrame:
    """The values of the whole net: run, step, metric, value."""
    results = ib.load(study)
    history = results.history[results.history["layer"].isna()].astype({"run": str, "metric": str})
    done = results.runs.loc[results.runs["status"] != "failed", "run"]
    return history[history["run"].isin(done)]


def test_csv_files_hold_the_frames(study, capsys):
    assert main([str(study), "--to", "csv", "--metrics", "loss/train"]) == 0
    assert "runs.csv, history.csv, leaderboard.csv, comparisons.csv in" in capsys.readouterr().out
    own = ib.load(study)
    assert pd.read_csv(study / "csv/runs.csv")["run"].tolist() == own.runs["run"].tolist()
    history = pd.read_csv(study / "csv/history.csv")
    assert set(history["metric"]) == {"loss/train"}
    assert len(history) == (own.history["metric"] == "loss/train").sum()
    first = {path.name: path.read_bytes() for path in (study / "csv").iterdir()}
    assert main([str(study), "--to", "csv", "--metrics", "loss/train, loss/train"]) == 0
    assert {path.name: path.read_bytes() for path in (study / "csv").iterdir()} == first
    mine = study / "mine/leaderboard.csv"
    mine.parent.mkdir()
    mine.write_text("name,points\n")
    assert main([str(study), "--to", "csv", "--out", str(mine.parent)]) == 2
    assert f"{mine}: it is there, and no earlier export wrote it; name another --out" in capsys.readouterr().err
    assert [path.name for path in mine.parent.iterdir()] == ["leaderboard.csv"]
    assert pd.read_csv(study / "csv/comparisons.csv")["verdict"].tolist() == own.compare()["verdict"].tolist()


def test_tensorboard_reads_every_curve_and_what_was_asked(study, tmp_path, capsys):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "tb"
    assert main([str(study), "--to", "tensorboard", "--out", str(out)]) == 0
    assert f"4 runs; look at them with: tensorboard --logdir {out}" in capsys.readouterr().out
    found, expected = 0, trained(study)
    for events in sorted({path.parent for path in out.rglob("events.*")}):
        read = EventAccumulator(str(events)).Reload()
        lr, seed = events.name.removeprefix("lr=").split("-seed=")
        runs = ib.load(study).runs
        run = runs.loc[
            (runs["optim.lr"] == float(lr)) & (runs["seed"] == int(seed)) & (runs["status"] != "failed"), "run"
        ]
        for metric, part in expected[expected["run"] == run.item()].groupby("metric"):
            points = read.Scalars(metric)
            assert [point.step for point in points] == part.sort_values("step")["step"].tolist()
            assert [point.value for point in points] == pytest.approx(
                part.sort_values("step")["value"].tolist(), nan_ok=True
            )
            found += len(points)
        assert "_hparams_/session_start_info" in read.summary_metadata
    assert found == len(expected)
    assert main([str(study), "--to", "tensorboard", "--out", str(out)]) == 2
    assert "it is not empty, and curves would be added to those in it; name another --out" in capsys.readouterr().err


def records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file, a log of LevelDB after seven bytes: blocks of 32 KiB, each piece after checksum, length and
    kind (1 whole, 2 first, 3 middle, 4 last)."""
    at, found = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        found += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield found
            found = b""


@pytest.mark.slow
def test_wandb_writes_every_run_offline(tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    made = frames.make_study(ARMS[:1], lrs=(0.1,), seeds=2, steps=30, depth=2)  # each run takes seconds
    study, out = frames.write_study(tmp_path / "s", *made), tmp_path / "wb"
    assert main([str(study), "--to", "wandb", "--out", str(out), "--metrics", "loss/train"]) == 0
    assert f"wandb sync {out}/wandb/offline-run-*" in capsys.readouterr().out
    from wandb.proto import wandb_internal_pb2

    files = sorted(out.rglob("*.wandb"))
    assert len(files) == 2
    values = []
    for file in files:
        for data in records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            values += [float(items["loss/train"])] if "loss/train" in items else []
    expected = trained(study)
    expected = expected.loc[expected["metric"] == "loss/train", "value"]
    assert sorted(values) == pytest.approx(sorted(expected))


@pytest.mark.parametrize("tool", ["tensorboard", "wandb"])
def test_a_missing_library_is_one_line_and_nothing_is_written(tool, study, monkeypatch, capsys):
    from initbench.export import tools

    def missing(name: str):
        raise ModuleNotFoundError(f"No module named {tool!r}", name=tool)

    monkeypatch.setattr(tools, "import_module", missing)
    before = sorted(study.rglob("*"))
    assert main([str(study), "--to", tool]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"--to {tool}: {tool} is not installed; python -m pip install {tool}" in said
    assert_template(said.removeprefix("initbench.export: "))
    assert sorted(study.rglob("*")) == before


def test_wrong_words_are_one_line(study, capsys):
    for argv, words in (
        ([str(study), "--to", "csv", "--metrics", "los/train"], "--metrics los/train: this study has no such metric; did you mean loss/train?"),
        ([str(study), "--to", "excel"], "invalid choice: 'excel'"),
        ([str(study / "nothing"), "--to", "csv"], "nothing"),
    ):  # fmt: skip
        assert main(argv) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert words in said
