"""Every measure against an oracle written from its definition alone: one run at a time, plain loops, autograd, NumPy."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import TEACHER, same_bits, small_arm
from initbench import data
from initbench.config.arm import ArmConfig
from initbench.engine import one_by_one, stacked
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.engine.oracle import MLP
from initbench.measure import MEASURES, SETS
from initbench.measure.geometry import mean_absolute_correlation, mean_pair_cosine
from initbench.measure.probe import singular_values
from initbench.overrides.expand import expand

LR = 0.5
SHARING = {
    "untied": {"name": "none"},
    "all": {"name": "all"},
    "two slots": {"name": "cycle", "slots": 2, "bias": "untied"},
    "mean": {"name": "all", "reduce": "mean"},
    "with the ends": {"name": "explicit", "groups": [[1, 4], [2, 3]]},
}
PHI = {"relu": torch.relu, "tanh": torch.tanh, "abs": torch.abs}


LINEAR = {"product_eigenvalue_max", "product_eigenvalue_min", "mode_strength"}  # below, of linear nets


def tiny(sharing: str, activation: str = "relu", **more) -> ArmConfig:
    """Six layers of 6 units; one step of plain gradient descent on the whole training part."""
    return small_arm(
        model={"depth": 5, "width": 6, "activation": activation, "dtype": "float64"},
        sharing=SHARING[sharing],
        optim={"lr": [LR], "batch_size": None},
        train={"steps": 1},
        measure={"name": "full"},
        **more,
    )


def train(arm: ArmConfig, runs, engine=stacked):
    return engine.run_chunk(arm, runs, data.load(arm.data))


# ------------------------------------------------------------------------------------------------- the oracle


@cache
def net_of(sharing: str, activation: str, seed: int, after: int):
    """The seed's net after 0 or 1 steps as plain tensors, with what was before: (now, before, scheme, x, y)."""
    arm = tiny(sharing, activation)
    material = Material(arm, data.load(arm.data))
    stored = start_of_seed(material, seed)
    x, y = (t[0] for t in Seeds(material, (seed,)).probe())
    before = stored
    if after:
        leaves = {k: v.clone().requires_grad_() for k, v in stored.items()}
        layers = [leaf_pair(material.scheme, leaves, i) for i in range(6)]
        loss(layers, x, y, PHI[activation]).backward()
        scale = {s.name: 1 / len(s.layers) if arm.sharing.reduce == "mean" else 1.0 for s in material.scheme.slots}
        stored = {k: (v - LR * scale[k] * v.grad).detach() for k, v in leaves.items()}
    return stored, before, material.scheme, x, y


def leaf_pair(scheme, stored, layer):
    return stored[scheme.weight_slot[layer].name], stored[scheme.bias_slot[layer].name]


def signals(layers, x, phi):
    """(preactivations, activations) of each layer, (samples, units)."""
    zs, hs = [], []
    for i, (w, b) in enumerate(layers):
        zs.append((x if i == 0 else hs[-1]) @ w.T + b)
        hs.append(phi(zs[-1]) if i < len(layers) - 1 else zs[-1])
    return zs, hs


def loss(layers, x, y, phi):
    return F.cross_entropy(signals(layers, x, phi)[0][-1], y)


def corner(z0, layers, upto, phi):
    """z_upto as a function of z_0, for one sample."""
    z = z0
    for w, b in layers[1 : upto + 1]:
        z = w @ phi(z) + b
    return z


def pairs(n):
    return [(i, j) for i in range(n) for j in range(n) if i < j]


def cosine(a, b):
    return float(np.dot(a.ravel(), b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b))


