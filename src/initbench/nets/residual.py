"""The residual MLP: a linear stem, branches of `model.branch` layers with a skip connection, and a linear head.

    u = W_0 x + b_0;   u <- s u + c g F(u),  F(u) = W_k phi(... W_1 phi(u));   logits = W phi(u) + b

s and c are fixed, g is a stored gain of the branch; every rule is a choice of s, c, g and of how weights start. What phi
sees after a layer is that layer's preactivation z: of a branch's last layer, the stream u after the addition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from initbench.config.groups import LayerSpec, ModelConfig
from initbench.errors import inapplicable
from initbench.sharing import Slot

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Branch:
    """Layers first..last around which the stream skips: z_last = skip z_{first-1} + scale gain (W_last h + b)."""

    first: int
    last: int
    skip: float = 1.0
    scale: float = 1.0
    gain: str | None = None  # stored gain, (R, 1) or (R, units)
    shifts: tuple[str, ...] = ()  # stored scalars added before each matrix of the branch, (R, 1)


Blocks = Sequence[tuple[str, ...]]  # of each branch, the stored weights of its layers


def undivided(blocks: Blocks) -> list[float]:
    """Branches as they are."""
    return [1.0] * len(blocks)


def sqrt_depth(blocks: Blocks) -> list[float]:
    """The square root of the number of branches."""
    return [math.sqrt(len(blocks))] * len(blocks)


def depth(blocks: Blocks) -> list[float]:
    """The number of branches."""
    return [float(len(blocks))] * len(blocks)


def loops(blocks: Blocks) -> list[float]:
    """N sqrt L: of L different blocks, this one used N times.

    NotApplicable where two blocks share some of their weights: they are neither one nor two.

    >>> loops([("a",), ("b",), ("a",), ("b",)])[0] == 2 * 2**0.5
    True
    """
    different = list(dict.fromkeys(blocks))
    for i, one in enumerate(different):
        for two in different[:i]:
            if set(one) & set(two):
                raise inapplicable(
                    "model.residual=looped",
                    f"branches {blocks.index(two)} and {blocks.index(one)} share some of their weights, not all",
                    "let whole branches share, e.g. sharing=all, or sharing=cycle with sharing.slots=model.branch",
                )
    return [blocks.count(block) * math.sqrt(len(different)) for block in blocks]


@dataclass(frozen=True)
class Rule:
    """What a residual rule fixes. `gain` and `gain_start`: one learned number per branch, or per unit."""

    skip: float = 1.0
    scale: float = 1.0
    over: Callable[[Blocks], list[float]] = undivided  # what each branch is divided by
    gain: str | None = None  # None | scalar | unit
    gain_start: float = 1.0
    shifts: bool = False
    fixup: bool = False
    end: float = 1.0  # factor of a branch's last matrix at the start


RULES: dict[str, Rule] = {
    "none": Rule(skip=0.0),  # no skip connection: the plain MLP in the same setting
    "plain": Rule(),  # u + F(u)
    "inv_sqrt2": Rule(skip=math.sqrt(0.5), scale=math.sqrt(0.5)),  # (u + F(u)) / sqrt 2
    "inv_sqrt_depth": Rule(over=sqrt_depth),  # u + F(u) / sqrt(branches)
    "inv_depth": Rule(over=depth),  # u + F(u) / branches (CompleteP, Dey et al. 2025)
    "looped": Rule(over=loops),  # u + lambda F(u) / (N sqrt L): L different blocks, this one used N times (2606.18524)
    "indegree": Rule(end=math.sqrt(0.5)),  # u + F(u), a sum of two: the matrix into it starts at 1/sqrt 2 (Chen 2024)
    "skipinit": Rule(gain="scalar", gain_start=0.0),  # u + alpha F(u), alpha = 0 (De & Smith 2020)
    "rezero": Rule(gain="scalar", gain_start=0.0),  # the same in an MLP (Bachlechner et al. 2020)
    "zero_gamma": Rule(gain="unit", gain_start=0.0),  # a gain a unit, 0: the norm's zero gamma, without the norm
    "fixup": Rule(gain="scalar", shifts=True, fixup=True),  # Zhang et al. 2019
}


def branches(model: ModelConfig, weight_slot: Sequence[Slot] = ()) -> tuple[Branch, ...]:
    """The branches of a model; none for the plain MLP. `weight_slot`: the stored weight of each layer; without them each
    layer has its own.

    >>> [(b.first, b.last) for b in branches(ModelConfig("residual_mlp", depth=5, residual="plain"))]
    [(1, 2), (3, 4)]
    """
    if model.residual is None:
        return ()
    rule, k = RULES[model.residual], model.branch
    firsts = range(1, model.depth, k)
    stored = [slot.name for slot in weight_slot] or [str(layer) for layer in range(model.depth)]
    divisors = rule.over([tuple(stored[first : first + k]) for first in firsts])
    scale = rule.scale * (model.residual_scale if model.residual == "looped" else 1.0)
    return tuple(
        Branch(
            first,
            first + k - 1,
            rule.skip,
            scale / divisor,
            gain=f"gain_{first + k - 1:02d}" if rule.gain else None,
            shifts=tuple(f"shift_{layer:02d}" for layer in range(first, first + k)) if rule.shifts else (),
        )
        for first, divisor in zip(firsts, divisors)
    )


def slots(model: ModelConfig) -> tuple[Slot, ...]:
    """Stored tensors of the model itself: gains and shifts."""
    found: list[Slot] = []
    for b in branches(model):
        width = model.widths[0] if model.residual and RULES[model.residual].gain == "unit" else 1
        found += [Slot(b.gain, (width,), (b.last,))] if b.gain else []
        found += [Slot(name, (1,), (b.first + i,)) for i, name in enumerate(b.shifts)]
    return tuple(found)


def starts(model: ModelConfig) -> dict[str, float]:
    """The number that every entry of a model's own slot starts at."""
    gain = RULES[model.residual].gain_start if model.residual else 0.0
    return {slot.name: gain if slot.name.startswith("gain") else 0.0 for slot in slots(model)}


