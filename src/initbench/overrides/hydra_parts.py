"""The parts of Hydra that are replaced for a while: there is no switch for them. A Hydra that lacks one works as usual."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from initbench.disk import conf_folder


@contextmanager
def replaced(owner: Any, method: str, by: Any) -> Iterator[None]:
    """Another method of a class for a while; nothing where the class has none of that name."""
    if not hasattr(owner, method):
        yield
        return
    own = vars(owner).get(method)
    setattr(owner, method, by)
    try:
        yield
    finally:
        if own is None:  # it is the base class's
            delattr(owner, method)
        else:
            setattr(owner, method, own)


@contextmanager
def files_checked(check: Callable[[Path], None]) -> Iterator[None]:
    """Each option file is checked before Hydra reads it: whatever chooses it, an override, a glob or a defaults list. The
    built-in ones are right, and are read again only where they have changed.

    The class is the one that Hydra uses: it may have loaded its plugins anew, for a launcher, since it was imported.
    """
    from hydra._internal.sources_registry import SourcesRegistry

    source = SourcesRegistry.instance().resolve("file")
    load, built_in = source.load_config, conf_folder()

    def load_config(self: Any, config_path: str) -> Any:
        path = Path(self.path, self._normalize_file_name(config_path))
        if Path(self.path) == built_in and path.is_file():
            stamp = path.stat().st_mtime_ns, path.stat().st_size
            # each time anew: Hydra changes what it gets
            return pickle.loads(kept(load, source, self.provider, self.path, config_path, stamp))
        check(path)
        return load(self, config_path)

    with replaced(source, "load_config", load_config):
        yield


@cache
def kept(
    load: Callable[..., Any], source: Any, provider: str, folder: str, config_path: str, stamp: tuple[int, int]
) -> bytes:
    """What a file source loads from a built-in file of this time and size; pickled, which is quicker to copy than by deepcopy."""
    return pickle.dumps(load(source(provider, folder), config_path))
