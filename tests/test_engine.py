"""The fused engine against the reference engine, torch.optim and a plain tied nn.Sequential; and against itself."""

from __future__ import annotations

from dataclasses import replace
from pkgutil import resolve_name

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from torch import nn

from conftest import TEACHER, VALUES, same_bits, small_arm
from initbench import data
from initbench.config.arm import ArmConfig
from initbench.config.groups import ACTIVATIONS, OPTIMIZERS, RESIDUALS, EvaluateConfig, OptimConfig, Target
from initbench.engine import one_by_one, stacked
from initbench.engine.material import Material, Seeds, start_of_seed
from initbench.engine.optim import RULES, column, lr_factor
from initbench.errors import NotApplicable
from initbench.measure import MEASURES
from initbench.store.chunk import Chunk
from initbench.store.parts import Store

LOOK_UPS = (
    *({"name": name} for name in ("none", "all", "pairs", "sandwich")),
    *({"name": name, "slots": 2} for name in ("sequence", "cycle", "cycle_rev")),
    *({"name": name, "slots": 1} for name in ("middle_cycle", "middle_sequence")),
    {"name": "explicit", "groups": [[1, 3]]},
    {"name": "all", "bias": "only"},
)
FORMULAS = (
    {"name": "transposed", "groups": [[1, 3]]},
    {"name": "low_rank_delta", "rank": 2},
    {"name": "scaled"},
    {"name": "scaled", "start": "normal", "groups": [[1, 3]]},
    {"name": "coefficients", "slots": 2},
    {"name": "coefficients", "slots": 4},
    {"name": "hashed", "ratio": 0.4},
    {"name": "hashed", "ratio": 0.7, "groups": [[0], [2, 4]]},
    {"name": "circulant", "groups": [[0, 1, 4]]},
    {"name": "block_circulant", "block": 4, "groups": [[0, 1, 2, 3, 4]]},
    {"name": "hashed_global", "ratio": 0.4, "groups": [[0, 2], [3, 4]], "bias": "untied"},
    {"name": "shared_basis", "rank": 3},
    {"name": "permuted"},
    {"name": "rotated", "groups": [[1, 3]]},
    {"name": "intrinsic", "dimension": 20},
    {"name": "intrinsic", "dimension": 20, "projection": "sparse"},
    {"name": "input_injection", "groups": [[1, 3]]},
)
SHARINGS = (
    *LOOK_UPS,
    *FORMULAS,
    {"name": "soft", "strength": 0.1},
    {"name": "tied_at_init"},
    {"name": "tie_then_untie", "step": 6},
    {"name": "untie_then_tie", "step": 6},
)
SIGMOIDS = ("sigmoid_cross_entropy", "sigmoid_squared_error")
MODELS = (
    {},
    *({"parametrization": name, "base_width": 3} for name in ("ntk", "mup", "spectral")),
    *({"name": "residual_mlp", "residual": name, "depth": 5} for name in RESIDUALS),
)


def train(arm: ArmConfig, runs=None, engine=stacked) -> Chunk:
    return engine.run_chunk(arm, list(runs or arm.runs), data.load(arm.data))


# -------------------------------------------------------------------------------- fused = reference, in float64


