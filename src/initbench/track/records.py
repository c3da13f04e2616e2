"""From the frames of a study to the runs MLflow shall hold: plain data, the same for both ways of writing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from initbench.config.arm import dotted
from initbench.config.checks import unknown
from initbench.errors import printable
from initbench.stats import lr_profile, metrics, ordered, select
from initbench.stats.intervals import worst_median
from initbench.stats.rates import column
from initbench.store.history import history_of
from initbench.track import pages
from initbench.track.points import (
    HEADLINE,
    MEDIAN,
    NEVER,
    QUANTILES,
    History,
    Points,
    bands,
    clean,
    colour_of,
    end_name,
    ends,
    per_run,
    shortened,
    thinned,
    trained_share,
)

LATEST, COPIES = 60_000, 16  # ms, and how many of them the arms of one rank share
CHILDREN = ("headline", "full", "none")
# measures of layers that people look at; all others are in the frames: in a page of a thousand charts nobody finds one
LAYERED = ("weight_norm", "grad_norm", "update_ratio", "activation_msq", "dead_fraction", "use_grad_alignment")
FORMAT = "3"  # of what is written; a change of names rewrites a study
KIND, CONTENT, STUDY = "initbench.kind", "initbench.content", "initbench.study"
COLOUR, VERDICT = "mlflow.runColor", "initbench.verdict"
ARM, RUN, REPORT, PARENT = "initbench.arm", "initbench.run", "initbench.report", "mlflow.parentRunId"
# the columns of runs that are summed up for an arm
_OF_ARMS = (
    "status", "optim.lr", "steps", "train.steps", "steps_to_target", "flops_to_target", "stored_parameters",
    "used_parameters", "flops_per_step", "loss/train", "loss/val", "accuracy/train", "accuracy/val",
)  # fmt: skip
# groups of the configuration that no number depends on
_NOT_OF_THE_ARM = ("track", "report", "study", "engine")


@dataclass(frozen=True)
class Record:
    """One MLflow run as it shall be. `key` finds it again, `content` says whether it is still the same."""

    key: str
    name: str
    status: str  # FINISHED | FAILED
    start: int  # ms since 1970, also the time of every point
    params: dict[str, str]
    own_tags: dict[str, str]
    points: Points

    @cached_property
    def content(self) -> str:
        """Hash of everything but times and colour: a study that is trained again at another hour is the same, and an arm that
        gets another place in it is not written anew."""
        tags = {key: value for key, value in self.own_tags.items() if key != COLOUR}
        text = json.dumps([FORMAT, self.name, self.status, self.params, tags], sort_keys=True)
        return hashlib.blake2b((text + self.points.digest()).encode(), digest_size=16).hexdigest()

    @property
    def tags(self) -> dict[str, str]:
        return self.own_tags | {CONTENT: self.content}


@dataclass(frozen=True)
class Arm:
    """A parent run and its runs."""

    parent: Record
    runs: list[Record] = field(default_factory=list)


def key_of(tags: Mapping[str, str]) -> str | None:
    """The key under which a stored run is found again; None if it is none of ours.

    >>> key_of({"initbench.kind": "run", "initbench.run": "00ff"})
    'run:00ff'
    """
    kind = tags.get(KIND)
    if kind == "report":
        return "report"
    own = tags.get({"arm": ARM, "run": RUN}.get(kind or "", ""))
    return f"{kind}:{own}" if own else None


def arms_of(results: Any, children: str = "headline") -> list[Arm]:
    """All arms of a study with their runs, in the order of the study.

    Args:
        results: has `runs`, `history`, `study`.
        children: headline | full | none.

    Raises InputError for another word.
    """
    if children not in CHILDREN:
        raise unknown("track.children", children, CHILDREN)
    study, runs = results.study, results.runs.reset_index(drop=True)
    infos = _arm_infos(study, runs)
    number = {key: i for i, key in enumerate(infos)}
    arm_of = runs["arm_key"].astype(str).map(number).to_numpy(int) if len(runs) else np.array([], int)
    profile = lr_profile(runs) if len(runs) else pd.DataFrame(columns=["arm"])
    diverged = runs["diverged_at"].to_numpy(dtype="float64", na_value=np.nan) if len(runs) else np.array([])
    diverged_at = np.where(np.isnan(diverged), NEVER, np.nan_to_num(diverged).astype(np.int64))

    chosen = profile[profile["chosen"]].set_index("arm")["lr"].to_dict() if len(profile) else {}
    lr = runs["optim.lr"].to_numpy(float) if len(runs) else np.array([])
    best = np.array([chosen.get(a, np.nan) for a in runs["arm"].astype(str)], float) if len(runs) else lr
    at_best = (lr == best) | (np.isnan(lr) & np.isnan(best))

    curves: list[list[Points]] = [[] for _ in infos]
    grids = [[np.empty(0, np.int64)] for _ in infos]
    kept: list[History] = []
    history = history_of(results)
    full, shown = children == "full", shown_of(study)
    for name in metrics(history):  # one at a time: there may be millions of rows
        headline = name.startswith(HEADLINE)
        if not (full or headline or name in shown):
            continue
        rows = select(history, name, None if full or headline else runs["run"][at_best])
        if full:
            one, quantiles = History.of(rows, runs), QUANTILES
        else:
            one, quantiles = History.of(ends(rows, runs, arm_of), runs, end_name), MEDIAN
        for i, points in enumerate(bands(one, np.where(at_best, arm_of, -1), len(infos), diverged_at, quantiles)):
            curves[i].append(points if full else shortened(points))
        for i, steps in enumerate(_evaluation_steps(one, arm_of, len(infos))):
            grids[i].append(steps)
        if (full or headline) and children != "none":
            kept.append(one if full else thinned(one))

    start = created_ms(study)
    own = []
    if children != "none":
        own = _run_records(runs, per_run(History.concat(kept), len(runs)), study, start)
    arms = []
    shown = runs[[name for name in runs if name in _OF_ARMS]]  # cutting an arm out of all columns takes longest here
    of_label = dict(list(profile.groupby("arm")))
    board = ordered(runs, study)  # the ranks and medians of the report
    board["copy"] = board.groupby(["setting", "rank"], sort=False).cumcount()  # of the same nets
    places = {str(row["arm"]): {str(name): value for name, value in row.items()} for row in board.to_dict("records")}
    for key, i in number.items():
        info, mine = infos[key], np.flatnonzero(arm_of == i)
        lrs = of_label.get(info["label"], profile.iloc[:0])
        frame = shown.iloc[mine]
        points, grid = Points.concat(curves[i]), np.unique(np.concatenate(grids[i]))
        place = places[info["label"]] if len(lrs) else None
        own_info = {**info, "arm_key": key, "colour": colour_of(i)}
        parent = _arm_record(own_info, place, frame, frame[at_best[mine]], lrs, points, grid, study, start)
        arms.append(Arm(parent, [own[j] for j in mine] if own else []))
    return arms


def shown_of(study: Mapping[str, Any]) -> set[str]:
    """The measures of layers that arms show: a few, and those that the study asks for by name."""
    asked = [(arm.get("config") or {}).get("measure") or {} for arm in study.get("arms", [])]
    return {*LAYERED, *(name for one in asked for name in one.get("metrics") or ())}


def created_ms(study: Mapping[str, Any]) -> int:
    """When the study was created, in ms since 1970: the only clock here, so that a refill writes the same
    times.

    >>> created_ms({"created": "1970-01-01T00:00:02+00:00"})
    2000
    """
    moment = datetime.fromisoformat(str(study["created"]))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _arm_infos(study: Mapping[str, Any], runs: pd.DataFrame) -> dict[str, dict[str, Any]]:
    # an arm that does not apply has no key of its own
    infos = {str(arm["arm_key"] or arm["label"]): dict(arm) for arm in study.get("arms", [])}
    if len(runs):
        for row in runs.drop_duplicates("arm_key").itertuples():
            infos.setdefault(str(row.arm_key), {"arm_key": str(row.arm_key), "label": str(row.arm)})
            for name in ("setup", "setting"):
                infos[str(row.arm_key)].setdefault(name, str(getattr(row, name)))
    return infos


def _common_tags(kind: str, study: Mapping[str, Any]) -> dict[str, str]:
    tags = {
        KIND: kind,
        STUDY: str(study["study"]),
        "mlflow.source.name": "initbench",
        "mlflow.source.type": "LOCAL",
    }
    return tags | ({"mlflow.source.git.commit": str(study["git"])} if study.get("git") else {})


# --- runs ----------------------------------------------------------------------


def _run_records(runs: pd.DataFrame, points: Sequence[Points], study: Mapping[str, Any], start: int) -> list[Record]:
    configured = [c for c in runs.columns if "." in c and "/" not in c] + ["setup", "seed"]
    text = {clean(c): _texts(runs[c]) for c in configured if c in runs}
    finals = [c for c in ("steps_to_target", "flops_to_target", "gap_at_target", "diverged_at") if c in runs]
    final = {c: pd.to_numeric(runs[c]).to_numpy(dtype=float, na_value=np.nan) for c in finals}
    common = _common_tags("run", study)
    records = []
    for i, row in enumerate(runs[["run", "arm", "setup", "setting", "status", "optim.lr", "seed"]].itertuples()):
        tags = common | {
            RUN: str(row.run), "initbench.setup": _text(row.setup)[:5000], "initbench.setting": _text(row.setting)[:5000],
            "initbench.status": str(row.status),
        }  # fmt: skip
        records.append(
            Record(
                key=f"run:{row.run}",
                name=f"lr={row[6]:g} seed={row.seed}",
                status="FAILED" if row.status == "failed" else "FINISHED",
                start=start + max(200 - int(str(row.seed)), 0),  # a page lists the latest first: seed 0 on top
                params={c: value for c, values in text.items() if (value := values[i]) is not None},
                own_tags=tags,
                points=Points.concat([points[i], Points.scalars({c: v[i] for c, v in final.items()})]),
            )
        )
    return records


def _texts(column: pd.Series) -> list[str | None]:
    """A column as parameter values; each distinct value is written once."""
    known: dict[Any, str | None] = {}
    out: list[str | None] = []
    for value in column.tolist():
        if isinstance(value, (list, tuple, dict, np.ndarray)):
            out.append(_text(value))
            continue
        if value not in known:
            known[value] = None if pd.isna(value) else _text(value)
        out.append(known[value])
    return out


def _text(value: Any) -> str:
    """A parameter's value as a person would type it.

    >>> _text(True), _text(None), _text(0.1), _text([0.1, 1])
    ('true', 'null', '0.1', '[0.1, 1]')
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (bool, np.bool_, list, tuple, dict)) or value is None:
        value = json.dumps(bool(value) if isinstance(value, np.bool_) else value, default=str)
    return printable(value)[:6000]


