"""What an entry may contain: every value that the page relies on, and whether it was made on the grid of the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from initbench.config.checks import is_whole
from initbench.errors import shown
from initbench.grammar import number
from initbench.leaderboard.settings import Grid, Setting

LONGEST = 500  # characters of a reason
SHARINGS = ("none", "all")
MOST = 1e18  # of what is counted, and so far from the ends of float64 that sums over runs stay finite
LARGEST = 3.5e38  # of a loss, which float32 can hold
MOST_TEXTS = 50  # versions, or words on a machine
NAME = r"\w+(\.\w+)*"  # of an initializer, in ASCII: no look-alikes from other alphabets
COUNTS = ("flops_per_step", "stored_parameters", "used_parameters", "state_bytes")


def text(value: Any, most: int = LONGEST) -> bool:
    """Printable text of one line, not empty.

    >>> text("eye"), text(""), text("a\\nb")
    (True, False, False)
    """
    return isinstance(value, str) and 0 < len(value) <= most and value.isprintable()


def within(value: Any, low: float, high: float) -> bool:
    """A number from `low` to `high`. A whole number of any length is compared, not converted: JSON has no largest one.

    >>> within(3, 0, 5), within(True, 0, 5), within(10**400, 0, 5), within(float("nan"), 0, 5)
    (True, False, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def count(value: Any) -> bool:
    """A number, from 0 to more than anything here costs."""
    return within(value, 0, MOST)


def name(value: Any) -> bool:
    """An option of init or module.function; never a path.

    >>> name("my_init.f"), name("../f"), name("kaiming_norm\u0430l")
    (True, False, False)
    """
    return text(value, 120) and re.fullmatch(NAME, value, re.ASCII) is not None


def texts(value: Any) -> bool:
    """A mapping from names to lines of text, which may be empty: a machine may not know its processor.

    >>> texts({"cores": "2", "processor": ""}), texts({"cores": "2\\n# 3"})
    (True, False)
    """
    return (
        isinstance(value, dict)
        and len(value) <= MOST_TEXTS
        and all(text(key) and (line == "" or text(line)) for key, line in value.items())
    )


def source(value: Any) -> bool:
    """Nothing, or the text of the modules that a person's own function comes from."""
    return value is None or (
        isinstance(value, dict) and all(isinstance(part, str) for pair in value.items() for part in pair)
    )


def made(value: Any) -> bool:
    """Versions, machine, minutes."""
    return (
        isinstance(value, dict) and set(value) == {"versions", "machine", "minutes"} and texts(value["versions"])
        and texts(value["machine"]) and count(value["minutes"])
    )  # fmt: skip


def results(value: Any) -> bool:
    """Records by sharing, without sharing at least."""
    return (
        isinstance(value, dict) and "none" in value and set(value) <= set(SHARINGS)
        and all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for rows in value.values())
    )  # fmt: skip


HEAD: dict[str, tuple[Callable[[Any], bool], str]] = {
    "initializer": (name, "letters, digits and _ of ASCII, with dots between"),
    "target": (text, "text"),
    "args": (lambda value: isinstance(value, dict), "an object"),
    "source": (source, "null or texts of modules"),
    "grid": (text, "text"),
    "seeds": (lambda value: isinstance(value, list) and all(map(is_whole, value)), "whole numbers"),
    "results": (results, "records by sharing, none among them"),
    "made": (made, "versions, machine and minutes"),
    "hash": (text, "text"),
}


def wrong_head(content: Mapping[str, Any]) -> str:
    """What of an entry's keys cannot be, apart from its records.

    >>> wrong_head({"format": 1, "initializer": "eye"})
    'key args is missing'
    """
    missing = sorted(set(HEAD) - set(content))
    unknown = sorted(set(content) - set(HEAD) - {"format"})
    if missing or unknown:
        return f"key {missing[0]} is missing" if missing else f"key {shown(unknown[0])} is unknown"
    return next((f"{key} must be {words}" for key, (good, words) in HEAD.items() if not good(content[key])), "")


