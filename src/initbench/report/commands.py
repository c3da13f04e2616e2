"""Commands that a report advises: the study's own with other values, as they can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

import pandas as pd

from initbench.grammar import plain
from initbench.report.source import Source


def command_of(source: Source, values: Mapping[str, str]) -> str:
    """The study's command with these keys set anew.

    >>> from types import SimpleNamespace
    >>> study = {"command": "python -m initbench init=a,b seeds=3"}
    >>> command_of(SimpleNamespace(study=study), {"seeds": "[4,5]"})
    "python -m initbench init=a,b 'seeds=[4,5]'"
    """
    kept = [word for word in _words(source) or ["python", "-m", "initbench"] if word.partition("=")[0] not in values]
    return shlex.join([*kept, *(f"{key}={value}" for key, value in values.items())])


def _words(source: Source) -> list[str]:
    try:
        return shlex.split(str(source.study.get("command") or ""))
    except ValueError:  # an edited study.json: an open quote
        return []


def axes_of(source: Source, of_arm: pd.DataFrame, arms: Sequence[str]) -> dict[str, list[str]]:
    """The values of these arms on initializer, sharing and every other axis of the study's command, as overrides hold them.

    `of_arm`: a row of runs for each arm. Together the axes make these arms, and others where they cross.
    """
    found = {}
    for key in dict.fromkeys(["init", "sharing", *(word.partition("=")[0] for word in _words(source))]):
        column = next((name for name in (f"{key}.name", key) if name in of_arm), None)
        if column is None or key == "optim.lr" or (column == key and of_arm[column].nunique() < 2):
            continue
        values = [value for value in of_arm.loc[list(arms), column].unique() if value == value and value is not None]
        if values and not any(str(value).startswith(("[", "{")) for value in values):
            found[key] = [hydra_text(value) if isinstance(value, str) else plain(value) for value in values]
    return found


def hydra_text(text: str) -> str:
    """A value as an override may hold it: quoted where its grammar would read it otherwise.

    >>> hydra_text("eye"), hydra_text("it's (new)")
    ('eye', "'it\\\\'s (new)'")
    """
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text):
        return text
    ended = re.sub(r"\\+(?='|$)", lambda found: 2 * found.group(), text)  # a backslash counts before a quote only
    return "'" + ended.replace("'", r"\'") + "'"
