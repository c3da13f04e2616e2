"""What is measured inside the nets: a dict of pure functions of a `Probe`, taken on a schedule.

A probe is the state of R runs on the fixed probe batch (the first 256 training samples of the seed's split): forward
and backward pass of the mean loss, before the next update. Each function returns `(R, k)`, k being what the measure is
`over`: every layer, hidden layers, slots, layers or slots that share, or the whole net. A new measure is one function
and one line in MEASURES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from initbench.checks import check_choice
from initbench.config import MeasureConfig
from initbench.model import ACTIVATIONS
from initbench.net import Net
from initbench.sharing import Scheme, Slot

PROBE_SAMPLES = 256


@dataclass(frozen=True)
class Probe:
    """R runs at one step. P probe samples, m = fan_out, n = fan_in; lists have one entry a layer."""

    scheme: Scheme
    activation: str
    stored: Mapping[str, Tensor]  # (R, m, n) and (R, m)
    previous: Mapping[str, Tensor] | None  # before the last update; None at step 0
    zs: Sequence[Tensor]  # preactivations (R, m, P); the last are the logits
    hs: Sequence[Tensor]  # layer inputs (R, n, P); hs[0] is x
    dws: Sequence[Tensor]  # gradient of the mean loss by each layer's use of its weight (R, m, n)
    dbs: Sequence[Tensor]  # and of its bias (R, m)
    dzs: Sequence[Tensor]  # gradient of the mean loss by the preactivations (R, m, P)
    start_outputs: Sequence[Tensor] | None  # layer outputs at step 0; None at step 0
    net: Net | None = None  # how the layers are wired; None: each on the activations of the one before

    @property
    def layers(self) -> range:
        return range(len(self.zs))

    @cached_property
    def outputs(self) -> list[Tensor]:
        """Output of each layer: its activations; the logits for the last. (R, m, P)"""
        return [*self.hs[1:], self.zs[-1]]

    @cached_property
    def weights(self) -> list[Tensor]:
        """Weight that each layer uses, (R, m, n)."""
        return [self.scheme.weight(self.stored, i) for i in self.layers]

    @cached_property
    def grads(self) -> dict[str, Tensor]:
        """Gradient of each stored tensor."""
        return self.scheme.stored_grads(self.dws, self.dbs, self.stored)

    @cached_property
    def use_grads(self) -> list[Tensor]:
        """Gradient of each layer's use of its weight, pulled back to stored space."""
        return [self.scheme.use_grad(g, i, self.stored) for i, g in enumerate(self.dws)]


def norm(x: Tensor) -> Tensor:
    """Frobenius norm of each run's part, (R,)."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def msq(x: Tensor) -> Tensor:
    """Mean square of each run's part, (R,)."""
    return x.square().flatten(1).mean(1)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """Inner product of each run's parts, (R,)."""
    return (x * y).flatten(1).sum(1)


def stack(columns: Sequence[Tensor]) -> Tensor:
    """(R,) each -> (R, k)."""
    return torch.stack(list(columns), dim=1)


def spread(x: Tensor) -> Tensor:
    """Standard deviation over all entries of each run's part (no Bessel correction), (R,)."""
    return x.flatten(1).std(1, correction=0)


def use_grad_cosine(p: Probe) -> Tensor:
    """Cosine of each use's gradient with the sum of the others."""
    total = {s.name: sum((p.use_grads[i] for i in s.layers[1:]), p.use_grads[s.layers[0]]) for s in shared(p.scheme)}
    return stack(
        [cosine(p.use_grads[i], total[p.scheme.weight_slot[i].name] - p.use_grads[i]) for i in shared_layers(p.scheme)]
    )


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Cosine of each run's parts; NaN where one is zero."""
    return dot(x, y) / (norm(x) * norm(y))


def use_grad_alignment(p: Probe) -> Tensor:
    """|sum of uses| / sum of |uses|: 1 if they pull alike, 0 if they cancel."""
    columns = []
    for slot in shared(p.scheme):
        uses = [p.use_grads[i] for i in slot.layers]
        columns.append(norm(torch.stack(uses).sum(0)) / stack([norm(u) for u in uses]).sum(1))
    return stack(columns)


def use_grad_coherence(p: Probe) -> Tensor:
    """sum_{i != j} <g_i, g_j> / sum_{i != j} |g_i||g_j|: 0 independent, 1 aligned."""
    columns = []
    for slot in shared(p.scheme):
        uses = [p.use_grads[i] for i in slot.layers]
        norms = stack([norm(u) for u in uses])
        squares = norms.square().sum(1)
        total = torch.stack(uses).sum(0)
        columns.append((dot(total, total) - squares) / (norms.sum(1).square() - squares))
    return stack(columns)


def update_ratio(p: Probe) -> Tensor | None:
    """|last update| / |weight|; absent at step 0."""
    if p.previous is None:
        return None
    return stack([norm(p.stored[s.name] - p.previous[s.name]) / norm(p.stored[s.name]) for s in p.scheme.weights])


def dead_fraction(p: Probe) -> Tensor | None:
    """Share of units with phi' = 0 on the whole probe; absent for smooth phi."""
    phi = ACTIVATIONS[p.activation]
    if not phi.kinked:
        return None
    columns = []
    for i in p.layers[:-1]:
        dead = (phi.derivative(p.zs[i]) == 0).all(2)
        columns.append(dead.to(p.zs[i].dtype).mean(1))
    return stack(columns) if columns else None


