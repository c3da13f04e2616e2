"""The commands under benchmarks/ that docs name: they run, and what they say of known worlds is right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def benchmarks(monkeypatch):
    """Importable here too."""
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


def test_verdicts_are_simulated_resumed_and_written_into_the_page(tmp_path, benchmarks, monkeypatch, capsys):
    from benchmarks.verdicts.__main__ import main

    def asked(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["verdicts", *map(str, arguments)])
        main()
        return capsys.readouterr().out

    results, page = tmp_path / "verdicts.json", tmp_path / "calibration.md"
    shutil.copy(ROOT / "docs" / "calibration.md", page)
    cell = ["--results", results, "--only", "decided n=10 sd=0.25 arms=2 ratio=2"]
    assert "wrong 0.0%" in asked("--paths", 2, *cell)
    assert asked("--paths", 2, *cell) == ""  # nothing is left to do
    asked("--results", results, "--doc", page)
    before, after = (one.read_text().split("<!-- tables")[0] for one in (ROOT / "docs" / "calibration.md", page))
    assert before == after
    assert "| 2x | 0.25 | 2 | 0.0 " in page.read_text()


def test_the_phases_of_a_command_are_told(tmp_path):
    asked = [
        "init=eye",
        "sharing=none",
        "seeds=1",
        "optim.lr=0.1",
        "train.steps=2",
        "track.uri=null",
        "engine.workers=1",
    ]
    told = run("benchmarks.phases", *asked, folder=tmp_path).stderr
    assert "training" in told
    assert "end of the other processes" in told


def test_a_world_is_seen_as_its_runs_would_be(benchmarks):
    from benchmarks.verdicts.worlds import World

    steps = np.array([[[3.0, 50.5, 1000.0]]])
    world = World(steps, np.zeros((1, 1, 3)), (0, 1), 300.0, 300.0, np.array([0, 1, 2, 3, 50, 55, 300.0]))
    one = np.ones(1, bool)

    def seen(**how: bool) -> list[float]:
        return np.exp(world.panel(0, one, one, 3, **how).log[0]).round(6).tolist()

    assert seen(dense=False) == [3, 55, 300]
    assert seen(dense=False, earlier=True) == [2, 50, 300]
    assert seen(dense=True) == [3, 51, 300]
    assert world.panel(0, one, one, 3, dense=False).reached[0].tolist() == [1, 1, 0]


def test_paths_decide_what_differs_and_count_their_runs(benchmarks):
    from benchmarks.verdicts import paths, worlds

    world = worlds.Cell(0.1, 3, 2.0).draw(np.random.default_rng(1), 200)
    found = paths.decided(world)
    assert found.words == ["equivalent", "slower"]
    assert found.seeds[1] == 10
    assert found.runs < 3 * 7 * found.seeds[0]
    assert paths.fixed(world, 10).words[1] == "slower"


def test_the_sign_flip_test_is_exact_where_it_can_be_counted(benchmarks):
    from benchmarks.verdicts import tests

    from initbench.stats.panel import Panel

    rng = np.random.default_rng(2)
    logs = rng.normal(4, 0.2, (2, 1, 8))
    a, b = (Panel(np.array([0.1]), np.arange(8), log, np.ones((1, 8)), np.ones((1, 8))) for log in logs)
    d = (logs[0] - logs[1])[0]
    signs = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    exact = (np.abs(signs @ d) >= abs(d.sum()) - 1e-12).mean()
    assert tests.sign_flip(a, b, rng) == pytest.approx(exact, abs=0.05)
    assert set(tests.tests(a, b, rng)) >= {"bootstrap", "sign flips of the procedure"}
