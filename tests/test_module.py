"""model=module: a person's own nn.Module against model=mlp, plain torch loops, and one-line refusals."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import initbench as ib
from initbench import data
from initbench.config.groups import ModelConfig
from initbench.engine import module, module_run, one_by_one
from initbench.engine.material import Seeds
from initbench.errors import InputError, NotApplicable
from initbench.study.plan import planned

HERE = Path(__file__).parent
FANCY = {"name": "teacher", "samples": 40, "inputs": 20}


@pytest.fixture(autouse=True)
def nets(folder, monkeypatch):
    """nets.py in the current folder, imported anew."""
    import sys

    shutil.copy(HERE / "data" / "nets.py", folder / "nets.py")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    yield folder
    sys.modules.pop("nets", None)


def with_module(arm, target, **changes):
    """A small arm of nets.<target>; `args` are the module's arguments."""
    args = changes.pop("args", {})
    model = ModelConfig("module", target=f"nets.{target}", args=args, dtype="float64", activation="tanh")
    return planned(replace(arm(**changes), model=model)).config


def run(config):
    return one_by_one.run_chunk(config, config.runs, data.load(config.data))


# ------------------------------------------------------------------------------------------------ the same as the MLP


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sharing": {"name": "all"}, "optim": {"name": "adam", "lr": [0.01]}},
        {
            "sharing": {"name": "pairs", "reduce": "mean", "bias": "untied"},
            "optim": {"clip": 0.1, "schedule": "cosine", "warmup": 3},
        },
        {"data": {"name": "teacher", "samples": 60, "inputs": 6, "outputs": 2}, "init": "orthogonal"},
    ],
)
def test_a_plain_module_is_the_mlp_with_the_same_numbers(arm, changes):
    """Every series, measures of each layer and use included, equals the reference engine's."""
    mine = with_module(arm, "Plain", **changes)
    mlp = planned(replace(mine, model=ModelConfig(depth=4, width=6, dtype="float64", activation="tanh"))).config
    ours, theirs = run(mine), one_by_one.run_chunk(mlp, mlp.runs, data.load(mlp.data))
    assert set(ours.series) == set(theirs.series)
    for name, series in theirs.series.items():
        assert (ours.series[name].steps, ours.series[name].layers) == (series.steps, series.layers), name
        assert np.allclose(ours.series[name].values, series.values, rtol=1e-10, atol=1e-12, equal_nan=True), name
    own, other = planned(mine).describe(), planned(mlp).describe()
    for key in ("layers", "flops_per_step", "stored_parameters", "used_parameters", "state_bytes"):
        assert own[key] == other[key], key


def test_the_arguments_and_the_file_are_in_the_key_and_it_trains_one_run_after_another(arm, nets):
    config = with_module(arm, "Plain")
    trainer, reason = planned(config).trainer
    assert trainer.name == "single"
    assert "model=module" in reason
    keys = [planned(config).key, planned(with_module(arm, "Plain", args={"width": 5})).key]
    (nets / "nets.py").write_text((nets / "nets.py").read_text() + "\n# edited\n")
    keys.append(planned(config).key)
    assert len(set(keys)) == 3
    label = planned(with_module(arm, "Plain", args={"width": 5}))
    assert ib_setting(label) == "teacher, Plain(width=5), sgd, batch 8, 10 steps"


def ib_setting(one):
    from initbench.study.labels import setting_label

    return setting_label(one.config)


# ------------------------------------------------------------------------------------------------ what is special


