"""history.parquet: what is read from it in pieces is what stands in it, and it is written with a bounded share in memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import initbench as ib
from initbench import stats
from initbench.errors import InputError
from initbench.stats import crossfit, intervals
from initbench.stats.panel import Panel
from initbench.store import history
from initbench.store import parts as store_module
from initbench.store.chunk import Chunk, Series
from initbench.store.history import HISTORY_SCHEMA, HistoryFile
from initbench.store.parts import Store
from initbench.study.results import Results, history_rows

STUDY = ["init=eye,kaiming_normal,xavier_normal", "sharing=none,all", "seeds=3", "optim.lr=[0.1,0.5]", "train.steps=12"]
SMALL = ["model.width=8", "model.depth=3", "engine.workers=1", "track.uri=null", "report.formats=[csv]"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return ib.run([*STUDY, *SMALL, f"outputs={tmp_path_factory.mktemp('history')}", "study=s"])


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in one order, names as text."""
    frame = frame.astype({"run": str, "metric": str})
    return frame.sort_values(["run", "metric", "layer", "step"]).reset_index(drop=True)


def test_pieces_are_those_of_the_whole(results):
    file, whole = results.measured, results.history
    assert isinstance(file, HistoryFile)
    assert not file.empty
    names = sorted(whole["metric"].astype(str).unique())
    assert list(file.metrics) == names == stats.metrics(whole)
    assert stats.whole_net(file) == stats.whole_net(whole)
    assert 0 < len(stats.whole_net(file)) < len(names)
    for name in names:
        assert_frame_equal(plain(file.metric(name)), plain(whole[whole["metric"] == name]))
    assert_frame_equal(plain(file.at_step(0)), plain(whole[whole["step"] == 0]))
    assert file.metric("no such thing").empty
    assert whole.dtypes.astype(str).to_dict() == {
        "run": "category", "step": "int32", "metric": "category", "layer": "Int16", "value": "float64"
    }  # fmt: skip
    assert_frame_equal(pd.read_parquet(file.path), whole)  # as anybody else reads it


def test_a_row_group_holds_one_metric(results):
    metadata = pq.read_metadata(results.measured.path)
    for i in range(metadata.num_row_groups):
        known = metadata.row_group(i).column(2).statistics
        assert known.min == known.max


@pytest.mark.parametrize("block", [1, 300, 10**6])
def test_statistics_are_the_same_from_the_file_and_from_memory(results, tmp_path, monkeypatch, block):
    monkeypatch.setattr(history, "BLOCK", block)
    whole = results.history
    given = pa.Table.from_pandas(whole, schema=HISTORY_SCHEMA, preserve_index=False)
    per_run = (given.filter(pa.compute.field("run") == run) for run in results.runs["run"])
    tables = ((n, run.filter(pa.compute.field("metric") == n)) for run in per_run for n in stats.metrics(whole))
    file = HistoryFile(tmp_path / "history.parquet")
    with history.writing(file.path) as add:
        for name, table in tables:
            add(name, table)
    assert_frame_equal(plain(file.frame()), plain(whole))
    in_pieces, at_once = (Results(results.runs, h, results.study, tmp_path) for h in (file, whole))
    assert_frame_equal(in_pieces.compare(), at_once.compare())
    assert_frame_equal(stats.summary(results.runs, file), stats.summary(results.runs, whole))
    assert_frame_equal(stats.loss_bands(file, results.runs), stats.loss_bands(whole, results.runs))
    maps = [stats.layer_maps(h, results.runs, "grad_norm") for h in (file, whole)]
    assert_frame_equal(*maps)
    easier = [stats.retarget(results.runs, h, "accuracy/train", 0.2)["steps_to_target"] for h in (file, whole)]
    assert easier[0].equals(easier[1])
    assert easier[0].notna().any()


def test_no_more_than_a_block_is_held_while_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "BLOCK", 10_000)
    one = Series(tuple(range(10)), tuple(range(10)), np.random.default_rng(0).normal(size=(20, 10, 10)))
    store = Store(tmp_path / "store")
    store.write("k", Chunk(tuple((i, 0.1) for i in range(20)), np.full(20, -1), {"m": one}))
    stored = store.read("k", [(i, 0.1) for i in range(20)])
    held = []
    tracemalloc.start()
    with history.writing(tmp_path / "a") as add:
        for arm in range(100):
            add(f"metric {arm % 3}", history_rows(pa.array([f"{arm} {i}" for i in range(20)]), stored, "m"))
            held.append(tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes())
    tracemalloc.stop()
    assert pq.read_metadata(tmp_path / "a").num_rows == 100 * 2000
    # of 3.8 MB
    assert max(held) - min(held) < 2**20