@st.composite
def arms(draw) -> ArmConfig:
    """Sharing scheme x optimizer x activation x loss x depth x dtype x model, and what goes with them."""
    pick = lambda *options: draw(st.sampled_from(options))  # noqa: E731
    name = pick(*OPTIMIZERS)
    own = {"momentum": 0.9} if "momentum" in OPTIMIZERS[name].keys else {}
    own |= {"momentum_rise": 3} if own and pick(0, 1) else {}
    own |= {"betas": [0.8, 0.95]} if "betas" in OPTIMIZERS[name].keys and pick(0, 1) else {}
    own |= {"alpha": 0.9} if name == "rmsprop" else {}
    lr = {"sgd": 0.05, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.02}.get(name, 0.003)
    sharing = {"bias": pick("tied", "untied"), "reduce": pick("sum", "mean"), **pick(*SHARINGS)}
    model = dict(pick(*MODELS))
    double = pick(True, True, True, False)
    smooth = ("tanh", "gelu", "silu", "softplus", "sin", "erf")
    model.setdefault("depth", pick(4, 4, 5))
    model["activation"] = pick(*ACTIVATIONS) if double else pick(*smooth)
    model |= {"width": pick(6, 5), "bias": pick(True, True, False), "dtype": "float64" if double else "float32"}
    classes = pick(True, False)
    return small_arm(
        data=TEACHER if classes else VALUES,
        model=model,
        init=pick("kaiming_normal", "xavier_uniform", "lecun_normal", "orthogonal"),
        init_bias=pick("torch", 0.1),
        sharing=sharing,
        optim={
            "name": name,
            "lr": [lr, lr / 3],
            "batch_size": pick(8, 5, None),
            "weight_decay": pick(0.0, 0.01),
            "clip": pick(None, 0.5),
            "schedule": pick("constant", "cosine", "step"),
            "warmup": pick(0, 5),
            **own,
        },
        train={"steps": 30 if double else 8, "loss": pick("auto", "squared_error", *(SIGMOIDS if classes else ()))},
        measure={"schedule": [0, 1, 7]},
        seeds=(draw(st.integers(0, 9)),),
    )


@settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(arm=arms())
def test_fused_equals_reference(arm):
    """float64: 1e-9 over 30 steps; float32 with a smooth activation: 1e-4 over 8."""
    try:
        Material(arm, data.load(arm.data)).net.check()
    except NotApplicable:
        reject()
    assert_equal(train(arm), train(arm, engine=one_by_one), 1e-9 if arm.model.dtype == "float64" else 1e-4)


def assert_equal(ours: Chunk, oracle: Chunk, tolerance: float) -> None:
    """Every series the same: steps, layers, blanks, and values within tolerance x max(1, |value|)."""
    assert ours.diverged_at.tolist() == oracle.diverged_at.tolist() == [-1] * len(ours.runs)
    assert set(ours.series) == set(oracle.series)
    for name, one in ours.series.items():
        expected = oracle.series[name]
        assert (one.steps, one.layers) == (expected.steps, expected.layers), name
        x, y = one.values, expected.values
        assert np.array_equal(np.isnan(x), np.isnan(y)), name
        assert np.nanmax(np.abs(x - y) / np.maximum(1, np.abs(y)), initial=0) <= tolerance, name


