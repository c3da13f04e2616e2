"""What is measured inside the nets: a dict of pure functions of a `Probe`, taken on a schedule. Gradients are of the mean
loss on the probe, not on the training batch.

Each function returns `(R, k)`, k being what the measure is `over`: every layer, hidden layers, layers after the
first, slots, layers or slots that share, modes of the data; or `(R,)` where it is one number a run. A new measure is one
function, one line in MEASURES and one in docs/measures.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from initbench.config.checks import check_choice
from initbench.config.groups import MeasureConfig
from initbench.measure import geometry, linear, signals, uses
from initbench.measure.probe import (
    PROBE_SAMPLES,
    Probe,
    Start,
    dot,
    mean,
    msq,
    norm,
    shared,
    shared_layers,
    spread,
    stack,
)
from initbench.sharing import Scheme

__all__ = ["MEASURES", "PROBE_SAMPLES", "SETS", "Measure", "Probe", "Start", "axis", "chosen", "measure", "shared"]


def update_ratio(p: Probe) -> Tensor | None:
    """|last update| / |weight|; absent at step 0."""
    if p.previous is None:
        return None
    return stack([norm(p.stored[s.name] - p.previous[s.name]) / norm(p.stored[s.name]) for s in p.scheme.weights])


def distance_from_start(p: Probe) -> Tensor | None:
    """|W_t - W_0| / |W_0| of each layer's weight; absent at step 0, NaN for a weight that starts at 0."""
    if p.start is None:
        return None
    return stack([norm(w - start) / norm(start) for w, start in zip(p.weights, p.weights_of(p.start.stored))])


def sharpness(p: Probe) -> Tensor | None:
    """Largest eigenvalue of the Hessian of the probe's loss by what is trained."""
    return None if p.point is None else p.point.sharpness


def step_sharpness(p: Probe) -> Tensor | None:
    """Learning rate times sharpness over 2: above 1 a step of plain gradient descent overshoots in that direction."""
    return None if p.point is None or p.lr is None else p.lr * p.point.sharpness / 2


def gradient_noise_scale(p: Probe) -> Tensor | None:
    """tr(Cov of the samples' gradients) / |mean gradient|^2 on the probe (no Bessel correction)."""
    return None if p.point is None else p.point.noise_scale


def kernel_change(p: Probe) -> Tensor | None:
    """|K_t - K_0| / |K_0| of the tangent kernel on the first 8 probe samples; absent at step 0."""
    if p.point is None or p.start is None or p.point.kernels is None:
        return None
    before = replace(p.point, stored=p.start.stored).kernels
    return None if before is None else norm(p.point.kernels - before) / norm(before)


@dataclass(frozen=True)
class Measure:
    """A function of a probe, and what it is over: layer, hidden, later (all but the first), slot, bias, shared_layer,
    shared_slot, mode or run. `light` measures need no decomposition.
    """

    function: Callable[[Probe], Tensor | None]
    over: str
    light: bool = True


def rows(over: str, *functions: Callable[[Probe], Tensor | None], light: bool = True) -> dict[str, Measure]:
    """Measures that are called as their functions."""
    return {function.__name__: Measure(function, over, light) for function in functions}


