"""What is read back from disk: a folder or an archive that is torn, edited, foreign or newer is one line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import frames
from conftest import assert_template
from initbench import report
from initbench.errors import InputError
from initbench.report.__main__ import main
from initbench.store import archives
from initbench.store import parts as store
from initbench.store.parts import Store
from initbench.store.reading import digests, read_folder
from initbench.study.places import check_places
from initbench.study.results import Results, load

SMALL = (("kaiming_normal", "none"), ("eye", "none"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = frames.make_study(SMALL, lrs=(0.1,), seeds=3, steps=50, layer_metrics=())
    return frames.write_study(tmp_path_factory.mktemp("good") / "demo", *made)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "demo"))


def refused(folder: Path) -> str:
    """The line that everybody says of the folder."""
    with pytest.raises(InputError) as error:
        read_folder(folder)
    with pytest.raises(InputError) as again:
        load(folder)
    with pytest.raises(InputError) as once_more:
        report.open_source(folder)
    text = str(error.value)
    assert text == str(again.value) == str(once_more.value)
    return assert_template(text)


STUDIES = [
    (lambda study: {}, "schema is None"),
    (lambda study: [], "must be an object"),
    (lambda study: study | {"schema": 99}, "newer initbench .schema 99.*update initbench"),
    (lambda study: study | {"schema": True}, "schema is True"),
    (lambda study: study | {"schema": "1"}, "schema is 1, not 1"),
    (lambda study: study | {"arms": 5}, "arms must be a list"),
    (lambda study: study | {"arms": study["arms"] + study["arms"]}, "two arms have one label"),
    (lambda study: study | {"arms": [arm | {"status": "well"} for arm in study["arms"]]}, "status must be one of"),
    (lambda study: study | {"arms": [arm | {"layers": [{"layer": "a"}]} for arm in study["arms"]]}, "whole number"),
    (lambda study: study | {"arms": []}, "is not in study.json"),
    (lambda study: study | {"target": {"metric": 3, "value": 1}}, "target must be"),
    (lambda study: study | {"target": {"metric": "loss/train", "value": float("nan")}}, "target must be"),
    (lambda study: study | {"created": "yesterday"}, "created must be a date"),
    (lambda study: study | {"cautions": [{"title": "x"}]}, r"cautions\[0\].text is missing"),
    (lambda study: study | {"versions": 3}, "versions must be an object"),
    (lambda study: {key: value for key, value in study.items() if key != "study"}, "study is missing"),
    (lambda study: study | {"deep": json.loads("[" * 80 + "]" * 80)}, "nested deeper"),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "said"), STUDIES)
def test_a_study_json_that_is_wrong_is_one_line(edit, said, folder):
    path = folder / "study.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=said):
        read_folder(folder)
    assert refused(folder).startswith(f"{path}: " if "is not in study" not in said else f"{folder}")


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe{\x00}\x00", b'{"a": ' + b"9" * 5000 + b"}"])
def test_a_study_json_that_is_no_json_is_one_line(content, folder):
    (folder / "study.json").write_bytes(content)
    assert refused(folder).startswith(f"{folder / 'study.json'}: ")


RUNS = [
    (lambda runs: runs.assign(run="a"), "is there twice"),
    (lambda runs: runs.assign(**{"optim.lr": "a"}), "optim.lr must hold numbers"),
    (lambda runs: runs.assign(steps_to_target="soon"), "steps_to_target must hold numbers"),
    (lambda runs: runs.assign(steps_to_target=-1.0), "negative"),
    (lambda runs: runs.assign(steps_to_target=np.inf), "infinite"),
    (lambda runs: runs.assign(seed=0.5 + runs["seed"]), "not whole"),
    (lambda runs: runs.assign(seed=0), "same seed and learning rate"),
    (lambda runs: runs.assign(status="fine"), "status fine is none of"),
    (lambda runs: runs.assign(status="failed"), "failed run has arrived"),
    (lambda runs: runs.assign(arm="stranger"), "stranger is not in study.json"),
    (lambda runs: runs.assign(setup="stranger"), "another setup"),
    (lambda runs: runs.assign(arm=7), "arm must hold text"),
    (lambda runs: runs.assign(arm=None), "arm must hold text|empty cells"),
    (lambda runs: runs.drop(columns="status"), "status is missing"),
    (lambda runs: runs.iloc[:0], "no run in it"),
    (lambda runs: runs.assign(extra=[[1]] * len(runs)), "of type list"),
    (lambda runs: runs.assign(**{"accuracy/train": 95.0}), "accuracy above 1"),
]  # fmt: skip


HISTORIES = [
    (lambda rows: rows.assign(run="stranger"), "runs.parquet does not hold"),
    (lambda rows: rows.assign(step=-1), "negative"),
    (lambda rows: rows.assign(step=0.5), "whole numbers"),
    (lambda rows: rows.assign(value="a"), "value must hold numbers"),
    (lambda rows: rows.drop(columns="layer"), "layer is missing"),
    (lambda rows: rows.assign(run=rows["run"].astype(object).where(rows.index > 0)), "values of no run"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "edit", "said"), [*(("runs", *one) for one in RUNS), *(("history", *one) for one in HISTORIES)]
)
def test_a_frame_that_cannot_be_is_one_line(name, edit, said, folder):
    path = folder / f"{name}.parquet"
    edit(pd.read_parquet(path)).to_parquet(path)
    with pytest.raises(InputError, match=said):
        read_folder(folder)
    assert refused(folder).startswith(f"{path}: ")


@pytest.mark.parametrize("name", ["study.json", "runs.parquet", "history.parquet"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "torn", "empty", "gone", "noise"])
def test_what_is_no_file_of_a_study_is_one_line_at_once(name, kind, folder):
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("nowhere")
    elif kind != "gone":
        path.write_bytes({"torn": content[: len(content) // 2], "empty": b"", "noise": bytes(range(256)) * 20}[kind])
    assert name in refused(folder)


def test_a_frame_that_claims_more_rows_than_memory_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("initbench.memory.available", lambda: 1000)
    assert "GB are free" in refused(folder)


def test_long_names_repeated_by_reference_are_not_read(folder, monkeypatch):
    path = folder / "runs.parquet"
    runs = pd.read_parquet(path)
    runs.assign(**{"init.name": "a" * 10**6}).to_parquet(path)
    monkeypatch.setattr("initbench.memory.available", lambda: 10**6)
    assert "GB of memory" in refused(folder)


def test_a_flipped_bit_is_noticed_and_older_folders_are_read(folder):
    before = read_folder(folder)  # without digests, as older versions wrote
    Results(before[0], before[1], before[2], folder).save()
    runs, _, study = read_folder(folder)
    assert study["frames"] == digests(folder)
    pd.testing.assert_frame_equal(runs, before[0])
    runs.assign(steps_to_target=1.0).to_parquet(folder / "runs.parquet", index=False)
    assert "its bytes are not those that study.json was written for" in refused(folder)


# ---- archives


@pytest.fixture
def archive(folder: Path) -> Path:
    report.build(folder, formats="archive")
    return folder / "study.zip"


def repacked(path: Path, edit) -> Path:
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        edit(members, new)
        for name, content in members.items():
            new.writestr(name, content)
    return path


def test_an_archive_is_read_whatever_else_it_holds(archive, tmp_path):
    repacked(archive, lambda members, new: members.update({"../evil.txt": b"x", "inner.zip": b"PK", "a/b": b""}))
    source = report.open_source(archive)
    assert len(source.runs) == 6
    assert not list(tmp_path.rglob("evil.txt"))


def _bomb(members, new):
    members["history.parquet"] = b"\0" * 30_000_000


def _link(members, new):
    entry = zipfile.ZipInfo("runs.parquet")
    entry.external_attr = 0o120777 << 16
    new.writestr(entry, "/etc/passwd")
    members.pop("runs.parquet")


def _twice(members, new):
    new.writestr("study.json", members["study.json"])


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_bomb, "which no study does"),
        (_link, "not a regular file"),
        (_twice, "more than once"),
        (lambda members, new: members.pop("runs.parquet"), "runs.parquet is not in it"),
    ],
)
def test_an_archive_that_is_none_is_one_line(edit, said, archive, capsys):
    assert main([str(repacked(archive, edit)), "--format", "md"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in assert_template(err.removesuffix("\n"))


def test_an_archive_larger_than_the_disk_or_than_it_declares_is_refused(archive, monkeypatch):
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(InputError, match="10 are free"):
        report.open_source(archive)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_what_is_no_zip_is_one_line(content, tmp_path):
    (tmp_path / "study.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"empty|not an archive of a study"):
        report.open_source(tmp_path / "study.zip")


# ---- the store and what is in the way


def test_a_damaged_part_is_set_aside_and_said(tmp_path):
    part = tmp_path / "key" / f"part-{'0' * 64}.parquet"
    part.parent.mkdir()
    part.write_bytes(b"x")
    store.damaged.clear()
    assert Store(tmp_path).runs("key") == set()
    assert store.damaged == [
        f"{part}: damaged (its bytes are not those that were written); set aside as damaged-{part.name}, "
        "its runs are trained again"
    ]
    store.damaged.clear()


def test_a_well_named_part_of_something_else_is_set_aside(tmp_path):
    pq.write_table(pa.table({"seed": [1]}), tmp_path / "x")
    content = (tmp_path / "x").read_bytes()
    part = tmp_path / "key" / f"part-{hashlib.sha256(content).hexdigest()}.parquet"
    part.parent.mkdir()
    part.write_bytes(content)
    assert Store(tmp_path).runs("key") == set()
    assert "no part of a store" in store.damaged.pop()


def test_a_part_that_is_a_folder_is_one_line(tmp_path):
    (tmp_path / "key" / "part-1.parquet").mkdir(parents=True)
    with pytest.raises(InputError, match=r"cannot be used .Is a directory.; move it away"):
        Store(tmp_path).runs("key")


@pytest.mark.parametrize(
    ("place", "is_folder"),
    [("store", False), ("store/key", False), ("x", False), ("x/figures", False), ("x/runs.parquet", True),
     ("x/report.html", True), ("x/study.json", True)],
)  # fmt: skip
def test_what_is_in_the_way_is_named_before_training(place, is_folder, tmp_path):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if is_folder else path.write_text("mine")
    with pytest.raises(InputError, match="move it away") as error:
        check_places(str(tmp_path), "x", ["key"])
    assert str(path) in str(error.value)


def test_a_folder_in_the_place_of_a_report_is_one_line(folder, capsys):
    (folder / "report.md").mkdir()
    assert main([str(folder), "--format", "md"]) == 2
    assert f"{folder / 'report.md'}: a folder where a file belongs; move it away" in capsys.readouterr().err
