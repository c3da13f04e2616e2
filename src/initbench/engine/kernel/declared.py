"""What the kernel lacks, for those that only ask; this imports neither torch nor Numba.

It has every activation of the table in config/, and every optimizer but those that its table says are not compiled.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from initbench.config.arm import ArmConfig
from initbench.config.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from initbench.engine.material import Material

SMALLEST = 1.2e-38  # the smallest normal float32


def functions(arms: Iterable[ArmConfig]) -> list[tuple[str, str]]:
    """What these arms call in the kernel, (kind, name), slowest to compile first.

    >>> from initbench.overrides.expand import expand
    >>> functions(expand(["init=eye", "sharing=none", "train.loss=cross_entropy"]))[2:]
    [('loss', 'cross_entropy'), ('phi', 'relu'), ('pull', 'relu'), ('rule', 'sgd'), ('probe', 'all')]
    """
    found: dict[tuple[str, str], None] = {("entry", "all"): None, ("product", "all"): None}
    arms = list(arms)
    found |= {("loss", arm.train.loss): None for arm in arms}
    for kind in ("phi", "pull"):
        found |= {(kind, arm.model.activation): None for arm in arms}
    found |= {("rule", arm.optim.name): None for arm in arms}
    if any(arm.measure.metrics or arm.measure.name == "light" for arm in arms):
        found["probe", "all"] = None
    return list(found) if arms else []


def refuses(arm: ArmConfig, material: Material) -> str:
    """What about an arm the kernel does not do, "" if it does all."""
    model, optim = arm.model, arm.optim
    if arm.engine.device != "cpu":
        return f"engine.device={arm.engine.device}: the kernel runs on the processor"
    if model.dtype != "float32":
        return f"model.dtype={model.dtype}: the kernel computes in float32"
    if model.name != "mlp":
        return f"model={model.name}: the kernel trains plain mlps"
    if not OPTIMIZERS[optim.name].compiled:
        return f"optim={optim.name}: its rule for whole matrices is not compiled"
    net = material.net
    if not net.is_plain:
        return f"model.parametrization={model.parametrization}: the kernel has the standard one"
    if not net.scheme.is_lookup:
        return f"sharing={arm.sharing.name}: in the kernel a layer looks its weight up, and nothing else is stored"
    if material.loss.startswith("sigmoid"):
        return f"train.loss={material.loss}: the kernel has no sigmoid output units"
    if optim.eps is not None and optim.eps < SMALLEST:
        return f"optim.eps={optim.eps}: is 0 in float32"
    return ""


@lru_cache(maxsize=1)
def not_on_this_machine() -> str:
    """Why the kernel cannot run here, "" if it can."""
    for name in ("numba", "llvmlite"):
        if find_spec(name) is None:
            return f"the kernel needs {name}: pip install {name}"
    if not multiplies_and_adds(platform.machine(), cpu_flags()):
        return "the kernel needs a processor with fused multiply-add"
    return ""


def multiplies_and_adds(machine: str, flags: frozenset[str] | None) -> bool:
    """Whether a processor rounds a b + c once. Where its flags cannot be read, x86 is taken to be from after 2013.

    >>> multiplies_and_adds("x86_64", frozenset({"sse2"})), multiplies_and_adds("arm64", None)
    (False, True)
    """
    if machine.lower() in ("arm64", "aarch64"):
        return True
    return machine.lower() in ("x86_64", "amd64") and (flags is None or "fma" in flags)


def cpu_flags() -> frozenset[str] | None:
    """Flags of the processor as Linux lists them; None elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((frozenset(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), None)