MEASURES: dict[str, Measure] = {
    "weight_mean": Measure(lambda p: stack([mean(w) for w in p.weights]), "layer"),
    "weight_std": Measure(lambda p: stack([spread(w) for w in p.weights]), "layer"),
    "weight_norm": Measure(lambda p: stack([norm(w) for w in p.weights]), "layer"),
    "bias_norm": Measure(lambda p: stack([norm(p.stored[s.name]) for s in p.scheme.biases]), "bias"),
    **rows("layer", geometry.weight_spectral_norm, geometry.weight_stable_rank, light=False),
    "grad_norm": Measure(lambda p: stack([norm(p.grads[s.name]) for s in p.scheme.weights]), "slot"),
    "grad_std": Measure(lambda p: stack([spread(p.grads[s.name]) for s in p.scheme.weights]), "slot"),
    "bias_grad_norm": Measure(lambda p: stack([norm(p.grads[s.name]) for s in p.scheme.biases]), "bias"),
    **rows("shared_layer", uses.use_grad_norm, uses.use_grad_cosine),
    **rows("shared_slot", uses.use_grad_alignment, uses.use_grad_coherence),
    **rows("slot", update_ratio),
    "preactivation_msq": Measure(lambda p: stack([msq(z) for z in p.zs]), "layer"),
    "activation_msq": Measure(lambda p: stack([msq(h) for h in p.outputs]), "layer"),
    "activation_mean": Measure(lambda p: stack([mean(h) for h in p.outputs]), "layer"),
    **rows("hidden", signals.dead_fraction, signals.saturated_fraction),
    **rows("layer", signals.backward_msq),
    **rows("later", geometry.jacobian_sv_mean_square, geometry.jacobian_sv_max, light=False),
    **rows("later", geometry.jacobian_sv_min, geometry.jacobian_sv_square_var, light=False),
    **rows("layer", geometry.cosine_similarity, geometry.preactivation_cosine, geometry.unit_correlation, light=False),
    **rows("layer", geometry.activation_participation_ratio, geometry.unit_spread, light=False),
    **rows("layer", signals.activation_change_msq),
    **rows("layer", distance_from_start, light=False),
    "weight_grad_product": Measure(
        lambda p: stack([dot(p.stored[s.name], p.grads[s.name]) for s in p.scheme.weights]), "slot", light=False
    ),
    **rows("layer", geometry.weight_sv_min, geometry.weight_condition, light=False),
    "preactivation_msq_std": Measure(lambda p: stack([signals.sample_std(z) for z in p.zs]), "layer", light=False),
    "activation_msq_std": Measure(lambda p: stack([signals.sample_std(h) for h in p.outputs]), "layer", light=False),
    "preactivation_msq_first": Measure(
        lambda p: stack([signals.by_sample(z[:, :, :1])[:, 0] for z in p.zs]), "layer", light=False
    ),
    "activation_msq_first": Measure(
        lambda p: stack([signals.by_sample(h[:, :, :1])[:, 0] for h in p.outputs]), "layer", light=False
    ),
    **rows("later", geometry.jacobian_sv_median, light=False),
    **rows("layer", geometry.input_jacobian_sv_mean_square, geometry.input_jacobian_sv_max, light=False),
    **rows("layer", geometry.input_jacobian_sv_median, geometry.input_jacobian_sv_min, light=False),
    **rows("run", linear.product_eigenvalue_max, linear.product_eigenvalue_min, light=False),
    **rows("mode", linear.mode_strength, light=False),
    **rows("run", sharpness, step_sharpness, gradient_noise_scale, kernel_change, light=False),
}
LANDSCAPE = ("sharpness", "step_sharpness", "gradient_noise_scale", "kernel_change")  # ten times as dear as the rest
SETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "light": tuple(name for name, one in MEASURES.items() if one.light),
    "full": tuple(name for name in MEASURES if name not in LANDSCAPE),
    "landscape": LANDSCAPE,
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


def axis(name: str, scheme: Scheme) -> list[int] | None:
    """Layer number of each column of a measure; a slot stands at its first layer, a mode at its own number from 0 on. None
    for one number a run."""
    if MEASURES[name].over == "run":
        return None
    return {
        "mode": lambda: list(range(min(scheme.shapes[-1][0], scheme.shapes[0][1]))),
        "layer": lambda: list(range(len(scheme.weight_slot))),
        "hidden": lambda: list(range(len(scheme.weight_slot) - 1)),
        "later": lambda: list(range(1, len(scheme.weight_slot))),
        "slot": lambda: [slot.layers[0] for slot in scheme.weights],
        "bias": lambda: [slot.layers[0] for slot in scheme.biases],
        "shared_layer": lambda: shared_layers(scheme),
        "shared_slot": lambda: [slot.layers[0] for slot in shared(scheme)],
    }[MEASURES[name].over]()


def measure(probe: Probe, names: Sequence[str]) -> dict[str, Tensor]:
    """Every asked measure that exists for this net and step: name -> `(R, k)`, k as in `axis`, or `(R,)`."""
    values = {}
    for name in names:
        if axis(name, probe.scheme) != []:
            value = MEASURES[name].function(probe)
            if value is not None:
                values[name] = value
    return values
