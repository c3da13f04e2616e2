"""Odd input that once ended in a traceback or in a wrong answer, and a few inputs of each kind that the fuzz harness draws.

The harness itself, `python -m tests.fuzz`, tries them by the thousand; here it must find what is wrong on purpose.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from fuzz import __main__ as command
from fuzz import engines, findings, grammar, judge, targets
from fuzz import frames as study_frames
from initbench.errors import InputError, NotApplicable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of time and memory are those of Unix")

ANSWERED = {  # by target: inputs that are accepted, or refused in one line
    "overrides": [
        ["seeds=0"],
        ["init=eye,zeros"],
        ["init=xavier_normall"],
        ["optim.lr=[0.1,fast]"],
        ["study=a/b"],
        ["="],
    ],
    "options": [
        ("init", b"name: mine\n_target_: no.such\n"),
        ("optim", b"name: sgd\nlr: [fast]\n"),
        ("model", b"width: -3"),
    ],
    "npz": [
        ([("y", "|O", [40], False, 1, "pickle")], [], []),
        ([], [(0.1, 5, b"")], []),
        ([], [], ["data.target=input"]),
    ],
    "study": [(("runs.parquet", []), "csv,md")],
    "frames": [([("runs", "rows", 0, 0, "shuffled")], [], "file")],
    "names": [("<script>alert(1)</script>", "a,b", "html"), ("李明", "'", "csv"), ("$x^2$", "a|b", "md")],
    "argv": [
        ("initbench", ["--nonsense"]),
        ("initbench", ["--run"]),
        ("report", ["nowhere"]),
        ("initbench", ["seeds=0"]),
    ],
}
FOUND = {  # by the harness, and mended since
    "argv": [
        ("catalogue", ["--cfg"]),
    ],
    "frames": [
        ([("runs", "all", 115, 0, "!inf")], [], "memory"),
        ([("runs", "all", 115, 0, "!nan")], [], "memory"),
        ([("runs", "value", 115, 143, " 0x10")], [], "memory"),
        ([("runs", "value", 0, 0, [1])], [], "memory"),
        ([("runs", "value", 1, 0, [1])], [], "memory"),
        ([("runs", "column", 0, 0, "drop")], [], "memory"),
        ([("runs", "value", 0, 0, "!nan"), ("runs", "column", 61, 0, "repeat")], [], "memory"),
        ([("runs", "column", 1, 0, "drop")], [], "memory"),
        ([("runs", "all", 32, 0, 2.5)], [("set", 1, [])], "memory"),
        ([("runs", "value", 0, 0, "")], [("set", 0, None)], "memory"),
        ([("runs", "all", 200, 180, 1)], [("set", 1, {})], "memory"),
        ([("runs", "value", 177, 0, "!nan")], [], "memory"),
        ([("runs", "type", 0, 183, "object"), ("runs", "rows", 183, 0, "twice")], [], "memory"),
        ([("history", "value", 1, 4, "")], [], "versus"),
        ([("history", "all", 1, 0, "")], [], "memory"),
        ([("runs", "all", 5, 0, "!nan"), ("runs", "value", 81, 0, "!nan"), ("runs", "value", 1, 4, "")], [], "versus"),
    ],
    "names": [
        ("", "\x00", "html"),
    ],
    "npz": [
        ([], [(0.013474041620117786, 1, b"\\")], []),
    ],
    "options": [
        ("sharing", b"groups: outputs\ngroups: [[0], [1, 2]]"),
        ("sharing", b": untied\ngroups: [[0], [1, 2]]"),
        (
            "init",
            b"name: -4.2562433037959845e+226\n_target_: initbench.initializers.plain.normal_\nstd: 0.2\nbias: zeros",
        ),
        ("data", b"name: teacher\nsamples: 60\nnoise: ${init}"),
        ("data", b"name: teacher\n5: 60\nnoise: [[1]]"),
        ("measure", b"`: ${"),
        ("sharing", b'{" "}'),
        ("init", b"name: ${\n_target_: initbench.initializers.plain.normal_\nstd: 0.2\nbias: zeros"),
    ],
    "overrides": [
        [""],
        ["data.name=npz"],
        ["experiment=3"],
        ["~"],
        ["model.width=\x1b[31m"],
        ["=", ""],
        ["data=null,choice(1,2)"],
        [" ="],
    ],
    "study": [
        ([("set", 512, [None]), ("set", 3109, "é"), ("set", 420, [])], "html"),
        ([("set", 0, "%s.")], "csv,md"),
        ([("set", 0, 80)], "csv,md"),
        (("runs.parquet", [(0.0, 10000000, b"")]), "csv,md"),
        (("study.json", [(0.0, 10000000, b"")]), "csv,md"),
    ],
}
FEW = {"argv": 1}  # inputs; two of the others
ROWS = [(name, given) for known in (ANSWERED, FOUND) for name, inputs in known.items() for given in inputs]


def finding(run, seconds=5.0):
    return judge.judge(lambda given, folder: run(folder), None, seconds)


@pytest.mark.parametrize(("name", "given"), ROWS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(ROWS)])
def test_answered(name, given):
    targets.TARGETS[name].ready()
    found = judge.judge(targets.TARGETS[name].run, given)
    assert found is None, found.text


@pytest.mark.parametrize("name", targets.TARGETS)
def test_each_target_draws_and_runs_inputs(name, tmp_path):
    target = targets.TARGETS[name]
    target.ready()
    session = engines.Session(name, target, tmp_path, time.monotonic() + 60)
    engines.few(session, seed=0, examples=FEW.get(name, 2))
    assert session.inputs == FEW.get(name, 2)


def refuse(text):
    raise InputError(text)


def warn():
    np.float32(3e38) * np.float32(10)


WRONG = {
    "KeyError": lambda folder: {}["x"],
    "SystemExit": lambda folder: sys.exit(),
    "NotOneLine": lambda folder: refuse("a: b\nc"),
    "NotOneLine ": lambda folder: refuse("no colon"),
    "NotOneLine  ": lambda folder: refuse("a: \x1b[31m"),
    "WritesOutside": lambda folder: (
        Path(f"../{folder.name}.txt").open("w").close() or (folder.parent / f"{folder.name}.txt").unlink()
    ),
    "WritesOutside ": lambda folder: (folder.parent / "no" / "where").mkdir(exist_ok=True),
    "RuntimeWarning": lambda folder: warn(),
    "OutOfTime": lambda folder: [None for _ in iter(int, 1)],
    "OutOfTime ": lambda folder: time.sleep(10),
    "MemoryError": lambda folder: bytearray(10 * 2**30),
    "Executes": lambda folder: os.system("true"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_on_purpose_is_found(kind):
    if kind == "MemoryError" and sys.platform != "linux":
        pytest.skip("the address space is limited on Linux only")
    before = os.getcwd()
    found = finding(WRONG[kind], seconds=0.3 if "OutOfTime" in kind else 5)
    assert found is not None
    assert found.kind == ("FileNotFoundError" if kind == "WritesOutside " else kind.strip())
    assert os.getcwd() == before


@pytest.mark.parametrize("error", [InputError("a=1: wrong; do b"), NotApplicable("dirac: needs 3 dimensions")])
def test_a_refusal_in_one_line_is_no_finding(error):
    def run(folder):
        (folder / "inside").write_text("allowed")
        warnings.warn("of another kind", DeprecationWarning, stacklevel=1)
        raise error

    assert finding(run) is None


def test_a_finding_is_made_small_kept_once_and_replayed(tmp_path):
    def run(given, folder):
        if "7" in given:
            raise KeyError(given)

    session = engines.Session(
        "mine", targets.Target(lambda: st.text("678", max_size=5), run), tmp_path, time.monotonic() + 20
    )
    (key,) = engines.smaller(session, 0, set()) or engines.smaller(session, 1, set())
    (path,) = tmp_path.iterdir()
    assert findings.load(path) == ("mine", "7")
    assert key in path.read_text()
    assert "KeyError: '7'" in path.read_text()
    assert not findings.save(tmp_path, "mine", judge.judge(run, "77"), "77")
    assert findings.load(path) == ("mine", "7")


def test_a_kept_input_is_run_again(tmp_path, monkeypatch, capsys):
    assert tuple(targets.TARGETS) == command.TARGETS
    for given, status in ((["seeds=0"], 0), (["seeds=2"], 1)):
        findings.save(tmp_path, "overrides", judge.Finding("Kind", "frame", ""), given)
        (path,) = tmp_path.iterdir()
        if status:
            monkeypatch.setitem(
                targets.TARGETS, "overrides", targets.Target(st.text, lambda given, folder: {}[given[0]])
            )
        assert command.replay(path) == status
        path.unlink()
    assert "KeyError: 'seeds=2'" in capsys.readouterr().out


def test_lies_of_an_array_s_header_and_cuts_of_a_file():
    import io

    true = targets.array_bytes("<f8", [2, 3], False, 1, "count")
    assert np.load(io.BytesIO(true)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert len(targets.array_bytes("<f8", [10**9], False, 2, "ones")) < 10**5
    assert grammar.edited({"a": 1}, [("set", 0, ["!nan", "!deep"])])["a"][0] != 0
    assert json.dumps(grammar.alive("!deep")).count("[") == 301


def test_names_are_in_frames_and_study_alike():
    runs, _, study = study_frames.named("<b>", "s")
    assert set(runs["setup"]) == {"<b> · s", "k · s"} == {arm["setup"] for arm in study["arms"]}
