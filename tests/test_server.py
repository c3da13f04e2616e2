"""A shared MLflow server: it may be slow, ill, silent or gone; what a study has to say reaches it all the same, and no password."""

from __future__ import annotations

import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

import mlflow_server
from conftest import assert_template
from initbench import track
from initbench.__main__ import main
from initbench.errors import InputError, masked
from initbench.sync.__main__ import main as sync
from initbench.track import filling
from initbench.track.answers import said
from initbench.track.databases import migrations, other_version
from initbench.track.patience import Silent, patiently
from initbench.track.records import key_of
from test_track import client, snapshot, stored
from track_studies import study, with_files

SMALL = ["init=eye", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", "engine.workers=1", "measure=none"]
PASSWORD = "S3cr3t-pw"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A database with MLflow's tables."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    track.warm_up(f"sqlite:///{file}")
    return file


@pytest.fixture
def server(empty, tmp_path, monkeypatch):
    """(its address, the server); impatient with it."""
    file = tmp_path / "server.db"
    file.write_bytes(empty.read_bytes())
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    monkeypatch.setattr(filling, "COMES_BACK", 2.0)
    with mlflow_server.serving(f"sqlite:///{file}", tmp_path / "artifacts") as made:
        yield made


# --- ill servers -------------------------------------------------------------------------------------------------


def test_a_server_that_answers_500_is_one_line_and_sync_completes_it(server, tmp_path):
    where, ill = server
    given = with_files(study(tmp_path / "demo"))
    ill.faults = lambda number, path: "500 Internal Server Error" if number % 7 == 6 else None
    begun = len(ill.requests)
    assert track.fill(given, where).complete  # now and then is nothing
    assert len(ill.requests) - begun > 40
    ill.faults = lambda number, path: "500 Internal Server Error" if path != "/health" else None
    filled = track.fill(given, where)
    assert filled.message == (
        f"tracking to {where} is incomplete: it answers 500 to every try; the results are on disk, and this completes it: "
        f"python -m initbench.sync {tmp_path / 'demo'} --to {where}"
    )
    ill.faults = lambda number, path: "503 Service Unavailable"
    begun = len(ill.requests)
    assert "it answers 503 (Service Unavailable)" in track.fill(given, where).message
    assert len(ill.requests) == begun + 1


def test_a_silent_server_costs_seconds_not_one_run_after_the_other(server, tmp_path, monkeypatch):
    where, ill = server
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(filling, "COMES_BACK", 0.0)
    ill.faults = lambda number, path: time.sleep(3) if path.endswith("/log-batch") else None
    start = time.monotonic()
    filled = track.fill(study(tmp_path / "demo", seeds=4), where)
    assert "no answer for 1 s" in filled.message
    assert time.monotonic() - start < 12


def test_a_server_that_stops_on_the_way_and_comes_back(server, tmp_path):
    where, ill = server
    given = with_files(study(tmp_path / "demo"))
    gone = range(25, 35)
    ill.faults = lambda number, path: "502 Bad Gateway" if number in gone else None
    assert track.fill(given, where).complete
    assert len(ill.requests) > max(gone)
    runs = stored(where)
    assert len(runs) == 2 * (1 + 6) + 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    track.fill(given, f"sqlite:///{tmp_path / 'file.db'}")
    assert snapshot(f"sqlite:///{tmp_path / 'server.db'}") == snapshot(f"sqlite:///{tmp_path / 'file.db'}")
    assert track.fill(given, where).message.endswith(" 0 written now")


def test_what_was_under_way_when_a_fill_broke_off_is_not_made_twice(server, tmp_path, monkeypatch):
    """One request fails for good while the others make runs slowly: they are there before the second try looks."""
    where, ill = server
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    failed: list[int] = []

    def faults(number: int, path: str) -> str | None:
        if not failed and number > 30 and path.endswith("/log-batch"):
            failed.append(number)
            return "502 Bad Gateway"
        if failed and number < failed[0] + 8 and path.endswith("/runs/create"):
            time.sleep(1.5)
        return None

    ill.faults = faults
    assert track.fill(study(tmp_path / "demo", seeds=4), where).complete
    assert failed
    runs = stored(where)
    assert len(runs) == len({key_of(run.data.tags) for run in runs}) == 2 * (1 + 12)


def test_what_has_not_begun_when_a_request_fails_does_not_begin(server, tmp_path, monkeypatch):
    where, ill = server
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    ill.faults = lambda number, path: "400 Bad Request" if path.endswith("/log-batch") else None
    assert not track.fill(study(tmp_path / "demo", seeds=10), where).complete
    assert sum(path.endswith("/runs/create") for path in ill.requests) < 40  # of 2 tries of 62


def test_waiting_has_an_end():
    with pytest.raises(Silent, match=r"no answer for 0\.1 s"):
        patiently(lambda say: time.sleep(5), 0.1)

    def slow(say):
        for _ in range(8):
            time.sleep(0.05)
            say()
        return "done"

    assert patiently(slow, 0.3) == "done"
    with pytest.raises(TimeoutError):
        patiently(lambda say: (_ for _ in ()).throw(TimeoutError()), 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HTTPConnectionPool(host='h', port=1): Read timed out. (read timeout=20)", "no answer for 20 s"),
        ("(Caused by NewConnectionError('[Errno 111] Connection refused'))", "Connection refused"),
        ("('Connection aborted.', RemoteDisconnected('closed'))", "Connection aborted"),
        ('(psycopg2.OperationalError) connection to server at "h" failed: FATAL:  no such user\n', "no such user"),
        ("(psycopg2.errors.LockNotAvailable) canceling statement", "canceling statement"),
        ("anything else", "anything else"),
    ],
)
def test_what_a_server_says_is_in_its_own_words(text, words):
    assert said(text) == words


