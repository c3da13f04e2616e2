"""Your own table as data: columns, heads, words as classes, and what is refused; and the sets of scikit-learn."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import datasets

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


@pytest.mark.parametrize(
    ("text", "samples", "names"),
    [
        ("5.1,3.5,Iris-a\n4.9,3.0,Iris-b\n" * 5, 10, "2"),  # a file of numbers and words without a head
        ("0,1,2\n" + "0.5,1.5,2.5\n" * 5, 5, "2"),  # the names of a pandas frame that was given none
        ("0,1,kind\n" + "0.5,1.5,a\n0.5,1.5,b\n" * 3, 6, "kind"),
        ("2,1,1\n" * 5, 5, "2"),
        ('"a; in; m",b\n' + "1,2.5\n" * 5, 5, "b"),
        ('"a of\n1900";b\n' + "1;2.5\n" * 5, 5, "b"),
        ("a,b,\n" + "1,2.5,\n" * 5, None, None),
        ("a,b\n" + "1,2.5,\n" * 5, 5, "b"),
    ],
)
def test_a_first_line_is_names_or_a_sample(tmp_path, text, samples, names):
    if samples is None:
        with pytest.raises(InputError, match="Unnamed: 2"):
            csv(tmp_path / "t.csv", text)
        return
    data = csv(tmp_path / "t.csv", text)
    assert len(data.x) == samples
    assert f"data.target={names}" in data.taken


def test_words_are_the_same_with_blanks_and_in_every_part_of_a_large_file(tmp_path, monkeypatch):
    asked, own = [], pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *file, **how: asked.append(how) or own(*file, **how))
    assert csv(tmp_path / "t.csv", TEXT.replace("a\n", "a \n", 1)).classes == 3
    # else each part of a million cells has types of its own: 01 is the word 1 where a part holds numbers alone
    assert [how["low_memory"] for how in asked] == [False]


def test_decimals_of_a_parquet_are_numbers(tmp_path):
    frame = FRAME.assign(dose=[Decimal(str(dose)) for dose in FRAME["dose"]])
    frame.to_parquet(tmp_path / "t.parquet")
    data = load({"name": "parquet", "path": str(tmp_path / "t.parquet")})
    assert np.array_equal(data.x, FRAME[["age", "dose"]].to_numpy(float))


def test_columns_that_give_the_target_away_are_named(tmp_path):
    x = np.random.default_rng(0).standard_normal(12)
    frame = pd.DataFrame({"row": range(100, 112), "x": x, "code": [7, 9, 8] * 4, "y": ["u", "w", "v"] * 4})
    found = {one.title: one.text for one in csv(tmp_path / "t.csv", frame.to_csv(index=False)).cautions}
    assert "column row goes up by 1 from row to row, 12 times" in found["A column numbers the rows"]
    assert "column code is the target over again in all 12 rows" in found["A column tells the target"]
    values = csv(tmp_path / "t.csv", frame.assign(y=x).to_csv(index=False))
    assert "column x is the target over again" in values.cautions[-1].text
    other = frame.assign(row=x, code=[7, 9, 8] * 3 + [7, 9, 9])
    assert not {"A column numbers the rows", "A column tells the target"} & {
        one.title for one in csv(tmp_path / "t.csv", other.to_csv(index=False)).cautions
    }


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
    "a hole": (
        TEXT.replace("25,1.0", "25,"),
        {},
        r"1 of 6 rows have cells that are empty, NA or None \(in dose\); fill or drop them",
    ),
    "a hole in the target": (TEXT.replace("0.25,b", "0.25,"), {}, r"1 of 6 rows have cells that .* \(in kind\)"),
    "row numbers": (FRAME.to_csv(), {}, r"its first column has no name and numbers the rows; .*index=False"),
    "ragged": (TEXT + "1,2,a,4,5\n", {}, r"cannot be read \(.*\); one line a sample"),
    "one column": ("a\n1\n2\n3\n4\n5\n", {}, r"5 samples and 1 columns; give at least"),
    "few rows": ("a,b\n1,2\n", {}, r"1 samples and 2 columns"),
    "empty": ("", {}, r"cannot be read"),
    "names": ("a,b,a \n" + "1,2,3\n" * 5, {}, r"two columns have the same name"),
    "a name twice": ("y,a,y\n" + "1,2,3\n" * 5, {}, r"two columns have the same name; rename one"),
    "longer rows": ("a,b,y\n" + "1,2,3,4\n" * 5, {}, r"some rows have more cells than the first line, which has 3"),
    "decimal commas": (
        "a;b;y\n" + "0,5;1;0\n" * 5,
        {},
        r"column a holds numbers with commas, e.g. 0,5; .*sep=';', decimal=','",
    ),
    "commas in the target": ("a;y\n" + "1;2,5\n" * 5, {}, r"column y holds numbers with commas"),
    "thousands": ("a,y\n" + '"1,500",0\n' * 5, {}, r"numbers with commas, e.g. 1,500; .*thousands=','"),
    "a word among numbers": (
        "a,y\n" + "1,2.5\n2,3.5\n" * 4 + "1,?\n",
        {},
        r"column y holds 2 different numbers, and 1 that are none \(first \?\)",
    ),
    "many digits": (
        "a,b,y\n" + f"{2**60 + 1},0.5,1\n" * 5,
        {},
        r"column a goes from .*; whole numbers beyond 2\^53 lose digits",
    ),
    "infinity in an autoencoder": (
        "a,b\n" + "1,inf\n" * 5,
        {"target": "input"},
        r"x holds NaN or infinity in 5 of 10 values",
    ),
    "no target": (TEXT, {"target": []}, r"data.target=\[\]: it names no column"),
    "a column called own": ("own,a,y\n" + "1,2,3\n" * 5, {}, r"data.target=own: it means the last column"),
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
    (arm,) = expand(["data=csv", "data.path=t.csv", "data.target=kind", "init=eye", "sharing=none"])
    assert load(arm.data).y.tolist() == [1, 0, 1, 2, 0, 2]
    assert arm.data["target"] == "kind"
    (several,) = expand(["data=csv", "data.path=t.csv", "data.target=[dose,age]", "init=eye", "sharing=none"])
    assert several.data["target"] in (["dose", "age"], ("dose", "age"))
    arms = expand(["data=sklearn", "data.name=iris,wine", "init=eye", "sharing=none"])
    assert [arm.data["name"] for arm in arms] == ["iris", "wine"]
