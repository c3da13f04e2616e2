"""Sharing schemes: rules as printed in the papers, exact counts, structure against SciPy, starts, refusals."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from conftest import VALUES, assert_template, small_arm
from initbench import data
from initbench.config.groups import PARAMETRIZATIONS, RESIDUALS, SHARING_KEYS, InitConfig, ModelConfig, SharingConfig
from initbench.engine import one_by_one, stacked
from initbench.engine.material import Material, start_of_seed
from initbench.engine.oracle import MLP
from initbench.errors import InputError, NotApplicable
from initbench.sharing import BUILDERS, RULES, label, scheme
from initbench.study.plan import planned

CONF = Path(__file__).resolve().parent.parent / "conf" / "sharing"
LAYERS = ModelConfig(depth=5, width=6).layers(8, 3)  # 6x8, four 6x6, 3x6


def counts(biased: bool = True, layers=LAYERS, **config) -> tuple[int, int]:
    """(stored, used) parameters."""
    s = scheme(SharingConfig(**config), layers, biased)
    return s.stored_parameters, s.used_parameters


ENDS = 6 * 8 + 3 * 6  # weights of input and output layer
ENDS_BIAS = 6 + 3
USED = ENDS + 4 * 36
USED_BIAS = ENDS_BIAS + 4 * 6


@pytest.mark.parametrize(
    ("config", "hidden", "hidden_biases"),
    [
        ({"name": "none"}, 4 * 36, 24),
        ({"name": "all"}, 36, 6),
        ({"name": "all", "bias": "untied"}, 36, 24),
        ({"name": "all", "bias": "only"}, 4 * 36, 6),
        ({"name": "cycle", "slots": 3, "bias": "only"}, 4 * 36, 18),
        ({"name": "pairs"}, 2 * 36, 12),
        ({"name": "sandwich"}, 3 * 36, 18),
        ({"name": "low_rank_delta", "rank": 2, "bias": "untied"}, 36 + 4 * 2 * (6 + 6), 24),  # mn + L r (m + n)
        ({"name": "scaled"}, 36 + 4 * (6 + 6), 6),
        ({"name": "coefficients", "slots": 2, "bias": "untied"}, 2 * 36 + 4 * 2, 24),
        ({"name": "circulant"}, 4 * 6, 24),
        ({"name": "block_circulant", "block": 3}, 4 * 36 // 3, 24),  # mn / b
        ({"name": "block_circulant", "block": 1}, 4 * 36, 24),
        ({"name": "soft"}, 4 * 36, 24),
        ({"name": "tied_at_init"}, 4 * 36, 24),
        ({"name": "tie_then_untie"}, 4 * 36, 24),
        ({"name": "explicit", "groups": [[1, 3], [2, 4]]}, 2 * 36, 12),
        ({"name": "transposed", "groups": [[1, 4]], "bias": "untied"}, 3 * 36, 24),
        ({"name": "middle_cycle", "slots": 2}, 4 * 36, 24),
        ({"name": "middle_sequence", "slots": 1}, 3 * 36, 18),
        ({"name": "shared_basis", "rank": 2, "bias": "untied"}, 6 * 2 + 4 * 2 * 6, 24),  # m r + L r n
        ({"name": "permuted"}, 36, 6),
        ({"name": "rotated", "bias": "untied"}, 36, 24),
        ({"name": "untie_then_tie"}, 4 * 36, 24),
    ],
    ids=lambda c: "-".join(map(str, c.values())) if isinstance(c, dict) else "",
)
def test_stored_and_used_parameters_are_exact(config, hidden, hidden_biases):
    assert counts(**config) == (ENDS + hidden + ENDS_BIAS + hidden_biases, USED + USED_BIAS)
    if config.get("bias") != "only":
        assert counts(biased=False, **config) == (ENDS + hidden, USED)


@pytest.mark.parametrize("name", [n for n in BUILDERS if n not in ("explicit", "transposed")])
def test_counts_are_those_of_the_plain_module(name):
    """The reference engine's nn.Module has as many parameters, once all ties that end have ended."""
    arm = small_arm(sharing={"name": name, "rank": 2, "block": 4}, model={"depth": 5})
    material = Material(arm, data.load(VALUES))
    net = MLP(material, start_of_seed(material, 0))
    copies = sum(net.tensor(name).numel() for name in net.copy_of)
    assert sum(p.numel() for p in net.parameters()) + copies == material.scheme.stored_parameters


