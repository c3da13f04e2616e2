"""Data as people bring them: offsets, units, labels of all kinds, traps that are said, files that are refused."""

from __future__ import annotations

import io
import json
import os
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from conftest import assert_template, same_bits
from initbench import memory
from initbench.__main__ import main
from initbench.config.arm import NUMERICS_VERSION
from initbench.config.groups import InitConfig, Target
from initbench.data import Dataset, inputs_of, load, split, targets_of
from initbench.data import frame as frames
from initbench.data.doubts import doubts
from initbench.data.labels import taken
from initbench.engine import netstart, one_by_one, stacked
from initbench.engine.kernel import run as kernel
from initbench.engine.material import Material, Seeds, batch_size
from initbench.errors import InputError
from initbench.inspect import look
from initbench.own import sources
from initbench.study import worker
from initbench.study.build import build
from initbench.study.command import plan
from initbench.study.plan import planned, train_batch

DRAW = np.random.default_rng(0)
X = DRAW.integers(-64, 64, (60, 4)) / 8
QUICK = ["init=eye", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", "track.uri=null", "engine.workers=1",
         "model.depth=2", "model.width=4"]  # fmt: skip


def saved(folder: Path, **arrays: np.ndarray) -> dict[str, str]:
    np.savez(folder / "my.npz", **arrays)
    return {"name": "npz", "path": str(folder / "my.npz")}


def refused(config: dict[str, object]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as error:
            load(config)
    return assert_template(str(error.value))


# ------------------------------------------------------------------------------------------ offsets and units


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    offsets=st.lists(st.integers(-(2**45), 2**45), min_size=3, max_size=3),
    exponent=st.integers(-300, 200),
    dtype=st.sampled_from(["float32", "float64"]),
    values=st.booleans(),
)
def test_an_offset_of_each_feature_and_a_power_of_two_change_no_bit(seed, offsets, exponent, dtype, values):
    from conftest import small_arm

    draw = np.random.default_rng(seed)
    x, y = draw.integers(-64, 64, (20, 3)) / 8, draw.integers(0, 3, 20)
    moved = np.ldexp(x + np.array(offsets), exponent)
    if values:
        y, moved_y = x[:, :2].copy(), moved[:, :2].copy()
    else:
        moved_y = y
    arm = small_arm(model={"dtype": dtype})
    found = []
    for data in (Dataset(x, y), Dataset(moved, moved_y)):
        material = Material(arm, data)
        seeds = Seeds(material, (0, 1))
        batch = netstart.training_batch(data, material.loss, 0)
        found.append([t.numpy().tobytes() for t in (*seeds.probe(), *batch)])
    assert found[0] == found[1]


@pytest.mark.parametrize("train", [stacked.run_chunk, one_by_one.run_chunk, kernel.run_chunk])
@pytest.mark.parametrize("values", [False, True])
def test_training_on_time_stamps_is_training_on_what_differs(arm, train, values):
    small = arm(model={"dtype": "float32", "depth": 2}, train={"steps": 4})
    y = X[:, :1] if values else (X[:, 0] > 0).astype(np.int64)
    moved = Dataset(1e9 + X, 2**33 + y if values else y)
    found = [train(small, [(0, 0.1), (1, 0.1)], data).series for data in (Dataset(X, y), moved)]
    assert not same_bits(*found)


@pytest.mark.parametrize(
    "change", [lambda v: v, lambda v: v * 1e-290 + 3e-290, lambda v: -1e12 + v, lambda v: v * 1e90]
)
def test_standardized_numbers_are_those_of_the_definition_whatever_their_size_and_place(change):
    data = Dataset(change(X), change(X[:, :2]))
    part = split(data, 3)
    found = inputs_of(data, part, part.train), targets_of(data, part, part.train)
    for values, z in zip((X, X[:, :2]), found):
        centred = values[part.train] - values[part.train].mean(0)
        assert np.allclose(z, centred / np.sqrt(np.mean(centred**2)), rtol=0, atol=1e-12)


def test_blocks_change_no_bit_of_a_frame_and_its_cast(monkeypatch):
    whole = frames.cast(X, frames.frame_of(X), np.dtype(np.float32))
    pixels = (X * 8 + 64).astype(np.uint8)
    monkeypatch.setattr(frames, "BLOCK", 10)
    assert np.array_equal(frames.cast(X, frames.frame_of(X), np.dtype(np.float32)), whole)
    assert np.array_equal(frames.cast(pixels, frames.frame_of(pixels), np.dtype(np.float32)), whole)


