"""What a person types, read by Hydra's grammar; whatever has no effect, or another than it seems, is refused here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from initbench.errors import InputError, printable, refusal, shown

GROUPS = ("data", "experiment", "model", "init", "sharing", "optim", "measure", "engine")
# plain text, which needs no quoting: a person writes study=1.10 or report.baseline='eye · none'
TEXTS = ("study", "outputs", "data.path", "model.target", "report.baseline", "track.uri")
TEXT_LISTS = ("report.family",)  # the same, several: [a,b] or a,b
LISTS = {"seeds": "seeds=[1,2,3]", "optim.lr": "'optim.lr=[0.1,0.2]'"}
# what a sweep of would make no other runs, or another study
ONE_A_COMMAND = re.compile(
    r"(experiment|study|outputs|track|report|measure|hydra|decide|engine\.(workers|chunk)|train\.(target|rerun|dry_run))([./]|$)"
)
# what of Hydra's own keys a study can do with: others move, split or skip what it relies on
OF_HYDRA = re.compile(r"hydra/(launcher|job_logging|hydra_logging)$|hydra\.(launcher|job_logging|hydra_logging)\.|hydra\.verbose$")  # fmt: skip
FUNCTIONS = ("choice", "range", "interval", "glob", "sort", "shuffle", "tag", "int", "float", "str", "bool")
NO_OPTION = {"sharing": "write sharing=none", "measure": "write measure=none"}


def read(given: Sequence[str]) -> list[Any]:
    """Overrides as Hydra's `Override`s, each checked by itself and beside the others.

    >>> [o.input_line for o in read(["study=1.10", "init=eye,zeros"])]
    ['study="1.10"', 'init=eye,zeros']
    """
    found = [read_one(text) for text in texts(given)]
    for override, text in zip(found, given):
        override.typed = text
        check_key(override, text)
        check_value(override, text)
    check_once(found, given)
    return found


def texts(given: Any) -> list[str]:
    """The overrides, if they are what is asked for: a list of text.

    >>> texts("seeds=3")
    Traceback (most recent call last):
    initbench.errors.InputError: 'seeds=3': a list of overrides is needed; write ['seeds=3']
    """
    if isinstance(given, (str, bytes)):
        raise refusal(shown(repr(given)), "a list of overrides is needed", f"write [{shown(repr(given))}]")
    if isinstance(given, Mapping) or not hasattr(given, "__iter__"):
        raise refusal(shown(repr(given)), "a list of overrides is needed", "write e.g. ['init=eye', 'seeds=3']")
    found = list(given)
    for one in found:
        if not isinstance(one, str):
            raise refusal(shown(repr(one)), "an override is text", "write e.g. 'seeds=3'")
    return found


def completed(given: Any, usual: Sequence[str] = (), fixed: Sequence[str] = ()) -> list[str]:
    """Overrides with those added that a command adds: `usual` where the key is not given, `fixed` in its place.

    >>> completed(["seeds=3", "init=eye"], usual=["seeds=64", "sharing=none"], fixed=["init=zeros"])
    ['sharing=none', 'seeds=3', 'init=zeros']
    """
    found = texts(given)
    check_once(read(found), found)
    named, kept = {key_of(text) for text in found}, {key_of(text) for text in fixed}
    return [
        *(text for text in usual if key_of(text) not in named),
        *(text for text in found if key_of(text) not in kept),
        *fixed,
    ]


def typed(override: Any) -> str:
    """An override as a person typed it, to be shown."""
    return shown(getattr(override, "typed", override.input_line))


def key_of(text: str) -> str:
    """The key of an override: init.gain of +init.gain=2."""
    return text.split("=", 1)[0].lstrip("+~")


@contextmanager
def foreign(explain: Callable[[Exception], InputError]) -> Iterator[None]:
    """Whatever a library raises in the body as one line. Only a library's own code belongs in the body, so that our bugs
    stay visible; INITBENCH_TRACEBACK=1 shows the library's traceback as well (see `__main__.main`)."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise explain(error) from error


# ------------------------------------------------------------------------------------------------ one override


