"""What the numbers of an initializer come from besides this package: your own code, and files it reads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from initbench.initializers.calling import catalogued_here, resolve
from initbench.initializers.option_files import base as base_of
from initbench.initializers.option_files import target_of
from initbench.own import plugins, sources


def source_hash(target: str, args: Mapping[str, Any] | None = None) -> str:
    """Hash of the files outside this package that an initializer's numbers depend on; empty if there are none.

    They are the modules that your own function comes from and imports, as initializer or as the base of another
    one, and the file of literal tensors. Editing one of them makes other runs.

    >>> source_hash("zero_head", {"base": "eye"})
    ''
    >>> len(source_hash("textwrap.fill"))
    16
    """
    roots, files = _from(target, resolve(target), args or {})
    return sources.digest(roots, [path.read_bytes() for path in files])


def _from(target: str, function: Callable[..., Any], args: Mapping[str, Any]) -> tuple[list[str], list[Path]]:
    """(modules, data files) that an initializer's numbers come from."""
    if not catalogued_here(function):
        return sources.roots_of(plugins.dotted(plugins.INITIALIZERS, target), function), []
    paths = [Path(str(args.get(name) or "")).expanduser() for name in getattr(function, "files", ())]
    roots: list[str] = []
    files = [path for path in paths if path.is_file()]
    for spec in specs(args):
        inner = base_of(spec)
        more = _from(target_of(spec), inner.function, inner.args)
        roots, files = roots + more[0], files + more[1]
    return roots, files


def specs(args: Mapping[str, Any]) -> list[Any]:
    """The other initializers that arguments name: `base`, `default`, `last` and the values of `map`.

    >>> specs({"map": {"first": "eye"}, "default": "zeros"})
    ['zeros', 'eye']
    """
    named = [args[key] for key in ("base", "default", "last") if args.get(key) and args[key] != "least_squares"]
    return named + list((args.get("map") or {}).values())
