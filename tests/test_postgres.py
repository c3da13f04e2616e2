"""MLflow on PostgreSQL, directly and behind `mlflow server`; a server of one's own is started, and skipped where there is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

import postgres
from initbench import track
from initbench.__main__ import main
from initbench.errors import InputError
from initbench.report.__main__ import main as report
from initbench.sync.__main__ import main as sync
from initbench.track import answers, bulk, filling
from initbench.track.databases import migrations
from initbench.track.store import ClientStore
from test_server import PASSWORD, SMALL, assert_hidden
from test_track import client, snapshot, stored, use
from track_studies import study, with_files

pytestmark = [pytest.mark.needs_postgresql, postgres.needs_postgresql]


@pytest.fixture(scope="module")
def server():
    with postgres.serving() as made:
        made.tables = made.new()  # with MLflow's tables: they take seconds, a copy of the database none
        track.warm_up(track.resolve_uri(made.tables))
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        for engine in SqlAlchemyStore._engine_map.values():
            engine.dispose()  # a database that somebody is connected to is not copied
        yield made


@pytest.fixture
def database(server):
    return track.resolve_uri(server.new(template=server.tables.rpartition("/")[2]))


def points(server, uri: str, name: str) -> dict[tuple[str, str], list[tuple]]:
    """{(run key, metric): its points} of all runs of a study, by SQL."""
    rows = server.run(
        "SELECT tags.value, metrics.key, step, metrics.value FROM metrics JOIN tags USING (run_uuid) JOIN runs USING (run_uuid) "
        f"JOIN experiments USING (experiment_id) WHERE tags.key = 'initbench.run' AND experiments.name = '{name}' ORDER BY 1, 2, 3",
        uri.replace("+psycopg2", ""),
    )
    found: dict[tuple[str, str], list[tuple]] = {}
    for run, metric, step, value in rows:
        found.setdefault((run, metric), []).append((step, value))
    return found


FILL = """
    import sys
    sys.path.insert(0, {tests!r})
    from pathlib import Path
    from track_studies import study
    from initbench import track
    given = study(Path({folder!r}) / sys.argv[1], seeds={seeds}, steps=40, layers=2, name=sys.argv[1], arms=("eye", "zeros"))
    print(track.fill(given, track.resolve_uri({uri!r})).message)