def expected(sharing: str, activation: str, seed: int, after: int) -> dict[str, list[float]]:
    """Name -> a number a column, straight from the definitions."""
    stored, before, scheme, x, y = net_of(sharing, activation, seed, after)
    phi = PHI[activation]
    # every use its own leaf
    uses = [tuple(t.clone().requires_grad_() for t in leaf_pair(scheme, stored, i)) for i in range(6)]
    zs, hs = signals(uses, x, phi)
    for z in zs:
        z.retain_grad()
    F.cross_entropy(zs[-1], y, reduction="sum").backward()  # so that a row of z.grad is one sample's own gradient
    part = {s.name: 1 / len(s.layers) if SHARING[sharing].get("reduce") == "mean" else 1.0 for s in scheme.slots}
    dw = [w.grad.numpy() / len(x) * part[scheme.weight_slot[i].name] for i, (w, _) in enumerate(uses)]
    db = [b.grad.numpy() / len(x) * part[scheme.bias_slot[i].name] for i, (_, b) in enumerate(uses)]
    out: dict[str, list[float]] = {}
    w = [u[0].detach().numpy() for u in uses]
    z, h = [t.detach().numpy() for t in zs], [t.detach().numpy() for t in hs]
    out["weight_mean"] = [v.mean() for v in w]
    out["weight_std"] = [v.std() for v in w]
    out["weight_norm"] = [np.linalg.norm(v) for v in w]
    out["weight_spectral_norm"] = [np.linalg.norm(v, 2) for v in w]
    out["weight_stable_rank"] = [(np.linalg.norm(v) / np.linalg.norm(v, 2)) ** 2 for v in w]
    out["weight_sv_min"] = [np.linalg.svd(v, compute_uv=False).min() for v in w]
    out["weight_condition"] = [np.linalg.cond(v) for v in w]
    out["bias_norm"] = [np.linalg.norm(stored[s.name]) for s in scheme.biases]
    total = {s.name: sum(dw[i] for i in s.layers) for s in scheme.weights}
    out["grad_norm"] = [np.linalg.norm(total[s.name]) for s in scheme.weights]
    out["weight_grad_product"] = [np.sum(stored[s.name].numpy() * total[s.name]) for s in scheme.weights]
    out["grad_std"] = [total[s.name].std() for s in scheme.weights]
    out["bias_grad_norm"] = [np.linalg.norm(sum(db[i] for i in s.layers)) for s in scheme.biases]
    tied = [s for s in scheme.weights if len(s.layers) > 1]
    if tied:
        slot_of = {i: s for s in tied for i in s.layers}
        order = sorted(slot_of)
        out["use_grad_norm"] = [np.linalg.norm(dw[i]) for i in order]
        others = [sum(dw[j] for j in slot_of[i].layers if j != i) for i in order]
        out["use_grad_cosine"] = [cosine(dw[i], o) for i, o in zip(order, others)]
        size = {s.name: [np.linalg.norm(dw[i]) for i in s.layers] for s in tied}
        out["use_grad_alignment"] = [np.linalg.norm(total[s.name]) / sum(size[s.name]) for s in tied]
        out["use_grad_coherence"] = [
            sum(np.sum(dw[i] * dw[j]) for i in s.layers for j in s.layers if i != j)
            / sum(a * b for p, a in enumerate(size[s.name]) for q, b in enumerate(size[s.name]) if p != q)
            for s in tied
        ]
    out["preactivation_msq"] = [np.mean(v**2) for v in z]
    out["activation_msq"] = [np.mean(v**2) for v in h]
    out["activation_mean"] = [v.mean() for v in h]
    for name, values in (("preactivation", z), ("activation", h)):
        lengths = [[np.mean(sample**2) for sample in v] for v in values]
        out[f"{name}_msq_std"] = [np.std(one) for one in lengths]
        out[f"{name}_msq_first"] = [one[0] for one in lengths]
    if activation != "tanh":
        slope = {"relu": lambda v: v > 0, "abs": lambda v: v != 0}[activation]
        out["dead_fraction"] = [np.mean([not slope(column).any() for column in v.T]) for v in z[:-1]]
    else:
        out["saturated_fraction"] = [np.mean(np.abs(v) > 0.98) for v in h[:-1]]
    out["backward_msq"] = [np.mean(t.grad.numpy() ** 2) for t in zs]
    spectra = [
        [
            np.linalg.svd(torch.autograd.functional.jacobian(lambda v, to=layer: corner(v, uses, to, phi), zs[0][s].detach()),
                          compute_uv=False)
            for s in range(4)
        ]
        for layer in range(1, 6)
    ]  # fmt: skip
    out["jacobian_sv_mean_square"] = [np.mean([np.mean(s**2) for s in one]) for one in spectra]
    out["jacobian_sv_max"] = [np.mean([s.max() for s in one]) for one in spectra]
    out["jacobian_sv_min"] = [np.mean([s.min() for s in one]) for one in spectra]
    out["jacobian_sv_median"] = [np.mean([np.median(s) for s in one]) for one in spectra]
    through = [
        [torch.autograd.functional.jacobian(lambda v, to=layer: signals(uses, v, phi)[0][to], x[s]) for s in range(4)]
        for layer in range(6)
    ]
    from_x = [[np.linalg.svd(j, compute_uv=False) for j in one] for one in through]
    for name, of in (("max", np.max), ("min", np.min), ("median", np.median), ("mean_square", lambda s: np.mean(s**2))):
        out[f"input_jacobian_sv_{name}"] = [np.mean([of(s) for s in one]) for one in from_x]
    with np.errstate(invalid="ignore"):  # 0/0 of a sample that no unit passes on
        out["jacobian_sv_square_var"] = [np.mean([np.var(s**2) / np.mean(s**2) ** 2 for s in one]) for one in spectra]
    out["cosine_similarity"] = [np.mean([cosine(v[i], v[j]) for i, j in pairs(len(v)) if v[i].any() and v[j].any()])
                                for v in h]  # fmt: skip
    out["preactivation_cosine"] = [np.mean([cosine(v[i], v[j]) for i, j in pairs(len(v))]) for v in z]
    out["unit_correlation"] = [np.mean([abs(np.corrcoef(v.T[i], v.T[j])[0, 1]) for i, j in pairs(v.shape[1])
                                        if v.T[i].std() > 0 and v.T[j].std() > 0]) for v in h]  # fmt: skip
    values = [np.linalg.eigvalsh(np.cov(v.T)) for v in h]
    out["activation_participation_ratio"] = [v.sum() ** 2 / (v**2).sum() for v in values]
    out["unit_spread"] = [max(v[p, i] - v[p, j] for p in range(len(v)) for i in range(v.shape[1])
                              for j in range(v.shape[1])) / np.abs(v).max() for v in h]  # fmt: skip
    if after:
        out["distance_from_start"] = [
            np.linalg.norm(v - before[s.name].numpy()) / np.linalg.norm(before[s.name])
            for v, s in zip(w, scheme.weight_slot)
        ]
        out["update_ratio"] = [np.linalg.norm(stored[s.name] - before[s.name]) / np.linalg.norm(stored[s.name])
                               for s in scheme.weights]  # fmt: skip
        first = signals([leaf_pair(scheme, before, i) for i in range(6)], x, phi)[1]
        out["activation_change_msq"] = [np.mean((a - b.numpy()) ** 2) for a, b in zip(h, first)]
    return out