def test_what_is_constant_in_the_training_part_only_is_not_blown_up():
    y = np.full((60, 1), 0.1)
    y[split(Dataset(X, y), 0).val[0]] = 5.0
    data = Dataset(X, y)
    part = split(data, 0)
    assert part.target_scale == 1.0
    assert (targets_of(data, part, part.train) == 0).all()


def test_the_numerics_have_a_new_version():
    assert NUMERICS_VERSION == 6


# ------------------------------------------------------------------------------------------ labels

THREE = np.arange(60) % 3


@pytest.mark.parametrize(
    ("y", "classes", "said"),
    [
        (THREE, 3, "taken as 3 classes"),
        (THREE.astype(np.uint8), 3, "taken as 3 classes"),
        (THREE.astype(float), 3, "floats 0 to 2: taken as 3 classes"),
        (THREE.astype(np.float16)[:, None], 3, "floats 0 to 2: taken as 3 classes"),
        (THREE[:, None], 3, "taken as 3 classes"),
        (THREE > 0, 2, "taken as 2 classes"),
        ((THREE > 0)[:, None], 2, "taken as 2 classes"),
        (np.eye(3)[THREE], 3, "one-hot: taken as 3 classes"),
        (np.eye(3, dtype=bool)[THREE], 3, "one-hot: taken as 3 classes"),
        (np.eye(3, dtype=int)[THREE], 3, "one-hot: taken as 3 classes"),
        (THREE + 0.5, None, "taken as values, 1 a sample"),
        (THREE + 1.0, None, "from 1 to 3 as floats"),
        (np.arange(60.0), None, "from 0 to 59 as floats"),
        (-THREE.astype(float), None, "from -2 to 0 as floats"),
        (THREE[:, None] * np.ones((1, 2)), None, "taken as values, 2 a sample"),
        (np.eye(3)[THREE] + np.eye(3)[0], None, "taken as values, 3 a sample"),
    ],
)
def test_auto_takes_whole_numbers_and_one_hot_rows_as_classes_and_says_so(tmp_path, y, classes, said):
    data = load(saved(tmp_path, x=X, y=y))
    assert data.classes == classes
    if classes is not None:
        assert np.array_equal(data.y, THREE > 0 if classes == 2 else THREE)
    words = [data.taken, *map(str, data.cautions)]
    assert sum(said in one for one in words) == 1
    assert sum("taken as" in one for one in words) == 1  # said once


@pytest.mark.parametrize("y", [THREE, THREE.astype(float), THREE[:, None], np.eye(3)[THREE]])
def test_a_task_that_is_asked_for_is_done_without_a_word(tmp_path, y):
    config = saved(tmp_path, x=X, y=y)
    asked = load({**config, "task": "classification"})
    assert (asked.classes, asked.taken, asked.cautions) == (3, "", ())
    values = load({**config, "task": "regression"})
    assert (values.classes, values.outputs, values.cautions) == (None, np.atleast_2d(y.T).shape[0], ())


@pytest.mark.parametrize(
    ("y", "task", "words"),
    [
        (THREE - 1, "auto", ["0, 1, ...", "np.unique", "data.task=regression"]),
        (THREE + 0.5, "classification", ["whole numbers", "np.unique"]),
        (np.ones((60, 2)), "classification", ["(60, 2)", "one-hot"]),
        (np.full(60, 2**40), "auto", ["goes to 1.09951e+12", "np.unique"]),
        (np.zeros(60, dtype=int), "auto", ["all y are 0"]),
    ],
)
def test_labels_that_are_none_are_refused_with_what_to_do(y, task, words):
    with pytest.raises(InputError) as error:
        taken(y, task, "data.path=my.npz")
    assert all(word in str(error.value) for word in ["data.path=my.npz", *words])


# ------------------------------------------------------------------------------------------ traps


def titles(data: Dataset, target: Target | None = None, loss: str = "auto", single: bool = True) -> list[str]:
    loss = loss if loss != "auto" else "squared_error" if data.classes is None else "cross_entropy"
    return [one.title for one in (*data.cautions, *doubts(data, target, (0, 1), loss, single))]


WIDE = DRAW.normal(size=(200, 4))
TWO = np.arange(200) % 2
RARE = (np.arange(200) == 7).astype(int)