def test_only_values_in_use_are_stored():
    """A hash of few values may miss some: K counts buckets in use; circulants cut to a column need one vector a row."""
    for ratio in (0.1, 0.5, 1.0):
        s = scheme(SharingConfig("hashed", ratio=ratio), LAYERS)
        for layer in range(1, 5):
            formula = s.formulas[layer]
            used = np.unique(formula.index)
            assert used.tolist() == list(range(s.weight_slot[layer].shape[0]))
            assert len(used) <= math.ceil(ratio * 36)
    assert s.weight_slot[1].shape[0] < 36  # 36 draws from 36 buckets hit about 63% of them
    whole = scheme(SharingConfig("block_circulant", block=4, groups=[[5]]), LAYERS)  # 3x6 in blocks of 4: 3x4 and 3x2
    assert whole.weight_slot[5].shape == (4 + 4,)  # offsets j - i mod 4 of the cut block: 0, 1, 2, 3
    narrow = scheme(SharingConfig("block_circulant", block=3, groups=[[0]]), ModelConfig(depth=1, width=1).layers(7, 1))
    assert narrow.weight_slot[0].shape == (7,)


# -------------------------------------------------------------------------------------------------------- rules


@given(n=st.integers(1, 40), slots=st.integers(1, 40))
def test_laws_of_the_rules(n, slots):
    """Every rule gives L slots from 0 on without a gap; sequence and the cycles use exactly M."""
    slots = min(n, slots)
    for name, rule in RULES.items():
        if (name == "sandwich" and n < 3) or (name.startswith("middle") and n < slots + 2):
            continue
        chosen = rule(n, slots)
        assert len(chosen) == n
        assert set(chosen) == set(range(max(chosen) + 1)), name
        if name in ("sequence", "cycle", "cycle_rev"):
            assert set(chosen) == set(range(slots)), name
        if name.startswith("middle"):
            assert set(chosen[1:-1]) == set(range(1, slots + 1)), name
            assert (chosen[0], chosen[-1]) == (0, slots + 1)
        if name == "sequence":
            assert chosen == sorted(chosen)
            sizes = np.bincount(chosen)
            assert sizes.max() - sizes.min() <= 1


def test_rules_as_printed():
    """Takase & Kiyono 2021, figure 2 (M = 3, N = 6), and the authors' code where M does not divide N."""
    assert [RULES[name](6, 3) for name in ("sequence", "cycle", "cycle_rev")] == [
        [0, 0, 1, 1, 2, 2],
        [0, 1, 2, 0, 1, 2],
        [0, 1, 2, 2, 1, 0],
    ]
    assert RULES["cycle_rev"](7, 3) == [0, 1, 2, 0, 2, 1, 0]
    assert RULES["sequence"](12, 5) == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]
    assert RULES["middle_cycle"](8, 3) == [0, 1, 2, 3, 1, 2, 3, 4]
    assert RULES["middle_sequence"](8, 3) == [0, 1, 1, 2, 2, 3, 3, 4]
    assert all(RULES["middle_cycle"](n, 1) == RULES["sandwich"](n, 1) for n in range(3, 9))


# ---------------------------------------------------------------------------------------------- structure and start


def started(sharing, init="kaiming_normal", layers=5, width=6, **more) -> tuple[Material, dict[str, torch.Tensor]]:
    """An arm's material and the stored tensors of seed 3, with a run axis of 1."""
    arm = small_arm(sharing=sharing, init=init, model={"depth": layers, "width": width}, **more)
    material = Material(arm, data.load(arm.data))
    return material, {name: value[None] for name, value in start_of_seed(material, 3).items()}


