"""What goes around a sharing scheme: its fair controls, an installed package's own schemes, sweeps over all of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.core.config_store import ConfigStore

import initbench as ib
from conftest import small_arm
from initbench import data, stats
from initbench.config.called import setting_config
from initbench.config.groups import InitConfig
from initbench.engine import stacked
from initbench.engine.material import Material, start_of_seed
from initbench.errors import InputError, NotApplicable
from initbench.initializers.option_files import known, load_option
from initbench.own import plugins
from initbench.sharing import BUILDERS
from initbench.study import command as study
from initbench.study.controls import control_text, controls
from initbench.study.plan import planned

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    "track.uri=null",
    "engine.workers=1",
    "engine=stacked",
    "report.formats=[csv]",
    "data=teacher",
    "train.eval_samples=16",
    "optim.batch_size=16",
    "measure=none",
]


# ------------------------------------------------------------------------------------------------------- controls


def test_controls_of_sharing(folder):
    """One untied net of equal width, and for each number of stored parameters one narrower; all in one setting."""
    asked = ["sharing=all,cycle,sequence,soft", "model.width=20", "init=eye", *SMALL]
    plan = study.plan([*asked, "sharing.controls=true"])
    assert len({arm.setting for arm in plan.arms}) == 1
    arms = {arm.setup: arm for arm in plan.arms}
    assert len(arms) == len(plan.arms) == 4 + 1 + 2
    equal = arms["eye · none"]
    assert equal.config.model.width == 20
    assert control_text(equal) == "as many operations a step as all, cycle(2), sequence(2), soft(0.001)"
    for shared, name in (("all", "all"), ("cycle(2)", "cycle(2), sequence(2)")):
        (narrow,) = (arm for setup, arm in arms.items() if f"parameters of {name})" in setup)
        width, target = narrow.config.model.width, arms[f"eye · {shared}"].scheme.stored_parameters
        assert narrow.setup == f"eye · none(width {width}, parameters of {name})"
        scheme = narrow.scheme
        biases = 6 * width + narrow.data.outputs
        counted = f"{scheme.stored_parameters - biases:,} weights + {biases:,} biases"
        assert control_text(narrow) == f"as many stored numbers as {name}: {counted}"
        assert narrow.scheme.stored_parameters == untied(width, narrow)
        gap = abs(untied(width, narrow) - target)
        assert all(abs(untied(other, narrow) - target) >= gap for other in range(1, 21))  # the nearest there is
    flops = {setup: arm.describe()["flops_per_step"] for setup, arm in arms.items()}
    assert flops["eye · all"] < flops["eye · none"] < 1.3 * flops["eye · all"]  # only the optimizer's work differs
    without = study.plan(asked)
    assert {arm.key for arm in without.arms} == {
        arms[f"eye · {n}"].key for n in ("all", "cycle(2)", "sequence(2)", "soft(0.001)")
    }


def test_the_narrower_net_is_the_nearest_there_is():
    """Against a count of every width by hand, for many widths; lists of widths shrink together."""
    for width in range(6, 30):
        arm = planned(small_arm(sharing={"name": "cycle", "controls": True}, model={"depth": 6, "width": width}))
        narrow = controls(arm)[1].config.model.width
        target = arm.scheme.stored_parameters
        sizes = {w: untied(w, arm) for w in range(1, width + 1)}
        assert abs(sizes[narrow] - target) == min(abs(size - target) for size in sizes.values()), width
    listed = planned(
        small_arm(sharing={"name": "explicit", "groups": [[1, 3]], "controls": True}, model={"width": [12, 6, 12, 6]})
    )
    _, narrow = controls(listed)
    assert narrow.config.model.width == [10, 5, 10, 5]
    assert setting_config(narrow.home.plain()) == setting_config(listed.config.plain())


def untied(width: int, arm) -> int:
    """Parameters of a plain net of 6 hidden layers: weights and biases."""
    n, m = arm.data.inputs, arm.data.outputs
    return n * width + 5 * width * width + width * m + 6 * width + m


def test_weights_alone_can_be_matched_and_both_sides_are_counted(folder):
    """hashed at 1/32 of a wide net: its biases are most of what it stores, so all numbers give a wider control."""
    asked = [
        *("init=eye", "sharing=hashed", "sharing.ratio=0.03125", "sharing.groups=[[0],[1]]", "model.depth=1"),
        *("model.width=256", "seeds=1", "optim.lr=0.1"),
    ]
    widths, texts = {}, {}
    for how, kind in (("true", "parameters"), ("weights", "weights")):
        plan = study.plan([*asked, f"sharing.controls={how}"])
        (shared,) = (arm for arm in plan.arms if not arm.control_of)
        (narrow,) = (arm for arm in plan.arms if f"{kind} of hashed" in arm.setup)
        widths[how], texts[how] = narrow.config.model.width, control_text(narrow, plan.arms)
        assert shared.describe()["stored_biases"] == 256 + 10
        assert shared.scheme.stored_parameters - 266 == -(-64 * 256 // 32) + -(-256 * 10 // 32)
    # 592 hashed weights: 8 (64 + 10) = 592; with 266 biases 858: 11 (64 + 10 + 1) + 10 = 835
    assert widths == {"true": 11, "weights": 8}
    assert texts["true"].endswith("(592 weights + 266 biases): 814 weights + 21 biases")
    assert texts["weights"].startswith("as many stored weights (biases not counted) as hashed")
    assert texts["weights"].endswith("(592 weights + 266 biases): 592 weights + 18 biases")
    with pytest.raises(InputError, match=r"sharing\.controls=both: unknown; must be one of: true, false, weights"):
        study.plan([*asked, "sharing.controls=both"])


def test_controls_are_trained_and_an_ordinary_arm_may_be_one(folder):
    results = ib.run(
        ["sharing=none,all", "sharing.controls=true", "init=eye", "seeds=2", "optim.lr=0.1", "train.steps=2", *SMALL]
    )
    done = results.runs.groupby("setup")["status"].agg(list).to_dict()
    assert {name.split("(")[0] for name in done} == {"eye · none", "eye · all"}
    assert len(done) == 3
    assert all(set(status) == {"completed"} for status in done.values())
    control = {arm["setup"]: arm["control_of"] for arm in results.study["arms"]}
    assert control["eye · none"] == [["same FLOPs", "all"]]
    assert control["eye · all"] == []
    widths = results.runs.groupby("setup")["model.width"].first()
    assert widths["eye · none"] == widths["eye · all"] == 32
    assert sorted(widths)[0] < 32


# ---------------------------------------------------------------------------------------------- installed packages


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The example package, installed without network into a folder of its own."""
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT / "examples" / "initbench_example", source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--target", str(target), str(source)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(target))
    plugins.installed.cache_clear()
    yield target
    plugins.installed.cache_clear()
    for group, names in (("sharing", ("ends", "multiples")), ("init", ("checkerboard",))):
        for name in names:  # Hydra's store of options outlives the package
            ConfigStore.instance().repo.get(group, {}).pop(f"{name}.yaml", None)
    sys.modules.pop("initbench_example", None)