"""


def two_at_once(uri: str, folder: Path, seeds: int) -> list[str]:
    """What two commands say that fill one store at the same time."""
    code = textwrap.dedent(FILL).format(tests=str(Path(__file__).parent), folder=str(folder), seeds=seeds, uri=uri)
    both = [subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for name in ("one", "two")]  # fmt: skip
    said = [process.communicate(timeout=1200) for process in both]
    assert [err for _, err in said] == ["", ""]
    return [out.strip() for out, _ in said]


def assert_is_there(server, uri: str, folder: Path, seeds: int) -> None:
    """Every count and value of the two studies is that of their frames."""
    given = {
        name: study(folder / name, seeds=seeds, steps=40, layers=2, name=name, arms=("eye", "zeros"))
        for name in ("one", "two")
    }
    plain = uri.replace("+psycopg2", "")
    counts = server.run("SELECT experiments.name, status, count(*) FROM runs JOIN experiments USING (experiment_id) "
                        "WHERE runs.lifecycle_stage = 'active' GROUP BY 1, 2 ORDER BY 1", plain)  # fmt: skip
    each = 2 * (1 + 3 * seeds)
    assert counts == [("one", "FINISHED", each), ("two", "FINISHED", each)]
    for name, one in given.items():
        there = points(server, uri, name)
        history = one.history[one.history["layer"].isna() & one.history["metric"].str.startswith(("loss", "accuracy"))]
        values = {(run, metric, step): value for run, metric, step, value in
                  zip(history["run"], history["metric"], history["step"], history["value"])}  # fmt: skip
        for row in one.runs.itertuples():
            assert there[row.run, "loss/train"][0][0] == 0
            assert ((row.run, "steps_to_target") in there) == (row.steps_to_target == row.steps_to_target)
            if row.steps_to_target == row.steps_to_target:
                assert there[row.run, "steps_to_target"] == [(0, row.steps_to_target)]
        assert {run for run, _ in there} == set(one.runs["run"])
        for (run, metric), found in there.items():
            if "/" in metric:
                assert found == [(step, values[run, metric, step]) for step, _ in found]


def test_two_sweeps_at_once_into_one_database_of_2000_runs(server, database, tmp_path):
    said = two_at_once(database, tmp_path, seeds=167)
    assert said == ["2 arms and 1,002 runs in MLflow, 1,004 written now"] * 2
    assert_is_there(server, database, tmp_path, seeds=167)


def test_two_commands_of_one_study_at_once_write_it_once(server, database, tmp_path):
    given = with_files(study(tmp_path / "demo", seeds=3))
    messages: list[str] = []
    threads = [threading.Thread(target=lambda: messages.append(track.fill(given, database).message)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(message.rpartition(", ")[2] for message in messages) == [
        "0 written now",
        "0 written now",
        "21 written now",
    ]
    assert len(stored(database)) == 21


def test_both_ways_write_what_a_file_gets(server, database, tmp_path, monkeypatch):
    given = with_files(study(tmp_path / "demo", seeds=2, failed=("orthogonal",)))
    given.runs["init.words"] = 'a "quoted", \\N, tab\t, 李明\n'
    monkeypatch.setattr(bulk, "AT_ONCE", 4)
    other = track.resolve_uri(server.new(template=server.tables.rpartition("/")[2]))
    file = f"sqlite:///{tmp_path / 'file.db'}"
    track.fill(given, file, children="full")
    seen = []
    for path, where in (("bulk", database), ("client", other)):
        use(path, monkeypatch)
        assert track.fill(given, where, children="full").complete
        assert track.fill(given, where, children="full").message.endswith(" 0 written now")
        seen.append(snapshot(where, by_client=True))
    use("bulk", monkeypatch)
    assert seen[0] == seen[1] == snapshot(file, by_client=True)
    assert track.fill(given, other, children="full").message.endswith(" 0 written now")  # either goes on


def test_a_wider_sweep_and_a_lost_run_in_a_database(server, database, tmp_path):
    track.fill(study(tmp_path / "demo", lrs=(0.1,), seeds=2), database)
    wide = study(tmp_path / "demo", lrs=(0.1, 1.0), seeds=3)
    assert "10 written now" in track.fill(wide, database).message
    run = stored(database)[0]
    client(database).delete_run(run.info.run_id)
    assert "1 written now" in track.fill(wide, database).message
    assert len(stored(database)) == 2 * (1 + 6)


def test_a_database_that_stops_on_the_way_and_comes_back(server, database, tmp_path, monkeypatch):
    given = study(tmp_path / "demo", arms=("eye", "zeros", "orthogonal", "xavier_normal"), seeds=3)
    monkeypatch.setattr(bulk, "AT_ONCE", 10)
    transactions = []
    usual = bulk.BulkStore._transaction

    def stops(self, change):
        transactions.append(1)
        if len(transactions) == 3:
            server.stop()
            threading.Timer(1.0, server.start).start()
        usual(self, change)

    monkeypatch.setattr(bulk.BulkStore, "_transaction", stops)
    filled = track.fill(given, database)
    assert filled.complete, filled.message
    assert len(stored(database)) == 4 * (1 + 9)


def test_what_a_database_refuses_is_one_line_at_once_and_without_its_password(
    server, database, folder, capfd, monkeypatch
):
    monkeypatch.setenv("INITBENCH_CACHE", str(folder / "cache"))
    wrong = track.resolve_uri(server.uri(password="wr0ng-pw"))
    start = time.monotonic()
    assert main([*SMALL, f"track.uri={wrong}", "study=s"]) == 1
    assert time.monotonic() - start < 60  # MLflow itself: more than 100 s
    shown = "".join(capfd.readouterr())
    assert 'is incomplete: password authentication failed for user "alice"; the results are on disk' in shown
    assert_hidden(folder, shown, "wr0ng-pw")
    assert track.experiment(track.resolve_uri(server.uri("nowhere")), "s") is None
    filled = track.fill(study(folder / "demo"), track.resolve_uri(server.uri("nowhere")))
    assert 'database "nowhere" does not exist' in filled.message
    assert main([*SMALL, f"track.uri={database}", "study=s"]) == 0
    assert sync(["outputs/s", "--to", database]) == 0
    assert report(["mlflow:s", "--uri", database, "--format", "csv"]) == 0
    shown = "".join(capfd.readouterr())
    assert "1 arm and 2 runs in MLflow, 0 written now" in shown
    assert_hidden(folder, shown, PASSWORD)
    tags = server.run(
        "SELECT value FROM tags UNION SELECT value FROM experiment_tags", database.replace("+psycopg2", "")
    )
    assert not [text for (text,) in tags if PASSWORD in (text or "")]


def test_tables_of_another_mlflow_are_left_alone(server, database, tmp_path):
    plain = database.replace("+psycopg2", "")
    (head,) = migrations().keys() - set(migrations().values())
    for revision, words in (("ffffffffffff", "another version of MLflow"), (migrations()[head], "an older MLflow")):
        server.run(f"UPDATE alembic_version SET version_num = '{revision}'", plain)
        filled = track.fill(study(tmp_path / "demo"), database)
        assert words in filled.message
        assert server.run("SELECT version_num FROM alembic_version", plain) == [(revision,)]
    with pytest.raises(InputError, match="an older MLflow"):
        track.fetch("demo", database, tmp_path / "there")
    empty = track.resolve_uri(server.new())
    with pytest.raises(InputError, match="no tables of MLflow"):
        track.fetch("demo", empty, tmp_path / "there")
    assert server.run("SELECT * FROM pg_tables WHERE schemaname = 'public'", empty.replace("+psycopg2", "")) == []


def test_a_silent_database_is_given_up(server, database, tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "SILENCE", 2.0)
    monkeypatch.setattr(answers.unreachable, "__defaults__", (2.0,))
    plain = database.replace("+psycopg2", "")
    import psycopg2

    holder = psycopg2.connect(plain)
    holder.cursor().execute("LOCK TABLE runs")
    start = time.monotonic()
    assert "no answer for 2 s" in track.fill(study(tmp_path / "demo"), database).message
    holder.close()
    assert track.fill(study(tmp_path / "demo"), database).complete
    head = int((server.data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(head, signal.SIGSTOP)
    try:
        filled = track.fill(study(tmp_path / "demo"), database)
        assert "timeout" in filled.message
    finally:
        os.kill(head, signal.SIGCONT)
    assert time.monotonic() - start < 60


@pytest.mark.parametrize("seeds", [4, pytest.param(167, marks=pytest.mark.long)])
def test_two_sweeps_at_once_through_mlflow_server(server, database, tmp_path, seeds):
    port = server.port + 1 if server.port < 65000 else server.port - 1
    where = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--port", str(port)]
    command += ["--artifacts-destination", str(tmp_path / "artifacts"), "--workers", "1"]
    log = (tmp_path / "server.log").open("w")
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        for _ in range(240):
            if answers.unreachable(where, 1.0) is None:
                break
            time.sleep(0.5)
        said = f"2 arms and {6 * seeds:,} runs in MLflow, {6 * seeds + 2:,} written now"
        assert two_at_once(where, tmp_path, seeds=seeds) == [said] * 2
        assert_is_there(server, database, tmp_path, seeds=seeds)
        again = study(tmp_path / "one", seeds=seeds, steps=40, layers=2, name="one", arms=("eye", "zeros"))
        assert track.fill(again, database).message.endswith(" 0 written now")  # and directly
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the server's own group: it has a child
        process.wait(20)
        log.close()


def test_the_public_client_is_used_where_bulk_is_not_known_to_be_safe():
    assert not bulk.BulkStore.fits(None, "mysql+pymysql://h/x")
    assert not bulk.BulkStore.fits(None, "http://h")
    assert issubclass(bulk.BulkStore, ClientStore)
