"""What lies on disk: locks, leftovers, checksums, and the command that lists, checks and removes it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import initbench as ib
from initbench.__main__ import main
from initbench.disk import published, unfinished
from initbench.errors import InputError
from initbench.startup import locks, scratch
from initbench.store import judged, lock, parts
from initbench.store.__main__ import main as store
from initbench.store.study_file import text_of
from initbench.study import launch, places
from initbench.study.command import plan

ROOT = Path(__file__).parents[1]
QUICK = [
    "sharing=none",
    "seeds=2",
    "optim.lr=0.1",
    "train.steps=2",
    "track.uri=null",
    "engine.workers=1",
    "report.formats=[csv]",
]
S = Path("outputs", "s")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with two studies that share an arm."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["init=eye,zeros", *QUICK, "study=s"]) == 0
        assert main(["init=eye", *QUICK, "study=other"]) == 0
    return folder


@pytest.fixture
def both(two, tmp_path, monkeypatch):
    shutil.copytree(two / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *command: str) -> tuple[int, list[str]]:
    capsys.readouterr()
    status = store(list(command))
    shown = capsys.readouterr()
    return status, (shown.out + shown.err).splitlines()


def flip(path: Path, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(bytes(content))


# ---- locks


def elsewhere(code: str) -> subprocess.Popen[str]:
    """Another process that holds something until its input ends; returns when it does."""
    held = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert held.stdout.readline() == "held\n"
    return held


HOLD = """
import sys
from pathlib import Path
from initbench.store import lock
with {what}:
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_command_says_who_is_at_work_and_waits(both, capsys, monkeypatch):
    other = elsewhere(HOLD.format(what='lock.running(Path("outputs/store"), "s", print)'))
    holder = lock.holder

    def asked(file: Path) -> str:
        found = holder(file)
        other.stdin.close()
        return found

    monkeypatch.setattr(lock, "holder", asked)
    assert main(["init=eye,zeros", *QUICK, "study=s"]) == 0
    shown = capsys.readouterr().err
    line = rf"initbench: study outputs/s: another command \(process {other.pid}, since [\d-]+ [\d:]+\) is at work in it; waiting until it has ended"
    assert re.search(line, shown)
    assert "4 already stored, 0 to train" in shown
    assert other.wait() == 0


def test_the_second_goes_on_when_the_first_has_ended(both):
    released = "\n    Path('released').touch()\n"
    other = elsewhere(HOLD.format(what='lock.running(Path("outputs/store"), "s", print)') + released)

    def say(text: str) -> None:
        threading.Timer(0.2, other.stdin.close).start()

    with lock.running(Path("outputs/store"), "s", say):
        assert Path("released").exists()
    other.wait()


def test_who_holds_a_lock_and_is_killed_holds_it_no_more(both, capsys):
    other = elsewhere(HOLD.format(what='lock.running(Path("outputs/store"), "s", print)'))
    other.kill()
    other.wait()
    assert main(["init=eye,zeros", *QUICK, "study=s"]) == 0
    assert "waiting" not in capsys.readouterr().err


def test_a_dry_run_waits_for_nobody_and_leaves_nothing(folder, capsys):
    assert main(["init=eye", *QUICK, "study=s", "train.dry_run=true"]) == 0
    assert list(folder.iterdir()) == []


def test_where_there_are_no_locks_it_is_said_and_nothing_is_removed(both, capsys, monkeypatch):
    monkeypatch.setattr(locks.fcntl, "flock", lambda *how: (_ for _ in ()).throw(OSError(37, "No locks available")))
    assert main(["init=eye,zeros", *QUICK, "study=s"]) == 0
    assert capsys.readouterr().err.count("its file system has no locks") == 1
    for command in (["gc", "--yes"], ["rm", "s"]):
        status, lines = said(capsys, *command)
        assert status == 2
        assert "nobody can tell who uses it" in lines[-1]
    assert S.is_dir()