@pytest.mark.parametrize("sharing", SHARINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_every_scheme_equals_the_reference(sharing):
    arm = small_arm(sharing=sharing, optim={"lr": [0.05, 0.02], "clip": 1.0}, seeds=(4,), measure={"schedule": [0, 9]})
    assert_equal(train(arm), train(arm, engine=one_by_one), 1e-12)


@pytest.mark.parametrize("model", MODELS[1:], ids=lambda m: str(m.get("residual", m.get("parametrization"))))
def test_every_model_equals_the_reference(model):
    arm = small_arm(
        model={"activation": "tanh", **model},
        optim={"name": "adamw", "lr": [0.01], "weight_decay": 0.1},
        seeds=(4,),
        measure={"schedule": [0, 9]},
    )
    assert_equal(train(arm), train(arm, engine=one_by_one), 1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_rules_equal_torch_optim(name, decay):
    """Two stacked parameters with their own learning rates, 30 given gradients."""
    own = {"momentum": 0.9} if "momentum" in OPTIMIZERS[name].keys else {}
    c = OptimConfig(name=name, lr=[0.01, 0.1], weight_decay=decay, **own)
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(2, 4, 3, generator=draw, dtype=torch.float64)
    grads = torch.randn(30, 2, 4, 3, generator=draw, dtype=torch.float64)
    ours, state = start.clone(), {}
    for t, g in enumerate(grads):
        RULES[name](ours, g.clone(), state, column(torch.tensor(c.lrs, dtype=torch.float64), ours), t + 1, c)
    for i, lr in enumerate(c.lrs):
        parameter = nn.Parameter(start[i].clone())
        theirs = torch_optimizer(name, [parameter], lr, decay)
        for g in grads:
            parameter.grad = g[i].clone()
            theirs.step()
        assert torch.allclose(ours[i], parameter, rtol=0, atol=1e-12)


def torch_optimizer(name, parameters, lr, decay):
    """Written anew here, so that the reference engine's choice is checked too."""
    optim = torch.optim
    known = {
        "sgd": lambda: optim.SGD(parameters, lr, weight_decay=decay),
        "momentum": lambda: optim.SGD(parameters, lr, momentum=0.9, weight_decay=decay),
        "nesterov": lambda: optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=decay),
        "adam": lambda: optim.Adam(parameters, lr, weight_decay=decay),
        "adamw": lambda: optim.AdamW(parameters, lr, weight_decay=decay),
        "adagrad": lambda: optim.Adagrad(parameters, lr, weight_decay=decay),
        "rmsprop": lambda: optim.RMSprop(parameters, lr, weight_decay=decay),
        "muon": lambda: optim.Muon(parameters, lr, momentum=0.9, weight_decay=decay),
    }
    one = resolve_name(OPTIMIZERS[name].torch)
    return known[name]() if name in known else one(parameters, lr=lr, weight_decay=decay)


def test_schedules_by_hand():
    cosine = OptimConfig(lr=1, schedule="cosine", warmup=2)
    expected = [0.5, 0.5 + 0.25 * 2**0.5, 0.5, 0.5 - 0.25 * 2**0.5]
    assert np.allclose([lr_factor(cosine, t, 4) for t in range(4)], expected)


# ------------------------------------------------------------------------- a run depends on nothing but itself


def parted(arm: ArmConfig, size: int, order) -> dict[tuple[int, float], dict[str, bytes]]:
    """Bits of each run, trained in stacks of `size` in this order."""
    bits = {}
    for start in range(0, len(order), size):
        chunk = train(arm, order[start : start + size])
        for i, run in enumerate(chunk.runs):
            bits[run] = {name: s.values[i].tobytes() for name, s in chunk.series.items()}
            bits[run]["diverged_at"] = int(chunk.diverged_at[i])
    return bits


CHANGES = {
    "plain": {},
    "shared_adam": {"sharing": {"name": "all"}, "optim": {"name": "adam", "lr": [0.01, 0.1], "clip": 1.0}},
    **{name: {"train": {"loss": name}, "optim": {"lr": [0.1, 3.0]}, "model": {"width": 7}} for name in SIGMOIDS},
    "narrow": {"model": {"width": [1, 32, 10, 1]}},
    "digits_with_a_diverged_one": {
        "data": {"name": "digits"},
        "model": {"width": 32},
        "optim": {"lr": [0.1, 1e6], "batch_size": 64},
        "train": {"steps": 5},
    },
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_chunks_and_order_change_no_bit(change, dtype):
    change = {**change, "model": {"depth": 4, "width": 6, **change.get("model", {}), "dtype": dtype}}
    arm = small_arm(seeds=(0, 1, 2, 3), **change)
    runs = list(arm.runs)
    alone = parted(arm, len(runs), runs)
    for size in (1, 3):
        assert parted(arm, size, runs) == alone, f"stacks of {size}"
    permuted = [runs[i] for i in np.random.default_rng(0).permutation(len(runs))]
    assert parted(arm, 4, permuted) == alone


@pytest.mark.parametrize("setup", range(len(FORMULAS) + len(MODELS)))
def test_chunks_change_no_bit_of_formulas_and_models(setup):
    """Sizes at which torch's vector loops have a rest: 7 x 7 weights, 5 runs."""
    formula = setup < len(FORMULAS)
    change = {"sharing": FORMULAS[setup]} if formula else {"model": MODELS[setup - len(FORMULAS)]}
    change["model"] = {"width": 7, "dtype": "float32", "activation": "gelu", **change.get("model", {})}
    arm = small_arm(
        seeds=(0, 1, 2, 3, 4),
        **change,
        optim={"name": "adam", "lr": [0.01]},
        train={"steps": 4},
        measure={"name": "none"},
    )
    runs = list(arm.runs)
    alone = parted(arm, len(runs), runs)
    assert parted(arm, 2, runs) == alone
    assert parted(arm, 1, runs[:1]) == {runs[0]: alone[runs[0]]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_chunks_change_no_bit_of_any_activation(activation, dtype):
    """7 units of 8 samples fill no vector, and torch computes what is left over at the end of a stack otherwise."""
    model = {"activation": activation, "width": 7, "depth": 3, "dtype": dtype}
    arm = small_arm(
        model=model, seeds=(0, 1, 2), optim={"lr": [0.05]}, train={"steps": 5}, measure={"metrics": ["backward_msq"]}
    )
    runs = list(arm.runs)
    assert parted(arm, 1, runs) == parted(arm, 2, runs) == parted(arm, 3, runs)


def test_a_diverged_neighbour_changes_no_bit():
    calm = small_arm(optim={"lr": [0.1]}, seeds=(0, 1, 2))
    wild = replace(calm, optim=replace(calm.optim, lr=[0.1, 1e160]))
    among, apart = train(wild), train(calm)
    keep = [i for i, (_, lr) in enumerate(among.runs) if lr == 0.1]
    assert (among.diverged_at >= 0).sum() == 3
    for name, one in apart.series.items():
        assert one.values.tobytes() == among.series[name].values[keep].tobytes(), name


def test_another_measure_changes_no_other_number():
    full = train(small_arm())
    for metrics in (["grad_norm"], list(MEASURES)[::-1]):
        other = train(small_arm(measure={"metrics": metrics}))
        both = set(full.series) & set(other.series)
        assert {"loss/train", "grad_norm"} <= both
        assert not same_bits({k: full.series[k] for k in both}, {k: other.series[k] for k in both})
    none = train(small_arm(measure={"name": "none"}))
    assert set(none.series) == {"loss/train", "loss/val", "accuracy/train", "accuracy/val"}
    assert not same_bits(none.series, {k: full.series[k] for k in none.series})


# ----------------------------------------------------------------------------------------------- tied layers


@pytest.mark.parametrize("reduce", ["sum", "mean"])
@pytest.mark.parametrize("bias", ["tied", "untied"])
def test_tied_layers_are_truly_one(reduce, bias):
    """Against a plain nn.Sequential that holds one Linear (or one weight) in three places, trained by hand."""
    arm = small_arm(
        sharing={"name": "all", "reduce": reduce, "bias": bias},
        model={"activation": "tanh"},
        optim={"name": "momentum", "momentum": 0.9, "lr": [0.05], "batch_size": None},
        train={"steps": 12},
        measure={"schedule": {"every": 1}},
        seeds=(3,),
    )
    material = Material(arm, data.load(arm.data))
    start = start_of_seed(material, 3)
    linears = [nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)]
    for i, linear in enumerate(linears):
        linear.double()
        linear.weight = nn.Parameter(start[f"weight_{i if i in (0, 4) else 1:02d}"].clone())
        linear.bias = nn.Parameter(start[f"bias_{i if bias == 'untied' or i in (0, 4) else 1:02d}"].clone())
    for linear in linears[2:4]:
        linear.weight = linears[1].weight
        if bias == "tied":
            linear.bias = linears[1].bias
    net = nn.Sequential(*[m for linear in linears[:-1] for m in (linear, nn.Tanh())], linears[-1])
    stored = 30 + 36 + 18 + (15 if bias == "tied" else 27)
    assert sum(p.numel() for p in net.parameters()) == stored == material.scheme.stored_parameters
    assert material.scheme.used_parameters == stored + 2 * 36 + (12 if bias == "tied" else 0)

    seeds = Seeds(material, (3,))
    x, y = (t[0] for t in seeds.samples(next(seeds.batches())))
    stepper = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    norms, losses = [], []
    for _ in range(13):
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        if reduce == "mean":
            linears[1].weight.grad /= 3
            if bias == "tied":
                linears[1].bias.grad /= 3
        losses.append(loss.item())
        norms.append([linears[i].weight.grad.norm().item() for i in (0, 1, 4)])
        stepper.step()
    chunk = train(arm)
    assert np.allclose(chunk.series["loss/batch"].values[0], losses, rtol=0, atol=1e-12)
    # the probe is the first 256 training samples: here all of them, as is the batch
    assert chunk.series["grad_norm"].layers == (0, 1, 4)
    assert np.allclose(chunk.series["grad_norm"].values[0], norms, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_use_gradients_sum_to_the_stored_gradient(reduce):
    """Pulled back to stored space, the uses add up to the stored gradient, which is that of autograd through the formula,
    for every stored tensor of every scheme (1e-10)."""
    for sharing in SHARINGS:
        arm = small_arm(sharing={**sharing, "reduce": reduce}, seeds=(0, 1, 2), model={"activation": "tanh"})
        probe, autograd = probe_and_autograd(arm)
        total: dict[str, torch.Tensor] = {}
        for layer, grad in enumerate(probe.dws):
            for name, part in probe.scheme.use_grads(grad, layer, probe.stored).items():
                total[name] = total.get(name, 0) + part
        for layer in probe.scheme.bias_formulas:
            for name, part in probe.scheme.bias_use_grads(probe.dbs[layer], layer, probe.stored).items():
                total[name] = total.get(name, 0) + part
        fixed = {slot.name for slot in probe.scheme.extras} & probe.scheme.frozen
        for slot in probe.scheme.weights + probe.scheme.extras:
            if slot.name in fixed:
                continue
            assert torch.allclose(total[slot.name], probe.grads[slot.name], rtol=0, atol=1e-10), (sharing, slot)
            assert torch.allclose(total[slot.name], autograd[slot.name], rtol=0, atol=1e-10), (sharing, slot)
        for slot in probe.scheme.weights:
            parts = sum(probe.use_grads[i] for i in slot.layers)
            assert torch.allclose(parts, probe.grads[slot.name], rtol=0, atol=1e-10), (sharing, slot)
            assert probe.grads[slot.name].shape[1:] == slot.shape


def probe_and_autograd(arm: ArmConfig):
    """A fused stack's probe at the start, and the gradients of its stored tensors by autograd."""
    material = Material(arm, data.load(arm.data))
    seeds = Seeds(material, arm.seeds)
    rows = torch.arange(len(arm.seeds))
    stack = stacked.Stack(material, seeds, rows, torch.full((len(rows),), 0.1, dtype=torch.float64))
    x, y = stack.on_runs(*seeds.probe())
    probe = stack.probe((x, y), *stack.weights(), None)
    stored = {k: v.clone().requires_grad_() for k, v in stack.stored.items()}
    h = x
    for i in range(len(material.layers)):
        weight, bias = material.scheme.weight(stored, i), material.scheme.bias(stored, i)
        h = weight @ h + bias.unsqueeze(2)
        h = h + sum(stored[slot.name] @ x for slot in material.scheme.injections if i in slot.layers)
        h = torch.tanh(h) if i < len(material.layers) - 1 else h
    loss = sum(nn.functional.cross_entropy(one.T, target) for one, target in zip(h, y))
    grads = dict(zip(stored, torch.autograd.grad(loss, list(stored.values()))))
    if arm.sharing.reduce == "mean":
        uses = {slot.name: len(slot.layers) for slot in material.scheme.slots}
        grads = {name: g / uses[name] for name, g in grads.items()}
    return probe, grads


# ------------------------------------------------------------------------------------------- stopping early


def stopping(**changes) -> ArmConfig:
    """Runs of which some reach the target early, some late, some never, and some diverge."""
    return small_arm(
        optim={"lr": [0.02, 0.1, 0.5, 1e160], **changes.pop("optim", {})},
        train={
            "steps": 40,
            "evaluate": EvaluateConfig(dense=4, ratio=1.3),
            "stop_when_reached": True,
            "target": Target("accuracy/train", 0.6),
        },
        seeds=(0, 1, 2),
        **changes,
    )


@pytest.mark.parametrize("optim", [{"name": "momentum", "momentum": 0.9}, {"name": "adam"}], ids=["momentum", "adam"])
def test_runs_that_reached_the_target_leave_and_the_others_keep_their_bits(optim):
    arm = stopping(optim=optim, sharing={"name": "cycle"}, model={"dtype": "float32"})
    whole = train(replace(arm, train=replace(arm.train, stop_when_reached=False)))
    left = train(arm)
    reached = whole.series["accuracy/train"].values >= np.float32(0.6)
    steps = whole.series["accuracy/train"].steps
    ends = []
    for run, hits in enumerate(reached):
        seen = [t for t, hit in zip(steps, hits) if hit or 0 <= whole.diverged_at[run] <= t]
        ends.append(seen[0] if seen and seen[0] < 40 else -1)
    assert left.stopped_at.tolist() == ends
    assert len({-1, *ends}) > 3  # some stay, some leave at different steps
    assert left.diverged_at.tolist() == whole.diverged_at.tolist()
    for name, one in left.series.items():
        full = whole.series[name]
        assert one.steps == full.steps[: len(one.steps)]
        for run, end in enumerate(ends):
            lived = np.array(one.steps) <= (40 if end < 0 else end)
            cut = np.flatnonzero(lived)
            assert one.values[run, cut].tobytes() == full.values[run, cut].tobytes(), (name, run)
            assert np.isnan(one.values[run, ~lived]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_last_run_of_a_stack_keeps_its_bits(dtype):
    """Two of three runs diverge and leave: the one that stays is not computed as a lone run, which takes another path
    through BLAS."""
    arm = stopping(model={"dtype": dtype})
    arm = replace(arm, train=replace(arm.train, target=Target("loss/train", 1e-300)))
    runs = [(0, 0.02), (0, 1e160), (1, 1e160)]
    left, whole = train(arm, runs), train(replace(arm, train=replace(arm.train, stop_when_reached=False)), runs)
    assert left.stopped_at.tolist() == [-1, 1, 1]
    for name, one in left.series.items():
        assert one.values[0].tobytes() == whole.series[name].values[0].tobytes(), name


def test_stopping_early_is_the_same_in_both_engines_and_in_any_stack():
    arm = stopping(sharing={"name": "low_rank_delta", "rank": 2})
    ours, oracle = train(arm), train(arm, engine=one_by_one)
    assert ours.stopped_at.tolist() == oracle.stopped_at.tolist()
    assert ours.diverged_at.tolist() == oracle.diverged_at.tolist()
    for name, one in ours.series.items():
        assert np.allclose(one.values, oracle.series[name].values, rtol=1e-9, atol=1e-9, equal_nan=True), name
    for i, run in list(enumerate(arm.runs))[::3]:  # alone, its history is as long as it lives itself
        alone = train(arm, [run])
        assert alone.stopped_at[0] == ours.stopped_at[i]
        for name, one in alone.series.items():
            at = np.isin(ours.series[name].steps, one.steps)
            assert one.values[0].tobytes() == ours.series[name].values[i, at].tobytes(), name


def test_runs_that_stopped_at_different_steps_join_in_the_store(folder):
    arm = stopping(model={"dtype": "float32"})
    store = Store(folder)
    runs = arm.runs[2:7]
    whole = train(arm, runs)
    for run in runs:
        store.write("key", train(arm, [run]))
    joined = store.read("key", runs)
    assert len(set(whole.stopped_at.tolist())) > 2
    assert joined.runs == whole.runs
    assert joined.stopped_at.tolist() == whole.stopped_at.tolist()
    assert not same_bits({name: joined.series(name) for name in joined.axes}, whole.series)


def test_every_run_may_stop_at_the_start():
    arm = stopping()
    arm = replace(arm, train=replace(arm.train, target=Target("accuracy/train", 1e-9)))
    chunk = train(arm, arm.runs[:3])
    assert chunk.stopped_at.tolist() == [0, 0, 0]
    assert chunk.series["loss/train"].steps == (0,)


# ------------------------------------------------------------------------------------- start, end, divergence


@pytest.mark.parametrize("engine", [stacked, one_by_one])
def test_no_steps_measure_the_start_alone(engine):
    chunk = train(small_arm(train={"steps": 0}), engine=engine)
    assert all(one.steps == (0,) for one in chunk.series.values())
    assert {"loss/train", "loss/batch", "grad_norm"} <= set(chunk.series)
    assert "update_ratio" not in chunk.series
    longer = train(small_arm(train={"steps": 3}), engine=engine)
    for name, one in chunk.series.items():
        assert one.values[:, 0].tobytes() == longer.series[name].values[:, 0].tobytes(), name


@pytest.mark.parametrize("engine", [stacked, one_by_one])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_is_a_value(engine, dtype):
    """One linear layer pair under squared error with lr 1e6: the step of divergence follows from plain NumPy."""
    arm = small_arm(
        data=VALUES,
        model={"depth": 1, "width": 3, "activation": "linear", "dtype": dtype, "bias": False},
        optim={"lr": [1e6], "batch_size": None},
        measure={"schedule": {"every": 1}},
        seeds=(0,),
    )
    expected = first_nonfinite(arm, np.float32 if dtype == "float32" else np.float64)
    assert 1 < expected < 10
    chunk = train(arm, engine=engine)
    assert chunk.diverged_at.tolist() == [expected]
    for name, one in chunk.series.items():
        after = np.array(one.steps) >= expected
        assert np.isnan(one.values[:, after]).all(), name
        assert not np.isinf(one.values).any(), name
        assert np.isfinite(one.values[:, 0]).all(), name
    assert np.isfinite(chunk.series["loss/batch"].values[0, expected - 1])


def first_nonfinite(arm: ArmConfig, dtype) -> int:
    """First step with a non-finite loss or parameter, by hand."""
    material = Material(arm, data.load(arm.data))
    seeds = Seeds(material, arm.seeds)
    x, y = (t[0].numpy().astype(dtype) for t in seeds.samples(next(seeds.batches())))
    held = [t[0].numpy().astype(dtype) for part in ("train", "val") for t in seeds.samples(seeds.first(part, 512))]
    a, b = (w.numpy().astype(dtype) for w in start_of_seed(material, 0).values())
    with np.errstate(all="ignore"):
        for step in range(arm.train.steps + 1):
            error = x @ a.T @ b.T - y
            losses = [np.mean(error**2), np.mean((held[0] @ a.T @ b.T - held[1]) ** 2)]
            losses.append(np.mean((held[2] @ a.T @ b.T - held[3]) ** 2))
            if not (np.isfinite(losses).all() and np.isfinite(a).all() and np.isfinite(b).all()):
                return step
            g = dtype(2) * error / dtype(error.size)
            a, b = a - dtype(1e6) * (g @ b).T @ x, b - dtype(1e6) * g.T @ (x @ a.T)
    return -1


@pytest.mark.parametrize("init", ["kaiming_normal", "orthogonal", "torch_default"])
def test_float32_and_float64_start_alike(init):
    starts = {}
    for dtype in ("float32", "float64"):
        arm = small_arm(init=init, init_bias="torch", model={"dtype": dtype})
        starts[dtype] = start_of_seed(Material(arm, data.load(arm.data)), 7)
    assert starts["float64"]["weight_01"].dtype == torch.float64
    for name, value in starts["float64"].items():
        assert torch.equal(value.float(), starts["float32"][name]), name


def test_arms_are_paired_by_seed():
    """Split, batches and the noise of a slot do not depend on initializer, sharing or learning rate."""
    one = small_arm(init="xavier_normal")
    two = small_arm(init="kaiming_normal", sharing={"name": "all"}, optim={"lr": [9.0], "name": "adam"})
    a, b = (Material(arm, data.load(arm.data)) for arm in (one, two))
    for seed in (0, 1):
        first, second = Seeds(a, (seed,)), Seeds(b, (seed,))
        assert np.array_equal(first.splits[0].train, second.splits[0].train)
        draws = zip(first.batches(), second.batches())
        assert all(torch.equal(x, y) for _, (x, y) in zip(range(12), draws))
        x, y = start_of_seed(a, seed), start_of_seed(b, seed)
        for name in ("weight_00", "weight_01", "weight_04"):
            ratio = x[name] / y[name]  # two gains of one noise
            assert torch.allclose(ratio, ratio.flatten()[0].expand_as(ratio), rtol=1e-12), name
        assert not torch.equal(x["weight_01"], x["weight_02"])
    other = next(Seeds(a, (0,)).batches()), next(Seeds(a, (1,)).batches())
    assert not torch.equal(*other)


def test_a_batch_is_drawn_without_replacement_and_covers_the_epoch():
    arm = small_arm(optim={"batch_size": 8, "lr": [0.1]})
    seeds = Seeds(Material(arm, data.load(arm.data)), (0, 1))
    epoch = torch.cat([b for _, b in zip(range(6), seeds.batches())], dim=1)  # 48 training samples
    for row, part in zip(epoch, seeds.splits):
        assert sorted(row.tolist()) == sorted(part.train.tolist())
