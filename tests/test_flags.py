"""Flags of the command line: what they do, what is refused, and that every parser stands argparse's check of Python 3.14."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from conftest import assert_template
from initbench import __version__
from initbench.__main__ import main
from initbench.cli import flags

WRONG = {
    "--resolve": r"--resolve: it has no effect without --cfg; add --cfg job",
    "--package optim": r"--package: it has no effect without --cfg",
    "--run": r"--run: not available; leave it out, a command always sweeps",
    "-cp elsewhere": r"--config-path: not available; use --config-dir DIR to add your own option files",
    "-cn other": r"--config-name: not available; use experiment=NAME",
    "--experimental-rerun x.pickle": r"--experimental-rerun: not available; use the command in study.json",
    "--experimental-rerun=": r"--experimental-rerun: not available",
    "--cfg job -m": r"--cfg --multirun: only one of them can be used at a time",
    "--info --hydra-help": r"--info --hydra-help: only one of them can be used",
    "--cfg": r"command line: argument --cfg/-c: expected one argument; see python -m initbench --help",
    "--info nothing": r"command line: argument --info/-i: invalid choice: 'nothing'",
    "init=eye --colour seeds=3": r"command line: unrecognized arguments: --colour; see",
    "--colour=\x1b[31m": r"command line: unrecognized arguments: --colour=\\x1b\[31m; see",
}


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """--info makes Hydra log to this test's stdout, and the handler would outlive it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def checked(monkeypatch):
    """argparse as of Python 3.14, where a parser formats the help of each argument as it is added."""
    plain = argparse._ActionsContainer.add_argument

    def add_argument(self, *names, **options):
        action = plain(self, *names, **options)
        if action.help is not None and action.help != argparse.SUPPRESS and hasattr(self, "_get_formatter"):
            if not isinstance(action.help, str):
                raise ValueError("badly formed help string")
            self._get_formatter()._expand_help(action)
        return action

    monkeypatch.setattr(argparse._ActionsContainer, "add_argument", add_argument)


@pytest.mark.parametrize("line", WRONG)
def test_flags_without_effect_are_refused_in_one_line(line, folder, capsys):
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    (said,) = shown.err.splitlines()
    assert re.match(WRONG[line], assert_template(said.removeprefix("initbench: ")))
    assert shown.out == ""
    assert list(folder.iterdir()) == []


def test_hydra_reads_each_of_its_flags_from_our_parser():
    from hydra._internal.utils import get_args_parser

    try:
        theirs = get_args_parser()
    except ValueError:
        pytest.skip("Hydra's own parser fails on this Python")
    kinds, own = {action.dest: type(action) for action in flags.parser()._actions}, ("detach", "json")
    assert [kinds.pop(name).__name__ for name in own] == ["_StoreTrueAction"] * 2
    assert kinds == {action.dest: type(action) for action in theirs._actions}
    assert vars(flags.parser().parse_args([])) == vars(theirs.parse_args([])) | dict.fromkeys(own, False)


