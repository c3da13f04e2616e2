"""What the course notes on parameter management ask for, row by row: S1 to S14, each with the notes' own example."""

from __future__ import annotations

import doctest
import math
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

import initbench as ib
from initbench import reproduce
from initbench.errors import InputError, NotApplicable
from initbench.overrides.expand import expand
from initbench.overrides.read import completed
from initbench.study.plan import planned

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def net() -> nn.Sequential:
    """The notes' first net."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def start(*overrides: str) -> dict[str, torch.Tensor]:
    """What an arm of the command line starts from, in its first seed: slot -> tensor."""
    arm = planned(expand(["sharing=none", "optim.lr=0.1", "seeds=1", *overrides])[0])
    from initbench.engine.material import start_of_seed

    return dict(start_of_seed(arm.material, 0))


def test_s01_one_layers_parameters_by_index(net):
    table = ib.parameter_table(net[2], values=True)
    assert table["name"].tolist() == ["weight", "bias"]
    assert table["shape"].tolist() == [(1, 8), (1,)]
    assert table["dtype"].tolist() == ["float32", "float32"]
    for name, value in net[2].state_dict().items():
        assert torch.equal(table.set_index("name").loc[name, "value"], value)


def test_s02_a_target_parameters_value_and_gradient_none_before_the_backward_pass(net):
    bias = ib.parameter(net, "2.bias")
    assert bias is net[2].bias
    assert type(bias) is nn.Parameter
    before = ib.parameter_table(net, values=True).set_index("name")
    assert before.loc["2.weight", "grad"] is None
    assert math.isnan(before.loc["2.weight", "grad_norm"])
    x = torch.rand(2, 4)
    net(x).sum().backward()
    after = ib.parameter_table(net, values=True).set_index("name")
    assert torch.allclose(after.loc["2.weight", "grad"], torch.relu(net[0](x)).sum(0, keepdim=True))
    assert after.loc["2.bias", "grad_norm"] == pytest.approx(2)
    net.zero_grad(set_to_none=False)
    assert ib.parameter_table(net).set_index("name").loc["2.bias", "grad_norm"] == 0  # a true zero is one


def test_s03_all_parameters_at_once_with_dotted_names(net):
    table = ib.parameter_table(net)
    rows = [("0.weight", (8, 4)), ("0.bias", (8,)), ("2.weight", (1, 8)), ("2.bias", (1,))]
    assert list(zip(table["name"], table["shape"])) == rows
    assert list(zip(*ib.parameter_table(net[0])[["name", "shape"]].T.to_numpy())) == [
        ("weight", (8, 4)),
        ("bias", (8,)),
    ]


def test_s04_look_up_by_dotted_name(net):
    assert torch.equal(ib.parameter(net, "2.bias").data, net.state_dict()["2.bias"])
    with pytest.raises(InputError, match=r"2\.bais: not in this module; did you mean 2\.bias"):
        ib.parameter(net, "2.bais")


def test_s05_nested_blocks_whose_names_contain_spaces():
    def block():
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())

    blocks = nn.Sequential()
    for i in range(4):
        blocks.add_module(f"block {i}", block())
    rgnet = nn.Sequential(blocks, nn.Linear(4, 1))
    names = ib.parameter_table(rgnet)["name"].tolist()
    inner = [f"0.block {i}.{j}.{kind}" for i in range(4) for j in (0, 2) for kind in ("weight", "bias")]
    assert names == [*inner, "1.weight", "1.bias"]
    assert ib.parameter(rgnet, "0.block 1.0.bias") is rgnet[0][1][0].bias
    deeper = nn.ModuleDict({"a b": nn.ModuleList([rgnet])})
    assert ib.parameter_table(deeper)["name"][0] == "a b.0.0.block 0.0.weight"


def test_s06_built_in_initializers_normal_and_constant(net):
    ib.initialize_(net, {"name": "normal", "std": 0.01}, seeded())
    reference = torch.empty(8, 4)
    nn.init.normal_(reference, 0.0, 0.01, generator=seeded())
    assert torch.equal(net[0].weight, reference)
    assert (net[0].bias == 0).all()
    ib.initialize_(net, {"name": "constant", "value": 1})
    assert (net[0].weight == 1).all()
    assert (net[2].weight == 1).all()
    assert (net[2].bias == 0).all()
    drawn = start("init=normal_001")
    assert stats.kstest(drawn["weight_00"].flatten().numpy(), stats.norm(0, 0.01).cdf).pvalue > 1e-4
    assert (start("init=constant", "init.value=1")["weight_03"] == 1).all()


def test_s07_another_initializer_for_each_block(net):
    ib.initialize_(net, {"0": "xavier_uniform", "2": {"name": "constant", "value": 42}}, seeded())
    reference = torch.empty(8, 4)
    nn.init.xavier_uniform_(reference, generator=seeded())
    assert torch.equal(net[0].weight, reference)
    assert (net[2].weight == 42).all()
    drawn = start("init=per_layer", "init.map={first: xavier_uniform, 2: {name: constant, value: 42}}")
    assert (drawn["weight_02"] == 42).all()
    bound = math.sqrt(6 / (64 + 32))
    assert stats.kstest(drawn["weight_00"].flatten().numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-4
    assert not (drawn["weight_01"] == 42).any()


def notes_law(weight, *, generator):
    """As the notes write it: uniform in [-10, 10], all below 5 in size to 0."""
    weight.uniform_(-10, 10, generator=generator)
    return weight.mul_(weight.abs() >= 5)


@pytest.mark.parametrize("law", ["two_sided_uniform", notes_law])
def test_s08_a_custom_initializer_and_ones_own_function(law):
    net = nn.Linear(200, 100)
    ib.initialize_(net, law, seeded())
    w = net.weight.detach().numpy().ravel()
    zeros = int((w == 0).sum())
    assert stats.binomtest(zeros, w.size, 0.5).pvalue > 1e-4
    assert stats.binomtest(int((w > 0).sum()), w.size - zeros, 0.5).pvalue > 1e-4
    assert stats.kstest(np.abs(w[w != 0]), stats.uniform(5, 5).cdf).pvalue > 1e-4


def test_s08_ones_own_file_is_swept_reported_and_checked_without_touching_the_package(folder, capsys, monkeypatch):
    """One file, one command: in the sweep, in the report, and by catalogue --check."""
    from initbench import catalogue

    (folder / "my_law.py").write_text(
        "import torch\n\n\ndef my_init(weight, *, generator, low=5.0):\n"
        "    weight.uniform_(-10, 10, generator=generator)\n"
        "    return weight.mul_(weight.abs() >= low)\n\n\n"
        "def stuck(weight, *, generator):\n"
        "    return weight.uniform_(generator=torch.Generator())  # not from the generator it is given\n"
    )
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "my_law", raising=False)
    results = ib.run(
        [
            *("init=my_law.my_init,kaiming_normal", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=2"),
            *("track.uri=null", "engine.workers=1", "study=mine", "measure=none"),
        ]
    )
    assert sorted(results.runs["init.name"].unique()) == ["kaiming_normal", "my_law.my_init"]
    assert set(results.runs["status"]) <= {"completed", "diverged"}  # the notes' law is far too large for a deep net
    assert "my_law.my_init" in results.leaderboard()["setup"].str.cat()
    for page in ("report.html", "report.md"):
        assert "my_law.my_init" in (folder / "outputs/mine" / page).read_text("utf-8")
    assert catalogue.main(["--check", "my_law.my_init"]) == 0
    assert "my_law.my_init: contract holds" in capsys.readouterr().out
    assert catalogue.main(["--check", "my_law.stuck"]) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_s09_parameters_can_always_be_set_directly(net):
    before = net[0].weight.detach().clone()
    ib.initialize_(net, {"0.weight": {"add": 1, "entries": [[0, 0, 42]]}})
    expected = before + 1
    expected[0, 0] = 42
    assert torch.equal(net[0].weight, expected)
    net[0].weight.data[:] += 1
    net[0].weight.data[0, 0] = 43
    assert ib.parameter_table(net)["max"][0] == 43
    drawn = start("init=edited", "init.base=zeros", "init.add=1", "init.entries=[[0,0,42]]")["weight_00"]
    assert drawn[0, 0] == 42
    assert (drawn.flatten()[1:] == 1).all()


@pytest.mark.parametrize("how", ["one object twice", "share_"])
def test_s10_tied_layers_are_one_tensor_counted_once_with_every_name(how):
    shared = nn.Linear(8, 8)
    second = shared if how == "one object twice" else nn.Linear(8, 8)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), second, nn.ReLU(), nn.Linear(8, 1))
    if how == "share_":
        ib.share_(net, [["2", "4"]])
    table = ib.parameter_table(net, inputs=torch.rand(2, 4)).set_index("name")
    assert table.loc["2.weight", "aliases"] == ("4.weight",)
    assert table.loc["2.weight", "slot"] == "2.weight"
    assert table.loc["2.weight", "uses"] == 2
    assert table["shared"].to_dict() == {n: n.startswith("2.") for n in table.index}
    assert table["count"].sum() == 4 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    net[2].weight.data[0, 0] = 100
    assert net[4].weight.data[0, 0] == 100
    described = planned(
        expand(["sharing=all", "init=eye", "optim.lr=0.1", "model.depth=3", "model.width=8"])[0]
    ).describe()
    assert described["stored_parameters"] == 64 * 8 + 8 + 64 + 8 + 80 + 10
    assert described["used_parameters"] == described["stored_parameters"] + 72
    assert [(layer["slot"], layer["uses"]) for layer in described["layers"]][1:3] == [("weight_01", 2)] * 2


def test_s11_the_gradients_of_a_tied_layer_add_up_over_its_uses():
    torch.manual_seed(1)
    shared = nn.Linear(8, 8)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), shared, nn.Tanh(), shared, nn.Tanh(), nn.Linear(8, 1)).double()
    x, y = torch.rand(2, 4, dtype=torch.float64), torch.randn(2, 1, dtype=torch.float64)
    uses = ib.use_gradients(net, lambda: nn.functional.mse_loss(net(x), y), values=True)
    weight = uses[uses["name"] == "2.weight"]
    a, b = weight["gradient"]
    nn.functional.mse_loss(net(x), y).backward()
    assert torch.allclose(a + b, shared.weight.grad, rtol=1e-12)
    assert not torch.allclose(a, b)
    expected = float((a * b).sum() / a.norm() / b.norm())
    assert np.allclose(weight["cosine"], expected)
    apart = ib.untie_(net)  # an independent oracle: the single gradients of the untied net
    apart.zero_grad()
    nn.functional.mse_loss(apart(x), y).backward()
    assert torch.allclose(apart[2].weight.grad, a, rtol=1e-12)
    assert torch.allclose(apart[4].weight.grad, b, rtol=1e-12)


def test_s12_fancy_mlp_its_table_and_its_constant():
    """Its training, the constant unchanged, is in test_module.py."""
    sys.path.insert(0, str(ROOT / "tests" / "data"))
    try:
        from nets import FancyMLP
    finally:
        sys.path.pop(0)
        sys.modules.pop("nets", None)
    net = FancyMLP()
    table = ib.parameter_table(net, inputs=torch.rand(2, 20)).set_index("name")
    assert table["shape"].to_dict() == {"linear.weight": (20, 20), "linear.bias": (20,)}
    assert table["uses"].to_dict() == {"linear.weight": 2, "linear.bias": 2}
    constants = ib.constant_table(net)
    assert constants[["name", "kind", "shape"]].to_numpy().tolist() == [["rand_weight", "attribute", (20, 20)]]
    constant = net.rand_weight.clone()
    stepper = torch.optim.SGD(net.parameters(), lr=0.1)
    before = net.linear.weight.detach().clone()
    for _ in range(3):
        stepper.zero_grad()
        net(torch.rand(2, 20)).backward()
        stepper.step()
    assert torch.equal(net.rand_weight, constant)
    assert not torch.equal(net.linear.weight, before)


@pytest.mark.parametrize(
    "name",
    [
        *("constant", "eye", "kaiming_normal", "kaiming_uniform", "normal", "ones", "orthogonal", "sparse"),
        *("trunc_normal", "uniform", "xavier_normal", "xavier_uniform", "zeros"),
    ],
)
def test_s13_every_law_of_nn_init_can_be_chosen(name):
    drawn = start(f"init={name}", *(["init.value=0.3"] if name == "constant" else []))["weight_01"]
    assert drawn.shape == (32, 32)
    fills = {"constant": 0.3, "ones": 1.0, "zeros": 0.0}
    if name in fills:
        assert torch.equal(drawn, torch.full((32, 32), fills[name]))
    elif name == "eye":
        assert torch.equal(drawn, nn.init.eye_(torch.empty(32, 32)))
    elif name == "orthogonal":
        assert torch.allclose(drawn @ drawn.T, torch.eye(32), atol=1e-5)
    elif name == "sparse":
        assert (drawn == 0).sum(0).unique().numel() == 1  # the same number in each column, as torch does it
    else:
        assert drawn.unique().numel() > 1000


def test_s13_calculate_gain_is_a_gain_and_dirac_is_for_convolutions():
    plain = start("init=xavier_normal")["weight_01"]
    for activation in ("tanh", "leaky_relu"):
        gain = nn.init.calculate_gain(activation)
        ours = start("init=xavier_normal", f"init.gain={activation}")["weight_01"]
        assert torch.allclose(ours, gain * plain, rtol=1e-6)
    with pytest.raises(InputError, match=r"init=calculate_gain: not an initializer but .*; write .*init\.gain=relu"):
        expand(["init=calculate_gain", "sharing=none"])
    with pytest.raises(NotApplicable, match=r"init=dirac: it needs 3 to 5 dimensions .*use init=eye"):
        start("init=dirac")


# ------------------------------------------------------------------------------------------------ S14 and the studies


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """The replay by its own command: folder, exit status, what it printed."""
    from contextlib import redirect_stdout
    from io import StringIO

    folder = tmp_path_factory.mktemp("replay")
    shutil.copytree(ROOT / "experiments/replay", folder / "experiments/replay")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.setattr(reproduce, "experiments_folder", lambda: folder / "experiments")
        status = reproduce.main(["replay", "--outputs", str(folder)])
    return folder, status, out.getvalue()


def test_s14_the_printed_training_log_is_replayed(replayed):
    folder, status, said = replayed
    assert status == 0
    assert "CONFIRMED: largest deviations: loss" in said
    table = pd.read_csv(folder / "replay" / "summary.csv").set_index(["route", "quantity"])
    assert table["numbers"].to_dict() == {
        ("sweep", "loss"): 10,
        ("sweep", "weight_norm"): 30,
        ("sweep", "bias_norm"): 30,
        ("sweep", "grad_norm"): 30,
        ("module", "loss"): 10,
        ("module", "weight"): 480,
        ("module", "gradient"): 480,
        ("module", "bias"): 130,
    }
    for route in ("sweep", "module"):
        assert table.loc[(route, "loss"), "largest_deviation"] < 1e-4
    for quantity in ("weight", "gradient", "bias"):
        assert table.loc[("module", quantity), "largest_deviation"] < 5e-4
    kept = pd.read_csv(ROOT / "experiments/replay/results/summary.csv").set_index(["route", "quantity"])
    assert np.allclose(kept["largest_deviation"], table["largest_deviation"], rtol=1e-3)


def test_s14_an_independent_replay_in_plain_torch_agrees_with_the_table(replayed):
    """The notes' own loop on the recovered start: the deviations that the study states are true."""
    import json

    data = ROOT / "experiments/replay/data"
    given, log = (json.loads((data / f"tied_mlp_{name}.json").read_text("utf-8")) for name in ("start", "log"))
    x, y = (torch.tensor(given[name], dtype=torch.float64) for name in ("X", "y"))
    shared = nn.Linear(4, 4)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(4, 1)).double()
    for name, values in given["parameters"].items():
        net.get_parameter(name.split(" ")[0]).data = torch.tensor(values, dtype=torch.float64)
    trainer, worst = torch.optim.SGD(net.parameters(), lr=0.1), {"w": 0.0, "g": 0.0, "b": 0.0}
    for epoch in log["epochs"]:
        trainer.zero_grad()
        loss = nn.MSELoss()(net(x), y)
        assert float(loss.detach()) == pytest.approx(epoch["loss"], abs=1e-4)
        loss.backward()
        trainer.step()
        for i in (0, 2, 4, 6):
            ours = {"w": net[i].weight, "g": net[i].weight.grad, "b": net[i].bias}
            for key, value in ours.items():
                deviation = float((value.detach().flatten() - torch.tensor(epoch[str(i)][key])).abs().max())
                worst[key] = max(worst[key], deviation)
    table = pd.read_csv(replayed[0] / "replay" / "summary.csv").set_index(["route", "quantity"])["largest_deviation"]
    stated = {"w": table["module", "weight"], "g": table["module", "gradient"], "b": table["module", "bias"]}
    assert worst == pytest.approx(stated, rel=1e-2)


