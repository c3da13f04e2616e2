"""Configurations made from one composition are those that Hydra composes, and each command composes once."""

from __future__ import annotations

import copy
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

from initbench.__main__ import main
from initbench.errors import InputError
from initbench.overrides import expand, hydra_parts
from initbench.overrides.exchange import Composed, Exchange, composed
from initbench.overrides.read import read

QUIET = ["seeds=1", "optim.lr=0.1", "train.steps=1", "engine.workers=1", "track.uri=null", "report.formats=[csv]"]


def both(overrides: list[str], folders: list[str] | None = None) -> tuple[list[Composed], list[Composed], int]:
    """Each job's configuration as exchanged and as Hydra composes it, and how many of the first Hydra composed."""
    read_overrides = read(overrides)
    with expand.composer(read_overrides, folders or []) as compose:
        asked = []

        def counted(lines):
            asked.append(lines)
            return compose(lines)

        fixed = tuple(o.input_line for o in read_overrides if not o.is_sweep_override())
        first = compose(fixed)
        jobs = expand.combinations(expand.sweep_axes(read_overrides, first))
        exchange = Exchange(counted, cache(expand.loader().repository.load_config), fixed, composed(first))
        return [exchange(job) for job in jobs], [composed(compose(job)) for job in jobs], len(asked)


def text(one: Composed) -> str:
    """A configuration without Hydra's own node, unresolved and with its order of keys."""
    cfg = copy.deepcopy(one.cfg)
    with open_dict(cfg):
        cfg.pop("hydra", None)
    return OmegaConf.to_yaml(cfg)


def check(overrides: list[str], folders: list[str] | None = None) -> int:
    """Assert that both are equal, as text and as arms; returns how many Hydra composed."""
    ours, theirs, asked = both(overrides, folders)
    for mine, hydras in zip(ours, theirs, strict=True):
        assert text(mine) == text(hydras)
        assert mine.choices == hydras.choices
        assert arm(mine) == arm(hydras)
    return asked


def arm(one: Composed):
    """The typed arm, or what is wrong with it."""
    try:
        return [OmegaConf.to_object(one.cfg[key]) for key in ("model", "sharing", "optim", "train", "measure")]
    except InputError as error:
        return str(error)


AXES = {
    "init": ["kaiming_normal", "eye", "normal", "idinit", "constant"],
    "sharing": ["none", "all", "cycle", "soft"],
    "optim": ["sgd", "adam", "adamw"],
    "model": ["mlp", "residual_mlp"],
    "data": ["digits", "linear", "teacher"],
    "measure": ["light", "none", "full"],
    "experiment": ["default", "quick", "depth", "optimizers", "activations"],
    "init.bias": ["zeros", "torch_default"],
    "sharing.bias": ["untied", "tied"],
    "model.depth": ["2", "4"],
    "model.width": ["16", "[16,8]"],
    "optim.lr": ["[0.1,0.2]", "0.3"],
    "optim.clip": ["1.0", "null"],
    "train.evaluate": ["{dense: 3}", "{dense: 2, ratio: 1.5}"],
    "train.evaluate.ratio": ["1.1"],
    "train.target": ["null"],
    "seeds": ["3", "[1,2]"],
    "hydra.verbose": ["true"],
}
ONE = ("experiment", "optim.lr", "seeds", "train.target", "train.evaluate", "model.width", "hydra.verbose")


@st.composite
def commands(draw):
    keys = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=5, unique=True))
    sizes = {key: 1 if key in ONE else 2 for key in keys}
    values = {
        key: draw(st.lists(st.sampled_from(AXES[key]), min_size=1, max_size=sizes[key], unique=True)) for key in keys
    }
    return [f"{key}={','.join(values[key])}" for key in keys] + [f"{key}=eye" for key in {"init"} - values.keys()]


@given(commands())
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_exchanged_configurations_are_hydras(command):
    try:
        read(command)
    except InputError:  # keys inside one another
        assume(False)
    check(command)


def test_a_plain_sweep_is_composed_once():
    assert (
        check(
            [
                "init=eye,zeros,kaiming_normal",
                "sharing=none,all",
                "optim=sgd,adam",
                "model.depth=2,3",
                "init.bias=zeros",
            ]
        )
        == 0
    )
    assert check(["init=eye", "+init.more=3", "sharing=none,all"]) == 2  # added keys are Hydra's to judge


