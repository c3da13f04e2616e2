"""What makes a command start and end sooner changes nothing else: late imports, fewer compositions, MLflow's kept tables."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from initbench.startup.late import stats
from initbench.stats import intervals
from initbench.track import opening, template, uri
from initbench.track.bulk import BulkStore

SHAPES = {"norm": 0, "uniform": 0, "beta": 2}


@given(
    st.sampled_from(list(SHAPES)),
    *[st.floats(-1e3, 1e3)] * 2,
    st.tuples(*[st.floats(1e-3, 1e3) | st.floats(-1, 0)] * 2),
)
def test_late_laws_are_scipys_to_the_bit(family, loc, scale, shapes):
    shapes = shapes[: SHAPES[family]]
    late, law = (getattr(of, family)(*shapes, loc=loc, scale=scale) for of in (stats, scipy.stats))
    for moment in ("mean", "var"):
        mine, theirs = getattr(late, moment)(), float(getattr(law, moment)())
        assert mine == theirs or (mine != mine and theirs != theirs)
    if scale > 0 and min(shapes, default=1) > 0:
        x = loc + scale / 3
        assert late.cdf(x) == law.cdf(x) == getattr(stats, family)(*shapes, loc, scale).cdf(x)


@pytest.mark.parametrize("law", ["norm(0, 2)", "uniform(1, scale=2)", "beta(1.5, 1.5, loc=-1, scale=2)", "beta(2, 1)"])
def test_moments_of_late_laws_need_no_scipy_stats(law):
    code = (
        f"import sys; from initbench.startup.late import stats; stats.{law}.var(); print('scipy.stats' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_quantile_that_needs_no_scipy_is_scipys_to_the_bit():
    assert float(scipy.special.ndtri(0.5 + 0.95 / 2)) == intervals.Z_95
    for confidence in (0.95, 0.9):
        theirs = proportion_confint(3, 7, 1 - confidence, method="wilson")
        assert intervals.wilson(3, 7, confidence) == pytest.approx(theirs, rel=1e-12)


def test_a_command_that_is_all_its_process_does_leaves_its_libraries_alone():
    code = "import gc; from initbench.startup.processes import alone; print(alone(lambda: gc.get_threshold()[0]), gc.get_freeze_count() > 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "100000 True\n"


def content(file: Path) -> list[str]:
    """Everything in a database, without the time at which it was made; MLflow makes some indices in any order."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE experiments SET creation_time = 0, last_update_time = 0")
        return sorted(database.iterdump())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache folder with the kept file, and the database that MLflow made for it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch, opening.quiet():
        patch.setenv("INITBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        opening.create(uri.sqlite_uri(folder / "mlflows.db"))
        return template.kept_file(), folder / "mlflows.db"


def opened(file: Path, make) -> list[str]:
    """Content of a database that was made from the cache and opened by MLflow."""
    template.copied(file, make)
    with opening.quiet():
        client = opening.client_of(uri.sqlite_uri(file))
        client.search_experiments(max_results=1)
        client._tracking_client.store.engine.dispose()
    return content(file)


def never(file: Path) -> None:
    raise AssertionError("MLflow was asked although the tables are kept")


def test_kept_tables_are_what_mlflow_makes_here(tmp_path, monkeypatch, kept):
    file, made_by_mlflow = kept
    assert file.is_file()
    monkeypatch.setenv("INITBENCH_CACHE", str(file.parent))
    monkeypatch.chdir(tmp_path)
    theirs = [line.replace(str(made_by_mlflow.parent), str(tmp_path)) for line in content(made_by_mlflow)]
    assert any(f"{tmp_path}/mlruns/0" in line for line in theirs)  # the artifacts of `Default` are here, not there
    assert opened(tmp_path / "new.db", never) == theirs


@pytest.mark.parametrize("harm", ["cut", "no folder", "another MLflow"])
def test_without_kept_tables_mlflow_makes_them(tmp_path, monkeypatch, kept, harm):
    file, made_by_mlflow = kept
    cache = tmp_path / "cache"
    monkeypatch.setenv("INITBENCH_CACHE", str(cache))
    if harm == "no folder":
        cache.write_text("a file where the folder should be")
    else:
        cache.mkdir()
        (cache / file.name).write_bytes(file.read_bytes()[: 300_000 if harm == "cut" else None])
    if harm == "another MLflow":
        monkeypatch.setattr(template, "version", lambda name: f"{name} of tomorrow")
    asked = []
    template.copied(tmp_path / "new.db", lambda target: asked.append(target.write_bytes(made_by_mlflow.read_bytes())))
    assert len(asked) == 1
    assert content(tmp_path / "new.db") == content(made_by_mlflow)
    if harm != "no folder":  # and what was made is kept for the next
        template.copied(tmp_path / "next.db", never)


def test_without_the_tricks_a_study_is_the_same_to_the_byte(folder):
    """INITBENCH_PLAIN_START=1 turns off all that makes a command start and end sooner."""
    command = [sys.executable, "-m", "initbench", "init=normal,eye", "sharing=none", "seeds=2", "optim.lr=[0.1,0.3]"]
    command += ["train.steps=5", "train.target.value=0.2", "report.formats=[csv]", "study=s"]
    for plain in ("0", "1"):
        environment = {**os.environ, "INITBENCH_PLAIN_START": plain}
        done = subprocess.run([*command, f"outputs={plain}"], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    here, there = ({path.name: path for path in Path(plain, "s").iterdir()} for plain in ("0", "1"))
    assert here.keys() == there.keys()
    for name in here.keys() - {"study.json", "report.html", ".made.json"}:  # these say when and where
        assert here[name].read_bytes() == there[name].read_bytes(), name


def test_an_mlflow_without_the_private_parts_is_filled_all_the_same(folder, monkeypatch):
    monkeypatch.setattr(template, "stamp", lambda: None)
    assert template.kept_file() is None
    client = type("Client", (), {"search_experiments": lambda self, max_results: None})()
    monkeypatch.setattr(opening, "client_of", lambda uri: client)
    opening.make(Path("mlflow.db"))
    assert not BulkStore.fits(client, "sqlite:///mlflow.db")
