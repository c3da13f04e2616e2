"""Filling MLflow from the frames of a study, and getting it ready beforehand."""

from __future__ import annotations

import csv
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from initbench.errors import InputError, masked
from initbench.grammar import plural
from initbench.track import pages
from initbench.track.answers import said, unreachable
from initbench.track.databases import PORTS
from initbench.track.inputs import data_of, table_of
from initbench.track.opening import failures, opened, prepare, quiet, ready
from initbench.track.patience import Silent, patiently
from initbench.track.records import ARM, COLOUR, VERDICT, Arm, Record, arms_of, created_ms
from initbench.track.store import ClientStore, Found
from initbench.track.uri import link, resolve_uri

FILES = (
    "report.html",
    "report.md",
    "leaderboard.csv",
    "comparisons.csv",
    "runs.parquet",
    "history.parquet",
    "study.json",
)
SILENCE = 120.0  # seconds without an answer after which a database is given up; requests to a server end by themselves
OPENING = 15.0  # for a link in the report, which can do without
COMES_BACK = 30.0  # a server that broke off is waited for, once


@dataclass(frozen=True)
class Filled:
    """What became of a fill. `message` is one line; `complete` = everything of the study is in the store."""

    uri: str | None
    experiment_id: str | None
    link: str | None  # the study's page: its runs as a table
    complete: bool
    message: str
    charts: str | None = None  # the study's page: the saved charts


