"""What is measured inside the nets: a dict of pure functions of a `Probe`, taken on a schedule.

Each function returns `(R, k)`, k being what the measure is `over`: every layer, hidden layers, layers after the
first, slots, layers or slots that share. A new measure is one function and one line in MEASURES.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from initbench.config.checks import check_choice
from initbench.config.groups import MeasureConfig
from initbench.measure import geometry, signals, uses
from initbench.measure.probe import PROBE_SAMPLES, Probe, mean, msq, norm, shared, shared_layers, spread, stack
from initbench.sharing import Scheme

__all__ = ["MEASURES", "PROBE_SAMPLES", "SETS", "Measure", "Probe", "axis", "chosen", "measure", "shared"]


def update_ratio(p: Probe) -> Tensor | None:
    """|last update| / |weight|; absent at step 0."""
    if p.previous is None:
        return None
    return stack([norm(p.stored[s.name] - p.previous[s.name]) / norm(p.stored[s.name]) for s in p.scheme.weights])


@dataclass(frozen=True)
class Measure:
    """A function of a probe, and what it is over: layer, hidden, later (all but the first), slot, bias, shared_layer
    or shared_slot. `light` measures need no decomposition.
    """

    function: Callable[[Probe], Tensor | None]
    over: str
    light: bool = True


MEASURES: dict[str, Measure] = {
    "weight_mean": Measure(lambda p: stack([mean(w) for w in p.weights]), "layer"),
    "weight_std": Measure(lambda p: stack([spread(w) for w in p.weights]), "layer"),
    "weight_norm": Measure(lambda p: stack([norm(w) for w in p.weights]), "layer"),
    "bias_norm": Measure(lambda p: stack([norm(p.stored[s.name]) for s in p.scheme.biases]), "bias"),
    "weight_spectral_norm": Measure(geometry.weight_spectral_norm, "layer", light=False),
    "weight_stable_rank": Measure(geometry.weight_stable_rank, "layer", light=False),
    "grad_norm": Measure(lambda p: stack([norm(p.grads[s.name]) for s in p.scheme.weights]), "slot"),
    "grad_std": Measure(lambda p: stack([spread(p.grads[s.name]) for s in p.scheme.weights]), "slot"),
    "bias_grad_norm": Measure(lambda p: stack([norm(p.grads[s.name]) for s in p.scheme.biases]), "bias"),
    "use_grad_norm": Measure(uses.use_grad_norm, "shared_layer"),
    "use_grad_cosine": Measure(uses.use_grad_cosine, "shared_layer"),
    "use_grad_alignment": Measure(uses.use_grad_alignment, "shared_slot"),
    "use_grad_coherence": Measure(uses.use_grad_coherence, "shared_slot"),
    "update_ratio": Measure(update_ratio, "slot"),
    "preactivation_msq": Measure(lambda p: stack([msq(z) for z in p.zs]), "layer"),
    "activation_msq": Measure(lambda p: stack([msq(h) for h in p.outputs]), "layer"),
    "activation_mean": Measure(lambda p: stack([mean(h) for h in p.outputs]), "layer"),
    "dead_fraction": Measure(signals.dead_fraction, "hidden"),
    "saturated_fraction": Measure(signals.saturated_fraction, "hidden"),
    "backward_msq": Measure(signals.backward_msq, "layer"),
    "jacobian_sv_mean_square": Measure(geometry.jacobian_sv_mean_square, "later", light=False),
    "jacobian_sv_max": Measure(geometry.jacobian_sv_max, "later", light=False),
    "jacobian_sv_min": Measure(geometry.jacobian_sv_min, "later", light=False),
    "jacobian_sv_square_var": Measure(geometry.jacobian_sv_square_var, "later", light=False),
    "cosine_similarity": Measure(geometry.cosine_similarity, "layer", light=False),
    "preactivation_cosine": Measure(geometry.preactivation_cosine, "layer", light=False),
    "unit_correlation": Measure(geometry.unit_correlation, "layer", light=False),
    "activation_participation_ratio": Measure(geometry.activation_participation_ratio, "layer", light=False),
    "unit_spread": Measure(geometry.unit_spread, "layer", light=False),
    "activation_change_msq": Measure(signals.activation_change_msq, "layer"),
}
SETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "light": tuple(name for name, one in MEASURES.items() if one.light),
    "full": tuple(MEASURES),
}


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


def axis(name: str, scheme: Scheme) -> list[int]:
    """Layer number of each column of a measure; a slot stands at its first layer."""
    return {
        "layer": lambda: list(range(len(scheme.weight_slot))),
        "hidden": lambda: list(range(len(scheme.weight_slot) - 1)),
        "later": lambda: list(range(1, len(scheme.weight_slot))),
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
