"""Tracking: what is written, that both ways of writing agree, that it can be repeated, killed, and widened."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from initbench import track
from initbench.errors import InputError
from initbench.startup import scratch
from initbench.track import answers, bulk, opening, pages, uri
from initbench.track.bulk import BulkStore
from initbench.track.points import NEVER, History, bands, per_run, thinned
from initbench.track.records import arms_of, key_of
from initbench.track.store import ClientStore
from track_studies import retimed, study, with_files

PATHS = ("bulk", "client")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A database with MLflow's tables; creating them takes two seconds, copying the file none."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    track.warm_up(uri.sqlite_uri(file))
    return file


@pytest.fixture
def database(tmp_path, empty_database):
    def copy(name: str = "mlflow") -> str:
        file = tmp_path / f"{name}.db"
        if not file.exists():
            shutil.copy(empty_database, file)
        return uri.sqlite_uri(file)

    return copy


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Each test with it runs with both ways of writing."""
    use(request.param, monkeypatch)
    return request.param


def use(path: str, monkeypatch) -> None:
    monkeypatch.setattr(BulkStore, "fits", classmethod(lambda cls, client, uri: path == "bulk"))


def client(where: str):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=where)


def stored(where: str, name: str = "demo") -> list:
    found = client(where)
    experiment = found.get_experiment_by_name(name)
    return list(found.search_runs([experiment.experiment_id], max_results=5000))


def histories(where: str, run, by_client: bool) -> dict[str, list]:
    """All points of a run; one request a metric is slow, so usually they are read from the database file."""
    if by_client:
        names, found = run.data.metrics, client(where)
        points = {name: found.get_metric_history(run.info.run_id, name) for name in names}
        return {name: sorted((m.step, m.value, m.timestamp) for m in of_name) for name, of_name in points.items()}
    seen = defaultdict(list)
    with closing(sqlite3.connect(uri.sqlite_file(where))) as connection:
        wanted = "SELECT key, step, value, timestamp FROM metrics WHERE run_uuid = ? AND NOT is_nan ORDER BY 1, 2, 3, 4"
        for name, *point in connection.execute(wanted, (run.info.run_id,)):
            seen[name].append(tuple(point))
    return dict(seen)


def snapshot(where: str, name: str = "demo", ids: bool = False, by_client: bool = False) -> dict:
    """Everything a person can see, by key; ids of runs replaced by keys unless wanted. Fails on a doubled run."""
    runs = stored(where, name)
    key = {run.info.run_id: key_of(run.data.tags) for run in runs}
    assert None not in key.values()
    assert len(set(key.values())) == len(runs), "a run is there twice"
    seen = {}
    for run in runs:
        info, tags = run.info, dict(run.data.tags)
        parent = tags.pop("mlflow.parentRunId", None)
        seen[key[info.run_id]] = {
            "info": (info.run_name, info.status, info.start_time, info.end_time, info.lifecycle_stage, info.user_id),
            "tags": tags,
            "parent": key.get(parent, parent),
            "params": dict(run.data.params),
            "latest": dict(run.data.metrics),
            "history": histories(where, run, by_client),
            **({"id": info.run_id} if ids else {}),
        }
    return seen


# --- what is written --------------------------------------------------------------------------------------------


def test_both_paths_write_the_same(tmp_path, database, monkeypatch):
    given = with_files(study(tmp_path / "demo", lrs=(0.1, 1.0), failed=("orthogonal",)))
    seen = {}
    monkeypatch.setattr(bulk, "AT_ONCE", 4)
    for path in PATHS:
        use(path, monkeypatch)
        filled = track.fill(given, database(path), children="full")
        assert filled.complete, filled.message
        seen[path] = snapshot(database(path), by_client=True)
        assert seen[path] == snapshot(database(path))
    assert seen["bulk"].keys() == seen["client"].keys()
    for key in seen["bulk"]:
        assert seen["bulk"][key] == seen["client"][key], key
    assert sum(len(run["history"]) for run in seen["bulk"].values()) > 100
    search = "metrics.`share_reached` > 0.1 and params.lr_chosen = '0.1'"
    names = []
    for path in PATHS:
        found = client(database(path))
        experiment = found.get_experiment_by_name("demo").experiment_id
        runs = found.search_runs([experiment], search, order_by=["metrics.`steps_to_target_median` ASC"])
        names.append([run.info.run_name for run in runs])
    assert names[0] == names[1] == ["xavier_normal · none"]


