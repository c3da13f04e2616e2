"""The kernel's compiled functions: made on first use, kept in a cache folder of this version on this processor.

Numba's own cache misses edits in imported files, so the folder's name carries a hash of every source of the kernel and
of what compiles it; and it fails where nothing is writable, so then nothing is kept (or the temporary folder is used).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import binding
from numba import cfunc

NOT_INTERPRETED = {"error_model": "numpy"}


def cache_folder() -> Path | None:
    """A folder of our own that can be written, below INITBENCH_CACHE_DIR, XDG_CACHE_HOME, ~/.cache or the temporary folder."""
    base = os.environ.get("INITBENCH_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    home = Path(base) if base else Path(os.path.expanduser("~")) / ".cache"
    user = os.getuid() if hasattr(os, "getuid") else 0
    for folder in (home / "initbench", Path(tempfile.gettempdir()) / f"initbench-{user}"):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # what lies there is loaded as code: nobody else may have put it there
            mine = not hasattr(os, "getuid") or folder.stat().st_uid == user
            if mine and os.access(folder, os.W_OK):
                return folder / stamp()
        except OSError:
            continue
    return None


def stamp() -> str:
    """Hash of the kernel's sources, of Numba and LLVM, and of the processor they compile for."""
    h = hashlib.blake2b(digest_size=8)
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parents[2] / "model.py"):
        h.update(path.read_bytes())
    features = binding.get_host_cpu_features().flatten()
    h.update(f"{numba.__version__} {llvmlite.__version__} {binding.get_host_cpu_name()} {features}".encode())
    return f"kernel-{h.hexdigest()}"


@contextmanager
def caching() -> Iterator[bool]:
    """Numba's cache in our folder for what is compiled inside; False where there is none."""
    folder = cache_folder()
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder) if folder else before
    try:
        yield folder is not None
    finally:
        numba.config.CACHE_DIR = before


@lru_cache(maxsize=1)
def segment() -> Callable[..., None]:
    """The compiled loop over runs and steps."""
    with caching():
        from initbench.engine.kernel import training

        return training.segment


@lru_cache(maxsize=64)
def _compiled(signature: Any, function: Callable[..., Any]) -> Any:
    with caching() as cache:
        return cfunc(signature, cache=cache, **NOT_INTERPRETED)(function)


def addresses(activation: str, rule: str) -> tuple[int, int, int]:
    """Addresses of phi, its pull-back and the update rule."""
    from initbench.engine.kernel import activations, rules, training

    phi, pull = activations.FUNCTIONS[activation]
    wanted = ((training.PHI, phi), (training.PULL, pull), (training.RULE, rules.RULES[rule]))
    a, b, c = (_compiled(signature, function).address for signature, function in wanted)
    return a, b, c
