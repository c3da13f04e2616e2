"""What the numbers of an initializer come from besides this package: a person's own code, and files it reads."""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from initbench.initializers.calling import catalogued_here, resolve
from initbench.initializers.option_files import base as base_of


def source_hash(target: str, args: Mapping[str, Any] | None = None) -> str:
    """Hash of the files outside this package that an initializer's numbers depend on; empty if there are none.

    They are the file of a function of one's own, as initializer or as the base of another one, and the file of
    literal tensors. Editing one of them makes other runs.

    >>> source_hash("zero_head", {"base": "eye"})
    ''
    >>> len(source_hash("textwrap.fill"))
    16
    """
    contents = list(_contents(resolve(target), args or {}))
    if not contents:
        return ""
    total = hashlib.blake2b(digest_size=8)
    for content in contents:
        total.update(hashlib.blake2b(content, digest_size=16).digest())
    return total.hexdigest()


def _contents(function: Callable[..., Any], args: Mapping[str, Any]) -> Iterator[bytes]:
    if not catalogued_here(function):
        try:
            yield Path(inspect.getfile(function)).read_bytes()
        except (TypeError, OSError):  # built in, or made at a prompt: no file to look at
            return
        return
    for name in getattr(function, "files", ()):  # names of arguments
        path = Path(str(args.get(name) or "")).expanduser()
        if path.is_file():
            yield path.read_bytes()
    for spec in specs(args):
        inner, inner_args, _ = base_of(spec)
        yield from _contents(inner, inner_args)


def specs(args: Mapping[str, Any]) -> list[Any]:
    """The other initializers that arguments name: `base`, `default` and the values of `map`.

    >>> specs({"map": {"first": "eye"}, "default": "zeros"})
    ['zeros', 'eye']
    """
    return [args[key] for key in ("base", "default") if args.get(key)] + list((args.get("map") or {}).values())
