"""A person's own code: whatever it does, one line says so, the other arms are complete, and its files are in the key."""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import initbench as ib
from conftest import assert_template, small_arm
from initbench import catalogue
from initbench.__main__ import main
from initbench.config.groups import InitConfig, LayerSpec, SharingConfig
from initbench.data import load
from initbench.engine import one_by_one, stacked, trainers
from initbench.engine.material import Material, start_of_seed
from initbench.errors import InputError, NotApplicable
from initbench.initializers import Initializer, check_shared
from initbench.initializers.calling import call_
from initbench.own import sources
from initbench.sharing import Parts, Slot
from initbench.sharing import build as sharing_build
from initbench.study import command as study
from initbench.study.plan import planned

SMALL = ["sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", "track.uri=null", "report.formats=[csv]"]
HERE = ["engine.workers=1", "measure=none"]
COUNT = iter(range(10**6))


@pytest.fixture
def write(folder, monkeypatch):
    """Write a module of one's own into the current folder; gives its name, unlike any other."""
    monkeypatch.syspath_prepend(str(folder))
    names = []

    def written(text, name=None):
        name = name or f"own_{next(COUNT)}"
        names.append(name)
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        return name

    yield written
    for name in names:
        sys.modules.pop(name, None)
        sources._read.pop(name, None)


def filled(function, shape=(3, 2), bias=None, **more):
    weight = torch.zeros(shape, dtype=torch.float64)
    draws = torch.Generator().manual_seed(0)
    return call_(function, weight, bias, args={}, layer=LayerSpec(0, 1, 2, 3), generator=draws, **more)


# ------------------------------------------------------------------------------------------------ what it leaves


def rebinds(weight, *, generator):
    weight = weight + torch.randn(weight.shape, generator=generator)


def nothing(weight):
    pass


def part(weight):
    weight[0].zero_()


def reads(weight):
    weight.mul_(2)


def lazily(weight):
    yield weight.zero_()


async def later(weight):
    weight.zero_()


def array(weight):
    return np.ones(tuple(weight.shape))


def pair(weight, *, bias=None):
    return weight.zero_(), bias


def resized(weight):
    weight.resize_(4, 4).zero_()


def narrowed(weight):
    weight.data = torch.zeros(3, 2, dtype=torch.float32)


def complex_(weight):
    return torch.ones(3, 2, dtype=torch.complex64)


def half_a_bias(weight, *, bias):
    weight.zero_()
    bias[0] = float("nan")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (rebinds, "NaN or infinity in 6 of 6 entries.*holds NaN before the call"),
        (nothing, "6 of 6"),
        (print, "6 of 6"),
        (part, "4 of 6"),
        (reads, "read none first"),
        (lazily, "generator or async"),
        (later, "generator or async"),
        (array, "returned a ndarray"),
        (pair, "returned a tuple"),
        (resized, r"left shape \(4, 4\)"),
        (
            narrowed,
            r"left float32 .* which is float64 while it is drawn .*; write weight\.copy_\(\.\.\.\), or end in \.to\(weight\.dtype\)",
        ),
        (complex_, "complex64"),
        (half_a_bias, "1 of 3 entries for a bias"),
    ],
)
def test_what_is_no_weight_is_refused_and_nothing_is_changed(function, words):
    before = torch.ones(3, dtype=torch.float64)
    bias = before.clone()
    with pytest.raises(InputError, match=words) as refusal:
        filled(function, bias=bias)
    assert_template(str(refusal.value))
    assert torch.equal(bias, before)
    weight = torch.full((3, 2), 7.0, dtype=torch.float64)
    with pytest.raises(InputError):
        call_(function, weight, bias, args={}, layer=None, generator=None)
    assert (weight == 7).all()


def swapped(weight):
    weight.data = torch.ones(3, 2, dtype=torch.float64)


@pytest.mark.parametrize("function", [swapped, lambda weight: torch.ones(3, 2), lambda weight: weight.fill_(1)])
def test_a_filled_or_returned_tensor_is_taken(function):
    assert (filled(function) == 1).all()


def test_an_edit_sees_what_is_there_and_must_change_it():
    net = torch.nn.Linear(2, 3)
    before = net.weight.detach().clone()
    ib.initialize_(net, {"weight": lambda w: w.mul_(2)})
    assert torch.equal(net.weight, 2 * before)
    with pytest.raises(InputError, match="it changed nothing"):
        ib.initialize_(net, {"weight": lambda w: None})