# --- arms ----------------------------------------------------------------------


def _arm_record(
    info: Mapping[str, Any],
    place: Mapping[str, Any] | None,
    runs: pd.DataFrame,
    best: pd.DataFrame,
    lrs: pd.DataFrame,
    curves: Points,
    grid: np.ndarray,
    study: Mapping[str, Any],
    start: int,
) -> Record:
    """The parent run. `place`: its row of the leaderboard if it has runs, `runs`: all of them, `best`: at its chosen lr,
    `lrs`: its rows of `lr_profile`."""
    state = str(info.get("status", "done"))
    params = {
        clean(k.replace("init.args.", "init.")): _text(v)  # as the runs have it
        for k, v in dotted(info.get("config") or {}, empty=True).items()
        if k.split(".")[0] not in _NOT_OF_THE_ARM
    }
    scalars: dict[str, Any] = {}
    if place is not None:
        scalars |= _summary(place) | _decided(info["label"], study)
        if not np.isnan(place["lr"]):
            params["lr_chosen"] = _text(float(place["lr"]))
        for _, at in lrs.iterrows():
            part = runs[runs["optim.lr"].to_numpy(float) == at["lr"]]
            scalars |= {f"lr_{at['lr']:g}/{name}": value for name, value in _per_lr(part, at).items()}
    for name in ("stored_parameters", "used_parameters", "flops_per_step"):
        scalars[name] = info.get(name, runs[name].iloc[0] if name in runs and len(runs) else None)
    scalars = {k: np.nan if v is None else v for k, v in scalars.items()}
    points = [curves, Points.scalars(scalars)]
    if study.get("target") or best["steps_to_target"].notna().any():
        points.append(trained_share(best["steps_to_target"].to_numpy(float), grid))
    params |= {"setup": _text(info.get("setup", info["label"])), "setting": _text(info.get("setting", ""))}
    tags = _common_tags("arm", study) | {
        ARM: str(info["arm_key"]),
        COLOUR: info["colour"],
        "initbench.setup": params["setup"][:5000],
        "initbench.setting": params["setting"][:5000],
        "initbench.status": state,
        "mlflow.note.content": pages.arm_note(info, lrs, study),
    }
    if info.get("reason"):
        tags["initbench.reason"] = printable(info["reason"])[:5000]
    if looks := [row for row in study.get("looks") or [] if row["arm"] == info["label"]]:
        tags |= _rounds(looks, study.get("decide") or {})
    everything_failed = len(runs) > 0 and bool((runs["status"] == "failed").all())
    return Record(
        key=f"arm:{info['arm_key']}",
        name=printable(info["label"])[:250],
        status="FAILED" if state == "failed" or everything_failed else "FINISHED",
        start=start + _later(place),
        params=dict(sorted(params.items())),
        own_tags=tags,
        points=Points.concat(points),
    )