def weights(sharing, **more) -> list[np.ndarray]:
    """Each layer's weight at the start."""
    material, stored = started(sharing, **more)
    return [material.scheme.weight(stored, i)[0].numpy() for i in range(len(material.layers))]


def test_a_shared_slot_starts_once_with_the_fans_of_its_first_use():
    """Transposed: the encoder's fans count; W_dec is the encoder's draw transposed."""
    arm = {"layers": 3, "width": [9, 4, 9], "data": {**VALUES, "outputs": 5}, "init_bias": "zeros"}
    free, tied = weights({"name": "none"}, **arm), weights({"name": "transposed", "bias": "untied"}, **arm)
    for encoder, decoder in ((0, 3), (1, 2)):
        assert np.array_equal(tied[encoder], free[encoder])
        assert np.array_equal(tied[decoder], free[encoder].T)


def test_low_rank_starts_as_the_tied_net():
    tied, low = weights({"name": "all"}), weights({"name": "low_rank_delta", "rank": 3})
    assert all(np.array_equal(a, b) for a, b in zip(tied, low))
    _, stored = started({"name": "low_rank_delta", "rank": 3}, width=60, layers=20)
    drawn = torch.cat([stored[f"delta_in_{i:02d}"].flatten() for i in range(1, 20)]).numpy()
    assert stats.kstest(drawn, stats.uniform(-1 / math.sqrt(60), 2 / math.sqrt(60)).cdf).pvalue > 0.01
    assert len(np.unique(drawn)) == len(drawn)  # every layer draws its own


def test_scaled_is_signs_of_one_matrix():
    tied = weights({"name": "all"})
    ones, signs, normal = (weights({"name": "scaled", "start": start}) for start in ("ones", "signs", "normal"))
    assert all(np.array_equal(a, b) for a, b in zip(tied, ones))
    for i in range(1, 5):
        assert np.array_equal(np.abs(signs[i]), np.abs(tied[i]))
        ratio = signs[i] / tied[1]
        assert np.array_equal(ratio, np.outer(ratio[:, 0] * ratio[0, 0], ratio[0]))  # rank one: diag(s) W diag(t)
        assert np.linalg.matrix_rank(normal[i] / tied[1]) == 1
    assert not np.array_equal(signs[1], signs[2])


@pytest.mark.parametrize("slots", [2, 12, 20])
def test_coefficients_keep_the_initializers_variance(slots):
    """L = 11 layers of 40 x 40: mean square over all layers is kaiming's 2/n, for k below, at and above L; the mixing
    matrix has orthonormal rows (k >= L) or columns times sqrt(L/k)."""
    material, stored = started({"name": "coefficients", "slots": slots, "bias": "untied"}, layers=12, width=40)
    a = torch.cat([stored[f"coefficients_{i:02d}"] for i in range(1, 12)]).numpy()
    gram = a @ a.T if slots >= 11 else a.T @ a * slots / 11
    assert np.allclose(gram, np.eye(len(gram)), atol=1e-12)
    squares = [material.scheme.weight(stored, i).square().mean().item() for i in range(1, 12)]
    independent = min(slots, 11) * 1600
    assert abs(np.mean(squares) * 20 - 1) < 4 * math.sqrt(2 / independent)
    bank = stored["weight_01"][0].flatten(1).numpy()
    assert np.abs(np.corrcoef(bank) - np.eye(slots)).max() < 4.5 / math.sqrt(1600)


