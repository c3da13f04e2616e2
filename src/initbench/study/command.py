"""One command from its overrides to its report: plan, train what is missing, collect, report, track."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initbench.config.arm import StudyConfig, resolve_target
from initbench.config.cautions import merged
from initbench.config.groups import Target
from initbench.errors import NotApplicable, every, masked, refusal
from initbench.overrides.expand import Expanded, expand_study
from initbench.overrides.read import key_of, texts
from initbench.startup.plain import plain_start
from initbench.startup.processes import Processes, later, like_the_command
from initbench.store.lock import writing
from initbench.store.parts import Store, told
from initbench.store.reading import FILES
from initbench.study import again, begun, looked
from initbench.study.compared import baseline_of, family_of, merged_arms
from initbench.study.described import Refused, describe
from initbench.study.labels import labelled
from initbench.study.launch import Training, functions, needs_hydra, workers_of
from initbench.study.launchers import check_launcher, launcher_of
from initbench.study.places import check_places, taken
from initbench.study.plan import PlannedArm, planned
from initbench.study.pool import Pool
from initbench.study.submitted import NOTHING, Absent

if TYPE_CHECKING:
    import pandas as pd

    from initbench.study.results import Results
    from initbench.track import Filled

# the slowest imports of what comes after training: for verdicts, and for the report
VERDICT_MODULES = ("scipy.stats",)
REPORT_MODULES = ("initbench.report.blocks", *VERDICT_MODULES)


@dataclass
class Study:
    """A planned command: the arms that can be trained and those that cannot."""

    config: StudyConfig
    overrides: tuple[str, ...]
    arms: list[PlannedArm]
    refused: list[Refused]
    target: Target | None
    uri: str | None  # where MLflow records go
    hydra: Any = None  # Hydra's own node: launcher, output folder
    path: Mapping[str, Any] | None = None  # of a study that went on (rounds.py): the keys of study.json that tell how

    @property
    def root(self) -> Path:
        """The store of finished runs."""
        return Path(self.config.outputs) / "store"

    @property
    def folder(self) -> Path:
        """The study's own folder."""
        return Path(self.config.outputs) / self.config.name

    @property
    def goes_on(self) -> bool:
        """Whether what is trained depends on what came out: decide=true, optim.lr=auto."""
        return self.config.decide.enabled or any(arm.config.optim.auto for arm in self.arms)

    @property
    def runs(self) -> int:
        return sum(len(arm.config.runs) for arm in self.arms)

    @cached_property
    def cautions(self) -> list[dict[str, Any]]:
        """What to know before trusting the results, each once, with the arms that it is about."""
        return merged((arm.label, arm.cautions) for arm in self.arms)

    def stored(self) -> dict[str, int]:
        """Arm key -> how many of its asked runs are stored."""
        store = Store(self.root)
        return {arm.key: len(store.runs(arm.key) & set(arm.config.runs)) for arm in self.arms}

    def left(self, stored: Mapping[str, int]) -> dict[str, int]:
        """Arm key -> how many of its asked runs are to be trained."""
        again = self.config.rerun
        return {arm.key: len(arm.config.runs) - (0 if again else stored[arm.key]) for arm in self.arms}


@dataclass(frozen=True)
class Outcome:
    """What came out: results, tracking, and the arms that did not work with their reasons."""

    results: Results
    tracked: Filled
    board: pd.DataFrame
    report: Mapping[str, Path]
    queued: frozenset[str] = frozenset()  # keys of arms that jobs still train

    @property
    def trouble(self) -> list[tuple[str, str]]:
        """(arm, reason) of each arm without results that no job goes on with."""
        return [(arm["label"], arm["reason"]) for arm in self.results.study["arms"]
                if arm["status"] != "done" and arm["arm_key"] not in self.queued]  # fmt: skip

    @property
    def status(self) -> int:
        """Exit status: 1 if some arm failed or tracking is incomplete."""
        return 1 if self.trouble or not self.tracked.complete else 0