def test_an_installed_package_adds_options(folder, example):
    asked = [
        "init=checkerboard,eye",
        "sharing=none,ends,multiples",
        "seeds=2",
        "optim.lr=0.001",
        "train.steps=3",
        *SMALL,
    ]
    results = ib.run(asked)
    assert set(results.runs["setup"]) == {
        f"{init} · {sharing}" for init in ("checkerboard", "eye") for sharing in ("none", "ends", "multiples")
    }
    assert set(results.runs["status"]) == {"completed"}
    stored = results.runs.groupby("sharing.name")["stored_parameters"].first()
    assert stored["none"] - stored["ends"] == 32 * 32 + 32
    assert stored["none"] - stored["multiples"] == 4 * (32 * 32 + 32) - 5
    keys = set(results.runs["arm_key"])

    (module,) = example.rglob("initbench_example/__init__.py")
    module.write_text(module.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    edited = {arm.key for arm in study.plan(asked).arms}
    assert len(keys & edited) == 1  # whatever uses the package is trained anew: all but eye · none
    text = __import__("initbench.cli.help", fromlist=["help_text"]).help_text()
    assert "checkerboard" in text
    assert "from package initbench-example" in text


def test_a_broken_package_is_refused_in_one_line(folder, example):
    (module,) = example.rglob("initbench_example/__init__.py")
    module.write_text("raise RuntimeError('no luck')\n", encoding="utf-8")
    for override, said in (("sharing=ends", "sharing=ends"), ("init=checkerboard", "init=checkerboard")):
        with pytest.raises(InputError, match=r"package initbench-example .* cannot be loaded: no luck") as refusal:
            study.plan([override, *SMALL])
        assert str(refusal.value).startswith(said)


def test_unknown_names_offer_those_of_installed_packages(folder, example):
    with pytest.raises(
        InputError, match="sharing=multipels: unknown; did you mean multiples\\? must be one of: multiples"
    ):
        study.plan(["sharing=multipels", *SMALL])


# ------------------------------------------------------------------------------------------- from the current folder

OWN_SHARING = """
from initbench.sharing import Parts, main_slots

def ends(config, layers):
    return [[1, len(layers) - 2]]

def thirds(config, layers):  # the same as Parts
    return Parts(main_slots([[0], [1, 4], [2], [3], [5], [6]], layers))

def broken(config, layers):
    raise RuntimeError("two\\nlines")

def beyond(config, layers):
    return [[1, 99]]

def shapeless(config, layers):
    return 3
"""


@pytest.fixture
def own(folder, monkeypatch):
    """A module of one's own in the current folder; its name."""
    (folder / "own_sharing.py").write_text(OWN_SHARING)
    monkeypatch.syspath_prepend(str(folder))
    yield "own_sharing"
    sys.modules.pop("own_sharing", None)
    ConfigStore.instance().repo.get("sharing", {}).clear()


def test_ones_own_sharing_is_an_option(folder, own):
    """Tied as the same groups by hand are: the same numbers; editing the file trains anew."""
    small = ["init=kaiming_normal", "seeds=2", "optim.lr=0.001", "train.steps=5", *SMALL]
    results = ib.run([f"sharing={own}.ends,{own}.thirds", *small])
    by_hand = ib.run(["sharing=explicit", "sharing.groups=[[1,5]]", *small])
    assert by_hand.runs["loss/train"].notna().all()
    losses = results.runs.groupby("sharing.name")["loss/train"].agg(list)
    assert losses[f"{own}.ends"] == by_hand.runs["loss/train"].tolist()
    untied = results.runs.groupby("sharing.name")["stored_parameters"].first()
    assert untied[f"{own}.ends"] == by_hand.runs["stored_parameters"].iloc[0]
    assert set(results.runs["setup"]) == {f"kaiming_normal · {own}.ends", f"kaiming_normal · {own}.thirds"}
    before = {arm.key for arm in study.plan([f"sharing={own}.ends", *small]).arms}
    (folder / f"{own}.py").write_text(OWN_SHARING + "# edited\n")
    assert before.isdisjoint(arm.key for arm in study.plan([f"sharing={own}.ends", *small]).arms)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("own_sharing.broken", "it raised RuntimeError: two"),
        ("own_sharing.beyond", r"layer 99.*0 to 6"),
        ("own_sharing.shapeless", "it returned 3; return groups of layers"),
        ("own_sharing.nothing", "own_sharing has no 'nothing'"),
        ("no_such_file.f", "no module named 'no_such_file'"),
    ],
)
def test_ones_own_sharing_is_refused_in_one_line(folder, own, target, words):
    with pytest.raises(InputError, match=rf"^sharing={target}: .*{words}") as refusal:
        study.plan([f"sharing={target}", *SMALL])
    assert "\n" not in str(refusal.value)


