"""From a name in the configuration to a filled weight: find the function, check its arguments, call it."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from initbench.config.checks import one_of
from initbench.config.groups import LayerSpec
from initbench.errors import InputError, inapplicable, refusal, shown
from initbench.initializers.bias import fill_bias_
from initbench.initializers.registry import REGISTRY, entry_of
from initbench.own import plugins
from initbench.own.code import defined_at, failed, guarded

_signature = cache(inspect.signature)  # read some thousand times a study

Generator = torch.Generator | None
Target = str | Callable[..., Any]

RESERVED = ("weight", "module", "generator", "generators", "bias", "layer", "layers", "batch", "loss")
RESERVED_KEYS = ("name", "_target_", "bias", "relative")  # of an option file
ALLOWED = "must be an option of conf/init or module.function in the current folder"


def resolve(target: str) -> Callable[..., Any]:
    """The function of a dotted path, or of a name of the catalogue; an InputError in one line if there is none.

    Your own module is looked for in the current folder too.

    >>> resolve("initbench.initializers.xavier_normal_") is resolve("xavier_normal")
    True
    """
    if target in REGISTRY:
        return REGISTRY[target].function
    if target in plugins.installed(plugins.INITIALIZERS):
        return plugins.load(plugins.INITIALIZERS, target)
    known = [] if "." in target else [*REGISTRY, *plugins.installed(plugins.INITIALIZERS)]
    near = get_close_matches(target, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return plugins.imported("init", target, hint + ALLOWED)


def options(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's own keyword arguments and their defaults: what an option file may set.

    The tensor (its first parameter), generator, bias, layer and the like are the engine's. An argument
    without a default has the value `inspect.Parameter.empty`.

    >>> options(resolve("xavier_normal"))
    {'gain': 1.0}
    """
    try:
        parameters = list(_signature(function).parameters.values())
    except (TypeError, ValueError):
        raise refusal(
            f"init={shown(repr(function))}", "its arguments cannot be read", "write a small function around it"
        ) from None
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    own = [p for p in parameters[1:] if p.name not in RESERVED and p.kind not in variable]
    return {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in own}


def check_args(function: Callable[..., Any], args: Mapping[str, Any], name: str | None = None) -> None:
    """Raise InputError if an argument is not one of the function's own, or one without a default is missing.

    >>> check_args(resolve("eye"), {"gain": 2})
    Traceback (most recent call last):
    initbench.errors.InputError: init.gain: eye has no such argument; leave it out, none is allowed
    """
    own = options(function)
    if "relative" in own:
        do = "give the argument another name"
        raise refusal("init.relative", "it is the scale of the first and last layer, not an argument of yours", do)
    name = name or getattr(function, "__name__", repr(function)).removesuffix("_")
    kinds = [p.kind for p in _signature(function).parameters.values()]
    for key in args:
        if key not in own and inspect.Parameter.VAR_KEYWORD not in kinds:
            raise refusal(f"init.{key}", f"{name} has no such argument", one_of(key, own))
    for key, default in own.items():
        if default is inspect.Parameter.empty and key not in args:
            do = f"add init.{key}=VALUE (only arguments called generator, bias and layer are passed to it)"
            raise refusal(f"init.{key}", f"{name} needs it", do)