@pytest.mark.parametrize(
    ("x", "y", "target", "title"),
    [
        (WIDE, TWO + 1, None, "Output units without a class"),
        (WIDE, np.array([0, 5, 9])[np.arange(200) % 3], None, "Output units without a class"),
        (WIDE, np.ones(200, dtype=int), None, "Only one class"),
        (WIDE, (np.arange(200) % 33 == 0).astype(int), Target(), "A constant answer meets the target"),
        (WIDE, TWO, Target("accuracy/val", 0.3), "A constant answer meets the target"),
        (WIDE, TWO, Target("loss/train", 0.7), "A constant answer meets the target"),
        (WIDE, WIDE[:, 0], Target("loss/train", 1.1), "A constant answer meets the target"),
        (WIDE, np.full(200, 0.3), None, "The targets are constant"),
        (np.full((200, 4), 0.1), TWO, None, "The inputs are constant"),
        (WIDE * [1e6, 1, 1, 1], TWO, None, "One feature outweighs all others"),
        (np.where(np.arange(200)[:, None] == 9, 1e30, WIDE), TWO, None, "One sample outweighs all others"),
        (WIDE, np.arange(200) % 91, None, "Many classes"),
        (WIDE, RARE, None, "A part lacks a class"),
        (np.tile(WIDE[:100], (2, 1)), TWO, None, "Validation rows are training rows"),
    ],
)
def test_a_trap_is_named_once_and_data_without_it_are_not(tmp_path, x, y, target, title):
    assert titles(load(saved(tmp_path, x=x, y=y)), target).count(title) == 1
    for plain in (TWO, WIDE[:, 0]):
        assert titles(load(saved(tmp_path, x=WIDE, y=plain)), Target()) == []


def test_the_numbers_of_traps_are_right(tmp_path):
    def text(y, target=None, x=WIDE):
        data = load(saved(tmp_path, x=x, y=y))
        return " ".join(map(str, doubts(data, target, (0, 1), "cross_entropy", True)))

    assert "the 2 classes of y begin at 1, so no sample belongs to 1 of 3 output units" in text(TWO + 1)
    assert "the 3 classes of y skip numbers, so no sample belongs to 7 of 10 output units" in text(
        np.array([0, 5, 9])[np.arange(200) % 3]
    )
    most = np.where(np.arange(200) < 194, 0, 1)
    share = np.mean([(most[split(Dataset(WIDE, most), seed).train] == 0).mean() for seed in (0, 1)])
    assert f"the best constant answer reaches accuracy/train {share:.3g}, and the target is" in text(most, Target())
    assert "reaches loss/train 0.6" in text(TWO, Target("loss/train", 0.7))
    assert "the rarest class has 1 of 200 samples" in text(RARE)
    one = [np.where(np.arange(200) < 100, -1, 1)[:, None] * np.ones((1, 4))]
    assert "% of the validation rows of x also occur in the training part" in text(TWO, x=one[0])


@pytest.mark.parametrize(
    "config",
    [{"name": "digits"}, {"name": "digits", "target": "input"}, {"name": "teacher"}, {"name": "linear"},
     {"name": "points"}, {"name": "points", "inputs": 5}, {"name": "teacher", "classes": 3}],
)  # fmt: skip
def test_data_that_come_with_initbench_have_no_trap(config):
    data = load(config)
    assert titles(data, Target()) == []
    assert data.taken == ""


def test_numbers_that_are_used_as_they_are_and_do_not_fit_float32_are_named(tmp_path):
    config = {**saved(tmp_path, x=WIDE + 1e9, y=TWO), "standardize": False}
    assert titles(load(config)) == ["float32 loses digits of x"]
    assert titles(load(config), single=False) == []
    assert titles(load({**config, "standardize": True})) == []


def test_a_training_part_that_is_all_there_is_has_no_validation(tmp_path):
    assert titles(load(saved(tmp_path, x=WIDE, y=TWO, train=np.ones(200, bool)))) == ["No validation part"]


def test_traps_and_what_y_was_taken_for_are_said_and_kept(folder, capsys):
    saved(folder, x=WIDE, y=TWO + 1, mask=TWO)
    assert main(["data=npz", "data.path=my.npz", *QUICK, "study=s"]) == 0
    told = capsys.readouterr().err.replace("\n", " ")
    assert "data.path=my.npz: y is taken as 3 classes (data.task=regression: as values); not read: mask" in told
    assert "note: Output units without a class" in told
    kept = json.loads((folder / "outputs/s/study.json").read_text("utf-8"))["cautions"]
    assert [one["title"] for one in kept] == ["Output units without a class", "All seeds start alike"]


