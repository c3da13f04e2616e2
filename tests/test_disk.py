"""A disk that refuses: one line names the file, nothing torn is left, and the same command completes later."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pandas as pd
import pytest

import initbench as ib
from initbench import inspect as look
from initbench import predict
from initbench.__main__ import main
from initbench.cli import ending
from initbench.disk import naming, published
from initbench.report.__main__ import main as report_main
from initbench.store.parts import Store
from initbench.study import again, begun
from initbench.study import launch as job
from initbench.study.results import Results

COMMAND = [
    *("init=eye,zeros", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", "track.uri=null"),
    *("engine.workers=1", "report.formats=[csv,archive]", "study=s"),
]
S = Path("outputs", "s")
FULL = OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")


def left_over() -> list[Path]:
    kept = (".hydra", again.NOTE, begun.RECORD)
    return [path for path in Path("outputs").rglob("*") if path.name[0] == "." and path.name not in kept]


@pytest.fixture
def limited():
    """Limits the size of files that this process writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# the files of one command in the order in which it writes them, with what a file may hold
WRITERS = {
    10_000: Path("outputs", "store"),  # a part
    22_000: S / "history.parquet",  # Arrow
    33_000: S / "runs.parquet",  # pandas
    60_000: S / "study.zip",
}


def test_a_file_that_grows_too_large_is_named_and_the_same_command_goes_on(folder, capsys, limited):
    ib.run(["init=eye", *COMMAND[1:], "outputs=before"])  # what a process makes once is made
    for size, file in WRITERS.items():
        limited(size)
        assert main(COMMAND) == 1
        limited(resource.RLIM_INFINITY)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert "Error executing" not in err
        (line,) = [line for line in err.splitlines() if line.startswith("initbench: ")]
        assert line.startswith(f"initbench: {file}")
        assert line.endswith(
            ": File too large; raise the limit on file sizes (ulimit -f), then run the same command again: finished runs are stored"
        )
        assert left_over() == []
    assert main(COMMAND) == 0
    assert "4 already stored" in capsys.readouterr().err
    assert len(ib.load(S).runs) == 4
    before = {path.name: path.read_bytes() for path in S.iterdir() if path.is_file()}
    for size, write, file in ((9_000, Results.save, "runs.parquet"), (3_000, Results.save_study, "study.json")):
        results = ib.load(S)
        limited(size)
        with pytest.raises(OSError, match=str(S / file)):
            write(results)
        limited(resource.RLIM_INFINITY)
        assert {path.name: path.read_bytes() for path in S.iterdir() if path.is_file()} == before


def test_a_launcher_that_cannot_write_is_one_line(folder, capsys, limited, monkeypatch):
    monkeypatch.setattr(begun, "begin", lambda study: None)  # which is written before
    assert main(COMMAND) == 0
    capsys.readouterr()
    limited(1_000)
    assert main([*COMMAND, "hydra.verbose=[initbench]", "train.rerun=true"]) == 1
    limited(resource.RLIM_INFINITY)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    (line,) = [line for line in err.splitlines() if line.startswith("initbench: ")]
    assert line.startswith("initbench: outputs/s/hydra")
    assert left_over() == []


def test_a_disk_is_no_fault_of_an_arm(folder):
    with pytest.raises(OSError, match="full"):
        job.note_failure(Path("store"), "key", OSError(errno.ENOSPC, "full", "part"))
    assert not Path("store").exists()
    job.note_failure(Path("store"), "key", OSError("its own"))
    assert job.failure(Path("store"), "key")["reason"] == "OSError: its own"


def test_the_store_names_the_folder_of_the_arm(folder):
    Path("store").write_text("in the way")
    with pytest.raises(NotADirectoryError) as error:
        Store(Path("store")).write("key", None)
    assert error.value.filename == str(Path("store", "key"))


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ((look.main, "init=eye", "sharing=none", "--csv", "no/such/table.csv"), "no/such/table.csv"),
        ((look.main, "init=eye", "sharing=none", "--plot", "file/a.svg"), "file/a.svg"),
        ((predict.main, "outputs/s", "--csv", "no/table.csv"), "no/table.csv"),
        ((predict.main, "outputs/s", "--json", "dir"), "dir"),
    ],
)
def test_files_asked_for_by_name_are_named(command, file, folder, capsys, monkeypatch):
    Path("file").write_text("mine")
    Path("dir").mkdir()
    found = type("Found", (), {"predicted": pd.DataFrame({"a": [1]}), "score": ending, "signals": pd.DataFrame()})
    found.verdict = "none"
    monkeypatch.setattr(predict, "predict", lambda folder: found)
    monkeypatch.setattr(predict, "asdict", lambda score: {})
    assert command[0](list(command[1:])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f": {file}: " in line
    assert line.endswith("then run the same command again")


def test_what_replaces_a_file_is_whole_or_nothing(folder):
    path = Path("a.txt")
    path.write_text("before")
    for error in (FULL, ValueError("no"), KeyboardInterrupt()):
        with pytest.raises((OSError, ValueError, KeyboardInterrupt)), published(path) as temporary:  # noqa: PT012
            temporary.write_text("half")
            raise error
        assert [one.name for one in folder.iterdir()] == ["a.txt"]
        assert path.read_text() == "before"
    with published(path) as temporary:
        temporary.write_text("after")
    assert path.read_text() == "after"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EISDIR, errno.ENOENT, errno.EXDEV, None])
def test_every_answer_of_a_disk_is_a_line_with_what_to_do(number, capsys):
    def body():
        with naming(Path("x.csv")):
            raise OSError(number, "words") if number else OSError("words")

    assert ending.answered("initbench", body, goes_on=True) == 1
    reason = os.strerror(number) if number else "words"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"initbench: x.csv: {reason}; ")
    assert line.endswith(", then run the same command again: finished runs are stored")


def test_a_report_names_the_page(folder, capsys, limited):
    assert main([*COMMAND[:-2], "report.formats=[csv]", "study=s"]) == 0
    capsys.readouterr()
    limited(100)
    assert report_main(["outputs/s", "--format", "md"]) == 2
    limited(resource.RLIM_INFINITY)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("initbench.report: outputs/s/report.md: File too large; ")
    assert left_over() == []