def plan(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> Study:
    """Everything that can be refused is refused here, before anything starts.

    Raises InputError; also where no arm at all applies.
    """
    overrides = texts(overrides)
    return plan_expanded(expand_study(overrides, config_dirs), overrides)


def plan_expanded(expanded: Expanded, overrides: Sequence[str]) -> Study:
    """The study of an expanded command."""
    from initbench.study.controls import with_controls

    check_launcher(launcher_of(expanded.hydra))
    arms, refused = [], []
    for config, job in zip(expanded.arms, expanded.jobs):
        try:
            arms.append(replace(planned(config), job=untracked(job)))
        except NotApplicable as reason:
            refused.append(Refused(config, str(reason)))
    if not arms:
        reasons = list(dict.fromkeys(one.reason for one in refused))
        raise every(reasons)
    distinct = with_controls(merged_arms(arms))
    targets = {resolve_target(expanded.study.target, arm.data.classes is not None) for arm in distinct}
    if len(targets) > 1:
        raise refusal(
            "train.target",
            "the arms have different targets",
            "set one for all, e.g. train.target.metric=loss/train",
        )
    named = labelled(distinct)
    asked = expanded.study.report
    report = replace(
        asked,
        baseline=baseline_of(asked.baseline, named, overrides),
        family=family_of(asked.family, named, refused, overrides),
    )
    uri = resolved(expanded.study.track.uri)
    if expanded.study.decide.enabled:
        from initbench.study.limits import check_limits

        check_limits(expanded.study.decide, named, next(iter(targets)), len(refused))
    check_places(expanded.study.outputs, expanded.study.name, [arm.key for arm in named])
    return Study(
        config=replace(expanded.study, report=report),
        overrides=tuple(overrides),
        arms=named,
        refused=refused,
        target=targets.pop(),
        uri=uri,
        hydra=expanded.hydra,
    )


def untracked(job: Iterable[str]) -> tuple[str, ...]:
    """The overrides of a job of another launcher: it tracks nothing, and whoever keeps them learns no password.

    >>> untracked(["init=eye", "track.uri=http://alice:secret@host"])
    ('init=eye', 'track.uri=null')
    """
    return (*(one for one in job if not key_of(one).startswith("track.")), "track.uri=null")


def run(overrides: Sequence[str] = (), config_dirs: Sequence[str] = (), *, progress: bool = True) -> Results | None:
    """Do what `python -m initbench` does with these overrides; how far it is stands on stderr, and nothing else is printed.

    With `train.dry_run=true` it trains nothing and says how much it would train. The runs of an arm that fails have status
    `failed`; a damaged file of the store that was set aside gives a warning.

    Formula:
        T = min {step evaluated : metric at or past its target}, infinite where no evaluation within the budget is.

    Args:
        overrides: what the command takes, one text each, e.g. `["init=eye,orthogonal", "seeds=20"]`.
        config_dirs: folders with your own option files, as of `--config-dir`.
        progress: whether to say how far it is.

    Returns:
        The study's `Results`, one row of `runs` per arm, seed and learning rate; None with `train.dry_run=true`.

    Raises:
        InputError: wrong input, in one line; nothing was trained.

    Examples:
        >>> import os, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> results = run(["init=eye", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3",
        ...                f"outputs={folder}", "track.uri=null", "engine.workers=1"], progress=False)
        >>> results.runs[["init.name", "seed", "status"]].values.tolist()
        [['eye', 0, 'completed'], ['eye', 1, 'completed']]

    Source:
        Steps to a target, with runs that never arrive counted: Hansen et al. 2016 (COCO); Dahl et al. 2023 (AlgoPerf).
    """
    from initbench.study.needs import check_needs

    started = time.monotonic()
    study = plan(overrides, config_dirs)
    if study.config.dry_run:
        from initbench.study.saying import say_dry_run

        say_dry_run(study, started)
    check_needs(study)
    if study.config.dry_run:
        return None
    with taken(study, warnings.warn):
        stored = study.stored()
        trainer = trainer_of(study, stored)
        try:
            warn_of(told())
            if study.goes_on:
                from initbench.study.rounds import Way, here
                from initbench.study.saying import say_round

                each = say_round if progress else lambda one: None
                study, _ = Way(study).go(here(trainer, study.root, progress), each)
            else:
                from initbench.study.tally import Tally

                with Tally(study.arms, study.left(stored), study.root, trainer.pool).showing(trainer, progress):
                    trainer.train(study.arms)
        except BaseException:
            trainer.pool.close(wait=False)
            raise
        trainer.pool.close()
        with writing(study.folder, warnings.warn):
            results = collect(study, 0.0).results
    warn_of(told())
    return results


def warn_of(lines: Sequence[str]) -> None:
    """A warning each, at the line that called `run`."""
    for line in lines:
        warnings.warn(line, stacklevel=3)


def resolved(setting: str | None) -> str | None:
    """Where MLflow records go. Where nowhere, tracking is not imported before it is asked at the end: it needs pandas."""
    if setting is None:
        return None
    from initbench import track

    return track.resolve_uri(setting)


def trainer_of(study: Study, stored: Mapping[str, int] | None = None) -> Training:
    """A trainer with a pool of workers for this study, already starting."""
    left = study.left(study.stored() if stored is None else stored)
    pool = Pool(workers_of(study, left))
    if not needs_hydra(study) and any(left.values()):
        pool.start(functions(study.arms))
    begun.begin(study)  # while the workers start
    return Training(study.root, pool, rerun=study.config.rerun)


@contextmanager
def beside(begun: bool) -> Iterator[Processes | None]:
    """A process that draws the report beside this one, if one has begun to import what that needs."""
    if not begun:
        yield None
        return
    process = Processes(1, like_the_command)
    try:
        yield process
    except BaseException:
        process.close(wait=False)
        raise
    process.close()


def warm_up(study: Study, process: Processes | None, waiting: bool) -> threading.Thread:
    """Get ready in the background what comes after training: MLflow and its store.

    `waiting`: this process waits for others that train, so what verdicts and the report are made with can be imported:
    by `process`, which has most of it, or here.
    """
    if waiting and process is not None and not plain_start():
        process.submit(imported, VERDICT_MODULES)
    modules = REPORT_MODULES if waiting and process is None else ()

    def work() -> None:
        if study.uri is not None:
            from initbench import track

            track.warm_up(study.uri)
        imported(modules)

    thread = threading.Thread(target=(lambda: None) if plain_start() else work, daemon=True)
    thread.start()
    return thread


def imported(modules: Sequence[str]) -> None:
    """Import what is needed later."""
    for module in modules:
        import_module(module)


def collect(
    study: Study,
    elapsed: float,
    say: Callable[[str], None] = lambda text: None,
    absent: Absent = NOTHING,
    process: Processes | None = None,
) -> Outcome:
    """Frames from the store, the report, and MLflow's records from them.

    `process`: makes the frames and draws the report, while this one imports pandas and tracks.
    """
    from initbench.study.written import record, report

    say("reading the runs")
    content = describe(study, elapsed)
    if all(arm["status"] == "not applicable" for arm in content["arms"]):
        raise every([arm["reason"] for arm in content["arms"]])
    made = again.made_from(content, study.root, asked(study))
    if study.uri is not None:
        from initbench import track

        known = track.experiment(study.uri, content["study"])  # for the links of the report
        content["mlflow"] = None if known is None else {"uri": masked(study.uri), "experiment_id": known}
    reasons = {arm.key: absent.launcher for arm in study.arms if absent.launcher} | dict(absent.arms)
    recorded = later(process, record, content, study.root, study.folder, reasons)
    say("writing the report")
    written = later(process, report, study.folder, tuple(study.config.report.formats))
    results = recorded()
    say("tracking to MLflow")
    from initbench import track

    tracked = track.fill(results, study.uri, children=study.config.track.children, drawn=written)
    paths, board = written()
    looked.note(study.root, results.study, board)
    if study.uri is not None and tracked.experiment_id is not None:
        results.study["mlflow"] = {"uri": masked(study.uri), "experiment_id": tracked.experiment_id}
        results.save_study()
    if tracked.complete and not absent:
        files = [*paths.values(), *(study.folder / name for name in FILES)]
        kept = {"experiment_id": tracked.experiment_id, "state": track.state(study.uri, tracked.experiment_id)}
        again.note(study.folder, made, board, files, kept)
    if not absent.queued:  # else jobs go on with it
        begun.end(study.folder)
    return Outcome(results, tracked, board, paths, absent.queued)


def asked(study: Study) -> tuple[object, ...]:
    """What the files and records of a study depend on beside its content and runs."""
    return study.config.report.formats, study.config.track.children, study.uri and masked(study.uri)


def unchanged(study: Study) -> Outcome | None:
    """The outcome of the same command before, if all it made is still there and would be the same; None otherwise."""
    made = again.unchanged(study.folder, again.made_from(describe(study, 0.0), study.root, asked(study)))
    if made is None:
        return None
    from initbench import track
    from initbench.study.results import load

    experiment = made.tracked.get("experiment_id")
    if made.tracked.get("state") is None or made.tracked["state"] != track.state(study.uri, experiment):
        return None
    begun.end(study.folder)
    return Outcome(load(study.folder), track.filled(study.uri, experiment), made.board, made.files)