def _summary(place: Mapping[str, Any]) -> dict[str, Any]:
    """The arm's numbers as the leaderboard has them; the last losses and accuracies too, for a curve ends where its
    median has diverged."""
    return {
        "rank": place["rank"],
        "lr_chosen": place["lr"],
        "steps_to_target_median": place["steps"],
        "flops_to_target_median": place["flops_to_target"],
        "share_reached": place["share"],
        "n": place["n"],
        "diverged": place["diverged"],
        "failed": place["failed"],
        "loss_train": place["loss_train"],
        "accuracy_val": place["accuracy_val"],
    }


def _decided(label: str, study: Mapping[str, Any]) -> dict[str, Any]:
    """At how many pairs of seeds the arm's word fell, in a study that went on until it did."""
    fell = [row for row in study.get("looks") or [] if row["arm"] == label and row["verdict"] != "undecided"]
    return {"decided_at": fell[-1]["pairs"]} if fell else {}


def _rounds(looks: Sequence[Mapping[str, Any]], decide: Mapping[str, Any]) -> dict[str, str]:
    """The rounds at which the arm was judged, and its last word.

    >>> _rounds([{"look": 0, "pairs": 10, "verdict": "slower"}], {"rounds": [{"look": 0, "why": "first look"}]})
    {'initbench.rounds': 'first look, n=10: slower', 'initbench.verdict': 'slower'}
    """
    why = {one.get("look"): one["why"] for one in decide.get("rounds", [])}
    lines = [f"{why.get(row['look'], 'look')}, n={row['pairs']}: {row['verdict']}" for row in looks]
    return {"initbench.rounds": "; ".join(lines)[:5000], VERDICT: str(looks[-1]["verdict"])}