def test_the_tree_of_runs(tmp_path, database, path):
    given = with_files(study(tmp_path / "demo"))
    track.fill(given, database())
    seen = snapshot(database())
    arms = {k: v for k, v in seen.items() if k.startswith("arm:")}
    runs = {k: v for k, v in seen.items() if k.startswith("run:")}
    assert len(arms) == 2
    assert runs.keys() == {f"run:{run}" for run in given.runs["run"]}
    arm_of = dict(zip("run:" + given.runs["run"], "arm:" + given.runs["arm_key"]))
    assert all(run["parent"] == arm_of[key] for key, run in runs.items())
    # the page lists by date, the latest first: arms, then the report, then single runs
    assert min(a["info"][2] for a in arms.values()) > seen["report"]["info"][2]
    assert seen["report"]["info"][2] > max(r["info"][2] for r in runs.values())
    best = max(arms.values(), key=lambda arm: arm["info"][2])
    assert best["latest"]["steps_to_target_median"] == min(
        arm["latest"]["steps_to_target_median"] for arm in arms.values()
    )
    assert best["params"]["optim.lr"] == "[0.01, 0.1, 1.0]"
    assert best["params"]["model.bias"] == "true"
    assert not any(name.startswith("track.") for name in best["params"])


def test_the_filters_of_the_docs_find_what_they_say(tmp_path, database):
    from mlflow import MlflowClient

    given = study(tmp_path / "demo")
    track.fill(given, database())
    page = (Path(__file__).parents[1] / "docs/tracking.md").read_text(encoding="utf-8")
    filters = re.findall(r"^\| `{1,2}(tags.*?|metrics.*?)`{1,2} \|", page, re.MULTILINE)
    client = MlflowClient(database())
    ids = [one.experiment_id for one in client.search_experiments()]
    found = [len(client.search_runs(ids, one, max_results=1000)) for one in filters]
    runs = given.runs
    bad = int((runs["status"] == "diverged").sum())
    assert bad > 0
    assert found == [runs["arm_key"].nunique(), len(runs) - bad, bad, int((runs["steps_to_target"] <= 50).sum())]


def test_numbers_of_an_arm(tmp_path, database, path):
    given = study(tmp_path / "demo", arms=("xavier_normal",), seeds=5)
    track.fill(given, database(), children="full")
    seen = snapshot(database())
    arm = seen[f"arm:{given.runs['arm_key'][0]}"]
    lr = arm["latest"]["lr_chosen"]
    best = given.runs[given.runs["optim.lr"] == lr]
    history = given.history.assign(run=given.history["run"].astype(str))
    for metric, layer, name, p10 in [
        ("loss/train", None, "loss/train", "loss_p10/train"),
        ("grad_norm", 1, "grad_norm/layer_01", "grad_norm_p10/layer_01"),
    ]:
        rows = history[history["run"].isin(best["run"]) & (history["metric"] == metric)]
        rows = rows[rows["layer"].isna() if layer is None else (rows["layer"] == layer).fillna(False)]
        for quantile, key in ((0.5, name), (0.1, p10)):
            method = "linear" if quantile == 0.5 else "inverted_cdf"  # the median is that of the report
            expected = [
                (step, np.quantile(part["value"], quantile, method=method)) for step, part in rows.groupby("step")
            ]
            assert [(s, v) for s, v, _ in arm["history"][key]] == expected
    assert arm["latest"]["n"] == 5
    assert arm["latest"]["share_reached"] == best["steps_to_target"].notna().mean()
    at = given.runs[given.runs["optim.lr"] == 1.0]
    assert arm["latest"]["lr_1/diverged"] == (at["status"] == "diverged").sum() == 2
    assert arm["latest"]["lr_1/n"] == 5
    share = {s: v for s, v, _ in arm["history"]["trained_share"]}
    assert share[0] == 0
    assert share[max(share)] == arm["latest"]["share_reached"]
    first = best["steps_to_target"].min()
    assert share[first] == (best["steps_to_target"] <= first).mean() > 0
    assert "**" in arm["tags"]["mlflow.note.content"]


def medians(parent, metric: str) -> dict[str, np.ndarray]:
    """Name -> curve of the metric's medians by layer."""
    names = sorted({key for key in parent.points.key if key.startswith(f"{metric}/")})
    return {name.partition("/")[2]: parent.points.value[parent.points.key == name] for name in names}


