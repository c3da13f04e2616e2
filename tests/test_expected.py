"""What a command will take, said before it starts: as JSON, from a moment of training, and refused where it does not fit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from initbench import memory
from initbench.__main__ import main
from initbench.errors import InputError
from initbench.study import calibrate, needs, written
from initbench.study.calibrate import Calibration, Trial, calibrated
from initbench.study.command import plan
from initbench.study.described import describe
from initbench.study.expected import Seconds, expected
from initbench.study.launch import Training
from initbench.study.needs import check_needs, disk_of, memory_of
from initbench.study.pace import counts, pace
from initbench.study.pool import Pool
from initbench.study.sample import Weights, tracked

ROOT = Path(__file__).parents[1]
SMALL = ["init=eye,orthogonal", "sharing=none", "seeds=3", "optim.lr=[0.01,0.03]", "train.steps=12", "engine.workers=1"]
TRACKED = [*SMALL, "track.uri=sqlite:///m.db", "study=s"]


def nothing_left(study):
    return study.left(dict.fromkeys([arm.key for arm in study.arms], 0))


def paths(content: dict, before: str = "") -> list[str]:
    """Dotted keys."""
    found = []
    for key, value in content.items():
        found += paths(value, f"{before}{key}.") if isinstance(value, dict) else [f"{before}{key}"]
    return found


def test_a_dry_run_is_json_alone_on_stdout_with_documented_keys_and_writes_nothing(folder, capsys):
    assert main([*TRACKED, "train.dry_run=true", "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["runs"] == {"asked": 12, "stored": 0, "to_train": 12}
    assert told["mlflow_rows"]["runs"] == 2 + 12 + 1
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    missing = [key for key in paths(told) if not re.search(rf"`{re.escape(key)}`", page)]
    assert not missing
    for line in (
        "expected on this machine: about .* within a factor of 1.5",
        "memory: .* are free",
        "disk: .* are free",
    ):
        assert re.search(line, said.err)
    assert list(folder.iterdir()) == []


def test_json_without_a_dry_run_is_refused(folder, capsys):
    for argv in ([*SMALL, "--json"], ["--cfg", "job", "--json"]):
        assert main(argv) == 2
        assert re.search(r"--json: it has no effect without train.dry_run=true; ", capsys.readouterr().err)


def test_rows_and_bytes_are_those_that_are_then_written(folder):
    study = plan([*TRACKED, "train.target.metric=loss/train", "train.target.value=100"])  # every run reaches it
    disk, rows = disk_of(study, Weights(study), nothing_left(study), 1)
    Training(study.root, Pool(1)).train(study.arms)
    results = written.record(describe(study, 0.0), study.root, study.folder)
    real = tracked(results, study)
    assert real["runs"] == rows["runs"] - 1  # and the report
    for name in ("params", "tags", "latest_metrics", "metrics"):
        assert rows[name] == pytest.approx(real[name], rel=0.05, abs=8)  # some measures are absent at step 0
    parts = sum(path.stat().st_size for path in study.root.rglob("part-*"))
    assert disk.parts == pytest.approx(parts, rel=0.2)
    frames = sum((study.folder / name).stat().st_size for name in ("runs.parquet", "history.parquet", "study.json"))
    assert disk.frames == pytest.approx(frames, rel=0.2)


@pytest.fixture
def clock(monkeypatch) -> Callable[[float], None]:
    """Trials take as long as a machine would need on which everything takes `slower` times as long."""
    made: list[int] = []

    def machine(slower: float) -> None:
        def timed(self: Trial, steps: int, dense: int = 0, measured: bool = False) -> float:
            made.append(steps)
            nominal, runs = pace(self.arm), max(2, len(self.runs))
            evaluated = min(steps, 2) + 1 if dense == 0 else steps + 1
            each = steps * nominal.step + evaluated * nominal.evaluation + measured * (steps + 1) * nominal.look
            return slower * (len({run.seed for run in self.runs}) * nominal.seed + runs * each)

        monkeypatch.setattr(Trial, "timed", timed)

    return machine


@pytest.mark.parametrize("slower", [0.3, 1.0, 4.0])
def test_a_machine_is_as_much_slower_as_its_trials(clock, slower):
    clock(slower)
    arms = plan(["init=eye", "sharing=none", "model.depth=2,30", "measure=full"]).arms
    found = calibrated(arms)
    for arm in arms:
        assert found.factors(arm) == pytest.approx((slower,) * 4, rel=0.05)


@pytest.mark.parametrize(("others", "waited"), [(lambda k: k == 2, 1.0), (lambda k: True, 3.0)])
def test_a_program_that_comes_and_goes_is_not_taken_for_one_that_stays(monkeypatch, others, waited):
    """The clock of the wall runs three times as fast while other programs run."""
    trials: list[int] = []
    passed = [0.0, 0.0]  # wall, processor

    class Trainer:
        name = "single"

        def train(self, *asked):
            passed[1] += 0.5
            passed[0] += 1.5 if others(len(trials)) else 0.5
            trials.append(1)

    monkeypatch.setattr(calibrate.time, "perf_counter", lambda: passed[0])
    monkeypatch.setattr(calibrate.time, "thread_time", lambda: passed[1])
    waits: list[float] = []
    (arm,) = plan(["init=eye", "sharing=none"]).arms
    for _ in range(5):
        Trial(arm, arm.config.runs[:2], Trainer(), waits).timed(3)
    assert Calibration.of({}, True, waits).waited == pytest.approx(waited)


def test_what_was_not_tried_takes_the_factors_of_the_nearest(clock):
    clock(2.0)
    arms = plan(["init=eye", "sharing=none", "model.depth=2,30,40"]).arms
    found = calibrated(arms, moment=0.0)
    assert len(found.known) == 1
    assert found.factors(arms[0]) == pytest.approx((2.0,) * 4, rel=0.05)
    assert calibrated([]).factors(arms[0]) == (1.0,) * 4


def test_a_real_trial_is_over_in_a_moment_and_near_what_then_happens(folder):
    study = plan([*SMALL[:-2], "train.steps=60"])
    (arm, _), found = study.arms, calibrated(study.arms)
    assert found.known
    seconds = sum(pace(arm).times(found.factors(arm)).times(counts(arm)))
    assert 1e-4 < seconds < 1.0


def test_what_is_stored_is_not_trained_and_the_kernel_is_compiled_if_it_is_not_there(folder, monkeypatch, clock):
    clock(1.0)
    study = plan([*SMALL, "track.uri=null"])
    left = nothing_left(study)
    whole = expected(study, left, 0.0)
    assert whole.seconds.compile == 0
    assert (whole.rows["metrics"], whole.disk.mlflow) == (0, 0)
    monkeypatch.setattr(calibrate, "kernel_is_compiled", lambda arms: False)
    half = expected(study, {study.arms[0].key: 6, study.arms[1].key: 0}, 0.0)
    assert (half.stored, half.plain()["runs"]["to_train"]) == (6, 6)
    assert half.disk.parts == pytest.approx(whole.disk.parts / 2, rel=0.1)
    assert half.operations == whole.operations / 2
    assert half.seconds.compile > 1
    assert not half.plain()["kernel_tried"]
    none = expected(study, dict.fromkeys(left, 0), 0.0)
    assert (none.seconds.training, none.core_seconds, none.disk.parts) == (0, 0, 0)


def test_more_than_there_is_is_refused_with_both_numbers_before_anything_is_written(folder, monkeypatch, capsys):
    study = plan([*SMALL, "track.uri=null"])
    left = nothing_left(study)
    held = memory.resident()
    needed = memory_of(study, 1, left).total
    monkeypatch.setattr(needs, "available", lambda: needed / 1.4 - held)
    check_needs(study)  # may fit: it is an estimate
    monkeypatch.setattr(needs, "available", lambda: needed / 1.6 - held)
    with pytest.raises(InputError, match=r"model.width=32|runs of .*: needs about \d+ MB of memory, \d+ MB are free; "):
        check_needs(study)
    many = plan([*SMALL[:-1], "engine.workers=50", "track.uri=null"])
    with pytest.raises(
        InputError, match=r"^engine.workers=50: needs about [\d,]+ MB of memory, \d+ MB are free; ask for"
    ):
        check_needs(many)
    assert main([*SMALL, "track.uri=null"]) == 2
    assert "of memory" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_seen_before_training(folder, monkeypatch, capsys, clock):
    clock(1.0)
    free = SimpleNamespace(bytes=1e5)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free.bytes))
    assert main(TRACKED) == 2
    assert re.search(
        r"outputs=outputs: needs about [\d.]+ MB of disk, 0.1 MB are free; free some space", capsys.readouterr().err
    )
    assert main([*TRACKED, "train.dry_run=true"]) == 2
    monkeypatch.setattr(needs, "same_disk", lambda one, other: False)
    study = plan(TRACKED)
    with pytest.raises(InputError, match=r"^track.uri=sqlite:.*: needs about [\d.]+ MB of disk, 0.1 MB are free; "):
        check_needs(study)
    free.bytes = 1e12
    weighed = pytest.MonkeyPatch()
    weighed.setattr(needs, "Weights", None)  # a normal command weighs nothing
    check_needs(study)
    weighed.undo()
    assert list(folder.iterdir()) == []


def test_phases_add_up():
    assert Seconds(1, 2, 3, 4, 5).total == 15
    assert replace(Seconds(1, 2, 3, 4, 5), compile=0).total == 13