CASES = [
    *((sharing, activation, 7) for sharing in ("untied", "all") for activation in PHI),
    *((sharing, "relu", 7) for sharing in ("two slots", "mean", "with the ends")),
    *((sharing, "relu", 1) for sharing in ("untied", "all")),
]


@pytest.mark.parametrize(("sharing", "activation", "number"), CASES)
def test_every_measure_equals_its_oracle(sharing, activation, number):
    """R = 7 stand beside an eighth run that diverges at the first step (tanh nets stay finite at any rate)."""
    runs = [(seed, LR) for seed in range(number)]
    wild = number > 1 and activation != "tanh"
    chunk = train(tiny(sharing, activation), [*runs, (99, 1e300)] if wild else runs)
    assert chunk.diverged_at.tolist() == [-1] * number + [1] * wild
    checked = range(number) if (sharing, activation) == ("all", "relu") else (0, number - 1)
    for seed in sorted(set(checked)):
        for after in (0, 1):
            oracle = expected(sharing, activation, seed, after)
            ours = {n: s for n, s in chunk.series.items() if n in MEASURES and s.steps[0] <= after}
            assert set(ours) == set(oracle)
            for name, numbers in oracle.items():
                found = ours[name].values[seed, ours[name].steps.index(after)]
                assert found.shape == (len(numbers),), name
                # a Jacobian's smallest singular value is only known to eps times its largest
                assert found == pytest.approx(numbers, rel=1e-9, abs=1e-13, nan_ok=True), (name, seed, after)


