"""The source files that a run depends on: the person's own module, and every module of theirs that it imports.

Installed packages, the standard library and this package are left out, but for the module that is named itself: they
have versions. What a module imports is read from its source (also inside functions) and from what it holds after its
import. A file counts as it was when it was imported, since that is the code that runs.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import site
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from functools import cache, partial
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from inspect import isroutine
from pathlib import Path
from types import ModuleType
from typing import Any

STARTED = time.time()
_read: dict[str, tuple[Path, bytes]] = {}  # module -> its file and content when it was first looked at


@cache
def installed_folders() -> tuple[Path, ...]:
    """Where packages, the standard library and this package lie."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    here = Path(__file__).resolve().parents[1]
    return (here, *{Path(path).resolve() for path in (*paths, *site.getsitepackages(), site.getusersitepackages())})


@cache
def is_own(file: str) -> bool:
    """Whether a file is your own.

    >>> is_own("my_init.py"), is_own(ast.__file__), is_own("<frozen importlib>")
    (True, False, False)
    """
    path = Path(file).resolve()
    inside = any(path.is_relative_to(folder) for folder in installed_folders())
    return not (inside or file.startswith("<") or {"site-packages", "dist-packages"} & set(path.parts))


def digest(roots: Iterable[str], contents: Iterable[bytes] = ()) -> str:
    """Hash of what these modules depend on, and of the content of data files; empty if there is none.

    >>> digest([]), len(digest(["textwrap"]))
    ('', 16)
    """
    files = read(roots)
    total = hashlib.blake2b(digest_size=8)
    for content in contents:
        files[f"data {len(files)}"] = content
    for name in sorted(files):
        total.update(hashlib.blake2b(name.encode() + b"\0" + files[name], digest_size=16).digest())
    releases = {top: release(top) for top in {name.partition(".")[0] for name in roots if name in sys.modules}}
    total.update(repr(sorted(item for item in releases.items() if item[1])).encode())
    return total.hexdigest() if files else ""


def read(roots: Iterable[str]) -> dict[str, bytes]:
    """The content of these modules and of all of your own that they import, as it was when it was imported.

    >>> list(read(["textwrap"]))
    ['textwrap']
    """
    return {name: _read[name][1] for name in modules(roots)}


@cache
def release(package: str) -> str:
    """Version of an installed package; nothing for your own module."""
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return ""


def roots_of(target: str, found: Any) -> list[str]:
    """Modules that a dotted path and what it names come from: wrapped functions, the class of an object, bases of a class.

    >>> roots_of("textwrap.fill", __import__("textwrap").fill)
    ['textwrap']
    """
    named = target.rpartition(".")[0]
    found_in = getattr(found, "__module__", None) if isroutine(found) or isinstance(found, type) else None
    names: list[Any] = []
    todo = [found]
    for thing in todo:  # grows while it is gone through
        names.append(getattr(thing, "__module__", None))
        names += [cls.__module__ for cls in (thing if isinstance(thing, type) else type(thing)).__mro__]
        todo += [thing.func] if isinstance(thing, partial) else []
        todo += [thing.__wrapped__] if hasattr(thing, "__wrapped__") else []
    own = [name for name in names if isinstance(name, str) and _is_own_module(name)]
    return [name for name in dict.fromkeys([named, found_in, *own]) if name in sys.modules and name != "builtins"]


def _is_own_module(name: str) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(file, str) and is_own(file)


def modules(roots: Iterable[str]) -> list[str]:
    """The named modules and all of your own that they import, also those not yet imported.

    >>> modules(["textwrap"])
    ['textwrap']
    """
    todo = [name for root in roots for name in with_parents(root)]
    asked, found = set(roots), []
    seen: set[str] = set()
    for name in todo:  # grows while it is gone through
        if name in seen:
            continue
        seen.add(name)
        file = _file(name)
        if file is None or not (name in asked or is_own(str(file))):
            continue
        if name not in _read or _read[name][0] != file:  # a module of that name in another folder
            try:
                _read[name] = file, file.read_bytes()
            except OSError:
                continue
        found.append(name)
        if is_own(str(file)):
            todo += [each for other in _imports(name, file, _read[name][1]) for each in with_parents(other)]
    return found


def with_parents(name: str) -> list[str]:
    """A module and the packages that hold it, outermost first.

    >>> with_parents("a.b")
    ['a', 'a.b']
    """
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts)) if all(parts)]


def _file(name: str) -> Path | None:
    """The file of a module, loaded or not; nothing is executed."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        file = getattr(loaded, "__file__", None)
        return Path(file) if isinstance(file, str) else None
    if name.partition(".")[0] in sys.stdlib_module_names:
        return None
    folders: Any = None
    spec = None
    for part in with_parents(name):
        try:
            spec = PathFinder.find_spec(part, folders)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        folders = spec.submodule_search_locations or []
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


def _imports(name: str, file: Path, content: bytes) -> Iterator[str]:
    """Names of modules that a module imports by its source, or holds something of; also names that are none."""
    module = sys.modules.get(name)
    for key, value in list(vars(module).items()) if module is not None else ():
        if isinstance(value, ModuleType):
            if value.__name__ != f"{name}.{key}":  # whoever imports a module hangs it into its package
                yield value.__name__
        elif isinstance(getattr(value, "__module__", None), str):
            yield value.__module__
    if file.suffix != ".py":
        return
    try:
        nodes = ast.walk(ast.parse(content))
    except (SyntaxError, ValueError):
        return
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def forget_edited() -> None:
    """Let your own modules that were edited since they were imported be imported again, with all that may hold
    something of them: in a notebook the next study runs the new code, as its workers do."""
    if any(_edited(name) for name in list(_read)):
        _forget(list(_read))
        _read.clear()


def _forget(names: Iterable[str]) -> None:
    """Let your own modules be imported again, each with the whole package that it is in."""
    tops = {name.partition(".")[0] for name in names if _is_own_module(name)}
    for name in list(sys.modules):
        if name.partition(".")[0] in tops:
            del sys.modules[name]
            _read.pop(name, None)
    importlib.invalidate_caches()


def _edited(name: str) -> bool:
    file, content = _read[name]
    if not is_own(str(file)):
        return False
    try:
        return file.read_bytes() != content
    except OSError:
        return True


def forget_if_older(name: str) -> None:
    """The same for a module that someone else imported, if its file was written after this process began."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if name in _read or not isinstance(file, str) or not is_own(file):
        return
    if Path(file).is_file() and Path(file).stat().st_mtime > STARTED:
        _forget(modules([name]))
