"""The property: an input is accepted, or refused in one line; in time, in memory, with no write outside its folder.

`judge` runs one input of a target in an empty folder and says what was wrong with the answer, or None.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initbench.errors import InputError, NotApplicable

SECONDS = 20.0  # of processor time, which one small input may take
WAITING = 5  # times as long by the clock, for what waits instead of working
MEMORY = 6 * 2**30  # bytes that it may take beyond those at the start
LONGEST = 2000  # characters of a refusal
LINE = re.compile(r"\S.*?: .+")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# audit events, and which of their arguments are paths that are changed
CHANGES = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.truncate": (0,),
    "os.symlink": (1,),
    "os.link": (1,),
}
EXECUTES = ("os.system", "os.exec", "os.posix_spawn", "pickle.find_class")
# these copy by pickle what this process has pickled itself; no byte of an input is among it
COPIES = ("initbench/overrides/hydra_parts.py load_config", "initbench/overrides/exchange.py exchanged")


class Wrong(Exception):
    """An answer that is none: not one line, not printable, or not what the target promises."""


class OutOfTime(BaseException):
    """No answer in time; not an Exception, so that no handler for bad input takes it for one."""


@dataclass(frozen=True)
class Finding:
    """What went wrong, and where: findings of one key have one cause."""

    kind: str
    frame: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.kind} at {self.frame}"


def judge(run: Callable[[Any, Path], None], given: Any, seconds: float = SECONDS) -> Finding | None:
    """Run one input in an empty folder; None where the answer is right."""
    folder = Path(tempfile.mkdtemp(prefix="input-")).resolve()
    watch = Watch(folder)
    try:
        with restored(), in_folder(folder), watch.watching(), limits(seconds):
            run(given, folder)
    except (InputError, NotApplicable) as error:
        if not is_one_line(str(error)):
            cause = f" for {type(error.__context__).__name__}" if error.__context__ else ""
            return Finding(f"NotOneLine{cause}", innermost(error.__traceback__), repr(str(error)[:LONGEST]))
    except (Exception, OutOfTime, SystemExit) as error:
        return Finding(type(error).__name__, innermost(error.__traceback__), "".join(traceback.format_exception(error)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return watch.found[0] if watch.found else None


def is_one_line(text: str) -> bool:
    """Whether a refusal is one printable line of the form WHAT: what is wrong.

    >>> is_one_line("seeds=0: no seed at all"), is_one_line("no"), is_one_line("a: b\\nc"), is_one_line("a: \\ud800")
    (True, False, False, False)
    """
    return text.isprintable() and len(text) <= LONGEST and LINE.fullmatch(text) is not None


def innermost(tb: Any) -> str:
    """The innermost frame of initbench, as file and function."""
    return last_of([(frame.filename, frame.name) for frame in traceback.extract_tb(tb)])


def last_of(frames: list[tuple[str, str]]) -> str:
    """The last frame of initbench among (file, function), or the last of all.

    >>> last_of([("/a/src/initbench/plan.py", "planned"), ("/b/torch/nn.py", "f")])
    'initbench/plan.py planned'
    """
    own = [one for one in frames if "/initbench/" in one[0]]
    file, function = (own or frames or [("nowhere", "")])[-1]
    return f"{'initbench/' + file.rpartition('/initbench/')[2] if own else Path(file).name} {function}"


class Watch:
    """Notes writes outside of a folder, what is executed, and numerical warnings."""

    def __init__(self, folder: Path) -> None:
        self.allowed = (folder, Path("/dev/null"), Path("/dev/tty"))
        self.found: list[Finding] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        _install()
        _watching.append(self)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", RuntimeWarning)
            warnings.showwarning = self.warned  # type: ignore[assignment]
            try:
                yield
            finally:
                _watching.remove(self)

    def warned(self, message: Any, category: type, *rest: Any) -> None:
        self.note(category.__name__, str(message))

    def event(self, name: str, args: tuple[Any, ...]) -> None:
        if name in EXECUTES:
            self.note("Executes", f"{name} {args!r}"[:500])
            if self.found[-1].frame in COPIES and name == "pickle.find_class":
                self.found.pop()
            return
        if name == "open":
            path, mode, flags = args
            writes = (isinstance(mode, str) and set(mode) & set("wxa+")) or (
                not isinstance(mode, str) and isinstance(flags, int) and flags & WRITING
            )
            paths = [path] if writes else []
        else:
            paths = [args[i] for i in CHANGES.get(name, ())]
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)) and not self.inside(os.fsdecode(path)):
                self.note("WritesOutside", f"{name} {os.fsdecode(path)!r}")

    def inside(self, path: str) -> bool:
        real = Path(os.path.realpath(path))
        return any(real == one or one in real.parents for one in self.allowed)

    def note(self, kind: str, text: str) -> None:
        stack = traceback.extract_stack()[:-2]
        frame = last_of([(one.filename, one.name) for one in stack])
        self.found.append(Finding(kind, frame, text + "\n" + "".join(traceback.format_list(stack[-12:]))))


_watching: list[Watch] = []
_installed: list[bool] = []


def _install() -> None:
    """An audit hook stays for the life of the process."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if _watching and (event == "open" or event in CHANGES or event in EXECUTES):
            _watching[-1].event(event, args)

    if not _installed:
        sys.addaudithook(hook)
        _installed.append(True)


@contextlib.contextmanager
def limits(seconds: float) -> Iterator[None]:
    """An end to the time, and to the memory, of what runs inside; the handler runs between two bytecodes only."""

    def late(*_: Any) -> None:
        raise OutOfTime(f"no answer in {seconds:g} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    timers = ((signal.SIGALRM, signal.ITIMER_REAL, WAITING * seconds), (signal.SIGPROF, signal.ITIMER_PROF, seconds))
    before = [signal.signal(number, late) for number, _, _ in timers]
    for _, timer, length in timers:
        signal.setitimer(timer, length)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """The folder is the current one and that of temporary files; what is printed goes nowhere."""
    before, temporary = os.getcwd(), tempfile.tempdir
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        tempfile.tempdir = temporary
        os.chdir(before)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """What a command changes in its process and leaves so at its end is put back."""
    path, argv, modules = list(sys.path), list(sys.argv), set(sys.modules)
    handlers, level = list(logging.root.handlers), logging.root.level
    try:
        yield
    finally:
        sys.path[:], sys.argv = path, argv
        logging.root.handlers[:], logging.root.level = handlers, level
        for name in set(sys.modules) - modules:
            if "input-" in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