def test_both_engines_give_all_measures():
    """The reference engine builds its probe by autograd, from a module with truly shared parameters."""
    for sharing, activation in (("all", "tanh"), ("with the ends", "relu")):
        arm = tiny(sharing, activation, seeds=(0, 1))
        ours, theirs = train(arm, list(arm.runs)), train(arm, list(arm.runs), one_by_one)
        assert set(ours.series) == set(theirs.series)
        for name, one in theirs.series.items():
            assert np.allclose(ours.series[name].values, one.values, rtol=1e-9, atol=1e-12, equal_nan=True), name


def test_full_holds_everything_but_the_landscape_and_light_no_decomposition():
    landscape = {"sharpness", "step_sharpness", "gradient_noise_scale", "kernel_change"}  # in test_landscape.py
    assert (set(SETS["landscape"]), set(SETS["full"])) == (landscape, set(MEASURES) - landscape)
    heavy = {n for n in MEASURES if n.startswith(("jacobian", "weight_s", "cosine", "unit", "activation_part"))}
    heavy |= {n for n in MEASURES if n.startswith(("input_jacobian", "weight_condition", "weight_grad", "distance"))}
    heavy |= landscape | LINEAR | {n for n in MEASURES if n.endswith(("_msq_std", "_msq_first"))}
    assert set(SETS["light"]) == set(MEASURES) - heavy - {"preactivation_cosine"} | {"weight_std"}


def test_a_neighbour_and_the_stack_change_no_bit():
    """Also where LAPACK meets a neighbour that is not finite."""
    arm = tiny("all")
    alone = train(arm, [(3, LR)]).series
    among = train(arm, [(0, LR), (3, LR), (1, 1e300), (2, LR)]).series
    assert not same_bits(alone, {n: type(s)(s.steps, s.layers, s.values[1:2]) for n, s in among.items()})
    assert np.isnan(among["jacobian_sv_max"].values[2, 1]).all()


def test_use_gradients_of_every_measured_step_sum_to_the_stored_gradient():
    """From the frames alone: |sum|^2 = sum over uses of |g_i|^2 + |g_i| |others| cos_i, and alignment = |sum| / sum |g_i|."""
    arm = tiny("all", "tanh")
    series = train(arm, [(s, LR) for s in range(3)]).series
    norms = series["use_grad_norm"].values.sum(2)
    stored = series["grad_norm"].values[:, :, series["grad_norm"].layers.index(1)]
    assert np.allclose(series["use_grad_alignment"].values[:, :, 0] * norms, stored, rtol=1e-10)


# ------------------------------------------------------------------------------------------------- exact cases


def test_linear_nets_are_one_matrix():
    """Its eigenvalues and its strengths on the modes of the data, from the product of the weights; also over a skip
    connection. Other nets, and nets that are not square, have none."""
    square = {"name": "linear", "modes": [3.0, 2.0], "samples": 60, "inputs": 4, "outputs": 4}
    for model in ({"depth": 2}, {"name": "residual_mlp", "residual": "inv_sqrt_depth", "depth": 3, "branch": 1}):
        arm = small_arm(
            data=square,
            model={"activation": "linear", "width": 5, "bias": False, **model},
            measure={"metrics": sorted(LINEAR)},
            train={"steps": 2},
            seeds=(0, 1),
        )
        material = Material(arm, data.load(arm.data))
        for engine in (stacked, one_by_one):
            series = train(arm, list(arm.runs), engine).series
            assert series["mode_strength"].layers == (0, 1, 2, 3)
            assert series["product_eigenvalue_max"].layers is None
            for row, (seed, _) in enumerate(arm.runs):
                w = [v.numpy() for v in start_of_seed(material, seed).values()]
                inner = w[1] if "residual" not in model else (np.eye(5) + w[2] / 2**0.5) @ (np.eye(5) + w[1] / 2**0.5)
                whole = w[-1] @ inner @ w[0]
                moduli = np.abs(np.linalg.eigvals(whole))
                assert series["product_eigenvalue_max"].values[row, 0] == pytest.approx(moduli.max(), rel=1e-9)
                assert series["product_eigenvalue_min"].values[row, 0] == pytest.approx(moduli.min(), rel=1e-7)
                x, y = (t[0].numpy() for t in Seeds(material, (seed,)).probe())
                u, s, vt = np.linalg.svd((y - y.mean(0)).T @ (x - x.mean(0)))
                assert s[1] > 2 * s[2]  # two modes: the others are not determined
                assert series["mode_strength"].values[row, 0, :2] == pytest.approx(np.diag(u.T @ whole @ vt.T)[:2])
    classes = small_arm(
        model={"activation": "linear", "depth": 1}, measure={"metrics": sorted(LINEAR)}, train={"steps": 0}
    )
    assert set(train(classes, list(classes.runs)).series) & LINEAR == {"mode_strength"}
    bent = replace(classes, model=replace(classes.model, activation="tanh"))
    assert not set(train(bent, list(bent.runs)).series) & LINEAR


