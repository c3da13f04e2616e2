"""Your own table as data: columns, heads, words as classes, and what is refused; and the sets of scikit-learn."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import datasets

import initbench as ib
from conftest import assert_template
from initbench.data import load
from initbench.data.files import SKLEARN
from initbench.errors import InputError
from initbench.overrides.expand import expand

FRAME = pd.DataFrame(
    {"age": [31, 25, 47, 52, 38, 29], "dose": [0.5, 1.0, 0.25, 2.0, 1.5, 0.75], "kind": ["b", "a", "b", "c", "a", "c"]}
)
TEXT = FRAME.to_csv(index=False)


def csv(path: Path, text: str = TEXT, **more: object):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode("utf-8"))
    return load({"name": "csv", "path": str(path), **more})


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.txt"])
def test_a_csv_is_read_whatever_stands_between_its_columns(tmp_path, separator, name):
    data = csv(tmp_path / name, TEXT.replace(",", separator))
    assert np.array_equal(data.x, FRAME[["age", "dose"]].to_numpy(float))
    assert data.y.tolist() == [1, 0, 1, 2, 0, 2]
    assert data.taken.endswith("data.target=kind; taken as 3 classes, in this order: a, b, c")


def test_a_parquet_is_read_as_the_same_table(tmp_path):
    FRAME.astype({"age": "Int64"}).to_parquet(tmp_path / "t.parquet")
    data = load({"name": "parquet", "path": str(tmp_path / "t.parquet"), "target": "kind"})
    assert np.array_equal(data.x, csv(tmp_path / "t.csv").x)
    assert np.array_equal(data.y, csv(tmp_path / "t.csv").y)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(5, 9), k=st.integers(2, 5), column=st.integers(0, 4), head=st.booleans(), seed=st.integers(0, 99))
def test_any_column_can_be_the_target(tmp_path, n, k, column, head, seed):
    values, column = np.random.default_rng(seed).standard_normal((n, k)), column % k
    frame = pd.DataFrame(values, columns=[f"c{i}" if head else i for i in range(k)])
    text = frame.to_csv(index=False, header=head)
    data = csv(tmp_path / "t.csv", text, target=f"c{column}" if head else column)
    assert np.array_equal(data.y[:, 0], values[:, column])
    assert np.array_equal(data.x, np.delete(values, column, axis=1))


def test_several_targets_are_values_and_input_is_an_autoencoder(tmp_path):
    text = FRAME.assign(kind=range(6)).to_csv(index=False)
    data = csv(tmp_path / "t.csv", text, target=["dose", "kind"])
    assert data.y.tolist() == [list(pair) for pair in zip(FRAME["dose"], range(6))]
    auto = csv(tmp_path / "t.csv", text, target="input")
    assert auto.x.shape == (6, 3)
    assert np.array_equal(auto.x, auto.y)
    assert csv(tmp_path / "t.csv", text, target="age", task="regression", validation="none").train_samples == 6


WRONG = {
    "no such column": (TEXT, {"target": "knd"}, r"data.target=knd: no such column; did you mean kind\?"),
    "words": (TEXT, {"target": "age"}, r"column kind holds no numbers; drop them, or number them: .*get_dummies"),
    "a hole": (TEXT.replace("25,1.0", "25,"), {}, r"1 of 6 rows have empty cells \(in dose\); fill or drop them"),
    "a hole in the target": (TEXT.replace("0.25,b", "0.25,"), {}, r"1 of 6 rows have empty cells \(in kind\)"),
    "row numbers": (FRAME.to_csv(), {}, r"its first column has no name and numbers the rows; .*index=False"),
    "ragged": (TEXT + "1,2,a,4,5\n", {}, r"cannot be read \(.*\); one line a sample"),
    "one column": ("a\n1\n2\n3\n4\n5\n", {}, r"5 samples and 1 columns; give at least"),
    "few rows": ("a,b\n1,2\n", {}, r"1 samples and 2 columns"),
    "empty": ("", {}, r"cannot be read"),
    "names": ("a,b,a \n" + "1,2,3\n" * 5, {}, r"two columns have the same name"),
    "nothing left": (TEXT, {"target": ["age", "dose", "kind"]}, r"no column is left as a feature; name fewer"),
    "input": (TEXT.replace("age", "input"), {"target": "input"}, r"data.target=input: .* a column has this name"),
    "as values": (TEXT, {"task": "regression"}, r"column kind holds no numbers; name another data.target"),
    "all words differ": (TEXT.replace("a\n", "d\n").replace("b\n", "e\n", 1), {}, r"holds 4 different words in 6 rows"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_table_is_said_in_one_line(what, tmp_path):
    text, more, words = WRONG[what]
    with pytest.raises(InputError, match=words) as error:
        csv(tmp_path / "t.csv", text, **more)
    assert_template(str(error.value))


@pytest.mark.parametrize(
    ("option", "file", "words"),
    [
        ("npz", "t.csv", "csv is not read by data=npz; use data=csv, or convert it with: import numpy"),
        ("npz", "t.parquet", "use data=parquet, or convert it with: import numpy as np, pandas"),
        ("npz", "t.npy", r"npy is not read by data=npz; convert it with: .*np.load\('t.npy'\).*np.savez\('t.npz'"),
        ("npz", "t.pt", r"convert it with: .*torch.load\('t.pt', weights_only=True\).*np.savez\('t.npz'"),
        ("csv", "t.npz", "npz is not read by data=csv; use data=npz"),
        ("csv", "t.npy", "convert it with"),
        ("parquet", "t.csv", "use data=csv$"),
    ],
)
def test_a_file_of_another_kind_is_answered_with_what_reads_it(option, file, words, folder):
    Path(file).write_text(TEXT)
    with pytest.raises(InputError, match=words) as error:
        load({"name": option, "path": file})
    assert_template(str(error.value))


@pytest.mark.parametrize("name", SKLEARN)
def test_the_sets_of_scikit_learn_are_theirs(name):
    theirs, ours = getattr(datasets, f"load_{name}")(), load({"name": name})
    assert np.array_equal(ours.x, theirs.data)
    assert np.array_equal(ours.y.reshape(theirs.target.shape), theirs.target)
    assert (ours.classes is None) == (name in ("diabetes", "linnerud"))


def test_scikit_learn_asks_for_a_name_and_knows_no_other():
    with pytest.raises(
        InputError, match=r"data=sklearn: it needs data.name; add data.name=wine; must be one of: .*iris"
    ):
        load({"name": "sklearn"})
    with pytest.raises(InputError, match="did you mean wine"):
        load({"name": "wyne"})
    with pytest.raises(InputError, match="data=iris has no such key"):
        load({"name": "iris", "samples": 3})


def test_a_table_and_a_set_by_name_are_taken_from_the_command_line(folder):
    Path("t.csv").write_text(TEXT)
    small = [
        "init=eye",
        "sharing=none",
        "seeds=2",
        "optim.lr=0.1",
        "train.steps=2",
        "track.uri=null",
        "engine.workers=1",
    ]
    asked = ib.run(["data=csv", "data.path=t.csv", "data.target=kind", *small, "report.formats=[csv]", "measure=none"])
    assert asked.runs["data.target"].unique().tolist() == ["kind"]
    arms = expand(["data=sklearn", "data.name=iris,wine", "init=eye", "sharing=none"])
    assert [arm.data["name"] for arm in arms] == ["iris", "wine"]
