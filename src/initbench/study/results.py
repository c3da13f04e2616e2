"""Results of a study as frames: `runs`, one row per run, and `history`, long; built from the store alone."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from initbench import stats
from initbench.config.arm import Run, dotted, run_key, runs_of
from initbench.disk import make_folder, published, write_text
from initbench.stats.looks import LOOK_COLUMNS
from initbench.store import merge
from initbench.store.columns import dropped_of, plain_column, with_dropped
from initbench.store.history import HISTORY_SCHEMA, History, HistoryFile, whole, writing
from initbench.store.parts import Store, Stored
from initbench.store.reading import check_frames, read_folder
from initbench.store.study_file import SCHEMA as SCHEMA
from initbench.store.study_file import text_of


class Status(StrEnum):
    """How a run ended. Failed: its arm raised an error, nothing is known of the run, and it counts as missing."""

    COMPLETED = "completed"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True)
class Results:
    """A study: its two frames, the content of study.json, and its folder.

    Attributes:
        runs: one row per run: configuration, status, `steps_to_target` (updates; NaN: never arrived), costs (floating
            point operations, bytes), last value of each metric.
        measured: the history where it is kept, on disk after a sweep.
        study: the content of study.json.
        folder: where the files are.

    Examples:
        >>> import initbench as ib
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     results = ib.run(["init=eye", "sharing=none", "seeds=2", "optim.lr=0.1", "train.steps=3", f"outputs={folder}",
        ...         "track.uri=null", "engine.workers=1", "report.formats=[csv]"])
        ...     results.leaderboard()[["setup", "n"]].values.tolist(), list(results.history.columns)
        ([['eye · none', 2]], ['run', 'step', 'metric', 'layer', 'value'])
    """

    runs: pd.DataFrame
    measured: History
    study: dict[str, Any]
    folder: Path

    def __repr__(self) -> str:
        from initbench.study import shown

        return shown.text(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the leaderboard with its verdicts."""
        from initbench.study import shown

        return shown.html(self)

    @cached_property
    def history(self) -> pd.DataFrame:
        """Every measured value, long: run, step, metric, layer (null = whole net), value."""
        return whole(self.measured)

    @cached_property
    def looks(self) -> pd.DataFrame:
        """Every look at a comparison that had no word yet (LOOK_COLUMNS); empty where the study did not go on by itself."""
        return pd.DataFrame(self.study.get("looks") or [], columns=LOOK_COLUMNS)

    def compare(self, baseline: str | None = None) -> pd.DataFrame:
        """Each setup against the baseline inside its setting, as in comparisons.csv."""
        check_frames(self.runs, self.measured, self.study)
        return stats.comparisons(self.runs, baseline, self.study, self.measured)

    def leaderboard(self) -> pd.DataFrame:
        """Arms by rank, as in leaderboard.csv."""
        check_frames(self.runs, self.measured, self.study)
        return stats.leaderboard(self.runs, self.study, history=self.measured)

    def report(self, **options: Any) -> dict[str, Path]:
        """Write the report again; options are those of `initbench.report.build`."""
        from initbench import report

        return report.build(self, **options)

    def plot(self, name: str | None = None) -> Any:
        """The report's figures as Matplotlib axes, registered with pyplot: a notebook shows them, `plt.show()` too.

        `name`: one of them, e.g. `plot("forest")`, "dots", "trained", "rates", "losses", "layers"; of several settings, with the
        number of the setting, "forest1". Gives its Axes, or a list of them where it has panels; without a name a dict
        of all. `axes.figure` is the Figure. Raises InputError for a name that this study has no figure for.
        """
        from initbench.report import plots

        return plots.plot(self, name)

    def save(self) -> None:
        """Write frames and study.json into the folder; each file appears whole or not at all."""
        merge.save(self.folder, self.runs, self.measured, self.study)

    def save_study(self) -> None:
        """Write study.json alone."""
        write_text(self.folder / "study.json", text_of(self.study))


def load(path: str | Path | Sequence[str | Path]) -> Results:
    """The results of a study folder; of several, parts of one study, as those of one.

    Args:
        path: the folder, e.g. `"outputs/default"`, or a list of folders.

    Returns:
        The study as it was written; nothing is trained.

    Raises:
        InputError: no study is there, a file of it is damaged, edited or of a newer version, or the studies cannot be merged.

    Examples:
        >>> load("outputs/none")
        Traceback (most recent call last):
        initbench.errors.InputError: outputs/none: no such folder; ...

    Source:
        The files, column by column: docs/schemas.md.
    """
    if isinstance(path, (str, Path)):
        folder = Path(path)
        runs, history, study = read_folder(folder)
        return Results(runs, history, study, folder)
    folders = [Path(one) for one in path]
    if len(folders) < 2:
        return load(*folders) if folders else load("")
    parts = [merge.Part(str(folder), *read_folder(folder)) for folder in folders]
    runs, joined, study = merge.merged(parts)
    return Results(runs, joined, study, merge.place_of(folders[0], study))


