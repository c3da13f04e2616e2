"""What Hydra and OmegaConf raise, as one line each: what was given, what is wrong, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from initbench.config.checks import one_of
from initbench.errors import InputError, refusal, shown
from initbench.overrides.read import typed

SEE_HELP = "see python -m initbench --help"
# what OmegaConf says of a value of another type -> what the value must be
KINDS = {
    "could not be converted to Integer": "must be a whole number",
    "could not be converted to Float": "must be a number",
    "is not a valid bool": "must be true or false",
    "to string:": "must be a word",
    "is not Optional": "must not be null",
}
# names that one looks for in a group and that are something else
ELSEWHERE = {
    "engine=fused": ("now called auto", "write engine=auto, or engine=stacked for torch alone"),
    "engine=reference": ("now called single", "write engine=single"),
    "init=calculate_gain": ("not an initializer but the gain of one", "write init=xavier_normal init.gain=relu"),
}


def explained(error: BaseException, given: Sequence[Any], compose: Any) -> InputError:
    """The refusal for whatever was raised. `given`: the overrides, as Hydra reads them; `compose`: a `sweep.Composer`."""
    for cause in causes(error):
        if isinstance(cause, InputError):
            return cause
    text = " ".join(str(error).split())
    found = re.search(r"Could not find '([^']+)/([^'/]*)'", text)
    if found:
        return unknown_option(found[1], found[2], compose.options(found[1]))
    found = re.search(r"Could not override '([^']*)'", text) or re.search(r"[Kk]ey '([^']+)' (?:is )?not in", text)
    if found:
        return unknown_key(found.group(1), given, compose)
    found = re.search(r"Error merging override ([^ ]+)", text)
    if found:
        return merging(next((typed(o) for o in given if typed(o).startswith(found.group(1))), found.group(1)), error)
    if "Unexpected type for root" in text or text.startswith("'NoneType' object"):
        return inside_null(given, compose) or unresolved(error, given)
    return unresolved(error, given)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def merging(text: str, error: BaseException) -> InputError:
    """A value of another type than its key has."""
    detail = " ".join(str(error.__cause__ or "").split()).split(" full_key")[0]
    kind = next((allowed for said, allowed in KINDS.items() if said in detail), None)
    return refusal(shown(text), "not allowed" if kind else detail or "not allowed here", kind or SEE_HELP)


def inside_null(given: Sequence[Any], compose: Any) -> InputError | None:
    """A key inside what an option file sets to null."""
    from omegaconf import OmegaConf

    cfg = compose.raw([o.input_line for o in given if "." not in o.key_or_group])
    for override in given:
        own = override.key_or_group
        for key in (own if isinstance(override.value(), dict) else "", own.rpartition(".")[0]):
            if key and OmegaConf.select(cfg, key) is None:
                return refusal(typed(override), f"an option file sets {key}=null", "set its keys in the file")
    return None


def unresolved(error: BaseException, given: Sequence[Any]) -> InputError:
    """Values that refer to others, values that are missing, and what else a configuration cannot be."""
    key = getattr(error, "full_key", None)
    text = (str(error).splitlines() or [type(error).__name__])[0]
    if "Missing mandatory value" in text or type(error).__name__ == "MissingMandatoryValue":
        return refusal(key, "is needed", f"add {key}=VALUE")
    referring = [o for o in given if "${" in typed(o)]
    named = [o for o in referring if o.key_or_group == key] or referring
    if named and re.search("nterpolation|resol|recursion", f"{type(error).__name__} {text}"):
        reason = "refers to itself" if "recursi" in str(error).lower() else "refers to a key that does not exist"
        return refusal(typed(named[0]), reason, "write the value itself")
    if isinstance(error, RecursionError):
        return refusal("configuration", "an option file refers to itself", "correct its defaults and ${...}")
    if key and (text_of := next((typed(o) for o in given if o.key_or_group == key), None)):
        return refusal(text_of, shown(text), SEE_HELP)
    return refusal(key or "configuration", shown(text.split(" Config search path")[0]), SEE_HELP)


def unknown_option(group: str, option: str, known: Sequence[str]) -> InputError:
    """The refusal of an option that does not exist."""
    what = f"{group}={shown(option)}"
    if what in ELSEWHERE:
        return refusal(what, *ELSEWHERE[what])
    own = ", or module.function in the current folder" if group in ("init", "sharing") else ""
    return refusal(what, "unknown", one_of(option, known) + own)


def unknown_key(key: str, given: Sequence[Any], compose: Any) -> InputError:
    """A misspelt key, with the nearest ones."""
    text = next((typed(o) for o in given if o.key_or_group == key), key)
    if key == "engine.path":
        return refusal(shown(text), "no longer a key", "write engine=auto, kernel, stacked or single")
    groups = [
        o.input_line for o in given if o.key_or_group in ("init", "data", "sharing", "optim", "model", "hydra/launcher")
    ]
    try:
        cfg = compose.raw([line for line in groups if not line.startswith(f"{key}=")])
    except Exception:  # another of them is wrong as well
        cfg = compose.raw([])
    parts = {name: cfg[name] for name in cfg if name != "hydra"}
    if key.startswith("hydra.launcher."):
        parts = {"hydra.launcher": cfg.hydra.launcher}
    known = keys({str(name): plain(part) for name, part in parts.items()})
    parent = key.rpartition(".")[0]
    known = [name for name in known if not name.endswith(("._target_", ".name"))]  # the option's own
    siblings = [name for name in known if name.rpartition(".")[0] == parent] or [n for n in known if "." not in n]
    near = get_close_matches(key[:200], known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return refusal(shown(text), "no such key", f"{hint}must be one of: {', '.join(sorted(siblings))}")


def keys(node: Mapping[Any, Any], prefix: str = "") -> list[str]:
    """Dotted keys of nested mappings.

    >>> keys({"a": {"b": 1}})
    ['a', 'a.b']
    """
    found = []
    for name, value in node.items():
        found.append(f"{prefix}{name}")
        if isinstance(value, Mapping):
            found += keys(value, f"{prefix}{name}.")
    return found


def plain(value: Any) -> Any:
    """A node of a configuration as plain values; what refers to others or is missing stays as written."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