def test_a_reader_keeps_few_metrics(results, monkeypatch):
    file = HistoryFile(results.measured.path)
    first = file.metric("loss/train")
    assert file.metric("loss/train") is first
    monkeypatch.setattr(history, "KEPT", 1)
    for name in file.metrics:
        file.metric(name)
        assert len(file.kept) == 1
    assert_frame_equal(file.metric("loss/train"), first)


def test_a_file_that_is_none_is_refused_in_one_line(results, tmp_path):
    whole = results.measured.path.read_bytes()
    for name, content in {"text": b"x" * 200, "torn": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        for ask in (lambda f: f.columns, lambda f: f.metric("loss/train"), lambda f: f.frame(), lambda f: f.empty):
            with pytest.raises(InputError, match="cannot be read") as error:
                ask(HistoryFile(tmp_path / name))
            assert "\n" not in str(error.value)


def test_frames_that_fail_leave_the_old_history(results, tmp_path, monkeypatch):
    from initbench.study.results import frames

    folder = tmp_path / "s"
    store = Store(results.folder.parent / "store")
    frames(results.study, store, folder)
    before = (folder / "history.parquet").read_bytes()
    assert before == results.measured.path.read_bytes()
    impossible = {**results.study, "target": {"metric": "no/such", "value": 1}}
    with pytest.raises(InputError, match="target metric"):
        frames(impossible, store, folder)
    assert [path.name for path in folder.iterdir()] == ["history.parquet"]
    assert (folder / "history.parquet").read_bytes() == before


@pytest.mark.parametrize("kept", [0, 10**9])
def test_parts_with_other_series_join(tmp_path, monkeypatch, kept):
    """Runs of one arm whose parts hold other steps and other series: what a part lacks is NaN."""
    monkeypatch.setattr(store_module, "KEPT", kept)
    store = Store(tmp_path)
    one = Series((0, 1, 2), None, np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    two = Series((0, 2, 5), None, np.array([[7.0, 8.0, 9.0]]))
    layered = Series((0,), (0, 1), np.array([[[1.0, 2.0]]]))
    store.write("k", Chunk(((1, 0.1), (0, 0.1)), np.array([-1, 2]), {"loss": one}))
    store.write("k", Chunk(((0, 0.3),), np.array([-1]), {"loss": two, "norm": layered}, np.array([5])))
    stored = store.read("k", [(0, 0.1), (0, 0.3), (1, 0.1), (9, 9.0)])
    assert stored is not None
    assert stored.runs == ((0, 0.1), (0, 0.3), (1, 0.1))
    assert stored.diverged_at.tolist() == [2, -1, -1]
    assert stored.stopped_at.tolist() == [-1, 5, -1]
    assert stored.init_flops is None
    loss = stored.series("loss")
    assert loss.steps == (0, 1, 2, 5)
    nan = np.nan
    np.testing.assert_array_equal(loss.values, [[4, 5, 6, nan], [7, nan, 8, 9], [1, 2, 3, nan]])
    np.testing.assert_array_equal(stored.series("norm").values, [[[nan, nan]], [[1, 2]], [[nan, nan]]])
    assert store.read("k", [(9, 9.0)]) is None


def test_a_bootstrap_in_blocks_is_the_bootstrap(monkeypatch):
    rng = np.random.default_rng(3)
    n = 40
    panel = Panel(np.arange(3.0), np.arange(n), rng.normal(size=(3, n)), np.ones((3, n)), rng.random((3, n)))
    single = Panel(*(x[:1] if x.ndim == 2 or len(x) == 3 else x for x in vars(panel).values() if x is not None))

    def found() -> list[np.ndarray]:
        for cached in (intervals.resamples, crossfit.weights):
            cached.cache_clear()
        fits = [crossfit.crossfit(one).draws for one in (panel, single)]
        return [*fits, np.array(intervals.median_interval(panel.log[0])), intervals.resampled(panel.log[0], np.mean)]

    at_once = found()
    for module in (intervals, crossfit):
        monkeypatch.setattr(module, "blocks", partial(intervals.blocks, most=7 * n))
    in_blocks = found()
    for one, other in zip(at_once, in_blocks):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    whole = np.random.default_rng([20250101, n]).integers(0, n, size=(2000, n))
    assert (intervals.resamples(n) == whole).all()
    for cached in (intervals.resamples, crossfit.weights):
        cached.cache_clear()


def test_the_same_study_gives_the_same_bytes(results, tmp_path):
    ib.run([*STUDY, *SMALL, f"outputs={tmp_path}", "study=s"])
    digests = {
        hashlib.sha256(Path(f).read_bytes()).hexdigest()
        for f in (results.measured.path, tmp_path / "s/history.parquet")
    }
    assert len(digests) == 1
