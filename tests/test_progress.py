"""How far a study is: counted from the store whoever trains, from the beginning after an interruption; parts every minute."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from initbench import __main__ as command
from initbench.cli import display
from initbench.cli.display import Display, Done, Speed
from initbench.config.arm import Run
from initbench.store.chunk import Chunk, Series
from initbench.store.parts import Store
from initbench.store.progress import Watched
from initbench.study import pace, written
from initbench.study.command import Study, plan
from initbench.study.described import describe
from initbench.study.launch import Training, chunks_of
from initbench.study.pool import Pool, chunks
from initbench.study.tally import Tally

FEW = ["init=eye", "sharing=none", "optim.lr=0.1", "train.steps=3", "engine.workers=1", "track.uri=null"]


def chunk(*seeds: int) -> Chunk:
    """Made-up runs."""
    series = {"loss/train": Series((0, 1), None, np.ones((len(seeds), 2)))}
    return Chunk(tuple(Run(seed, 0.1) for seed in seeds), np.full(len(seeds), -1), series)


def test_only_parts_that_appear_are_counted_each_read_once(tmp_path, monkeypatch):
    read: list[str] = []
    inner = pq.read_metadata
    monkeypatch.setattr(pq, "read_metadata", lambda path: read.append(Path(path).parent.name) or inner(path))
    store = Store(tmp_path)
    store.write("a", chunk(0, 1))
    watched = Watched(tmp_path, {"a": 4, "b": 3}, {"a": 2, "b": 0})
    watched.look()
    assert (watched.stored, read) == ({"a": 2, "b": 0}, [])
    store.write("b", chunk(0))
    store.write("b", chunk(1, 2))
    watched.look()
    watched.look()
    assert (watched.stored, read) == ({"a": 2, "b": 3}, ["b", "b"])
    (tmp_path / "a" / "part-torn.parquet").write_bytes(b"half")
    (tmp_path / "a" / ".tmp-part.parquet").write_bytes(b"")
    watched.look()
    assert watched.stored["a"] == 2
    store.write("a", chunk(2, 3, 4))
    watched.look()
    assert watched.stored["a"] == 4, "no more than are asked for"


def test_a_look_at_the_disk_is_taken_now_and_then_only(tmp_path):
    watched = Watched(tmp_path, {"a": 1}, {"a": 0})
    watched.counts()
    Store(tmp_path).write("a", chunk(0))
    assert watched.counts()["a"] == 0
    watched.next = 0.0
    assert watched.counts()["a"] == 1


def test_what_was_stored_before_is_done_and_runs_under_way_count_by_their_steps(folder):
    study = plan(["init=eye", "sharing=none", "model.depth=2,30", "seeds=4", "optim.lr=0.1", "train.steps=10"])
    shallow, deep = study.arms
    pool = SimpleNamespace(run_steps=100)
    tally = Tally(study.arms, {shallow.key: 1, deep.key: 4}, study.root, pool)
    assert tally.total[:2] == (8, 80)
    assert tally.now()[:2] == (3, 30)
    assert tally.now().work < tally.total.work / 5, "a deep run is more work"
    pool.run_steps += 15
    assert tally.now()[:2] == (3, 45)
    tally.add(shallow, 1)
    assert tally.now()[:2] == (4, 45)
    pool.run_steps += 1000
    assert tally.now() == Done(4, 80, pytest.approx(tally.total.work))


def test_the_time_left_follows_the_speed_of_late():
    speed = Speed(0.0, 50.0)
    assert speed.left(1.0, 50.0, 100.0) is None
    for second in range(1, 301):  # compiling for a while, then 1 a second
        speed.add(float(second), 50.0 + max(0, second - 250))
    assert speed.left(300.0, 100.0, 150.0) == pytest.approx(150, rel=0.1)  # 50 in the last 150 seconds
    for second in range(301, 601):
        speed.add(float(second), 100.0 + (second - 300) / 10)
    assert speed.left(600.0, 130.0, 150.0) == pytest.approx(200, rel=0.1)


def test_lines_of_a_log_come_more_seldom_the_longer_it_takes(monkeypatch, capsys):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(display.time, "monotonic", lambda: clock.now)
    shown = Display(2, Done(100, 1000, 100.0), lambda: Done(40 + int(clock.now / 100), 0, 40 + clock.now / 100))

    class Stop:
        def wait(self, seconds: float) -> bool:
            clock.now += seconds
            return clock.now > 3600

    shown.lines(Stop())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("training: 40%, 40/100 runs of 2 arms")
    assert lines[-1].startswith("training: 7")
    assert re.search(r"about 1.6 h left|about 1.7 h left", lines[0]), lines[0]
    assert 30 < len(lines) < 100


def trained(study: Study, left: int) -> None:
    """What the command does between its plan and its results."""
    (arm,) = study.arms
    command.trained(study, None, {arm.key: left}, Training(study.root, Pool(1)), [])


def test_progress_comes_from_the_store_where_another_launcher_trains(folder, capsys, monkeypatch):
    monkeypatch.setattr(display, "EVERY", 0.01)
    monkeypatch.setattr("initbench.store.progress.OFTEN", 0.0)
    seen: list[int] = []
    look = Display.look

    def noted(self: Display) -> tuple[Done, str]:
        found = look(self)
        seen.append(found[0].runs)
        return found

    def elsewhere(study: Study, *rest: object) -> None:
        """Another process, as far as the command knows: it writes parts, and tells nobody."""
        for seeds in ("[0,1]", "[2,3,4,5]"):
            Training(study.root, Pool(1)).train(plan([*FEW, f"seeds={seeds}"]).arms)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and 2 not in seen:
                time.sleep(0.01)

    monkeypatch.setattr(Display, "look", noted)
    monkeypatch.setattr(command, "by_launcher", elsewhere)
    monkeypatch.setattr("initbench.study.launch.needs_hydra", lambda study: True)
    trained(plan([*FEW, "seeds=6"]), 6)
    assert seen == sorted(seen)
    assert {2, 6} <= set(seen)
    assert "training: 100%, 6/6 runs of 1 arm" in capsys.readouterr().err


def test_a_command_that_goes_on_begins_where_the_other_ended(folder, capsys, monkeypatch):
    trained(plan([*FEW, "seeds=6"]), 6)
    assert "training: 100%, 6/6 runs" in capsys.readouterr().err
    begun: list[Display] = []
    inner = Display.__init__
    monkeypatch.setattr(Display, "__init__", lambda self, *how: inner(self, *how) or begun.append(self))
    trained(plan([*FEW, "seeds=10"]), 4)
    assert (begun[0].before.runs, begun[0].total.runs) == (6, 10)
    assert begun[0].before.work / begun[0].total.work == pytest.approx(0.6)
    assert "training: 100%, 10/10 runs" in capsys.readouterr().err


def test_a_chunk_is_about_a_minute_of_work_and_those_of_the_default_study_are_what_they_were(monkeypatch):
    default = plan([])
    for arm in default.arms:
        name = arm.trainer[0].name
        whole = chunks(arm.config, arm.config.runs, arm.layers, 2, arm.sees_whole_net, name)
        assert chunks_of(arm, arm.config.runs, 2) == whole
    for engine, least in (("stacked", 2), ("single", 1)):
        (long,) = plan(["init=eye", "sharing=none", "train.steps=200000", f"engine={engine}", "seeds=4"]).arms
        parts = chunks_of(long, long.config.runs, 1)
        assert max(map(len, parts)) == max(least, pace.most_runs(long))
        assert max(map(len, parts)) * pace.run_seconds(long) <= pace.LONGEST or max(map(len, parts)) == least
        assert [run for runs in parts for run in runs] == list(long.config.runs)
    (asked,) = plan(["init=eye", "sharing=none", "train.steps=200000", "engine.chunk=20", "seeds=4"]).arms
    assert [len(runs) for runs in chunks_of(asked, asked.config.runs, 1)] == [20]


def test_frames_have_the_same_bytes_however_small_the_parts(tmp_path, monkeypatch):
    study, found = plan([*FEW, "seeds=9"]), []
    for name, longest, many in (("whole", pace.LONGEST, 1), ("cut", 1e-9, 4)):
        monkeypatch.setattr(pace, "LONGEST", longest)
        root = tmp_path / name / "store"
        Training(root, Pool(1)).train(study.arms)
        assert len(list(root.rglob("part-*"))) == many
        written.record(describe(study, 0.0), root, tmp_path / name)
        found.append([(tmp_path / name / one).read_bytes() for one in ("runs.parquet", "history.parquet")])
    assert found[0] == found[1]


def test_what_a_command_is_at_is_gone_when_it_says_more(monkeypatch):
    from initbench.cli import streams

    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Tty()
    monkeypatch.setattr(sys, "stderr", screen)
    streams.passing("initbench: planning")
    streams.write("study s", screen)
    assert screen.getvalue() == "\rinitbench: planning\x1b[K\r\x1b[Kstudy s\n"
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    streams.passing("initbench: planning")
    assert log.getvalue() == ""
