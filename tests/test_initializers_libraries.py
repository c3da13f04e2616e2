"""The same law in other libraries: torch's sparse_, scikit-learn's MLP, and where they are installed JAX, flax, Keras."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from scipy import stats

from initbench.config.groups import LayerSpec
from initbench.initializers import REGISTRY, call_, resolve
from initbench.initializers.option_files import load_option
from initbench.initializers.verify import _law_test as not_of_the_law

N, M = 300, 200  # fan_in, fan_out
LAYER = LayerSpec(1, 4, N, M, "relu")


def ours(option, layer=LAYER, seed=0):
    """A matrix (fan_out, fan_in) and bias (fan_out,) of an option, flat."""
    content = load_option(option)
    args = {key: value for key, value in content.items() if key not in ("name", "_target_", "bias")}
    weight, bias = torch.empty(layer.shape, dtype=torch.float64), torch.zeros(layer.fan_out, dtype=torch.float64)
    call_(
        resolve(content["_target_"]),
        weight,
        bias,
        args=args,
        layer=layer,
        generator=torch.Generator().manual_seed(seed),
    )
    return weight.flatten().numpy(), bias.numpy()


def same_law(one, other):
    """Two samples of one law: Kolmogorov-Smirnov, and standard deviations within five of their errors."""
    one, other = np.ravel(one).astype(np.float64), np.ravel(other).astype(np.float64)
    assert stats.ks_2samp(one, other).pvalue > 1e-6
    fourth = np.mean((one - one.mean()) ** 4) / one.var() ** 2
    error = np.sqrt((fourth - 1) / 4 * (1 / len(one) + 1 / len(other)))
    assert abs(np.log(one.std() / other.std())) < 5 * error + 1e-9


def test_the_comparison_sees_five_per_cent():
    one = np.random.default_rng(0).normal(size=N * M)
    with pytest.raises(AssertionError):
        same_law(one, 1.05 * np.random.default_rng(1).normal(size=N * M))
    same_law(one, np.random.default_rng(1).normal(size=N * M))


@pytest.mark.parametrize("sparsity", [0.1, 0.5])
def test_sparse_is_torchs(sparsity):
    torch.manual_seed(0)
    theirs = torch.nn.init.sparse_(torch.empty(M, N), sparsity, std=0.3)
    weight = REGISTRY["sparse"].function(
        torch.empty(M, N), generator=torch.Generator().manual_seed(1), sparsity=sparsity, std=0.3
    )
    assert torch.equal((theirs == 0).sum(0), (weight == 0).sum(0))
    same_law(theirs[theirs != 0], weight[weight != 0])


@pytest.mark.parametrize(("activation", "name"), [("relu", "relu"), ("logistic", "sigmoid")])
def test_sklearn_mlp_is_scikit_learns(activation, name):
    from sklearn.neural_network import MLPClassifier

    data = np.random.default_rng(0).normal(size=(4, N))
    net = MLPClassifier((M,), activation=activation, learning_rate_init=1e-12, random_state=0, max_iter=1)
    net.partial_fit(data, [0, 1, 2, 0], classes=[0, 1, 2])
    weight, bias = ours("sklearn_mlp", LayerSpec(0, 1, N, M, name))
    same_law(net.coefs_[0], weight)
    assert max(abs(bias)) <= np.abs(weight).max() * 1.01
    same_law(
        net.intercepts_[0], np.concatenate([ours("sklearn_mlp", LayerSpec(0, 1, N, M, name), k)[1] for k in range(9)])
    )


JAX = {  # option -> the initializer of jax.nn.initializers
    "trunc_normal_2sigma": lambda i: i.truncated_normal(load_option("trunc_normal_2sigma")["std"]),
    "keras_he_normal": lambda i: i.he_normal(),
    "keras_glorot_normal": lambda i: i.glorot_normal(),
    "keras_lecun_normal": lambda i: i.lecun_normal(),
    "xavier_uniform": lambda i: i.glorot_uniform(),
    "kaiming_uniform": lambda i: i.he_uniform(),
    "lecun_uniform": lambda i: i.lecun_uniform(),
    "kaiming_normal": lambda i: i.variance_scaling(2.0, "fan_in", "normal"),
    "xavier_normal": lambda i: i.variance_scaling(1.0, "fan_avg", "normal"),
}


@pytest.mark.parametrize("option", JAX)
def test_jax_draws_the_same_law(option):
    jax = pytest.importorskip("jax", reason="JAX is not installed (pip install jax)")
    theirs = JAX[option](jax.nn.initializers)(jax.random.key(0), (N, M))  # JAX: (fan_in, fan_out)
    same_law(theirs, ours(option)[0])


def test_jax_knows_the_geometric_mean_of_the_fans():
    jax = pytest.importorskip("jax", reason="JAX is not installed (pip install jax)")
    theirs = jax.nn.initializers.variance_scaling(1.5, "fan_geo_avg", "truncated_normal")(jax.random.key(0), (N, M))
    weight = torch.empty(M, N, dtype=torch.float64)
    asked = {"scale": 1.5, "mode": "fan_geo_avg", "distribution": "truncated_normal"}
    resolve("variance_scaling")(weight, generator=torch.Generator().manual_seed(0), **asked)
    same_law(theirs, weight)


def test_flax_dense_starts_the_same():
    jax = pytest.importorskip("jax", reason="JAX is not installed (pip install jax flax)")
    linen = pytest.importorskip("flax.linen", reason="flax is not installed (pip install flax)")
    parameters = linen.Dense(M).init(jax.random.key(0), jax.numpy.ones((1, N)))["params"]
    weight, bias = ours("flax_dense")
    same_law(parameters["kernel"], weight)
    assert not np.any(parameters["bias"])
    assert not bias.any()
    assert load_option("flax_dense")["bias"] == "zeros"


KERAS = {
    "keras_glorot_normal": "GlorotNormal",
    "keras_he_normal": "HeNormal",
    "keras_lecun_normal": "LecunNormal",
    "xavier_uniform": "GlorotUniform",
    "kaiming_uniform": "HeUniform",
    "lecun_uniform": "LecunUniform",
}


@pytest.fixture
def keras(monkeypatch):
    if "KERAS_BACKEND" not in os.environ:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="Keras is not installed (pip install keras)")


@pytest.mark.parametrize("option", KERAS)
def test_keras_draws_the_same_law(option, keras):
    theirs = getattr(keras.initializers, KERAS[option])(seed=1)((N, M))  # Keras: (fan_in, fan_out)
    same_law(keras.ops.convert_to_numpy(theirs), ours(option)[0])


def test_keras_truncated_normal_does_not_rescale_and_its_variance_scaling_does(keras):
    plain = keras.ops.convert_to_numpy(keras.initializers.TruncatedNormal(stddev=0.5, seed=1)((N, M)))
    assert plain.std() == pytest.approx(0.5 * 0.87962566, rel=0.01)
    two_sigma = REGISTRY["trunc_normal_2sigma"].contract.law
    case = type("Case", (dict,), {"n": N, "m": M})(mean=0.0, std=0.5)
    assert not_of_the_law("", plain.ravel().astype(np.float64), two_sigma(case)) == []
    scaled = keras.ops.convert_to_numpy(
        keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal", seed=1)((N, M))
    )
    assert scaled.std() == pytest.approx(1 / np.sqrt(N), rel=0.01)


def test_keras_dense_starts_the_same(keras):
    layer = keras.layers.Dense(M)
    layer.build((None, N))
    kernel, bias = (keras.ops.convert_to_numpy(part) for part in layer.weights)
    same_law(kernel, ours("keras_dense")[0])
    assert not bias.any()