def test_hashed_entries_are_signed_stored_numbers():
    sharing = {"name": "hashed", "ratio": 0.25}
    material, stored = started(sharing, width=60)
    free = weights({"name": "none"}, width=60)
    signs = []
    for i in range(1, 5):
        values = stored[f"weight_{i:02d}"][0].numpy()
        w = material.scheme.weight(stored, i)[0].numpy()
        assert set(np.unique(np.abs(w))) == set(np.abs(values))
        assert np.isin(values, np.concatenate([free[i].ravel(), -free[i].ravel()])).all()  # drawn with the true fans
        signs.append(material.scheme.formulas[i].sign)
        sizes = np.bincount(material.scheme.formulas[i].index.ravel())
        assert stats.chisquare(np.append(sizes, [0] * (900 - len(sizes)))).pvalue > 0.001  # a fair hash
    assert abs(np.mean(signs)) < 4 / math.sqrt(4 * 3600)
    first, second = (material.scheme.formulas[i].index for i in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("shape", [(6, 6), (4, 6), (9, 6), (1, 6), (7, 3)])
def test_circulants_are_scipys(shape):
    """W D = stacked and cut scipy.linalg.circulant, D the signs; the first row of each block is the initializer's."""
    layers = ModelConfig(depth=2, width=[shape[1], shape[0]]).layers(3, 2)
    s = scheme(SharingConfig("circulant"), layers)
    formula = s.formulas[1]
    draw = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = formula.start(draw)
    w = formula.weight({"weight_01": values[None]})[0].numpy()
    signs = formula.sign[0]
    blocks = [linalg.circulant(part).T for part in values.numpy().reshape(-1, shape[1])]
    assert np.allclose(w * signs, np.concatenate(blocks)[: shape[0]], atol=0)
    assert np.array_equal(w[:: shape[1]], draw.numpy()[:: shape[1]])
    assert set(signs) <= {-1.0, 1.0}


@pytest.mark.parametrize(("shape", "block"), [((6, 6), 3), ((6, 4), 2), ((5, 7), 3), ((3, 6), 4)])
def test_block_circulants_are_circulant_in_every_block(shape, block):
    layers = ModelConfig(depth=2, width=[shape[1], shape[0]]).layers(3, 2)
    s = scheme(SharingConfig("block_circulant", block=block), layers)
    values = torch.arange(1.0, s.weight_slot[1].shape[0] + 1).double()
    w = s.formulas[1].weight({"weight_01": values[None]})[0].numpy()
    seen: set[float] = set()
    for top in range(0, shape[0], block):
        for left in range(0, shape[1], block):
            part = w[top : top + block, left : left + block]
            i, j = np.indices(part.shape)
            by_offset = {offset: set(part[(j - i) % block == offset]) for offset in np.unique((j - i) % block)}
            assert all(len(found) == 1 for found in by_offset.values())
            own = set().union(*by_offset.values())
            assert len(own) == len(by_offset)
            assert not own & seen
            seen |= own
    assert seen == set(values.tolist())


@pytest.mark.parametrize("name", ["hashed", "circulant", "block_circulant"])
def test_indexed_weights_follow_the_initializers_law(name):
    """Every stored number is one entry of the initializer's matrix: Kolmogorov-Smirnov against N(0, 2/n)."""
    _, stored = started({"name": name, "ratio": 0.5, "block": 4}, layers=30, width=40, init_bias="zeros")
    drawn = torch.cat([stored[f"weight_{i:02d}"].flatten() for i in range(1, 30)]).numpy()
    assert stats.kstest(drawn, stats.norm(0, math.sqrt(2 / 40)).cdf).pvalue > 0.01


def test_tied_at_init_starts_equal_and_parts():
    for bias, equal in (("tied", True), ("untied", False)):
        arm = small_arm(sharing={"name": "tied_at_init", "bias": bias}, init_bias="torch", seeds=(3,))
        stored = start_of_seed(Material(arm, data.load(arm.data)), 3)
        assert torch.equal(stored["weight_01"], stored["weight_03"])
        assert torch.equal(stored["bias_01"], stored["bias_03"]) == equal
    norms = stacked.run_chunk(arm, [(3, 0.1)], data.load(arm.data)).series["weight_norm"].values[0]
    assert norms[0, 1] == norms[0, 2]
    assert norms[-1, 1] != norms[-1, 2]


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_tie_then_untie_is_all_and_then_its_parts(name, reduce):
    """Before the step its losses are those of `all`; later they part. With step beyond the end they never do."""
    optim = {"name": name, "lr": [0.02], "clip": 0.3}
    run = lambda **sharing: stacked.run_chunk(  # noqa: E731
        small_arm(sharing={"reduce": reduce, **sharing}, optim=optim, train={"steps": 12}, seeds=(1,)),
        [(1, 0.02)],
        data.load(small_arm().data),
    ).series["loss/train"]
    tied, until_5, late = run(name="all"), run(name="tie_then_untie", step=5), run(name="tie_then_untie", step=99)
    assert np.allclose(late.values, tied.values, rtol=1e-12, atol=0)
    same = np.isclose(until_5.values[0], tied.values[0], rtol=1e-12, atol=0)
    assert [bool(x) for x in same] == [step <= 5 for step in tied.steps]


def test_soft_pulls_the_layers_together():
    """lambda / L sum_{i<j} |W_i - W_j|^2 by its definition; its gradient by autograd; and what it does to training."""
    s = scheme(SharingConfig("soft", strength=0.3), LAYERS)
    draw = torch.Generator().manual_seed(0)
    stored = {slot.name: torch.randn(2, *slot.shape, generator=draw, dtype=torch.float64) for slot in s.slots}
    leaves = {name: value.clone().requires_grad_() for name, value in stored.items()}
    names = [f"weight_{i:02d}" for i in range(1, 5)]
    pairs = [(leaves[a] - leaves[b]).square().sum((1, 2)) for i, a in enumerate(names) for b in names[i + 1 :]]
    by_hand = 0.3 / 4 * sum(pairs)
    assert torch.allclose(s.penalty(stored), by_hand, rtol=1e-12)
    grads = torch.autograd.grad(by_hand.sum(), [leaves[name] for name in names])
    for name, grad in zip(names, grads):
        assert torch.allclose(s.penalty_grads(stored)[name], grad, rtol=1e-12, atol=1e-14)

    def spread(strength: float) -> float:
        arm = small_arm(sharing={"name": "soft", "strength": strength}, train={"steps": 50}, optim={"lr": [0.1]})
        material = Material(arm, data.load(arm.data))
        stack = stacked.Stack(
            material, stacked.Seeds(material, (0, 1)), torch.tensor([0, 1]), torch.full((2,), 0.1).double()
        )
        with torch.no_grad():
            for step in range(arm.train.steps):
                stack.loss(step)
                stack.update(step)
        return (stack.stored["weight_01"] - stack.stored["weight_03"]).norm().item()

    assert spread(2.0) < 0.01 * spread(0.0)


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("config", "width", "said"),
    [
        ({"name": "all"}, [6, 5, 6, 6], "layer 1 has shape (5, 6) and layer 2 (6, 5)"),
        ({"name": "scaled"}, [6, 5, 6, 6], "layer 1 has shape (5, 6) and layer 2 (6, 5)"),
        ({"name": "transposed"}, 6, "layer 0 has shape (6, 8) and layer 4 (3, 6)"),
        ({"name": "low_rank_delta", "rank": 7}, 6, "at most 6"),
        ({"name": "block_circulant", "block": 7}, 6, "at most 6"),
        ({"name": "cycle", "slots": 4}, 6, "at most 3"),
        (
            {"name": "transposed", "groups": [[0, 2]], "bias": "untied"},
            6,
            "layer 0 has shape (6, 8) and layer 2 (6, 6)",
        ),
        ({"name": "explicit"}, 6, "needs sharing.groups"),
        ({"name": "explicit", "groups": [[1, 9]]}, 6, "no layer 9"),
        ({"name": "transposed", "groups": [[1, 2, 3]]}, 6, "pairs [encoder, decoder]"),
        ({"name": "scaled", "bias": "only"}, 6, "must be one of: tied, untied"),
        ({"name": "cycel"}, 6, "did you mean cycle?"),
        (
            {"name": "middle_cycle", "slots": 2},
            6,
            "at least 4 hidden-to-hidden layers, got 3; set model.depth=5 or more",
        ),
        ({"name": "shared_basis", "rank": 7}, 6, "at most 6"),
        ({"name": "intrinsic", "dimension": 500}, 6, "201 weights and biases; must be at most 201"),
        ({"name": "input_injection", "groups": [[0, 1]]}, 8, "layer 0 receives the input already"),
        ({"name": "input_injection"}, [5, 6, 6, 6], "layer 1 has shape (6, 5) and layer 2 (6, 6)"),
        ({"name": "input_injection", "groups": [[2, 3]]}, [5, 6, 6, 6], "layer 0 has 5 units and layer 2 6"),
        ({"name": "intrinsic", "bias": "only"}, 6, "must be one of: tied, untied"),
    ],
    ids=lambda v: "-".join(map(str, v.values())) if isinstance(v, dict) else "",
)
def test_what_does_not_fit_is_refused_in_one_line(config, width, said):
    with pytest.raises((InputError, NotApplicable)) as refusal:
        scheme(SharingConfig(**config), ModelConfig(depth=4, width=width).layers(8, 3))
    assert said in assert_template(str(refusal.value))


