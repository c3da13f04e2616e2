"""The optimizers: what each name is. Their updates are written in engine/optim.py (stacked) and engine/kernel/rules.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Optimizer:
    """Facts of one optimizer of torch.optim.

    `keys`: its own keys in `optim`, besides lr, weight_decay and what all have. `state`: numbers kept for each stored
    parameter. `flops`: operations for each stored parameter at an update. `adaptive`: its update does not grow with the
    gradient, which decides its learning rates under muP. `decoupled`: weight decay apart from the gradient.
    """

    torch: str  # class in torch.optim
    keys: tuple[str, ...] = ()
    state: int = 0
    flops: int = 2
    adaptive: bool = False
    decoupled: bool = False


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer("SGD"),
    "momentum": Optimizer("SGD", ("momentum",), state=1, flops=4),
    "nesterov": Optimizer("SGD", ("momentum",), state=1, flops=6),
    "adam": Optimizer("Adam", ("betas", "eps"), state=2, flops=12, adaptive=True),
    "adamw": Optimizer("AdamW", ("betas", "eps"), state=2, flops=14, adaptive=True, decoupled=True),
    "adagrad": Optimizer("Adagrad", ("eps",), state=1, flops=7, adaptive=True),
    "rmsprop": Optimizer("RMSprop", ("alpha", "eps"), state=1, flops=9, adaptive=True),
}