# ------------------------------------------------------------------------------------------ extremes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble, ">f8", ">i4", np.int8, np.uint64, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_every_type_and_order_are_read_as_they_are(tmp_path, dtype, order):
    x = np.asarray(np.abs(X) > 2 if dtype is bool else np.abs(X).round(), dtype=dtype, order=order)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(saved(tmp_path, x=x, y=THREE))
    assert data.x.dtype == np.float64
    assert np.array_equal(data.x, x.astype(np.float64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: np.where(np.arange(60)[:, None] == 3, 1e300, x), ["1e+300", "range"]),
        (lambda x: x * 1e-310, ["range", "multiply x"]),
        (lambda x: (x * 8).astype(np.int64) + 2**60, ["2^53", "x - x.min(0)"]),
        (lambda x: np.full(x.shape, 2**64 - 1, dtype=np.uint64), ["18446744073709551615", "2^53"]),
        (lambda x: np.full(x.shape, np.longdouble(10) ** 400), ["range"]),
        (lambda x: x.astype(complex), ["complex128", "x.real"]),
        (lambda x: x.astype(str), ["<U", "convert it to numbers"]),
        (lambda x: x.astype("datetime64[s]"), ["datetime64[s]", "np.timedelta64"]),
        (lambda x: x.astype(object), ["pickled", "never loaded", "dtype=float"]),
        (lambda x: np.zeros(60, dtype=[("a", float), ("b", float)]), ["np.stack"]),
        (lambda x: x.reshape(60, 2, 2), ["(60, 2, 2)", "reshape(len(x), -1)"]),
        (lambda x: x[:, 0], ["(60,)", "x[:, None]"]),
        (lambda x: x[:59], ["59 samples and 60 targets"]),
        (lambda x: x[:, :0], ["(60, 0)"]),
        (lambda x: np.array(1.0), ["()"]),
    ],
)
def test_inputs_that_are_no_table_of_numbers_are_one_line(tmp_path, change, words):
    text = refused(saved(tmp_path, x=change(X), y=THREE))
    assert all(word in text for word in ["my.npz", *words]), text


@pytest.mark.parametrize("factor", [1e-290, 1e-150, 1e90])
def test_small_and_large_targets_train_like_targets_of_size_one(arm, tmp_path, factor):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(saved(tmp_path, x=X, y=X[:, 0] * factor))
        plain = load(saved(tmp_path, x=X, y=X[:, 0] + 0.0))
        found = [Seeds(Material(arm(), one), (0,)).probe()[1].numpy() for one in (data, plain)]
    assert np.allclose(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (np.ones(59, bool), ["bool of shape (59,)"]),
        (np.ones(60), ["float64", "astype(bool)"]),
        (np.arange(60) % 2, ["zeros and ones", "astype(bool)"]),
        (np.array([], int), ["shape (0,)"]),
        (np.array([[1, 2]]), ["(1, 2)"]),
        (np.array([-1, 2]), ["from -1 to 2"]),
    ],
)
def test_a_training_part_of_another_kind_is_one_line(tmp_path, train, words):
    text = refused(saved(tmp_path, x=X, y=THREE, train=train))
    assert all(word in text for word in ["train", *words]), text


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("names", "offered"), [(("X", "labels"), True), (("x_train", "y_train"), True), (("a", "b"), False)]
)
def test_arrays_of_other_names_are_offered_as_x_and_y(tmp_path, names, offered):
    text = refused(saved(tmp_path, **dict(zip(names, (X, THREE)))))
    assert ", ".join(names) in text
    assert (f"x=a['{names[0]}'], y=a['{names[1]}']" in text) == offered


@pytest.mark.parametrize(
    "suffix", ["npy", "csv", "pt", "pth", "parquet", "xlsx", "mat", "json", "h5", "pkl", "txt", "NPY"]
)
def test_another_kind_of_file_is_refused_with_the_lines_that_convert_it(tmp_path, suffix):
    (tmp_path / f"my.{suffix}").write_bytes(b"1,2\n")
    text = refused({"name": "npz", "path": str(tmp_path / f"my.{suffix}")})
    code = text.split("convert it with: ")[1]
    compile(code, "advice", "exec")
    assert "np.savez('my.npz', x=x, y=y)" in code


