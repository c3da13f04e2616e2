"""The README is true: its commands run, its files and links exist, its first two blocks are what CI does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from initbench.__main__ import main
from initbench.overrides.expand import expand

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "bash"]
PYTHON = [text for language, text in BLOCKS if language == "python" and not text.startswith("# ")]
FILES = {text.split("\n", 1)[0][2:]: text for _, text in BLOCKS if re.match(r"# [\w/]+\.\w+\n", text)}

# what makes a study a matter of seconds; the commands themselves stay as they are
SMALL = ["seeds=2", "optim.lr=0.1", "train.steps=2", "engine.workers=1", "measure=none"]
QUIET = ["track.uri=null", "report.formats=[csv]"]
INSTEAD = {"experiment=depth": ["model.depth=2,3", "init=eye"]}  # of the swept values: few and small ones


def commands() -> list[str]:
    """The commands after the two that set everything up, a line each."""
    lines = [line for block in SHELL[2:] for line in block.replace("\\\n", "").splitlines()]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def of_kind(*words: str) -> list[str]:
    return [line for line in commands() if shlex.split(line)[: len(words)] == list(words)]


STUDIES = of_kind("python", "-m", "initbench")
REPORTS = of_kind("python", "-m", "initbench.report")
INSTALLS = of_kind("python", "-m", "pip", "install")
PAGES = of_kind("mlflow", "ui")


def run(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """`python arguments` in `folder`, as a person would."""
    env = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**env, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done


def with_instead(arguments: list[str], given: list[str]) -> list[str]:
    """Arguments with overrides in the place of those of the same key: a key is given once."""
    keys = {text.split("=")[0] for text in given}
    return [*(one for one in arguments if one.split("=")[0] not in keys), *given]


def filled(folder: Path) -> Path:
    """A folder with the files that the README tells a person to write."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A folder in which the README's first thing to try was done, with MLflow and the whole report; what it printed;
    the files it made."""
    folder = tmp_path_factory.mktemp("quick")
    command = next(line for line in STUDIES if "experiment=quick" in line)
    every_file = "report.formats=[html,md,csv,figures,archive]"  # every file that the README lists
    done = run(folder, with_instead(shlex.split(command)[1:], [*SMALL, every_file, "study=quick"]))
    made = {path.name for path in (folder / "outputs" / "quick").iterdir() if path.is_file()}
    return folder, done.stdout, made


def test_every_command_is_of_a_kind_that_is_tested_here():
    assert sorted(commands()) == sorted([*STUDIES, *REPORTS, *INSTALLS, *PAGES])
    assert len(STUDIES) >= 8
    assert REPORTS
    assert PAGES
    assert set(FILES) == {"my_init.py", "init/mine.yaml"}


@pytest.mark.parametrize(("block", "last"), [(0, "python -m initbench"), (1, "python -m pytest -n 2")])
def test_the_first_two_blocks_do_all_their_set_up(block, last):
    venv, install, command = SHELL[block].strip().split(" &&\n")
    assert venv == "python3 -m venv .venv && . .venv/bin/activate"
    assert install.startswith("python -m pip install -c constraints.txt -e ")
    assert command == last


def test_ci_runs_the_test_command_to_the_letter():
    script = ROOT / ".ci" / "run"
    assert script.read_text(encoding="utf-8").endswith("\n" + SHELL[1])
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("line", STUDIES)
def test_studies_run(line, tmp_path, monkeypatch, capsys):
    _, *arguments = shlex.split(line)
    instead = [extra for given, extras in INSTEAD.items() if given in arguments for extra in extras]
    small = with_instead(arguments, [*SMALL, *QUIET, *instead])
    if re.search(
        r"config-dir|launcher", line
    ):  # a process of its own; an option file's is also that of one's own module
        shown = run(filled(tmp_path), small).stdout
    else:
        monkeypatch.chdir(filled(tmp_path))
        monkeypatch.syspath_prepend(str(tmp_path))
        sys.modules.pop("my_init", None)  # that of the last folder
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(small[2:]) == 0
        shown = capsys.readouterr().out
    assert re.search(r"done in \d+ s: [1-9]\d* arms?, [1-9]\d* runs", shown)


@pytest.mark.parametrize("line", REPORTS)
def test_reports_are_written_again(line, quick):
    folder, _, _ = quick
    _, *arguments = shlex.split(line)
    shown = run(folder, arguments).stdout.splitlines()
    assert [Path(path).name for path in shown] == ["report.tex", "report.html"]


def test_a_study_ends_with_the_report_and_the_mlflow_command(quick):
    folder, shown, _ = quick
    assert f"report: {folder / 'outputs' / 'quick' / 'report.html'}" in shown
    assert f"mlflow ui --backend-store-uri sqlite:///{folder / 'mlflow.db'}" in shown
    assert (folder / "mlflow.db").is_file()


def test_the_leaderboard_shown_first_is_that_of_its_command(quick):
    command, setting, _, head, _, *rows = BLOCKS[0][1].splitlines()
    assert BLOCKS[0][0] == "text"
    arms = expand(shlex.split(command)[4:])
    listed = {re.split(r"  +", row.strip())[1] for row in rows}
    assert listed == {f"{arm.init.name} · {arm.sharing.name}" for arm in arms}
    _, shown, _ = quick
    assert head.split() in [line.split() for line in shown.splitlines()]
    assert setting.replace("300 steps", "2 steps") in shown


def test_the_files_of_a_study_are_those_listed(quick):
    _, _, made = quick
    table = README.split("| in `outputs/<study>/` | |")[1].split("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    listed = {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}
    assert listed == made


def test_the_mlflow_command_is_one():
    import click
    from mlflow import cli

    for line in PAGES:
        _, name, *arguments = shlex.split(line)
        command = cli.cli.get_command(click.Context(cli.cli), name)
        assert command is not None
        context = command.make_context(name, arguments)
        assert context.params["backend_store_uri"] == "sqlite:///mlflow.db"


def test_the_python_example_runs(tmp_path):
    (text,) = PYTHON
    small = text.replace('["experiment=quick"]', repr(["experiment=quick", *SMALL, *QUIET]))
    assert small != text
    (tmp_path / "example.py").write_text(small, encoding="utf-8")
    assert "kaiming_normal · none" in run(tmp_path, ["example.py"]).stdout


def test_overrides_in_the_text_are_understood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("FILE.npz", x=np.ones((6, 2)), y=np.arange(6) % 2)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL))
    overrides = [text for text in inline if re.fullmatch(r"([a-z_.]+=\S+ ?)+", text) and not text.startswith("key=")]
    assert len(overrides) >= 4
    for text in overrides:
        assert expand(text.split()), text


def test_the_architecture_names_all_modules():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    here = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "src" / "initbench").iterdir()
        if not path.name.startswith("__") or path.name == "__main__.py"
    }
    missing = sorted(name for name in here if f"`{name}`" not in text)
    assert not missing
