"""One study folder: made as whole as its store allows, and brought to MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initbench import track
from initbench.config.arm import runs_of
from initbench.errors import masked
from initbench.grammar import plural
from initbench.report import DEFAULT
from initbench.store.columns import dropped_of
from initbench.store.parts import Store
from initbench.store.reading import FILES
from initbench.study import begun, looked
from initbench.study.launch import ended
from initbench.study.results import Results, load
from initbench.study.written import record, report
from initbench.track import Filled

NOT_SAID = {"formats": list(DEFAULT), "children": "headline", "goes_on": False}  # by studies of older versions


@dataclass(frozen=True)
class Opened:
    """A study folder: what its last command was about to train, where that has not ended, and the study that is there."""

    folder: Path
    planned: dict[str, Any] | None
    known: Results | None

    @property
    def study(self) -> Mapping[str, Any]:
        found = self.planned or (self.known and self.known.study)
        assert found
        return found

    @property
    def asked(self) -> Mapping[str, Any]:
        """What the command asked of the report and of tracking."""
        return self.study.get("asked") or NOT_SAID

    @property
    def root(self) -> Path:
        """The store of finished runs."""
        return self.folder.parent / "store"


@dataclass(frozen=True)
class Synced:
    """What became of a study. `tracked`: None where there was nothing to bring; `left`: what is still to be trained."""

    name: str
    tracked: Filled | None
    left: str = ""

    @property
    def complete(self) -> bool:
        """Whether all of the study is in MLflow."""
        return self.tracked is not None and self.tracked.complete and not self.left


def opened(folder: Path) -> Opened:
    """A study folder, read and checked. Raises InputError for what is none."""
    planned = begun.read(folder)
    whole = all(os.path.lexists(folder / name) for name in FILES)
    return Opened(folder, planned, load(folder) if planned is None or whole else None)


def sync(
    one: Opened, uri: str, children: str | None = None, progress: Callable[[int, int], None] | None = None
) -> Synced:
    """Complete a study from its store where a command has left it unfinished, and bring it to MLflow.

    children: as track.children; None: as the study's command had it.
    """
    results, left = one.known, ""
    stored = stored_runs(one)
    if one.planned is not None and one.asked["goes_on"]:
        left = f"what it asks for depends on what came out: {one.study['command']}"
    elif one.planned is not None:
        asked, there = (sum(map(len, runs)) for runs in (asked_runs(one.study).values(), stored.values()))
        if there < asked:
            left = f"{asked - there:,} of {plural(asked, 'run')} are not trained: {one.study['command']}"
        if there:
            results = rebuilt(one, uri)
            if not left:
                begun.end(one.folder)
    elif results is not None and late_runs(results, stored):
        results = rebuilt(one, uri)
    elif results is not None and results.study.get("mlflow") is None and link(results.study, uri):
        results.save_study()
        report(one.folder, one.asked["formats"])
    if results is None:
        return Synced(str(one.study["study"]), None, left)
    tracked = track.fill(results, uri, children=children or one.asked["children"], progress=progress)
    return Synced(str(one.study["study"]), tracked, left)


def asked_runs(study: Mapping[str, Any]) -> dict[str, set[Any]]:
    """Arm key -> the runs that a study asks of it."""
    return {
        arm["arm_key"]: set(runs_of(arm["seeds"], arm["lrs"], dropped_of(arm)))
        for arm in study["arms"]
        if arm["status"] != "not applicable"
    }


def stored_runs(one: Opened) -> dict[str, set[Any]]:
    """Arm key -> those of them that the store has."""
    store = Store(one.root)
    return {key: asked & store.runs(key) for key, asked in asked_runs(one.study).items()}


def late_runs(results: Results, stored: Mapping[str, set[Any]]) -> bool:
    """Whether the store has runs that the study had to do without, e.g. of jobs that ended after it."""
    failed = results.runs[results.runs["status"].astype(str) == "failed"]
    rows = zip(failed["arm_key"].astype(str), failed["seed"], failed["optim.lr"])
    return any((seed, lr) in stored.get(key, ()) for key, seed, lr in rows)


def rebuilt(one: Opened, uri: str) -> Results:
    """Frames, study.json and report of what the store has."""
    study = {**one.study, "arms": [dict(arm) for arm in one.study["arms"]]}
    for arm in study["arms"]:
        if arm["arm_key"]:
            arm |= ended(one.root, arm["arm_key"])
    link(study, uri)
    results = record(study, one.root, one.folder)
    _, board = report(one.folder, one.asked["formats"])
    looked.note(one.root, study, board)
    return results


def link(study: dict[str, Any], uri: str) -> bool:
    """Let a study say where it is tracked, for the links of its report; whether the store is to be had."""
    experiment = track.experiment(uri, str(study["study"]))
    study["mlflow"] = None if experiment is None else {"uri": masked(uri), "experiment_id": experiment}
    return experiment is not None