def wrong_results(content: Mapping[str, Any], grid: Grid) -> str:
    """How an entry's seeds, settings, rates or runs differ from the grid; empty where they fit."""
    seeds = list(grid.settings[0].seeds)
    if content["seeds"] != seeds:
        return f"its seeds are {_few(content['seeds'])}, those of the leaderboard {_few(seeds)}"
    for sharing, rows in content["results"].items():
        asked, given = [one.label for one in grid.settings], [row.get("setting") for row in rows]
        if asked != given:
            lacking = [label for label in asked if label not in given]
            other = next((label for label in given if label not in asked), None)
            said = (
                f"it lacks {lacking[0]}" if lacking else f"{shown(other)} is none" if other else "their order differs"
            )
            return f"sharing={sharing}: its settings are not those of the leaderboard: {said}"
        for row, setting in zip(rows, grid.settings):
            wrong = wrong_record(row, setting)
            if wrong:
                return f"sharing={sharing}, {setting.label}: {wrong}"
    if content["grid"] != grid.digest:
        return "it was made on another grid"
    return ""


def wrong_record(row: Mapping[str, Any], setting: Setting) -> str:
    """What of one setting's record cannot be."""
    if row.get("grid") != setting.digest:
        return "it was made with other data, net or training"
    if "not_applicable" in row:
        good = set(row) == {"setting", "grid", "not_applicable"} and text(row["not_applicable"])
        return "" if good else "its reason must be one line of text, and no run beside it"
    if set(row) != {"setting", "grid", *COUNTS, "init_flops", "steps", "loss"}:
        return "its keys are not those of a record"
    uncounted = next((name for name in COUNTS if not count(row[name])), None)
    if uncounted is not None:
        return f"{uncounted} must be a number from 0 to {MOST:g}"
    flops = row["init_flops"]
    if not isinstance(flops, list) or len(flops) != len(setting.seeds) or not all(f is None or count(f) for f in flops):
        return f"init_flops must hold a number or null a seed, from 0 to {MOST:g}"
    checks: dict[str, Callable[[Any], bool]] = {
        "steps": lambda value: _outcome(value, setting),
        "loss": lambda value: value is None or within(value, -LARGEST, LARGEST),
    }
    return next((wrong for name, good in checks.items() if (wrong := _wrong_table(name, row[name], good, setting))), "")


def _wrong_table(name: str, table: Any, good: Callable[[Any], bool], setting: Setting) -> str:
    """A list a rate, a value a seed."""
    if not isinstance(table, dict) or sorted(table) != sorted(map(repr, setting.lrs)):
        return f"its rates are not {', '.join(number(lr) for lr in setting.lrs)}"
    for values in table.values():
        if not isinstance(values, list) or len(values) != len(setting.seeds):
            return f"{name} must hold one value a seed"
        bad = [value for value in values if not good(value)]
        if bad:
            return f"{name}: {shown(bad[0])} cannot be"
    return ""


def _outcome(value: Any, setting: Setting) -> bool:
    """A step at which the target can have been met, or a word."""
    return value in ("never", "diverged") if isinstance(value, str) else is_whole(value) and value in setting.evaluated


def _few(values: list[int]) -> str:
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")


def other_net(results: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """What of an entry's nets differs from the baseline's; an initializer changes neither their size nor the cost of a step.

    >>> row = {"setting": "s", **dict.fromkeys(COUNTS, 2)}
    >>> other_net({"none": [{**row, "state_bytes": 1}]}, {"none": [row]})
    'sharing=none, s: state_bytes is 1, that of the baseline 2'
    """
    for sharing, rows in results.items():
        for row, base in zip(rows, baseline.get(sharing, ())):
            for key in COUNTS:
                if key in row and key in base and row[key] != base[key]:
                    ours, theirs = number(row[key]), number(base[key])
                    return f"sharing={sharing}, {row['setting']}: {key} is {ours}, that of the baseline {theirs}"
    return ""
