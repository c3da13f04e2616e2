"""The kernel against the torch path and NumPy; and against itself: chunks, neighbours, a second start from its cache.

Both paths compute in float32, so they are compared where rounding cannot grow: ten steps of smooth activations. A run
with a kink may part where a preactivation is so near 0 that the paths round it to different signs; one is shown.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import TEACHER, VALUES, same_bits, small_arm
from initbench import data, measure
from initbench.config import groups
from initbench.config.activations import ACTIVATIONS
from initbench.engine import stacked, trainers
from initbench.engine.material import Material
from initbench.errors import NotApplicable
from initbench.nets import mlp
from initbench.store.chunk import Chunk

pytest.importorskip("numba")

from initbench.engine.kernel import activations, compiled, declared, measured, net, places, rules, run
from initbench.engine.kernel.layout import layout

SMOOTH = ("tanh", "sigmoid", "gelu", "silu", "softplus", "sin", "erf", "linear", "elu")
SHARINGS = (
    *({"name": name} for name in ("none", "all", "pairs", "sandwich")),
    *({"name": name, "slots": 2} for name in ("sequence", "cycle", "cycle_rev")),
    {"name": "explicit", "groups": [[1, 3]]},
)


def kernel_arm(**changes):
    """A small arm in float32, the measures at every third step."""
    changes["model"] = {"dtype": "float32", **changes.get("model", {})}
    changes.setdefault("measure", {"schedule": {"every": 3}})
    return small_arm(**changes)


def train(arm, runs=None, engine=run) -> Chunk:
    return engine.run_chunk(arm, list(runs or arm.runs), data.load(arm.data))


def differences(arm, runs=None) -> dict[str, float]:
    """Largest |kernel - torch| / max(1, |torch|) of each series; steps, layers and missing values must be the same."""
    ours, theirs = train(arm, runs), train(arm, runs, stacked)
    assert set(ours.series) == set(theirs.series)
    assert ours.diverged_at.tolist() == theirs.diverged_at.tolist()
    found = {}
    for name, one in ours.series.items():
        other = theirs.series[name]
        assert (one.steps, one.layers) == (other.steps, other.layers), name
        assert np.array_equal(np.isnan(one.values), np.isnan(other.values)), name
        error = np.abs(one.values - other.values) / np.maximum(1, np.abs(other.values))
        found[name] = float(np.nanmax(error, initial=0.0))
    return found


# ---------------------------------------------------------------------------------------------- against torch


@st.composite
def arms(draw):
    """Everything that the kernel covers, in float32, small."""
    pick = lambda *options: draw(st.sampled_from(options))  # noqa: E731
    name = pick(*(name for name, one in groups.OPTIMIZERS.items() if one.compiled))
    own = {"momentum": 0.9} if "momentum" in groups.OPTIMIZERS[name].keys else {}
    own |= {"momentum_rise": 3} if own and pick(True, False) else {}
    own |= {"betas": [0.8, 0.95]} if "betas" in groups.OPTIMIZERS[name].keys and pick(True, False) else {}
    lr = {"sgd": 0.05, "momentum": 0.01, "nesterov": 0.01}.get(name, 0.003)
    sharing = dict(pick(*SHARINGS))
    depth = pick(4, 5)
    alone = sharing["name"] == "none"
    width = pick([33, 5, 18, 2], [1, 16, 17, 40]) if alone and depth == 4 else pick(6, 16, 21)
    return kernel_arm(
        data={**pick(TEACHER, VALUES), "inputs": pick(1, 5, 17)},
        model={"depth": depth, "width": width, "activation": pick(*SMOOTH), "bias": pick(True, True, False)},
        init=pick("kaiming_normal", "xavier_uniform", "orthogonal"),
        sharing={**sharing, "bias": pick("tied", "untied"), "reduce": pick("sum", "mean")},
        optim={
            "name": name,
            "lr": [lr, lr / 3],
            "batch_size": pick(8, 5, 33, None),
            "weight_decay": pick(0.0, 0.01),
            "clip": pick(None, 0.5),
            "schedule": pick("constant", "cosine", "step"),
            "warmup": pick(0, 3),
            # near a zero of the second moment, rounding decides the direction of a step
            **({"eps": 1e-2} if name in ("adam", "adamw", "rmsprop", "adagrad") else {}),
            **own,
        },
        train={"steps": 10, "loss": pick("auto", "squared_error")},
        seeds=(0, 5),
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(arms())
def test_kernel_equals_torch_over_ten_steps(arm):
    assert declared.refuses(arm, Material(arm, data.load(arm.data))) == ""
    for name, error in differences(arm).items():
        # cosines and ratios of gradients near zero lose digits on either path
        allowed = 1e-3 if name.startswith(("use_grad_co", "use_grad_al", "update_ratio")) else 1e-5
        assert error <= allowed, (name, error)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "selu", "abs"])
def test_kinked_activations_equal_torch_until_a_sign_flips(activation):
    """Three steps from a start whose preactivations are not near a kink on either path."""
    arm = kernel_arm(model={"activation": activation, "width": 16}, train={"steps": 3})
    assert max(differences(arm).values()) <= 1e-5


def test_a_relu_run_parts_from_torch_only_where_a_unit_switches_on_one_path():
    """Biases are set so that each unit is at its kink, to rounding, for one sample of the first batch: some units are
    then on in one path only. After one update their weights differ, and those of no other unit."""
    arm = kernel_arm(
        data={"name": "digits"},
        model={"width": 32, "depth": 1},
        optim={"lr": [1.0], "batch_size": 64},
        train={"steps": 1},
        measure={"name": "none"},
        seeds=(0,),
    )
    material = Material(arm, data.load(arm.data))
    ours = run.Training(material, list(arm.runs))
    theirs = stacked.Stack(material, ours.seeds, ours.row, ours.stack.lr)
    x, _ = ours.stack.on_runs(*ours.seeds.samples(next(ours.seeds.batches())))
    w, x = theirs.stored["weight_00"][0].numpy(), x[0].numpy()  # (32, 64), (64, B)
    bias = -(w.astype(np.float64) @ x.astype(np.float64)).diagonal().astype(np.float32).copy()
    for stored in (theirs.stored["bias_00"], ours.tensors["bias_00"].view(ours.parameters)):
        stored.copy_(torch.from_numpy(bias))
    on = (
        torch.baddbmm(
            theirs.stored["bias_00"][:, :, None], theirs.stored["weight_00"], torch.from_numpy(np.stack([x, x]))
        )
        > 0
    )
    z = np.repeat(bias[:, None], x.shape[1], axis=1)
    for k in range(w.shape[1]):  # the kernel adds in this order, each product and sum rounded once
        z = (z.astype(np.float64) + w[:, k, None].astype(np.float64) * x[None, k].astype(np.float64)).astype(np.float32)
    switched = ((z > 0) != on[0].numpy()).any(1)
    with torch.no_grad():
        ours.train(lambda done: None)
        theirs.loss(0)
        theirs.update(0)
    trained = ours.tensors["weight_00"].view(ours.parameters)[0]
    error = (trained - theirs.stored["weight_00"][0]).abs().amax(1).numpy()
    assert switched.any()
    assert not switched.all()
    assert error[~switched].max() <= 1e-6
    assert error[switched].min() > 1e-5


def test_full_batches_larger_than_a_block_equal_torch():
    arm = kernel_arm(
        data={**TEACHER, "samples": 400},
        model={"activation": "tanh", "width": 16},
        optim={"lr": [0.1], "batch_size": None},
        sharing={"name": "all"},
    )
    assert max(v for k, v in differences(arm).items() if not k.startswith("use_grad_co")) <= 1e-5


def test_divergence_is_seen_at_the_same_step():
    arm = kernel_arm(data={"name": "digits"}, model={"width": 32}, optim={"lr": [0.1, 1e6], "batch_size": 64})
    ours, theirs = train(arm), train(arm, engine=stacked)
    assert ours.diverged_at.tolist() == theirs.diverged_at.tolist()
    assert (ours.diverged_at >= 0).sum() == 2
    for name, one in ours.series.items():
        after = np.array(one.steps)[None] >= ours.diverged_at[:, None]
        dead = after & (ours.diverged_at >= 0)[:, None]
        assert np.isnan(one.values[dead]).all(), name
        assert not np.isinf(one.values).any(), name


def test_runs_stop_at_the_target_as_on_the_torch_path():
    arm = kernel_arm(
        data={"name": "digits"},
        model={"width": 32, "activation": "tanh", "depth": 2},
        optim={"lr": [0.1, 0.5, 1e4], "batch_size": 64},
        train={"steps": 40, "stop_when_reached": True, "target": groups.Target("accuracy/train", 0.8)},
    )
    ours, theirs = train(arm), train(arm, engine=stacked)
    assert ours.stopped_at.tolist() == theirs.stopped_at.tolist()
    assert (ours.stopped_at >= 0).any()
    assert (ours.stopped_at < 0).any()
    for name, one in theirs.series.items():
        steps = [i for i, step in enumerate(ours.series[name].steps) if step in one.steps]
        assert np.array_equal(np.isnan(ours.series[name].values[:, steps]), np.isnan(one.values)), name


# --------------------------------------------------------------------------- a run depends on nothing but itself


def bits_of(chunk: Chunk) -> dict[tuple[int, float], dict[str, bytes]]:
    """Bits of each run."""
    return {r: {name: s.values[i].tobytes() for name, s in chunk.series.items()} for i, r in enumerate(chunk.runs)}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_chunks_order_and_diverged_neighbours_change_no_bit(name):
    own = {"lr": [0.1, 1e6], "clip": 1.0} if name == "sgd" else {"lr": [0.01, 0.1]}
    arm = kernel_arm(
        data={"name": "digits"},
        model={"width": [33, 32, 10, 7]},
        optim={"name": name, "batch_size": 40, **own},
        seeds=(0, 1, 2),
    )
    runs = list(arm.runs)
    whole = bits_of(train(arm, runs))
    for size in (1, 2, 4):
        parts = [train(arm, runs[i : i + size]) for i in range(0, len(runs), size)]
        assert {k: v for part in parts for k, v in bits_of(part).items()} == whole
    assert bits_of(train(arm, runs[::-1])) == whole


def test_segments_change_no_bit(monkeypatch):
    arm = kernel_arm(train={"steps": 25}, measure={"name": "none"})
    light = replace(arm, measure=groups.MeasureConfig("light", schedule={"every": 2}))
    whole, measured = train(arm), train(light)
    assert not same_bits(whole.series, {name: measured.series[name] for name in whole.series})
    monkeypatch.setattr(run, "LONGEST", 4 * arm.optim.batch_size)
    assert not same_bits(whole.series, train(arm).series)
    assert not same_bits(measured.series, train(light).series)
    by_torch = train(replace(light, measure=groups.MeasureConfig("full", schedule={"every": 2})))
    assert not same_bits(whole.series, {name: by_torch.series[name] for name in whole.series})


# ------------------------------------------------------------------------------------------- the compiled probe


def test_every_light_measure_is_taken_in_the_kernel():
    assert set(measured.MEASURES) == set(measure.SETS["light"])


@pytest.mark.parametrize(
    ("eval_samples", "samples", "compiled"), [(512, 400, True), (512, 60, True), (100, 400, False), (300, 400, True)]
)
def test_the_probe_is_the_same_however_many_samples_are_evaluated(eval_samples, samples, compiled):
    arm = kernel_arm(
        data={**TEACHER, "samples": samples},
        model={"activation": "tanh", "width": 16},
        train={"steps": 7, "eval_samples": eval_samples, "evaluate": groups.EvaluateConfig(dense=2, ratio=9.0)},
        sharing={"name": "all"},
    )
    material = Material(arm, data.load(arm.data))
    assert (run.Training(material, list(arm.runs)).looks is not None) is compiled
    assert max(v for k, v in differences(arm).items() if not k.startswith("use_grad_co")) <= 1e-5


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_units_that_are_dead_or_saturated_are_counted(activation):
    """Biases far below 0: most units of a ReLU net are off on every sample, and most tanh at the end of their range."""
    arm = kernel_arm(
        data={"name": "digits"},
        model={"activation": activation, "width": 16, "depth": 3},
        init_bias=-2.0,
        measure={"schedule": [0, 1]},
        train={"steps": 1},
    )
    name = "dead_fraction" if activation == "relu" else "saturated_fraction"
    ours, theirs = (train(arm, engine=engine).series[name].values for engine in (run, stacked))
    assert 0.1 < theirs.mean() < 0.99
    assert np.array_equal(ours, theirs)


# ------------------------------------------------------------------------------------------- functions by themselves

EXACT = {name: one.phi for name, one in ACTIVATIONS.items()}  # in float64; test_tables.py compares them with torch


def call(kind: str, name: str, *arrays: np.ndarray) -> None:
    """Call a compiled phi or pull on float32 arrays."""
    from ctypes import CFUNCTYPE, c_int32, c_ssize_t, c_void_p

    function = CFUNCTYPE(c_int32, *[c_void_p] * (2 + len(arrays)), c_ssize_t)(compiled.address(kind, name))
    room = np.zeros(4, dtype=np.int64)
    function(room.ctypes.data, room.ctypes.data + 8, *(a.ctypes.data for a in arrays), len(arrays[0]))


@pytest.mark.parametrize("name", sorted(EXACT))
def test_activations_are_exact_to_a_few_units_in_the_last_place(name):
    """Against float64, on a wide range; the pull-back against the derivative by a complex-free central difference."""
    z = np.concatenate([np.linspace(-30, 30, 40_000), np.geomspace(1e-8, 1, 4000), [0.0]]).astype(np.float32)
    z = np.concatenate([z, -z[40_000:44_000], np.zeros(-len(z) % 16 + 16, dtype=np.float32)])
    h, g = np.empty_like(z), np.ones_like(z)
    call("phi", name, z, h)
    exact = EXACT[name](z.astype(np.float64))
    # tails that are a difference of near equal numbers are exact to an absolute 1e-7, as torch's are
    assert np.max(np.abs(h - exact) / np.maximum(np.abs(exact), 0.25)) <= 4e-7
    call("pull", name, g, z, h)
    step = 1e-6
    wide = z.astype(np.float64)
    slope = (EXACT[name](wide + step) - EXACT[name](wide - step)) / (2 * step)
    kinked = name == "elu" or not ACTIVATIONS[name].smooth
    smooth = np.abs(wide) > 2 * step if kinked else np.full(len(z), True)
    assert np.max(np.abs(g - slope)[smooth]) <= 2e-6


@pytest.mark.parametrize("name", sorted(EXACT))
def test_activations_keep_nan_and_treat_kinks_as_torch(name):
    z = np.array([np.nan, 0.0, -0.0, 1e10, -1e10, *np.linspace(-1, 1, 11)], dtype=np.float32)
    h, g = np.empty_like(z), np.full_like(z, 3)
    call("phi", name, z, h)
    call("pull", name, g, z, h)
    phi = mlp.ACTIVATIONS[name]
    expected = phi.phi(torch.from_numpy(z))
    assert np.allclose(h, expected, rtol=1e-6, atol=1e-7, equal_nan=True)
    pulled = phi.pull(torch.full((len(z),), 3.0), torch.from_numpy(z), expected)
    assert np.allclose(g[1:], pulled[1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 16, 16), (7, 5, 48), (1, 1, 16), (23, 130, 80)])
def test_products_equal_numpy(shape):
    """All three uses of the product: W H + b, W^T dZ, and dZ H^T added to what is there."""
    from ctypes import CFUNCTYPE, c_int32, c_ssize_t, c_void_p

    rows, depth, columns = shape
    function = CFUNCTYPE(c_int32, c_void_p, c_void_p, *[c_ssize_t] * 13)(compiled.address("product"))
    room = np.zeros(4, dtype=np.int64)
    draw = np.random.default_rng(0)
    a, b, bias, c = (
        draw.standard_normal(s).astype("f4") for s in ((rows, depth), (depth, columns), rows, (rows, columns))
    )
    turned, before = np.ascontiguousarray(a.T), c.copy()

    def product(left, row_step, depth_step, start, start_step, add):
        sizes = (columns, rows, depth, columns // 16)
        return function(
            *(room.ctypes.data, room.ctypes.data + 8, c.ctypes.data, sizes[0], left.ctypes.data, row_step, depth_step),
            *(b.ctypes.data, columns, *sizes[1:], start.ctypes.data, start_step, add),
        )

    exact = a.astype(np.float64) @ b
    product(a, depth, 1, bias, 1, 0)
    assert np.allclose(c, exact + bias[:, None], atol=1e-4)
    product(turned, 1, rows, np.zeros(1, dtype="f4"), 0, 0)
    assert np.allclose(c, exact, atol=1e-4)
    c[:] = before
    product(a, depth, 1, bias, 1, 1)
    assert np.allclose(c, before + exact, atol=1e-4)


# ---------------------------------------------------------------------------------------------- cache and coverage


def test_the_kernel_has_what_the_tables_have():
    assert set(activations.FUNCTIONS) == set(ACTIVATIONS)
    assert set(rules.RULES) == {name for name, one in groups.OPTIMIZERS.items() if one.compiled}
    assert set(net.LOSSES) == {"cross_entropy", "squared_error"}
    numbers = [v for k, v in vars(places).items() if k.isupper() and k != "LENGTH"]
    assert sorted(numbers) == list(range(places.LENGTH))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model": {"dtype": "float64"}}, "float64"),
        ({"engine": {"device": "cuda"}}, "cuda"),
        ({"optim": {"name": "adam", "eps": 0.0}}, "eps"),
        ({"sharing": {"name": "scaled"}}, "scaled"),
        ({"model": {"name": "residual_mlp", "residual": "fixup", "depth": 5}}, "residual_mlp"),
        ({"model": {"parametrization": "mup"}}, "mup"),
    ],
)
def test_what_the_kernel_does_not_cover_goes_to_torch_with_the_reason(change, word):
    arm = kernel_arm(**change)
    material = Material(arm, data.load(arm.data))
    trainer, reason = trainers.chosen(arm, material)
    assert trainer.name == "stacked"
    assert (word in reason and "kernel" in reason) or "float32" in reason
    asked = replace(arm, engine=replace(arm.engine, name="kernel"))
    with pytest.raises(NotApplicable, match=r"engine=kernel: .*; use engine=auto"):
        trainers.chosen(asked, material)


def test_the_trainer_can_be_chosen_and_is_part_of_the_key():
    arm = kernel_arm()
    wiring = Material(arm, data.load(arm.data))
    keys = set()
    for name in ("auto", "kernel", "stacked", "single"):
        asked = replace(arm, engine=replace(arm.engine, name=name))
        trainer, reason = trainers.chosen(asked, wiring)
        assert (trainer.name, reason) == ("kernel" if name == "auto" else name, "")
        keys.add(asked.key("data", "source", "2.0", trainer.name))
    assert len(keys) == 3


def test_padding_stays_zero():
    """What pads rows of weights is never seen by a product, a norm or the search for divergence."""
    arm = kernel_arm(model={"width": [33, 5, 18, 2], "activation": "sigmoid"}, optim={"name": "adam", "lr": [0.01]})
    training = run.Training(Material(arm, data.load(arm.data)), list(arm.runs))
    with torch.no_grad():
        training.train(lambda done: None)
    tensors, size = layout(training.material.scheme)
    used = torch.zeros(1, size)
    for tensor in tensors.values():
        tensor.view(used).fill_(1.0)
    assert int(used.sum()) == training.material.scheme.stored_parameters < size
    assert (training.parameters[:, used[0] == 0] == 0).all()
    assert (training.parameters[:, used[0] == 1] != 0).any()


SECOND_START = """
import sys
from initbench.engine.kernel import compiled
compiled.address("phi", "relu")
print("numba" in sys.modules, "torch" in sys.modules, compiled.cache_folder())
"""


def started(environment: dict[str, str]) -> str:
    """What SECOND_START prints in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", SECOND_START],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_second_start_needs_no_compiler_and_a_cache_of_other_sources_is_not_used(tmp_path):
    cache = {"INITBENCH_CACHE": str(tmp_path / "cache")}
    assert started(cache).startswith("True")
    assert started(cache).startswith("False False")
    (folder,) = (tmp_path / "cache").iterdir()
    assert folder.name == f"kernel-{compiled.stamp()}"
    folder.rename(folder.with_name("kernel-of-other-sources"))
    assert started(cache).startswith("True")


def test_a_folder_that_cannot_be_written_only_costs_the_cache(tmp_path):
    (tmp_path / "file").write_text("")
    assert started({"INITBENCH_CACHE": str(tmp_path / "file")}).split()[-1] == "None"


def test_what_stands_around_the_compiled_code_imports_no_numba():
    code = "import sys; from initbench.engine.kernel import run; print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
