"""The parts of Hydra that are replaced for a while: there is no switch for them. Where a Hydra lacks one, it does as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from initbench.store.files import naming


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
def composed_already(mode: Any) -> Iterator[None]:
    """Hydra composes the command once less to learn its mode, and no job to see whether that is possible: the plan has
    composed every job, with this mode, and refused what is wrong. A composition takes .08 s."""
    from hydra._internal import hydra as entry
    from hydra._internal.core_plugins import basic_sweeper

    with (
        replaced(getattr(entry, "Hydra", None), "get_mode", lambda *args, **kwargs: mode),
        replaced(getattr(basic_sweeper, "BasicSweeper", None), "validate_batch_is_legal", lambda *args: None),
    ):
        yield


class Carried(BaseException):
    """An OSError on its way through Hydra, which would show where any Exception comes from."""


@contextmanager
def carried() -> Iterator[None]:
    """Inside: an OSError is raised as Carried."""
    try:
        yield
    except OSError as error:
        raise Carried(error) from error


@contextmanager
def disk_errors_come_through(folder: Path) -> Iterator[None]:
    """Inside: what a disk answers to Hydra, which writes below `folder`, or was carried out of a job is an OSError."""
    from hydra._internal import utils

    reported = utils.run_and_report

    def run_and_report(function: Callable[[], Any]) -> Any:
        def through() -> Any:
            with carried(), naming(folder):
                return function()

        return reported(through)

    try:
        with replaced(utils, "run_and_report", run_and_report):
            yield
    except Carried as error:
        raise error.args[0] from None


@contextmanager
def files_checked(check: Callable[[Path], None]) -> Iterator[None]:
    """Each option file is checked before Hydra reads it: whatever chooses it, an override, a glob or a defaults list."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource

    load = FileConfigSource.load_config

    def load_config(self: Any, config_path: str) -> Any:
        check(Path(self.path, self._normalize_file_name(config_path)))
        return load(self, config_path)

    with replaced(FileConfigSource, "load_config", load_config):
        yield