def test_each_flag_works_with_the_argparse_of_python_3_14(checked, folder, capsys):
    assert main(["--cfg", "job", "--package", "optim", "optim=adam"]) == 0
    assert "name: adam" in capsys.readouterr().out
    assert main(["--info", "searchpath"]) == 0
    assert "Config search path" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["--hydra-help"])
    assert end.value.code == 0
    assert "--config-dir,-cd : A folder with option files" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"initbench {__version__} (torch ")
    small = ["init=eye", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=2", "engine.workers=1"]
    assert main(["-m", *small, "track.uri=null", "report.formats=[csv]", "study=s"]) == 0
    assert (folder / "outputs/s/leaderboard.csv").is_file()


@pytest.mark.parametrize("name", ["report.__main__", "sync.__main__", "inspect", "predict", "reproduce", "catalogue"])
def test_each_command_s_help_works_with_the_argparse_of_python_3_14(name, checked, capsys):
    with pytest.raises(SystemExit) as end:
        import_module(f"initbench.{name}").main(["--help"])
    assert end.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_flags_stand_anywhere_among_the_overrides(folder):
    given = ["init=eye", "--config-dir", ".", "seeds=3", "--cfg", "job", "-p", "optim", "optim.lr=0.1"]
    for argv in (given, given[::-1][:1] + given[:-1]):
        found = flags.arguments(argv)
        assert (found.config_dir, found.cfg, found.package) == (".", "job", "optim")
        assert sorted(found.overrides) == ["init=eye", "optim.lr=0.1", "seeds=3"]


def test_hydra_too_reads_flags_anywhere(folder, capsys):
    assert main(["optim=adam", "--cfg", "job", "seeds=7", "--package", "seeds", "init=eye"]) == 0
    assert capsys.readouterr().out.split()[-1] == "7"


COMMANDS = {"report": "initbench.report", "sync": "initbench.sync", "inspect": "initbench.inspect", "predict": "initbench.predict",
            "reproduce": "initbench", "catalogue": "initbench"}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_a_wrong_line_in_one_line(name, folder, capsys):
    command = import_module(f"initbench.{name}{'.__main__' if name in ('report', 'sync') else ''}").main
    lines = [
        ["--nonsense"],
        ["a", "--nonsense", "b"],
        ["--\x1b[31m"],
        *([[]] if name in ("report", "sync", "predict") else []),
    ]
    for line in lines:
        assert command(line) == 2
        shown = capsys.readouterr()
        (said,) = shown.err.splitlines()
        assert re.match(f"{COMMANDS[name]}: command line: .*; see python -m initbench.{name} --help$", said)
        assert said.isprintable()
        assert shown.out == ""
    assert list(folder.iterdir()) == []


LINES = {
    "catalogue eye": "eye",
    "catalogue --check eye": "eye",
    "inspect init=eye seeds=2 model.depth=2": "eye",
    "reproduce --list": "sharing-speed",
    "report.__main__ -h": "usage: python -m initbench.report",
}


@pytest.fixture(scope="module")
def unread(tmp_path_factory):
    """(line, how) -> (status, stdout, stderr)."""
    command = [sys.executable, str(Path(__file__).with_name("unread.py")), *LINES]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path_factory.mktemp("unread"), check=True)
    return {(line, how): tuple(rest) for line, how, *rest in json.loads(done.stdout)}


@pytest.mark.parametrize("line", LINES)
def test_commands_outlive_their_reader_and_print_on_an_ascii_terminal(line, unread):
    assert unread[line, "unread"] == (0, "", "")
    status, out, err = unread[line, "closed"]
    assert (status, out, "Error" in err) == (0, "", False)
    status, out, err = unread[line, "ascii"]
    assert (status, out.isascii(), err) == (0, True, "")
    assert LINES[line] in out


def test_a_command_started_by_itself_outlives_its_reader(folder):
    command = [sys.executable, "-m", "initbench.report", "-h"]
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    unread = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(write)
    assert (unread.returncode, unread.stderr) == (0, "")
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True)
    assert (closed.returncode, "Error" in closed.stderr) == (0, False)
    ascii_ = subprocess.run(command, capture_output=True, env=environment)
    assert (ascii_.returncode, ascii_.stdout.isascii(), ascii_.stderr) == (0, True, b"")


TAB = {
    "initbench init=ortho": [
        "init=orthogonal",
        "init=orthogonal_relu",
        "init=orthogonal_spectral",
        "init=orthogonal_svd",
    ],
    "initbench init=eye,lsu": ["init=eye,lsuv"],
    "initbench optim=momentum optim.mom": ["optim.momentum=", "optim.momentum_rise="],
    "initbench train.target.": ["train.target.metric=", "train.target.value="],
    "initbench seeds=3 sh": ["sharing="],
    "initbench data=csv data.tar": ["data.target="],
    "initbench --cfg": [],
    "initbench nonsense.": [],
}


def test_the_shell_completes_groups_options_and_keys(monkeypatch, capsys):
    for line, expected in TAB.items():
        monkeypatch.setenv("COMP_LINE", f"{line} init=eye")  # what stands after the cursor does not count
        monkeypatch.setenv("COMP_POINT", str(len(line)))
        assert main(["-sc", "query=bash"]) == 0
        assert capsys.readouterr().out.split() == expected


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_the_console_script(folder):
    script = folder / "initbench"
    lines = [
        "import sys",
        "from initbench.__main__ import as_process",
        "sys.argv[0] = 'initbench'",
        "sys.exit(as_process())",
    ]
    script.write_text("\n".join([f"#!{sys.executable}", *lines]))
    script.chmod(0o755)
    typed = """eval "$(initbench -sc install=bash)"
COMP_LINE="initbench sharing=expl"; COMP_POINT=22; COMP_CWORD=1; COMP_WORDS=(initbench sharing=expl)
hydra_bash_completion; echo "${COMPREPLY[@]}"; complete -p initbench"""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", typed], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[0] == "sharing=explicit"
    assert "hydra_bash_completion initbench" in done.stdout
    assert done.stderr == ""