@given(
    value=st.floats(-1e6, 1e6).map(lambda v: round(v, 3)),
    others=st.lists(st.floats(-10, 10), min_size=1, max_size=5),
    n=st.integers(2, 60),
)
def test_a_constant_has_exactly_its_mean_whatever_the_sum_of_its_values_rounds_to(value, others, n):
    rows = np.arange(len(others), len(others) + n)
    values = np.array([*others, *[value] * n])[:, None]
    for frame in (frames.AS_THEY_ARE, frames.frame_of(values)):
        mean, scale = frames.standardizer(values, frame, rows)
        assert scale == 1.0
        assert (frame(values[rows]) == mean).all()


def test_the_lines_that_convert_do_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = np.column_stack([X, THREE])
    np.save("a.npy", table)
    np.savetxt("a.csv", table, delimiter=",", header="a,b,c,d,y")
    for name in ("a.npy", "a.csv"):
        exec(refused({"name": "npz", "path": name}).split("convert it with: ")[1], {})
        data = load({"name": "npz", "path": "a.npz"})
        assert np.allclose(data.x, X)
        assert data.classes == 3
        Path("a.npz").unlink()


def test_a_pipe_a_device_a_folder_and_no_path_are_refused_at_once(tmp_path, monkeypatch):
    # whoever opens a pipe waits for its writer: the test would, too
    monkeypatch.setattr(zipfile, "ZipFile", lambda path: pytest.fail(f"{path} is opened"))
    os.mkfifo(tmp_path / "pipe.npz")
    for path, words in (
        (tmp_path / "pipe.npz", "pipe or a device"),
        ("/dev/zero", "pipe or a device"),
        (tmp_path, "folder"),
        ("a\0b", "cannot be read"),
        ("a" * 5000, "cannot be read"),
        (tmp_path / "none.npz", "no such file"),
    ):
        assert words in refused({"name": "npz", "path": str(path)})


def with_header(file: Path, shape: tuple[int, ...], content: bytes, dtype: str = "<f8") -> dict[str, str]:
    """An .npz whose x says that its shape is this."""
    head = io.BytesIO()
    npy.write_array_header_1_0(head, {"descr": dtype, "fortran_order": False, "shape": shape})
    plain = io.BytesIO()
    np.save(plain, THREE)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", head.getvalue() + content)
        archive.writestr("y.npy", plain.getvalue())
    return {"name": "npz", "path": str(file)}