def test_the_notes_module_trains_sample_by_sample_and_its_constant_does_not_change(arm):
    config = with_module(arm, "FancyMLP", data=FANCY, seeds=(0,), optim={"lr": [0.001], "batch_size": 4})
    material = module.ModuleMaterial(config, data.load(config.data))
    found = material.structure
    assert found.by_sample
    assert found.names == ("linear", "linear")
    assert [(slot.name, slot.layers) for slot in found.scheme.slots] == [("weight_00", (0, 1)), ("bias_00", (0, 1))]
    # an independent loop: the same start and batches, the notes' forward pass, plain SGD
    net = module.build(material, 0)
    constant = net.rand_weight.clone()
    table = ib.parameter_table(net, inputs=torch.ones(1, 20, dtype=torch.float64)).set_index("name")
    assert table["shape"].to_dict() == {"linear.weight": (20, 20), "linear.bias": (20,)}
    assert table["uses"].to_dict() == {"linear.weight": 2, "linear.bias": 2}
    assert ib.constant_table(net)["name"].tolist() == ["rand_weight"]
    seeds = Seeds(material, (0,))
    x, y = (part[0] for part in seeds.samples(seeds.first("train", 512)))
    batches, losses = seeds.batches(), []
    for _ in range(config.train.steps + 1):
        with torch.no_grad():
            losses.append(float(torch.stack([(net(a[None]) - b[0]) ** 2 for a, b in zip(x, y)]).mean()))
        xs, ys = (part[0] for part in seeds.samples(next(batches)))
        net.zero_grad()
        sum((net(a[None]) - b[0]) ** 2 for a, b in zip(xs, ys)).div(len(xs)).backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.001 * p.grad
    chunk = run(config)
    series = chunk.series["loss/train"]
    assert np.allclose(series.values[0], np.array(losses)[list(series.steps)], rtol=1e-10)
    assert series.values[0, -1] < series.values[0, 0]
    assert torch.equal(net.rand_weight, constant)
    other = module.build(material, 1)
    assert not torch.equal(other.rand_weight, constant)  # it belongs to the seed


def test_the_gradients_of_a_reused_layers_calls_are_seen_and_add_up_though_it_changes_its_outputs_in_place(arm):
    config = with_module(arm, "FancyMLP", data=FANCY, seeds=(3,))
    material = module.ModuleMaterial(config, data.load(config.data))
    x, y = (part[0] for part in Seeds(material, (3,)).probe())
    own = module_run.OwnModule(material, 3)
    net, probe = own.module, own.probe(x, y, None, None)
    uses = ib.use_gradients(
        net, lambda: torch.stack([(net(a[None]) - b[0]) ** 2 for a, b in zip(x, y)]).mean(), values=True
    )
    weights = uses[uses["name"] == "linear.weight"]["gradient"].tolist()  # per sample: first use, second use, ...
    for layer in (0, 1):
        assert torch.allclose(probe.dws[layer][0], sum(weights[layer::2]), atol=1e-12)
    torch.stack([(net(a[None]) - b[0]) ** 2 for a, b in zip(x, y)]).mean().backward()
    assert torch.allclose(probe.grads["weight_00"][0], net.linear.weight.grad, atol=1e-12)
    assert torch.allclose(probe.grads["bias_00"][0], net.linear.bias.grad, atol=1e-12)
    z = torch.stack([nn.functional.linear(a, net.linear.weight, net.linear.bias) for a in x])
    assert torch.allclose(probe.zs[0][0].T, z.detach())


def test_other_parameters_are_trained_and_counted_and_dropout_repeats(arm):
    config = with_module(arm, "Extras", seeds=(0,), optim={"lr": [0.1]})
    first, again = run(config), run(config)
    assert all(np.array_equal(first.series[k].values, again.series[k].values, equal_nan=True) for k in first.series)
    less = run(with_module(arm, "Extras", seeds=(0,), optim={"lr": [0.1]}, args={"drop": 0.0}))
    assert (
        first.series["loss/train"].values[0, 0] == less.series["loss/train"].values[0, 0]
    )  # evaluated without dropout
    assert first.series["loss/batch"].values[0, 0] != less.series["loss/batch"].values[0, 0]
    assert planned(config).describe()["stored_parameters"] == 5 * 8 + 8 * 3 + 3 + 1
    assert first.series["bias_norm"].layers == (1,)
    assert first.series["loss/train"].values[0, -1] < first.series["loss/train"].values[0, 0]


def test_an_initializer_that_sees_the_net_gets_the_module_itself(arm):
    config = with_module(arm, "Plain", init="lsuv", data={**FANCY, "samples": 400}, args={"width": 30})
    material = module.ModuleMaterial(config, data.load(config.data))
    net = module.build(material, 0)
    x = Seeds(material, (0,)).probe()[0][0]
    for layer in net.hidden:
        z = layer(x)
        assert float(z.detach().std()) == pytest.approx(1, abs=0.11)
        x = torch.tanh(z)
    with pytest.raises(NotApplicable, match=r"calls each .* once"):
        module.build(module.ModuleMaterial(with_module(arm, "FancyMLP", init="lsuv", data=FANCY), data.load(FANCY)), 0)


