"""The parts of Hydra that are replaced for a while: there is no switch for them. A Hydra that lacks one works as usual."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
    """Each option file is checked before Hydra reads it: whatever chooses it, an override, a glob or a defaults list.

    The class is the one that Hydra uses: it may have loaded its plugins anew, for a launcher, since it was imported.
    """
    from hydra._internal.sources_registry import SourcesRegistry

    source = SourcesRegistry.instance().resolve("file")
    load = source.load_config

    def load_config(self: Any, config_path: str) -> Any:
        check(Path(self.path, self._normalize_file_name(config_path)))
        return load(self, config_path)

    with replaced(source, "load_config", load_config):
        yield