@pytest.mark.parametrize("shape", [(60, 10**15), (60, -4), (-60, -4), (60, 3), (60,) * 70, (0, 10**18)])
def test_a_header_that_lies_is_refused_before_anything_is_allocated(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(npy, "read_array", lambda *args, **kwargs: pytest.fail("read"))
    assert "my.npz" in refused(with_header(tmp_path / "my.npz", shape, X.tobytes()))


def test_more_than_the_memory_is_refused_with_both_numbers_before_it_is_read(tmp_path, monkeypatch):
    config = saved(tmp_path, x=X, y=THREE, other=np.zeros(10**6))
    monkeypatch.setattr(memory, "available", lambda: 5000)
    with monkeypatch.context() as patched:
        patched.setattr(npy, "read_array", lambda *args, **kwargs: pytest.fail("read"))
        text = refused(config)
    assert "8.16e-06 GB of memory, 5e-06 GB are free" in text
    monkeypatch.setattr(memory, "available", lambda: 9000)
    assert load(config).inputs == 4  # the array that is not read does not count


@pytest.mark.parametrize(
    "config",
    [
        {"name": "teacher", "samples": 10**10},
        {"name": "teacher", "classes": 10**10},
        {"name": "teacher", "width": 10**8},
        {"name": "linear", "samples": 10**11},
        {"name": "points", "samples": 10**11},
        {"name": "points", "samples": 10**6, "inputs": 10**6, "correlation": 0.0},
        {"name": "mnist1d", "samples": 10**10},
    ],
)
def test_made_data_beyond_the_memory_are_refused_with_both_numbers(config):
    text = refused(config)
    assert text.startswith("data.samples=")
    assert "GB of memory" in text
    assert "GB are free" in text


def test_files_that_are_torn_or_hold_other_things_are_one_line(tmp_path):
    config = saved(tmp_path, x=X, y=THREE)
    whole = Path(config["path"]).read_bytes()
    for content in (
        b"",
        whole[:-30],
        whole[: len(whole) // 2],
        b"PK\x05\x06" + 18 * b"\0",
        whole.replace(b"NUMPY", b"PICKL"),
    ):
        Path(config["path"]).write_bytes(content)
        assert "my.npz" in refused(config)


CODE = "def f(weight):\n    weight.fill_(0.1)\n"


@pytest.mark.parametrize(
    ("of", "edited", "said"),
    [
        ("data", "data", r"data\.path=.*my\.npz"),
        ("code", "code", "a file of your own"),
        ("data and code", "data", "a file of your own"),
        ("data and code", "code", "a file of your own"),
        ("data and code", "data and code", "a file of your own"),
    ],
)
def test_a_file_that_changes_after_the_plan_trains_nothing_under_its_key(arm, folder, monkeypatch, of, edited, said):
    monkeypatch.syspath_prepend(str(folder))
    module = Path(f"{of}_{edited}.py".replace(" ", "_"))
    module.write_text(CODE)
    config = saved(folder, x=X, y=THREE)
    init = InitConfig("f", f"{module.stem}.f", "zeros") if "code" in of else "eye"
    plan = planned(arm(**({"data": config} if "data" in of else {}), init=init, seeds=(0,), optim={"lr": [0.1]}))
    train = partial(worker.work, plan.config, plan.config.runs, folder / "store", plan.key, lambda done: None)
    train()
    (part,) = (folder / "store").rglob("*.parquet")
    part.unlink()
    if "data" in edited:
        saved(folder, x=X[:50], y=THREE[:50])
    if "code" in edited:
        module.write_text(CODE + "# edited\n")
        sources.forget_edited()  # a worker that starts now has imported nothing
    with pytest.raises(InputError, match=f"^{said}: changed since the study was planned; run the same command again$"):
        train()
    assert not list((folder / "store").rglob("*.parquet"))


# ------------------------------------------------------------------------------------------ batches


def test_a_batch_larger_than_the_data_takes_them_all_and_says_so(arm, folder, capsys):
    saved(folder, x=X[:40], y=THREE[:40])
    data = load({"name": "npz", "path": "my.npz"})
    config = arm(optim={"batch_size": 64, "lr": [0.1]})
    assert batch_size(config, data.train_samples) == train_batch(config, data) == 32
    assert next(Seeds(Material(config, data), (0,)).batches()).shape == (1, 32)
    given = ["data=npz", "data.path=my.npz", *QUICK]
    assert main([*given, "optim.batch_size=64", "study=s"]) == 0
    assert "optim.batch_size=64 is more than the 32 training samples" in capsys.readouterr().err.replace("\n", " ")
    still = [text for text in given if not text.startswith("train.steps=")]
    assert main([*still, "optim.batch_size=64", "train.steps=0", "train.target=null", "study=still"]) == 0
    assert main([*given, "optim.batch_size=32", "study=fits"]) == 0
    assert "training samples, so" not in capsys.readouterr().err
    described = [json.loads((folder / f"outputs/{name}/study.json").read_text("utf-8")) for name in ("s", "fits")]
    assert described[0]["arms"][0]["flops_per_step"] == described[1]["arms"][0]["flops_per_step"]
    assert {one["arms"][0]["setting"] for one in described} == {"npz, 2x4 relu, sgd, full batch, 3 steps"}


def test_settings_say_the_batch_that_is_taken_and_stay_different(folder):
    saved(folder, x=X[:40], y=THREE[:40])
    asked = ["data=npz", "data.path=my.npz", *QUICK, "optim.batch_size=31,32,64"]
    net = "npz, 2x4 relu, sgd"
    assert [one.setting for one in plan(asked).arms] == [
        f"{net}, batch 31, 3 steps",
        f"{net}, full batch, 3 steps, batch_size=32",
        f"{net}, full batch, 3 steps, batch_size=64",
    ]


def test_a_net_for_few_samples_can_be_built_and_looked_at(folder):
    saved(folder, x=X[:40], y=THREE[:40])
    given = ["data=npz", "data.path=my.npz", "model.depth=2", "model.width=4", "init=eye"]
    assert build(given).layers[0].weight.shape == (4, 4)
    (seen,) = look([*given, "sharing=none", "seeds=2"])
    assert len(seen.table) == 3
