"""The fault matrix in small: kills at random moments of every phase, and the cheap rows, each compared with what was undisturbed.

Commands are forked from this process, which has imported everything: a kill costs a quarter of a second. The same with real
processes and workers is `python -m benchmarks.faults`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUDY = (
    *("init=eye", "sharing=none", "seeds=4", "optim.lr=0.1", "train.steps=3", "model.width=8", "model.depth=2", "measure=none"),
    *("engine.workers=1", "engine.chunk=1", "report.formats=[csv,archive]", "study=s"),
)  # fmt: skip
UNTRACKED = (*STUDY, "track.uri=null")
KILLS = 12  # in two chains

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no list of processes to look at")
sys.path.insert(0, str(ROOT))
from benchmarks.faults import kills, rows, tables  # noqa: E402
from benchmarks.faults.__main__ import main as matrix  # noqa: E402
from benchmarks.faults.forked import Forked  # noqa: E402

sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Gives new worlds."""
    count = iter(range(1000))
    return lambda study=STUDY: Forked(study, tmp_path_factory.mktemp("faults") / str(next(count)))


@pytest.fixture(scope="module")
def finished(at):
    """The untracked study, undisturbed."""
    made = at(UNTRACKED)
    assert made.run().status == 0
    return made


G, P = kills.GROUP, kills.PARENT
CHAINS = {
    STUDY: (("training", G), ("MLflow", G), ("report", P), ("MLflow", P), ("end", G)),
    UNTRACKED: (("planning", G), ("training", P), ("training", G), ("frames", G), ("archive", P), ("report", G), ("end", P)),
}  # fmt: skip
SHORT = {"planning": 0.1, "training": 0.08, "frames": 0.02, "report": 0.1, "MLflow": 0.1, "archive": 0.005, "end": 0.01}


@pytest.mark.parametrize("study", CHAINS, ids=["tracked", "untracked"])
def test_killed_at_random_moments_of_every_phase_it_ends_as_if_nothing_had_happened(study, at, monkeypatch):
    undisturbed = at(study)
    assert undisturbed.run().status == 0
    truth = undisturbed.content()
    assert ("MLflow points" in truth) == (study is STUDY)
    monkeypatch.setattr(kills, "STATUS", 0)
    monkeypatch.setattr(kills, "CHAINS", [(CHAINS[study], None, study)])
    monkeypatch.setattr(kills, "PHASES", SHORT)
    ended = kills.chain(0, lambda study: truth, os.getpid(), KILLS, at)
    assert (ended.status, ended.differs, ended.leftovers) == (0, [], [])
    assert [kill.orphans for kill in ended.kills if kill.orphans] == []
    assert sum(kill.hit for kill in ended.kills) >= len(CHAINS[study]) - 2


@pytest.mark.parametrize("one", [one for one in rows.CASES if one.quick], ids=lambda one: one.name)
def test_a_fault_is_one_line_and_the_same_command_ends_as_if_nothing_had_happened(one, at, finished):
    quick = rows.Case(one.group, one.name, one.act, one.finished, UNTRACKED)
    row = rows.judged(quick, finished, finished.content(), at)
    assert row.fine, row
    assert row.said.isprintable()
    assert row.status >= 0  # it has ended by itself


def test_the_matrix_writes_its_table_into_the_page(tmp_path):
    results, page = tmp_path / "faults.json", tmp_path / "durability.md"
    page.write_text((ROOT / "docs" / "durability.md").read_text(encoding="utf-8"), encoding="utf-8")
    before = page.read_text(encoding="utf-8").split("<!-- table")[0]
    matrix(["--kills", "0", "--rows", "study.json emptied", "--results", str(results)])
    matrix(["--results", str(results), "--doc", str(page)])
    kept, table = page.read_text(encoding="utf-8").split("<!-- table")
    assert kept == before
    assert (
        "| study.json emptied; `report` | 2 | `initbench.report: outputs/s/study.json: empty; run the study's command"
        in table
    )
    assert table.rstrip().endswith("| the same bytes | nothing |")


def test_the_page_shows_the_results_and_none_was_lost():
    import json

    done = json.loads((ROOT / "benchmarks" / "results" / "faults.json").read_text(encoding="utf-8"))
    hits = [kill for chain in done["kills"] for kill in chain["kills"] if kill["hit"]]
    assert len(hits) >= 200
    assert all(kill["fine"] for kill in hits)
    assert [row["name"] for row in done["rows"]] == [one.name for one in rows.CASES]
    assert all(row["fine"] for row in done["rows"])
    page = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")
    assert page.endswith(f"{tables.MARK}\n\n{tables.table(done)}\n")