def _per_lr(part: pd.DataFrame, at: pd.Series) -> dict[str, Any]:
    out = {"steps_to_target_median": at["steps"], "share_reached": at["share"]}
    out |= {name: at[name] for name in ("n", "diverged", "failed")}
    out |= {f"loss_{split}": worst_median(column(part, f"loss/{split}")) for split in ("train", "val")}
    out |= {f"accuracy_{split}": -worst_median(-column(part, f"accuracy/{split}")) for split in ("train", "val")}
    return out


def _evaluation_steps(history: History, arm_of: np.ndarray, arms: int) -> list[np.ndarray]:
    """The evaluation grid of each arm: the steps of its losses and accuracies."""
    rows = history.where((history.run >= 0) & history.headline[history.name]) if len(history.names) else history
    if not len(rows.run):
        return [np.array([], np.int64)] * arms
    cells = np.unique(arm_of[rows.run].astype(np.int64) * rows.span + rows.step)
    bounds = np.searchsorted(cells, np.arange(arms + 1) * rows.span)
    return [cells[a:b] % rows.span for a, b in pairwise(bounds)]


def _later(place: Mapping[str, Any] | None) -> int:
    """ms by which an arm starts after its runs. The page of a study lists runs by date, the latest first: this is the
    order of the leaderboard. The rank is a metric of the arm too, so an arm whose rank changes is written anew.
    """
    if place is None:
        return 500
    return max(1000, LATEST - COPIES * int(place["rank"]) - min(int(place["copy"]), COPIES - 1))
