"""The one place where your own code runs: initializers, sharing functions and modules from outside this package.

Whatever it does, the process goes on as it was: what it raises (sys.exit too) becomes one line that names its file, and
global state is put back. Ctrl-C goes through.
"""

from __future__ import annotations

import os
import random
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from initbench.errors import InputError, NotApplicable, printable, refusal
from initbench.own.sources import is_own


class OwnCodeFailed(InputError):
    """A person's code failed while it ran: its arm fails with this reason, the other arms are complete."""


MEND = "correct it and run the same command again"


def failed(what: str, wrong: str, do: str = MEND) -> OwnCodeFailed:
    """The failure of your own code as one line.

    >>> str(failed("init=f", "it returned a list", "return a tensor"))
    'init=f: it returned a list; return a tensor'
    """
    return OwnCodeFailed(str(refusal(what, wrong, do)))


def advised(failure: OwnCodeFailed, do: str) -> OwnCodeFailed:
    """The same failure with advice of its own.

    >>> str(advised(failed("init=f", "it raised KeyError: 1"), "name it"))
    'init=f: it raised KeyError: 1; name it'
    """
    return OwnCodeFailed(f"{str(failure).removesuffix(f'; {MEND}')}; {do}")


@contextmanager
def reasons(what: str, doing: str = "it raised ") -> Iterator[None]:
    """Inside: whatever is raised comes out as OwnCodeFailed; refusals and Ctrl-C as they are.

    >>> with reasons("init=f"):
    ...     raise SystemExit(3)
    Traceback (most recent call last):
    initbench.own_code.OwnCodeFailed: init=f: it raised SystemExit: 3; correct it and run the same command again
    """
    try:
        yield
    except (InputError, NotApplicable, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise failed(what, f"{doing}{line(error)}{place(error)}") from error


@contextmanager
def guarded(what: str, doing: str = "it raised ", seed: int | None = None, environment: bool = True) -> Iterator[None]:
    """`reasons`, with global state put back; `seed` seeds the global generators meanwhile. What is printed goes to stderr.

    >>> before = os.getcwd()
    >>> with guarded("init=f"):
    ...     os.chdir(os.path.sep)
    >>> os.getcwd() == before
    True
    """
    with reasons(what, doing), state_kept(environment), redirect_stdout(sys.stderr):
        if seed is not None:
            seed_all(seed)
        yield


def seed_all(seed: int) -> None:
    """Seed the global generators: your own function may draw from them."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.random.default_generator.manual_seed(seed)


@contextmanager
def state_kept(environment: bool = True) -> Iterator[None]:
    """Put global state back: generators, torch's settings, folder, warnings, arguments and environment.

    >>> with state_kept():
    ...     sys.argv = []
    >>> sys.argv == []
    False
    """
    import numpy as np
    import torch

    draws = random.getstate(), np.random.get_state(), torch.get_rng_state()
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    strict, inexact = torch.are_deterministic_algorithms_enabled(), np.geterr()
    folder, argv, streams = os.getcwd(), (sys.argv, list(sys.argv)), (sys.stdout, sys.stderr)
    environ = dict(os.environ) if environment else {}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(draws[0])
        np.random.set_state(draws[1])
        torch.set_rng_state(draws[2])
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if torch.are_deterministic_algorithms_enabled() != strict:  # setting it imports torch's compiler, a second
            torch.use_deterministic_algorithms(strict)
        np.seterr(**inexact)
        os.chdir(folder)
        sys.argv = argv[0]
        sys.argv[:] = argv[1]
        sys.stdout, sys.stderr = streams
        if environment and environ != dict(os.environ):
            os.environ.clear()
            os.environ.update(environ)


def line(error: BaseException) -> str:
    """An exception in one line.

    >>> line(ValueError("two\\nlines"))
    'ValueError: two'
    """
    try:
        first = (str(error).splitlines() or [""])[0]
    except Exception:  # your own exception, whose text fails too
        first = ""
    return printable(f"{type(error).__name__}: {first}" if first else type(error).__name__)


def place(error: BaseException) -> str:
    """Where in your own files an exception came from: ` (my_init.py:7)`, or nothing."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f" ({relative(error.filename)}:{error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if is_own(f.filename)]
    return f" ({relative(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""


def defined_at(function: Any) -> str:
    """Where your own function begins: ` (my_init.py:7)`, or nothing.

    >>> defined_at(print)
    ''
    """
    code = getattr(function, "__code__", None)
    return f" ({relative(code.co_filename)}:{code.co_firstlineno})" if code and is_own(code.co_filename) else ""


def relative(file: str) -> str:
    """A file as seen from the current folder, where it lies in it.

    >>> relative(os.path.join(os.getcwd(), "my_init.py"))
    'my_init.py'
    """
    path = Path(file).absolute()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