# --- databases that are not MLflow's, or not of this MLflow --------------------------------------------------------


def foreign(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE customers (name TEXT)")


def revision(number: str):
    def edit(file: Path) -> None:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = ?", (number,))

    return edit


SQLITE = {
    "foreign": (foreign, True, "not a database of MLflow; move it away"),
    "newer": (
        revision("ffffffffffff"),
        False,
        "written by another version of MLflow, perhaps a newer one: update mlflow",
    ),
    "text": (lambda file: file.write_text("no database " * 100), True, "this is not a SQLite database; move it away"),
    "torn": (lambda file: file.write_bytes(file.read_bytes()[:5000]), False, "a damaged database"),
    "folder": (lambda file: file.mkdir(), True, "this is a folder, a database file is needed; move it away"),
}


@pytest.mark.parametrize("name", SQLITE)
def test_a_file_that_is_no_database_of_this_mlflow_is_refused_before_training(name, empty, folder, capsys):
    edit, fresh, wrong = SQLITE[name]
    file = folder / "mlflow.db"
    if not fresh:
        file.write_bytes(empty.read_bytes())
    edit(file)
    before = None if file.is_dir() else file.read_bytes()
    assert main(SMALL) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wrong in assert_template(line.removeprefix("initbench: "))
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    assert before is None or file.read_bytes() == before
    # and where it came to be so while the study trained
    filled = track.fill(study(folder / "demo"), f"sqlite:///{file}")
    assert not filled.complete
    assert before is None or file.read_bytes() == before


def test_the_revisions_are_those_of_the_installed_mlflow():
    from mlflow.store.db.utils import _get_latest_schema_revision

    head = _get_latest_schema_revision()
    (last,) = migrations().keys() - set(migrations().values())
    assert last == head
    assert other_version(head, older=True) == ""
    before = migrations()[head]
    assert "older MLflow" in other_version(before, older=True)
    assert other_version(before) == ""
    assert "newer" in other_version("ffffffffffff")


WRONG = {
    "oracle://h/x": "the scheme oracle is unknown",
    "postgresql+nothing://h/x": "not an address that SQLAlchemy reads",
    "postgresql+asyncpg9://u:{password}@h/x": "not an address that SQLAlchemy reads",
    "mssql+pyodbc://u:{password}@h/x": "the database driver pyodbc is not installed; pip install pyodbc",
    "http://u:{password}@h:5x": r"not an address; write special characters of a password as %23",
    "http://u:{password}#@h:50": r"not an address; write special characters of a password as %23",
    "http://u:{password} x@h:50": "there is a space in it; write %20",
    "https://h:50/?token={password}": r"MLflow's address has no \? and no #; give a token in MLFLOW_TRACKING_TOKEN",
}


@pytest.mark.parametrize("uri", WRONG)
def test_an_address_that_cannot_be_is_refused_without_its_password(uri):
    with pytest.raises(InputError, match=WRONG[uri]) as refused:
        track.resolve_uri(uri.format(password=PASSWORD))
    assert PASSWORD not in assert_template(str(refused.value))


def test_a_driver_that_is_there_is_taken(monkeypatch):
    from sqlalchemy.dialects.postgresql import psycopg, psycopg2
    from sqlalchemy.engine import make_url

    def absent(cls):
        raise ModuleNotFoundError(name=cls.driver)

    usual = make_url("postgresql://").get_dialect()
    other = {"psycopg2": "psycopg", "psycopg": "psycopg2"}[usual.driver]
    for dialect in (psycopg.PGDialect_psycopg, psycopg2.PGDialect_psycopg2):
        here = classmethod(lambda cls: cls) if dialect.driver == other else classmethod(absent)
        monkeypatch.setattr(dialect, "import_dbapi", here)
    assert track.resolve_uri("postgresql://u@h/x") == f"postgresql+{other}://u@h/x"
    monkeypatch.setattr(psycopg.PGDialect_psycopg, "import_dbapi", classmethod(absent))
    monkeypatch.setattr(psycopg2.PGDialect_psycopg2, "import_dbapi", classmethod(absent))
    with pytest.raises(InputError, match=r"driver psycopg2 is not installed; pip install 'initbench\[postgresql\]'$"):
        track.resolve_uri("postgresql://u@h/x")


# --- secrets -------------------------------------------------------------------------------------------------------

SECRETS = {
    "MLFLOW_TRACKING_PASSWORD": "pw-of-env",
    "MLFLOW_TRACKING_TOKEN": "tok-of-env",
    "MLFLOW_TRACKING_USERNAME": "bob",
}


def written(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_hidden(folder: Path, shown: str, *secrets: str) -> None:
    """No file below a folder and nothing that was printed holds a secret."""
    for path, content in written(folder).items():
        assert not [one for one in secrets if one.encode() in content], path
    assert not [one for one in secrets if one in shown], shown


@pytest.mark.parametrize("uri", ["http://alice:{p}@{at}", "http://{p}@{at}", "postgresql+psycopg2://alice:{p}@{at}/db",
                                 "postgresql+psycopg2://alice@{at}/db?password={p}"])  # fmt: skip
def test_no_password_of_a_server_that_is_gone_is_printed_or_stored(uri, folder, capfd, monkeypatch):
    if uri.startswith("postgresql"):
        pytest.importorskip("psycopg2")
    monkeypatch.setenv("INITBENCH_CACHE", str(folder / "cache"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{listener.getsockname()[1]}"
    where = uri.format(p=PASSWORD, at=at)
    assert main([*SMALL, f"track.uri={where}", "study=s", "report.formats=[html,md,csv,archive]"]) == 1
    assert main([*SMALL, f"track.uri={where}", "study=s", "--cfg", "job"]) == 0
    assert main([*SMALL, f"trak.uri={where}"]) == 2
    assert sync(["outputs/s", "--to", where]) == 1
    shown = "".join(capfd.readouterr())
    assert "Connection refused" in shown
    assert "***" in shown
    assert_hidden(folder, shown, PASSWORD)


@pytest.mark.filterwarnings("ignore")
def test_no_password_of_a_server_that_answers_is_printed_or_stored(server, folder, capfd, monkeypatch):
    where, made = server
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INITBENCH_CACHE", str(folder / "cache"))
    given = where.replace("http://", f"http://alice:{PASSWORD}@")
    asked = [*SMALL, f"track.uri={given}", "report.formats=[html,md,csv]"]
    assert main([*asked, "study=a"]) == 0
    assert made.headers["HTTP_AUTHORIZATION"].startswith("Basic ")  # it was sent
    jobs = ["hydra/job_logging=default", "train.rerun=true"]  # by Hydra's own jobs, whose overrides it writes down
    assert main([*asked, *jobs, "study=b"]) == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert main([*SMALL, *jobs, "study=c"]) == 0
    for name in "bc":
        (overrides,) = (folder / "outputs" / name).rglob("overrides.yaml")
        assert "track.uri=null" in overrides.read_text()
    made.faults = lambda number, path: "401 Unauthorized" if path != "/health" else None
    assert main([*asked, "study=d"]) == 1
    shown = "".join(capfd.readouterr())
    assert f"MLflow study: {where}/#/experiments" in shown
    assert_hidden(folder, shown, PASSWORD, *(value for name, value in SECRETS.items() if "USER" not in name))


def test_masking():
    assert masked("http://a:p/w@h:5 http://h:50/x@y") == "http://a:***@h:5 http://h:50/x@y"
    assert masked("https://tok3n@h/p postgresql://bob@h/d") == "https://***@h/p postgresql://bob@h/d"
    assert masked("x://h/d?a=1&sslpassword=q&key=k;pwd=z") == "x://h/d?a=1&sslpassword=***&key=***;pwd=***"


def test_nothing_that_is_read_is_unpickled(server, folder, monkeypatch):
    """Neither of a study folder nor of a server."""
    import pickle
    import sys

    from initbench.report.__main__ import main as report

    where, _ = server
    assert main([*SMALL, f"track.uri={where}", "study=s"]) == 0
    found: list[str] = []
    watching = [True]

    def hook(event: str, arguments: tuple) -> None:
        if watching[0] and event == "pickle.find_class":
            found.append(str(arguments))

    sys.addaudithook(hook)
    try:
        assert report(["outputs/s", "--format", "csv"]) == 0
        assert sync(["outputs/s", "--to", where]) == 0
        assert report(["mlflow:s", "--uri", where, "--format", "csv"]) == 0
        assert found == []
        pickle.loads(pickle.dumps(Path("x")))
        assert found  # it would have been seen
    finally:
        watching[0] = False


def test_a_server_has_what_a_file_has(server, tmp_path):
    """Through the client of this module, whose threads write several arms at once."""
    where, _ = server
    given = with_files(study(tmp_path / "demo", arms=("eye", "zeros", "orthogonal"), lrs=(0.1,)))
    seen = []
    filled = track.fill(given, where, progress=lambda done, total: seen.append((done, total)))
    assert filled.message == "3 arms and 6 runs in MLflow, 10 written now"
    assert seen == [(done, 9) for done in range(10)] + [(9, 9)]
    assert filled.link.startswith(f"{where}/#/experiments/")
    track.fill(given, f"sqlite:///{tmp_path / 'file.db'}")
    assert snapshot(f"sqlite:///{tmp_path / 'server.db'}") == snapshot(f"sqlite:///{tmp_path / 'file.db'}")
    assert {key_of(run.data.tags) for run in stored(where)} == snapshot(f"sqlite:///{tmp_path / 'file.db'}").keys()
    report = next(run for run in stored(where) if run.info.run_name == "report")
    assert {f.path for f in client(where).list_artifacts(report.info.run_id)} >= {"report.html", "runs.parquet"}
    for run in stored(where)[:3]:
        client(where).delete_run(run.info.run_id)
    track.fill(given, where)
    assert snapshot(f"sqlite:///{tmp_path / 'server.db'}") == snapshot(f"sqlite:///{tmp_path / 'file.db'}")