def test_a_reader_waits_for_files_that_are_being_written(both):
    content = (S / "study.json").read_bytes()
    code = HOLD.format(what='lock.writing(Path("outputs/s"), print)')
    other = elsewhere(code)
    (S / "study.json").write_bytes(content[:100])

    def finish() -> None:
        (S / "study.json").write_bytes(content)
        other.stdin.close()

    timer = threading.Timer(0.3, finish)
    timer.start()
    assert len(ib.load(S).runs) == 4
    other.wait()
    (S / "study.json").write_bytes(content[:100])
    with pytest.raises(InputError, match="not JSON"):
        ib.load(S)


# ---- leftovers


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_stays(both):
    arm = next(path for path in Path("outputs/store").iterdir() if path.name != lock.FOLDER)
    dead = [S / ".0a1b2c3d-runs.parquet", arm / ".0a1b2c3d-part-x.parquet"]
    for path in dead:
        path.write_text("half")
    mine = S / ".my-notes"
    mine.write_text("mine")
    with published(S / "runs.parquet") as new:
        shutil.copy(S / "runs.parquet", new)
        assert unfinished(S) == dead[:1]
        with places.taken(plan(["init=eye,zeros", *QUICK, "study=s"]), print):
            assert [path.exists() for path in dead] == [False, False]
        assert main(["init=eye,zeros", *QUICK, "study=s"]) == 0
        assert [path.exists() for path in (*dead, new, mine)] == [False, False, True, True]


def test_a_folder_for_temporary_files_goes_with_its_process_or_with_the_next(tmp_path):
    code = "import sys; from initbench.startup import scratch; print(scratch.folder(), flush=True); {}"
    env = {**os.environ, "TMPDIR": str(tmp_path)}

    def start(then: str) -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", code.format(then)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return process, Path(process.stdout.readline().strip())

    living, used = start("sys.stdin.read()")
    killed, left = start("import os; os.kill(os.getpid(), 9)")
    killed.wait()
    assert scratch.NAME.fullmatch(left.name)
    assert left.is_dir()
    ended, own = start("scratch.clear()")
    assert ended.wait() == 0
    assert [path.exists() for path in (used, left, own)] == [True, False, False]
    living.stdin.close()
    living.wait()
    assert list(tmp_path.iterdir()) == []


# ---- checksums


