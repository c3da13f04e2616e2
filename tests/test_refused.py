"""Everything wrong that a person can type or name is one line before anything starts; what is right goes through."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import initbench as ib
from conftest import assert_template, small_arm
from initbench.__main__ import main
from initbench.cli import terminal
from initbench.config.groups import InitConfig
from initbench.errors import InputError
from initbench.overrides.expand import expand
from initbench.overrides.own_files import check_file
from initbench.overrides.read import read
from initbench.stats import remedy
from initbench.study import command as study
from initbench.study.labels import labelled, plain, setup_label
from initbench.study.places import check_places
from initbench.study.plan import PlannedArm
from initbench.study.saying import advice

FEW = ["init=eye", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", "track.uri=null", "engine.workers=1"]
TARGET = "_target_: initbench.initializers.normal_"


def with_few(*overrides: str) -> list[str]:
    keys = {text.split("=")[0].lstrip("+~") for text in overrides}
    return [*(text for text in FEW if text.split("=")[0] not in keys), *overrides]


# ------------------------------------------------------------------------------------------------ overrides

READ = {
    "init={name:eye}": "would be merged into the default option; write init=NAME and init.KEY=VALUE",
    "data={name:npz,path:x}": "would be merged",
    "optim=sgd,{lr:1}": "would be merged",
    "init=[eye,zeros]": "a list is not an option; write init=A,B for a sweep",
    "sharing=null": "not an option; write sharing=none",
    "measure=null": "not an option; write measure=none",
    "init=eye,null": "not an option; write init=NAME",
    "init.name=foo": "the option sets it; write init=NAME; a variant with its own name needs an option file",
    "init._target_=zeros": "the option sets it",
    "sharing.name=all": "the option sets it; write sharing=NAME",
    "+optim.foo=1": "keys cannot be added; write optim.foo=1",
    "++new=1": "keys cannot be added; write new=1",
    "~init": "keys cannot be deleted",
    "~measure": "keys cannot be deleted; write measure=none",
    "init@other=eye": "packages are not used here",
    "hydra.sweep.dir=elsewhere": "the study sets Hydra's own settings; must be one of: hydra/launcher",
    "hydra/sweeper=another": "Hydra's own settings",
    "hydra.mode=RUN": "Hydra's own settings",
    "model.width=interval(1,10)": "an interval has no values to try; list them",
    "model.width=shuffle(1,2)": "the order would change each time",
    "model.width=shuffle(range(1,5))": "the order would change each time",
    "model.width=range(5,1)": "an empty sweep",
    "model.width=range(1,5,0)": "an empty sweep",
    "model.width=choice()": r"choice\(...\) is not used this way; list the values",
    "model.width=glob(*)": "glob only picks options of a group",
    "measure=light,full": "a command takes one measure",
    "train.target.value=0.8,0.9": "a command takes one train.target.value",
    "study=a,b": r"""a command takes one study; .*quotes: 'study="a,b"'""",
    "report.baseline=": "the value is missing",
    "optim.lr=": "the value is missing; write optim.lr=VALUE, or leave it out",
    "study=''": "the value is missing",
    "eye": "not an override; write KEY=VALUE",
    "init=eye,": "not a value that Hydra can read; write init=A,B",
    "model.args.note=李明 (2)": r"""as text it needs quotes: 'model.args.note="李明 \(2\)"'""",
    "init=\x1b[31m": r"init=\\x1b\[31m: not a value",
}


@pytest.mark.parametrize("text", READ)
def test_an_override_without_effect_or_meaning_is_refused(text):
    with pytest.raises(InputError, match=READ[text]) as refused:
        read([text])
    assert_template(str(refused.value))


def test_the_quoting_that_a_refusal_shows_works():
    with pytest.raises(InputError) as refused:
        read(["model.args.note=it's (a) $test"])
    typed = str(refused.value).split("quotes: ")[1]
    shell = subprocess.run(["sh", "-c", f"printf %s {typed}"], capture_output=True, text=True, check=True).stdout
    assert read([shell])[0].value() == "it's (a) $test"


@pytest.mark.parametrize("key", ["study", "outputs", "data.path", "report.baseline", "track.uri", "model.target"])
@given(text=st.text(st.characters(exclude_categories=["C"], exclude_characters="\\,$'\""), min_size=1))
@settings(max_examples=25, deadline=None)
def test_plain_text_needs_no_quotes(key, text):
    value = read([f"{key}={text}"])[0].value()
    assert value == (None if text == "null" else text)


def test_a_key_is_given_once():
    for twice in (["seeds=3", "seeds=5"], ["init.gain=1", "+init.gain=2"], ["init=eye", "init=zeros"]):
        with pytest.raises(InputError, match="is given twice; leave one out"):
            read(twice)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("train.target=null", "train.target.value=0.9"),
        ("measure.schedule=null", "measure.schedule.every=3"),
        ("model.args=null", "model.args.a.b=1"),
        ("train.target={value:0.9}", "train.target.value=0.8"),
        ("model.args={a:{b:1}}", "model.args.a.b=2"),
    ],
)
def test_a_key_inside_what_another_override_sets_is_refused_in_either_order(outer, inner):
    for both in ([outer, inner], [inner, outer]):
        with pytest.raises(InputError, match=r"is given twice, once inside \S+; leave one out"):
            read(both)
    assert len(read(["train.target={metric:loss/train}", "train.target.value=0.8", "init=eye", "init.gain=2"])) == 4


def test_a_key_inside_what_an_option_file_turns_off_is_refused(folder):
    Path("experiment").mkdir()
    Path("experiment/off.yaml").write_text("# @package _global_\ntrain:\n  target: null\n")
    for text in ("train.target.value=0.9", "train.target={value:0.9}"):
        with pytest.raises(InputError) as refused:
            expand(with_few("experiment=off", text), ["."])
        assert str(refused.value) == f"{text}: an option file sets train.target=null; set its keys in the file"
    assert expand(with_few("experiment=off"), ["."])[0].train.target is None


COMPOSED = {
    "optim.lr=${optim.lr}": "refers to itself; write the value itself",
    "model.width=${model.nothing}": "refers to a key that does not exist",
    "outputs=${oc.env:NO_SUCH_VARIABLE}/x": "refers to a key that does not exist",
    "init=glob(zzz*)": "matches no option; must be one of: ",
    "sharing.slots=3": "sharing=none does not use it; choose one of sharing=sequence, cycle",
    "sharing=cycle sharing.rank=2": "sharing=cycle does not use it; choose one of sharing=low_rank_delta",
    "sharing.controls=true": "sharing=none does not use it; choose a scheme that shares",
    "model.base_width=64": "set model.parametrization=mup",
    "model.args.x=1": "choose model=module",
    "measure=none measure.schedule={every:2}": "measure=none takes no measures",
    "report.formats=[]": r"report.formats=\[\]: no format",
    f"study={'a' * 300}": "300 bytes are too long for the name of a folder; must have at most 255",
    f"study={'李' * 90}": "270 bytes",
    "study=CON": "not valid as a folder name on every system",
    "study=x.": "not valid as a folder name on every system",
    "init=xavier_normal init.gain=1,1.0": r"two arms have this label, of init.gain=1 and 1.0",
    "init=xavier_normal init.gain=5/3": "gain=5/3: neither a number nor an activation; write 1.666666667",
    "seeds=1000000000": r"seeds=1000000000: needs .* GB of memory, .* GB are free",
    "model.width=10000000": "model.width=10000000: needs .* GB",
    "model.depth=10000000": "model.depth=10000000: needs .* GB",
    "measure.schedule={every:1} train.steps=1000000000000": "measure at fewer steps",
    "model.width=range(1,1000000000)": "these are 999,999,999 arms",
}


@pytest.mark.parametrize("command", COMPOSED)
def test_what_only_shows_composed_is_refused_before_anything_is_written(command, folder, capsys):
    assert main(with_few(*command.split())) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert_template(line.removeprefix("initbench: "))
    assert re.search(COMPOSED[command], line)
    assert shown.out == ""
    assert not list(Path().iterdir())


def test_a_key_that_one_arm_of_a_sweep_reads_is_taken():
    arms = expand(with_few("sharing=none,cycle", "sharing.slots=3"))
    assert [arm.sharing.name for arm in arms] == ["none", "cycle"]


def test_a_traceback_is_shown_on_demand(monkeypatch):
    monkeypatch.setenv("INITBENCH_TRACEBACK", "1")
    with pytest.raises(InputError):
        main(["init=eye,"])


# ------------------------------------------------------------------------------------------------ labels


def planned_as(init: InitConfig, **changes) -> PlannedArm:
    arm = small_arm(init=init, **changes)
    return PlannedArm(arm, arm.key("", "", "2.0"), setup_label(arm))


simple = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=6)
values = simple | st.lists(simple, max_size=3)


def same(a: object, b: object) -> bool:
    """1 and 1.0 are one number."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b and isinstance(a, bool) == isinstance(b, bool)


