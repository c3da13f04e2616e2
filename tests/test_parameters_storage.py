"""Parameters that are stored in another way than plainly: computed, half precision, shared memory, without numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

import initbench as ib
from initbench.errors import InputError

# torch says that its older functions have newer ones
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")


class Exp(nn.Module):
    def forward(self, x):
        return x.exp()


class Log(Exp):
    def right_inverse(self, w):
        return w.log()


def parametrized(step):
    def put(layer):
        parametrize.register_parametrization(layer, "weight", step)
        return layer

    return put


def net(put=lambda layer: layer):
    torch.manual_seed(0)
    return nn.Sequential(put(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))


def seeded():
    return torch.Generator().manual_seed(1)


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same_state(module, before):
    return all(torch.equal(tensor.nan_to_num(), before[name].nan_to_num()) for name, tensor in state(module).items())


POSITIVE = {"name": "uniform", "a": 0.5, "b": 1.0}


@pytest.mark.parametrize(
    ("put", "rule"),
    [
        (parametrizations.weight_norm, "orthogonal"),
        (parametrizations.weight_norm, "kaiming_normal"),
        (weight_norm, "kaiming_normal"),
        (weight_norm, 2.0),
        (parametrizations.orthogonal, "orthogonal"),
        (lambda layer: parametrizations.orthogonal(layer, orthogonal_map="cayley"), "orthogonal"),
        (parametrized(Log()), POSITIVE),
        (lambda layer: prune.identity(layer, "weight"), "kaiming_normal"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_computed_weight_is_the_drawn_one(put, rule, training):
    """The oracle: a plain net of the same draws gives the same outputs, and gradients reach what is stored."""
    module, plain = net(put).train(training), net()
    table = ib.initialize_(module, rule, seeded()).set_index("name")["done"]
    ib.initialize_(plain, rule, seeded())
    x = torch.randn(5, 6)
    assert torch.allclose(module(x), plain(x), atol=1e-5)
    assert table["0.weight"].startswith("filled, through ")
    parts = [name for name in table.index if name.startswith("0.") and name not in ("0.weight", "0.bias")]
    assert parts
    assert all(table[name] == "set through 0.weight" for name in parts)
    assert "left alone" not in set(table)
    assert module.training == training


@pytest.mark.parametrize(
    ("put", "rule", "how"),
    [
        (parametrizations.orthogonal, "kaiming_normal", "orthogonal"),
        (parametrizations.spectral_norm, "orthogonal", "spectral_norm"),
        (spectral_norm, "orthogonal", "spectral_norm"),
        (weight_norm, 0.0, "weight_norm"),
        (parametrizations.weight_norm, "zeros", "weight_norm"),
        (parametrized(Exp()), POSITIVE, "Exp"),
        (parametrized(Log()), "kaiming_normal", "Log"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "kaiming_normal", "pruning"),
    ],
)
def test_a_computed_weight_that_cannot_be_the_drawn_one_is_refused_and_nothing_is_changed(put, rule, how):
    module = net(put)
    before = state(module)
    with pytest.raises(InputError, match=rf"^initialize_: 0\.weight: {how} computes it from 0\..*; initialize before"):
        ib.initialize_(module, rule, seeded())
    assert same_state(module, before)


def test_parts_take_numbers_by_their_own_names_and_no_draws():
    module = net(weight_norm)
    table = ib.initialize_(module, {"0.weight_g": 1.0}).set_index("name")["done"]
    assert table["0.weight_g"] == "filled"
    assert table["0.weight_v"] == "left alone"
    module(torch.zeros(1, 6))
    assert torch.allclose(module[0].weight.norm(dim=1), torch.ones(8))
    with pytest.raises(InputError, match=r"a part is not a matrix to draw; name 0\.weight"):
        ib.initialize_(module, {"0.weight_v": "normal"})
    with pytest.raises(InputError, match=r"fill both"):
        ib.initialize_(module, {"0.weight_g": 1.0, "0": "normal"})
    with pytest.raises(InputError, match=r"computed by weight_norm from 0\.weight_g, 0\.weight_v; name one of these"):
        ib.parameter(module, "0.weight")
    assert "0.weight" not in set(ib.constant_table(module)["name"])
    with pytest.raises(InputError, match=r"lsuv: 0\.weight is computed by weight_norm"):
        ib.initialize_(module, "lsuv", batch=(torch.randn(9, 6), torch.randn(9, 3)))


def test_layers_with_computed_weights_are_tied_where_one_weight_comes_of_it():
    def two(put):
        torch.manual_seed(0)
        return nn.Sequential(put(nn.Linear(4, 4)), put(nn.Linear(4, 4)))

    module = ib.share_(two(parametrizations.weight_norm), [["0", "1"]])
    ib.initialize_(module, "kaiming_normal", seeded())
    assert torch.equal(module[0].weight, module[1].weight)
    masked = two(lambda layer: prune.random_unstructured(layer, "weight", 0.5))
    kept = masked[1].weight_orig
    with pytest.raises(InputError, match=r"tied parts do not make one tensor"):
        ib.share_(masked, [["0", "1"]])
    assert masked[1].weight_orig is kept
    with pytest.raises(InputError, match=r"0\.weight is computed by pruning"):
        ib.share_(masked, [["0.weight", "1.weight"]])


# ------------------------------------------------------------------------------------------------ precision, no numbers


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("rule", ["orthogonal", "kaiming_normal", "eye"])
def test_half_precision_is_the_rounded_draw(dtype, rule):
    module, plain = net().to(dtype), net()
    ib.initialize_(module, rule, seeded())
    ib.initialize_(plain.to(torch.float64 if dtype == torch.float64 else torch.float32), rule, seeded())
    assert torch.equal(module[0].weight, plain[0].weight.to(dtype))
    assert module[0].weight.dtype == dtype


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.to("meta"), "0.weight: is on the meta device and has no numbers; materialize it first"),
        (lambda m: put(m, m[0].weight.to(torch.complex64)), "0.weight: holds complex64"),
        (lambda m: put(m, m[0].weight.to(torch.int8)), "0.weight: holds int8"),
        (lambda m: put(m, m[0].weight.to(torch.float8_e4m3fn)), "0.weight: holds float8_e4m3fn"),
        (lambda m: put(m, m[0].weight.to_sparse()), "0.weight: is stored as sparse_coo"),
        (lambda m: put(m, torch.zeros(1, 6).expand(8, 6)), "0.weight: is an expanded view"),
        (lambda m: m.__setitem__(0, nn.LazyLinear(8)), "0.weight: has no shape yet; run one batch"),
    ],
)
def test_what_cannot_hold_a_draw_is_refused_by_name(change, words):
    module = net()
    change(module)
    with pytest.raises(InputError, match=words):
        ib.initialize_(module, "kaiming_normal")


def put(module, values):
    module[0].weight = nn.Parameter(values.detach(), requires_grad=False)


def test_values_beyond_half_precision_are_refused_and_nothing_is_changed():
    module = net().half()
    before = state(module)
    with pytest.raises(InputError, match=r"0\.weight: its values do not fit float16"):
        ib.initialize_(module, {"2": "normal", "0.weight": 1e6})
    assert same_state(module, before)


def test_other_layouts_modes_and_empty_layers_are_filled():
    module, plain = net(), net()
    module[0].weight = nn.Parameter(torch.zeros(6, 8).T, requires_grad=False)
    with torch.inference_mode():
        ib.initialize_(module, "kaiming_normal", seeded())
        frozen = net()
    ib.initialize_(plain, "kaiming_normal", seeded())
    ib.initialize_(frozen, "kaiming_normal", seeded())  # made in inference mode, filled outside of it
    for one in (module, frozen):
        assert torch.equal(one[0].weight, plain[0].weight)
        assert torch.equal(one[2].weight, plain[2].weight)
    empty = nn.Sequential(nn.Linear(0, 4), nn.Linear(4, 0))
    nn.init.ones_(empty[0].bias)
    ib.initialize_(empty, "kaiming_normal")
    assert torch.equal(empty[0].bias, torch.zeros(4))


# ------------------------------------------------------------------------------------------------ shared memory


def test_one_memory_is_filled_once_and_the_table_names_it():
    module = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    module[2].weight = nn.Parameter(module[1].weight.data)
    table = ib.parameter_table(module).set_index("name")
    assert table["memory_with"].to_dict()["1.weight"] == ("2.weight",)
    assert table["memory_with"].to_dict()["2.weight"] == ("1.weight",)
    assert table["shared"].to_dict()["2.weight"]
    assert not table["shared"].to_dict()["0.weight"]
    with pytest.raises(InputError, match=r"1\.weight and 2\.weight are one parameter under two rules"):
        ib.initialize_(module, {"1": "ones", "2": "zeros"})
    done = ib.initialize_(module, "kaiming_normal", seeded()).set_index("name")["done"]
    assert done["2.weight"] == "tied to 1.weight, filled there"
    ib.untie_(module)
    module[1].weight.data.zero_()
    assert module[2].weight.abs().sum() > 0


def test_memory_in_part_is_refused_and_slices_side_by_side_are_not():
    base = torch.zeros(8, 4)
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[0].weight, module[1].weight = nn.Parameter(base[:4]), nn.Parameter(base[2:6])
    with pytest.raises(InputError, match=r"0\.weight and 1\.weight overlap in memory"):
        ib.initialize_(module, {"1": "ones"})
    assert not base.any()
    module[1].weight = nn.Parameter(base[4:])
    ib.initialize_(module, {"1": "ones"})
    assert bool((base[4:] == 1).all())
    assert not base[:4].any()


# ------------------------------------------------------------------------------------------------ names in refusals


@pytest.mark.parametrize("act", [lambda m: ib.share_(m, [["0", "nix"]]), lambda m: ib.untie_(m, ["nix"])])
def test_refusals_list_all_names_and_no_empty_one(act):
    with pytest.raises(InputError) as caught:
        act(net())
    names = str(caught.value).split("must be one of: ")[1].split(", ")
    assert names == ["0.weight", "0.bias", "2.weight", "2.bias", "0", "1", "2"]


def test_one_name_is_a_name_and_not_its_letters():
    shared = nn.Linear(2, 2)
    module = nn.Sequential(shared, nn.ReLU(), nn.Linear(2, 2))
    module[2].weight = shared.weight
    ib.untie_(module, "2")
    assert module[2].weight is not module[0].weight
    with pytest.raises(InputError, match=r"untie_: 2\.wieght is not in this module; did you mean 2\.weight\?"):
        ib.untie_(module, "2.wieght")
