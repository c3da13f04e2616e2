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
from types import ModuleType
from typing import Any

from initbench.errors import InputError, refusal
from initbench.own import sources
from initbench.own.code import guarded, line, place

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
    option = group.rpartition(".")[2].replace("initializers", "init")
    sources.forget_if_older(point.module)
    try:
        with guarded(option, "", environment=False):
            found = point.load()
    except InputError as error:  # whatever the installed package raises
        reason = (str(error.__cause__ or error).splitlines() or [line(error.__cause__ or error)])[0]
        raise refusal(
            f"{option}={name}",
            f"{source(point)} ({point.value}) cannot be loaded: {reason}",
            "correct or reinstall the package",
        ) from error
    if not callable(found):
        raise refusal(
            f"{option}={name}", f"{source(point)} ({point.value}) names no function", "correct its entry point"
        )
    return found


def imported(option: str, target: str, allowed: str) -> Any:
    """The function of a dotted path, looked for in the current folder too; an InputError in one line if there is none.

    >>> imported("sharing", "initbench.own.plugins.imported", "") is imported
    True
    """
    path, _, name = target.rpartition(".")
    if not path:
        raise refusal(f"{option}={target}", "unknown", allowed)
    if "" not in sys.path:
        sys.path.insert(0, "")
    sources.forget_if_older(path)
    try:
        module = sys.modules.get(path) or fresh(f"{option}={target}", path)
    except InputError as refused:  # whatever the person's own module raises
        error = refused.__cause__ or refused
        what = f"importing {path} failed: {line(error)}{place(error)}"
        if isinstance(error, ModuleNotFoundError):
            what = f"no module named '{error.name or path}'{place(error)}"
        raise refusal(f"{option}={target}", what, allowed) from error
    function = getattr(module, name, None)
    if function is None:
        raise refusal(f"{option}={target}", f"{path} has no '{name}'", allowed)
    if not callable(function):
        raise refusal(f"{option}={target}", f"'{name}' is not a function", allowed)
    return function


def fresh(what: str, path: str) -> ModuleType:
    """Import a module. No bytecode is kept: an edit within a second, of the same length, would not be seen."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        with guarded(what, environment=False):
            module = importlib.import_module(path)
        sources.modules([path])  # remembered as it is now
        return module
    finally:
        sys.dont_write_bytecode = before


def source(point: EntryPoint) -> str:
    """The package that an entry point comes from."""
    return f"package {point.dist.name}" if point.dist is not None else f"module {point.module}"


def dotted(group: str, target: str) -> str:
    """The dotted path of a target, also of one that an installed package names.

    >>> dotted(SHARING, "my_module.f")
    'my_module.f'
    """
    point = installed(group).get(target)
    return target if point is None else f"{point.module}.{point.attr}"