@cache
def names(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a function's signature names this parameter.

    >>> names(resolve("xavier_normal"), "bias")
    False
    """
    return parameter in _signature(function).parameters


@cache
def catalogued_here(function: Callable[..., Any]) -> bool:
    """Whether a function is an entry of the catalogue.

    >>> catalogued_here(resolve("eye")), catalogued_here(print)
    (True, False)
    """
    return entry_of(function) is not None


def call_(
    function: Callable[..., Any],
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    args: Mapping[str, Any],
    layer: LayerSpec | None,
    generator: Generator,
    edit: bool = False,
) -> Tensor:
    """Fill `weight` (fan_out, fan_in) by a function, which gets `generator`, `bias`, `layer` only if it names them.

    A function from outside the catalogue fills a tensor of NaN in the weight's place, so that what it leaves unfilled
    is seen; with `edit` it gets a copy of what is there. It may draw from the global generators: they are seeded by `generator` for the call, so its numbers repeat. If it returns a tensor of
    the weight's shape instead of filling in place, that is taken. Raises InputError for anything else.

    >>> call_(resolve("ones"), torch.empty(1, 2), args={}, layer=None, generator=None)
    tensor([[1., 1.]])
    """
    given = {"generator": generator, "bias": bias, "layer": layer}
    passed = {key: value for key, value in given.items() if names(function, key)}
    if catalogued_here(function):
        return function(weight, **passed, **args)
    what = f"init={called(function)}"
    blank = weight.detach().clone() if edit else torch.full_like(weight.detach(), math.nan)
    own_bias = bias.detach().clone() if bias is not None and "bias" in passed else None  # as its rule left it
    if own_bias is not None:
        passed["bias"] = own_bias
    untouched = blank._version
    seed = generator.initial_seed() if generator is not None else 0
    with torch.no_grad():
        with guarded(what, seed=seed):
            result = function(blank, **passed, **args)
        values = _filled(function, result, blank, weight, blank_first=not edit)
        if edit and result is None and blank._version == untouched and torch.equal(blank, weight):
            raise _broken(function, "it changed nothing", "change the tensor in place, or return one")
        if own_bias is not None and bias is not None:
            bias.copy_(_filled(function, None, own_bias, bias, "bias"))
        return weight.copy_(values)


def called(function: Callable[..., Any]) -> str:
    """Name of a function, also of a partial one or a callable object."""
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _broken(function: Callable[..., Any], wrong: str, do: str) -> InputError:
    return failed(f"init={called(function)}", wrong + defined_at(function), do)


def _filled(
    function: Callable[..., Any],
    result: Any,
    blank: Tensor,
    like: Tensor,
    part: str = "weight",
    blank_first: bool = False,
) -> Tensor:
    """What a function left in `blank`, or the tensor that it returned; OwnCodeFailed where that is no such weight."""
    if result is not None and not isinstance(result, Tensor):
        if inspect.isgenerator(result) or inspect.iscoroutine(result) or inspect.isasyncgen(result):
            getattr(result, "close", lambda: None)()
            raise _broken(
                function, "it is a generator or async function, so calling it runs nothing", "write a plain one"
            )
        raise _broken(
            function, f"it returned a {type(result).__name__}", "fill the weight in place, or return a tensor"
        )
    values = blank if result is None else result
    shapes = f"for a {part} of shape {tuple(like.shape)}" + (" (fan_out, fan_in)" if like.ndim == 2 else "")
    if values.shape != like.shape:
        did = "returned" if values is not blank else "left"
        raise _broken(function, f"it {did} shape {tuple(values.shape)} {shapes}", "keep the shape of the weight")
    if values.is_complex() or values.layout is not torch.strided or values.is_meta:
        raise _broken(
            function,
            f"it gave a {values.layout} tensor of {values.dtype} on {values.device} {shapes}",
            "return a dense tensor of real numbers",
        )
    if values is blank and values.dtype != like.dtype:
        left, needed = (str(one.dtype).removeprefix("torch.") for one in (values, like))
        do = f"write {part}.copy_(...), or end in .to({part}.dtype)"
        raise _broken(function, f"it left {left} {shapes}, which is {needed} while it is drawn", do)
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        wrong = int((~finite).sum())
        raise _broken(
            function,
            f"it left NaN or infinity in {wrong} of {values.numel()} entries {shapes}",
            "write every entry, and read none first: the weight holds NaN before the call"
            if blank_first
            else "write finite numbers",
        )
    return values


def initialize(
    weight: Tensor,
    bias: Tensor | None,
    *,
    function_or_target: Target,
    args: Mapping[str, Any] | None = None,
    bias_rule: Any = "zeros",
    **given: Any,
) -> None:
    """Fill the weight `(fan_out, fan_in)` and bias `(fan_out,)` (or None) of one layer of one run, in place; `given` as
    `Initializer.start_` takes it.

    >>> w, b = torch.empty(1, 2), torch.empty(1)
    >>> initialize(w, b, function_or_target="eye", bias_rule=0.5, layer=LayerSpec(0, 1, 2, 1), generator=None)
    >>> w, b
    (tensor([[1., 0.]]), tensor([0.5000]))
    """
    Initializer.of(function_or_target, args or {}, bias_rule).start_(weight, bias, **given)


class Initializer(NamedTuple):
    """An initializer looked up, its arguments checked: what starts a layer, or a net."""

    function: Callable[..., Any]
    args: Mapping[str, Any]
    bias_rule: Any

    @staticmethod
    def of(target: Target, args: Mapping[str, Any], bias_rule: Any = "zeros", name: str | None = None) -> "Initializer":
        """Raises InputError for an unknown name or argument; `name`: of the option, for its words.

        >>> Initializer.of("constant", {"value": 42}).args
        {'value': 42}
        """
        function = resolve(target) if isinstance(target, str) else target
        check_args(function, args, name)
        return Initializer(function, args, bias_rule)

    @property
    def needs(self) -> str:
        """What it must see besides one matrix: nothing, module, data or gradient."""
        return needs(self.function)

    @property
    def label(self) -> str:
        return called(self.function).removesuffix("_")

    def at(self, layer: LayerSpec) -> "Initializer":
        """What starts this layer: itself, but of per_layer what its map names."""
        delegate = getattr(self.function, "delegate", None)
        return self if delegate is None else delegate(layer=layer, bias_rule=self.bias_rule, **self.args)

    def call_(self, weight: Tensor, bias: Tensor | None = None, **given: Any) -> Tensor:
        """Fill a weight: `call_` with `layer`, `generator` and `edit` as given."""
        return call_(self.function, weight, bias, args=self.args, **given)

    def start_(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        layer: LayerSpec,
        generator: Generator,
        bias_generator: Generator = None,
        targets: Tensor | Callable[[], Tensor] | None = None,
    ) -> None:
        """First the bias rule fills the bias, then the function the weight, and the bias too if it names `bias`.

        `targets` (the training targets, or a function that returns them) are needed by two bias rules alone.
        Raises InputError for unknown rules, NotApplicable where the initializer does not fit this layer.
        """
        start = self.at(layer)
        if start.needs != "nothing":
            raise refusal(
                f"init={start.label}",
                f"it fills a whole net from {start.needs}, not one matrix",
                "use an initializer of single matrices here, e.g. kaiming_normal",
            )
        if bias is not None:
            fill_bias_(bias, start.bias_rule, layer=layer, generator=bias_generator, targets=targets)
        start.call_(weight, bias, layer=layer, generator=generator)


def check_shared(
    start: Initializer,
    layers: Sequence[LayerSpec],
    weights: Sequence[Sequence[int]],
    biases: Sequence[Sequence[int]] = (),
) -> None:
    """NotApplicable, naming both layers, where layers that share a weight or a bias are to start it in different ways.

    `weights`, `biases`: groups of layers that share one. A bias starts by its rule, and by the initializer if that fills
    biases.

    >>> layers = [LayerSpec(i, 2, 4, 4) for i in range(3)]
    >>> check_shared(Initializer.of("per_layer", {"map": {1: "eye"}}, None), layers, [[0, 1], [2]])
    Traceback (most recent call last):
    initbench.errors.NotApplicable: init.map: layers 0 and 1 share one weight, but init.map gives them kaiming_normal and eye; give both the same initializer
    """
    if not hasattr(start.function, "delegate"):
        return
    start.function.check_keys(start.args.get("map") or {}, layers)  # type: ignore[attr-defined]
    starts = {layer.index: start.at(layer) for layer in layers}
    names_of = {i: one.label for i, one in starts.items()}
    _check_one_start("weight", weights, {i: one[:2] for i, one in starts.items()}, names_of)
    fills_bias = {i: names(one.function, "bias") for i, one in starts.items()}
    both = {i: (one.bias_rule, one[:2] if fills_bias[i] else None) for i, one in starts.items()}
    words = {i: f"{one.bias_rule}" + (f" ({one.label})" if fills_bias[i] else "") for i, one in starts.items()}
    _check_one_start("bias", biases, both, words)


def _check_one_start(
    what: str, groups: Sequence[Sequence[int]], starts: Mapping[int, Any], words: Mapping[int, str]
) -> None:
    for one, *others in groups:
        for two in others:
            if starts[one] != starts[two]:
                unlike = words[one] != words[two]
                texts = [words[index] if unlike else f"{words[index]} with other arguments" for index in (one, two)]
                raise inapplicable(
                    "init.map",
                    f"layers {one} and {two} share one {what}, but init.map gives them {texts[0]} and {texts[1]}",
                    "give both the same initializer",
                )


def may_repeat(start: Initializer) -> bool:
    """Whether a start may be the same for every seed, as far as is known without drawing: of your own functions, of
    those whose contract states values or zeros, and of those that are made of others.

    >>> may_repeat(Initializer.of("eye", {})), may_repeat(Initializer.of("kaiming_normal", {}))
    (True, False)
    """
    entry = entry_of(start.function)
    if entry is None or start.args.keys() & {"base", "map", "multiply"}:
        return True
    return bool(entry.contract.deterministic or entry.contract.values or entry.contract.zeros)


def needs(function: Target) -> str:
    """What an initializer must see besides one matrix: nothing, module, data or gradient.

    >>> needs("eye")
    'nothing'
    """
    function = resolve(function) if isinstance(function, str) else function
    return getattr(function, "needs", "nothing")