def test_an_arm_has_three_layers_at_any_depth_unless_all_are_asked_for(tmp_path):
    counts = {}
    for layers, ends in ((1, [0]), (2, [0, 1]), (3, [0, 2, 1]), (8, [0, 7, 3]), (31, [0, 30, 15])):
        given = study(tmp_path, arms=("eye",), lrs=(0.1,), seeds=2, layers=layers)
        few, full = (arms_of(given, children)[0].parent for children in ("headline", "full"))
        every = list(medians(full, "grad_norm").values())
        assert len(every) == layers
        assert "grad_norm_p90/layer_00" in full.points.key
        found = medians(few, "grad_norm")
        assert list(found) == ["first_layer", "last_layer", "middle_layer"][: len(ends)]
        for curve, layer in zip(found.values(), ends):
            assert curve.tolist() == every[layer].tolist()
        counts[layers] = len(set(few.points.key))
        assert not medians(few, "weight_std")  # measured, and in the frames
        loss, every_loss = medians(few, "loss")["train"], medians(full, "loss")["train"]
        assert len(loss) < 45 <= len(every_loss)
        assert loss[[0, -1]].tolist() == every_loss[[0, -1]].tolist()
    assert counts[3] == counts[31]
    given.study["arms"][0]["config"]["measure"] = {"metrics": ["weight_std"]}
    assert list(medians(arms_of(given)[0].parent, "weight_std")) == ["first_layer", "last_layer", "middle_layer"]


def test_the_three_layers_are_each_arm_s_own(tmp_path):
    shallow, deep = study(tmp_path, arms=("eye",), layers=3), study(tmp_path, arms=("zeros",), layers=9)
    both = replace(
        shallow, runs=pd.concat([shallow.runs, deep.runs], ignore_index=True),
        history=pd.concat([one.history.astype({"run": str, "metric": str}) for one in (shallow, deep)]),
        study=shallow.study | {"arms": [*shallow.study["arms"], *deep.study["arms"]]},
    )  # fmt: skip
    for arm, alone in zip(arms_of(both), (arms_of(shallow), arms_of(deep))):
        ours, theirs = medians(arm.parent, "grad_norm"), medians(alone[0].parent, "grad_norm")
        assert {name: curve.tolist() for name, curve in ours.items()} == {k: v.tolist() for k, v in theirs.items()}


def test_headline_runs_are_thin_and_end_with_their_last_value(tmp_path, database):
    given = study(tmp_path / "demo", steps=300)
    track.fill(given, database())
    seen = snapshot(database())
    for row in given.runs.itertuples():
        run = seen[f"run:{row.run}"]
        assert set(run["history"]) <= {
            *("loss/train", "loss/val", "loss/batch", "accuracy/train"),
            *("steps_to_target", "flops_to_target", "gap_at_target", "diverged_at"),
        }
        curve = run["history"]["loss/train"]
        assert curve[0][0] == 0
        if row.status == "completed":
            assert 18 <= len(curve) <= 20
            assert curve[-1][0] == 300
            assert run["latest"]["loss/train"] == given.runs.loc[row.Index, "loss/train"]
        else:
            assert curve[-1][0] == 14  # it diverged at 15
            assert run["latest"]["diverged_at"] == 15
        assert ("steps_to_target" in run["latest"]) == (not np.isnan(row.steps_to_target))
        assert all(np.isfinite(v) for points in run["history"].values() for _, v, _ in points)


def test_failed_and_inapplicable_arms_are_listed(tmp_path, database, path):
    given = study(tmp_path / "demo", failed=("orthogonal",))
    for label in ("eye · none", "zeros · none"):
        given.study["arms"].append(
            {
                "arm_key": "", "label": label, "setup": label, "setting": "digits", "config": {},
                "status": "not applicable", "reason": "needs a square weight", "runs": 0,
            }
        )  # fmt: skip
    assert track.fill(given, database()).complete
    assert track.fill(given, database()).message.endswith("0 written now")
    seen = snapshot(database())
    failed = seen[f"arm:{given.study['arms'][1]['arm_key']}"]
    assert failed["info"][1] == "FAILED"
    assert failed["latest"]["failed"] == failed["latest"]["n"] == 2
    runs = [run for run in seen.values() if run["parent"] == f"arm:{given.study['arms'][1]['arm_key']}"]
    assert [run["info"][1] for run in runs] == ["FAILED"] * 6
    for label in ("eye · none", "zeros · none"):
        assert "needs a square weight" in seen[f"arm:{label}"]["tags"]["mlflow.note.content"]
        assert seen[f"arm:{label}"]["latest"] == {}


