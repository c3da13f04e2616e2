"""Data sets: what each option promises, the splits, and one-line refusals."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler

from initbench.config.arm import Run
from initbench.config.groups import ModelConfig
from initbench.data import LOADERS, Dataset, fetched, inputs_of, load, split, standardizer, targets_of
from initbench.data.prepared import PREPARED
from initbench.engine import stacked
from initbench.engine.material import Material, Seeds
from initbench.errors import InputError
from initbench.overrides.expand import expand

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / "conf/data").glob("*.yaml"))}


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to look a host up fails at once, as it does without a network."""

    def refuse(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def one_line(error: pytest.ExceptionInfo[InputError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, f"{word!r} not in {text!r}"


# ------------------------------------------------------------------------------------------------ options and splits


def test_every_loader_has_its_option_with_its_own_defaults():
    assert set(OPTIONS) == set(LOADERS)
    import inspect

    for name, option in OPTIONS.items():
        defaults = {key: p.default for key, p in inspect.signature(LOADERS[name]).parameters.items()}
        listed = {key: tuple(value) if isinstance(value, list) else value for key, value in option.items()}
        assert listed == {"name": name, **defaults, **dict.fromkeys(PREPARED, "own")}


def test_digits_are_those_of_scikit_learn():
    x, y = load_digits(return_X_y=True)
    data = load({"name": "digits"})
    assert np.array_equal(data.x, x)
    assert np.array_equal(data.y, y)
    assert (data.inputs, data.outputs, data.classes, data.train_samples) == (64, 10, 10, 1437)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 60), seed=st.integers(0, 9), fixed=st.booleans())
def test_a_split_holds_every_sample_once_and_brings_the_training_part_to_mean_zero_and_mean_square_one(n, seed, fixed):
    draw = np.random.default_rng(n)
    data = Dataset(draw.normal(3, 5, (n, 4)), draw.normal(size=(n, 2)), train=np.arange(n // 2 + 1) if fixed else None)
    s = split(data, seed)
    if len(data.x) > data.train_samples:
        assert sorted([*s.train, *s.val]) == list(range(n))
    assert len(s.train) == data.train_samples == (n // 2 + 1 if fixed else max(1, int(0.8 * n)))
    assert not fixed or set(s.train) == set(range(n // 2 + 1))
    for z in (inputs_of(data, s, s.train), targets_of(data, s, s.train)):
        assert np.allclose(z.mean(0), 0, atol=1e-12)
        if len(s.train) > 1:
            assert np.mean(z**2) == pytest.approx(1)
    again, other = split(data, seed), split(data, seed + 1)
    assert np.array_equal(again.train, s.train)
    assert n < 12 or not np.array_equal(other.train, s.train)


def test_the_mean_square_of_bytes_is_taken_in_blocks_and_equals_that_of_floats(monkeypatch):
    monkeypatch.setattr("initbench.data.frame.BLOCK", 50)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 11)).astype(np.uint8)
    mean, scale = standardizer(pixels)
    assert np.allclose(mean, pixels.astype(float).mean(0))
    assert scale == pytest.approx(float((pixels - mean).std()))


def test_data_that_are_not_standardized_reach_the_net_as_they_are(arm):
    config = {"name": "points", "samples": 30, "inputs": 3, "length": 7.0}
    for target in ("own", "input"):
        data = load({**config, "target": target})
        seeds = Seeds(Material(arm(data=config), data), (0, 1))
        index = seeds.first("train", 5)
        x, y = seeds.samples(index)
        assert np.array_equal(x.numpy(), data.x[index.numpy()])
        assert np.array_equal(y.numpy(), (data.x if target == "input" else np.abs(data.x))[index.numpy()])


def test_the_input_as_target_is_the_standardized_input(arm):
    data = load({"name": "digits", "target": "input"})
    assert data.classes is None
    assert data.outputs == 64
    x, y = (part := Seeds(Material(arm(), data), (3,))).samples(part.first("train", 50))
    assert np.allclose(x.numpy(), y.numpy(), atol=1e-12)
    with pytest.raises(InputError) as error:
        load({"name": "digits", "target": "inputs"})
    one_line(error, "data.target=inputs", "did you mean input", "own")


def test_what_data_are_prepared_to_is_what_numpy_and_scikit_learn_make_of_them():
    own = load({"name": "digits"})
    ranged = load({"name": "digits", "scaling": "range", "validation": "none"})
    assert np.allclose(ranged.x, MinMaxScaler().fit_transform(own.x), atol=1e-15)
    s = split(ranged, 3)
    assert sorted(s.train) == list(range(1797))
    assert np.array_equal(inputs_of(ranged, s, s.train), ranged.x[s.train])
    other = load({"name": "digits", "order": "shuffled"})
    order = [int(np.flatnonzero((own.x == column[:, None]).all(0))[0]) for column in other.x.T if column.any()]
    assert order != sorted(order)
    assert len(set(order)) == len(order) == int(own.x.any(0).sum())
    assert np.array_equal(load({"name": "digits", "order": "shuffled", "target": "input"}).y, other.x)


def test_a_key_at_its_usual_value_changes_no_name_of_an_arm():
    keys = ["data.order=own", "data.scaling=own", "data.validation=own"]
    plain = expand(["init=eye", "sharing=none"])[0].plain()
    assert plain == expand(["init=eye", "sharing=none", *keys])[0].plain()
    assert plain["data"] == {"name": "digits", "target": "own"}
    assert expand(["init=eye", "sharing=none", "data.order=shuffled"])[0].plain()["data"]["order"] == "shuffled"


@pytest.mark.parametrize(
    ("optim", "alpha", "updates"), [("sgd", 1e-4, 27), ("momentum", 1e-4, 27), ("nesterov", 1e-4, 27), ("sgd", 10.0, 1)]
)
def test_training_is_that_of_scikit_learn_from_the_same_start_on_the_same_batches(optim, alpha, updates):
    rate = 0.2  # theirs decays no biases, so only one update is comparable where decay is large
    one = expand([
        "data.scaling=range", "data.validation=none", "init=sklearn_mlp", "sharing=none", "model.depth=1",
        "model.width=100", "model.activation=relu", "model.dtype=float64", f"optim={optim}", f"optim.lr={rate}",
        "optim.batch_size=199", f"optim.weight_decay={alpha / 199}", "train.steps=27", "seeds=1",
    ])[0]  # fmt: skip
    data = load(one.data)
    seeds = Seeds(Material(one, data), (0,))
    start = {name: tensor[0].numpy() for name, tensor in seeds.start().items()}
    batches = seeds.batches()
    theirs = MLPClassifier(
        solver="sgd", momentum=0.0 if optim == "sgd" else 0.9, nesterovs_momentum=optim == "nesterov",
        alpha=alpha, learning_rate_init=rate, shuffle=False,
    )  # fmt: skip
    for update in range(updates):
        x, y = (part[0].numpy() for part in seeds.samples(next(batches)))
        if not update:  # shapes and optimizer, then our start
            theirs.partial_fit(x, y, classes=np.arange(10))
            del theirs._optimizer
            theirs.coefs_ = [start["weight_00"].T.copy(), start["weight_01"].T.copy()]
            theirs.intercepts_ = [start["bias_00"].copy(), start["bias_01"].copy()]
        theirs.partial_fit(x, y)
    ours = stacked.stored_after(one, Run(0, rate), data, updates)
    for i in range(2):
        assert np.abs(ours[f"weight_0{i}"] - start[f"weight_0{i}"]).max() > (0.002 if updates == 1 else 0.05)
        assert np.allclose(ours[f"weight_0{i}"], theirs.coefs_[i].T, atol=1e-12 if updates == 1 else 2e-5)
        assert updates == 1 or np.allclose(ours[f"bias_0{i}"], theirs.intercepts_[i], atol=2e-5)


def test_the_hash_tells_arrays_and_training_parts_apart():
    a = Dataset(np.zeros((4, 2)), np.zeros((4, 1)))
    hashes = {d.hash for d in (a, replace(a, x=np.ones((4, 2))), replace(a, train=np.arange(3)))}
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": "digit"}, ["data=digit", "did you mean digits", "openml"]),
        ({"name": "digits", "order": "shuffle"}, ["data.order=shuffle", "did you mean shuffled", "own"]),
        ({"name": "points", "scaling": "range"}, ["data.scaling=range", "used as they are", "leave it out"]),
        ({"name": "teacher", "scaling": "range"}, ["data.scaling=range", "data with classes", "leave it out"]),
        ({"name": "digits", "sample": 5}, ["data.sample", "data=digits has no such key", "target"]),
        ({"name": "teacher", "samples": 2}, ["data.samples=2", "5 or more"]),
        ({"name": "teacher", "classes": 1}, ["data.classes=1", "2 or more", "null"]),
        ({"name": "teacher", "noise": -1}, ["data.noise=-1"]),
        ({"name": "linear", "modes": [1.0] * 9}, ["9 modes", "1 to 8"]),
        ({"name": "linear", "modes": [-1.0]}, ["data.modes=-1.0", "at least 0"]),
        ({"name": "linear", "samples": 40}, ["data.samples=40", "at least 85"]),
        ({"name": "points", "correlation": 0.5}, ["data.inputs=1", "at least", "256"]),
        ({"name": "points", "correlation": -0.5, "samples": 5}, ["data.correlation=-0.5", "-0.25"]),
        ({"name": "points", "length": 0}, ["data.length=0", "above 0"]),
        ({"name": "points", "function": "abz"}, ["data.function=abz", "did you mean abs"]),
        ({"name": "mnist1d", "samples": 55}, ["data.samples=55", "multiple of 10"]),
        ({"name": "openml", "version": 0}, ["data.version=0", "1 or more"]),
    ],
)
def test_a_wrong_key_or_value_is_one_line(config, words):
    with pytest.raises(InputError) as error:
        load(config)
    one_line(error, *words)


# ------------------------------------------------------------------------------------------------ made


def test_the_teacher_repeats_and_its_targets_are_a_function_of_its_inputs():
    plain = load({"name": "teacher", "samples": 40})
    noisy = load({"name": "teacher", "samples": 40, "noise": 0.5})
    assert np.array_equal(plain.x, noisy.x)
    assert 0.2 < np.std(noisy.y - plain.y) < 0.8
    assert not np.array_equal(plain.x, load({"name": "teacher", "samples": 40, "seed": 1}).x)
    assert set(load({"name": "teacher", "classes": 3, "samples": 300}).y) == {0, 1, 2}


@pytest.mark.parametrize(("n", "k", "modes"), [(16, 8, [4.0, 2.0, 1.0, 0.5]), (3, 5, [2.0, 2.0, 0.0]), (6, 1, 3.0)])
def test_linear_data_have_whitened_inputs_and_the_stated_singular_modes(n, k, modes):
    data = load({"name": "linear", "inputs": n, "outputs": k, "modes": modes, "samples": 200})
    for part in (split(data, 0).train, split(data, 5).val):
        x, y = data.x[part], data.y[part]
        assert np.allclose(x.sum(0), 0, atol=1e-9)
        assert np.allclose(x.T @ x / len(x), np.eye(n), atol=1e-12)
        found = np.linalg.svd(y.T @ x / len(x), compute_uv=False)
        stated = np.zeros(min(n, k))
        stated[: len(np.atleast_1d(modes))] = modes
        assert np.allclose(found, stated, atol=1e-12)
    assert split(data, 0).scale == 1.0
    noisy = load({"name": "linear", "inputs": n, "outputs": k, "modes": modes, "samples": 200, "noise": 0.1})
    assert 0.07 < np.std(noisy.y - data.y) < 0.13


@settings(max_examples=25, deadline=None)
@given(
    samples=st.integers(5, 20),
    extra=st.integers(0, 9),
    length=st.floats(0.1, 9),
    c=st.floats(-0.05, 1),
    seed=st.integers(0, 99),
)
def test_every_pair_of_points_has_the_stated_length_and_correlation(samples, extra, length, c, seed):
    n = samples + extra
    x = LOADERS["points"](samples=samples, inputs=n, length=length, correlation=c, seed=seed).x
    gram = x @ x.T / n / length
    assert np.allclose(np.diag(gram), 1, atol=1e-9)
    assert np.allclose(gram[~np.eye(samples, dtype=bool)], c, atol=1e-9)


def test_points_without_correlation_keep_their_length_and_the_targets_are_the_function():
    x = load({"name": "points", "samples": 400, "inputs": 9, "length": 2.5}).x
    assert np.allclose((x**2).mean(1), 2.5)
    assert abs(np.corrcoef(x[:, 0], x[:, 1])[0, 1]) < 0.2
    line = load({"name": "points", "samples": 4000, "length": 2.0, "function": "sin"})
    assert np.abs(line.x).max() <= np.sqrt(6)
    assert np.mean(line.x**2) == pytest.approx(2.0, rel=0.05)
    assert np.array_equal(line.y, np.sin(line.x))
    assert np.array_equal(load({"name": "points"}).y, np.abs(load({"name": "points"}).x))


# ------------------------------------------------------------------------------------------------ npz


def written(folder: Path, **arrays: np.ndarray) -> dict[str, str]:
    np.savez(folder / "my.npz", **arrays)
    return {"name": "npz", "path": str(folder / "my.npz")}


def test_own_arrays_are_classes_or_values(tmp_path):
    x = np.arange(20.0).reshape(10, 2)
    assert load(written(tmp_path, x=x, y=np.arange(10) % 3)).classes == 3
    assert load({**written(tmp_path, x=x, y=np.arange(10) % 3), "task": "regression"}).outputs == 1
    assert load(written(tmp_path, x=x, y=np.ones((10, 4)))).outputs == 4
    assert load(written(tmp_path, x=x, y=np.linspace(0, 1, 10))).y.shape == (10, 1)


def test_own_arrays_may_fix_the_training_part_and_keep_their_numbers(tmp_path):
    x, y = np.array([[1.0, 5.0], [2.0, -3.0]]), np.array([0.5, 0.7])
    data = load({**written(tmp_path, x=x, y=y, train=np.array([True, True])), "standardize": False})
    for seed in (0, 1):
        s = split(data, seed)
        assert set(s.train) == set(s.val) == {0, 1}
        assert (s.mean == 0).all()
        assert s.scale == s.target_scale == 1.0
    numbered = load(written(tmp_path, x=np.ones((6, 2)), y=np.ones(6), train=np.array([5, 1])))
    assert set(split(numbered, 0).train) == {1, 5}
    assert set(split(numbered, 0).val) == {0, 2, 3, 4}


def test_a_file_that_was_replaced_is_read_again(tmp_path):
    assert load(written(tmp_path, x=np.ones((10, 2)), y=np.ones(10))).inputs == 2
    assert load(written(tmp_path, x=np.ones((10, 30)), y=np.ones(10))).inputs == 30


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.ones((9, 2))}, ["has x", "needs x (N, n) and y"]),
        ({"x": np.ones((9, 2)), "y": np.ones(8)}, ["(9, 2)", "(8,)"]),
        ({"x": np.ones(9), "y": np.ones(9)}, ["(9,)"]),
        ({"x": np.ones((4, 2)), "y": np.ones(4)}, ["(4, 2)", "at least 5"]),
        ({"x": np.full((9, 2), np.nan), "y": np.ones(9)}, ["18 values", "NaN"]),
        ({"x": np.array([["a"]] * 9), "y": np.ones(9)}, ["dtype <U1"]),
        ({"x": np.ones((9, 2)), "y": np.arange(9) - 1}, ["0, 1, ..."]),
        ({"x": np.ones((9, 2)), "y": np.full(9, 70)}, ["goes to 70"]),
        ({"x": np.ones((9, 2)), "y": np.ones(9), "train": np.array([0, 9])}, ["train", "from 0 to 9"]),
        ({"x": np.ones((9, 2)), "y": np.ones(9), "train": np.array([0, 0])}, ["train", "different"]),
        ({"x": np.ones((9, 2)), "y": np.ones(9), "train": np.zeros(9, dtype=bool)}, ["train", "at least one"]),
    ],
)
def test_wrong_arrays_are_named_in_one_line(tmp_path, arrays, words):
    with pytest.raises(InputError) as error:
        load(written(tmp_path, **arrays))
    one_line(error, "my.npz", *words)


