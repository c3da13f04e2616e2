"""Numbers and statements of the literature that no single-matrix contract holds: tables, ranks, whole
nets.
"""

import json
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from initbench.config.activations import ACTIVATIONS as KNOWN
from initbench.config.groups import ACTIVATIONS, LayerSpec, ModelConfig
from initbench.errors import InputError, NotApplicable
from initbench.initializers import (
    calculate_gain,
    critical_length,
    critical_point,
    eoi_,
    initialize,
    looks_linear_,
    sinusoidal_,
    vi3nr_,
    zero_,
)
from initbench.initializers.fields import kept_size
from initbench.initializers.gains import gaussian_mean
from initbench.initializers.network import choose
from initbench.initializers.sparse import rotated


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------ activations and gains


def test_every_activation_of_the_nets_is_known():
    assert set(KNOWN) == set(ACTIVATIONS)


def torch_phi(name, x):
    functions = {"linear": lambda x: x, "sin": torch.sin, "erf": torch.erf, "abs": torch.abs, "tanh": torch.tanh}
    return functions.get(name, getattr(torch.nn.functional, name, None))(x)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_slopes_are_torchs(name):
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)[torch.arange(41) != 20].requires_grad_()
    y = torch_phi(name, x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    points = x.detach().numpy()
    np.testing.assert_allclose(KNOWN[name].phi(points), y.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(KNOWN[name].slope(points), slope.numpy(), atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gains_are_torchs_or_keep_the_mean_square(name):
    try:
        assert calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-12)
    except ValueError:
        phi = KNOWN[name].phi
        halves = [
            integrate.quad(lambda z: float(phi(np.array(z))) ** 2 * stats.norm.pdf(z), *ends, epsabs=1e-12)[0]
            for ends in ((-12, 0), (0, 12))
        ]
        assert calculate_gain(name) == pytest.approx(1 / math.sqrt(sum(halves)), rel=1e-9)


def test_the_quadrature_is_exact_on_moments():
    for power, moment in ((0, 1), (2, 1), (4, 3), (6, 15)):
        assert gaussian_mean(lambda z, p=power: z**p) == pytest.approx(moment, rel=1e-12)


# ------------------------------------------------------------ edge of chaos

TABLE = [  # Poole 2016, Schoenholz 2017: (activation, q, sigma_w^2, sigma_b^2)
    ("tanh", 0.1, 1.17757, 0.00083),
    ("tanh", 0.5, 1.68798, 0.03804),
    ("tanh", 1.0, 2.15330, 0.15096),
    ("tanh", 1.5, 2.53248, 0.31407),
    ("erf", 1.0, 1.75620, 0.18414),
    ("elu", 1.0, 1.49678, 0.03466),
    ("gelu", 1.0, 2.19370, 0.06719),
    ("silu", 1.0, 2.63517, 0.06247),
    ("relu", 0.3, 2.0, 0.0),
    ("relu", 7.0, 2.0, 0.0),
]


@pytest.mark.parametrize(("name", "q", "sigma_w2", "sigma_b2"), TABLE)
def test_edge_of_chaos_has_the_tables_values(name, q, sigma_w2, sigma_b2):
    assert critical_point(name, q) == pytest.approx((sigma_w2, sigma_b2), abs=6e-6)


def test_the_edge_given_sigma_b():
    q = critical_length("tanh", math.sqrt(0.05))
    assert q == pytest.approx(0.5700, abs=1e-4)
    assert critical_point("tanh", q) == pytest.approx((1.7610, 0.05), abs=1e-4)
    with pytest.raises(NotApplicable, match="relu has no edge of chaos with sigma_b"):
        critical_length("relu", 0.1)


def test_no_edge_for_sigmoid():
    for q in (0.01, 1.0, 10.0):
        with pytest.raises(NotApplicable, match="sigmoid has no edge of chaos"):
            critical_point("sigmoid", q)


def test_wrong_q_is_refused():
    layer = LayerSpec(1, 3, 8, 8, "tanh")
    for q in ("big", 0, -1):
        with pytest.raises(InputError, match=r"init\.q"):
            initialize(
                torch.empty(8, 8), None, function_or_target="edge_of_chaos", args={"q": q}, layer=layer, generator=None
            )


# ------------------------------------------------------------ structures


def test_zero_has_the_stated_singular_values():
    for m in range(2, 65):
        p = 2 ** math.ceil(math.log2(m))
        for n in {1, m // 2, m - 1}:
            if not 0 < n < m:
                continue
            s = torch.linalg.svdvals(zero_(torch.empty(m, n, dtype=torch.float64)))
            assert s.max() <= 1 + 1e-12
            assert s.min() > 1e-6  # full rank
            if n <= p // 2:
                assert s.min() >= 1 / math.sqrt(2) - 1e-12
    low = torch.linalg.svdvals(zero_(torch.empty(35, 34, dtype=torch.float64))).min()
    assert float(low) == pytest.approx(0.18, abs=0.005)


def test_sinusoidal_is_rank_deficient_and_has_dead_rows():
    ranks = [
        int(torch.linalg.matrix_rank(sinusoidal_(torch.empty(m, n).double()), rtol=1e-10))
        for m, n in ((64, 64), (64, 32))
    ]
    assert ranks == [31, 16]
    tall = sinusoidal_(torch.empty(64, 32, dtype=torch.float64))
    assert tall[31].abs().max() < 1e-12
    assert tall[63].abs().max() < 1e-12


def net(layers, target, seed=0, bias="zeros", **args):
    filled = []
    for layer in layers:
        weight = torch.empty(layer.shape, dtype=torch.float64)
        vector = torch.empty(layer.fan_out, dtype=torch.float64)
        initialize(
            weight,
            vector,
            function_or_target=target,
            args=args,
            bias_rule=bias,
            layer=layer,
            generator=generator(seed + layer.index),
            bias_generator=generator(99 + layer.index),
        )
        filled.append((weight, vector))
    return filled


def forward(filled, x, phi=torch.relu):
    for weight, bias in filled[:-1]:
        x = phi(x @ weight.T + bias)
    return x @ filled[-1][0].T + filled[-1][1]


@pytest.mark.parametrize("block", ["orthogonal", "gaussian"])
def test_looks_linear_nets_are_linear(block):
    layers = ModelConfig(depth=30, width=16).layers(8, 4)
    filled = net(layers, "looks_linear", block=block)
    x = torch.randn(50, 8, dtype=torch.float64, generator=generator(1))
    product = torch.eye(8, dtype=torch.float64)
    for layer, (weight, _) in zip(layers, filled):
        m = layer.fan_out if layer.last else layer.fan_out // 2
        n = layer.fan_in if layer.first else layer.fan_in // 2
        product = weight[:m, :n] @ product
    torch.testing.assert_close(forward(filled, x), x @ product.T, rtol=1e-11, atol=1e-11)
    if block == "orthogonal":
        torch.testing.assert_close(product @ product.T, torch.eye(4, dtype=torch.float64))


def test_looks_linear_refuses_odd_widths_and_unknown_blocks():
    with pytest.raises(NotApplicable, match="fan_out=7"):
        looks_linear_(torch.empty(7, 4), layer=LayerSpec(1, 3, 4, 7))
    with pytest.raises(InputError, match="orthogonal, gaussian"):
        looks_linear_(torch.empty(8, 4), layer=LayerSpec(1, 3, 4, 8), block="x")


@pytest.mark.parametrize("activation", [torch.relu, torch.tanh])
def test_asi_starts_at_zero_with_the_kernel_of_its_half(activation):
    layers = ModelConfig(depth=3, width=12).layers(5, 2)
    filled = net(layers, "asi", bias="torch")
    x = torch.randn(20, 5, dtype=torch.float64, generator=generator(1))
    assert forward(filled, x, activation).abs().max() < 1e-14
    # the tangent kernel over the twins' own parameters is that of one half net
    half = [
        (w[: len(w) // 2, : w.shape[1] // (1 if i == 0 else 2)], b[: len(b) // 2]) for i, (w, b) in enumerate(filled)
    ]
    half[-1] = (filled[-1][0][:, :6] * math.sqrt(2), filled[-1][1])
    twin = [half, half]

    def kernel(params_of_each, f):
        leaves = [[(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in p] for p in params_of_each]
        flat = [t for p in leaves for pair in p for t in pair]
        rows = []
        for sample in f(leaves)[:, 0]:
            grads = torch.autograd.grad(sample, flat, retain_graph=True, allow_unused=True)
            rows.append(torch.cat([g.flatten() for g in grads if g is not None]))
        return torch.stack(rows) @ torch.stack(rows).T

    one = kernel([half], lambda p: forward(p[0], x, activation))
    both = kernel(twin, lambda p: (forward(p[0], x, activation) - forward(p[1], x, activation)) / math.sqrt(2))
    torch.testing.assert_close(one, both)


def test_siren_folded_is_siren():
    layers = ModelConfig(depth=2, width=16, activation="sin").layers(3, 1)
    plain, folded = net(layers, "siren", bias="torch"), net(layers, "siren", bias="torch", fold=True)
    x = torch.rand(10, 3, dtype=torch.float64)
    torch.testing.assert_close(
        forward(plain, x, lambda z: torch.sin(30 * z)), forward(folded, x, torch.sin), rtol=1e-9, atol=1e-9
    )


def test_random_walk_has_no_drift_of_log_norms():
    depth, width, nets = 30, 20, 100
    logs = []
    for seed in range(nets):
        x = torch.randn(width, dtype=torch.float64, generator=generator(seed))
        start = x.norm()
        for layer in range(depth):
            weight = torch.empty(width, width, dtype=torch.float64)
            spec = LayerSpec(layer, depth, width, width, "linear")
            initialize(
                weight, None, function_or_target="random_walk", layer=spec, generator=generator(1000 * seed + layer)
            )
            x = weight @ x
        logs.append(float((x.norm() / start).log()) / depth)
    assert abs(np.mean(logs)) < 0.012  # .025 a layer for variance 1/n


# ------------------------------------------------------------ composed ones


def test_per_layer_chooses():
    layers = ModelConfig(depth=4, width=8).layers(8, 8)
    by_map = {"first": "a", -1: "b", "1-2": "c", "layer_03": "d"}
    assert [choose(by_map, "z", layer) for layer in layers] == ["a", "c", "c", "d", "b"]
    assert [choose({"hidden": "h", "0": "i"}, "z", layer) for layer in layers] == ["i", "h", "h", "h", "z"]
    with pytest.raises(InputError, match="no layer has this name; must be one of: first, hidden, last"):
        choose({"frist": "a"}, "z", layers[0])


def test_per_layer_brings_weights_and_bias_rules():
    """The notes: first layer xavier_uniform, third constant 42."""
    layers = ModelConfig(depth=3, width=8).layers(8, 8)
    args = {
        "map": {"first": "xavier_uniform", 2: {"name": "constant", "value": 42.0, "bias": 0.5}, 1: "torch_default"},
        "default": "zeros",
    }
    filled = net(layers, "per_layer", bias=None, **args)
    expected = torch.nn.init.xavier_uniform_(torch.empty(8, 8, dtype=torch.float64), generator=generator(0))
    torch.testing.assert_close(filled[0][0], expected)
    assert (filled[2][0] == 42).all()
    assert [float(bias.abs().max()) > 0 for _, bias in filled] == [False, True, True, False]
    assert (filled[2][1] == 0.5).all()
    assert (filled[3][0] == 0).all()
    again = net(layers, "per_layer", bias=0.25, **args)
    assert (again[1][1] == 0.25).all()
    assert (again[2][1] == 0.5).all()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nope", "unknown"),
        ({"name": "constant", "vale": 1}, "no such argument"),
        ("per_layer", "cannot be"),
        (3, "names no initializer"),
    ],
)
def test_a_wrong_base_is_refused(spec, words):
    layer = LayerSpec(1, 3, 4, 4)
    with pytest.raises(InputError, match=words):
        initialize(
            torch.empty(4, 4),
            None,
            function_or_target="per_layer",
            args={"map": {}, "default": spec},
            layer=layer,
            generator=generator(),
        )


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".json"])
def test_literal_reads_what_was_written(tmp_path, suffix):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).double()
    path = tmp_path / f"net{suffix}"
    state = module.state_dict()
    if suffix == ".pt":
        torch.save(state, path)
    elif suffix == ".npz":
        np.savez(path, **{k: v.numpy() for k, v in state.items()})
    else:
        path.write_text(json.dumps({k: v.tolist() for k, v in state.items()}))
    layers = ModelConfig(depth=1, width=4).layers(3, 2)
    filled = net(layers, "literal", file=str(path))
    x = torch.randn(6, 3, dtype=torch.float64)
    torch.testing.assert_close(forward(filled, x), module(x))
    named = net(layers[:1], "literal", file=str(path), key="{index}.weight")
    torch.testing.assert_close(named[0][0], module[0].weight.detach())
    for args, words in (({"key": "zz"}, "must be one of: 0.weight"), ({"file": "no.pt"}, "no such file")):
        with pytest.raises(InputError, match=words):
            net(layers, "literal", **{"file": str(path), **args})
    with pytest.raises(InputError, match="needs"):
        net(ModelConfig(depth=1, width=5).layers(3, 2), "literal", file=str(path))


def test_a_broken_file_is_refused_in_one_line(tmp_path):
    for name in ("x.pt", "x.npz", "x.json", "x.csv", "x.txt"):
        path = tmp_path / name
        path.write_bytes(b"\x00rubbish")
        with pytest.raises(InputError) as error:
            net([LayerSpec(0, 0, 2, 2)], "literal", file=str(path))
        assert "\n" not in str(error.value)


def test_entries_outside_the_matrix_are_refused():
    with pytest.raises(InputError, match="lies outside layer 0"):
        net([LayerSpec(0, 0, 2, 2)], "edited", entries=[[2, 0, 1.0]])


def test_eoi_needs_as_many_rotations_as_its_authors_say():
    """100 x 100: density .14 after about 156 rotations, .5 after 249, .99 after 510. By simulation of the masks alone the
    means are 144, 253 and 547, with a standard deviation of 5, 5 and 40."""
    for density, turns, spread in ((0.14, 144, 8), (0.5, 253, 8), (0.99, 547, 60)):
        found = [rotated(100, 100, density, torch.Generator().manual_seed(seed))[1] for seed in range(4)]
        assert sum(found) / 4 == pytest.approx(turns, abs=spread)


def test_eoi_is_exact_and_near_the_density_at_any_shape():
    for m, n in ((7, 31), (31, 7), (1, 12), (12, 1), (16, 16)):
        for density in (0.05, 0.3, 1.0):
            w = eoi_(
                torch.empty(m, n, dtype=torch.float64), density=density, generator=torch.Generator().manual_seed(1)
            )
            gram = w @ w.T if m <= n else w.T @ w
            assert torch.allclose(gram, torch.eye(min(m, n), dtype=torch.float64), atol=1e-12)
            share = float((w != 0).double().mean())
            assert abs(share - max(density, 1 / max(m, n))) <= 0.5 / max(m, n) + 1e-12


def test_vi3nr_keeps_preactivations_at_sigma_p_and_says_where_gradients_cannot_be_kept():
    """30 wide tanh layers from inputs of mean square 1, and the sizes that both directions keep."""
    sizes, h = [], torch.randn(400, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for index in range(30):
        w = torch.empty(300, 300, dtype=torch.float64)
        layer = LayerSpec(index, 40, 300, 300, "tanh")
        z = h @ vi3nr_(w, layer=layer, sigma_p=1.5, generator=torch.Generator().manual_seed(100 + index)).T
        sizes.append(float(z.std()))
        h = torch.tanh(z)
    assert sizes == pytest.approx([1.5] * 30, rel=0.1)
    for name in ("tanh", "sin", "gelu", "silu", "elu", "selu", "softplus", "erf"):
        with pytest.raises(NotApplicable, match=f"no size of preactivations is kept by {name} both"):
            kept_size(name)
    assert [kept_size(name) for name in ("relu", "leaky_relu", "abs", "linear")] == [1.0] * 4
