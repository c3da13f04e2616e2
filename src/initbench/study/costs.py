"""What a run costs: operations per step, numbers stored and used, bytes of state. Counted, not timed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from initbench.config.arm import ArmConfig
from initbench.config.groups import LayerSpec
from initbench.config.optimizers import OPTIMIZERS
from initbench.nets.net import hidden_matrices
from initbench.sharing import Scheme


def costs(
    arm: ArmConfig,
    layers: Sequence[LayerSpec],
    scheme: Scheme,
    batch: int,
    others: int = 0,
    sees_whole_net: bool = False,
) -> dict[str, Any]:
    """Costs of one run of an arm.

    flops_per_step = 6 B sum n m over layers (and V, where V x is injected) + optimizer work per stored parameter (no
    evaluation) + what composing weights from a formula and pulling their gradients back costs; a layer that shares its
    weight costs as much as one that does not. `others`: stored numbers that belong to no layer. state_bytes =
    parameters, gradients and optimizer state, and what is frozen. init_flops = 0 for a start that is drawn; None for one that sees the whole net: its passes are counted run by
    run (initializers/passes.py), since how many it makes is known only then.

    >>> from initbench.config.groups import ModelConfig, OptimConfig, SharingConfig
    >>> from types import SimpleNamespace
    >>> from initbench.sharing import scheme
    >>> model = ModelConfig(depth=3, width=4)
    >>> layers = model.layers(2, 1)
    >>> arm = SimpleNamespace(optim=OptimConfig(lr=0.1), model=model)
    >>> c = costs(arm, layers, scheme(SharingConfig("all"), layers), batch=10)
    >>> c["flops_per_step"], c["stored_parameters"], c["used_parameters"], c["state_bytes"]
    (2714, 37, 57, 296)
    """
    stored = scheme.stored_parameters + others
    update, state = optimizer_costs(arm.optim.name, scheme, stored)
    products = sum(layer.fan_in * layer.fan_out for layer in layers)
    products += sum(prod(slot.shape) for slot in scheme.injections)
    itemsize = 8 if arm.model.dtype == "float64" else 4
    return {
        "flops_per_step": 6 * batch * products + update + scheme.flops,
        "init_flops": None if sees_whole_net else 0,
        "stored_parameters": stored,
        "stored_biases": scheme.stored_biases,
        "used_parameters": scheme.used_parameters + others,
        "state_bytes": itemsize * (2 * stored + state + scheme.frozen_parameters),
    }


def optimizer_costs(name: str, scheme: Scheme, stored: int) -> tuple[int, int]:
    """Operations of an update, and numbers of state.

    muon: of a hidden matrix whose smaller side is s and larger l, five rounds of three products, 5 (4 s^2 l + 2 s^3).
    """
    optimizer = OPTIMIZERS[name]
    if optimizer.rest is None:
        return optimizer.flops * stored, optimizer.state * stored
    names, rest = hidden_matrices(scheme), OPTIMIZERS[optimizer.rest]
    sides = [sorted(slot.shape) for slot in scheme.weights if slot.name in names]
    inside = sum(small * large for small, large in sides)
    products = sum(5 * (4 * small**2 * large + 2 * small**3) for small, large in sides)
    outside = stored - inside
    return products + optimizer.flops * inside + rest.flops * outside, optimizer.state * inside + rest.state * outside