def test_wrong_files_are_named_in_one_line(tmp_path):
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 no archive")
    for path, words in ((tmp_path / "no.npz", "no such file"), (tmp_path / "torn.npz", "not a readable .npz")):
        with pytest.raises(InputError) as error:
            load({"name": "npz", "path": str(path)})
        one_line(error, str(path), words)
    with pytest.raises(InputError) as error:
        load({"name": "npz"})
    one_line(error, "data.path=FILE.npz")
    with pytest.raises(InputError) as error:
        load({"name": "npz", "path": "x.npz", "standardize": "maybe"})
    one_line(error, "data.standardize=maybe", "true or false")


# ------------------------------------------------------------------------------------------------ fetched


def test_mnist1d_is_what_its_package_makes_and_touches_no_global_generator(tmp_path):
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args()
    args.num_samples = 100
    made = make_dataset(args)
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    data = load({"name": "mnist1d", "samples": 100, "cache": str(tmp_path)})
    assert (random.random(), np.random.rand()) == expected
    assert np.array_equal(data.x, np.concatenate([made["x"], made["x_test"]]))
    assert np.array_equal(data.y, np.concatenate([made["y"], made["y_test"]]))
    assert np.bincount(data.y).tolist() == [10] * 10


def test_what_took_long_is_kept_and_a_torn_file_is_made_anew(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"x": np.arange(3)}

    file = tmp_path / "folder" / "a.npz"
    for _ in range(2):
        assert fetched.kept(file, make)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 1
    file.write_bytes(file.read_bytes()[:-20])
    assert fetched.kept(file, make)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 2
    assert [path.name for path in file.parent.iterdir()] == ["a.npz"]
    (tmp_path / "a file").write_text("")
    assert fetched.kept(tmp_path / "a file" / "a.npz", make)["x"].tolist() == [0, 1, 2]  # nowhere to keep it