def test_unequal_biases_cannot_be_tied():
    layers = ModelConfig(depth=3, width=[9, 4, 9]).layers(5, 5)
    with pytest.raises(NotApplicable, match="layer 0 has 9 biases and layer 3 5"):
        scheme(SharingConfig("transposed"), layers)


def test_too_shallow_nets_have_nothing_to_share():
    layers = ModelConfig(depth=1, width=6).layers(8, 3)
    assert counts(layers=layers, name="none") == (48 + 18 + 9, 48 + 18 + 9)
    assert counts(layers=layers, name="intrinsic", dimension=9) == (9, 48 + 18 + 9)  # it is of the whole net
    for name in set(BUILDERS) - {"none", "explicit", "transposed", "intrinsic"}:
        with pytest.raises(NotApplicable, match="no hidden-to-hidden layers"):
            scheme(SharingConfig(name), layers)


def test_one_slot_has_one_start():
    """per_layer: layers that share a weight may not start in two ways; both are named."""
    init = InitConfig(
        "per_layer", "per_layer", args={"map": {1: "xavier_uniform", 3: {"name": "constant", "value": 42}}}
    )
    for sharing in ({"name": "all"}, {"name": "tied_at_init"}, {"name": "explicit", "groups": [[1, 3]]}):
        with pytest.raises(NotApplicable, match=r"layers 1 and [23] share one weight, but .* xavier_uniform and "):
            planned(small_arm(init=init, sharing=sharing))
    planned(small_arm(init=init))


