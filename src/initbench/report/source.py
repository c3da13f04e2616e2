"""Where a report comes from: a study folder or results in memory; and which target it speaks of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from initbench import stats
from initbench.config.checks import check_target
from initbench.errors import printable, refusal, shown
from initbench.stats.looks import LOOK_COLUMNS
from initbench.store.archives import unpacked
from initbench.store.history import History, history_of, whole
from initbench.store.reading import check_frames, read_folder

NAMES = ("arm", "setup", "setting", "init.name", "sharing.name", "data.name")


@dataclass(frozen=True)
class Source:
    """The frames of a study, the target in force, and every table the report shows (each computed once)."""

    runs: pd.DataFrame
    history: History
    study: Mapping[str, Any]
    folder: Path
    target: tuple[str, float] | None
    baseline: str | None = None
    changed: bool = field(default=False)  # the target, the baseline or the family is not the study's own
    stored_runs: pd.DataFrame | None = None  # as on disk, where the target is another or a name is not printable
    stored_study: Mapping[str, Any] | None = None
    family: str | list[str] | None = None
    every: bool = False  # every two setups are asked for

    @property
    def own_runs(self) -> pd.DataFrame:
        """The runs with the steps of the study's own target."""
        return self.runs if self.stored_runs is None else self.stored_runs

    @property
    def own_study(self) -> Mapping[str, Any]:
        """study.json as it is, names included that no page can show."""
        return self.study if self.stored_study is None else self.stored_study

    @cached_property
    def judged(self) -> stats.Judged:
        metric = self.target[0] if self.target is not None else None
        return stats.judge(self.runs, self.study, self.baseline, self.history, metric, self.family)

    @cached_property
    def names(self) -> list[str] | None:
        """The setups or initializers that are judged; None: all."""
        return stats.family_of(self.board, self.study, self.family)

    @property
    def board(self) -> pd.DataFrame:
        """One row per arm, by rank."""
        return self.judged.board

    @property
    def pairs(self) -> pd.DataFrame:
        """One row per setup, against its baseline."""
        return self.judged.pairs

    @cached_property
    def all_pairs(self) -> pd.DataFrame:
        """Every two setups of a setting, judged as one family; no rows unless they are asked for."""
        names = self.names if self.every else []
        return stats.judge_pairs(self.judged, self.study, names)

    @cached_property
    def average_ranks(self) -> stats.AverageRanks | str:
        """The setups over all settings; or why there is no such thing."""
        return stats.average_ranks(self.board, self.names)

    @property
    def decide(self) -> Mapping[str, Any] | None:
        """Limits, rounds and end of a study that went on until it was decided; None for any other."""
        return self.study.get("decide")

    @cached_property
    def looks(self) -> pd.DataFrame:
        """What each look found of each pair that was still open; empty for a study that was looked at once."""
        return pd.DataFrame(list(self.study.get("looks") or []), columns=list(LOOK_COLUMNS))

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Main effects and interactions of the factors that vary, against the levels of the baseline."""
        if self.runs.empty:
            return pd.DataFrame({"given": []})
        base = self.board.loc[self.board["setup"] == self.board["baseline"], "arm"].iloc[:1]
        first = self.runs[self.runs["arm"].astype(str).isin(base)].iloc[:1]
        levels = {name: str(first[name].iloc[0]) for name in stats.factors_of(self.runs) if len(first)}
        return stats.effects(self.runs, self.board, levels, self.judged.arms)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Restricted means, final losses and areas under the loss curve."""
        return stats.summary(self.runs, self.history)

    @cached_property
    def profile(self) -> pd.DataFrame:
        return stats.lr_profile(self.runs)

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """Runs at their arm's chosen learning rate."""
        return stats.at_chosen_lr(self.runs)

    @cached_property
    def curves(self) -> pd.DataFrame:
        return stats.trained_by_step(self.runs)

    @cached_property
    def settings(self) -> list[str]:
        return list(dict.fromkeys(self.board["setting"].astype(str)))

    def part(self, frame: pd.DataFrame, setting: str) -> pd.DataFrame:
        """The rows of one setting."""
        return frame[frame["setting"].astype(str) == setting]

    def among(self, setting: str) -> str:
        """A setting at the end of a title: nothing where it is the only one."""
        return "" if len(self.settings) == 1 else f" ({setting})"

    def arrives(self, setting: str) -> bool:
        """Whether any run at a chosen learning rate of this setting arrived: steps are compared, else losses."""
        return bool((self.part(self.board, setting)["reached"] > 0).any())

    @cached_property
    def arms(self) -> list[Mapping[str, Any]]:
        return list(self.study.get("arms") or [])

    @cached_property
    def all_runs(self) -> int:
        """Runs that were made or failed with their arm before they were."""
        trained = set(self.runs["arm"].astype(str).unique())
        lost = (a for a in self.arms if a["label"] not in trained and a.get("status") == "failed")
        return len(self.runs) + sum(int(arm.get("runs") or 0) for arm in lost)

    def tau(self, setting: str) -> float:
        """The largest budget among the setting's runs."""
        runs = self.part(self.runs, setting)
        return float(stats.budget(runs).max()) if len(runs) else float(self.study.get("budget") or 0)