def test_a_study_without_target_or_runs(tmp_path, database):
    given = study(tmp_path / "demo")
    given.runs["steps_to_target"] = np.nan
    given.study["target"] = None
    assert track.fill(given, database()).complete
    arm = snapshot(database())[f"arm:{given.study['arms'][0]['arm_key']}"]
    assert "trained_share" not in arm["latest"]
    assert "steps_to_target_median" not in arm["latest"]
    empty = replace(given, runs=given.runs.iloc[:0], history=given.history.iloc[:0])
    empty.study["study"] = "empty"
    assert track.fill(empty, database()).complete
    assert len(snapshot(database(), "empty")) == 2


def test_children(tmp_path, database):
    given = study(tmp_path / "demo")
    track.fill(given, database(), children="none")
    assert all(key.startswith("arm:") for key in snapshot(database()))
    track.fill(given, database(), children="full")
    run = snapshot(database())[f"run:{given.runs['run'][0]}"]
    expected = given.history[given.history["run"] == given.runs["run"][0]]["value"].notna().sum()
    finals = ("steps_to_target", "flops_to_target", "gap_at_target", "diverged_at")
    assert sum(len(p) for name, p in run["history"].items() if name not in finals) == expected
    with pytest.raises(InputError, match="must be one of: full, headline, none"):
        track.fill(given, database(), children="all")


def test_report_is_an_artifact(tmp_path, database, path):
    given = study(tmp_path / "demo")
    track.fill(given, database(), drawn=lambda: with_files(given))  # another process may still draw it
    run = next(run for run in stored(database()) if run.info.run_name == "report")
    found = client(database())
    names = {file.path for file in found.list_artifacts(run.info.run_id)}
    assert names == {"report.md", "report.html", "runs.parquet", "study.json"}
    assert Path(found.download_artifacts(run.info.run_id, "report.html")).read_text() == "<h1>Report</h1>"
    assert (tmp_path / "mlruns" / "demo").is_dir()
    assert run.data.tags["mlflow.note.content"].startswith("# Report")
    (given.folder / "report.html").write_text("<h1>Better</h1>")
    track.fill(given, database())
    again = [run for run in stored(database()) if run.info.run_name == "report"]
    assert [r.info.run_id for r in again] == [run.info.run_id]
    assert Path(found.download_artifacts(run.info.run_id, "report.html")).read_text() == "<h1>Better</h1>"


# --- repeated, killed, widened ----------------------------------------------------------------------------------


def test_filling_again_changes_nothing(tmp_path, database, path):
    given = with_files(study(tmp_path / "demo"))
    track.fill(given, database())
    before = snapshot(database(), ids=True)
    again = track.fill(retimed(given, "2026-05-05T05:05:05+00:00"), database())
    assert again.message.endswith("0 written now")
    assert snapshot(database(), ids=True) == before
    hidden = client(database()).search_runs([again.experiment_id], run_view_type=2)  # DELETED_ONLY
    assert not list(hidden)


def test_either_path_goes_on_where_the_other_stopped(tmp_path, database, monkeypatch):
    given = study(tmp_path / "demo", lrs=(0.1,))
    for first, second in (PATHS, PATHS[::-1]):
        use(first, monkeypatch)
        track.fill(given, database(first))
        before = snapshot(database(first), ids=True)
        use(second, monkeypatch)
        assert track.fill(given, database(first)).message.endswith("0 written now")
        assert snapshot(database(first), ids=True) == before
        track.fill(study(tmp_path / "demo", lrs=(0.1, 1.0), seeds=3), database(first))
        assert len(snapshot(database(first))) == 2 + 12


class Killed(Exception):
    pass


def test_a_fill_that_stops_anywhere_is_completed(tmp_path, database, path, monkeypatch):
    given = with_files(study(tmp_path / "demo", lrs=(0.1,)))
    track.fill(given, database("whole"))
    whole = snapshot(database("whole"))
    part = snapshot_after_breaks = 0
    for at in (0, 1, 2, 5, 9, 20):
        where = database(f"broken_{at}")
        with monkeypatch.context() as patch:
            count = iter(range(10**6))

            def broken(original, at=at, count=count):
                def call(*args, **kwargs):
                    if next(count) >= at:
                        raise Killed
                    return original(*args, **kwargs)

                return call

            if path == "bulk":  # also inside a transaction
                values = BulkStore._values

                def torn(self, rows, at=at, count=count, values=values):
                    for table in values(self, rows):
                        if next(count) >= at:
                            raise Killed
                        yield table

                patch.setattr(BulkStore, "_values", torn)
            from mlflow import MlflowClient

            for name in ("create_run", "log_batch", "set_terminated", "log_artifact", "set_tag"):
                patch.setattr(MlflowClient, name, broken(getattr(MlflowClient, name)))
            try:
                track.fill(given, where)
            except Killed:
                part += 1
        snapshot_after_breaks += len(stored(where))
        assert track.fill(given, where).complete
        assert snapshot(where) == whole, at
    assert part >= 5
    assert snapshot_after_breaks > 0


