"""A person's option files (--config-dir), looked at before Hydra reads them: text, one mapping, of a size that can be held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from initbench.errors import InputError, refusal, shown

PLAIN = ("!", "str", "int", "float", "bool", "null", "seq", "map")  # what a value may be marked as
LARGEST = 1_000_000  # bytes of a file, and values once its aliases are written out


def check_file(path: Path) -> None:
    """Raise InputError for an option file that is none; one that is missing is Hydra's to report."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            return
        if size > LARGEST:
            raise wrong(path, f"{size:,} bytes", f"an option file has at most {LARGEST:,}")
        content = path.read_bytes()
    except OSError as error:
        if path.is_symlink() or path.exists():
            raise wrong(path, error.strerror or error, "make it readable") from None
        return
    try:
        text = content.decode("utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise wrong(path, f"not UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except RecursionError:
        raise wrong(path, "nested too deeply", "an option file is a short list of KEY: VALUE lines") from None
    except yaml.YAMLError as error:
        raise wrong(path, *problem(error, text)) from None
    if not isinstance(root, yaml.MappingNode):
        what = "empty" if root is None else "not a mapping"
        raise wrong(path, what, "an option file has KEY: VALUE lines, e.g. name: mine")
    check_keys(path, root)
    events: Any = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        tag = getattr(event, "tag", None)
        if tag is not None and tag.removeprefix("tag:yaml.org,2002:") not in PLAIN:
            raise wrong(
                path, f"line {event.start_mark.line + 1}: {shown(tag)} is no plain value", "write text or a number"
            )
    if written_out(root, {}) > LARGEST:
        raise wrong(path, "its aliases make more than a million values", "write the values that are needed")


def wrong(path: Path, what: object, do: object) -> InputError:
    """The refusal of a file, by its group and name."""
    return refusal(f"{path.parent.name}/{path.name}", what, do)


def problem(error: yaml.YAMLError, text: str) -> tuple[str, str]:
    """What is wrong with a YAML text, and where."""
    mark: Any = getattr(error, "problem_mark", None)
    if mark is None:
        return shown(str(error).splitlines()[0]), "save it as UTF-8 text without control characters"
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    if "\t" in line[: mark.column + 1]:
        return f"line {mark.line + 1} has a tab", "YAML is indented by spaces"
    return f"line {mark.line + 1}: {getattr(error, 'problem', error)}", "write KEY: VALUE lines"


def check_keys(path: Path, root: yaml.MappingNode) -> None:
    """Refuse a key that stands twice at the top: only the last would count."""
    seen: set[str] = set()
    for key, _ in root.value:
        if key.value in seen if isinstance(key, yaml.ScalarNode) else True:
            raise wrong(path, f"line {key.start_mark.line + 1}: {shown(key.value)} stands twice", "leave one out")
        seen.add(key.value)


def written_out(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node makes with its aliases written out; infinite if it holds itself.

    >>> written_out(yaml.compose("{a: &a [1, 2], b: [*a, *a]}"), {})
    13.0
    """
    if id(node) not in known:
        known[id(node)] = float("inf")  # met again below itself
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [one for pair in node.value for one in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        known[id(node)] = 1.0 + sum(written_out(one, known) for one in parts)
    return known[id(node)]