def open_source(
    results: Any,
    *,
    baseline: str | None = None,
    target: Any = None,
    family: Iterable[str] | str | None = None,
    pairs: bool | None = None,
) -> Source:
    """A Source from a study folder (str or Path) or from an object with runs, history, study and folder.

    `target`: None (the study's), a number (of the study's metric), "accuracy/val:0.9", or a (metric, value) pair.
    `pairs`: whether every two setups are compared, None: as the study says.
    Raises InputError if the folder or a file of it is missing or torn, or the target is not to be had.
    """
    if isinstance(results, (str, Path)):
        folder, (runs, history, study) = read_study(Path(results))
    else:
        runs, history, study = results.runs, history_of(results), results.study
        folder = Path(results.folder)
    check_frames(runs, history, study)
    own = study.get("target")
    known = (str(own["metric"]), float(own["value"])) if own else None
    wanted = known if target is None else parse_target(target, known)
    stored = runs
    if target is not None and wanted != known and wanted is not None:
        runs = stats.retarget(runs, history, *wanted)
    every = bool(study.get("pairs")) if pairs is None else pairs
    changed = baseline is not None or family is not None or wanted != known or every != bool(study.get("pairs"))
    names = family if family is None or isinstance(family, str) else [str(one) for one in family]
    shown = with_printable_names(runs), history, printable_texts(study)
    source = Source(*shown, folder, wanted, baseline, changed, stored, study, names, every)
    source.board  # noqa: B018  a wrong baseline or family is refused here, before anything is written
    return source


def with_printable_names(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with control characters in names escaped: no SVG, page or table can hold them."""
    out = runs
    for name in NAMES:
        if name not in runs:
            continue
        known = {one: printable(one) for one in runs[name].unique()}
        if all(old == new for old, new in known.items()):
            continue
        if len(set(known.values())) < len(known):
            raise refusal("runs", f"two names in column {name} look the same", "give one arm another name")
        out = out.assign(**{name: runs[name].map(known)})
    return out


def printable_texts(value: Any) -> Any:
    """The same object with every text in it printable, keys included.

    >>> printable_texts({"a": ["b\\x00", 1]})
    {'a': ['b\\\\x00', 1]}
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_texts(key): printable_texts(inner) for key, inner in value.items()}
    return [printable_texts(one) for one in value] if isinstance(value, (list, tuple)) else value


def parse_target(text: Any, known: tuple[str, float] | None = None) -> tuple[str, float]:
    """(metric, value) from 0.9, "0.9", "accuracy/val:0.9", {"metric":, "value":} or a pair.

    >>> parse_target("loss/train:0.1"), parse_target(0.9)
    (('loss/train', 0.1), ('accuracy/train', 0.9))
    """
    allowed = "must be a number (0.9) or metric:number (accuracy/val:0.9, loss/train:0.1)"
    if isinstance(text, Mapping):
        text = (text.get("metric"), text.get("value"))
    metric, value = known[0] if known else "accuracy/train", text
    if isinstance(value, bool):
        raise refusal(f"target={shown(text)}", "not allowed", allowed)
    if isinstance(text, (tuple, list)) and len(text) == 2:
        metric, value = text
    elif isinstance(text, str) and ":" in text:
        metric, _, value = text.rpartition(":")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise refusal(f"target={shown(text)}", "not allowed", allowed) from None
    if not math.isfinite(number) or not str(metric).startswith(("accuracy", "loss")):
        raise refusal(f"target={shown(text)}", "not allowed", allowed)
    check_target("target", str(metric), number)
    return str(metric), number


def read_study(path: Path) -> tuple[Path, tuple[pd.DataFrame, History, dict[str, Any]]]:
    """(folder of its report, (runs, history, study)) of a study folder or of an archive of one.

    The report of an archive goes into a folder of its name beside it.
    """
    if path.suffix != ".zip":
        return path, read_folder(path)
    with unpacked(path) as folder:
        runs, history, study = read_folder(folder)
        return path.with_suffix(""), (runs, whole(history), study)