def test_a_run_that_diverges_is_nan_from_there_and_does_not_wait_for_a_loop_to_end(arm):
    config = with_module(arm, "Fragile", data=FANCY, seeds=(0, 1), optim={"lr": [0.001, 1e308]})
    chunk = run(config)
    assert chunk.diverged_at.tolist() == [1 if lr > 1 else -1 for _, lr in chunk.runs]
    for name, series in chunk.series.items():
        for i, at in enumerate(chunk.diverged_at):
            values = series.values[i][np.array(series.steps) >= at] if at >= 0 else series.values[i]
            assert np.isnan(values).all() == (at >= 0), name
    alone = run(replace(config, seeds=(1,), optim=replace(config.optim, lr=[1e308])))
    steps = alone.series["loss/train"].steps
    assert steps == chunk.series["loss/train"].steps
    assert np.isnan(alone.series["loss/val"].values[0, -1])


def test_runs_stop_at_the_target_where_that_is_asked(arm):
    config = with_module(arm, "Plain", seeds=(0, 1), optim={"lr": [0.1]}, train={"steps": 40})
    whole = run(config)
    level = float(np.median(whole.series["loss/train"].values[:, 10]))
    target = replace(config.train.target, metric="loss/train", value=level)
    chunk = run(replace(config, train=replace(config.train, target=target, stop_when_reached=True)))
    for i, at in enumerate(chunk.stopped_at):
        values, steps = whole.series["loss/train"].values[i], np.array(whole.series["loss/train"].steps)
        met = steps[values <= level]
        assert at == (met[0] if len(met) else -1)
        kept = steps <= (at if at >= 0 else 40)
        assert np.array_equal(chunk.series["loss/train"].values[i][kept], values[kept])


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("target", "changes", "words"),
    [
        ("Nowhere", {}, ["has no 'Nowhere'"]),
        ("Plain", {"args": {"wdith": 3}}, ["model.args.wdith", "must be one of: width, depth"]),
        ("Plain", {"args": {"width": "wide"}}, ["making it failed", "model.args.KEY"]),
        ("broken", {}, ["making it failed", "no such luck"]),
        ("number", {}, ["makes a int", "nn.Module"]),
        ("Pair", {}, ["returns a tuple"]),
        ("Direct", {}, ["calls no nn.Linear"]),
        ("FancyMLP", {}, ["inputs \\(2, 5\\) failed"]),
        ("FancyMLP", {"data": {**FANCY, "outputs": 2}}, ["one number a batch", "\\(2, 2\\)"]),
    ],
)
def test_a_module_that_does_not_fit_is_one_line(arm, target, changes, words):
    with pytest.raises(InputError, match="(?s)^(?!.*\n)" + "".join(f"(?=.*{word})" for word in words)):
        with_module(arm, target, **changes)


def test_sharing_that_a_module_cannot_have_does_not_apply(arm):
    with pytest.raises(NotApplicable, match="shares layers by itself"):
        with_module(arm, "FancyMLP", data=FANCY, sharing={"name": "all"})
    with pytest.raises(NotApplicable, match="by a formula"):
        with_module(arm, "Plain", sharing={"name": "circulant"})


def test_measures_of_a_module_that_changes_its_order_are_refused_and_without_them_it_trains(arm):
    config = with_module(arm, "Restless", seeds=(0,), optim={"lr": [0.01]})
    with pytest.raises(InputError, match=r"another order.*measure=none"):
        run(config)
    chunk = run(replace(config, measure=replace(config.measure, name="none")))
    assert np.isfinite(chunk.series["loss/train"].values).all()


def test_the_target_belongs_to_the_module_alone():
    with pytest.raises(InputError, match=r"model=module: it needs model.target"):
        ModelConfig("module")
    with pytest.raises(InputError, match=r"model.target=a.B: model=mlp does not use it; choose model=module"):
        ModelConfig(target="a.B")


# ------------------------------------------------------------------------------------------------ the command


