"""Resolving, checking and calling initializers; torch as the oracle; the option files."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import initbench.initializers as catalogue
from conftest import assert_template
from initbench.config.groups import LayerSpec
from initbench.errors import InputError, NotApplicable
from initbench.initializers import REGISTRY, initialize, options, resolve
from initbench.initializers.bias import RULES, fill_bias_, parse_rule

OPTIONS = sorted((Path(__file__).parents[1] / "conf" / "init").glob("*.yaml"))
LAYER = LayerSpec(1, 4, fan_in=6, fan_out=5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


TORCH = {
    "uniform_": ({"a": -1.0, "b": 2.0}, {}),
    "normal_": ({"mean": 1.0, "std": 2.0}, {}),
    "trunc_normal_": ({"std": 0.7, "a": -1.0, "b": 0.5}, {}),
    "constant_": ({"value": 3.0}, {"val": 3.0}),
    "ones_": ({}, {}),
    "zeros_": ({}, {}),
    "eye_": ({}, {}),
    "xavier_uniform_": ({"gain": 1.3}, {}),
    "xavier_normal_": ({"gain": 1.3}, {}),
    "kaiming_uniform_": ({"mode": "fan_out", "nonlinearity": "leaky_relu", "a": 0.3}, {}),
    "kaiming_normal_": ({"mode": "fan_in", "nonlinearity": "tanh"}, {}),
    "orthogonal_": ({"gain": 0.7}, {}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (12, 5), (1, 7), (7, 1)])
@pytest.mark.parametrize("name", TORCH)
def test_same_generator_gives_torchs_numbers(name, shape, dtype):
    args, torch_args = TORCH[name]
    ours, theirs = torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)
    function = getattr(torch.nn.init, name)
    given = {} if name in ("constant_", "ones_", "zeros_", "eye_") else {"generator": generator(3)}
    function(theirs, **(torch_args or args), **given)
    resolve(name.removesuffix("_"))(ours, generator=generator(3), **args)
    torch.testing.assert_close(ours, theirs, rtol=1e-12 if dtype == torch.float64 else 1e-6, atol=0)


def test_torch_default_is_linears_own():
    torch.manual_seed(5)
    linear = torch.nn.Linear(6, 5)
    ours, bias = torch.empty(5, 6), torch.empty(5)
    one = generator(5)  # torch draws weight, then bias from one generator
    catalogue.torch_default_(ours, generator=one)
    fill_bias_(bias, "torch", layer=LAYER, generator=one)
    torch.testing.assert_close(ours, linear.weight.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(bias, linear.bias.detach(), rtol=1e-6, atol=0)


def test_every_initializer_of_torch_is_there():
    names = [name for name in torch.nn.init.__all__ if name.endswith("_")]
    assert len(names) >= 14
    assert not [name for name in names if not hasattr(catalogue, name)]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module.f", "no module named 'no_such_module'"),
        ("initbench.initializers.nope_", "has no 'nope_'"),
        ("xavier", "unknown"),
        ("initbench.initializers.REGISTRY", "not a function"),
        ("math.", "has no ''"),
        ("", "unknown"),
        ("..x.f", "failed"),
    ],
)
def test_a_wrong_target_is_refused_in_one_line(target, words):
    with pytest.raises(InputError) as error:
        resolve(target)
    assert words in str(error.value)
    assert "must be " in assert_template(str(error.value))
    assert "\n" not in str(error.value)


def test_a_module_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "mine_a.py").write_text("def fill(weight, *, generator, size=2.0):\n    weight.fill_(size)\n")
    (tmp_path / "broken_a.py").write_text("1 / 0\n")
    (tmp_path / "halfway_a.py").write_text("import no_such_library_a\n")
    monkeypatch.chdir(tmp_path)
    assert options(resolve("mine_a.fill")) == {"size": 2.0}
    weight = torch.empty(5, 6)
    initialize(weight, None, function_or_target="mine_a.fill", layer=LAYER, generator=generator())
    assert (weight == 2).all()
    with pytest.raises(InputError, match="division by zero"):
        resolve("broken_a.f")
    with pytest.raises(InputError, match="no module named 'no_such_library_a'"):
        resolve("halfway_a.f")


def global_states():
    return str(random.getstate()), str(np.random.get_state()), torch.get_rng_state()


def test_a_function_that_draws_globally_repeats_and_leaves_no_trace():
    def careless(weight):
        torch.nn.init.normal_(weight)
        weight += float(np.random.rand()) + random.random()

    drawn, before = [], global_states()
    for seed in (1, 1, 2):
        weight = torch.empty(5, 6)
        initialize(weight, None, function_or_target=careless, layer=LAYER, generator=generator(seed))
        drawn.append(weight)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    after = global_states()
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])


def test_a_function_may_return_instead_of_filling():
    weight = torch.zeros(5, 6)
    call = {"layer": LAYER, "generator": generator()}
    initialize(weight, None, function_or_target=lambda w: torch.full_like(w, 3.0), **call)
    assert (weight == 3).all()
    with pytest.raises(InputError, match=r"shape \(6, 5\)"):
        initialize(weight, None, function_or_target=lambda w: w.T + 0, **call)
    with pytest.raises(InputError, match="NaN"):
        initialize(weight, None, function_or_target=lambda w: w.fill_(float("nan")), **call)


def test_unknown_and_missing_arguments_are_refused():
    call = {"layer": LAYER, "generator": generator()}
    with pytest.raises(
        InputError, match=r"init.gian: xavier_normal has no such argument; did you mean gain\? must be one of: gain"
    ):
        initialize(torch.empty(5, 6), None, function_or_target="xavier_normal", args={"gian": 2}, **call)
    with pytest.raises(InputError, match=r"init.size: .* needs it"):
        initialize(torch.empty(5, 6), None, function_or_target=lambda weight, size: weight, **call)


def test_bias_first_then_the_function_may_fill_it_too():
    seen = []

    def with_bias(weight, *, bias, layer):
        seen.append((bias.clone(), layer))
        weight.zero_()
        bias.fill_(9.0)

    bias = torch.empty(5)
    initialize(
        torch.empty(5, 6),
        bias,
        function_or_target=with_bias,
        bias_rule=0.5,
        layer=LAYER,
        generator=generator(),
    )
    assert (seen[0][0] == 0.5).all()
    assert seen[0][1] is LAYER
    assert (bias == 9).all()


def test_dirac_is_not_applicable():
    with pytest.raises(NotApplicable, match="use init=eye"):
        initialize(torch.empty(5, 6), None, function_or_target="dirac", layer=LAYER, generator=generator())


# ------------------------------------------------------------ bias rules


def test_the_torch_bias_follows_its_law_and_uses_the_generator():
    bias = torch.empty(4000, dtype=torch.float64)
    fill_bias_(bias, "torch", layer=LayerSpec(0, 1, 16, 4000), generator=generator(1))
    assert bias.abs().max() <= 0.25
    assert abs(float(bias.var()) - 0.25**2 / 3) < 0.001
    again = fill_bias_(torch.empty_like(bias), "torch", layer=LayerSpec(0, 1, 16, 4000), generator=generator(1))
    other = fill_bias_(torch.empty_like(bias), "torch", layer=LayerSpec(0, 1, 16, 4000), generator=generator(2))
    assert torch.equal(bias, again)
    assert not torch.equal(bias, other)


@pytest.mark.parametrize(
    ("rule", "hidden", "last"),
    [
        (None, 0.0, 0.0),
        ("zeros", 0.0, 0.0),
        (0.1, 0.1, 0.1),
        (0, 0.0, 0.0),
        ({"rule": "constant", "value": 0.5}, 0.5, 0.5),
        ("neg_log_classes", 0.0, -np.log(5)),
        ("prior", 0.0, -np.log(99)),
        ({"rule": "prior", "probability": 0.5}, 0.0, 0.0),
    ],
)
def test_fixed_bias_rules(rule, hidden, last):
    for layer, value in ((LAYER, hidden), (LayerSpec(4, 4, 6, 5), last)):
        torch.testing.assert_close(
            fill_bias_(torch.empty(5, dtype=torch.float64), rule, layer=layer),
            torch.full((5,), float(value), dtype=torch.float64),
        )


@pytest.mark.parametrize("rule", ["nope", True, {"rule": "normal", "sdt": 1}, {"std": 1}, [1]])
def test_wrong_bias_rules_are_refused_in_one_line(rule):
    with pytest.raises(InputError) as error:
        parse_rule(rule)
    assert "must be " in assert_template(str(error.value))
    assert "\n" not in str(error.value)


def test_random_bias_rules_have_their_moments():
    for rule, mean, std in (
        ({"rule": "normal", "mean": 0.3, "std": 0.2}, 0.3, 0.2),
        ({"rule": "uniform", "a": 1.0, "b": 3.0}, 2.0, 2 / 12**0.5),
        ("normal", 0.0, 1e-6),
    ):
        bias = fill_bias_(torch.empty(20000, dtype=torch.float64), rule, layer=LAYER, generator=generator())
        assert abs(float(bias.mean()) - mean) < 4 * std / 20000**0.5
        assert abs(float(bias.std()) / std - 1) < 0.03


def test_bias_rules_from_targets():
    last = LayerSpec(4, 4, 6, 3)
    labels = torch.tensor([0, 0, 0, 1])
    bias = fill_bias_(torch.empty(3), "class_log_priors", layer=last, targets=labels)
    torch.testing.assert_close(bias.exp(), torch.tensor([4.0, 2.0, 1.0]) / 7)
    values = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    torch.testing.assert_close(
        fill_bias_(torch.empty(3), "target_mean", layer=last, targets=values), torch.full((3,), 2.0)
    )
    with pytest.raises(InputError, match="targets"):
        fill_bias_(torch.empty(3), "target_mean", layer=last)
    assert set(RULES) >= {"zeros", "torch", "constant", "normal", "uniform"}


# ------------------------------------------------------------ option files


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_file_says_what_its_function_takes(path):
    text = path.read_text()
    assert text.startswith("# ")
    option = yaml.safe_load(text)
    assert option["name"] == path.stem
    function = resolve(option["_target_"])
    arguments = {k: v for k, v in option.items() if k not in ("name", "_target_", "bias")}
    assert list(arguments) == list(options(function))
    parse_rule(option["bias"])
    if path.stem == function.__name__.removesuffix("_") and path.stem not in OWN_DEFAULTS:
        assert arguments == options(function)


OWN_DEFAULTS = {
    "trunc_normal",
    "trunc_normal_2sigma",
    "trunc_normal_scaled",
}  # std 1 is a law, .02 an initializer


def test_every_entry_has_an_option():
    named = {resolve(yaml.safe_load(path.read_text())["_target_"]) for path in OPTIONS}
    assert not [name for name, entry in REGISTRY.items() if entry.function not in named]