def test_s14_a_log_that_was_not_replayed_is_refuted():
    study = reproduce.analysis("replay")
    measured = pd.read_csv(ROOT / "experiments/replay/results/summary.csv")
    assert study.verdict(measured).word == "CONFIRMED"
    for row, value in ((0, 2e-4), (5, 6e-4), (6, float("nan"))):
        false = measured.copy()
        false.loc[row, "largest_deviation"] = value
        assert study.verdict(false).word == "REFUTED"


JUDGED = [slug for slug in reproduce.slugs() if (ROOT / "experiments" / slug / "results" / "summary.csv").is_file()]


@pytest.mark.parametrize("slug", JUDGED)
def test_every_study_with_results_has_its_page_and_its_verdict_follows_from_its_summary(slug):
    folder = ROOT / "experiments" / slug
    page = (folder / "README.md").read_text("utf-8")
    for word in ("Question", "Source", "Prediction", "Command", "Limits"):
        assert word in page, f"experiments/{slug}/README.md lacks {word}"
    word = reproduce.analysis(slug).verdict(pd.read_csv(folder / "results" / "summary.csv")).word
    assert word in page


def test_reproduce_lists_and_refuses_in_one_line_and_says_what_failed(tmp_path, capsys, monkeypatch):
    assert reproduce.main(["--list"]) == 0
    assert "replay: Does initbench replay" in capsys.readouterr().out
    assert reproduce.main(["repaly"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "did you mean replay" in said
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/analysis.py").write_text(
        '"""Is it broken?"""\n\ndef predict():\n    return "yes"\n\ndef measure(folder):\n    raise OSError("no\\ndisk")\n\n'
        "def verdict(measured):\n    return None\n"
    )
    (tmp_path / "half").mkdir()
    (tmp_path / "half/analysis.py").write_text('"""Is it half done?"""\n\ndef predict():\n    return "yes"\n')
    monkeypatch.setattr(reproduce, "experiments_folder", lambda: tmp_path)
    assert reproduce.main(["broken", "--outputs", str(tmp_path / "out")]) == 1
    assert "broken failed: OSError: no\n" in capsys.readouterr().err
    assert reproduce.main(["half"]) == 2
    assert "lacks measure, verdict" in capsys.readouterr().err
    with pytest.raises(ValueError, match="MAYBE"):
        reproduce.Verdict("MAYBE", "")


# ------------------------------------------------------------------------------------------------ the worked page


PAGES = {
    name: (ROOT / "docs" / name).read_text("utf-8")
    for name in ("parameter_management.md", "parameter_management.zh.md")
}
BLOCKS = {name: re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) for name, page in PAGES.items()}
COMMANDS = [
    text.strip()
    for language, text in BLOCKS["parameter_management.md"]
    if language == "bash" and "reproduce" not in text
]