def init_factors(model: ModelConfig, layers: Sequence[LayerSpec]) -> tuple[tuple[float, float], ...]:
    """Factor of each layer's weight and bias at the start.

    indegree: a branch's last matrix 1/sqrt 2. fixup: L branches of k matrices: all but a branch's last times
    L^(-1/(2k-2)), the last and the head 0, biases 0.

    >>> model = ModelConfig("residual_mlp", depth=9, residual="fixup")
    >>> [weight for weight, _ in init_factors(model, model.layers(3, 2))]
    [1.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.5, 0.0, 0.0]
    """
    found, rule = branches(model), RULES[model.residual or "none"]
    ends = {b.last for b in found}
    if not rule.fixup:
        return tuple((rule.end if layer.index in ends else 1.0, 1.0) for layer in layers)
    inner = len(found) ** (-1 / (2 * model.branch - 2)) if found and model.branch > 1 else 1.0
    inside = {layer for b in found for layer in range(b.first, b.last)}
    zero_bias = inside | ends | {len(layers) - 1}
    return tuple(
        (
            0.0 if layer.index in ends or layer.last else inner if layer.index in inside else 1.0,
            0.0 if layer.index in zero_bias else 1.0,
        )
        for layer in layers
    )


@dataclass(frozen=True)
class Trace:
    """A forward pass: preactivations zs (R, m, B), layer inputs hs (R, n, B), activations phis before any shift, and
    each layer's own product ys = W h + b, with what is injected."""

    zs: list[Tensor]
    hs: list[Tensor]
    phis: list[Tensor]
    ys: list[Tensor]


def forward(
    found: Sequence[Branch],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    own: Mapping[str, Tensor],
    x: Tensor,
    activation: str,
    injected: Mapping[int, Tensor] | None = None,
) -> Trace:
    """The residual net on x (R, n, B); `own` are the stored gains and shifts, `injected` (R, m, B) part of some y."""
    from initbench.nets.mlp import affine, phi_of

    phi = phi_of(activation)
    ends = {b.last: b for b in found}
    shift = {b.first + i: name for b in found for i, name in enumerate(b.shifts)}
    trace = Trace([], [], [], [])
    for i, (w, b) in enumerate(zip(weights, biases)):
        value = phi(trace.zs[-1]) if i else x
        h = value + own[shift[i]].unsqueeze(2) if i in shift else value
        y = affine(w, b, h)
        if injected and i in injected:
            y = y.add_(injected[i])
        z = join(ends[i], y, trace.zs[ends[i].first - 1], own) if i in ends else y
        for values, one in ((trace.phis, value), (trace.hs, h), (trace.ys, y), (trace.zs, z)):
            values.append(one)
    return trace


def join(end: Branch, y: Tensor, stream: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """skip stream + scale gain y, (R, m, B) each: the stream after a branch. Linear, so it joins tangents too."""
    z = y if end.gain is None else y * own[end.gain].unsqueeze(2)
    z = z if end.scale == 1.0 else z * end.scale
    if end.skip == 0.0:
        return z
    return z + (stream if end.skip == 1.0 else stream * end.skip)


def pull_back(
    found: Sequence[Branch],
    weights: Sequence[Tensor],
    own: Mapping[str, Tensor],
    trace: Trace,
    dlogits: Tensor,
    activation: str,
    grads: dict[str, Tensor],
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Layers from the last to the first, each with the gradients by its preactivation z and by its own product
    y = W h + b, (R, m, B); a layer's weight may be changed when these come. The gradients of the model's own stored
    tensors are put into `grads`.
    """
    import torch

    from initbench.nets.mlp import ACTIVATIONS

    pull = ACTIVATIONS[activation].pull
    ends = {b.last: b for b in found}
    shift = {b.first + i: name for b in found for i, name in enumerate(b.shifts)}
    skipped: dict[int, Tensor] = {}  # what a skip connection adds to the gradient of an earlier stream
    dz = dlogits
    for i in range(len(weights) - 1, -1, -1):
        dy = dz
        if i in ends:
            end = ends[i]
            if end.skip != 0.0:
                skipped[end.first - 1] = dy if end.skip == 1.0 else dy * end.skip
            dy = dy if end.scale == 1.0 else dy * end.scale
            if end.gain is not None:
                product = dy * trace.ys[i]
                unit = own[end.gain].shape[1] > 1
                grads[end.gain] = product.sum(2) if unit else product.flatten(1).sum(1, keepdim=True)
                dy = dy * own[end.gain].unsqueeze(2)
        if not i:
            yield i, dz, dy
            return
        dh = torch.bmm(weights[i].transpose(1, 2), dy)
        yield i, dz, dy
        if i in shift:
            grads[shift[i]] = dh.flatten(1).sum(1, keepdim=True)
        dz = pull(dh, trace.zs[i - 1], trace.phis[i])
        if i - 1 in skipped:
            dz = dz + skipped.pop(i - 1)