@pytest.mark.parametrize("at", [0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", ["study.json", "runs.parquet", "history.parquet"])
def test_a_flipped_bit_is_refused_by_every_reader(name, at, both):
    from initbench.predict import predict

    flip(S / name, at)
    for read in (ib.load, predict, lambda folder: ib.load(folder).report(formats=["csv"])):
        with pytest.raises(InputError, match=name):
            read(S)


def test_an_edited_study_json_is_refused_and_an_old_one_without_digest_is_read(both):
    path = S / "study.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "budget": 5}))
    with pytest.raises(InputError, match="its content is not what was written: damaged or edited; run"):
        ib.load(S)
    path.write_text(json.dumps({key: value for key, value in content.items() if key != "whole"}))
    assert "whole" not in ib.load(S).study
    path.write_text(text_of(ib.load(S).study))
    assert json.loads(path.read_text()) == content


def test_a_part_of_another_arm_is_none_of_this_one(both, capsys):
    one, two = sorted(Path("outputs/store").glob("*/part-*.parquet"))
    shutil.copy(one, two.parent)
    assert parts.examined(two.parent / one.name) == (None, "it is a part of another arm")
    assert main(["init=eye,zeros", *QUICK, "study=s"]) == 0
    assert f"{two.parent / one.name}: damaged (it is a part of another arm); set aside" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": 1}'])
def test_a_damaged_note_of_a_failure_is_none(content, tmp_path):
    launch.note_failure(tmp_path, "key", ValueError("no"))
    assert launch.failure(tmp_path, "key")["reason"] == "ValueError: no"
    launch.failure_path(tmp_path, "key").write_text(content)
    assert launch.failure(tmp_path, "key") is None


def test_a_flipped_note_of_looks_is_none(tmp_path):
    at = judged.pair("a", "b", "loss/train", 1.0)
    judged.note(tmp_path, {at: [judged.Look((0, 1), (0.1,), 0.05)]})
    assert len(judged.looks_at(tmp_path, [at])[at]) == 1
    path = tmp_path / "a" / judged.NAME
    path.write_text(path.read_text().replace("[[0, 2]]", "[[0, 3]]"))
    assert judged.looks_at(tmp_path, [at]) == {at: []}


def test_a_flipped_kernel_is_compiled_anew(tmp_path):
    from initbench.engine.kernel.compiled import kept

    path = tmp_path / "entry-all.o"
    made = []
    for _ in range(2):
        assert kept(path, lambda: made.append(1) or b"machine code") == b"machine code"
    assert made == [1]
    flip(path)
    assert kept(path, lambda: made.append(1) or b"machine code") == b"machine code"
    assert made == [1, 1]


# ---- the command


def test_ls_tells_sizes_and_what_no_study_uses(both, capsys):
    status, lines = said(capsys, "ls")
    assert status == 0
    assert [line.split()[:3] for line in lines[:3]] == [["study", "arms", "runs"], ["other", "1", "2"], ["s", "2", "4"]]
    assert re.fullmatch(r"outputs: 2 studies, 2 arms, 4 runs, [\d.]+ MB", lines[-1])
    status, lines = said(capsys, "ls", "s")
    assert [line.split()[0] for line in lines[1:3]] == ["eye", "zeros"]
    assert re.fullmatch(r"outputs/s: 2 arms, 4 runs, [\d.]+ MB in the store, [\d.]+ MB in its folder", lines[-1])
    shutil.rmtree(S)
    _, lines = said(capsys, "ls")
    assert lines[-2].startswith("no study uses 1 arm, ")


def test_verify_names_every_damaged_file(both, capsys):
    assert said(capsys, "verify") == (0, ["outputs: 8 files of 2 arms and 2 studies as they were written"])
    part = sorted(Path("outputs/store").glob("*/part-*.parquet"))[0]
    flip(part)
    flip(S / "history.parquet")
    status, lines = said(capsys, "verify")
    assert status == 1
    assert lines[0].startswith(f"{part}: damaged (its bytes are not those that were written); ")
    assert lines[1].startswith("outputs/s/history.parquet: its bytes are not those that study.json was written for; ")
    assert re.fullmatch(r"outputs: 2 of \d files damaged, of 2 arms and 2 studies", lines[2])
    assert part.exists()  # nothing is moved


def test_gc_removes_what_no_study_uses_and_asks_first(both, capsys):
    assert said(capsys, "gc") == (0, ["outputs: nothing to remove"])
    status, lines = said(capsys, "rm", "s")
    assert status == 0
    assert re.fullmatch(r"removed outputs/s, [\d.]+ MB; the store still holds 4 runs of it, [\d.]+ MB of which no other study uses: "
                        r"python -m initbench.store gc --yes removes what no study uses", lines[0])  # fmt: skip
    left = Path("outputs/other/.0a1b2c3d-study.zip")
    left.write_text("half")
    half = Path("outputs/.0a1b2c3d-killed")
    shutil.copytree("outputs/other", half)
    before = set(Path("outputs").rglob("*"))
    status, lines = said(capsys, "gc")
    assert status == 0
    assert "2 runs" in lines[0]
    assert sorted(lines[1:3]) == sorted(f"{path}: left by a killed process" for path in (left, half))
    assert re.fullmatch(
        r"outputs: 3 files, [\d.]+ MB; nothing is removed yet: python -m initbench.store gc --yes removes them",
        lines[3],
    )
    assert set(Path("outputs").rglob("*")) == before
    assert said(capsys, "gc", "--yes")[1][-1].startswith("outputs: removed 3 files, ")
    assert len(list(Path("outputs/store").glob("*/part-*.parquet"))) == 1
    assert not left.exists()
    assert not half.exists()
    assert main(["init=eye", *QUICK, "study=other"]) == 0
    assert "2 already stored" in capsys.readouterr().err


def test_gc_keeps_notes_of_looks_and_what_nobody_can_tell(both, capsys):
    said(capsys, "rm", "s")
    arms = [path for path in Path("outputs/store").iterdir() if path.name != lock.FOLDER]
    for arm in arms:
        (arm / "judged.json").write_text("{}")
    flip(Path("outputs/other/study.json"))
    assert said(capsys, "gc", "--yes")[0] == 2
    assert all(list(arm.glob("part-*")) for arm in arms)
    shutil.rmtree("outputs/other")
    assert said(capsys, "gc", "--yes")[0] == 0
    assert [[path.name for path in arm.iterdir()] for arm in arms] == [["judged.json"]] * 2


def test_gc_keeps_what_a_killed_command_was_about_to_use(both, capsys):
    study = ib.load(S).study
    killed = Path("outputs/killed/.planned.json")
    killed.parent.mkdir()
    killed.write_text(text_of(study))
    said(capsys, "rm", "s")
    assert said(capsys, "gc", "--yes") == (0, ["outputs: nothing to remove"])
    assert said(capsys, "verify") == (0, ["outputs: 5 files of 2 arms and 2 studies as they were written"])
    asked = {"formats": ["csv"], "children": "none", "goes_on": True}
    killed.write_text(text_of({**study, "asked": asked}))
    status, (line,) = said(capsys, "gc", "--yes")
    assert status == 2
    assert line.startswith(
        "initbench.store: outputs/killed: it has not ended, and decides on its way which arms it uses; "
    )
    assert said(capsys, "ls", "killed")[0] == 0


def test_gc_leaves_a_store_that_others_may_use(both, capsys):
    Path("outputs/store").rename("shared")
    Path("outputs/store").symlink_to(Path("shared").absolute())
    shutil.rmtree(S)
    status, (line,) = said(capsys, "gc", "--yes")
    assert status == 2
    assert (
        line
        == "initbench.store: outputs/store: a link, so studies of other folders may use it; remove by hand what nobody needs"
    )
    assert len(list(Path("shared").glob("*/part-*"))) == 2


def test_nothing_is_removed_while_a_command_is_at_work(both, capsys):
    other = elsewhere(HOLD.format(what='lock.running(Path("outputs/store"), "s", print)'))
    for command, what in ((["gc", "--yes"], "outputs/store"), (["rm", "s"], "outputs/s")):
        status, lines = said(capsys, *command)
        assert status == 2
        assert re.fullmatch(
            rf"initbench.store: {what}: another command .*is at work in it; wait until it has ended", lines[-1]
        )
    assert "a command is at work in it" in said(capsys, "ls")[1][2]
    other.stdin.close()
    other.wait()


def test_what_an_older_version_has_trained_is_told(both, capsys, monkeypatch):
    from initbench.store import inventory

    monkeypatch.setattr(inventory, "NUMERICS_VERSION", 10**6)
    _, lines = said(capsys, "ls")
    assert lines[1].endswith("1 arm of older numerics")
    shutil.rmtree(S)
    assert any(line.startswith("left behind by a newer NUMERICS_VERSION: 1 arm, ") for line in said(capsys, "ls")[1])


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("ls nothing", r"nothing: no study in outputs; .*must be one of: other, s"),
        ("rm", r"rm: no study is named; name one, e.g. .*"),
        ("gc s", r"s: gc takes no study; leave it out"),
        ("ls --yes", r"--yes: ls does not ask; leave it out"),
        ("verify --outputs none", r"--outputs none: no such folder; name the folder .*"),
        ("verify --outputs outputs/s", r"--outputs outputs/s: no store in it; name the folder .*"),
        ("burn", r"command line: argument what: invalid choice: 'burn' .*; see python -m initbench.store --help"),
    ],
)
def test_wrong_input_is_one_line(command, line, both, capsys):
    status, (only,) = said(capsys, *command.split())
    assert status == 2
    assert re.fullmatch(f"initbench.store: {line}", only)


def test_the_commands_of_the_page_run(both, capsys):
    page = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")
    found = re.findall(r"^python -m initbench\.store ([^#\n]+)", page, re.MULTILINE)
    assert len(found) == 6
    (S).rename("outputs/default")
    for text in found:
        assert store(shlex.split(text)) == 0, text
