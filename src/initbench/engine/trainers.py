"""What can train an arm, in order of preference.

    kernel    compiled, each run in cache (engine/kernel)
    stacked   runs as stacked matrices in torch (engine/stacked.py)
    single    one nn.Module at a time with torch.optim (engine/one_by_one.py)

`engine=auto` takes the first that does not refuse. Decided from the configuration and the machine alone, before anything
starts; importing this imports neither torch nor Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from initbench.config.arm import ArmConfig, Run
from initbench.config.groups import LayerSpec
from initbench.engine.kernel import declared
from initbench.errors import inapplicable

if TYPE_CHECKING:
    from initbench.data import Dataset
    from initbench.engine.material import Material
    from initbench.store.chunk import Chunk

Functions = list[tuple[str, str]]  # (kind, name) of compiled functions


@dataclass(frozen=True)
class Trainer:
    """One way to train. `name` is its value of `engine=`, and what `runs.path` says."""

    name: str
    module: str  # where its `run_chunk` is
    # bytes of what the runs of a stack touch in one layer, and in all: a stack should fit the cache
    layer_bytes: int
    stack_bytes: int
    refuses: Callable[[ArmConfig, Material], str]  # why it cannot train an arm, "" if it can
    functions: Callable[[Iterable[ArmConfig]], Functions]  # what arms call that has to be compiled, slowest first

    def train(self, arm: ArmConfig, runs: Sequence[Run], data: Dataset, progress: Callable[[int], None]) -> Chunk:
        """Train runs of an arm; `progress(n)` is told of n more run-steps now and then."""
        chunk: Chunk = import_module(self.module).run_chunk(arm, runs, data, progress)
        return chunk


def no_kernel(arm: ArmConfig, material: Material) -> str:
    return declared.refuses(arm, material) or declared.not_on_this_machine()


def no_matrices(arm: ArmConfig, material: Material) -> str:
    return "model=module: a module is not a stack of matrices" if arm.model.name == "module" else ""


TRAINERS = (
    # float32 on the processor, plain nets, look-up sharing; a stack, trained run by run, is only a unit of work
    Trainer("kernel", "initbench.engine.kernel.run", 24 * 2**20, 24 * 2**20, no_kernel, declared.functions),
    # a stack should be large enough to hide the cost of calling torch, and what it touches in one layer small enough to
    # stay in cache: 1.5 MiB a layer is best or close to it at widths 16 to 512, depths 2 to 60 and batches of 64 to 1,437
    # (docs/performance.md); the larger bound is that of very deep nets
    Trainer("stacked", "initbench.engine.stacked", 3 * 2**19, 256 * 2**20, no_matrices, lambda arms: []),
    # whatever is a module, or can be made one
    Trainer("single", "initbench.engine.one_by_one", 24 * 2**20, 24 * 2**20, lambda *arm: "", lambda arms: []),
)


def named(name: str) -> Trainer:
    """The trainer of a name.

    >>> named("stacked").name
    'stacked'
    """
    return next(trainer for trainer in TRAINERS if trainer.name == name)


def chosen(arm: ArmConfig, material: Material) -> tuple[Trainer, str]:
    """The trainer of an arm, and why not the one preferred to it ("" if there is none, or if one was asked for by name).

    Raises NotApplicable where the one asked for refuses.

    >>> from initbench import data
    >>> from initbench.engine.material import Material
    >>> from initbench.overrides.expand import expand
    >>> arm = expand(["model.dtype=float64", "init=eye", "sharing=none"])[0]
    >>> trainer, reason = chosen(arm, Material(arm, data.load(arm.data)))
    >>> trainer.name, reason
    ('stacked', 'model.dtype=float64: the kernel computes in float32')
    """
    if arm.engine.name != "auto":
        trainer = named(arm.engine.name)
        reason = trainer.refuses(arm, material)
        if reason:
            raise inapplicable(f"engine={arm.engine.name}", reason, "use engine=auto")
        return trainer, ""
    refused = ""
    for trainer in TRAINERS:
        reason = trainer.refuses(arm, material)
        if not reason:
            break
        refused = reason
    return trainer, refused


def stack_size(trainer: Trainer, arm: ArmConfig, layers: Sequence[LayerSpec]) -> int:
    """Runs in a stack, at least two, from the bytes of a run.

    >>> from initbench.config.groups import ModelConfig
    >>> from types import SimpleNamespace
    >>> def size(width, depth, name):
    ...     model = ModelConfig(width=width, depth=depth)
    ...     arm = SimpleNamespace(optim=SimpleNamespace(batch_size=64), model=model)
    ...     return stack_size(named(name), arm, model.layers(64, 10))
    >>> size(32, 6, "stacked"), size(32, 60, "stacked"), size(128, 6, "stacked"), size(32, 60, "kernel")
    (60, 63, 9, 16)
    """
    fitting = min(trainer.layer_bytes * len(layers), trainer.stack_bytes)
    return max(2, min(LARGEST_STACK, fitting // run_bytes(arm, layers)))


LARGEST_STACK = 128


def run_bytes(arm: ArmConfig, layers: Sequence[LayerSpec]) -> int:
    """Bytes that one run touches in a training step: weights and gradients, activations and their gradients.

    >>> from initbench.config.groups import ModelConfig
    >>> from types import SimpleNamespace
    >>> arm = SimpleNamespace(optim=SimpleNamespace(batch_size=64), model=ModelConfig())
    >>> run_bytes(arm, ModelConfig().layers(64, 10))
    181328
    """
    batch = arm.optim.batch_size or 1024
    weights = sum(layer.fan_in * layer.fan_out + layer.fan_out for layer in layers)
    units = sum(layer.fan_out for layer in layers)
    return (8 if arm.model.dtype == "float64" else 4) * (2 * weights + batch * (layers[0].fan_in + 2 * units))