class Tally:
    """How far a fill is, told by several threads."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self.total, self.progress = total, progress
        self.done = self.written = 0
        self.heard: Callable[[], None] = lambda: None
        self._lock = threading.Lock()

    def start(self) -> None:
        """From the beginning: what was written stays."""
        self.done = 0
        self._say()

    def __call__(self, written: bool | None) -> None:
        self.heard()
        if written is not None:
            with self._lock:
                self.done, self.written = self.done + 1, self.written + written
                self._say()

    def _say(self) -> None:
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)


def fill(
    results: Any,
    uri: str | None,
    *,
    children: str = "headline",
    progress: Callable[[int, int], None] | None = None,
    drawn: Callable[[], object] = lambda: None,
) -> Filled:
    """Bring the study to the store: afterwards it is there once and whole, whatever was there before.

    What is the same is left alone; an arm whose statistics changed is written anew, in place of the old
    one. A store that cannot be reached or written is no error: the results are on disk.

    Args:
        results: has `runs`, `history`, `study`, `folder`.
        uri: from `resolve_uri`; None = off.
        children: headline (losses and accuracies of a run, thinned), full (every metric), none (arms only).
        progress: called as ``progress(records done, records)``, of arms and runs.
        drawn: returns when the files of the report are there; asked before they are needed.

    Raises InputError for another `children`.
    """
    if uri is None:
        return filled(None, None)
    arms = arms_of(results, children)
    runs = sum(len(arm.runs) for arm in arms)
    tally = Tally(len(arms) + runs, progress)
    at: list[str] = []  # the experiment
    broken: list[ClientStore] = []

    def attempt(heard: Callable[[], None]) -> None:
        tally.heard = heard
        for earlier in broken:
            earlier.ended(COMES_BACK)
        store = opened(uri, str(results.study["study"]), tally)
        broken.append(store)
        at[:] = [store.experiment_id]
        with store.alone():
            tally.start()
            found = store.found()
            heard()
            store.write(arms, found)
            _describe(store, results.study, arms)
            drawn()
            store.complete(tags_of(arms, words_of(Path(results.folder))), data_of(results.study))
            _report(store, results, found.get("report", []))

    why = unreachable(uri)
    if why is None:
        with quiet():
            prepare()
            why = _attempted(attempt, uri)
    if why is not None:
        message = (
            f"tracking to {masked(uri)} is incomplete: {why}; the results are on disk, and this completes it: "
            f"{sync_command(results.folder, uri)}"
        )
        return Filled(uri, at[0] if at else None, link(uri, at[0]) if at else None, False, message)
    return filled(
        uri, at[0], f"{plural(len(arms), 'arm')} and {plural(runs, 'run')} in MLflow, {tally.written:,} written now"
    )


def _attempted(attempt: Callable[[Callable[[], None]], None], uri: str) -> str | None:
    """Why a fill broke off, also when it was tried again; None if it is complete."""
    for again in (True, False):
        try:
            if uri.partition(":")[0].partition("+")[0] in PORTS:  # where nothing but this ends an endless wait
                patiently(attempt, SILENCE)
            else:
                attempt(lambda: None)
            return None
        except Silent as error:
            return said(error)
        except failures() as error:
            if not (again and _comes_back(uri)):
                return said(error)
    return None


def _comes_back(uri: str) -> bool:
    """Whether a server that broke off answers again soon: it may have been started anew."""
    if not uri.startswith(("http://", "https://", *PORTS)):
        return False
    end = time.monotonic() + COMES_BACK
    while unreachable(uri) is not None:
        if time.monotonic() >= end:
            return False
        time.sleep(min(1.0, COMES_BACK))
    return True


def sync_command(folder: Path, uri: str) -> str:
    """What a person types to complete a fill. A password is not repeated.

    >>> sync_command(Path("outputs/default"), "http://alice:secret@host:5000")
    "python -m initbench.sync outputs/default --to 'http://alice:***@host:5000'"
    """
    words = ["python", "-m", "initbench.sync", str(folder)]
    with suppress(InputError):
        if resolve_uri("auto") == uri:
            return shlex.join(words)
    return shlex.join([*words, "--to", masked(uri)])


def filled(uri: str | None, experiment_id: str | None, message: str = "all of it is in MLflow") -> Filled:
    """A store that holds all of a study."""
    if uri is None or experiment_id is None:
        return Filled(None, None, None, True, "tracking is off (track.uri=null)")
    page, charts = link(uri, experiment_id, pages.VIEW), link(uri, experiment_id, pages.VIEW, charts=True)
    return Filled(uri, experiment_id, page, True, message, charts)


def experiment(uri: str | None, study: str) -> str | None:
    """Id of the study's experiment, made if it is not there yet, so that a report can link to it before it is filled.

    None if tracking is off or the store cannot be had: `fill` says why.
    """
    if uri is None or unreachable(uri):
        return None
    with quiet():
        try:
            prepare()
            return str(patiently(lambda heard: opened(uri, study), OPENING).experiment_id)
        except Exception:
            return None


def warm_up(uri: str | None) -> None:
    """Import mlflow and create the tables of a database, so that `fill` need not; meant for a background
    thread.

    Never raises: what is wrong here is still wrong when `fill` does the same, and `fill` says so.
    """
    if uri is None:
        return
    with quiet():
        try:
            prepare()
            if not uri.startswith(("http://", "https://", "databricks")) and not unreachable(uri):
                patiently(lambda heard: ready(uri).search_experiments(max_results=1), SILENCE)
        except Exception:
            return


def _describe(store: ClientStore, study: dict[str, Any], arms: list[Arm]) -> None:
    """The page of the study: description, kind (else MLflow asks what it is), saved charts."""
    best_first = pages.by_rank([arm.parent for arm in arms])
    names = {name for parent in best_first for name in set(parent.points.key)}
    store.describe(
        {
            "initbench.study": str(study["study"]),
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": pages.study_note(study, best_first),
            pages.VIEW_TAG: pages.view(names, created_ms(study), decades(best_first)),
        }
    )


def decades(parents: Sequence[Record]) -> set[str]:
    """Metrics whose positive values go over a factor of a hundred or more in some arm."""
    wide = set()
    for parent in parents:
        points = parent.points
        for first, last in pairwise([*np.flatnonzero(np.r_[True, points.key[1:] != points.key[:-1]]), len(points)]):
            values = points.value[first:last]
            if last > first and values.min() > 0 and values.max() >= 100 * values.min():
                wide.add(str(points.key[first]))
    return wide


def tags_of(arms: Sequence[Arm], words: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Arm key -> what depends on the other arms of the study: its colour, and its verdict where there is one."""
    out = {}
    for arm in arms:
        tags = arm.parent.own_tags
        word = words.get(tags[ARM])
        out[tags[ARM]] = {COLOUR: tags[COLOUR], **({VERDICT: word} if word else {})}
    return out


def words_of(folder: Path) -> dict[str, str]:
    """Arm key -> its verdict in the report, where that has a table of it."""
    file = folder / "leaderboard.csv"
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["arm_key"]: row["verdict"] for row in csv.DictReader(lines) if row.get("verdict")}


def _report(store: ClientStore, results: Any, found: list[Found]) -> None:
    folder = Path(results.folder)
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files:
        return
    markdown = folder / "report.md"
    note = pages.report_note(markdown.read_text(encoding="utf-8")) if markdown.is_file() else ""
    study = results.study
    start = created_ms(study) + 250  # the report stands below the arms, above single runs
    end = start + round(1000 * float(study.get("elapsed") or 0))
    store.report(str(study["study"]), start, end, files, table_of(folder / "leaderboard.csv"), note, found)
