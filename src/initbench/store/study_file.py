"""study.json as a checked value: what a study was asked for and what became of each arm."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from initbench.config.arm import digest
from initbench.config.checks import is_whole
from initbench.errors import refusal, shown

SCHEMA = 1  # of study.json and of both frames
WHOLE = "whole"  # key of study.json: digest of all others
DEEPEST = 50  # levels of objects and lists
FRESH = "run the study's command again, or copy the folder once more"


def checked_study(path: Path, most: int) -> dict[str, Any]:
    """The content of a study.json of at most `most` bytes. Raises InputError in one line."""
    size = path.stat().st_size
    if size > most:
        raise refusal(path, f"{size:,} bytes, which is too large for study.json", f"it must be at most {most:,} bytes")
    try:
        study = json.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError:
        raise refusal(path, "not UTF-8 text", FRESH) from None
    except RecursionError:
        raise refusal(path, "nested too deep", FRESH) from None
    except ValueError as error:
        raise refusal(path, f"not JSON ({error})", FRESH) from None
    except OSError as error:
        raise refusal(path, f"cannot be read ({error.strerror or error})", FRESH) from None
    if not isinstance(study, dict):
        raise refusal(path, f"must be an object, not {type(study).__name__}", FRESH)
    whole = study.pop(WHOLE, None)
    wrong, do = _wrong_schema(study.get("schema"))
    wrong = wrong or (f"nested deeper than {DEEPEST} levels" if depth(study) > DEEPEST else "") or wrong_study(study)
    if not wrong and whole is not None and whole != digest(study):
        wrong = "its content is not what was written: damaged or edited"
    if wrong:
        raise refusal(path, wrong, do or FRESH)
    return study


def text_of(study: Mapping[str, Any], by_name: bool = True) -> str:
    """study.json of a content, with a digest of it, which `checked_study` takes out again. `by_name`: keys sorted.

    >>> sorted(json.loads(text_of({"study": "s"})))
    ['study', 'whole']
    """
    plain = json.loads(json.dumps(study))  # as it is read again
    return json.dumps({**plain, WHOLE: digest(plain)}, indent=1, sort_keys=by_name) + "\n"


def depth(value: Any) -> int:
    """Levels of objects and lists.

    >>> depth(1), depth([{"a": []}])
    (0, 3)
    """
    level, here = 0, [value]
    while here := [one for one in here if isinstance(one, (dict, list))]:
        level += 1
        here = [inner for one in here for inner in (one.values() if isinstance(one, dict) else one)]
    return level


def _wrong_schema(schema: Any) -> tuple[str, str]:
    if is_whole(schema) and schema > SCHEMA:
        return f"written by a newer initbench (schema {schema}, this version reads {SCHEMA})", "update initbench"
    if not is_whole(schema) or schema != SCHEMA:
        return f"schema is {shown(schema)}, not {SCHEMA}: not a study of initbench", FRESH
    return "", ""


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return is_whole(value) and 0 <= value < 2**63


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_count, value))


def _moment(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_number, value))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(map(_object, value))


def _digests(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"runs.parquet", "history.parquet"}
        and all(map(_text, value.values()))
    )


def _asked(value: Any) -> bool:
    return (
        _object(value)
        and _texts(value.get("formats"))
        and value.get("children") in ("headline", "full", "none")
        and isinstance(value.get("goes_on"), bool)
    )


def _target(value: Any) -> bool:
    return (
        _object(value)
        and str(value.get("metric")).startswith(("accuracy/", "loss/"))
        and isinstance(value.get("metric"), str)
        and _number(value.get("value"))
    )


def _verdict(value: Any) -> bool:
    return value in ("faster", "slower", "equivalent", "undecided")


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _ended(value: Any) -> bool:
    return value in ("decided", "seeds", "minutes", "nothing would change")


def _dropped(config: Mapping[str, Any]) -> bool:
    """Pairs of a learning rate and its seeds."""
    value = config.get("dropped", [])
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and _number(one[0]) and _counts(one[1]) for one in value
    )


def _predictions(value: Any) -> bool:
    return _object(value) and all(
        isinstance(numbers, list) and all(number is None or _number(number) for number in numbers)
        for numbers in value.values()
    )


class Key:
    """What a key must hold: a test, the same in words, whether it must be there, whether it may be null."""

    def __init__(self, test: Callable[[Any], bool], words: str, required: bool = False, null: bool = True) -> None:
        self.test, self.words, self.required, self.null = test, words, required, null


STUDY = {
    "study": Key(_text, "text", required=True, null=False),
    "target": Key(_target, "null or a metric and a finite value", required=True),
    "arms": Key(_objects, "a list of objects", required=True, null=False),
    "created": Key(_moment, "a date and time", required=True, null=False),
    "command": Key(_text, "text"),
    "overrides": Key(_texts, "a list of text"),
    "baseline": Key(_text, "text"),
    "family": Key(_texts, "a list of text"),
    "pairs": Key(_flag, "true or false"),
    "budget": Key(_number, "a number"),
    "elapsed": Key(_number, "a number"),
    "git": Key(_text, "text"),
    "versions": Key(_object, "an object"),
    "machine": Key(_object, "an object"),
    "mlflow": Key(_object, "an object"),
    "numerics": Key(_count, "a whole number"),
    "asked": Key(_asked, "formats of the report, what MLflow gets of a run, and whether the study goes on by itself"),
    "cautions": Key(_objects, "a list of objects"),
    "looked": Key(_objects, "a list of objects"),
    "looks": Key(_objects, "a list of objects"),
    "decide": Key(_object, "an object"),
    "frames": Key(_digests, "digests of runs.parquet and history.parquet"),
}
ARM = {
    **{name: Key(_text, "text", required=True, null=False) for name in ("label", "setup", "setting", "status")},
    **{name: Key(_text, "text") for name in ("arm_key", "init", "sharing", "reason", "path", "data_hash")},
    **{name: Key(_object, "an object") for name in ("config", "home")},
    "theory": Key(_predictions, "lists of numbers or null by name"),
    "layers": Key(_objects, "a list of objects"),
    "runs": Key(_count, "a whole number"),
    "seeds": Key(_counts, "a list of whole numbers"),
    "lrs": Key(_numbers, "a list of numbers"),
    **{name: Key(_number, "a number") for name in ("flops_per_step", "stored_parameters", "used_parameters")},
}
LAYER = {"layer": Key(_count, "a whole number", required=True, null=False), "uses": Key(_count, "a whole number")}
CAUTION = {
    "title": Key(_text, "text", required=True, null=False),
    "text": Key(_text, "text", required=True, null=False),
    "arms": Key(_texts, "a list of text", required=True, null=False),
}
LOOKED = {
    "setting": Key(_text, "text", required=True, null=False),
    "times": Key(_count, "a whole number", required=True, null=False),
    "n": Key(_counts, "a list of whole numbers", required=True, null=False),
    "error": Key(_number, "a number", required=True, null=False),
}
# of a study that went on until it was decided (study/rounds.py): a comparison at a look, and how the study went
LOOK = {
    **{name: Key(_text, "text", required=True, null=False) for name in ("setting", "setup", "arm", "baseline")},
    **{name: Key(_count, "a whole number", required=True, null=False) for name in ("look", "seeds", "pairs", "family")},
    "verdict": Key(_verdict, "faster, slower, equivalent or undecided", required=True, null=False),
    **{name: Key(_text, "text") for name in ("why", "reason", "decide", "ratio_of", "test", "lr_at_edge")},
    **{name: Key(_number, "a number") for name in ("p", "p_holm", "p_faster", "p_faster_low", "p_faster_high", "lr",
       "ratio", "ratio_low", "ratio_high", "equal_low", "equal_high", "lr_baseline")},
    **{name: Key(_count, "a whole number") for name in ("seeds_needed", "n", "n_baseline", "reached", "reached_baseline",
       "reached_pairs", "reached_pairs_baseline")},
}  # fmt: skip
DECIDE = {
    "sizes": Key(_counts, "a list of whole numbers", required=True, null=False),
    "rounds": Key(_objects, "a list of objects", required=True, null=False),
    "ended": Key(_ended, "decided, seeds, minutes or nothing would change", required=True, null=False),
    "reason": Key(_text, "text", required=True, null=False),
    "minutes": Key(_number, "a number"),
    **{name: Key(_count, "a whole number") for name in ("seeds", "steps", "rates")},
}
ROUND = {
    "why": Key(_text, "text", required=True, null=False),
    "seconds": Key(_number, "a number", required=True, null=False),
    "look": Key(_count, "a whole number", required=True),
    **{name: Key(_count, "a whole number", required=True, null=False) for name in ("round", "runs", "open")},
}
ENDS = ("done", "failed", "not applicable")


def wrong_study(study: Mapping[str, Any], whole: bool = True) -> str:
    """What is wrong in the content of a study.json, in words; empty where nothing is. Not `whole`: keys may be missing.

    >>> wrong_study({"study": "x", "target": None, "created": "2026-01-01", "arms": 5})
    'arms must be a list of objects'
    """
    wrong = _wrong(study, STUDY, "", whole)
    if wrong:
        return wrong
    for i, arm in enumerate(study.get("arms", [])):
        wrong = _wrong(arm, ARM, f"arms[{i}].", whole)
        if not wrong and arm.get("status", "done") not in ENDS:
            wrong = f"arms[{i}].status must be one of {', '.join(ENDS)}"
        if not wrong and not _dropped(arm.get("config") or {}):
            wrong = f"arms[{i}].config.dropped must be a list of learning rates, each with its seeds"
        for j, layer in enumerate(arm.get("layers") or []):
            wrong = wrong or _wrong(layer, LAYER, f"arms[{i}].layers[{j}].")
        if wrong:
            return wrong
    trained = [arm.get("label") for arm in study.get("arms", []) if arm.get("status") != "not applicable"]
    if len(set(trained)) < len(trained):
        return "two arms have one label"
    listed = ("cautions", CAUTION), ("looked", LOOKED)
    found = [_wrong(one, keys, f"{name}[{i}].") for name, keys in listed for i, one in enumerate(study.get(name) or [])]
    return next(filter(None, [*found, *_wrong_way(study)]), "")


def _wrong_way(study: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong in how a study went on until it was decided."""
    looks, decide = study.get("looks"), study.get("decide")
    if (looks is None) != (decide is None):
        yield f"{'looks' if looks is None else 'decide'} is missing"
    for i, row in enumerate(looks or []):
        yield _wrong(row, LOOK, f"looks[{i}].")
    if decide is not None:
        wrong = _wrong(decide, DECIDE, "decide.")
        yield wrong
        for i, one in enumerate([] if wrong else decide["rounds"]):
            yield _wrong(one, ROUND, f"decide.rounds[{i}].")


def _wrong(value: Mapping[str, Any], keys: Mapping[str, Key], where: str, whole: bool = True) -> str:
    for name, key in keys.items():
        if name not in value:
            if key.required and (whole or name == "label"):
                return f"{where}{name} is missing"
            continue
        if value[name] is None and key.null:
            continue
        if not key.test(value[name]):
            return f"{where}{name} must be {key.words}"
    return ""