@given(values, values)
@settings(max_examples=60, deadline=None)
def test_different_values_are_written_differently(a, b):
    assert same(a, b) or plain(a) != plain(b)


keys = st.sampled_from(["gain", "mode"])


@given(
    st.lists(st.dictionaries(keys, values, max_size=2), min_size=2, max_size=2),
    st.lists(st.floats(0.1, 1), min_size=2, max_size=2),
)
@settings(deadline=None, max_examples=60)
def test_different_arms_have_different_labels(args, decays):
    arms = [
        planned_as(InitConfig("f", "f", "zeros", one, one), optim={"weight_decay": decay})
        for one, decay in zip(args, decays)
    ]
    if arms[0].key == arms[1].key:
        return
    if (
        args[0].keys() == args[1].keys()
        and all(same(args[0][k], args[1][k]) for k in args[0])
        and decays[0] == decays[1]
    ):
        with pytest.raises(InputError, match="two arms have this label"):
            labelled(arms)
        return
    first, second = labelled(arms)
    assert first.label != second.label


def test_data_of_one_name_are_told_apart_by_what_differs(folder):
    for one in "ab":
        np.savez(f"{one}.npz", x=np.eye(20), y=np.arange(20) % 2)
    data = [{"name": "npz", "path": f"{one}.npz"} for one in "ab"]
    arms = labelled([planned_as(InitConfig("f", "f"), data=one) for one in data])
    assert [arm.label for arm in arms] == ["f · none · path=a.npz", "f · none · path=b.npz"]


