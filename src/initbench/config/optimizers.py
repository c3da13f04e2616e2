"""The optimizers: what each name is.

Their updates are written twice, stacked (engine/optim.py) and compiled (engine/kernel/rules.py); the oracle takes
those of torch.optim.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from initbench.disk import conf_folder

AUTO = "auto"  # optim.lr=auto


@dataclass(frozen=True)
class Optimizer:
    """Facts of one optimizer.

    `torch`: dotted name of its class for single modules: torch.optim's, or one of engine/steppers.py where torch has none.
    `keys`: its own keys in `optim`, besides lr, weight_decay and what all have. `state`: numbers kept for each stored
    parameter. `flops`: operations for each stored parameter at an update. `adaptive`: its update does not grow with the
    gradient, which decides its learning rates under muP. `decoupled`: weight decay apart from the gradient. `rest`: the
    optimizer of what is no hidden matrix, where its own rule is for those alone. `compiled`: whether the kernel has it.
    """

    torch: str
    keys: tuple[str, ...] = ()
    state: int = 0
    flops: int = 2
    adaptive: bool = False
    decoupled: bool = False
    rest: str | None = None
    compiled: bool = True


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer("torch.optim.SGD"),
    "momentum": Optimizer("torch.optim.SGD", ("momentum",), state=1, flops=4),
    "nesterov": Optimizer("torch.optim.SGD", ("momentum",), state=1, flops=6),
    "adam": Optimizer("torch.optim.Adam", ("betas", "eps"), state=2, flops=12, adaptive=True),
    "adamw": Optimizer("torch.optim.AdamW", ("betas", "eps"), state=2, flops=14, adaptive=True, decoupled=True),
    "adagrad": Optimizer("torch.optim.Adagrad", ("eps",), state=1, flops=7, adaptive=True),
    "rmsprop": Optimizer("torch.optim.RMSprop", ("alpha", "eps"), state=1, flops=9, adaptive=True),
    "lion": Optimizer("initbench.engine.steppers.Lion", ("betas",), state=1, flops=10, adaptive=True, decoupled=True),
    "muon": Optimizer(
        "initbench.engine.steppers.MuonWithAdamW",
        ("momentum", "betas", "eps", "rest_lr"),
        state=1,
        flops=10,
        adaptive=True,
        decoupled=True,
        rest="adamw",
        compiled=False,
    ),
}


@cache
def usual_rates(name: str) -> tuple[float, ...]:
    """The learning rates of an optimizer's option file, ascending: its usual range.

    >>> usual_rates("adam")
    (0.0003, 0.001, 0.003, 0.01, 0.03)
    """
    import yaml

    option = yaml.safe_load((conf_folder() / "optim" / f"{name}.yaml").read_text(encoding="utf-8"))
    return tuple(sorted(float(rate) for rate in option["lr"]))
