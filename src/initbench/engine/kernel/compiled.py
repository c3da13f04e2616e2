"""The kernel's functions as machine code: compiled by Numba once, kept in a cache folder, loaded by LLVM alone.

What is kept is an object file for each function. So a later start needs no Numba (whose import takes longer than all
else), and none of its cache's traps: the folder carries a hash of every source of the kernel, of what compiles it and of
the processor; where no folder can be written, nothing is kept. Loaded code is called through ctypes, which lets go of
Python's lock.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llvmlite import binding

from initbench import disk
from initbench.startup import home


@lru_cache(maxsize=1)
def cache_folder() -> Path | None:
    """A folder of the package's cache, or unless INITBENCH_CACHE is set of the temporary folder; None if none can be
    written."""
    for place in (disk.cache_folder(), None if os.environ.get("INITBENCH_CACHE") else home.private()):
        if place is None:
            continue
        folder = place / f"kernel-{stamp()}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # what lies there is run: nobody else may have put it there
            owned = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
        except OSError:
            continue
        if owned and os.access(folder, os.W_OK):
            return folder
    return None


@lru_cache(maxsize=1)
def stamp() -> str:
    """Hash of the kernel's sources, of what compiles them, and of the processor."""
    h = hashlib.blake2b(digest_size=8)
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parents[2] / "config/activations.py"):
        h.update(path.read_bytes())
    processor = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    h.update(repr((version("numba"), version("llvmlite"), processor)).encode())
    return h.hexdigest()


@lru_cache(maxsize=1)
def machine() -> Any:
    """LLVM's engine for this processor; it owns what is loaded."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="default",
        codemodel="jitdefault",
        jit=True,
    )
    return target, binding.create_mcjit_compiler(binding.parse_assembly(""), target)


@lru_cache(maxsize=64)
def address(kind: str, name: str = "all") -> int:
    """Address of a compiled function: entry, product and probe; phi and pull of an activation, a loss, an update rule."""
    folder = cache_folder()
    path = folder / f"{kind}-{name}.o" if folder else None
    symbol = f"initbench_{kind}_{name}"
    content = compiled(kind, name, symbol) if path is None else kept(path, lambda: compiled(kind, name, symbol))
    _, engine = machine()
    engine.add_object_file(binding.ObjectFileRef.from_data(content))
    engine.finalize_object()
    return engine.get_function_address(symbol)


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a file, made first if missing or damaged; while one process makes it, others wait."""
    if (content := intact(path)) is not None:
        return content
    with locked(path.with_suffix(".lock")):
        if (content := intact(path)) is None:
            content = make()
            with suppress(OSError), disk.published(path) as new:  # a full cache only costs its time
                new.write_bytes(content + hashlib.sha256(content).digest())
    return content


def intact(path: Path) -> bytes | None:
    """What a file holds before the digest of it; None where it is missing or its bytes are others: they would be run."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    content, seal = found[:-32], found[-32:]
    return content if content and hashlib.sha256(content).digest() == seal else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock ends with its holder. No lock on systems without flock: two then do the same work."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compiled(kind: str, name: str, symbol: str) -> bytes:
    """Object file of one function, with everything that it calls inside."""
    from numba import njit

    signature, function = source(kind, name)
    options: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    made: Any = njit(signature, **options)(function)
    module = binding.parse_assembly(made.inspect_llvm(signature.args))
    theirs = made.overloads[signature.args].fndesc.llvm_func_name
    for one in module.functions:
        if one.name == theirs:
            one.name = symbol
            one.linkage = "external"
        elif not one.is_declaration:
            one.linkage = "internal"
    target, _ = machine()
    return target.emit_object(module)


def source(kind: str, name: str) -> tuple[Any, Callable[..., Any]]:
    """Signature and Python source of a function."""
    from initbench.engine.kernel import activations, net, probe, rules, training, vector

    if kind in ("phi", "pull"):
        signature, place = (vector.PHI, 0) if kind == "phi" else (vector.PULL, 1)
        return signature, activations.FUNCTIONS[name][place]
    known: dict[str, tuple[Any, dict[str, Any]]] = {
        "entry": (training.SEGMENT, {"all": training.segment}),
        "product": (vector.PRODUCT, {"all": net.product}),
        "probe": (vector.PROBE, {"all": probe.probe}),
        "loss": (vector.LOSS, net.LOSSES),
        "rule": (vector.RULE, rules.RULES),
    }
    signature, functions = known[kind]
    return signature, functions[name]


@lru_cache(maxsize=1)
def entry() -> Callable[[int], None]:
    """The compiled training, a function of the address of a plan (see training.py)."""
    # Numba's own convention: a place for the result, a place for an exception (ours raise none), the arguments
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t)(address("entry"))

    def call(plan: int) -> None:
        room = (ctypes.c_void_p * 2)()
        first = ctypes.addressof(room)
        status = function(first, first + ctypes.sizeof(ctypes.c_void_p), plan)
        if status not in (0, -2):  # done, and done without a result
            raise RuntimeError(f"the kernel ended with status {status}")

    return call