# ------------------------------------------------------------------------------------------------ what it raises


def test_global_state_is_put_back(folder):
    def vandal(weight):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(True)
        torch.set_num_threads(2)
        torch.use_deterministic_algorithms(True)
        os.chdir("/")
        os.environ["INITBENCH_TEST"] = "1"
        sys.argv.append("x")
        sys.stdout = None
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        raise ValueError("no")

    def state():
        numpys = np.random.get_state()[1].tobytes()
        return (
            *(torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(), os.getcwd()),
            *(dict(os.environ), list(sys.argv), sys.stdout, random.getstate(), numpys),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_rng_state().numpy().tobytes(),
        )

    before = state()
    with pytest.raises(InputError, match=r"init=vandal: it raised ValueError: no \(.*test_own_code.py:\d+\)"):
        filled(vandal)
    assert state() == before


def test_what_was_left_as_it_was_is_not_set_again(monkeypatch):
    """torch imports its compiler where deterministic algorithms are turned on or off, which takes a second."""
    monkeypatch.setattr(torch, "use_deterministic_algorithms", None)
    assert (filled(lambda weight: weight.fill_(1)) == 1).all()


BAD = """
    import os, sys
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(one)
    def exits(weight): sys.exit()
    def odd(weight): raise Odd("strange", lambda: 0)
    def nothing(weight): print("hello")
    def good(weight): weight.fill_(0.1)
"""


def test_arms_whose_code_fails_are_listed_and_the_others_are_complete(write, capsys):
    own = write(BAD)
    inits = ",".join(f"{own}.{name}" for name in ("exits", "odd", "nothing", "good"))
    assert main([f"init={inits}", *SMALL, *HERE]) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "hello" not in out
    results = ib.load(newest())
    status = {arm["init"].rpartition(".")[2]: arm for arm in results.study["arms"]}
    assert status["good"]["status"] == "done"
    said = {"exits": "SystemExit", "odd": "Odd: strange", "nothing": "NaN or infinity"}
    for name, words in said.items():
        assert status[name]["status"] == "failed"
        assert words in status[name]["reason"]
        assert f"{own}.py" in status[name]["reason"]


def newest():
    return next(path.parent for path in Path("outputs").rglob("study.json"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys; sys.exit(0)", "SystemExit"),
        ("raise KeyError('x')", "KeyError"),
        ("def f(:", "SyntaxError"),
        ("import no_such_thing_at_all", "no module named 'no_such_thing_at_all'"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "Odd"),
        ("f = 3", "not a function"),
    ],
)
@pytest.mark.parametrize("key", ["init", "sharing", "model.target"])
def test_at_import_it_is_one_line_and_status_2(write, capsys, key, text, words):
    own = write(text)
    more = {"init": [], "sharing": ["init=eye"], "model.target": ["init=eye", "model=module"]}[key]
    asked = [one for one in SMALL if not (key == "sharing" and one.startswith("sharing="))]
    assert main([f"{key}={own}.f", *more, *asked, *HERE]) == 2
    err = capsys.readouterr().err
    assert f"{key}={own}.f: " in err
    assert words in err
    assert_template(err.removesuffix("\n"))
    assert not os.path.exists("outputs")


# ------------------------------------------------------------------------------------------------ what is in the key


def key_of(init="eye", **changes):
    return planned(small_arm(init=InitConfig("x", init, "zeros", changes.pop("args", {})), **changes)).key


@pytest.mark.parametrize(
    "line",
    [
        "from {helper} import X",
        "import {helper}\nX = {helper}.X",
        "import importlib\nX = importlib.import_module('{helper}').X\nm = importlib.import_module('{helper}')",
        "try:\n    from {helper} import *\nexcept ImportError:\n    X = 0",
        "def X():\n    from {helper} import X\n    return X",
        "from functools import partial\nfrom {helper} import g\nX = g",
    ],
)
def test_the_key_follows_every_module_that_is_imported(write, line):
    deep = write("Y = 1\n")
    text = f"from {deep} import Y\nX = 1\ndef g(): pass\n"
    helper = write(text)
    own = write(line.format(helper=helper) + "\ndef f(weight): weight.fill_(0.5)\n")
    first = key_of(f"{own}.f")
    assert first == key_of(f"{own}.f")
    keys = [first, key_of("zero_head", args={"base": f"{own}.f"})]
    write(text + "# edited\n", helper)
    keys += [key_of(f"{own}.f"), key_of("zero_head", args={"base": f"{own}.f"})]
    write("Y = 2\n", deep)
    keys += [key_of(f"{own}.f")]
    assert len(set(keys)) == 5