def test_an_option_file_with_the_name_of_another_option_goes_by_its_file_name(folder):
    Path("init").mkdir()
    Path("init/mine.yaml").write_text(f"name: normal\n{TARGET}\nstd: 0.2\n")
    Path("init/wide.yaml").write_text(f"name: my own\n{TARGET}\nstd: 0.3\n")
    arms = expand(with_few("init=mine,normal,wide"), ["."])
    assert [arm.init.name for arm in arms] == ["mine", "normal", "my own"]
    Path("init/other.yaml").write_text(f"name: my own\n{TARGET}\nstd: 0.4\n")
    with pytest.raises(InputError, match=r"init/wide.yaml and init/other.yaml: both are named my own"):
        expand(with_few("init=wide,other"), ["."])
    Path("init/eye.yaml").write_text(f"name: eye\n{TARGET}\nstd: 0.4\n")
    with pytest.raises(InputError, match=r"init/eye.yaml: another option has this name"):
        expand(with_few("init=eye"), ["."])


def test_a_study_of_a_renamed_option_trains_and_shows_both(folder):
    Path("init").mkdir()
    Path("init/mine.yaml").write_text(f"name: normal\n{TARGET}\nstd: 0.2\n")
    assert main(["--config-dir", ".", *with_few("init=mine,normal", "report.formats=[csv]", "study=s")]) == 0
    runs = ib.load("outputs/s").runs
    assert runs.groupby("init.name").size().to_dict() == {"mine": 2, "normal": 2}
    assert set(runs["status"]) == {"completed"}


# ------------------------------------------------------------------------------------------------ option files

FILES = {
    b"name: 5\n" + TARGET.encode(): "name must be text, not 5",
    b"name: no\n" + TARGET.encode(): "name must be text, not False",
    b"name: x\n_target_: 5\n": "_target_ must be text",
    b'name: "a\\e[31m"\n' + TARGET.encode(): "name must be printable text",
    b'name: "\\ud800"\n' + TARGET.encode(): "name must be printable text",
    "name: x\n_target_: y".encode("utf-16"): "not UTF-8 text",
    b"name: x\n_target_: y\na:\n\t- 1\n": "line 4 has a tab",
    b"name: x\nname: y\n_target_: z\n": "line 2: name stands twice",
    b"- a\n- b\n": "not a mapping",
    b"": "empty",
    b"a" * 1_000_001: "1,000,001 bytes",
    b"name: x\na: " + b"[" * 3000 + b"]" * 3000: "nested too deeply",
    b"name: x\na: &a [*a]\n": "its aliases make more than a million values",
    b"name: x\na0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12)): "its aliases",
    b"name: !!python/name:os.system\n": "line 1: tag:yaml.org,2002:python/name:os.system is no plain value",
}


@pytest.mark.parametrize("content", FILES, ids=lambda content: FILES[content][:12])
def test_an_option_file_that_is_none_is_named_with_its_fault(content, folder):
    path = Path("init/mine.yaml")
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"init/mine.yaml: {FILES[content]}")) as refused:
        expand(with_few("init=mine"), ["."])
    assert_template(str(refused.value))


def test_our_own_option_files_are_in_order():
    from initbench.disk import conf_folder

    for path in conf_folder().rglob("*.yaml"):
        check_file(path)


# ------------------------------------------------------------------------------------------------ places and terminals


def test_what_stands_in_the_way_of_a_study_is_named(folder):
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    for path in ("a/store", "b/s"):
        Path(path).parent.mkdir()
        Path(path).touch()
    Path("c/s/runs.parquet").mkdir(parents=True)
    wrong = {
        "/": "the root of the file system",
        "~/x": "~ is not expanded here",
        "file": "file is a file, not a folder",
        "file/below": "file is a file, not a folder",
        "link": "link is a link to nothing",
        "a": "a/store is a file",
        "b": "b/s is a file",
        "c": r"c/s/runs.parquet is a folder",
    }
    for outputs, reason in wrong.items():
        with pytest.raises(InputError, match=f"^outputs={outputs}: .*{reason}"):
            check_places(outputs, "s")
    check_places("new", "s")