def test_a_module_is_swept_like_a_model_and_has_a_report(nets, monkeypatch, capsys):
    results = ib.run(
        [
            *("model=module", "model.target=nets.Plain", "model.args.width=4", "model.args.depth=3"),
            *("init=kaiming_normal", "sharing=none,all", "seeds=2", "optim.lr=0.1", "train.steps=3", "study=mine"),
            *("track.uri=null", "engine.workers=1", "measure=none", "report.formats=[html]"),
        ]
    )
    assert len(results.runs) == 4
    assert set(results.runs["status"]) == {"completed"}
    assert "Plain(width=4, depth=3)" in (nets / "outputs/mine/report.html").read_text("utf-8")
    with pytest.raises(InputError, match=r"model\.args\.wdth"):
        ib.run(["model=module", "model.target=nets.Plain", "model.args.wdth=4", "init=eye", "sharing=none"])
    with pytest.raises(InputError, match=r"model\.target"):
        ib.run(["model=module", "init=eye", "sharing=none"])


# ------------------------------------------------------------------------------------------------ how far init reaches


class Mixed(torch.nn.Module):
    """One nn.Linear beside a convolution, a norm and a bare parameter."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(inputs))
        self.conv = nn.Conv1d(1, 4, 3)
        self.norm = nn.BatchNorm1d(4)
        self.fc = nn.Linear(4 * (inputs - 2), outputs)
        self.conv.bias.requires_grad_(False)

    def forward(self, x):
        return self.fc(self.norm(self.conv((x * self.scale)[:, None])).flatten(1))


class Noisy(torch.nn.Module):
    """Random in evaluation too, and a weight read without calling its layer."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.a, self.b = nn.Linear(inputs, 8), nn.Linear(8, outputs)

    def forward(self, x):
        return self.b(nn.functional.dropout(self.a(x)) + nn.functional.linear(x, self.a.weight))


def normed(inputs, outputs):
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(inputs, 8)), nn.Linear(8, outputs))


def pruned(inputs, outputs):
    made = nn.Sequential(nn.Linear(inputs, 8), nn.Linear(8, outputs))
    nn.utils.prune.random_unstructured(made[0], "weight", 0.5)
    return made


def lazy(outputs):
    return nn.Sequential(nn.LazyLinear(8), nn.Linear(8, outputs))


def seedy(inputs, outputs):
    width = int(torch.randint(2, 1000, ()))
    return nn.Sequential(nn.Linear(inputs, width), nn.Linear(width, outputs))


def one_memory(inputs, outputs):
    made = nn.Sequential(nn.Linear(inputs, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, outputs))
    made[2].weight = nn.Parameter(made[1].weight.data)
    return made


class Narrow(nn.Linear):
    """Returns another precision than it gets."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.inner = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.inner(x).half()


class Layers(nn.Module):
    """Two layers; what the subclasses do wrong is in their forward pass or their place."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.a, self.b = nn.Linear(inputs, 8), nn.Linear(8, outputs)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class Detached(Layers):
    def forward(self, x):
        return self.b(self.a(x).detach())


class Half(Layers):
    def forward(self, x):
        with torch.no_grad():
            x = self.a(x)
        return self.b(x)


class Unused(Layers):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.spare = nn.Linear(3, 3)


class OnlyInTraining(Layers):
    """Calls a layer in training alone: it trains."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.aside = nn.Linear(8, 8)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.b(self.aside(x) if self.training else x)


class NoGrad(Layers):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class Frozen(Layers):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.requires_grad_(False)


class Listed(nn.Module):
    """All layers in a plain list."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layers = [nn.Linear(inputs, outputs)]

    def forward(self, x):
        return self.layers[0](x)


class PartlyListed(Layers):
    """One layer in a dict, the others registered."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.more = {"mid": nn.Linear(8, 8)}

    def forward(self, x):
        return self.b(self.more["mid"](self.a(x)))


class Bare(Layers):
    """A parameter in a list."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.scales = [nn.Parameter(torch.ones(8))]

    def forward(self, x):
        return self.b(self.a(x) * self.scales[0])


class NoSuper(nn.Module):
    def __init__(self, inputs, outputs):
        self.a = nn.Linear(inputs, outputs)


