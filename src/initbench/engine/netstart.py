"""The start of a seed by an initializer that sees the whole net: one run's plain nn.Module, a batch and the loss.

Such a start may cost seconds, so it is kept: all learning rates of a seed share it, in whatever engine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initbench import rng
from initbench.config.arm import ArmConfig, digest
from initbench.data import Dataset, inputs_of, split, targets_of
from initbench.errors import inapplicable
from initbench.initializers import Initializer, initialize_net, source_hash
from initbench.nets.mlp import torch_function
from initbench.nets.net import Net

BATCH_SAMPLES = 512  # samples of the training part that an initializer sees; all, if fewer
KEPT = 512  # starts kept in a process
MEAN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "squared_error": F.mse_loss,
    "sigmoid_cross_entropy": F.binary_cross_entropy_with_logits,
    "sigmoid_squared_error": lambda logits, y: F.mse_loss(torch.sigmoid(logits), y),
}

_kept: OrderedDict[str, tuple[dict[str, Tensor], float]] = OrderedDict()


class PlainNet(nn.Module):
    """The net of one run as a person would write it: nn.Linear layers in float64; tied ones, also those
    that only start equal, hold one Parameter.

    The gains of residual branches are constants, at their start.
    """

    def __init__(self, wiring: Net) -> None:
        super().__init__()
        scheme = wiring.scheme
        with torch.random.fork_rng():  # nn.Linear draws from the global generator
            made = [nn.Linear(one.fan_in, one.fan_out, bias=bool(scheme.biases)).double() for one in wiring.layers]
        self.layers = nn.ModuleList(made)
        for attribute, slot in scheme.by_attribute:
            parameter = getattr(made[slot.origin], attribute)
            for layer in slot.layers:
                setattr(made[layer], attribute, parameter)
        self.wiring, self.phi = wiring, torch_function(wiring.model.activation)
        self.own = own_start(wiring)

    def forward(self, x: Tensor) -> Tensor:
        own = {name: value[None] for name, value in self.own.items()}
        zs: list[Tensor] = []  # (1, units, B) each
        for index, layer in enumerate(self.layers):
            y = layer(self.phi(zs[-1][0].T) if zs else x)
            zs.append(self.wiring.join(index, y.T[None], zs, own))
        return zs[-1][0].T


def own_start(wiring: Net) -> dict[str, Tensor]:
    """The stored tensors that are no layer's weight or bias, at their start."""
    names = {slot.name for slot in wiring.scheme.own}
    blank = {slot.name: torch.zeros(slot.shape) for slot in wiring.scheme.slots if slot.name not in names}
    return {name: value for name, value in wiring.started(blank).items() if name in names}


def check_net(name: str, wiring: Net) -> None:
    """NotApplicable for nets whose weights at the start are not what the initializer leaves in each layer."""
    scheme = wiring.scheme
    if scheme.formulas or scheme.bias_formulas or scheme.extras or scheme.fills:
        raise inapplicable(
            f"init={name}",
            "it sees the net as it starts, but the sharing computes weights",
            "use sharing=none, or a scheme that ties layers",
        )
    if any(factor != (1.0, 1.0) for factor in wiring.init_factors) or any(f.forward != 1.0 for f in wiring.factors):
        raise inapplicable(
            f"init={name}",
            f"it sets the size of every weight, and {wiring.rule} would change it again",
            f"leave out {wiring.rule}",
        )
    start_of = {layer: slot.origin for slot in scheme.weights for layer in slot.layers}
    for slot in scheme.biases:
        if len({start_of[layer] for layer in slot.layers}) > 1:
            raise inapplicable(
                f"init={name}", f"{slot.name} is shared by layers of different weights", "set sharing.bias=untied"
            )


def net_start(arm: ArmConfig, data: Dataset, wiring: Net, loss: str, seed: int) -> Mapping[str, Tensor]:
    """Every stored tensor of one seed, `(fan_out, fan_in)` and `(fan_out,)` in float64, computed once a process.

    A weight that layers share, or start from, is filled once, as the weight of its first layer. Raises NotApplicable where the
    initializer does not fit net or data.
    """
    return _start(arm, data, wiring, loss, seed)[0]


def start_flops(arm: ArmConfig, data: Dataset, wiring: Net, loss: str, seed: int) -> float:
    """Operations of the passes that the start of one seed took, see initializers/passes.py."""
    return _start(arm, data, wiring, loss, seed)[1]


def _start(arm: ArmConfig, data: Dataset, wiring: Net, loss: str, seed: int) -> tuple[dict[str, Tensor], float]:
    model = {key: value for key, value in asdict(arm.model).items() if key != "dtype"}
    source = source_hash(arm.init.target, arm.init.args)
    key = digest([asdict(arm.init), model, asdict(arm.sharing), data.hash, loss, seed, source])
    if key not in _kept:
        _kept[key] = _computed(arm, data, wiring, loss, seed)
        if len(_kept) > KEPT:
            _kept.popitem(last=False)
    return _kept[key]


def _computed(arm: ArmConfig, data: Dataset, wiring: Net, loss: str, seed: int) -> tuple[dict[str, Tensor], float]:
    check_net(arm.init.name, wiring)
    scheme = wiring.scheme
    first_of_weight = list(dict.fromkeys(slot.origin for slot in scheme.weights))
    net = PlainNet(wiring)
    flops = initialize_net(
        net,
        Initializer.of(arm.init.target, arm.init.args, arm.init.bias, arm.init.name),
        layers=[wiring.layers[index] for index in first_of_weight],
        batch=training_batch(data, loss, seed),
        loss=MEAN_LOSSES[loss],
        generator=rng.stream(seed, "weight", "net"),
        weight_generators=[rng.stream(seed, "weight", index) for index in first_of_weight],
        bias_generators=[rng.stream(seed, "bias", index) for index in first_of_weight],
        targets=partial(training_targets, data, loss, seed),
    )
    found = dict(net.own)
    for attribute, slot in scheme.by_attribute:
        found[slot.name] = getattr(net.layers[slot.layers[0]], attribute).detach()
    return found, flops


def training_batch(data: Dataset, loss: str, seed: int) -> tuple[Tensor, Tensor]:
    """The first samples of a seed's training part, standardized as its split says: inputs (B, n) float64, targets.

    Targets are class numbers (B,), or values (B, k): one-hot for squared error on classes.
    """
    part = split(data, seed)
    chosen = part.train[:BATCH_SAMPLES]
    x = torch.from_numpy(inputs_of(data, part, chosen))
    return x, training_targets(data, loss, seed)[: len(chosen)]


def training_targets(data: Dataset, loss: str, seed: int) -> Tensor:
    """Targets of a seed's training part as the loss takes them: class numbers (N,) or values (N, k) in float64."""
    part = split(data, seed)
    if data.classes is None:
        return torch.from_numpy(targets_of(data, part, part.train))
    y = data.y[part.train]
    return torch.from_numpy(y if loss == "cross_entropy" else np.eye(data.classes)[y])