def frames(
    study: Mapping[str, Any], store: Store, folder: Path, only: Container[str] | None = None
) -> tuple[pd.DataFrame, HistoryFile]:
    """The frames of the arms that `study` (the content of study.json) lists, from the parts of the store.

    `runs` in memory, `history` as history.parquet in `folder`, where it appears whole or not at all; `only`: with these
    metrics alone.
    """
    make_folder(folder)
    path = folder / "history.parquet"
    with published(path) as new:
        parts = []
        with writing(new) as add:
            for arm in study["arms"]:
                if arm["status"] == "not applicable":
                    continue
                asked = runs_of(arm["seeds"], arm["lrs"], dropped_of(arm))
                stored = store.read(arm["arm_key"], asked)
                parts.append(run_rows(arm, asked, stored))
                if stored is not None:
                    keys = pa.array([run_key(arm["arm_key"], seed, lr) for seed, lr in stored.runs], pa.string())
                    for name in sorted(stored.axes):
                        if only is not None and name not in only:
                            continue
                        add(name, history_rows(keys, stored, name))
        runs = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"run": []})
        for column in ("diverged_at", "steps"):
            if column in runs:
                runs[column] = runs[column].astype("Int64")
        runs = runs.apply(plain_column)
        runs = with_dropped(runs, study["arms"])
        target = study["target"]
        if target is not None and len(runs):
            runs = stats.retarget(runs, HistoryFile(new), target["metric"], target["value"])
    return runs, HistoryFile(path)


def run_rows(arm: Mapping[str, Any], asked: Sequence[Run], stored: Stored | None) -> pd.DataFrame:
    """The asked runs of an arm; those that the store lacks have failed."""
    fixed = {name: arm[name] for name in ("label", "arm_key", "setup", "setting")}
    frame = pd.DataFrame(
        {
            "run": [run_key(arm["arm_key"], seed, lr) for seed, lr in asked],
            "arm": fixed["label"],
            **{name: fixed[name] for name in ("arm_key", "setup", "setting")},
            **{name: [value] * len(asked) for name, value in flat_config(arm["config"]).items()},
            "optim.lr": [lr for _, lr in asked],
            "seed": [seed for seed, _ in asked],
        }
    )
    row = {run: i for i, run in enumerate(stored.runs)} if stored is not None else {}
    index = np.array([row.get(run, -1) for run in asked])
    found = index >= 0
    diverged = np.full(len(asked), -1)
    if stored is not None:
        diverged[found] = stored.diverged_at[index[found]]
    status = np.where(diverged >= 0, Status.DIVERGED.value, Status.COMPLETED.value)
    frame["path"] = arm.get("path", "stacked")  # what trained them: a trainer's name
    frame["status"] = np.where(found, status, Status.FAILED.value)
    frame["diverged_at"] = pd.array([d if d >= 0 else pd.NA for d in diverged], dtype="Int64")
    steps = np.full(len(asked), arm["config"]["train"]["steps"])
    if stored is not None and stored.stopped_at is not None:
        stopped = np.where(found, stored.stopped_at[index], -1)
        steps = np.where(stopped >= 0, stopped, steps)
    frame["steps"] = pd.array(steps, dtype="Int64")
    frame["steps_to_target"] = np.nan
    frame["flops_per_step"] = float(arm["flops_per_step"])
    counted = stored.init_flops if stored is not None else None  # by each run's own start
    drawn = np.nan if arm["init_flops"] is None else float(arm["init_flops"])
    frame["init_flops"] = drawn if counted is None else np.where(found, counted[index], np.nan)
    frame["flops_to_target"] = np.nan
    for name in ("stored_parameters", "used_parameters", "state_bytes"):
        frame[name] = arm[name]
    frame["gap_at_target"] = np.nan
    if stored is not None:
        for name, (steps_of, layers) in sorted(stored.axes.items()):
            if layers is None:
                last = np.full(len(asked), np.nan)
                at = np.searchsorted(steps_of, steps[found], side="right") - 1  # the run's own last step
                last[found] = stored.series(name).values[index[found], at]
                frame[name] = last
    return frame


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as dotted columns; lists as JSON text.

    >>> flat_config({"init": {"name": "eye", "target": "x", "bias": "zeros", "args": {"gain": 2.0}}})
    {'init.name': 'eye', 'init.bias': 'zeros', 'init.gain': 2.0}
    """
    init = dict(config.get("init", {}))
    args = init.pop("args", {})
    init.pop("target", None)
    init.pop("changed", None)
    kept = {key: config[key] for key in ("data", "model") if key in config} | {"init": {**init, **args}}
    for group in ("sharing", "optim", "train"):
        kept[group] = {k: v for k, v in config.get(group, {}).items() if (group, k) not in LEFT_OUT}
    columns = {key: json.dumps(v) if isinstance(v, list) else v for key, v in dotted(kept).items()}
    if "engine" in config:
        columns["engine.name"] = config["engine"]["name"]
    return columns


# asked for, not part of what a run is: a list that became runs, the judge, and what only steers the command
LEFT_OUT = {
    ("optim", "lr"),
    ("train", "target"),
    ("train", "rerun"),
    ("train", "dry_run"),
    ("sharing", "controls"),
    ("train", "evaluate"),
}


def history_rows(keys: pa.Array, stored: Stored, name: str) -> pa.Table:
    """One metric of an arm, by run (their `keys`), step and layer. The history of a run that left early ends there."""
    one = stored.series(name)
    layers = np.array([-1] if one.layers is None else one.layers, dtype=np.int16)
    steps = np.array(one.steps, dtype=np.int32)
    run = np.repeat(np.arange(len(keys), dtype=np.int32), len(steps) * len(layers))
    step = np.tile(np.repeat(steps, len(layers)), len(keys))
    layer = np.tile(layers, len(keys) * len(steps))
    metric = pa.DictionaryArray.from_arrays(np.zeros(len(run), np.int32), pa.array([name]))
    table = pa.Table.from_arrays(
        [pa.DictionaryArray.from_arrays(run, keys), step, metric, pa.array(layer, mask=layer < 0), one.values.ravel()],
        schema=HISTORY_SCHEMA,
    )
    if stored.stopped_at is None:
        return table
    end = np.where(stored.stopped_at >= 0, stored.stopped_at, np.iinfo(np.int32).max)
    return table.filter(pa.array(step <= end[run]))