class Fails(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        raise RuntimeError("no such file")


def more_arguments(inputs, outputs, width):
    return nn.Sequential(nn.Linear(inputs, width), nn.Linear(width, outputs))


def ends_in(last):
    class Ends(Layers):
        def forward(self, x):
            return last(super().forward(x))

    return Ends


Softmax = ends_in(lambda z: z.softmax(-1))
Sigmoid = ends_in(torch.sigmoid)
LogSoftmax = ends_in(lambda z: z.log_softmax(-1))  # cross-entropy of it is that of the logits
instance = Layers(6, 1)


def asked(target, *more):
    args = ["model=module", f"model.target={__name__}.{target}", "seeds=2", "init=orthogonal", "sharing=none"]
    return [*args, *more, "data=teacher", "data.samples=60", "data.inputs=6", "optim.lr=0.01", "optim.batch_size=8"]


def test_what_the_initializer_does_not_reach_is_said_by_inspect_and_in_the_study(folder, capsys, monkeypatch):
    import sys

    from initbench.__main__ import main
    from initbench.inspect import look

    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    said = "init fills 2 of 7 parameter tensors (17 of 47 numbers)"
    (found,) = look(asked("Mixed"))
    assert found.notes[-3].startswith(f"{said}: conv.weight, scale, conv.bias, norm.weight, norm.bias keep")
    assert found.notes[-2].startswith("Frozen parameters: conv.bias")
    assert found.notes[-1].startswith("Evaluated with running statistics: norm")
    assert "no trouble seen in fc" in found.diagnosis or found.trouble
    more = ["train.steps=2", "track.uri=null", "engine.workers=1", "study=mixed"]
    assert main(asked("Mixed", *more)) == 0
    assert said in " ".join(capsys.readouterr().err.split())
    assert said in (folder / "outputs" / "mixed" / "study.json").read_text()
    (plain,) = look(asked("Noisy"))
    assert [note.split(":")[0] for note in plain.notes[-2:]] == [
        "Layers are also used without being called",
        "Evaluations do not repeat",
    ]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("normed", "0.weight is computed by weight_norm from .*; an initializer fills stored weights only"),
        ("pruned", "0.weight is computed by pruning from 0.weight_orig; an initializer"),
        ("lazy", "it has lazy layers, without shapes yet; give the layers their sizes"),
        ("seedy", "seed 1 makes other parameters than the first seed .*; its structure must not depend"),
        ("one_memory", "1.weight and 2.weight are two parameters in one memory; tie them"),
        ("Narrow", "returns float16 for float32 inputs; return outputs.to"),
        ("NoGrad", "no parameter gets a gradient; .*no_grad"),
        ("Frozen", "no parameter gets a gradient"),
        ("Listed", r"not register.* of shapes \(1, 6\), \(1,\); .*nn.ModuleList"),
        ("PartlyListed", r"not register.* of shapes \(8, 8\), \(8,\); .*nn.ModuleList"),
        ("Bare", r"not register.* of shape \(8,\); .*nn.Parameter"),
        ("NoSuper", r"AttributeError.*; call super\(\).__init__\(\) first"),
        ("Fails", r"no such file \(.*test_module.py:\d+\); correct it"),
        ("more_arguments", r"missing .*'width'; set model.args.KEY=VALUE$"),
        ("instance", r"an instance of Layers; name the class, or a function that makes it$"),
    ],
)
def test_a_module_that_is_not_what_it_seems_is_one_line(target, words, folder, capsys):
    from initbench.__main__ import main

    assert main(asked(target, "train.steps=2", "track.uri=null", "engine.workers=1")) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert re.search(words, err), err
    assert "Traceback" not in err
    assert not (folder / "outputs").exists()


@pytest.mark.parametrize(
    ("target", "names"),
    [("Detached", "a.weight, a.bias"), ("Half", "a.weight, a.bias"), ("Unused", "spare.weight, spare.bias")],
)
def test_parameters_that_get_no_gradient_are_named(target, names):
    from initbench.study import command as study

    (found,) = [one for one in study.plan(asked(target)).cautions if one["title"] == "Some parameters never train"]
    assert str(found["text"]).startswith(f"{names}: no gradient reaches them")


@pytest.mark.parametrize("target", ["Softmax", "Sigmoid", "LogSoftmax", "Layers", "OnlyInTraining"])
def test_outputs_that_are_probabilities_are_said_where_logits_are_needed(target):
    from initbench.study import command as study

    said = {
        data: "The outputs are already probabilities" in str(study.plan([*asked(target)[:5], *of]).cautions)
        for data, of in {"classes": ["data=digits", "optim.lr=0.1"], "numbers": asked(target)[5:]}.items()
    }
    assert said == {"classes": target in ("Softmax", "Sigmoid"), "numbers": False}
    assert "never train" not in str(study.plan(asked(target)).cautions)