def test_one_bias_has_one_start():
    """per_layer: layers that share a bias may not start it by two rules, or by an initializer that fills it; both are
    named. Biases of their own may."""
    rules = {1: {"name": "eye", "bias": "torch"}, 3: {"name": "eye", "bias": 0.5}, 2: "eye"}
    arm = partial(small_arm, init=InitConfig("per_layer", "per_layer", args={"map": rules}, bias=None))
    for sharing in ({"name": "all"}, {"name": "all", "bias": "only"}, {"name": "tied_at_init"}):
        with pytest.raises(
            NotApplicable, match=r"layers 1 and 2 share one bias, but init\.map gives them torch and zeros"
        ):
            planned(arm(sharing=sharing))
    by_hand = {"name": "explicit", "groups": [[1, 3]]}
    with pytest.raises(NotApplicable, match=r"layers 1 and 3 share one bias, but .* torch and 0\.5"):
        planned(arm(sharing=by_hand))
    for free in ({"name": "none"}, {"name": "all", "bias": "untied"}):
        planned(arm(sharing=free))
    planned(arm(sharing={"name": "all"}, model={"bias": False}))
    filling = InitConfig("per_layer", "per_layer", args={"map": {1: "rai"}, "default": "eye"}, bias=0.0)
    with pytest.raises(NotApplicable, match=r"share one bias, but .* 0\.0 \(rai\) and 0\.0"):
        planned(small_arm(init=filling, sharing={"name": "all", "bias": "only"}))


