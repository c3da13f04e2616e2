"""Growing a study by hand: the store remembers what was judged, and the words count every look."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sps

import initbench as ib
from hand import runs_of, spread, tuned
from initbench import stats
from initbench.__main__ import main
from initbench.errors import InputError
from initbench.stats import nested
from initbench.store import judged
from initbench.store.judged import Look
from initbench.study import command
from initbench.study.looked import looked, pairs
from initbench.sync.__main__ import main as sync

FEW = ["init=eye,kaiming_normal", "sharing=none", "model.depth=1", "model.width=8", "train.steps=3", "study=s",
       "optim.lr=[0.1,0.3]", "track.uri=null", "engine.workers=1", "report.formats=[csv]", "report.baseline=eye",
       "train.target.value=0.01"]  # fmt: skip


def before(*overrides: str) -> list[dict]:
    keys = {one.split("=")[0] for one in overrides}
    return looked(command.plan([*(one for one in FEW if one.split("=")[0] not in keys), *overrides]))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("study.json", ".made.json")
    }


def test_more_seeds_by_hand_are_further_looks(folder, capfd):
    assert main([*FEW, "seeds=8"]) == 0
    assert "looked at" not in capfd.readouterr().err
    assert "looked" not in json.loads(Path("outputs/s/study.json").read_text())
    assert main([*FEW, "seeds=9"]) == 0
    assert "note: looked at 1 time before (n = 8): p values and intervals count" in capfd.readouterr().err
    assert main([*FEW, "seeds=12"]) == 0
    study = json.loads(Path("outputs/s/study.json").read_text())
    assert study["looked"] == before("seeds=12")
    [one] = study["looked"]
    assert (one["setting"], one["times"], one["n"]) == (study["arms"][0]["setting"], 2, [8, 9])
    assert one["error"] == pytest.approx(nested.crossed([8, 9, 12], 1.959964), abs=1e-4)
    assert ib.load("outputs/s").study["looked"] == study["looked"]  # study_file takes it

    made = files(folder)
    assert main([*FEW, "seeds=12"]) == 0  # never its own look: nothing changes
    assert files(folder) == made
    assert json.loads(Path("outputs/s/study.json").read_text())["looked"] == study["looked"]
    assert before("seeds=8") == []
    assert main([*FEW, "seeds=10"]) == 0  # a look between, taken later
    assert before("seeds=12") == study["looked"]
    assert [one["n"] for one in before("seeds=14")] == [[8, 9, 10, 12]]


def test_a_look_that_sync_took_counts(folder, monkeypatch):
    def end(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "collect", end)
        main([*FEW, "seeds=8"])
    assert before("seeds=12") == []
    assert sync(["outputs/s", "--to", "sqlite:///mlflow.db"]) == 0
    assert [one["n"] for one in before("seeds=12")] == [[8]]
    noted = Path("outputs/store").rglob(judged.NAME)
    known = {path: path.read_bytes() for path in noted}
    assert main([*FEW, "seeds=8"]) == 0  # the same look
    assert {path: path.read_bytes() for path in known} == known


def test_what_is_no_further_look(folder):
    assert main([*FEW, "seeds=9"]) == 0
    assert before("seeds=[20,21,22,23,24,25,26,27,28,29]") == []  # fresh seeds: another sample
    assert before("seeds=12", "optim.lr=[0.1]") == []  # fewer rates
    assert before("seeds=12", "train.target.value=0.02") == []  # another question
    assert before("seeds=12", "model.width=9") == []  # other nets
    assert before("seeds=12", "report.family=[eye]") == []  # nothing compared
    assert before("seeds=12", "outputs=elsewhere") == []
    assert [one["n"] for one in before("seeds=12", "report.baseline=kaiming_normal")] == [[9]]  # the same two arms
    assert [one["n"] for one in before("seeds=9", "optim.lr=[0.1,0.3,1]")] == [[9]]  # more rates


def test_fewer_than_eight_seeds_are_no_look(folder):
    assert main([*FEW, "seeds=7"]) == 0
    assert before("seeds=9") == []
    assert not list(folder.rglob("judged.json"))


def test_where_nobody_arrives_no_test_is_made_and_it_was_no_look(folder):
    assert main([*FEW[:-1], "seeds=8"]) == 0
    assert not list(folder.rglob("judged.json"))


def test_a_damaged_note_means_that_nothing_is_known(folder):
    ib.run([*FEW, "seeds=9"])
    [path] = folder.rglob("judged.json")
    whole = path.read_bytes()
    damaged = [b"", b"{", b"[]", b'{"looks": 3}', b'{"looks": [{}]}', b"\xff\xfe", b'{"looks": [{"with": 1}]}', b"[" * 10**5,
               whole[:-5], whole.replace(b"0.05", b"[]"), whole.replace(b"false", b"3")]  # fmt: skip
    [at] = judged.looks_at(folder / "outputs/store", pairs(command.plan([*FEW, "seeds=9"])).popitem()[1])
    assert len(judged.looks_at(folder / "outputs/store", [at])[at]) == 1
    for content in damaged:
        path.write_bytes(content)
        assert judged.looks_at(folder / "outputs/store", [at]) == {at: []}
    assert before("seeds=12") == []
    path.unlink()
    path.mkdir()  # cannot be read
    assert before("seeds=12") == []


def test_notes_keep_their_order_and_are_written_once(tmp_path):
    ten, twenty = (Look(tuple(range(n)), (0.1,), 0.05) for n in (10, 20))
    one, two = judged.pair("b", "a", "m", 1), judged.pair("a", "c", "m", 1)
    judged.note(tmp_path, {one: [twenty], two: [ten]})
    judged.note(tmp_path, {one: [ten, ten, twenty]})
    assert judged.looks_at(tmp_path, [one, two]) == {one: [twenty, ten], two: [ten]}
    path = tmp_path / "a" / "judged.json"
    stamp = path.stat().st_mtime_ns
    judged.note(tmp_path, {one: [ten]})
    assert path.stat().st_mtime_ns == stamp
    assert [file.name for file in path.parent.iterdir()] == ["judged.json"]
    planned = ten._replace(planned=True)
    judged.note(tmp_path, {two: [planned]})
    assert judged.looks_at(tmp_path, [two])[two][-1].planned


def test_words_count_the_looks():
    """By hand: adjusted p = P(one of the looks is as extreme), Holm after it, intervals at the level of each look."""
    runs = runs_of({"base": tuned(spread(60, 20, 0.25, 4)), "arm": tuned(spread(70, 20, 0.25, 3))})
    once = stats.judge(runs, None, "base").pairs.set_index("setup").loc["arm"]
    study = {"baseline": "base", "looked": [{"setting": "s", "times": 1, "n": [10], "error": 0.08}]}
    again = stats.judge(runs, study).pairs.set_index("setup").loc["arm"]
    assert again["p"] == once["p"]
    z = sps.norm.isf(once["p"] / 2)
    both = sps.multivariate_normal(cov=[[1, 0.5**0.5], [0.5**0.5, 1]])
    inside = both.cdf([z, z], lower_limit=[-z, -z])
    assert again["p_holm"] == pytest.approx(1 - inside, abs=1e-4)
    assert again["ratio_low"] < once["ratio_low"] < once["ratio_high"] < again["ratio_high"]
    elsewhere = {"baseline": "base", "looked": [{**study["looked"][0], "setting": "t"}]}
    pd.testing.assert_series_equal(stats.judge(runs, elsewhere).pairs.set_index("setup").loc["arm"], once)


def test_the_error_of_looks_is_that_of_simulated_nested_samples():
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(20_000, 40)).cumsum(axis=1) / np.sqrt(np.arange(1, 41))
    wrong = (np.abs(walk[:, [9, 19, 39]]) > 1.96).any(axis=1).mean()
    assert nested.crossed([10, 20, 40], 1.96) == pytest.approx(wrong, abs=0.006)
    assert nested.crossed([10, 10], 1.96) == pytest.approx(0.1, abs=1e-3)  # more rates: the union bound
    assert nested.crossed([10, 10, 20], 1.96) < nested.crossed([10, 20], 1.96) + 0.0501


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"setting": 3}, r"looked\[0\]\.setting must be text"),
        ({"n": [-1]}, r"looked\[0\]\.n must be a list of whole numbers"),
        ({"error": "x"}, r"looked\[0\]\.error must be a number"),
        ({"times": None}, r"looked\[0\]\.times must be a whole number"),
    ],
)
def test_a_damaged_entry_of_study_json_is_one_line(folder, entry, line):
    ib.run([*FEW, "seeds=2"])
    path = Path("outputs/s/study.json")
    good = {"setting": "s", "times": 1, "n": [10], "error": 0.08}
    study = json.loads(path.read_text())
    path.write_text(json.dumps({**study, "looked": [{**good, **entry}]}))
    with pytest.raises(InputError, match=line):
        ib.load("outputs/s")
