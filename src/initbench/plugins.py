"""Initializers and sharing schemes that installed packages add, by entry points; see examples/initbench_example.

A package names them in its pyproject.toml, and they are options like any other (names of the catalogue win):

    [project.entry-points."initbench.initializers"]
    checkerboard = "my_package:checkerboard_"

    [project.entry-points."initbench.sharing"]
    ends = "my_package:ends"
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from initbench.errors import InputError

INITIALIZERS = "initbench.initializers"
SHARING = "initbench.sharing"


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name; loading one imports its package, finding them does not.

    >>> "kaiming_normal" in installed(INITIALIZERS)
    False
    """
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.value)}


def load(group: str, name: str) -> Any:
    """What an entry point names; an InputError in one line if its package cannot be imported."""
    point = installed(group)[name]
    try:
        return point.load()
    except Exception as error:  # whatever the installed package raises
        option = group.rpartition(".")[2].replace("initializers", "init")
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{option}={name}: {source(point)} ({point.value}) cannot be loaded: {reason}") from error


def imported(option: str, target: str, allowed: str) -> Any:
    """The function of a dotted path, looked for in the current folder too; an InputError in one line if there is none.

    >>> imported("sharing", "initbench.plugins.imported", "") is imported
    True
    """
    path, _, name = target.rpartition(".")
    if not path:
        raise InputError(f"{option}={target}: not known; {allowed}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        missing = getattr(error, "name", None) or path
        what = f"no module named '{missing}'" if isinstance(error, ModuleNotFoundError) else line(error)
        raise InputError(f"{option}={target}: {what}; {allowed}") from None
    except Exception as error:  # whatever the person's own module raises
        raise InputError(f"{option}={target}: importing {path} failed: {line(error)}; {allowed}") from error
    function = getattr(module, name, None)
    if function is None:
        raise InputError(f"{option}={target}: {path} has no '{name}'; {allowed}")
    if not callable(function):
        raise InputError(f"{option}={target}: '{name}' is not a function; {allowed}")
    return function


def line(error: BaseException) -> str:
    """An exception in one line.

    >>> line(ValueError("two\\nlines"))
    'ValueError: two'
    """
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def source(point: EntryPoint) -> str:
    """The package that an entry point comes from."""
    return f"package {point.dist.name}" if point.dist is not None else f"module {point.module}"