def test_each_arm_is_compared_with_its_own_option_file():
    """Labels name what differs from it."""
    arms = expand.expand(["init=constant,kaiming_normal", "init.bias=zeros,torch_default", "sharing=none"])
    told = [(arm.init.name, dict(arm.init.changed)) for arm in arms]
    assert told == [
        (name, changed) for name in ("constant", "kaiming_normal") for changed in ({}, {"bias": "torch_default"})
    ]


def test_an_experiment_that_writes_into_a_swept_group_is_kept():
    """experiment=quick sets optim.lr: it must hold for every optimizer of a sweep."""
    assert check(["experiment=quick", "init=eye", "sharing=none", "optim=sgd,adam"]) == 1  # adam by Hydra


@pytest.fixture
def own(tmp_path: Path) -> str:
    """Option files that Hydra alone can compose: a defaults list, another package, references to Hydra's node."""
    (tmp_path / "init").mkdir()
    (tmp_path / "experiment").mkdir()
    (tmp_path / "init" / "wide.yaml").write_text("defaults: [normal]\nname: wide\nstd: 0.5\n")
    (tmp_path / "init" / "moved.yaml").write_text(
        "# @package _global_\nmodel: {depth: 3}\ninit: {name: moved, _target_: initbench.initializers.eye_, bias: zeros}\n"
    )
    (tmp_path / "experiment" / "gains.yaml").write_text("# @package _global_\ninit: {bias: torch_default}\n")
    (tmp_path / "experiment" / "told.yaml").write_text(
        "# @package _global_\ntrain: {loss: '${hydra.runtime.choices.sharing}'}\n"
    )
    return str(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ["init=wide,eye", "sharing=none"],
        ["init=eye,moved", "sharing=none"],
        ["experiment=gains", "init=eye,zeros", "sharing=none,all"],
        ["experiment=told", "init=eye", "sharing=none,all"],
    ],
)
def test_what_is_not_plain_is_composed_by_hydra(own, command):
    assert check(command, [own]) > 0


def test_a_sweeper_of_ones_own_is_refused(tmp_path, capsys):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "hydra" / "sweeper").mkdir(parents=True)
    (tmp_path / "hydra" / "sweeper" / "mine.yaml").write_text(
        "_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper\nparams: {}\n"
    )
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /hydra/sweeper: mine\n"
    )
    assert main(["--config-dir", str(tmp_path), "experiment=mine", "init=eye"]) == 2
    assert "hydra/sweeper=mine: the study makes its jobs itself; " in capsys.readouterr().err


@pytest.fixture
def compositions(monkeypatch) -> list:
    """What Hydra composes."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    asked = []
    load = ConfigLoaderImpl.load_configuration

    def counted(self, *args, **kwargs):
        asked.append(kwargs["overrides"])
        return load(self, *args, **kwargs)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    return asked


def test_a_command_composes_once_and_makes_no_job_folders(folder, compositions):
    assert main(["init=eye,zeros", "sharing=none,all", *QUIET, "study=s"]) == 0
    assert len(compositions) == 1
    assert not Path("outputs/s/hydra").exists()


def test_hydras_own_jobs_are_those_with_something_to_train(folder, compositions):
    command = ["init=eye,zeros", "sharing=none", *QUIET, "study=s", "hydra.verbose=[initbench]"]
    assert main(command) == 0
    assert len(compositions) == 1 + 2 + 2  # the plan; Hydra to learn its mode, and its own; two jobs
    saved = sorted(Path("outputs/s/hydra").glob("*/*/.hydra/overrides.yaml"))
    assert [OmegaConf.load(file)[0] for file in saved] == ["init=eye", "init=zeros"]
    del compositions[:]
    assert main(command) == 0
    assert len(compositions) == 1  # all is stored: Hydra has no job to run


def test_a_built_in_file_that_has_changed_is_read_again(tmp_path, monkeypatch):
    """Hydra's reading of the built-in files is kept within a process; what is composed leaves it as it was."""
    conf = tmp_path / "conf"
    shutil.copytree(expand.conf_folder(), conf)
    monkeypatch.setattr(expand, "conf_folder", lambda: conf)
    monkeypatch.setattr(hydra_parts, "conf_folder", lambda: conf)
    asked = ["init=eye", "sharing=none", "optim=sgd"]
    (first,) = expand.expand([*asked, "optim.batch_size=3"])
    (second,) = expand.expand(asked)
    assert (first.optim.batch_size, second.optim.batch_size) == (3, 64)
    assert second.optim.lrs != (7.0,)
    file = conf / "optim" / "sgd.yaml"
    file.write_text(re.sub(r"(?m)^lr:.*", "lr: [7.0]", file.read_text()))
    (changed,) = expand.expand(asked)
    assert changed.optim.lrs == (7.0,)