def killed_fill(given, where: str, at: int) -> int:
    """How a process ends that fills, and that the system kills at a call of the database; forked: it has imported MLflow."""
    from sqlalchemy.engine.default import DefaultDialect

    calls = iter(range(10**9))

    def counted(original):
        def call(*args, **kwargs):
            if next(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return call

    pid = os.fork()
    if pid == 0:
        try:
            for name in ("do_executemany", "do_execute", "do_commit"):
                setattr(DefaultDialect, name, counted(getattr(DefaultDialect, name)))
            track.fill(given, where)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(("path", "at"), [("bulk", 45), ("bulk", 62), ("client", 150)], indirect=["path"])
def test_killed_by_the_system(tmp_path, database, path, at):
    given = with_files(study(tmp_path / "demo", lrs=(0.1,)))
    where = database("killed")
    track.fill(given, database("whole"))
    assert killed_fill(given, where, at) == -signal.SIGKILL
    assert 0 < len(stored(where)) < len(stored(database("whole"))) or any(
        run.info.status == "RUNNING" for run in stored(where)
    )
    assert track.fill(given, where).complete
    assert snapshot(where) == snapshot(database("whole"))


def test_a_wider_sweep_adds_only_what_is_new(tmp_path, database, path):
    narrow = study(tmp_path / "demo", arms=("xavier_normal", "orthogonal"), lrs=(0.01, 0.1), seeds=1)
    track.fill(narrow, database())
    before = snapshot(database(), ids=True)
    wide = study(tmp_path / "demo", arms=("eye", "xavier_normal", "orthogonal"), lrs=(0.01, 0.1, 1.0), seeds=2)
    filled = track.fill(wide, database())
    after = snapshot(database(), ids=True)
    new = len(wide.runs) - len(narrow.runs)
    assert f"{new + 3} written now" in filled.message
    for key in before:
        if key.startswith("run:"):
            assert after[key]["id"] == before[key]["id"]
            assert after[key]["history"] == before[key]["history"]
    track.fill(wide, database("fresh"))
    assert snapshot(database("fresh")).keys() == after.keys()
    fresh = snapshot(database("fresh"))
    for key, run in snapshot(database()).items():  # old statistics are gone, not mixed with the new
        assert run == fresh[key], key


def test_a_narrower_plan_leaves_what_is_there(tmp_path, database, path):
    track.fill(study(tmp_path / "demo", seeds=2), database())
    few = study(tmp_path / "demo", seeds=1)
    track.fill(few, database())
    seen = snapshot(database())
    assert sum(key.startswith("run:") for key in seen) == 12
    assert all(run["parent"] in seen for key, run in seen.items() if key.startswith("run:"))


def test_what_a_person_deleted_or_wrote(tmp_path, database, path):
    given = study(tmp_path / "demo")
    filled = track.fill(given, database())
    whole = snapshot(database())
    found = client(database())
    for run in stored(database())[:5]:
        found.delete_run(run.info.run_id)
    found.set_experiment_tag(filled.experiment_id, "mlflow.note.content", "my own words")
    track.fill(given, database())
    assert snapshot(database()) == whole
    assert found.get_experiment(filled.experiment_id).tags["mlflow.note.content"] == "my own words"
    found.delete_experiment(filled.experiment_id)
    assert track.fill(given, database()).complete
    assert snapshot(database()) == whole


# --- stores that are not there ----------------------------------------------------------------------------------


@pytest.fixture
def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:{port}", "http://no.such.host.invalid:5000", "postgresql://127.0.0.1:{port}/x"]
)
def test_unreachable_server(tmp_path, closed_port, name):
    start = time.monotonic()
    filled = track.fill(study(tmp_path / "demo"), name.format(port=closed_port))
    assert time.monotonic() - start < 8
    assert not filled.complete
    assert filled.experiment_id is None
    assert "\n" not in filled.message
    assert "results are on disk" in filled.message
    where = name.format(port=closed_port)
    assert filled.message.endswith(f"completes it: python -m initbench.sync {tmp_path / 'demo'} --to {where}")


def test_a_server_that_accepts_and_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr(answers.unreachable, "__defaults__", (0.5,))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        filled = track.fill(study(tmp_path / "demo"), f"http://127.0.0.1:{listener.getsockname()[1]}")
    assert not filled.complete
    assert "timed out" in filled.message