def openml_copy(home: Path, name: str, x: np.ndarray, y: list[str], target_type: str = "nominal") -> None:
    """A data set as scikit-learn keeps it after a download, in the folder that it uses."""
    names = [f"pixel{i}" for i in range(x.shape[1])]
    kind = "{" + ",".join(sorted(set(y))) + "}" if target_type == "nominal" else "NUMERIC"
    lines = [f"@RELATION {name}", *(f"@ATTRIBUTE {n} NUMERIC" for n in names), f"@ATTRIBUTE class {kind}", "@DATA"]
    rows = [",".join([*(f"{v:g}" for v in row), label]) for row, label in zip(x, y)]
    arff = ("\n".join([*lines, *rows]) + "\n").encode()
    columns = [*((n, "numeric") for n in names), ("class", target_type)]
    features = [
        {
            "index": str(i),
            "name": n,
            "data_type": kind,
            "is_target": str(n == "class").lower(),
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "0",
        }
        for i, (n, kind) in enumerate(columns)
    ]
    description = {
        "id": "7",
        "name": name,
        "version": "1",
        "format": "ARFF",
        "file_id": "9",
        "status": "active",
        "description": "a small copy",
        "url": f"https://api.openml.org/data/v1/download/9/{name}.arff",
        "default_target_attribute": "class",
        "md5_checksum": hashlib.md5(arff).hexdigest(),
    }
    quality = [{"name": "NumberOfInstances", "value": f"{len(x)}.0"}]
    found = {"did": 7, "name": name, "version": 1, "status": "active", "format": "ARFF"}
    api = "api/v1/json/data"
    files = {
        f"{api}/list/data_name/{name.lower()}/limit/2/data_version/1": {"data": {"dataset": [found]}},
        f"{api}/7": {"data_set_description": description},
        f"{api}/features/7": {"data_features": {"feature": features}},
        f"{api}/qualities/7": {"data_qualities": {"quality": quality}},
    }
    contents = {path: json.dumps(content).encode() for path, content in files.items()}
    contents[f"data/v1/download/9/{name}.arff"] = arff
    for path, content in contents.items():
        host = "api.openml.org" if path.startswith("data/") else "www.openml.org"
        for folder in (host, "openml.org"):
            file = home / "openml" / folder / f"{path}.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(gzip.compress(content))