def saturated_fraction(p: Probe) -> Tensor | None:
    """Share of activations within 1% of the range's width from either end; absent if phi is unbounded."""
    bounds = ACTIVATIONS[p.activation].range
    if bounds is None:
        return None
    low, high = bounds
    margin = 0.01 * (high - low)
    return stack([((h < low + margin) | (h > high - margin)).to(h.dtype).flatten(1).mean(1) for h in p.hs[1:]])


def backward_msq(p: Probe) -> Tensor:
    """Mean square of d loss_i / d preactivation; loss_i is one sample's, P times its part of the mean loss."""
    return stack([msq(dz) * dz.shape[2] ** 2 for dz in p.dzs])


def activation_change_msq(p: Probe) -> Tensor | None:
    """Mean square change of each layer's output since step 0 (coordinate check); absent at step 0."""
    if p.start_outputs is None:
        return None
    return stack([msq(h - start) for h, start in zip(p.outputs, p.start_outputs)])


@dataclass(frozen=True)
class Measure:
    """A function of a probe, and what it is over: layer, hidden, slot, bias, shared_layer or shared_slot."""

    function: Callable[[Probe], Tensor | None]
    over: str


MEASURES: dict[str, Measure] = {
    "weight_mean": Measure(lambda p: stack([w.flatten(1).mean(1) for w in p.weights]), "layer"),
    "weight_std": Measure(lambda p: stack([spread(w) for w in p.weights]), "layer"),
    "weight_norm": Measure(lambda p: stack([norm(w) for w in p.weights]), "layer"),
    "bias_norm": Measure(lambda p: stack([norm(p.stored[s.name]) for s in p.scheme.biases]), "bias"),
    "grad_norm": Measure(lambda p: stack([norm(p.grads[s.name]) for s in p.scheme.weights]), "slot"),
    "grad_std": Measure(lambda p: stack([spread(p.grads[s.name]) for s in p.scheme.weights]), "slot"),
    "bias_grad_norm": Measure(lambda p: stack([norm(p.grads[s.name]) for s in p.scheme.biases]), "bias"),
    "use_grad_norm": Measure(lambda p: stack([norm(p.use_grads[i]) for i in shared_layers(p.scheme)]), "shared_layer"),
    "use_grad_cosine": Measure(use_grad_cosine, "shared_layer"),
    "use_grad_alignment": Measure(use_grad_alignment, "shared_slot"),
    "use_grad_coherence": Measure(use_grad_coherence, "shared_slot"),
    "update_ratio": Measure(update_ratio, "slot"),
    "preactivation_msq": Measure(lambda p: stack([msq(z) for z in p.zs]), "layer"),
    "activation_msq": Measure(lambda p: stack([msq(h) for h in p.outputs]), "layer"),
    "activation_mean": Measure(lambda p: stack([h.flatten(1).mean(1) for h in p.outputs]), "layer"),
    "dead_fraction": Measure(dead_fraction, "hidden"),
    "saturated_fraction": Measure(saturated_fraction, "hidden"),
    "backward_msq": Measure(backward_msq, "layer"),
    "activation_change_msq": Measure(activation_change_msq, "layer"),
}
SETS: dict[str, tuple[str, ...]] = {"none": (), "light": tuple(MEASURES)}


def chosen(config: MeasureConfig) -> tuple[str, ...]:
    """Names of the measures that a configuration asks for.

    >>> chosen(MeasureConfig(metrics=["grad_norm"]))
    ('grad_norm',)
    """
    if config.metrics is None:
        check_choice("measure", config.name, tuple(SETS))
        return SETS[config.name]
    for name in config.metrics:
        check_choice("measure.metrics", name, tuple(MEASURES))
    return tuple(dict.fromkeys(config.metrics))


def shared(scheme: Scheme) -> list[Slot]:
    """Weights used by more than one layer."""
    return [slot for slot in scheme.weights if len(slot.layers) > 1]


def shared_layers(scheme: Scheme) -> list[int]:
    """Layers whose weight another layer uses too."""
    return sorted(layer for slot in shared(scheme) for layer in slot.layers)


def axis(name: str, scheme: Scheme) -> list[int]:
    """Layer number of each column of a measure; a slot stands at its first layer."""
    return {
        "layer": lambda: list(range(len(scheme.weight_slot))),
        "hidden": lambda: list(range(len(scheme.weight_slot) - 1)),
        "slot": lambda: [slot.layers[0] for slot in scheme.weights],
        "bias": lambda: [slot.layers[0] for slot in scheme.biases],
        "shared_layer": lambda: shared_layers(scheme),
        "shared_slot": lambda: [slot.layers[0] for slot in shared(scheme)],
    }[MEASURES[name].over]()


def measure(probe: Probe, names: Sequence[str]) -> dict[str, Tensor]:
    """Every asked measure that exists for this net and step: name -> `(R, k)`, k as in `axis`."""
    values = {}
    for name in names:
        if axis(name, probe.scheme):
            value = MEASURES[name].function(probe)
            if value is not None:
                values[name] = value
    return values