def test_an_option_of_a_config_dir_may_be_a_base(folder):
    """`base` and `map` find mine.yaml, also where it takes another option's content; its values are in the key."""
    options = folder / "own" / "init"
    options.mkdir(parents=True)
    (options / "seventh.yaml").write_text("# mine\nname: seventh\n_target_: constant\nvalue: 0.7\nbias: 0.2\n")
    (options / "heir.yaml").write_text("defaults: [xavier_normal]\nname: heir\ngain: 3.0\n")
    asked = ["init=per_layer", "init.map={1: seventh, 2: heir, 3: {name: seventh, value: 4}}", "init.default=zeros"]
    more = ["sharing=none", "seeds=1", "optim.lr=0.1", "train.steps=1", *SMALL]
    (arm,) = study.plan([*asked, *more], ["own"]).arms
    start = start_of_seed(Material(arm.config, arm.data), 0)
    assert (start["weight_01"] == torch.tensor(0.7)).all()
    assert (start["bias_01"] == torch.tensor(0.2)).all()
    assert (start["weight_03"] == 4).all()
    assert start["weight_02"].std().item() == pytest.approx(3 / 32**0.5, rel=0.1)
    assert (start["weight_04"] == 0).all()
    assert "1: 'seventh', 2: 'heir', 3:" in arm.setup  # as it was typed
    results = ib.run([*asked, *more], ["own"])
    assert results.runs["arm_key"].unique().tolist() == [arm.key]  # the job reads the same option
    assert set(results.runs["status"]) == {"completed"}
    (options / "seventh.yaml").write_text("# mine\nname: seventh\n_target_: constant\nvalue: 0.6\nbias: 0.2\n")
    assert study.plan([*asked, *more], ["own"]).arms[0].key != arm.key
    with pytest.raises(InputError, match="seventh"):
        study.plan([*asked, *more])


# ------------------------------------------------------------------------------------------------ sweeps over all