@pytest.mark.parametrize(("dataset", "name"), [("mnist", "mnist_784"), ("fashion_mnist", "Fashion-MNIST")])
def test_openml_reads_scikit_learns_cache_without_a_network_and_keeps_bytes(tmp_path, no_network, dataset, name):
    draw = np.random.default_rng(1)
    x, y = draw.integers(0, 256, (30, 6)), [str(label) for label in draw.integers(0, 4, 30)]
    openml_copy(tmp_path, name, x, y)
    config = {"name": "openml", "dataset": dataset, "cache": str(tmp_path)}
    data = load(config)
    assert data.x.dtype == np.uint8
    assert np.array_equal(data.x, x)
    assert data.y.tolist() == [int(label) for label in y]
    part = load({**config, "samples": 12})
    assert len(part.x) == 12
    assert {tuple(row) for row in part.x} <= {tuple(row) for row in x}
    for file in (tmp_path / "openml").rglob("*.gz"):
        file.unlink()  # the kept arrays alone are enough
    assert np.array_equal(load({**config, "samples": 30}).x, x)
    with pytest.raises(InputError) as error:
        load({**config, "samples": 31})
    one_line(error, "data.samples=31", "has 30")


def test_openml_values_are_regression_and_features_keep_their_fractions(tmp_path, no_network):
    x, y = np.linspace(0, 1, 24).reshape(12, 2), [f"{v:.3f}" for v in np.linspace(-1, 1, 12)]
    openml_copy(tmp_path, "slope", x, y, target_type="numeric")
    data = load({"name": "openml", "dataset": "slope", "cache": str(tmp_path)})
    assert data.classes is None
    assert np.allclose(data.x, x, atol=1e-5)
    assert np.allclose(data.y[:, 0], np.array(y, dtype=float))


