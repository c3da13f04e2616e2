"""What the functions on parameters are given by mistake is one line, and nothing is changed."""

import copy
import re

import pytest
import torch
from torch import nn

import initbench as ib
from conftest import assert_template
from initbench.errors import InputError


def net():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))


CALLS = {
    "initialize_": lambda module: ib.initialize_(module, "eye"),
    "share_": lambda module: ib.share_(module, [["0", "2"]]),
    "untie_": ib.untie_,
    "parameter_table": ib.parameter_table,
    "constant_table": ib.constant_table,
    "parameter": lambda module: ib.parameter(module, "0.weight"),
    "count_uses": lambda module: ib.count_uses(module, torch.ones(1, 4)),
    "use_gradients": lambda module: ib.use_gradients(module, lambda: torch.zeros(())),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "None is no nn.Module; give"),
        (nn.Linear, "the class Linear is no nn.Module; make an instance"),
        ("net", "'net' is no nn.Module"),
        ({"a": torch.ones(2)}, "is no nn.Module"),
        (lambda: net(), "is no nn.Module"),
    ],
)
def test_what_is_no_module_is_one_line(call, given, words):
    with pytest.raises(InputError, match=rf"^{call}: .*{words}") as error:
        CALLS[call](given)
    assert_template(str(error.value))


@pytest.mark.parametrize("given", [0, "seed", 1.5, torch.Generator])
@pytest.mark.parametrize("spec", ["kaiming_normal", {"0": "eye"}, "critical_orthogonal"])
def test_a_generator_is_a_generator(spec, given):
    with pytest.raises(InputError, match=r"^initialize_: generator=.*; give torch.Generator\(\).manual_seed\(0\)$"):
        ib.initialize_(net(), spec, given)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: ib.initialize_(m, "kaiming_norml"), "kaiming_norml: .*did you mean kaiming_normal"),
        (lambda m: ib.initialize_(m, {"0": "ortogonal"}), "ortogonal: .*did you mean orthogonal"),
        (lambda m: ib.initialize_(m, {"0": {"name": "xavier_unifrom"}}), "did you mean xavier_uniform"),
        (lambda m: ib.initialize_(m, "zzzz"), "zzzz: unknown; must be an option"),
        (lambda m: ib.share_(m, "all"), r"share_: 'all' is no list of groups; .*\[\['0', '2'\]\]"),
        (lambda m: ib.share_(m, None), "share_: None is no list of groups"),
        (lambda m: ib.share_(m, 3), "share_: 3 is no list of groups"),
        (lambda m: ib.share_(m, {"0": "2"}), "is no list of groups"),
        (lambda m: ib.share_(m, ["0", "2"]), "share_: group '0': not a group; list two or more"),
        (lambda m: ib.untie_(m, 0), "untie_: 0: a name"),
        (lambda m: ib.untie_(m, nn.Linear), "untie_: .*Linear.*: a name"),
        (lambda m: ib.parameter(m, None), "parameter None: not in this module"),
        (lambda m: ib.parameter(m, 0), "parameter 0: not in this module"),
    ],
)
def test_what_fits_nothing_is_one_line_with_the_nearest(call, words):
    module = net()
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(InputError) as error:
        call(module)
    assert re.search(words, str(error.value)), str(error.value)
    assert_template(str(error.value))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