def test_an_edited_helper_is_what_runs(write):
    helper = write("X = 0.25\n")
    own = write(f"from {helper} import X\ndef f(weight): weight.fill_(X)\n")
    for value in (0.25, 0.75):
        write(f"X = {value}\n", helper)
        arm = planned(small_arm(init=InitConfig("x", f"{own}.f", "zeros")))
        assert (start_of_seed(arm.material, 0)["weight_00"] == value).all()


def test_packages_and_relative_imports(folder, write):
    own = write("")
    (folder / f"{own}.py").unlink()
    (folder / own / "sub").mkdir(parents=True)
    (folder / own / "__init__.py").write_text("")
    (folder / own / "scale.py").write_text("X = 1\n")
    (folder / own / "sub" / "init.py").write_text("from ..scale import X\ndef f(weight): weight.fill_(X)\n")
    (folder / own / "beside.py").write_text("Y = 1\n")
    before = key_of(f"{own}.sub.init.f")
    importlib.import_module(f"{own}.beside")  # the package now holds it, but nothing that f needs imports it
    assert key_of(f"{own}.sub.init.f") == before
    (folder / own / "scale.py").write_text("X = 2\n")
    assert key_of(f"{own}.sub.init.f") != before
    for name in [each for each in sys.modules if each.startswith(own)]:
        del sys.modules[name]


# ------------------------------------------------------------------------------------------------ sharing


LAYERS = small_arm().model.layers(5, 3)  # 0 to 4


@pytest.mark.parametrize(
    ("built", "words"),
    [
        ([[0], [1, 2], [2, 3], [4]], "layer 2 twice; put each layer into one group only"),
        ([[1, 1]], "layer 1 twice"),
        ([[1, 9]], "names layer 9; name layers 0 to 4"),
        ([[-1, 2]], "names layer -1"),
        ([[1.0, 2.0]], "1.0 is not a layer"),
        ([[True, 2]], "True is not a layer"),
        ([["1", 2]], "'1' is not a layer"),
        ([{1, 2}], "it returned"),
        ([[]], "it returned"),
        ([["1", "2"]], r"\[\['1', '2'\]\]: '1' is not a layer"),
        (["a"], r"it returned \['a'\]"),
        ("12", "it returned '12'"),
        ([[[1, 2]]], r"\[1, 2\] is not a layer"),
        (None, "it returned None"),
        ({1: 2}, "it returned"),
        ((g for g in [[1, 2]]), "it returned"),
        (Parts((Slot("a", (6, 5), (0,)), Slot("b", (6, 6), (1, 2)))), "no slot for layer 3"),
        (Parts(tuple(Slot("a", LAYERS[i].shape, (i,)) for i in range(5))), "two slots are named a"),
        (Parts(tuple(Slot(f"{i}", (2, 2), (i,)) for i in range(5))), r"has shape \(2, 2\)"),
    ],
)
def test_what_a_sharing_function_may_return(monkeypatch, built, words):
    monkeypatch.setattr(sharing_build, "builder", lambda name: lambda config, layers: built)
    with pytest.raises(InputError, match=rf"^sharing=my\.f: .*{words}"):
        sharing_build.scheme(SharingConfig("my.f"), LAYERS)


def test_one_net_in_every_engine(monkeypatch):
    monkeypatch.setattr(sharing_build, "builder", lambda name: lambda c, layers: [np.array([1, 3]).tolist(), (2,)])
    arm = small_arm(sharing={"name": "my.f"})
    data = load(arm.data)
    chunks = [run(arm, list(arm.runs), data) for run in (stacked.run_chunk, one_by_one.run_chunk)]
    losses = [chunk.series["loss/train"].values for chunk in chunks]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