def read_one(text: str) -> Any:
    """One override by Hydra's grammar; the value of a key that is plain text is taken as it is."""
    key, equals, value = text.partition("=")
    if not __debug__ and re.match(r"\w*[({]", value) and key not in TEXTS:
        raise refusal(
            text, "Hydra cannot read functions and mappings under python -O", "run without -O and PYTHONOPTIMIZE"
        )
    if key == "decide" and equals:
        text = f"decide.enabled={switch(text, value)}"
    elif is_plain_text(key, value):
        text = f"{key}={quoted(value)}"
    with foreign(lambda error: unreadable(text, equals, error)):
        return parsed(text)


def switch(text: str, value: str) -> str:
    """The value of `decide`, which is short for decide.enabled."""
    if value.lower() not in ("true", "false"):
        raise refusal(shown(text), "not allowed", "must be true or false")
    return value


def parsed(text: str) -> Any:
    """Hydra's reading of an override."""
    return parser().parse_overrides([text])[0]


@cache
def parser() -> Any:
    """Hydra's parser of overrides, with the functions of its grammar: it keeps nothing of what it has read."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def is_plain_text(key: str, value: str) -> bool:
    """Whether a value is text that was not quoted: not null, no interpolation, no sweep."""
    if key not in TEXTS + TEXT_LISTS or value in ("", "null") or value[0] in "'\"" or "${" in value:
        return False
    if key in TEXT_LISTS:
        return value != "[]" and value[0] != "{" and not set("'\"\\") & set(value)
    if "," not in value and "(" not in value:
        return True
    try:
        return not parsed(f"{key}={value}").is_sweep_override()
    except Exception:  # Hydra cannot read it: it is text
        return True


def quoted(text: str) -> str:
    """Text as Hydra's grammar takes it literally.

    >>> quoted("eye · none")
    '"eye · none"'
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.double).with_quotes()


def unreadable(text: str, equals: str, error: Exception) -> InputError:
    """The refusal of what Hydra's grammar does not take, with the line to type if the value is meant as text."""
    key, _, value = text.partition("=")
    usual = "write KEY=VALUE, or KEY=A,B for a sweep"
    if not equals:
        return refusal(f"'{shown(text)}'", "not an override", usual)
    function = re.match(r"(\w+)\(", value)
    if function and function[1] in FUNCTIONS:
        return refusal(shown(text), f"{function[1]}(...) is not used this way", f"list the values: {key}=A,B,C")
    typed = with_quotes(key, value)
    try:
        parsed(f"{key}={quoted(value)}")
    except Exception:
        return refusal(shown(text), "not an override", usual)
    do = f"write {key}=A,B" if key in GROUPS else f"as text it needs quotes: {shown(typed)}"
    return refusal(shown(text), "not a value that Hydra can read", do)


def with_quotes(key: str, value: str) -> str:
    """What to type in a shell, so that Hydra takes the value as text.

    >>> print(with_quotes("study", "a,b"))
    'study="a,b"'
    """
    return shlex.quote(printable(f"{key}={quoted(value)}"))


def check_key(override: Any, text: str) -> None:
    """Refuse what adds or deletes keys, moves them, or renames an option's content."""
    key, group = override.key_or_group, override.key_or_group.partition(".")[0]
    if override.package is not None:
        raise refusal(shown(text), "packages are not used here", "write KEY=VALUE without @")
    if group == "hydra" or key.startswith("hydra/"):
        if not OF_HYDRA.match(key):
            allowed = "hydra/launcher, hydra.launcher.KEY, hydra/job_logging, hydra/hydra_logging, hydra.verbose"
            raise refusal(shown(text), "the study sets Hydra's own settings", f"must be one of: {allowed}")
        return
    if override.is_delete():
        raise refusal(shown(text), "keys cannot be deleted", NO_OPTION.get(key, "leave it out, or set the key to null"))
    # data.name is a choice of its own beside data=sklearn
    if key in ("init._target_", *(f"{one}.name" for one in GROUPS if one != "data")):
        own = f"; a variant with its own name needs an option file, {group}/mine.yaml" if group == "init" else ""
        raise refusal(shown(text), "the option sets it", f"write {group}=NAME{own}")
    if (override.is_add() or override.is_force_add()) and not key.startswith(
        "init."
    ):  # arguments that the option's file does not list
        raise refusal(shown(text), "keys cannot be added", f"write {text.lstrip('+')}")


