"""--json and --version: what scripts read is strict JSON with the same numbers, and every command says its version."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any, NoReturn

import pytest

import frames
from initbench import __version__, catalogue, inspect
from initbench.report.__main__ import main as report
from initbench.store.reading import read_folder

COMMANDS = ["report.__main__", "sync.__main__", "store.__main__", "leaderboard.__main__",
    "export.__main__",
            *("inspect", "predict", "reproduce", "catalogue")]  # fmt: skip


def strict(text: str) -> Any:
    """JSON without NaN and Infinity, which other languages refuse."""

    def refuse(word: str) -> NoReturn:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_leaderboard_and_its_verdicts(tmp_path, capsys):
    arms = [("eye", "none"), ("kaiming_normal", "none"), ("normal_001", "all")]  # the last never arrives
    folder = frames.write_study(tmp_path / "s", *frames.make_study(arms, lrs=(0.03, 0.1, 0.3), seeds=8, depth=2))
    before = sorted(folder.iterdir())
    assert report([str(folder), "--json", "--baseline", "eye"]) == 0
    found = strict(capsys.readouterr().out)
    assert sorted(folder.iterdir()) == before
    import initbench as ib

    results = ib.Results(*read_folder(folder), folder)
    pairs = results.compare("eye")
    assert [row["setup"] for row in found["comparisons"]] == pairs["setup"].tolist()
    assert [row["verdict"] for row in found["comparisons"]] == pairs["verdict"].tolist()
    assert found["target"] == {"metric": "accuracy/train", "value": 0.95}
    steps = {row["setup"]: row["steps"] for row in found["leaderboard"]}
    assert steps["normal_001 · all"] == "inf"
    assert steps["eye · none"] == results.leaderboard().set_index("setup").loc["eye · none", "steps"]
    assert report([str(folder), str(folder), "--json"]) == 2
    assert "--json: two studies side by side have no leaderboard; name one study" in capsys.readouterr().err
    assert report([str(folder), "--json", "--focus", "eye"]) == 2
    assert "--focus: it is a page, and --json prints tables; use --baseline SETUP" in capsys.readouterr().err


def test_a_net_at_step_0(folder, capsys):
    assert inspect.main(["init=zeros", "model.depth=2", "seeds=2", "--json"]) == 0
    (one,) = strict(capsys.readouterr().out)
    assert one["trouble"]
    assert one["diagnosis"].startswith("no signal at all")
    assert [layer["shape"] for layer in one["layers"]] == ["32x64", "32x32", "10x32"]


def test_the_catalogue(capsys):
    assert catalogue.main(["--json"]) == 0
    found = strict(capsys.readouterr().out)
    assert [row["name"] for row in found] == [row["name"] for row in catalogue.rows()]
    assert set(found[0]) == {"name", "formula", "source", "contract", "meant_for", "options"}
    assert catalogue.main(["--check", "eye", "--json"]) == 0
    assert strict(capsys.readouterr().out) == [{"name": "eye", "holds": True, "violations": [], "measured": None}]
    assert catalogue.main(["--json", "--markdown"]) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_the_version_of_initbench(name, capsys):
    with pytest.raises(SystemExit) as end:
        import_module(f"initbench.{name}").main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"initbench {__version__}\n"
