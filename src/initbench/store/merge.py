"""Several studies as one: parts of a sweep that were trained on different machines, half of the seeds here, half there.

What comes out is what one machine's study of all of it would be. Studies whose numbers cannot stand side by side are
refused in one line.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.config import called
from initbench.config.arm import digest, runs_of
from initbench.config.called import Named
from initbench.disk import make_folder, published, write_text
from initbench.errors import InputError, refusal
from initbench.grammar import plural
from initbench.store.columns import dropped_of
from initbench.store.history import History
from initbench.store.joined import Joined, Part, check_doubles, merged_runs
from initbench.store.reading import digests
from initbench.store.study_file import text_of

JUDGED = ("target", "rerun", "dry_run")  # keys of train that change no number of a run


def merged(parts: Sequence[Part]) -> tuple[pd.DataFrame, Joined, dict[str, Any]]:
    """(runs, history, content of study.json) of all parts as one study, arms in the order in which they are met.

    A run that several parts have with the same values is one run. Raises InputError where the parts are no parts of one
    study.
    """
    for other in parts[1:]:
        check_alike(parts[0], other)
    arms = merged_arms(parts)
    runs, owner = merged_runs(parts, arms)
    names = tuple(runs["run"].astype(str))
    history = Joined(Path(parts[0].name), parts=tuple(part.history for part in parts), runs=names, owner=tuple(owner))
    check_doubles(parts, history)
    return runs, history, merged_study(parts, arms, runs)


def place_of(folder: Path, study: Mapping[str, Any]) -> Path:
    """Where a merged study goes: beside its first part.

    >>> place_of(Path("outputs/a"), {"study": "a-b"}).as_posix()
    'outputs/a-b-merged'
    """
    return folder.parent / f"{study['study']}-merged"


def save(folder: Path, runs: pd.DataFrame, history: History, study: dict[str, Any]) -> None:
    """Write frames and study.json into a folder; each file appears whole or not at all. A history that is a file stays."""
    make_folder(folder)
    frames = {"runs": runs}
    if isinstance(history, pd.DataFrame):
        frames["history"] = history
    elif isinstance(history, Joined):
        history.save(folder / "history.parquet")
    for name, frame in frames.items():
        with published(folder / f"{name}.parquet") as new:
            frame.to_parquet(new, index=False, compression="zstd")
    study["frames"] = digests(folder)
    write_text(folder / "study.json", text_of(study))


# ------------------------------------------------------------------------------------------- what cannot be merged


def check_alike(first: Part, other: Part) -> None:
    """Refuse studies whose runs are not comparable, or were not asked for alike."""

    def refuse(wrong: str, do: str) -> InputError:
        return refusal(f"{first.name} and {other.name}", f"cannot be merged: {wrong}", do)

    def both(value: Callable[[Part], Any]) -> tuple[Any, Any] | None:
        """What differs between the two, where both know it."""
        pair = value(first), value(other)
        return None if None in pair or pair[0] == pair[1] else pair

    again = "train one of them again with the other's version"
    if pair := both(lambda part: part.study.get("numerics")):
        raise refuse(f"NUMERICS_VERSION is {pair[0]} and {pair[1]}", again)
    if pair := both(lambda part: minor((part.study.get("versions") or {}).get("torch"))):
        raise refuse(f"torch is {pair[0]} and {pair[1]}", again)
    for part in (first, other):
        if part.study.get("looks") is not None:
            wrong = f"{part.name} has decide=true, whose words count its own looks"
            raise refuse(wrong, "merge studies that were trained without decide")
    if first.study["target"] != other.study["target"]:
        pair = target_words(first.study["target"]), target_words(other.study["target"])
        raise refuse(f"the target is {pair[0]} and {pair[1]}", "run one command again with the other's train.target")
    ways = [{digest(way): way for way in map(way_of, trained(part.study))} for part in (first, other)]
    if ways[0].keys() != ways[1].keys():
        one, two = (
            ways[i][key] for i, key in ((0, min(ways[0])), (1, min(ways[1].keys() - ways[0].keys() or ways[1])))
        )
        differ = next((key for key in one if one[key] != two.get(key)), "steps")
        raise refuse(
            f"train.{differ} is {one[differ]} and {two[differ]}", "train both alike, or compare the two without --merge"
        )
    data = [{digest(arm["config"]["data"]): arm for arm in trained(part.study)} for part in (first, other)]
    for key in data[0].keys() & data[1].keys():
        if len({arm.get("data_hash") for arm in (data[0][key], data[1][key])} - {None}) > 1:
            raise refuse(
                f"the data {data[0][key]['config']['data']['name']} are others", "use the same data on both machines"
            )
    known = {arm["label"]: arm for arm in trained(first.study)}
    for arm in trained(other.study):
        own = known.get(arm["label"])
        if own is not None and own["arm_key"] != arm["arm_key"] and question(own) == question(arm):
            raise refuse(f"{arm['label']} has other code in them", "use the same files and packages on both machines")


def minor(version: str | None) -> str | None:
    """Major and minor version, which decide the numbers of a run.

    >>> minor("2.13.0+cpu")
    '2.13'
    """
    return None if version is None else ".".join(version.split(".")[:2])


def target_words(target: Mapping[str, Any] | None) -> str:
    return "none" if target is None else f"{target['metric']} {target['value']:g}"


def trained(study: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The arms that have runs."""
    return [arm for arm in study["arms"] if arm["status"] != "not applicable"]


