"""Bias rules: how the bias `(fan_out,)` of a layer starts, whatever fills its weight.

A rule is given as a name (`zeros`), a number (a constant), or a mapping with arguments (`{rule: normal, std: 1e-6}`).
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from initbench.config.checks import one_of
from initbench.config.groups import LayerSpec
from initbench.errors import refusal, shown
from initbench.initializers._draw import put_

Generator = torch.Generator | None

RULES: dict[str, Callable[..., Tensor]] = {}


def bias_rule(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Register a bias rule `name_(bias, *, layer, generator, targets, <own arguments>)` (each only if named).

    >>> "torch" in RULES
    True
    """
    RULES[function.__name__.strip("_")] = function
    return function


@bias_rule
def zeros_(bias: Tensor) -> Tensor:
    """b = 0, the default of JAX and Keras.

    >>> zeros_(torch.ones(2))
    tensor([0., 0.])
    """
    return put_(bias, torch.zeros_like(bias))


@bias_rule
def constant_(bias: Tensor, *, value: float = 0.0) -> Tensor:
    """b = value: .01 or .1 for ReLU, .5 for tanh (Sutskever et al. 2013).

    >>> constant_(torch.empty(2), value=0.5)
    tensor([0.5000, 0.5000])
    """
    return put_(bias, torch.full_like(bias, value))


@bias_rule
def torch_(bias: Tensor, *, layer: LayerSpec, generator: Generator = None) -> Tensor:
    """b ~ U(+-1/sqrt n), n = fan_in: torch's nn.Linear.

    >>> bool(torch_(torch.empty(9), layer=LayerSpec(0, 1, 4, 9)).abs().max() <= 0.5)
    True
    """
    bound = 1 / math.sqrt(layer.fan_in)
    return put_(bias, torch.empty_like(bias).uniform_(-bound, bound, generator=generator))


@bias_rule
def normal_(bias: Tensor, *, mean: float = 0.0, std: float = 1e-6, generator: Generator = None) -> Tensor:
    """b ~ N(mean, std^2); std 1e-6 is timm's rule for the MLP of a vision transformer.

    >>> bool(normal_(torch.empty(9)).abs().max() < 1e-4)
    True
    """
    return put_(bias, torch.empty_like(bias).normal_(mean, std, generator=generator))


@bias_rule
def uniform_(bias: Tensor, *, a: float = -0.05, b: float = 0.05, generator: Generator = None) -> Tensor:
    """b ~ U(a, b).

    >>> bool(uniform_(torch.empty(9)).abs().max() <= 0.05)
    True
    """
    return put_(bias, torch.empty_like(bias).uniform_(a, b, generator=generator))


@bias_rule
def prior_(bias: Tensor, *, layer: LayerSpec, probability: float = 0.01) -> Tensor:
    """Last layer log(pi/(1-pi)), so that a sigmoid head starts at probability pi (RetinaNet: .01); others 0.

    Not confirmed by the paper's text.

    >>> round(float(prior_(torch.empty(1), layer=LayerSpec(1, 1, 4, 1))), 3)
    -4.595
    """
    if not 0 < probability < 1:
        raise refusal(
            f"init.bias.probability={shown(probability)}", "not allowed", "must be a number above 0 and below 1"
        )
    value = math.log(probability / (1 - probability)) if layer.last else 0.0
    return constant_(bias, value=value)


@bias_rule
def neg_log_classes_(bias: Tensor, *, layer: LayerSpec) -> Tensor:
    """Last layer -log C, C = fan_out, for sigmoid heads (timm's "nlhb"); others 0.

    >>> round(float(neg_log_classes_(torch.empty(10), layer=LayerSpec(1, 1, 4, 10))[0]), 4)
    -2.3026
    """
    return constant_(bias, value=-math.log(bias.numel()) if layer.last else 0.0)


