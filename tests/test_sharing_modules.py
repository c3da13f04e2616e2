"""Sharing schemes against plain nn.Modules with truly shared parameters, trained by torch alone; frozen tensors; costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from conftest import small_arm
from initbench import data
from initbench.config.groups import ModelConfig, SharingConfig
from initbench.engine import one_by_one, stacked
from initbench.engine.kernel.declared import refuses
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.engine.oracle import Oracle
from initbench.errors import InputError
from initbench.sharing import Formula, Parts, Slot, build, main_slots, scheme
from initbench.sharing.subspace import dense, sparse
from initbench.study.plan import planned

SEED = 3
STEPS = 12


def arm_of(sharing, **more):
    """Six tanh layers (four of them hidden-to-hidden) on the full batch, by momentum."""
    model = {"depth": 5, "width": 6, "activation": "tanh", "dtype": "float64", **more.pop("model", {})}
    return small_arm(
        sharing=sharing,
        model=model,
        optim={"name": "momentum", "momentum": 0.9, "lr": [0.05], "batch_size": None},
        train={"steps": STEPS},
        measure={"metrics": ["weight_norm"], "schedule": {"every": 1}},
        seeds=(SEED,),
        **more,
    )


def losses_of(arm) -> np.ndarray:
    return stacked.run_chunk(arm, list(arm.runs), data.load(arm.data)).series["loss/batch"].values[0]


def by_torch(arm, parameters: list[nn.Parameter], outputs: Callable[[Tensor], Tensor]) -> list[float]:
    """Losses of a net in plain torch before each of its steps."""
    seeds = Seeds(Material(arm, data.load(arm.data)), (SEED,))
    x, y = (t[0] for t in seeds.samples(next(seeds.batches())))
    stepper = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    losses = []
    for _ in range(STEPS + 1):
        stepper.zero_grad()
        loss = F.cross_entropy(outputs(x), y)
        loss.backward()
        losses.append(loss.item())
        stepper.step()
    return losses


class Plain(nn.Module):
    """What the arm trains, written as a person would: Parameters in a dict, and weights that are said layer by layer."""

    def __init__(self, arm, weight, *names: str, biases=range(6), extra=lambda net, layer, x: 0.0):
        super().__init__()
        self.start = start_of_seed(Material(arm, data.load(arm.data)), SEED)
        names = (*names, *(f"bias_{i:02d}" for i in sorted(set(biases))))
        self.held = nn.ParameterDict({name: nn.Parameter(self.start[name].clone()) for name in names})
        self.weight, self.biases, self.extra = weight, list(biases), extra

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in range(6):
            h = F.linear(h, self.weight(self, layer), self.held[f"bias_{self.biases[layer]:02d}"])
            h = h + self.extra(self, layer, x)
            h = torch.tanh(h) if layer < 5 else h
        return h


def looked_up(places: list[int]):
    """W_l is the parameter that `places` names."""
    return lambda net, layer: net.held[f"weight_{places[layer]:02d}"]


def basis(net: Plain, layer: int) -> Tensor:
    if layer in (0, 5):
        return net.held[f"weight_{layer:02d}"]
    return net.held["weight_01"] @ net.held[f"coefficients_{layer:02d}"]


def turned(net: Plain, layer: int) -> Tensor:
    if layer in (0, 5):
        return net.held[f"weight_{layer:02d}"]
    return net.start[f"rotated_out_{layer:02d}"] @ net.held["weight_01"] @ net.start[f"rotated_in_{layer:02d}"]


ENDS, COEFFICIENTS = ("weight_00", "weight_05"), tuple(f"coefficients_{i:02d}" for i in range(1, 5))
CASES = {
    "middle_cycle": (
        {"name": "middle_cycle", "slots": 1, "bias": "untied"},
        lambda arm: Plain(arm, looked_up([0, 1, 2, 2, 4, 5]), *(f"weight_{i:02d}" for i in (0, 1, 2, 4, 5))),
    ),
    "middle_sequence": (
        {"name": "middle_sequence", "slots": 1},
        lambda arm: Plain(
            arm,
            looked_up([0, 1, 2, 2, 4, 5]),
            *(f"weight_{i:02d}" for i in (0, 1, 2, 4, 5)),
            biases=[0, 1, 2, 2, 4, 5],
        ),
    ),
    "shared_basis": (
        {"name": "shared_basis", "rank": 3, "bias": "untied"},
        lambda arm: Plain(arm, basis, *ENDS, "weight_01", *COEFFICIENTS),
    ),
    "rotated": (
        {"name": "rotated", "bias": "untied"},
        lambda arm: Plain(arm, turned, *ENDS, "weight_01"),
    ),
    "input_injection": (
        {"name": "input_injection", "bias": "untied"},
        lambda arm: Plain(
            arm,
            looked_up([0, 1, 1, 1, 1, 5]),
            *ENDS,
            "weight_01",
            "injection_01",
            extra=lambda net, layer, x: x @ net.held["injection_01"].T if 0 < layer < 5 else 0.0,
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_scheme_is_the_plain_module_with_shared_parameters(case):
    """As many trained numbers, and the same losses over a dozen steps of momentum."""
    sharing, make = CASES[case]
    arm = arm_of(sharing)
    net = make(arm)
    assert sum(p.numel() for p in net.parameters()) == Material(arm, data.load(arm.data)).scheme.stored_parameters
    assert np.allclose(losses_of(arm), by_torch(arm, list(net.parameters()), net), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_intrinsic_trains_one_vector_in_a_random_subspace(kind, bias):
    """theta = theta_0 + P z over all weights and biases of an ordinary net, by torch.func.functional_call."""
    arm = arm_of({"name": "intrinsic", "dimension": 30, "projection": kind}, model={"bias": bias})
    material = Material(arm, data.load(arm.data))
    scheme_, start = material.scheme, start_of_seed(material, SEED)
    linears = [nn.Linear(*shape[::-1], bias=bias).double() for shape in scheme_.shapes]
    net = nn.Sequential(*[part for one in linears[:-1] for part in (one, nn.Tanh())], linears[-1])
    names = {f"{2 * i}.weight": f"weight_{i:02d}" for i in range(6)}
    names |= {f"{2 * i}.bias": f"bias_{i:02d}" for i in range(6)} if bias else {}
    rows = sum(start[name].numel() for name in names.values())
    assert rows == sum(p.numel() for p in net.parameters())
    if kind == "dense":
        p = dense(rows, 30)
    else:
        p = np.zeros((rows, 30))
        row, column, value = sparse(rows, 30)
        p[row, column] = value
        assert set(np.count_nonzero(p, axis=0)) == {math.ceil(math.sqrt(rows))}
    assert np.allclose(np.linalg.norm(p, axis=0), 1, rtol=1e-12)
    z = nn.Parameter(torch.zeros(30, dtype=torch.float64))

    def outputs(x: Tensor) -> Tensor:
        moved = torch.split(torch.from_numpy(p) @ z, [start[name].numel() for name in names.values()])
        theta = {own: start[name] + part.view(start[name].shape) for (own, name), part in zip(names.items(), moved)}
        return torch.func.functional_call(net, theta, (x,))

    losses = losses_of(arm)
    assert np.allclose(losses, by_torch(arm, [z], outputs), rtol=0, atol=1e-12)
    assert losses[-1] < losses[0]
    assert scheme_.trained == ("z",)
    assert scheme_.stored_parameters == 30
    free = start_of_seed(Material(arm_of({"name": "none"}, model={"bias": bias}), data.load(arm.data)), SEED)
    assert all(torch.equal(free[name], start[name]) for name in free)  # theta_0 is the initializer's, by seed


def test_columns_of_p_look_like_random_directions():
    """Gaussian up to their norm, and nearly orthogonal: inner products of variance 1 / rows."""
    p = dense(2000, 60)
    assert stats.kstest((p * math.sqrt(2000)).ravel(), "norm").pvalue > 0.01
    row, column, value = sparse(2000, 60)
    q = np.zeros((2000, 60))
    q[row, column] = value
    for one in (p, q):
        products = (one.T @ one)[np.triu_indices(60, 1)]
        assert abs(products.std() * math.sqrt(2000) - 1) < 4 / math.sqrt(2 * len(products))
    assert set(np.sign(value)) == {-1.0, 1.0}


# -------------------------------------------------------------------------------------------------- starts


def started(sharing, seed=SEED, **more):
    arm = arm_of(sharing, **more)
    material = Material(arm, data.load(arm.data))
    stored = {name: value[None] for name, value in start_of_seed(material, seed).items()}
    return material.scheme, stored, [material.scheme.weight(stored, i)[0] for i in range(6)]


def test_permuted_and_rotated_layers_have_one_spectrum_and_no_common_direction():
    for name in ("permuted", "rotated"):
        scheme_, stored, weights = started({"name": name}, model={"width": 12})
        spectra = [torch.linalg.svdvals(w) for w in weights[1:5]]
        assert all(torch.allclose(s, spectra[0], rtol=1e-12) for s in spectra)
        eye = torch.eye(12, dtype=torch.float64)
        for side in ("out", "in"):
            turns = [stored[f"{name}_{side}_{i:02d}"][0] for i in range(1, 5)]
            assert all(torch.allclose(t @ t.T, eye, atol=1e-12) for t in turns)
            assert not any(torch.equal(a, b) for i, a in enumerate(turns) for b in turns[i + 1 :])
            if name == "permuted":
                assert all(set(t.unique().tolist()) == {0.0, 1.0} for t in turns)
        other = started({"name": name}, seed=SEED + 1, model={"width": 12})[1]
        assert not torch.equal(other[f"{name}_out_01"], stored[f"{name}_out_01"])  # drawn by the seed
        assert scheme_.frozen == {f"{name}_{side}_{i:02d}" for side in ("out", "in") for i in range(1, 5)}
        entries = [w.sort().values.flatten().sort().values for w in weights[1:5]]
        assert all(torch.allclose(e, entries[0]) == (name == "permuted") for e in entries[1:])


def test_a_shared_basis_keeps_the_initializers_mean_square():
    """|B C_l|^2 = |C_l|^2 = m / r times that of r rows of the initializer's draw; B is Haar's semi-orthogonal."""
    _, stored, weights = started({"name": "shared_basis", "rank": 4, "bias": "untied"}, model={"width": 9})
    _, _, free = started({"name": "none"}, model={"width": 9})
    b = stored["weight_01"][0]
    assert torch.allclose(b.T @ b, torch.eye(4, dtype=torch.float64), atol=1e-12)
    for i in range(1, 5):
        own = stored[f"coefficients_{i:02d}"][0]
        assert torch.equal(own, free[i][:4] * 1.5)
        assert weights[i].square().sum().item() == pytest.approx(9 / 4 * free[i][:4].square().sum().item(), rel=1e-12)


def test_one_hashed_array_serves_layers_of_any_shape():
    sharing = {"name": "hashed_global", "ratio": 0.25, "groups": [[0, 1, 2, 3, 4, 5]], "bias": "untied"}
    scheme_, stored, weights = started(sharing, model={"width": 20})
    (slot,) = scheme_.weights
    values = set(stored[slot.name][0].abs().tolist())
    entries = sum(w.numel() for w in weights)
    assert len(values) == slot.shape[0] <= math.ceil(entries / 4)
    assert set().union(*(set(w.abs().flatten().tolist()) for w in weights)) == values
    index = np.concatenate([scheme_.formulas[i].index.ravel() for i in range(6)])
    sizes = np.bincount(index, minlength=math.ceil(entries / 4))
    assert stats.chisquare(sizes).pvalue > 0.001  # a fair hash
    signs = np.concatenate([scheme_.formulas[i].sign.ravel() for i in range(6)])
    assert abs(signs.mean()) < 4 / math.sqrt(entries)
    drawn = torch.cat([w.flatten() for w in started({"name": "none"}, model={"width": 20})[2]])
    first = np.unique(index, return_index=True)[1]
    assert torch.equal(stored[slot.name][0], drawn[first] * torch.from_numpy(signs[first]))  # where it is met first


def test_an_injection_is_another_draw_of_the_input_layer():
    _, stored, weights = started({"name": "input_injection"}, model={"width": 200})
    v = stored["injection_01"][0]
    assert v.shape == weights[0].shape
    assert abs(np.corrcoef(v.flatten(), weights[0].flatten())[0, 1]) < 4 / math.sqrt(v.numel())
    assert v.std().item() == pytest.approx(weights[0].std().item(), rel=4 / math.sqrt(v.numel()))


# -------------------------------------------------------------------------------------------------- untie_then_tie


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_untie_then_tie_is_none_and_then_one_average(name):
    """Before the step its losses are those of `none`; at it all copies are the mean of none's; with step beyond the end it
    is `none`."""
    own = {"momentum": 0.9} if name == "momentum" else {}
    optim = {"name": name, "lr": [0.02], **own}

    def net(steps: int, **sharing) -> stacked.Stack:
        arm = small_arm(sharing=sharing, optim=optim, train={"steps": steps}, seeds=(1, 2))
        material = Material(arm, data.load(arm.data))
        rates = torch.full((2,), 0.02, dtype=torch.float64)
        stack = stacked.Stack(material, Seeds(material, (1, 2)), torch.tensor([0, 1]), rates)
        with torch.no_grad():
            for step in range(steps):
                stack.loss(step)
                stack.update(step)
        return stack

    free = net(5, name="none")
    tied, late = (net(5, name="untie_then_tie", step=step) for step in (5, 99))
    weights = [f"weight_{i:02d}" for i in (1, 2, 3)]
    mean = torch.stack([free.stored[one] for one in weights]).mean(0)
    for one in weights:
        assert torch.equal(late.stored[one], free.stored[one])
        assert torch.allclose(tied.stored[one], mean, rtol=1e-14)
        for key, value in tied.state[one].items():
            expected = torch.stack([free.state[other][key] for other in weights]).mean(0)
            assert torch.allclose(value, expected, rtol=1e-12), key
    after = net(9, name="untie_then_tie", step=5)
    for kind in ("weight", "bias"):
        one, *others = (after.stored[f"{kind}_{i:02d}"] for i in (1, 2, 3))
        assert all(torch.equal(one, other) for other in others)
    assert not torch.equal(after.stored["weight_01"], tied.stored["weight_01"])


# -------------------------------------------------------------------------------------------------- costs, refusals


def costs(**sharing):
    return planned(arm_of(sharing)).costs()


def test_what_is_frozen_costs_memory_but_is_not_stored():
    """Momentum keeps one number a trained number: 3 of each, 1 of what is frozen, 8 bytes each."""
    none, z = costs(name="none"), costs(name="intrinsic", dimension=10)
    assert (z["stored_parameters"], z["stored_biases"]) == (10, 0)
    assert z["state_bytes"] == 8 * (3 * 10 + none["stored_parameters"])
    turned_ = costs(name="rotated")
    assert turned_["stored_parameters"] == costs(name="all")["stored_parameters"]
    assert turned_["state_bytes"] == 8 * (3 * turned_["stored_parameters"] + 4 * 2 * 36)
    assert turned_["flops_per_step"] - costs(name="all")["flops_per_step"] == 4 * 4 * 36 * 12
    injected, all_ = costs(name="input_injection"), costs(name="all")
    batch = 48  # training samples
    assert injected["stored_parameters"] - all_["stored_parameters"] == 6 * 5
    assert injected["flops_per_step"] - all_["flops_per_step"] == 6 * batch * 30 + 4 * 30
    dense_, none_ = costs(name="intrinsic", dimension=10)["flops_per_step"], none["flops_per_step"]
    rows = none["stored_parameters"]
    assert dense_ - none_ == rows * (1 + 4 * 10) + 4 * (10 - rows)


@pytest.mark.parametrize("name", ["intrinsic", "rotated", "input_injection", "untie_then_tie", "shared_basis"])
def test_the_kernel_says_why_it_does_not_train_them(name):
    arm = small_arm(sharing={"name": name}, model={"dtype": "float32"})
    assert refuses(arm, Material(arm, data.load(arm.data))).startswith(f"sharing={name}: in the kernel a layer looks")
    for kept in ("middle_cycle", "middle_sequence"):
        arm = small_arm(sharing={"name": kept, "slots": 1}, model={"dtype": "float32"})
        assert refuses(arm, Material(arm, data.load(arm.data))) == ""


# -------------------------------------------------------------------------------------------------- one's own

DOCS = Path(__file__).resolve().parent.parent / "docs" / "sharing.md"


def test_a_scheme_of_ones_own_may_freeze_what_the_seed_draws(folder, monkeypatch):
    """The example of docs/sharing.md: W_l = W0 + a_l F_l with a frozen draw F_l of each layer's initializer."""
    blocks = [block.split("```")[0] for block in DOCS.read_text("utf-8").split("```python\n")[1:]]
    text = next(block for block in blocks if "frozen=" in block)
    (folder / "own_frozen.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    arm = arm_of({"name": "own_frozen.drifting"})
    material = Material(arm, data.load(arm.data))
    start = start_of_seed(material, SEED)
    free = start_of_seed(Material(arm_of({"name": "none"}), material.data), SEED)
    for layer in range(1, 5):
        assert torch.equal(start[f"frozen_{layer:02d}"], free[f"weight_{layer:02d}"])
    ours, oracle = (engine.run_chunk(arm, list(arm.runs), material.data) for engine in (stacked, one_by_one))
    for name, one in ours.series.items():
        assert np.allclose(one.values, oracle.series[name].values, rtol=1e-11, atol=1e-12), name
    assert material.scheme.stored_parameters == 30 + 36 + 18 + 4 + 6 + 6 + 3


def test_frozen_tensors_keep_their_bits():
    """Under weight decay, clipping and an optimizer with state; the oracle has no parameter but z."""
    arm = small_arm(
        sharing={"name": "intrinsic", "dimension": 7},
        optim={"name": "adamw", "lr": [0.1], "weight_decay": 0.5, "clip": 0.1},
        seeds=(0, 1),
    )
    material = Material(arm, data.load(arm.data))
    assert [name for name, _ in Oracle(material, 0).module.named_parameters()] == ["tensors.z"]
    seeds = Seeds(material, (0, 1))
    stack = stacked.Stack(material, seeds, torch.tensor([0, 1]), torch.full((2,), 0.1, dtype=torch.float64))
    before = {name: value.clone() for name, value in stack.stored.items()}
    with torch.no_grad():
        for step in range(3):
            stack.loss(step)
            stack.update(step)
    changed = {name for name in before if not torch.equal(before[name], stack.stored[name])}
    assert changed == {"z"}


class Half(Formula):
    names = ("weight_01",)

    def weight(self, stored):
        return stored["weight_01"] / 2


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"frozen": frozenset({"weight_77"})}, "weight_77 is frozen, but not stored; freeze names of slots"),
        ({"frozen": frozenset({"weight_00", "weight_01", "weight_02", "bias_00", "bias_01", "bias_02"})},
         "everything is frozen; leave a stored tensor to train"),
        ({"bias_formulas": {7: Half()}}, "the formula of layer 7 is not a layer"),
        ({"injections": (Slot("weight_01", (6, 5), (1,)),)}, "two slots are named weight_01"),
    ],
)  # fmt: skip
def test_wrong_parts_are_refused_in_one_line(monkeypatch, parts, said):
    layers = ModelConfig(depth=2, width=6).layers(5, 3)
    made = lambda config, layers: Parts(main_slots([[0], [1], [2]], layers), **parts)  # noqa: E731
    monkeypatch.setitem(build.BUILDERS, "mine", made)
    with pytest.raises(InputError, match=said):
        scheme(SharingConfig("mine"), layers)


class Added(Formula):
    """W_1 = W_1 + W_2, where layer 2 looks W_2 up."""

    names = ("weight_01", "weight_02")

    def weight(self, stored):
        return stored["weight_01"] + stored["weight_02"]


def test_a_formula_may_read_what_a_later_layer_looks_up(monkeypatch):
    """Its part of the gradient is not lost."""
    layers = ModelConfig(depth=3, width=4).layers(4, 4)
    made = lambda config, layers: Parts(main_slots([[0], [1], [2], [3]], layers), formulas={1: Added()})  # noqa: E731
    monkeypatch.setitem(build.BUILDERS, "mine", made)
    s = scheme(SharingConfig("mine"), layers)
    stored = {slot.name: torch.zeros(2, *slot.shape) for slot in s.slots}
    grads = s.stored_grads([torch.full((2, 4, 4), float(i + 1)) for i in range(4)], [torch.zeros(2, 4)] * 4, stored)
    assert grads["weight_01"].unique().tolist() == [2.0]
    assert grads["weight_02"].unique().tolist() == [5.0]
