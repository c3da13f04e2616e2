"""One batch through a live module, and what it shows of the signals in it: `ib.diagnose(net, batch)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from initbench import diagnosis
from initbench.diagnosis import Signals
from initbench.errors import refusal, shown
from initbench.measure.geometry import mean_pair_cosine
from initbench.parameters.naming import check_module, stored_parameters
from initbench.parameters.storage import check_shaped
from initbench.parameters.uses import quiet

# torch's functions, by their names: those that a unit can be dead in, and those with bounds
DYING = ("relu", "relu_", "relu6", "threshold")
MIXING = ("linear", "bilinear", "matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "embedding")  # units are mixed
BOUNDED = {"sigmoid": (0.0, 1.0), "sigmoid_": (0.0, 1.0), "tanh": (-1.0, 1.0), "tanh_": (-1.0, 1.0)}


@dataclass(frozen=True)
class Diagnosis:
    """What one batch shows of a net: whether something is wrong, one `line` that says what, and a `table` with a row for
    each layer, in the order of the forward pass.

    Columns: `layer`, `name`, `shape` of the weight, `forward` and `backward` (root mean square of the layer's output, and of
    the gradient of one sample's loss by it), `dead` and `saturated` (share of units or activations), `flag`.
    """

    trouble: bool
    line: str
    table: pd.DataFrame

    def __repr__(self) -> str:
        shown = self.table.dropna(axis=1, how="all").to_string(index=False, float_format="%.2g", na_rep="")
        return f"{shown}\n{'trouble' if self.trouble else 'diagnosis'}: {self.line}"

    def _repr_html_(self) -> str:
        """For a notebook."""
        table = self.table.dropna(axis=1, how="all").to_html(index=False, float_format="%.2g".__mod__, na_rep="")
        return f"{table}<p><b>{'trouble' if self.trouble else 'diagnosis'}</b>: {self.line}</p>"


@dataclass
class Seen:
    """A call of a layer: its name and weight; its output as a node of the graph, (B, ..., m) of a matrix and (B, m, ...) of
    a kernel; and the shares of the activation that follows."""

    name: str
    weight: Tensor
    output: Tensor
    shares: dict[str, float] = field(default_factory=dict)

    def of(self, x: Tensor) -> Tensor:
        """A tensor like the output as (B, m, positions)."""
        x = x.detach().double()
        wide = x.movedim(-1, 1) if self.weight.dim() == 2 else x
        return wide.reshape(*wide.shape[:2], -1)


def diagnose(net: nn.Module, batch: Any, loss: Callable[[Any, Any], Tensor] | None = None) -> Diagnosis:
    """What is wrong with the signals in a net, on one batch: vanishing, exploding, dead, saturated, all alike.

    A layer is a call of a module with a weight matrix or kernel. Dropout is off, a norm in training mode takes the statistics of
    the batch, and nothing of the net changes: no parameter, no `.grad`, no mode, no running statistics.

    Formula:
        forward_l = sqrt(mean z_l^2), z_l the output of layer l; backward_l = sqrt(mean (dL_i/dz_l)^2), L_i the loss of sample i.

    Args:
        net: any nn.Module.
        batch: inputs (B, ...), or a pair (inputs, targets) as a DataLoader yields it. Class numbers get the cross-entropy, values
            the mean squared error. Without targets the gradient is that of a random projection of the outputs.
        loss: `loss(outputs, targets)`, a mean over samples, in the place of these two.

    Returns:
        `trouble` (whether something is wrong), `line` (what, in one sentence) and `table` (one row per layer). A notebook shows
        them.

    Raises:
        InputError: no module, a pass that calls no such layer, inputs without the batch's axis, or a loss that is no number.

    Examples:
        >>> net = nn.Sequential(*[part for _ in range(20) for part in (nn.Linear(64, 64), nn.Tanh())], nn.Linear(64, 3))
        >>> diagnose(net, (torch.randn(32, 64), torch.randint(3, (32,)))).trouble
        True

    Source:
        Glorot & Bengio 2010, section 3 (saturated and vanishing activations, back-propagated gradients).
    """
    check_module("diagnose", net)
    check_shaped((one.slot, one.tensor) for one in stored_parameters(net))
    x, y = batch if isinstance(batch, (tuple, list)) and len(batch) == 2 else (batch, None)
    if loss is not None and y is None:
        raise refusal("diagnose", "a loss without targets", "give the batch as (inputs, targets)")
    training = [part for part in net.modules() if isinstance(part, _NormBase) and part.training]
    with quiet(net), by_the_batch(training), torch.enable_grad(), observed(net) as seen, Activations(seen):
        outputs = net(x)
        if not seen:
            raise refusal("diagnose", "its forward pass calls no layer with a weight matrix", "give a net with some")
        value, guess = loss_of(outputs, y, loss)
        if not value.requires_grad:
            raise refusal("diagnose", "the net's forward pass keeps no graph", "leave out torch.no_grad() in it")
        grads = torch.autograd.grad(value, [one.output for one in seen], allow_unused=True)
    s = signals(seen, grads, float("nan") if y is None else float(value.detach()), guess)
    trouble, line = diagnosis.diagnose(s)
    return Diagnosis(trouble, line, table(seen, s))


def loss_of(outputs: Any, y: Any, loss: Callable[[Any, Any], Tensor] | None) -> tuple[Tensor, float]:
    """The loss of a batch, and that of the best constant answer (infinite where it is not known)."""
    if loss is not None:
        value = loss(outputs, y)
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
            raise refusal(
                "diagnose", "loss() returned no loss", "return a tensor of one number that depends on the net"
            )
        return value.reshape(()), math.inf
    if not isinstance(outputs, Tensor):
        kind = type(outputs).__name__
        raise refusal(
            "diagnose", f"the net returns a {kind}", "give loss=lambda outputs, targets: ..., with a batch of both"
        )
    if y is None:
        signs = torch.randint(2, outputs.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        return (outputs * signs.to(outputs)).sum() / len(outputs), math.inf
    if not y.is_floating_point():
        if outputs.dim() != y.dim() + 1 or len(outputs) != len(y):
            raise refusal("diagnose", shapes(outputs, y), "give class numbers (B,) for outputs (B, classes), or a loss")
        if y.max() >= outputs.shape[1]:
            wrong = f"class {int(y.max())} of the targets for outputs of {outputs.shape[1]} classes"
            raise refusal("diagnose", wrong, "give class numbers 0, 1, ..., or values as targets.float()")
        return nn.functional.cross_entropy(outputs, y), math.log(max(outputs.shape[1], 2))
    if outputs.shape != y.shape:
        raise refusal("diagnose", shapes(outputs, y), "give targets of the shape of the outputs, or a loss")
    return (outputs - y).square().mean(), float((y - y.mean(0)).square().mean())


def shapes(outputs: Tensor, y: Tensor) -> str:
    """What does not fit."""
    return shown(f"outputs {tuple(outputs.shape)} for {str(y.dtype).removeprefix('torch.')} targets {tuple(y.shape)}")


@contextmanager
def observed(net: nn.Module) -> Iterator[list[Seen]]:
    """Inside: every call of a layer in order; what follows sees a copy, so that a change in place changes nothing here."""
    seen: list[Seen] = []
    names = {id(part): name or "net" for name, part in net.named_modules()}

    def hook(layer: nn.Module, args: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        weight = layer.weight
        assert isinstance(weight, Tensor)
        if output.dim() < weight.dim():
            wrong = f"{names[id(layer)]} gives {tuple(output.shape)}, one sample without the batch's axis"
            raise refusal("diagnose", wrong, "give inputs (B, ...)")
        if not len(output):
            raise refusal("diagnose", "the batch is empty", "give inputs (B, ...) of some samples")
        node = output if output.requires_grad else output.detach().requires_grad_()
        seen.append(Seen(names[id(layer)], weight, node))
        return node.clone()

    layers = [part for part in net.modules() if has_weight(part)]
    hooks = [part.register_forward_hook(hook) for part in layers]
    try:
        yield seen
    finally:
        for one in hooks:
            one.remove()


def has_weight(part: nn.Module) -> bool:
    """A layer: a module whose own `weight` has two axes or more, a parametrized one too.

    >>> has_weight(nn.Conv1d(1, 1, 1)), has_weight(nn.BatchNorm1d(1))
    (True, False)
    """
    weight = getattr(part, "weight", None)
    return isinstance(weight, Tensor) and not is_lazy(weight) and weight.dim() > 1


@contextmanager
def by_the_batch(norms: Sequence[_NormBase]) -> Iterator[None]:
    """Inside: these norms take the statistics of the batch, as in training; their running ones are put back."""
    before = [(one, {name: buffer.clone() for name, buffer in one.named_buffers()}) for one in norms]
    for one in norms:
        one.train()
    try:
        yield
    finally:
        with torch.no_grad():
            for one, buffers in before:
                for name, buffer in one.named_buffers():
                    buffer.copy_(buffers[name])


class Activations(TorchFunctionMode):
    """Inside: each activation function's shares are noted at the layer whose output it is given, through norms, sums and
    whatever else keeps units apart."""

    def __init__(self, seen: list[Seen]) -> None:
        super().__init__()
        self.seen = seen
        self.layer_of: dict[
            int, tuple[int, Tensor]
        ] = {}  # id -> number of the layer, and the tensor, lest its id is given again
        self.known = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if not isinstance(result, Tensor):
            return result
        if len(self.seen) > self.known:  # the copy of a layer's output that its hook just made
            self.known = len(self.seen)
            self.layer_of[id(result)] = self.known - 1, result
            return result
        if name in MIXING or name.startswith("conv"):
            return result
        layers = [self.layer_of[id(one)][0] for one in args if id(one) in self.layer_of]
        last = self.seen[max(layers)] if layers else None
        if last is None or result.shape != last.output.shape:
            return result
        self.layer_of[id(result)] = max(layers), result
        if name in DYING and len(result) > 1:  # on one sample half of all units are off
            dead = (last.of(result).amax((0, 2)) <= 0).double().mean()
            last.shares.setdefault("dead_fraction", float(dead))
        elif name in BOUNDED:
            low, high = BOUNDED[name]
            h, margin = last.of(result), 0.01 * (high - low)
            at_end = ((h < low + margin) | (h > high - margin)).double().mean()
            last.shares.setdefault("saturated_fraction", float(at_end))
        return result


def signals(seen: Sequence[Seen], grads: Sequence[Tensor | None], loss: float, guess: float) -> Signals:
    """The measures of the layers, as of one seed."""
    zs = [one.of(one.output) for one in seen]
    dzs = [torch.zeros_like(z) if g is None else one.of(g) for one, z, g in zip(seen, zs, grads)]
    columns: dict[str, dict[int, float]] = {
        "preactivation_msq": dict(enumerate(float(z.square().mean()) for z in zs)),
        "backward_msq": dict(enumerate(float(dz.square().mean()) * len(dz) ** 2 for dz in dzs)),
        "unit_spread": dict(enumerate(map(spread, zs))),
        "preactivation_cosine": dict(enumerate(float(mean_pair_cosine(z.flatten(1).T[None])) for z in zs)),
    }
    for name in ("dead_fraction", "saturated_fraction"):
        columns[name] = {i: one.shares[name] for i, one in enumerate(seen) if name in one.shares}
    found = {name: values for name, values in columns.items() if values}
    return Signals(
        values={name: np.array([list(values.values())]) for name, values in found.items()},
        layers={name: tuple(values) for name, values in found.items()},
        loss=np.array([] if math.isnan(loss) else [loss]),
        guess=guess,
    )


def spread(z: Tensor) -> float:
    """Largest difference between two units on one sample, over the layer's largest output; NaN where all are 0, or where
    there is one unit.

    >>> spread(torch.tensor([[[1.0], [1.0]], [[2.0], [2.0]]]))
    0.0
    """
    if z.shape[1] < 2:
        return math.nan
    return float((z.amax(1) - z.amin(1)).amax() / z.abs().amax())


def table(seen: Sequence[Seen], s: Signals) -> pd.DataFrame:
    """One row per layer."""
    forward, backward = s.size("preactivation_msq"), s.size("backward_msq")
    rows = [
        {
            "layer": i,
            "name": one.name,
            "shape": "x".join(map(str, one.weight.shape)),
            "forward": forward[i],
            "backward": backward[i],
            "dead": one.shares.get("dead_fraction", math.nan),
            "saturated": one.shares.get("saturated_fraction", math.nan),
            "flag": diagnosis.flags(s, i),
        }
        for i, one in enumerate(seen)
    ]
    return pd.DataFrame(rows)