# -------------------------------------------------------------------------------------------- options and labels


def test_every_option_file_has_known_keys_and_builds():
    files = sorted(CONF.glob("*.yaml"))
    options = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}
    assert {one["name"] for one in options.values()} == set(BUILDERS) == set(SHARING_KEYS)
    keys = asdict(SharingConfig())
    assert options["none"] == keys  # what the other files leave out
    for name, option in options.items():
        own = {key for key, value in option.items() if value != keys[key]}
        assert name == "none" or set(option) == {"name", *SHARING_KEYS[option["name"]], *own}, name
        config = SharingConfig(**option)
        if config.name not in ("explicit", "transposed"):
            scheme(config, ModelConfig(depth=6, width=32).layers(64, 10))
    labels = [label(SharingConfig(**option)) for option in options.values()]
    twice = {"cycle", "cycle_rev", "sequence"}  # their plain option is that of two slots
    assert len(set(labels)) == len(labels) - len(twice)


def test_the_page_about_sharing_has_every_scheme_and_rule():
    page = (CONF.parent.parent / "docs" / "sharing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+`) \|", page, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named >= {*BUILDERS, *RESIDUALS, *PARAMETRIZATIONS} - {"standard"}


def test_labels_say_what_differs():
    assert label(SharingConfig("none", slots=5, bias="untied")) == "none"
    assert label(SharingConfig("low_rank_delta", rank=8, bias="untied")) == "low_rank_delta(8, bias=untied)"
    assert label(SharingConfig("transposed", bias="untied")) == "transposed"
    assert label(SharingConfig("transposed", groups=[[1, 3]])) == "transposed([[1,3]], bias=tied)"
    assert label(SharingConfig("hashed", ratio=1 / 64)) == "hashed(0.015625)"
    assert label(SharingConfig("tie_then_untie", reduce="mean")) == "tie_then_untie(100, reduce=mean)"


def test_the_key_of_an_arm_holds_what_its_scheme_reads():
    key = lambda **sharing: small_arm(sharing=sharing).key("data", "", "2.0")  # noqa: E731
    assert key(name="none") == key(name="none", slots=7, bias="untied", rank=9, controls=True)
    assert key(name="cycle") != key(name="cycle", slots=3)
    assert key(name="cycle") == key(name="cycle", rank=9, controls=True)
    for name, read in SHARING_KEYS.items():
        for one in read:
            other = {"groups": [[1, 2]], "ratio": 0.3, "strength": 0.3, "start": "ones", "projection": "sparse"}.get(
                one, 3
            )
            assert key(name=name) != key(name=name, **{one: other}), (name, one)


@settings(max_examples=3, derandomize=True, deadline=None)
@given(groups=st.permutations(range(1, 6)).map(lambda p: [sorted(p[:2]), sorted(p[2:4])]))
def test_explicit_groups_train_as_one(groups):
    """Whatever the groups: the layers of one group have one weight after training, others do not (reference engine)."""
    arm = small_arm(sharing={"name": "explicit", "groups": groups}, model={"depth": 6}, train={"steps": 2}, seeds=(0,))
    material = Material(arm, data.load(arm.data))
    chunk = one_by_one.run_chunk(arm, [(0, 0.1)], material.data)
    norms = chunk.series["weight_norm"].values[0, -1]
    for one in groups:
        assert norms[one[0]] == norms[one[1]]
    assert len(set(norms[1:6].tolist())) == 3
