"""What the shell may complete: groups, options and keys, from the option files alone, in a fraction of Hydra's time.

Hydra writes the shell's own part (`initbench -sc install=bash`, also zsh and fish); it asks `initbench -sc query=bash` at each Tab.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from initbench.disk import conf_folder


def completions(line: str) -> list[str]:
    """What the last word of a command line may become.

    >>> completions("initbench sharing=none init=kaiming_u"), completions("initbench train.ta")
    (['init=kaiming_uniform'], ['train.target.'])
    """
    before, word = line.split(" ")[:-1], line.split(" ")[-1]
    folder = conf_folder()
    key, equals, value = word.partition("=")
    if equals:
        head, comma, last = value.rpartition(",")
        return [f"{key}={head}{comma}{name}" for name in options(folder / key) if name.startswith(last)]
    return [name for name in keys(folder, word, before) if name.startswith(word)]


def options(group: Path) -> list[str]:
    """The options of a group."""
    return sorted(path.stem for path in group.glob("*.yaml")) if group != conf_folder() else []


def keys(folder: Path, word: str, before: Sequence[str]) -> list[str]:
    """Groups and keys at the level of a word: `init=`, `train.`, `optim.lr=`; those of a group are its chosen option's."""
    config = read(folder / "config.yaml")
    groups = sorted({path.parent.relative_to(folder).as_posix() for path in folder.glob("*/**/*.yaml")})
    *path, _ = word.split(".")
    if not path:
        known = [key for key in config if key not in ("defaults", "hydra", *groups)]
        return [f"{group}=" for group in groups] + [ended(key, config[key]) for key in known]
    node: Any = config
    if path[0] in groups:
        chosen = [text.split("=", 1)[1].split(",")[0] for text in before if text.startswith(f"{path[0]}=")]
        usual = [one[path[0]] for one in config["defaults"] if isinstance(one, Mapping) and path[0] in one]
        node = {path[0]: read(folder / path[0] / f"{(chosen or usual)[-1]}.yaml")}
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    prefix = ".".join(path)
    shown = node if isinstance(node, Mapping) else {}
    return [
        f"{prefix}.{ended(str(key), value)}"
        for key, value in shown.items()
        if key not in ("name", "_target_", "defaults")
    ]


def ended(key: str, value: Any) -> str:
    """A key with what comes after it.

    >>> ended("lr", 0.1), ended("target", {"metric": "auto"})
    ('lr=', 'target.')
    """
    return f"{key}{'.' if isinstance(value, Mapping) else '='}"


def read(path: Path) -> Mapping[str, Any]:
    """A YAML file; nothing where there is none."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