def check_value(override: Any, text: str) -> None:
    """Refuse values that are merged, empty or not to be swept."""
    key = override.key_or_group
    if override.is_sweep_override():
        check_sweep(override, text)
    for value in elements(override):
        if key in GROUPS and isinstance(value, dict):
            raise refusal(
                shown(text), "it would be merged into the default option", f"write {key}=NAME and {key}.KEY=VALUE"
            )
        if key in GROUPS and isinstance(value, list):
            raise refusal(shown(text), "a list is not an option", f"write {key}=A,B for a sweep")
        if key in GROUPS and value is None:
            raise refusal(shown(text), "not an option", NO_OPTION.get(key, f"write {key}=NAME, see --help"))
        if value == "" and key and key not in GROUPS:
            raise refusal(shown(text), "the value is missing", f"write {key}=VALUE, or leave it out")


def elements(override: Any) -> list[Any]:
    """The value, or each value of a sweep that lists them."""
    if not override.is_sweep_override():
        return [override.value()]
    listed = getattr(override.value(), "list", [])
    return [override._convert_value(one) for one in listed]


def check_sweep(override: Any, text: str) -> None:
    """Refuse sweeps that make no arms, or not always the same."""
    from hydra.core.override_parser.types import Sweep

    key, value = override.key_or_group, override.value()
    if any(isinstance(one, Sweep) for one in getattr(value, "list", [])):
        raise refusal(shown(text), "a sweep inside a sweep", f"list the values: {key}=A,B,C")
    if key in LISTS:
        raise refusal(
            shown(text), "it would be a sweep of jobs, but these values train together", f"write {LISTS[key]}"
        )
    if ONE_A_COMMAND.match(key):
        hint = f"; a comma in text needs quotes: {with_quotes(key, text.partition('=')[2])}" if key in TEXTS else ""
        raise refusal(shown(text), f"a command takes one {key}", f"give one value{hint}")
    if override.is_interval_sweep():
        raise refusal(shown(text), "an interval has no values to try", f"list them: {key}=A,B,C or {key}=range(1,5)")
    if getattr(value, "shuffle", False):
        raise refusal(shown(text), "the order would change each time", f"list the values: {key}=A,B,C")
    if key not in GROUPS and is_glob(override):
        raise refusal(shown(text), "glob only picks options of a group", f"list the values: {key}=A,B,C")
    if not is_glob(override) and not count(override):
        raise refusal(shown(text), "an empty sweep", f"list the values: {key}=A,B,C")


def count(override: Any) -> int:
    """How many values an override asks for, without listing them."""
    from math import ceil

    if not override.is_range_sweep():
        return len(values(override))
    span = override.value()
    if not span.step:
        return 0
    return max(0, ceil((float(span.stop) - float(span.start)) / float(span.step)))


def check_once(found: Sequence[Any], given: Sequence[str]) -> None:
    """Refuse a key that is given twice, or inside what another override turns off: only one of its values would count."""
    first: dict[str, str] = {}
    for override, text in zip(found, given):
        key = override.key_or_group
        if key in first:
            raise refusal(f"{shown(first[key])} {shown(text)}", f"{key} is given twice", "leave one out")
        first[key] = text
    for override, text in zip(found, given):
        for key in inside(override):
            for other in (name for name in first if f"{name}.".startswith(f"{key}.") and first[name] != text):
                both = f"{shown(text)} {shown(first[other])}"
                raise refusal(both, f"{other} is given twice, once inside {override.key_or_group}", "leave one out")


def inside(override: Any) -> list[str]:
    """Keys that an override sets beside its own: every key below a null, and those of a mapping."""
    key = override.key_or_group
    if key in GROUPS or override.is_sweep_override():
        return []
    value = override.value()
    return [key] if value is None else [f"{key}.{one}" for one in value] if isinstance(value, dict) else []


def is_glob(override: Any) -> bool:
    """Whether an override asks for options by pattern: glob(*)."""
    from hydra.core.override_parser.types import ValueType

    return override.value_type == ValueType.GLOB_CHOICE_SWEEP


def values(override: Any) -> list[str]:
    """What an override asks for, as text: one value, or each value of a sweep."""
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    return [override.get_value_element_as_str()]
