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
KILLS = 12

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no list of processes to look at")
sys.path.insert(0, str(ROOT))
from benchmarks.faults import kills, rows  # noqa: E402
from benchmarks.faults.forked import Forked, warmed  # noqa: E402

sys.path.remove(str(ROOT))


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """Gives new worlds; all that a command imports is imported here."""
    warmed(STUDY, tmp_path_factory.mktemp("here"))
    count = iter(range(1000))
    return lambda study=STUDY: Forked(study, tmp_path_factory.mktemp("faults") / str(next(count)))


@pytest.fixture(scope="module")
def finished(at):
    """The untracked study, undisturbed."""
    made = at(UNTRACKED)
    assert made.run().status == 0
    return made


def test_killed_at_random_moments_of_every_phase_it_ends_as_if_nothing_had_happened(at, monkeypatch):
    undisturbed = at()
    assert undisturbed.run().status == 0
    truth = undisturbed.content()
    assert truth["MLflow points"]
    monkeypatch.setattr(kills, "STATUS", 0)
    short = {
        "planning": 0.1,
        "training": 0.08,
        "frames": 0.02,
        "report": 0.1,
        "MLflow": 0.1,
        "archive": 0.005,
        "end": 0.01,
    }
    for phase, seconds in short.items():
        monkeypatch.setitem(kills.PHASES, phase, seconds)
    chains = []
    for index in (0, 2):  # the two that need no workers
        left = KILLS - len(kills.hits(chains))
        chains.append(kills.chain(index, lambda study: truth, os.getpid(), left, lambda study: at()))
    for one in chains:
        assert (one.status, one.differs, one.leftovers) == (0, [], [])
        assert [kill.orphans for kill in one.kills if kill.orphans] == []
    assert len(kills.hits(chains)) >= KILLS - 2
    assert len({kill.phase for kill in kills.hits(chains)}) >= 5


@pytest.mark.parametrize("one", [one for one in rows.CASES if one.quick], ids=lambda one: one.name)
def test_a_fault_is_one_line_and_the_same_command_ends_as_if_nothing_had_happened(one, at, finished):
    quick = rows.Case(one.group, one.name, one.act, one.finished, UNTRACKED)
    row = rows.judged(quick, finished, finished.content(), at)
    assert row.fine, row
    assert row.said.isprintable()