def way_of(arm: Mapping[str, Any]) -> dict[str, Any]:
    """How the runs of an arm are trained."""
    return {key: value for key, value in arm["config"]["train"].items() if key not in JUDGED}


def question(arm: Mapping[str, Any]) -> str:
    """What is asked of an arm, whoever computes it."""
    config = {key: value for key, value in arm["config"].items() if key not in ("seeds", "dropped", "engine")}
    config["optim"] = {key: value for key, value in config["optim"].items() if key != "lr"}
    return digest(config)


# ------------------------------------------------------------------------------------------------------- the arms


def merged_arms(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Every arm once, with the seeds and learning rates of all parts, and called as in one study."""
    found: dict[str, list[tuple[Part, Mapping[str, Any]]]] = {}
    for controls in (False, True):  # which a study lists after the arms that it was asked for
        for part in parts:
            arms = part.study["arms"]
            asked = len(arms) - len(list(takewhile(lambda arm: arm.get("control_of"), reversed(arms))))
            for arm in arms[asked:] if controls else arms[:asked]:
                found.setdefault(arm["arm_key"] or digest(arm["config"]), []).append((part, arm))
    arms = [joint([arm for _, arm in those], " and ".join(part.name for part, _ in those)) for those in found.values()]
    here = [arm for arm in arms if arm["status"] != "not applicable"]
    own = [Named(arm["setup"], arm.get("home") or arm["config"], "full batch" in arm["setting"]) for arm in here]
    for arm, (label, setting) in zip(here, called.names(own)):
        arm["label"], arm["setting"] = label, setting
    known: dict[str, str] = {}
    for arm in here:
        if known.setdefault(arm["label"], arm["arm_key"]) != arm["arm_key"]:
            names = " and ".join(part.name for part in parts)
            raise refusal(names, f"cannot be merged: {arm['label']} is two arms in them", "give one another name")
    return arms


def joint(arms: Sequence[Mapping[str, Any]], names: str) -> dict[str, Any]:
    """One arm of several parts, which together must have run every seed at every learning rate."""
    out = dict(arms[0])
    if len(arms) == 1 or out["status"] == "not applicable":
        return out
    seeds = sorted({seed for arm in arms for seed in arm["seeds"]})
    lrs = list(dict.fromkeys(lr for arm in arms for lr in arm["lrs"]))
    gone: dict[float, set[int]] = {}
    for arm in arms:
        for lr, some in dropped_of(arm):
            gone.setdefault(lr, set()).update(some)
    dropped = [[lr, sorted(some)] for lr, some in sorted(gone.items())]
    there = {run for arm in arms for run in runs_of(arm["seeds"], arm["lrs"], dropped_of(arm))}
    asked = runs_of(seeds, lrs, dropped)
    if set(asked) != there or len(set(asked)) < len(asked):
        seed, lr = next(iter(sorted(set(asked) - there)), (seeds[0], lrs[0]))
        wrong = f"cannot be merged: {out['label']} has seed {seed} at other learning rates than {lr:g}"
        raise refusal(names, wrong, "train the same learning rates on both machines, or the same seeds")
    config = dict(out["config"])
    typed = [arm["config"]["optim"]["lr"] for arm in arms]
    config["seeds"], config["dropped"] = seeds, dropped
    config["optim"] = {**config["optim"], "lr": typed[0] if all(one == typed[0] for one in typed) else lrs}
    return {**out, "seeds": seeds, "lrs": lrs, "runs": len(asked), "config": config}


# -------------------------------------------------------------------------------------------------- study.json


def merged_study(parts: Sequence[Part], arms: list[dict[str, Any]], runs: pd.DataFrame) -> dict[str, Any]:
    """study.json of the whole; what only one machine can say is said of all."""
    studies = [part.study for part in parts]
    failed = set(runs.loc[runs["status"].astype(str) == "failed", "arm"].astype(str))
    for arm in arms:
        if arm["status"] != "not applicable":
            reasons = [
                one.get("reason") for study in studies for one in study["arms"] if one["arm_key"] == arm["arm_key"]
            ]
            lost = arm["label"] in failed
            arm["status"] = "failed" if lost else "done"
            arm["reason"] = next(filter(None, reasons), "some of its runs failed") if lost else None
    first = studies[0]
    return {
        **first,
        "study": name_of(studies),
        **command_of(studies, arms),
        "created": max(str(study["created"]) for study in studies),
        "git": first.get("git") if len({study.get("git") for study in studies}) == 1 else None,
        "versions": told([study.get("versions") or {} for study in studies]),
        "machine": told([study.get("machine") or {} for study in studies]),
        "baseline": baseline_of(parts),
        "family": family_of(studies),
        "budget": max((study.get("budget") or 0 for study in studies), default=None),
        "elapsed": round(sum(study.get("elapsed") or 0.0 for study in studies), 1),
        "cautions": cautions_of(parts, arms),
        "arms": arms,
        "mlflow": None,
    }


def name_of(studies: Sequence[Mapping[str, Any]]) -> str:
    """What the whole is called: as its parts, whose runs in MLflow are then those of the whole.

    >>> name_of([{"study": "a"}, {"study": "b"}]), name_of([{"study": "a"}, {"study": "a"}])
    ('a-b', 'a')
    """
    return "-".join(dict.fromkeys(str(study["study"]) for study in studies))[:120]


def told(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the parts say of themselves, where they differ one after the other.

    >>> told([{"system": "Linux", "cores": 2}, {"system": "Linux", "cores": 8}])
    {'system': 'Linux', 'cores': '2; 8'}
    """
    values = {key: list(dict.fromkeys(table.get(key) for table in tables)) for table in tables for key in table}
    return {key: found[0] if len(found) == 1 else "; ".join(map(str, found)) for key, found in values.items()}


def baseline_of(parts: Sequence[Part]) -> str | None:
    """The baseline that a part was given, where its initializer is in it."""
    found = list(dict.fromkeys(str(part.study["baseline"]) for part in parts if part.study.get("baseline")))
    if len(found) > 1:
        names = " and ".join(part.name for part in parts)
        raise refusal(
            names, f"cannot be merged: the baselines are {' and '.join(found)}", "give both the same report.baseline"
        )
    return found[0] if found else None


def family_of(studies: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Who is judged: of all parts; None where everybody is."""
    return list(dict.fromkeys(name for study in studies for name in study.get("family") or [])) or None


def command_of(studies: Sequence[Mapping[str, Any]], arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Command and overrides of the whole, as one machine would be asked for it; the first part's where that cannot be said.

    >>> studies = [{"overrides": ["init=eye", "seeds=2"]}, {"overrides": ["init=zeros", "seeds=2"]}]
    >>> command_of(studies, [])["command"]
    'python -m initbench init=eye,zeros seeds=2'
    """
    keys = [dict(text.partition("=")[::2] for text in study.get("overrides") or []) for study in studies]
    keys = [{key: value for key, value in own.items() if not key.startswith(OF_A_MACHINE)} for own in keys]
    out: dict[str, str] = {}
    for key in keys[0]:
        values = list(dict.fromkeys(own.get(key, "") for own in keys))
        if key == "seeds" and len(values) > 1:
            seeds = sorted({seed for arm in arms for seed in arm["seeds"]})
            values = [str(len(seeds)) if seeds == list(range(len(seeds))) else f"[{','.join(map(str, seeds))}]"]
        if len(values) > 1 and not all(
            value and value.isprintable() and not set(value) & set("[]{}()'\" ") for value in values
        ):
            values = values[:1]
        out[key] = (
            ",".join(dict.fromkeys(one for value in values for one in value.split(",")))
            if len(values) > 1
            else values[0]
        )
    overrides = [f"{key}={value}" for key, value in out.items()]
    return {"command": shlex.join(["python", "-m", "initbench", *overrides]), "overrides": overrides}


OF_A_MACHINE = ("track.", "outputs", "study", "engine.workers", "engine.chunk", "hydra/", "hydra.")


def cautions_of(parts: Sequence[Part], arms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What to know before trusting the whole: what is to be known of the parts, and that it is one of parts."""
    now = {arm["arm_key"]: arm["label"] for arm in arms}
    found: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        own = {arm["label"]: now.get(arm["arm_key"], arm["label"]) for arm in part.study["arms"]}
        for one in part.study.get("cautions") or []:
            about = found.setdefault((one["title"], one["text"]), [])
            about += [label for label in (own.get(name, name) for name in one["arms"]) if label not in about]
    counts = ", ".join(f"{plural(len(part.runs), 'run')} of {part.name}" for part in parts)
    text = (
        f"it has {counts}; if one of them was judged before another was asked for, that was a look at a part, "
        "and p values are too small"
    )
    title = f"Merged from {plural(len(parts), 'study', 'studies')}"
    return [
        {"title": title, "text": text, "arms": [arm["label"] for arm in arms]},
        *({"title": title, "text": text, "arms": about} for (title, text), about in found.items()),
    ]