@bias_rule
def class_log_priors_(bias: Tensor, *, layer: LayerSpec, targets: Tensor) -> Tensor:
    """Last layer log of the class frequencies (add-one counts), so that the net starts at the class priors; others 0.

    `targets`: the training labels, whole numbers below fan_out.

    >>> class_log_priors_(torch.empty(2), layer=LayerSpec(1, 1, 4, 2), targets=torch.tensor([0, 0, 1])).exp()
    tensor([0.6000, 0.4000])
    """
    if not layer.last:
        return zeros_(bias)
    if targets.is_floating_point():
        raise refusal(
            "init.bias=class_log_priors",
            "it needs class numbers as targets",
            "use data with classes and train.loss=cross_entropy",
        )
    counts = torch.bincount(targets.long().flatten(), minlength=bias.numel()).to(bias) + 1
    return put_(bias, (counts / counts.sum()).log())


@bias_rule
def target_mean_(bias: Tensor, *, layer: LayerSpec, targets: Tensor) -> Tensor:
    """Last layer the mean of the regression targets `(samples, fan_out)`; others 0 (Sutskever et al. 2013, a table).

    >>> target_mean_(torch.empty(1), layer=LayerSpec(1, 1, 4, 1), targets=torch.tensor([[1.0], [3.0]]))
    tensor([2.])
    """
    if not layer.last:
        return zeros_(bias)
    if not targets.is_floating_point():
        raise refusal("init.bias=target_mean", "it needs values as targets", "use train.loss=squared_error")
    return put_(bias, targets.to(bias).reshape(len(targets), -1).mean(0))


def fill_bias_(
    bias: Tensor,
    rule: str | float | Mapping[str, Any] | None,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    targets: Tensor | Callable[[], Tensor] | None = None,
) -> Tensor:
    """Fill a bias `(fan_out,)` by a rule: a name, a number, or a mapping `{rule: name, <arguments>}`.

    `targets`, or a function that returns them, is needed by class_log_priors and target_mean alone. Raises InputError for an unknown rule or
    argument.

    >>> fill_bias_(torch.empty(2), 0.5, layer=LayerSpec(0, 1, 4, 2))
    tensor([0.5000, 0.5000])
    """
    function, args = parse_rule(rule)
    given = {"layer": layer, "generator": generator, "targets": targets}
    named = inspect.signature(function).parameters
    if "targets" in named and targets is None:
        raise refusal(
            f"init.bias={shown(rule)}",
            "it needs the training targets, which are not known here",
            "choose another rule, e.g. zeros",
        )
    if "targets" in named and callable(targets):
        given["targets"] = targets()
    return function(bias, **{key: value for key, value in given.items() if key in named}, **args)


def parse_rule(rule: str | float | Mapping[str, Any] | None) -> tuple[Callable[..., Tensor], dict[str, Any]]:
    """A bias rule as its function and its arguments; InputError for what is not one.

    >>> parse_rule({"rule": "normal", "std": 0.1})[1]
    {'std': 0.1}
    """
    if rule is None:
        rule = "zeros"
    if isinstance(rule, (int, float)) and not isinstance(rule, bool):
        return constant_, {"value": float(rule)}
    name, args = (rule, {}) if isinstance(rule, str) else _named(rule)
    if name not in RULES:
        raise refusal(f"init.bias={shown(name)}", "not a bias rule", f"must be a number or one of: {', '.join(RULES)}")
    own = own_arguments(RULES[name])
    for key in args:
        if key not in own:
            raise refusal(f"init.bias.{key}", f"{name} has no such argument", one_of(key, own))
    return RULES[name], args


def _named(rule: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(rule, Mapping) or "rule" not in rule:
        raise refusal(
            f"init.bias={shown(rule)}",
            "not a bias rule",
            "must be a number, a rule's name or {rule: NAME, ARGUMENT: VALUE}",
        )
    return str(rule["rule"]), {str(k): v for k, v in rule.items() if k != "rule"}


def own_arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """A bias rule's own keyword arguments and their defaults.

    >>> own_arguments(uniform_)
    {'a': -0.05, 'b': 0.05}
    """
    given = {"bias", "layer", "generator", "targets"}
    parameters = inspect.signature(function).parameters
    return {name: p.default for name, p in parameters.items() if name not in given}