def test_a_full_disk_is_one_line_that_names_the_file(folder, capsys, monkeypatch):
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device", "outputs/s/study.json")

    monkeypatch.setattr("initbench.study.results.Results.save_study", full)
    monkeypatch.setattr("initbench.study.results.Results.save", full)
    assert main(with_few("study=s")) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("initbench")]
    assert line.startswith("initbench: outputs/s/study.json: No space left on device; finished runs are stored")


class Closed(io.StringIO):
    """A pipe that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_the_terminal_outlives_its_reader_and_obeys_no_markup():
    console = terminal.Terminal(file=Closed())
    console.print("one")
    console.print("two")
    shown = io.StringIO()
    terminal.Terminal(file=shown).print("[/x] [red]:smile: \x1b[31m \ud800")
    assert shown.getvalue() == "[/x] [red]:smile: \\x1b[31m \\ud800\n"


def test_a_study_ends_well_with_a_closed_pipe_and_an_ascii_terminal(folder):
    command = [sys.executable, "-m", "initbench", *with_few("report.formats=[csv]", "study=李明")]
    shown = subprocess.run(
        ["sh", "-c", '"$@" 2>&1 | head -1', "sh", *command],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert shown.stdout == rb"study \u674e\u660e: 1 arm, 2 runs" + b"\n"
    assert Path("outputs/李明/summary.csv").is_file()


def test_commands_work_without_docstrings(folder):
    for module, *rest in (["initbench.catalogue", "--help"], ["initbench.reproduce", "--help"]):
        assert subprocess.run([sys.executable, "-OO", "-m", module, *rest], capture_output=True).returncode == 0


def test_version_is_initbench_s(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"initbench \S+ \(torch \S+, hydra 1\.\S+\)\n", capsys.readouterr().out)


# ------------------------------------------------------------------------------------------------ ib.run, advice, baseline


@pytest.mark.parametrize("given", ["seeds=3", b"seeds=3", 5, None, {"seeds": 3}, ["init=eye", 5], [Path("x")], [None]])
def test_run_asks_for_a_list_of_text(given):
    with pytest.raises(InputError, match=r"a list of overrides is needed|an override is text"):
        ib.run(given)


def test_run_lists_a_generator_once_and_trains_nothing_on_a_dry_run(folder, capsys):
    assert ib.run(text for text in with_few("train.dry_run=true", "study=dry")) is None
    assert "study dry: 1 arm, 2 runs" in capsys.readouterr().err
    assert not list(Path("outputs").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("row", "metric", "budget", "said"),
    [
        ({}, "accuracy/train", 30, "try train.steps=60, or a lower train.target.value"),
        ({}, "loss/val", 30, "try train.steps=60, or a higher train.target.value"),
        ({"failed": 3}, "accuracy/train", 30, None),
        ({}, "accuracy/train", 0, None),
        ({"reached": 1}, "accuracy/train", 30, None),
        ({"diverged": 3}, "accuracy/train", 30, "every run diverged: try smaller learning rates"),
        ({"diverged": 1, "failed": 2}, "loss/train", 30, "every run diverged"),
    ],
)
def test_advice_is_true_of_the_metric_and_of_what_happened(row, metric, budget, said):
    board = pd.DataFrame([{"n": 3, "reached": 0, "failed": 0, "diverged": 0, **row}])
    found = advice(board, {"metric": metric, "value": 0.5}, budget)
    assert not budget or "try train" not in str(found) or remedy.longer(budget) in found
    assert found is None if said is None else said in found


def test_an_experiment_s_baseline_is_that_of_its_own_initializers():
    arms = [planned_as(InitConfig(name, name)) for name in ("eye", "kaiming_normal")]
    given = ["init=eye,kaiming_normal", "seeds=3"]
    assert study.baseline_of("kaiming_normal", arms, ["sharing=none"]) == "kaiming_normal"
    assert study.baseline_of("kaiming_normal", arms, given) is None
    assert study.baseline_of("kaiming_normal", arms, [*given, "experiment=quick"]) == "kaiming_normal"
    assert study.baseline_of("kaiming_normal", arms[:1], [*given, "experiment=quick"]) is None
    assert study.baseline_of("eye · none", arms, [*given, "report.baseline=eye · none"]) == "eye · none"
    with pytest.raises(InputError, match=r"report.baseline=eyes: unknown; did you mean eye\?"):
        study.baseline_of("eyes", arms, [*given, "report.baseline=eyes"])


def test_text_that_looks_like_a_number_names_a_study(folder):
    assert study.plan(with_few("study=1.10")).config.name == "1.10"