def test_no_database_and_a_locked_one(tmp_path, database, monkeypatch, capfd):
    monkeypatch.setattr(answers.unreachable, "__defaults__", (0.2,))
    text = tmp_path / "text.db"
    text.write_text("this is no database, however long it may be. " * 100)
    assert "not a database" in track.fill(study(tmp_path / "demo"), uri.sqlite_uri(text)).message
    lock = sqlite3.connect(uri.sqlite_file(database()), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    filled = track.fill(study(tmp_path / "demo"), database())
    lock.close()
    assert "locked" in filled.message
    assert not filled.complete
    assert capfd.readouterr().err == ""


def test_a_store_that_breaks_on_the_way(tmp_path, database, path, monkeypatch, capfd):
    from mlflow.exceptions import MlflowException

    def broken(*args):
        raise MlflowException("the disk is full\nand a trace")

    given = study(tmp_path / "demo")
    with monkeypatch.context() as patch:
        patch.setattr(ClientStore, "_begin", broken)
        patch.setattr(BulkStore, "_transaction", broken)
        filled = track.fill(given, database())
    assert not filled.complete
    assert filled.experiment_id is not None
    assert "the disk is full;" in filled.message
    assert capfd.readouterr().err == ""
    assert track.fill(given, database()).complete


def test_off():
    assert track.fill(None, None).complete


# --- small things -----------------------------------------------------------------------------------------------


def test_uri(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert track.resolve_uri("auto") == f"sqlite:///{tmp_path}/mlflow.db"
    assert track.resolve_uri("sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert track.resolve_uri("http://host:1/path") == "http://host:1/path"
    assert track.resolve_uri(None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert track.resolve_uri("auto") == "http://elsewhere:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htp://elsewhere")
    with pytest.raises(
        InputError, match=r"^MLFLOW_TRACKING_URI=htp://elsewhere: the scheme htp is unknown; must be one of: auto"
    ):
        track.resolve_uri("auto")
    (tmp_path / "folder").mkdir()
    for bad in ("", " ", "off", "http://", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:x.db", "ftp://x",
                "sqlite:///folder", "localhost:5000", "file:///tmp/x", "./mlruns"):  # fmt: skip
        with pytest.raises(InputError) as refused:
            track.resolve_uri(bad)
        assert "\n" not in str(refused.value)
    assert track.ui_command("sqlite:////a b/m.db") == "mlflow ui --backend-store-uri 'sqlite:////a b/m.db'"


@pytest.mark.parametrize("quantile", [("", 0.5), ("p10", 0.1), ("p90", 0.9)])
@pytest.mark.parametrize("seeds", [1, 2, 3, 10, 11, 20, 30, 50])
def test_quantiles_rank_a_diverged_run_worst(seeds, quantile):
    label, q = quantile
    draw = np.random.default_rng(seeds)
    names = [f"{i:016x}" for i in range(seeds)]
    runs = pd.DataFrame({"run": names})
    value = draw.normal(size=seeds)
    gone = draw.random(seeds) < 0.3
    value[gone] = np.nan
    missing = np.zeros(seeds, bool)
    if seeds > 2:
        missing[np.flatnonzero(~gone)[:1]] = True  # NaN without divergence: not counted
    value[missing] = np.nan
    for metric, worst in (("loss/train", np.inf), ("accuracy/train", -np.inf)):
        history = pd.DataFrame({"run": names, "step": 5, "metric": metric, "value": value})
        history["layer"] = pd.array([pd.NA] * seeds, dtype="Int16")
        got = bands(History.of(history, runs), np.zeros(seeds, int), 1, np.where(gone, 3, NEVER))[0]
        ranked = np.where(gone, worst, value)[~missing]
        with np.errstate(invalid="ignore"):
            middle = np.median(ranked) if q == 0.5 and len(ranked) else np.nan  # the report's, infinite if half are
        expected = np.quantile(ranked, q, method="inverted_cdf") if q != 0.5 and len(ranked) else middle
        name = metric.replace("/", f"_{label}/") if label else metric
        here = dict(zip(got.key, got.value))
        assert here.get(name) == (expected if np.isfinite(expected) else None)


def test_rows_in_any_order_and_doubled_rows(tmp_path):
    given = study(tmp_path)
    shuffled = given.history.sample(frac=1, random_state=1)
    twice = pd.concat([given.history, given.history], ignore_index=True)
    for kept in (History.of, lambda history, runs: thinned(History.of(history, runs))):
        one, two, three = (per_run(kept(h, given.runs), len(given.runs)) for h in (given.history, shuffled, twice))
        assert [p.digest() for p in one] == [p.digest() for p in two] == [p.digest() for p in three]
        assert len({p.digest() for p in one}) == len(one)


def test_parts_of_a_history_join(tmp_path):
    given = study(tmp_path)
    layered = given.history["layer"].notna()
    parts = [History.of(given.history[rows], given.runs) for rows in (layered, ~layered)]
    whole, joined = History.of(given.history, given.runs), History.concat(parts)
    assert joined.names.tolist() == whole.names.tolist()
    assert joined.headline.tolist() == whole.headline.tolist()
    assert [p.digest() for p in per_run(joined, len(given.runs))] == [
        p.digest() for p in per_run(whole, len(given.runs))
    ]
    assert len(History.concat([]).run) == 0


def test_content_does_not_depend_on_time_or_company(tmp_path):
    alone = arms_of(study(tmp_path, arms=("orthogonal",), seeds=4, created="2020-01-01T00:00:00"))
    among = arms_of(study(tmp_path, arms=("xavier_normal", "orthogonal"), seeds=4))  # it is the first in both
    assert [r.content for r in alone[0].runs] == [r.content for r in among[1].runs]
    assert alone[0].parent.content == among[1].parent.content


def test_names_mlflow_refuses(tmp_path, database, path):
    given = study(tmp_path / "demo", arms=("xavier_normal",), seeds=2)
    given.history["metric"] = given.history["metric"].cat.rename_categories({"grad_norm": "my: metric?/../α"})
    given.runs["init.per_layer"] = [{"layer_*": "x" * 7000}] * len(given.runs)
    given.study["arms"][0]["config"]["init"]["per_layer"] = {"0:3 → *": "eye"}
    filled = track.fill(given, database(), children="full")
    assert filled.complete, filled.message


def test_notes_and_view_fit_into_tags(tmp_path):
    given = study(tmp_path, arms=tuple(f"a_rather_long_name_of_an_initializer_{i}" for i in range(120)), seeds=1)
    parents = [arm.parent for arm in arms_of(given, "none")]
    assert len(pages.study_note(given.study, parents)) < 5000
    swept = given.study | {"command": f"python -m initbench init.std={','.join(map(str, range(5000)))}"}
    assert "| # | arm | lr |" in pages.study_note(swept, parents)
    assert len(pages.report_note("word\n" * 9000)) < 5000
    names = {name for parent in parents for name in parent.points.key}
    many = {f"quantity_{i}{q}/layer_{layer:02d}" for i in range(40) for q in ("", "_p10") for layer in range(50)}
    assert len(pages.view(names | many, 0)) < 5000


def test_the_view_begins_with_speed_and_names_its_charts(tmp_path):
    given = study(tmp_path)
    parents = [arm.parent for arm in arms_of(given, "none")]
    names = {name for parent in parents for name in parent.points.key}
    state = json.loads(pages.view(names, 0, {"loss/train"}))["state"].partition(";")[2]
    state = json.loads(zlib.decompress(base64.b64decode(state)))
    shown = {"n", "rank", "share_reached", "steps_to_target_median", "lr_chosen", "initbench.verdict"}
    assert {name.partition(".")[2].strip("`") for name in state["selectedColumns"]} == shown
    titles = [
        chart.get("displayName") for chart in state["compareRunCharts"] if chart["metricKey"].startswith("grad_norm/")
    ]
    assert titles == [f"gradient norm, {end} layer" for end in ("first", "last", "middle")]
    scales = {chart["metricKey"]: chart["scaleType"] for chart in state["compareRunCharts"] if chart["type"] == "LINE"}
    assert (scales["loss/train"], scales["trained_share"]) == ("log", "linear")


def test_arms_have_a_colour_and_the_verdict_of_the_report(tmp_path, database, path):
    given = study(tmp_path / "demo")
    given.folder.mkdir()
    for other in ("undecided", "undecided", "slower"):
        words = dict(zip(given.runs["arm_key"].unique(), ("baseline", other)))
        table = pd.DataFrame({"arm_key": list(words), "verdict": list(words.values())})
        table.to_csv(given.folder / "leaderboard.csv", index=False)
        assert track.fill(given, database()).complete
        seen = snapshot(database())
        for key, word in words.items():
            assert seen[f"arm:{key}"]["tags"]["initbench.verdict"] == word
    assert len({seen[f"arm:{key}"]["tags"]["mlflow.runColor"] for key in words}) == 2


def test_arms_have_their_data_set_and_the_report_has_the_leaderboard_as_a_table(tmp_path, database, path, monkeypatch):
    import mlflow

    given = study(tmp_path / "demo", arms=("eye", "lecun_normal", "sphere"))
    for arm, name, digest in zip(given.study["arms"], ("digits", "digits", "mnist1d"), ("00", "00", "11")):
        arm["data_hash"], arm["config"]["data"]["name"] = digest, name
    given.folder.mkdir()
    board = pd.DataFrame(
        {"rank": [1, 2], "setup": ["eye", "sphere, the other"], "steps": [40.5, np.inf], "lr_at_edge": [None, None]}
    )
    board.to_csv(given.folder / "leaderboard.csv", index=False)
    for _ in range(2):  # a second fill adds nothing
        track.fill(given, database())
        inputs = {
            run.data.params["init.name"]: [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs]
            for run in stored(database())
            if run.data.tags["initbench.kind"] == "arm"
        }
        assert inputs == {"eye": [("digits", "00")], "lecun_normal": [("digits", "00")], "sphere": [("mnist1d", "11")]}
    [report] = [run for run in stored(database()) if run.info.run_name == "report"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database())
    mlflow.set_tracking_uri(database())  # MLflow's load_table finds runs there, whatever its client was told
    try:
        shown = client(database()).load_table(report.info.experiment_id, "leaderboard.json", [report.info.run_id])
    finally:
        mlflow.set_tracking_uri(None)
    assert list(shown) == list(board)
    assert shown["setup"].tolist() == ["eye", "sphere, the other"]
    assert shown["steps"].tolist() == [40.5, np.inf]


def test_what_a_fill_needs_for_a_while_lies_where_the_next_command_clears_up(tmp_path, database, path, monkeypatch):
    made, anew = [], tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *a, **how: made.append(anew(*a, **how)) or made[-1])
    given = study(tmp_path / "demo", arms=("eye",))
    given.folder.mkdir()
    pd.DataFrame({"rank": [1], "setup": ["eye"]}).to_csv(given.folder / "leaderboard.csv", index=False)
    track.fill(given, database())
    ours = scratch.folder()
    assert made
    assert [one for one in made if not Path(one).is_relative_to(ours)] == []


def test_the_study_default_does_not_stand_beside_the_default_of_mlflow(tmp_path, database):
    given, found = with_files(study(tmp_path / "d", name="default")), client(database())
    theirs = found.create_experiment("DEFAULT")
    older = found.create_experiment("default", tags={"initbench.study": "default"})
    filled = track.fill(given, database())
    assert filled.experiment_id == older
    assert found.get_experiment(older).name == "initbench default"
    assert found.get_experiment(theirs).name == "DEFAULT"
    assert track.fill(given, database()).experiment_id == older
    for name in ("default", "initbench default"):
        with pytest.raises(InputError, match="not attached to its run `report`"):  # it is found
            track.fetch(name, database(), tmp_path / name)
    with pytest.raises(InputError, match="no such experiment"):
        track.fetch("initbench other", database(), tmp_path / "other")


def test_the_report_lasts_as_long_as_the_command_and_nothing_is_made_up_for_runs(tmp_path, database, path):
    given = with_files(study(tmp_path / "demo"))
    given.study["elapsed"] = 12.5
    track.fill(given, database())
    lasted = {key: run["info"][3] - run["info"][2] for key, run in snapshot(database()).items()}
    assert lasted.pop("report") == 12500
    assert set(lasted.values()) == {0}


def test_a_parameter_has_one_name_in_arms_and_runs(tmp_path):
    given = study(tmp_path)
    for arm in given.study["arms"]:
        arm["config"]["init"] = {"name": arm["config"]["init"]["name"], "args": {"gain": 1.0}}
    parent = arms_of(given, "none")[0].parent
    assert parent.params["init.gain"] == "1.0"
    assert not any(".args." in name for name in parent.params)


def test_importing_is_cheap():
    heavy = ("mlflow", "torch", "hydra", "sqlalchemy")
    code = f"import sys, initbench.track; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_warm_up_never_raises(tmp_path):
    track.warm_up(None)
    track.warm_up(uri.sqlite_uri(tmp_path / "folder" / "mlflow.db"))
    assert (tmp_path / "folder" / "mlflow.db").exists()
    track.warm_up("nonsense://x")


def test_telemetry_is_off_unless_wanted(monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    opening.prepare()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    opening.prepare()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_progress(tmp_path, database):
    seen = []
    track.fill(study(tmp_path / "demo"), database(), progress=lambda done, arms: seen.append((done, arms)))
    records = 2 * (1 + 6)
    assert seen == [(done, records) for done in range(records + 1)]
