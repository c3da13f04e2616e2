"""The same command again: nothing is made twice, and whatever is not as it was is made anew with the same bytes."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from initbench.__main__ import main
from initbench.study import again, provenance
from initbench.study import command as study
from initbench.track import state
from initbench.track.uri import sqlite_uri

COMMAND = [
    *("init=eye,zeros,dirac", "sharing=none", "seeds=3", "optim.lr=[0.1,0.3]", "train.steps=5", "engine.workers=1"),
    *("train.target.value=0.2", "study=s"),
]
QUIET = [*COMMAND, "track.uri=null", "report.formats=[md,csv,archive]"]  # the page takes a second
COMMAND += ["report.formats=[html,md,csv,archive]"]
S = Path("outputs", "s")


def there() -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in S.iterdir()}


def lasting() -> dict[str, bytes]:
    """Files that do not say when they were made, and the names of all."""
    files = {path.name: path.read_bytes() for path in S.iterdir() if path.suffix in (".csv", ".parquet")}
    return files | {path.name: b"" for path in S.iterdir() if path.name not in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder in which the untracked command was given once."""
    folder = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(QUIET) == 1  # dirac does not apply
    return folder


@pytest.fixture
def made(monkeypatch):
    """How often a command collects what it made."""
    times = []
    collect = study.collect
    monkeypatch.setattr(study, "collect", lambda *args, **kwargs: times.append(1) or collect(*args, **kwargs))
    return times


@pytest.fixture
def once(first, tmp_path, monkeypatch, made):
    shutil.copytree(first / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return made


def said(command, capsys) -> list[str]:
    """What a command says of its results."""
    capsys.readouterr()
    assert main(command) == 1
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("done in")]


def test_nothing_is_made_twice_and_the_same_is_said(once, capsys):
    before = there()
    again_said = said(QUIET, capsys)
    assert said(QUIET, capsys) == again_said
    assert once == []
    assert there() == before
    assert said([*QUIET, "train.rerun=true"], capsys) == again_said  # the board of the note is the leaderboard
    assert once == [1]


def edited(name):
    path = S / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def relabelled(old, new):
    note = S / again.NOTE
    text = note.read_text()
    assert f'"{old}"' in text
    note.write_text(text.replace(f'"{old}"', f'"{new}"'))


HARMS = {
    "no report": lambda: (S / "report.md").unlink(),
    "another table": lambda: edited("leaderboard.csv"),
    "torn history": lambda: (S / "history.parquet").write_bytes((S / "history.parquet").read_bytes()[:50]),
    "another study.json": lambda: edited("study.json"),
    "no note": lambda: (S / again.NOTE).unlink(),
    "no JSON": lambda: edited(again.NOTE),
    "another board": lambda: relabelled("eye", "best"),
    "nested": lambda: (S / again.NOTE).write_text("[" * 100_000),
    "a note that is a list": lambda: (S / again.NOTE).write_text("[]"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_not_as_it_was_is_made_anew(once, harm):
    before = lasting()
    HARMS[harm]()
    assert main(QUIET) == 1
    assert once == [1]
    assert lasting() == before


def test_what_was_made_otherwise_is_made_anew(once, monkeypatch):
    assert main([*QUIET[:-1], "report.formats=[md]"]) == 1
    assert main([*QUIET, "report.baseline=zeros"]) == 1
    assert main([*QUIET[:2], "seeds=4", *QUIET[3:]]) == 1
    assert once == [1] * 3
    assert main(QUIET) == 1  # fewer runs
    assert main(QUIET) == 1
    assert once == [1] * 4
    monkeypatch.setattr(again, "_code", lambda: ["another version"])
    assert main(QUIET) == 1
    assert once == [1] * 5


@pytest.mark.parametrize("package", ["matplotlib", "pandas"])
def test_what_another_version_of_a_library_made_is_made_anew(once, monkeypatch, package):
    again._code.cache_clear()
    true = provenance.installed
    other = lambda name: "0" if name == package else true(name)  # noqa: E731
    monkeypatch.setattr(provenance, "installed", other)
    monkeypatch.setattr(again, "installed", other)
    assert main(QUIET) == 1
    assert once == [1]
    again._code.cache_clear()


def sql(text):
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute(text)


def test_records_that_are_not_there_any_more_are_written_anew(folder, made):
    assert main(COMMAND) == 1
    assert main(COMMAND) == 1
    assert made == [1]
    sql("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'report'")
    assert main(COMMAND) == 1
    assert made == [1, 1]
    before = state(sqlite_uri(Path("mlflow.db")), "1")
    sql("UPDATE runs SET status = 'RUNNING' WHERE name LIKE 'lr=%'")
    assert state(sqlite_uri(Path("mlflow.db")), "1") not in (before, None)