def test_the_pages_snippets_print_what_they_say_and_both_languages_have_the_same():
    english, chinese = BLOCKS.values()
    assert english == chinese
    parser, flags = doctest.DocTestParser(), doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = parser.get_doctest(PAGES["parameter_management.md"], {}, "parameter_management.md", None, 0)
    assert len(test.examples) > 50
    runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
    said: list[str] = []
    assert runner.run(test, out=said.append).failed == 0, "".join(said)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_pages_commands_run(command, folder, monkeypatch):
    (folder / "fancy.py").write_text((ROOT / "tests/data/nets.py").read_text("utf-8"))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "fancy", raising=False)
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "initbench"]
    small = ["seeds=1", "optim.lr=0.01", "train.steps=2", "track.uri=null", "engine.workers=1", "report.formats=[csv]"]
    assert set(ib.run(completed(words[3:], fixed=small)).runs["status"]) == {"completed"}


def test_the_pages_numbers_are_those_of_the_replay():
    table = pd.read_csv(ROOT / "experiments/replay/results/summary.csv").set_index(["route", "quantity"])
    largest = table["largest_deviation"]
    for page in (*PAGES.values(), (ROOT / "experiments/replay/README.md").read_text("utf-8")):
        for quantity in ("loss", "weight", "gradient", "bias"):
            value = largest["module", quantity]
            assert f"{value:.1e}".replace("e-05", "e-5") in page
