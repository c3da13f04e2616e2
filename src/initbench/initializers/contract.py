"""What an initializer promises, as data: the contract written beside each function, and the case it is asked about.

A contract states the law with its own closed form, never by calling the function it is about; `verify.py` compares.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from initbench.config.groups import LayerSpec
from initbench.initializers.gains import activation_name, gain_value

Drawn = Callable[["Case", torch.Tensor, torch.Tensor], bool]
Number = Callable[["Case", torch.Tensor, torch.Tensor], float]


@dataclass(frozen=True)
class Case:
    """One matrix a contract is asked about: its layer and the arguments of the initializer.

    >>> case = Case(LayerSpec(1, 4, fan_in=3, fan_out=5), {"gain": "auto"})
    >>> case.n, case.m, round(case.gain("gain") ** 2, 9)
    (3, 5, 2.0)
    """

    layer: LayerSpec
    args: Mapping[str, Any]

    @property
    def n(self) -> int:
        """fan_in."""
        return self.layer.fan_in

    @property
    def m(self) -> int:
        """fan_out."""
        return self.layer.fan_out

    def __getitem__(self, name: str) -> Any:
        return self.args[name]

    def gain(self, name: str = "gain", param: float | None = None) -> float:
        """A gain argument as a number."""
        return gain_value(self.args[name], self.layer, param)

    def activation(self, name: str) -> str:
        """An activation argument, `auto` resolved."""
        return activation_name(self.args[name], self.layer)


@dataclass(frozen=True)
class Contract:
    """What every drawn matrix, or the law of the draws, must fulfil; absent (None) = nothing is promised.

    Callables take the `Case`; None from one of them means: nothing promised in this case. Those of `checks`
    and `statistics` also take the drawn weight `(fan_out, fan_in)` and bias `(fan_out,)`, in float64.
    """

    promise: str  # in words, for the catalogue
    deterministic: bool = False  # the same values whatever the generator
    law: Callable[[Case], Any] | None = None  # of the entries that are not exact zeros: cdf, mean, var
    independent: str = "all"  # test the law on all entries, on one of each of the `rows`, or on `one` a matrix
    mean: Callable[[Case], float | None] | None = None  # of all entries; where None, from the law
    mean_square: Callable[[Case], float | None] | None = None  # the same
    moments: bool = True  # False: the law's tails are too heavy for a test of its moments
    zeros: Callable[[Case], int | None] | None = None  # exact zeros in each matrix
    zero_share: Callable[[Case], float] | None = None  # probability of a zero
    values: Callable[[Case], np.ndarray | None] | None = None  # the matrix itself
    isometry: Callable[[Case], float | None] | None = None  # g: W^T W = g^2 I (m >= n) or W W^T = g^2 I
    row_norm: Callable[[Case], float] | None = None
    spectral_norm: Callable[[Case], float | None] | None = None
    rank: Callable[[Case], int | None] | None = None
    checks: Mapping[str, Drawn] = field(default_factory=dict)  # words -> predicate on one draw
    statistics: Mapping[str, tuple[Number, Callable[[Case], float | None]]] = field(default_factory=dict)
    # words -> (number from one draw, its expectation)
    fills_bias: bool = False  # the function also fills the bias
    bias_law: Callable[[Case], Any] | None = None  # law of the bias entries
    refuses: Callable[[Case], str | None] | None = None  # words of the message where it must refuse
    variants: Sequence[Mapping[str, Any]] = ()  # arguments to test besides the defaults
    positions: Sequence[str] = ("hidden",)  # of first, hidden, last: where the layer's place matters
    activations: Sequence[str] = ("relu",)  # nets to test in
    tolerance: float = 1e-9  # of the exact statements, relative, float64
    net: Mapping[str, Callable[["NetDraw"], bool]] = field(default_factory=dict)  # about a whole net


@dataclass(frozen=True)
class NetDraw:
    """A net filled by an initializer that sees a whole net: what the statements of `Contract.net` are about."""

    module: nn.Module
    linears: Sequence[nn.Linear]  # in forward order
    before: Sequence[torch.Tensor]  # weights the base left, (fan_out, fan_in) each
    inputs: torch.Tensor  # (samples, features)
    args: Mapping[str, Any]

    def preactivations(self) -> list[torch.Tensor]:
        """Outputs of each linear layer on the inputs, `(samples, fan_out)` each."""
        seen: list[torch.Tensor] = []
        hooks = [layer.register_forward_hook(lambda m, i, out: seen.append(out.detach())) for layer in self.linears]
        with torch.no_grad():
            self.module(self.inputs)
        for hook in hooks:
            hook.remove()
        return seen