@pytest.mark.parametrize("groups", [[[1, 3], (2,)], [[3, 2, 1]], [(0,), (1, 2), (3,), (4,)], []])
def test_every_trainer_trains_the_net_that_a_sharing_of_ones_own_asks_for(write, groups):
    own = write(f"def groups(config, layers): return {groups!r}\n")
    arm = small_arm(sharing={"name": f"{own}.groups"}, model={"dtype": "float32"}, measure={"schedule": {"every": 3}})
    data = load(arm.data)
    found = {}
    for trainer in trainers.TRAINERS:
        assert trainer.refuses(arm, Material(arm, data)) == ""
        found[trainer.name] = trainer.train(arm, arm.runs, data, lambda done: None).series
    oracle = found.pop("single")
    assert set(found) == {"kernel", "stacked"}
    for series in found.values():
        for name, known in oracle.items():
            assert (series[name].steps, series[name].layers) == (known.steps, known.layers), name
            # cosines and ratios of gradients near zero lose digits on any path
            allowed = 1e-3 if name.startswith(("use_grad_co", "use_grad_al", "update_ratio")) else 1e-5
            error = np.abs(series[name].values - known.values) / np.maximum(1, np.abs(known.values))
            assert np.nanmax(error, initial=0.0) <= allowed, name
    alone = stacked.run_chunk(replace(arm, sharing=SharingConfig("none")), arm.runs, data).series["loss/train"]
    assert np.allclose(alone.values, oracle["loss/train"].values, rtol=1e-3) == (groups == [])


# ------------------------------------------------------------------------------------------------ workers


def test_a_killed_worker_fails_its_own_arm_only(write):
    own = write(
        """
        import os, multiprocessing
        def ends(weight):
            if multiprocessing.parent_process() is not None: os._exit(3)
            weight.fill_(0.1)
        def killed(weight):
            if multiprocessing.parent_process() is not None: os.kill(os.getpid(), 9)
            weight.fill_(0.1)
        def good(weight): weight.fill_(0.1)
        """
    )
    asked = [
        f"init={own}.good,{own}.ends,{own}.killed,eye",
        *SMALL,
        "engine.workers=2",
        "measure=none",
        "engine.chunk=1",
    ]
    results = ib.run(asked)
    status = {arm["init"].rpartition(".")[2]: arm for arm in results.study["arms"]}
    assert {name: arm["status"] for name, arm in status.items()} == {
        "good": "done",
        "ends": "failed",
        "killed": "failed",
        "eye": "done",
    }
    for name in ("ends", "killed"):
        assert "a worker was killed" in status[name]["reason"]
    assert results.runs.groupby("init.name").size()[f"{own}.good"] == 2


# ------------------------------------------------------------------------------------------------ cautions, keys


@pytest.mark.parametrize(
    ("init", "alike"),
    [
        (["init=eye"], True),
        (["init=zas"], True),
        (["init=kaiming_normal"], False),
        (["init=eye", "init.bias=torch"], False),
        (["init=per_layer", "init.map={0-5: eye}", "init.default=zeros"], True),
        (["init=per_layer", "init.map={0-4: eye}"], False),
    ],
)
def test_equal_starts_are_said(folder, init, alike):
    found = study.plan([*init, *SMALL, *HERE]).cautions
    titles = [one["title"] for one in found]
    assert ("All seeds start alike" in titles) == alike
    assert not alike or "the 2 seeds" in str(found)


def test_an_initializer_that_ignores_its_generator_is_said(write):
    own = write("def f(weight, *, generator): weight.fill_(0.1)\ndef g(weight): weight.normal_()\n")
    assert "All seeds start alike" in str(study.plan([f"init={own}.f", *SMALL, *HERE]).cautions)
    assert "All seeds start alike" not in str(study.plan([f"init={own}.g", *SMALL, *HERE]).cautions)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({99: "zeros"}, "init.map.99: no such layer; name one of layers 0 to 3"),
        ({-9: "zeros"}, "no such layer"),
        ({"7-9": "zeros"}, "no such layer"),
        ({"3-1": "zeros"}, "no such layer"),
        ({"layer_9*": "zeros"}, "no such layer"),
        ({"--1": "zeros"}, "no layer has this name; must be one of: first, hidden, last"),
        ({"²": "zeros"}, "no layer has this name; must be one of: first, hidden, last"),
        ({"default": "zeros"}, "init.default"),
        ({"hidden": "eye", 1: "zeros"}, "init.map.1: earlier keys"),
    ],
)
def test_keys_of_a_map_that_have_no_effect_are_refused(given, words):
    layers = [LayerSpec(i, 3, 4, 4) for i in range(4)]
    with pytest.raises(InputError, match=words):
        check_shared(Initializer.of("per_layer", {"map": given}), layers, [])