@pytest.mark.parametrize(
    "change",
    [
        {"sharing": {"name": "input_injection"}},
        {"sharing": {"name": "input_injection"}, "model": {"name": "residual_mlp", "residual": "skipinit", "depth": 3}},
        {"model": {"parametrization": "ntk"}},
    ],
    ids=["injected", "injected residual", "ntk"],
)
def test_jacobians_by_the_input_are_those_of_the_whole_net(change):
    """Of the logits, by autograd through the oracle's module, after three steps that have moved every gain."""
    names = ["input_jacobian_sv_max", "input_jacobian_sv_min", "input_jacobian_sv_mean_square"]
    arm = small_arm(**change, train={"steps": 3}, optim={"lr": [0.1]}, measure={"metrics": names}, seeds=(0, 1))
    material = Material(arm, data.load(arm.data))
    series = train(arm, list(arm.runs)).series
    for row, (seed, lr) in enumerate(arm.runs):
        held = stacked.stored_after(arm, (seed, lr), material.data, 3)
        net = MLP(material, {name: torch.from_numpy(value) for name, value in held.items()})
        x = Seeds(material, (seed,)).probe()[0][0]
        spectra = [
            np.linalg.svd(
                torch.autograd.functional.jacobian(lambda v, net=net: net(v[None])[0], x[s]), compute_uv=False
            )
            for s in range(4)
        ]
        for name, of in zip(names, (np.max, np.min, lambda s: np.mean(s**2))):
            assert series[name].values[row, -1, -1] == pytest.approx(np.mean([of(s) for s in spectra]), rel=1e-9)


def test_nothing_is_faked_where_it_is_undefined():
    """Zero weights: no direction, no rank, no angle; but sizes are known, and they are zero."""
    arm = small_arm(init="zeros", init_bias=0.0, measure={"name": "full"}, train={"steps": 0}, seeds=(0, 1))
    series = train(arm, list(arm.runs)).series
    undefined = ("weight_condition", "kernel_change", "distance_from_start")
    for name in (
        "weight_stable_rank",
        "unit_correlation",
        "cosine_similarity",
        "unit_spread",
        "update_ratio",
        *undefined,
    ):
        assert name not in series or np.isnan(series[name].values).all(), name
    for name in ("weight_norm", "preactivation_msq", "weight_spectral_norm", "jacobian_sv_max", "weight_sv_min"):
        assert (series[name].values == 0).all(), name
    assert (series["dead_fraction"].values == 1).all()


def test_no_hidden_units_of_smooth_nets_are_called_dead_and_no_unbounded_ones_saturated():
    for activation, absent in (("gelu", {"dead_fraction", "saturated_fraction"}), ("relu", {"saturated_fraction"})):
        arm = small_arm(model={"activation": activation}, measure={"name": "full"}, train={"steps": 0})
        assert absent.isdisjoint(train(arm, list(arm.runs)).series)


def test_singular_values_of_a_batch_with_a_bad_matrix():
    x = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[2, 1, 1], x[4, 0, 0] = torch.nan, torch.inf
    found = singular_values(x)
    for i in (0, 1, 3):
        assert torch.equal(found[i], torch.linalg.svdvals(x[i]))
    assert found[[2, 4]].isnan().all()