def test_openml_that_is_neither_cached_nor_reachable_is_one_line(tmp_path, no_network):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(77)
    with pytest.raises(InputError) as error:
        load({"name": "openml", "dataset": "fashion_mnist", "cache": str(tmp_path)})
    one_line(error, "data.dataset=fashion_mnist", str(tmp_path), "cannot be fetched", "name resolution", "data.cache")
    assert socket.getdefaulttimeout() == 77
    socket.setdefaulttimeout(before)


def test_bytes_train_like_floats(arm, tmp_path, no_network):
    """One arm on pixels kept as bytes and on the same numbers as floats: the same start of the data in the net."""
    x = np.random.default_rng(0).integers(0, 256, (30, 6))
    openml_copy(tmp_path, "mnist_784", x, [str(i % 3) for i in range(30)])
    small = load({"name": "openml", "dataset": "mnist", "cache": str(tmp_path)})
    wide = replace(small, x=small.x.astype(np.float64))
    model = ModelConfig(depth=2, width=3)
    inputs = []
    for data in (small, wide):
        seeds = Seeds(Material(replace(arm(), model=model), data), (0,))
        inputs.append(seeds.samples(seeds.first("train", 24))[0].numpy())
    assert np.allclose(inputs[0], inputs[1], atol=1e-6)