def test_a_sweep_over_all_schemes_lists_those_that_do_not_apply(folder):
    # a rate at which input_injection does not diverge: five copies of x are added up
    plan = study.plan(["sharing=glob(*)", "init=eye", "seeds=2", "optim.lr=0.01", "train.steps=20", *SMALL])
    results = trained(plan)
    names = {arm["config"]["sharing"]["name"]: arm["status"] for arm in results.study["arms"]}
    assert set(names) == set(BUILDERS)
    assert {name for name, status in names.items() if status == "not applicable"} == {"explicit", "transposed"}
    reasons = [arm["reason"] for arm in results.study["arms"] if arm["status"] != "done"]
    assert len(reasons) == 2
    assert all(reason and "\n" not in reason for reason in reasons)
    assert set(results.runs["status"]) == {"completed"}
    assert results.runs.groupby("sharing.name").size().min() >= 2


def trained(plan):
    """What ib.run does after planning."""
    trainer = study.trainer_of(plan)
    trainer.train(plan.arms)
    outcome = study.collect(plan, 0.0)
    assert outcome.status == 1
    return outcome.results


@pytest.mark.long
def test_every_initializer_with_every_scheme():
    """The cross product of all options on a small net, 2 seeds, 20 steps: it trains, or says in one line why it does not
    apply. Iterative initializers take few iterations here."""
    schemes = [
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "conf/sharing").glob("*.yaml"))
    ]
    trained, refused = 0, []
    for name in known():
        option = load_option(name)
        args = {key: value for key, value in option.items() if key not in ("name", "_target_", "bias")}
        args |= {key: 5 for key in ("steps", "iterations") if key in args}
        init = InitConfig(option["name"], option["_target_"], option["bias"], args)
        for sharing in schemes:
            arm = small_arm(init=init, sharing=sharing, model={"width": 8, "depth": 6}, measure={"name": "none"})
            arm = replace(arm, train=replace(arm.train, steps=20), optim=replace(arm.optim, lr=[0.01]))
            try:
                arm = planned(arm).config
                chunk = stacked.run_chunk(arm, list(arm.runs), data.load(arm.data))
            except NotApplicable as reason:
                refused.append((name, sharing["name"], str(reason)))
                continue
            trained += 1
            whole = chunk.diverged_at < 0
            assert np.isfinite(chunk.series["loss/train"].values[whole]).all(), (name, sharing["name"])
    assert all(reason and "\n" not in reason for *_, reason in refused)
    print(f"{trained} pairs trained, {len(refused)} do not apply")
    assert trained > 1500
    # unshared, these alone: no matrix to fill, no file, not meant for ReLU, or square matrices only
    alone = {name for name, scheme, _ in refused if scheme == "none"}
    assert alone == {"dirac", "literal", "kumar", "np_rnn", "spectral_radius"}


# --------------------------------------------------------------------------------------------------- stopping early


def test_a_study_that_stops_at_its_target(folder):
    """The history ends where a run left, the frame says at which step and with which last values; a harder target can
    not be judged from such runs."""
    asked = ["data=teacher", "data.classes=3", "init=kaiming_normal", "sharing=none", "seeds=4", "optim.lr=[0.1,1e6]"]
    target = ["train.steps=60", "train.target.metric=accuracy/train", "train.target.value=0.5"]
    more = ["track.uri=null", "engine.workers=1", "engine=stacked", "report.formats=[csv]", "measure=none"]
    whole = ib.run([*asked, *target, *more])
    early = ib.run([*asked, *target, *more, "train.stop_when_reached=true"])
    assert early.runs["steps_to_target"].equals(whole.runs["steps_to_target"])
    assert early.runs["diverged_at"].equals(whole.runs["diverged_at"])
    calm = early.runs[early.runs["optim.lr"] == 0.1]
    assert (calm["steps"] == calm["steps_to_target"]).all()
    assert (calm["steps"] < 60).any()
    wild = early.runs[early.runs["optim.lr"] == 1e6]
    assert (wild["status"] == "diverged").all()
    assert (wild["steps"] >= wild["diverged_at"]).all()
    assert (wild["steps"] < 60).all()
    history = early.history[early.history["metric"] == "accuracy/train"].set_index("run")
    last = history.groupby(level=0, observed=True).tail(1)
    for row in early.runs.itertuples():
        assert last.loc[row.run, "step"] == row.steps
    at_end = last.loc[calm["run"], "value"].to_numpy()
    assert (at_end == calm["accuracy/train"].to_numpy()).all()
    assert (at_end >= 0.5).all()
    assert stats.retarget(early.runs, early.history, "accuracy/train", 0.4)["steps_to_target"].notna().sum() == 4
    with pytest.raises(InputError, match="runs stopped at an easier target"):
        stats.retarget(early.runs, early.history, "accuracy/train", 0.999)
    keys = {results.runs["arm_key"].iloc[0] for results in (whole, early)}
    assert len(keys) == 2


def test_stopping_needs_a_target():
    with pytest.raises(InputError, match=r"train\.target=null sets no target"):
        study.plan(["init=eye", "sharing=none", "train.stop_when_reached=true", "train.target=null"])