def test_hidden_where_nothing_is_hidden_does_not_apply():
    with pytest.raises(NotApplicable, match=r"init\.map\.hidden: no such layer"):
        check_shared(
            Initializer.of("per_layer", {"map": {"hidden": "eye"}}), [LayerSpec(i, 1, 4, 4) for i in range(2)], []
        )


STATE = """
    import itertools, torch
    COUNT, REST = itertools.count(1), torch.Generator()
    def counts(weight, *, generator): weight.normal_(0, 0.1 * next(COUNT), generator=generator)
    def others(weight): weight.normal_(generator=REST)
    def constant(weight): weight.fill_(next(COUNT))
    def fresh(weight, *, generator): weight.normal_(0, 0.1, generator=generator)
    def global_(weight): weight.normal_()
    class Counted(torch.nn.Linear):
        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.inner = torch.nn.Linear(inputs, outputs)
            self.weight.data.fill_(next(COUNT))
        def forward(self, x): return self.inner(x) + super().forward(x)
"""


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (["init={own}.counts"], "init={own}.counts"),
        (["init={own}.others"], "init={own}.others"),
        (["init={own}.constant"], "init={own}.constant"),
        (["init=per_layer", "+init.map={{1: {own}.counts}}"], "init=per_layer"),
        (["model=module", "model.target={own}.Counted", "init=eye"], "model.target={own}.Counted"),
        (["init={own}.fresh"], ""),
        (["init={own}.global_"], ""),
    ],
)
def test_other_numbers_for_the_same_seed_are_refused(write, folder, asked, what, capsys):
    own = write(STATE)
    status = main([*(one.format(own=own) for one in asked), *SMALL, *HERE])
    said = " ".join(capsys.readouterr().err.split())
    if not what:
        assert status == 0
        return
    assert status == 2
    assert f"{what.format(own=own)}: the same seed gave other numbers" in said
    assert "only; keep nothing between calls" in said
    assert not (folder / "outputs").exists()


def check(target, *words):
    return catalogue.main(["--check", target, *words])


def test_check_of_bias_swapped_fans_and_arguments(write, capsys):
    own = write(
        """
        def both(weight, *, generator, bias=None):
            weight.normal_(0, weight.shape[1] ** -0.5, generator=generator)
            if bias is not None: bias.fill_(0.3)
        def swapped(weight, *, generator): weight.normal_(0, weight.shape[0] ** -0.5, generator=generator)
        def scaled(weight, *, alpha, generator): weight.normal_(0, alpha, generator=generator)
        def named(weight, bias, *, generator): weight.normal_(generator=generator)
        def positional(w, gen): w.normal_(generator=gen)
        """
    )
    left = "the bias is left as init.bias fills it"
    assert check(f"{own}.named") == 0
    assert left in capsys.readouterr().out
    assert check(f"{own}.positional") == 2
    assert "arguments called generator, bias and layer are passed" in capsys.readouterr().err
    assert check(f"{own}.positional", "init.gen=3") == 1
    assert "it raised TypeError" in capsys.readouterr().out
    assert check(f"{own}.both") == 0
    said = capsys.readouterr().out
    assert "std 1.00 / sqrt(fan_in)" in said
    assert left not in said
    assert check(f"{own}.swapped") == 0
    assert "std 1.00 / sqrt(fan_out)" in capsys.readouterr().out
    assert check(f"{own}.scaled") == 2
    assert "init.alpha=VALUE" in capsys.readouterr().err
    assert check(f"{own}.scaled", "init.alpha=0.5") == 0
    assert "std 0.50," in capsys.readouterr().out
    assert check(f"{own}.scaled", "alpha=0.5") == 2


def test_files_that_hide_a_library_are_named(tmp_path):
    """Each of these would be imported in place of the library."""
    for name in ("numpy.py", "random.py", "torch.py"):
        folder = tmp_path / name.removesuffix(".py")
        folder.mkdir()
        (folder / name).write_text("X = 1\n")
        script = "import sys; sys.path.pop(0); from initbench.__main__ import as_process; sys.exit(as_process())"
        for how in (["-m", "initbench"], ["-c", script]):  # the module, and what an installed script does
            command = [sys.executable, *how, "train.dry_run=true"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
            assert done.returncode == 2
            assert_template(done.stderr.removesuffix("\n"))
            assert f"{name}: " in done.stderr