def test_angles_and_correlations_of_known_columns():
    x = torch.tensor([[[1.0, 0.0, 0.0, 3.0], [0.0, 2.0, 0.0, 3.0]]], dtype=torch.float64) * 1e-170  # squares underflow
    assert mean_pair_cosine(x).item() == pytest.approx(2**0.5 / 3, rel=1e-14)  # the third column has no direction
    assert mean_pair_cosine(x[:, :, :1]).isnan().all()
    rows = torch.tensor([[[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, 1, -1], [7, 7, 7, 7]]], dtype=torch.float64)
    assert mean_absolute_correlation(rows).item() == pytest.approx(1 / 3)
    assert mean_absolute_correlation(rows[:, 2:]).isnan().all()


def test_identical_units_are_seen_to_be_identical():
    arm = small_arm(init="ones", measure={"name": "full"}, train={"steps": 0}, model={"activation": "tanh"})
    series = train(arm, list(arm.runs)).series
    assert series["unit_spread"].values == pytest.approx(0, abs=1e-15)
    assert series["unit_correlation"].values == pytest.approx(1, abs=1e-12)
    assert series["activation_participation_ratio"].values == pytest.approx(1, abs=1e-9)


def test_measure_asks_nothing_of_a_function_it_was_not_asked_for():
    arm = small_arm(data=TEACHER, train={"steps": 0}, measure={"metrics": ["jacobian_sv_max", "grad_norm"]})
    assert set(train(arm, list(arm.runs)).series) & set(MEASURES) == {"jacobian_sv_max", "grad_norm"}


@pytest.mark.parametrize("asked", ["{every: 4}", "[0,7]", "{log: 5}"])
def test_schedules_on_the_command_line(asked):
    """An override replaces the default schedule; it is not merged with it."""
    arm = expand(["init=eye", "sharing=none", f"measure.schedule={asked}"])[0]
    assert arm.measure.schedule == {"{every: 4}": {"every": 4}, "[0,7]": [0, 7], "{log: 5}": {"log": 5}}[asked]


FORMULAS = (
    {"name": "low_rank_delta", "rank": 2},
    {"name": "scaled"},
    {"name": "coefficients", "slots": 2},
    {"name": "transposed", "groups": [[1, 2]]},
)


@pytest.mark.parametrize("sharing", FORMULAS, ids=lambda one: one["name"])
def test_uses_of_a_formula_are_seen_in_stored_space(sharing):
    """Both engines alike (the reference pulls back by autograd), and the uses sum to the stored gradient."""
    arm = small_arm(
        sharing=sharing, model={"depth": 5, "width": 6}, train={"steps": 1}, seeds=(0, 1), optim={"lr": [0.1]}
    )
    ours, theirs = train(arm, list(arm.runs)).series, train(arm, list(arm.runs), one_by_one).series
    names = [name for name in ours if name.startswith("use_grad")]
    assert len(names) == 4
    for name in names:
        assert ours[name].layers == theirs[name].layers
        assert np.allclose(ours[name].values, theirs[name].values, rtol=1e-8, atol=1e-12), name
    slot = ours["use_grad_alignment"].layers[0]
    used = [i for i, layer in enumerate(ours["use_grad_norm"].layers) if layer in uses_of(arm, slot)]
    summed = ours["use_grad_alignment"].values[:, :, 0] * ours["use_grad_norm"].values[:, :, used].sum(2)
    stored = ours["grad_norm"].values[:, :, ours["grad_norm"].layers.index(slot)]
    assert np.allclose(summed, stored, rtol=1e-10)


def uses_of(arm: ArmConfig, first: int) -> tuple[int, ...]:
    scheme = Material(arm, data.load(arm.data)).scheme
    return next(slot.layers for slot in scheme.weights if slot.layers[0] == first)


def test_the_page_of_measures_has_every_measure_and_what_it_is_over():
    page = (Path(__file__).resolve().parent.parent / "docs" / "measures.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split(" | ")] for line in page.splitlines() if line.startswith("| `")]
    told: dict[str, tuple[str, bool]] = {}
    for names, over, light, *_ in rows:
        first, *others = re.findall(r"`(\w+)`", names)
        stem = first.removesuffix("_max")
        for name in [first, *(stem + one if one.startswith("_") else one for one in others)]:
            told[name] = over, light == "light"
    assert set(told) == set(MEASURES)
    for name, (over, light) in told.items():
        assert light == MEASURES[name].light, name
        assert MEASURES[name].over.split("_")[-1] in over, name
