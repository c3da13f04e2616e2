"""Entries made by training: the package's own command, one study of the grid at a time, and its frames read off.

The store of finished runs makes it resumable: what was trained once with the same net, data and code is read, not trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from initbench.errors import InputError, refusal
from initbench.leaderboard.checks import COUNTS
from initbench.leaderboard.entry import DIVERGED, FORMAT, MOST_BYTES, NEVER, Entry, sealed
from initbench.leaderboard.settings import Grid, Setting, label_of
from initbench.own import sources

LOSS_DIGITS = 7  # as many as float32 has


class Broken(InputError):
    """An initializer whose code fails: it has no entry."""


def trained(
    name: str,
    grid: Grid,
    outputs: Path,
    sharing: str = "none",
    extra: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Entry:
    """The entry of one initializer, trained on the whole grid with this sharing. Raises InputError, or Broken in one line."""
    import initbench as ib

    began, arms, frames, studies = time.monotonic(), [], [], []
    for study, overrides in grid.studies.items():
        say(f"{name} · {sharing}: {study}")
        lines = [
            *overrides, f"init={name}", f"sharing={sharing}", f"study=leaderboard_{study}", f"outputs={outputs}",
            "track.uri=null", "report.formats=[csv]", *extra,
        ]  # fmt: skip
        one = ib.run(lines)
        assert one is not None
        arms += one.study["arms"]
        frames.append(one.runs)
        studies.append(one.study)
    runs = pd.concat(frames, ignore_index=True)
    records = [record(setting, arms, runs) for setting in grid.settings]
    config = arms[0]["config"]["init"]
    made = {
        "versions": studies[0]["versions"],
        "machine": {key: str(value) for key, value in studies[0]["machine"].items()},
        "minutes": round((time.monotonic() - began) / 60, 2),
    }
    content = {
        "format": FORMAT, "initializer": str(config["name"]), "target": str(config["target"]), "args": written(config["args"]),
        "source": source(config["target"]), "grid": grid.digest, "seeds": list(grid.settings[0].seeds),
        "results": {sharing: records}, "made": made,
    }  # fmt: skip
    found = sealed(content)
    if len(found.text) > MOST_BYTES:
        raise refusal(name, f"its entry would have more than {MOST_BYTES:,} bytes", "import less of your own code")
    return found


def record(setting: Setting, arms: Sequence[Mapping[str, Any]], runs: pd.DataFrame) -> dict[str, Any]:
    """One setting of an entry; Broken where the arm failed."""
    arm = next(one for one in arms if label_of(one["config"]) == setting.label)
    head = {"setting": setting.label, "grid": setting.digest}
    if arm["status"] == "not applicable":
        return {**head, "not_applicable": str(arm["reason"])[:500]}
    if arm["status"] != "done":
        raise Broken(f"{arm['init']}: no entry: {arm['reason']}")
    own = runs[runs["arm_key"] == arm["arm_key"]]
    if len(own) != len(setting.lrs) * len(setting.seeds) or (own["status"] == "failed").any():
        raise Broken(f"{arm['init']}: no entry: runs of {setting.label} are missing; run the same command again")
    table = {(float(row["optim.lr"]), int(row["seed"])): row for row in own.to_dict("records")}
    return {
        **head,
        **{name: float(own[name].iloc[0]) for name in COUNTS},
        "init_flops": [finite(table[setting.lrs[0], seed]["init_flops"]) for seed in setting.seeds],
        "steps": {repr(lr): [outcome(table[lr, seed]) for seed in setting.seeds] for lr in setting.lrs},
        "loss": {repr(lr): [loss(table[lr, seed]["loss/train"]) for seed in setting.seeds] for lr in setting.lrs},
    }


def outcome(run: Mapping[Any, Any]) -> int | str:
    """The step of the target, or what became of the run.

    >>> outcome({"steps_to_target": 40.0, "status": "diverged"}), outcome({"steps_to_target": None, "status": "diverged"})
    (40, 'diverged')
    """
    steps = finite(run["steps_to_target"])
    if steps is not None:
        return int(steps)
    return DIVERGED if run["status"] == "diverged" else NEVER


def finite(value: Any) -> float | None:
    """A number, or nothing."""
    return None if value is None or not math.isfinite(value) else float(value)


def written(value: Any) -> Any:
    """An argument as JSON has it: what is no finite number as text.

    >>> written({"bound": math.inf, "sizes": (1, 2.5)})
    {'bound': 'inf', 'sizes': [1, 2.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): written(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [written(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def loss(value: Any) -> float | None:
    """A loss with as many digits as it has."""
    number = finite(value)
    return None if number is None else float(f"{number:.{LOSS_DIGITS}g}")


def source(target: str) -> dict[str, str] | None:
    """The modules that a person's own function comes from, as text; nothing for the catalogue's and installed ones."""
    from initbench.initializers import resolve

    texts = {}
    for name, content in sources.read(sources.roots_of(target, resolve(target))).items():
        if not name.startswith("initbench.") and name != "initbench":
            texts[name] = content.decode("utf-8", errors="replace")
    return texts or None


def merged(entry: Entry, other: Entry) -> Entry:
    """An entry with the records of another sharing added, and the minutes of both."""
    made = {**other.content["made"]}
    made["minutes"] = round(made["minutes"] + entry.content["made"]["minutes"], 2)
    results = {**entry.content["results"], **other.content["results"]}
    return sealed({**entry.content, "results": results, "made": made})
