"""Commands that a report advises: the study's own with other values, as they can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from initbench.report.source import Source


def command_of(source: Source, values: Mapping[str, str]) -> str:
    """The study's command with these keys set anew.

    >>> from types import SimpleNamespace
    >>> study = {"command": "python -m initbench init=a,b seeds=3"}
    >>> command_of(SimpleNamespace(study=study), {"seeds": "[4,5]"})
    "python -m initbench init=a,b 'seeds=[4,5]'"
    """
    try:
        words = shlex.split(str(source.study.get("command") or ""))
    except ValueError:  # an edited study.json: an open quote
        words = []
    kept = [word for word in words or ["python", "-m", "initbench"] if word.partition("=")[0] not in values]
    return shlex.join([*kept, *(f"{key}={value}" for key, value in values.items())])


def hydra_text(text: str) -> str:
    """A value as an override may hold it: quoted where its grammar would read it otherwise.

    >>> hydra_text("eye"), hydra_text("it's (new)")
    ('eye', "'it\\\\'s (new)'")
    """
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text):
        return text
    ended = re.sub(r"\\+(?='|$)", lambda found: 2 * found.group(), text)  # a backslash counts before a quote only
    return "'" + ended.replace("'", r"\'") + "'"
