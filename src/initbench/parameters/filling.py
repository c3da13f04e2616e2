"""Initialize the parameters of any module by names, patterns, types or positions, each stored one once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from initbench.errors import InputError
from initbench.groups import LayerSpec
from initbench.initializers.bias import fill_bias_
from initbench.initializers.calling import call_, catalogued_here, needs, resolve
from initbench.initializers.option_files import base
from initbench.initializers.whole_net import initialize_net
from initbench.parameters.naming import Stored, nearest, stored_parameters

Generator = torch.Generator | None
EDITS = ("multiply", "add", "entries")
COLUMNS = ["name", "shape", "rule", "what", "done"]


@dataclass(frozen=True)
class Place:
    """One name of a stored parameter: the submodule that owns it, and that submodule's place among the nn.Linear."""

    name: str
    path: str  # of the owner
    owner: nn.Module
    layer: LayerSpec | None  # None outside of nn.Linear layers

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Task:
    """A stored parameter that is filled. `alone`: its pattern names it, not the layer that it belongs to."""

    one: Stored
    place: Place
    rule: Any
    alone: bool


def initialize_(
    module: nn.Module,
    spec: Any,
    generator: Generator = None,
    *,
    activation: str = "relu",
    batch: tuple[Tensor, Tensor] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> pd.DataFrame:
    """Initialize a module in place; returns what was done, a row a name of a parameter.

    `spec` is one rule for every nn.Linear layer, or a mapping pattern -> rule; the first pattern that fits a parameter
    is its rule, what none fits is left alone. Patterns: a dotted name of a parameter or layer, or a glob of them
    (`0.block *.0`, `*.bias`); a type (nn.Linear); a position among the nn.Linear layers as in init=per_layer: 0, -1,
    first, hidden, last. Rules:

    - an initializer: an option's name, a function, or {name: ..., bias: <rule>, <arguments>}. Where the pattern names a
      layer, it fills the weight, and the bias by its bias rule (zeros). Where it names a weight, that alone; where it
      names a bias, a bias rule is meant
    - a number: every entry; a tensor, array or nested list of the parameter's shape: its values
    - an edit of what is there: {multiply: 2, add: 1, entries: [[0, 0, 42]]}; where the pattern names a parameter, also a
      function of the tensor, in place

    A parameter with several names is filled once, at its first; rules that disagree are an error. Initializers that
    see data need `batch` = (inputs, targets) and are the whole spec. Columns of the result: `name`, `shape`, `rule`
    (the pattern), `what`, `done` (filled | tied to NAME, filled there | left alone). Raises InputError.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> initialize_(net, {"0": "xavier_uniform", "2": {"name": "constant", "value": 42}})[["name", "rule"]].values.tolist()
    [['0.weight', '0'], ['0.bias', '0'], ['2.weight', '2'], ['2.bias', '2']]
    >>> bool((net[2].weight == 42).all())
    True
    """
    if (whole := whole_net_rule(spec)) is not None:
        return fill_whole_net(module, whole, generator, activation, batch, loss)
    spec = spec if is_patterns(spec) else {nn.Linear: spec}
    places = {place.name: place for place in all_places(module, activation)}
    matched = {name: next((p for p in spec if fits(p, place)), None) for name, place in places.items()}
    for pattern in spec:
        if not any(fits(pattern, place) for place in places.values()):
            raise InputError(f"initialize_: {shown(pattern)} fits no parameter; {nearest(str(pattern), places)}")
    rows: list[tuple[Any, ...]] = []
    todo: dict[int, Task] = {}
    for one in stored_parameters(module):
        rules = {name: matched[name] for name in one.names}
        first = next((name for name in one.names if rules[name] is not None), None)
        for name in one.names:
            if first is not None and rules[name] is not None and not same(spec[rules[name]], spec[rules[first]]):
                raise InputError(
                    f"initialize_: {first} and {name} are one parameter under two rules, "
                    f"{shown(rules[first])} and {shown(rules[name])}; give both the same"
                )
            done = (
                "left alone" if first is None else "filled" if name == one.slot else f"tied to {one.slot}, filled there"
            )
            pattern = None if first is None else rules[first]
            task = (
                None
                if first is None
                else Task(one, places[name], spec[pattern], names_parameter(pattern, places[name]))
            )
            what = "" if task is None else described(task)
            rows.append((name, tuple(one.tensor.shape), "" if pattern is None else shown(pattern), what, done))
            if task is not None and name == first:
                todo[id(one.tensor)] = task
    with torch.no_grad():
        for task in todo.values():
            fill(task, generator, todo)
    return pd.DataFrame(rows, columns=COLUMNS)


# ------------------------------------------------------------------------------------------------ patterns


def is_patterns(spec: Any) -> bool:
    """A mapping pattern -> rule, rather than one rule."""
    return isinstance(spec, Mapping) and "name" not in spec and not (spec and set(spec) <= set(EDITS))


def all_places(module: nn.Module, activation: str) -> list[Place]:
    """Every name of every parameter, with its owner; nn.Linear layers are numbered in order of first mention."""
    parts = dict(module.named_modules(remove_duplicate=False))
    linears = list({id(part): part for part in parts.values() if isinstance(part, nn.Linear)}.values())
    depth = len(linears) - 1
    specs = {
        id(part): LayerSpec(index, depth, part.in_features, part.out_features, activation)
        for index, part in enumerate(linears)
    }
    return [
        Place(name, path, parts[path], specs.get(id(parts[path])))
        for name, _ in module.named_parameters(remove_duplicate=False)
        for path in [name.rpartition(".")[0]]
    ]


def fits(pattern: Any, place: Place) -> bool:
    """Whether a pattern names this parameter.

    >>> place = Place("0.block 1.weight", "0.block 1", nn.Linear(2, 2), LayerSpec(1, 3, 2, 2))
    >>> [fits(p, place) for p in ("0.block 1", "0.block *.weight", "*.bias", nn.Linear, 1, "hidden", "last")]
    [True, True, False, True, True, True, False]
    """
    if isinstance(pattern, type):
        return isinstance(place.owner, pattern)
    if isinstance(pattern, int) and not isinstance(pattern, bool):
        layer = place.layer
        return layer is not None and layer.index == (pattern if pattern >= 0 else layer.depth + 1 + pattern)
    if pattern in (place.name, place.path):
        return True
    if pattern in ("first", "hidden", "last") and place.layer is not None:
        layer = place.layer
        return {"first": layer.first, "last": layer.last, "hidden": not (layer.first or layer.last)}[pattern]
    return any(fnmatchcase(text, str(pattern)) for text in (place.name, place.path))


def names_parameter(pattern: Any, place: Place) -> bool:
    """Whether a pattern that fits names the parameter itself: 0.weight, *.bias; not 0, first, nn.Linear."""
    return isinstance(pattern, str) and fnmatchcase(place.name, pattern) and not fnmatchcase(place.path, pattern)


def shown(pattern: Any) -> str:
    """A pattern as a person would write it."""
    return pattern.__name__ if isinstance(pattern, type) else str(pattern)


def same(a: Any, b: Any) -> bool:
    """Whether two rules are one."""
    return a is b or (not isinstance(a, (Tensor, np.ndarray)) and not isinstance(b, (Tensor, np.ndarray)) and a == b)


# ------------------------------------------------------------------------------------------------ rules


def described(task: Task) -> str:
    """A rule in words, for the parameter that it fills."""
    rule = task.rule
    if isinstance(rule, (int, float)):
        return f"constant {rule:g}"
    if isinstance(rule, (Tensor, np.ndarray, list, tuple)):
        return "given values"
    if isinstance(rule, Mapping) and "name" not in rule:
        return "edit " + ", ".join(f"{key} {value}" for key, value in rule.items())
    given = dict(rule) if isinstance(rule, Mapping) else {"name": rule}
    name, bias = given.pop("name"), given.pop("bias", None)
    if task.place.last == "bias" and not task.alone:
        return f"bias {initializer(rule)[2] if bias is None else bias}"
    inner = ", ".join(f"{key}={value}" for key, value in given.items())
    label = getattr(name, "__name__", str(name))
    return f"{label}({inner})" if inner else label


def fill(task: Task, generator: Generator, todo: Mapping[int, Task]) -> None:
    """Fill one stored parameter by its rule. `todo`: all that are filled, by the id of the tensor."""
    tensor, rule, name = task.one.tensor, task.rule, task.one.slot
    named = rule.get("name") if isinstance(rule, Mapping) else rule
    if isinstance(rule, (int, float)) and not isinstance(rule, bool):
        tensor.fill_(rule)
    elif isinstance(rule, (Tensor, np.ndarray, list, tuple)):
        put_values(tensor, rule, name)
    elif isinstance(rule, Mapping) and "name" not in rule:
        edit(tensor, rule, name)
    elif not isinstance(named, str) and not callable(named):
        raise InputError(f"initialize_: {name}: {rule!r} is no rule; see help(initbench.initialize_)")
    elif callable(named) and not catalogued_here(named) and task.alone:
        args, draws = initializer(rule)[1], child(generator)
        call_(named, tensor, args=args, layer=task.place.layer, generator=draws, edit=True)
    elif tensor.ndim == 1 and task.place.last == "bias":
        if task.alone:
            fill_bias_(tensor, bias_alone(rule), layer=task.place.layer or anywhere(tensor), generator=generator)
        elif beside(task, "weight", todo) is None:  # else it is filled together with its weight
            fill_bias_(tensor, initializer(rule)[2], layer=task.place.layer or anywhere(tensor), generator=generator)
    elif tensor.ndim == 2:
        fill_matrix(task, generator, todo)
    else:
        raise InputError(
            f"initialize_: {name} has shape {tuple(tensor.shape)}; initializers fill (fan_out, fan_in) matrices, "
            f"give it a number, values or, by its own name, a function"
        )


def beside(task: Task, name: str, todo: Mapping[int, Task]) -> Task | None:
    """The task of the same layer's other parameter, if one rule for the layer covers both."""
    other = getattr(task.place.owner, name, None)
    found = todo.get(id(other)) if isinstance(other, nn.Parameter) else None
    one_rule = found is not None and same(found.rule, task.rule) and not (found.alone or task.alone)
    return found if one_rule else None


def fill_matrix(task: Task, generator: Generator, todo: Mapping[int, Task]) -> None:
    """A weight by an initializer, first its layer's bias by the bias rule that comes with it."""
    tensor = task.one.tensor
    function, args, bias_rule = initializer(task.rule)
    layer = task.place.layer or LayerSpec(0, 0, tensor.shape[1], tensor.shape[0])
    with_bias = beside(task, "bias", todo)
    # a law that draws weight and bias together gets a bias to fill, if only a passing one
    bias: Tensor = torch.zeros_like(tensor[:, 0]) if with_bias is None else with_bias.one.tensor
    if with_bias is not None:
        fill_bias_(bias, bias_rule, layer=layer, generator=generator)
    own = not catalogued_here(function)
    call_(function, tensor, bias, args=args, layer=layer, generator=child(generator) if own else generator)


def initializer(rule: Any) -> tuple[Callable[..., Any], dict[str, Any], Any]:
    """(function, arguments, bias rule) of a rule that names an initializer."""
    if isinstance(rule, Mapping) and callable(rule["name"]):
        given = {key: value for key, value in rule.items() if key not in ("name", "bias")}
        return rule["name"], given, rule.get("bias", "zeros")
    return (rule, {}, "zeros") if callable(rule) else base(rule)


def bias_alone(rule: Any) -> Any:
    """A bias rule for a pattern that names a bias: its name, or {name: ..., <arguments>}."""
    if isinstance(rule, Mapping):
        return {"rule": rule["name"], **{key: value for key, value in rule.items() if key != "name"}}
    return rule


def anywhere(bias: Tensor) -> LayerSpec:
    """A layer for a bias that stands in no nn.Linear: neither first nor last."""
    return LayerSpec(1, 2, len(bias), len(bias))


def child(generator: Generator) -> torch.Generator:
    """A generator seeded by one draw: a person's own function may draw from the global ones, which are seeded from it,
    so each parameter needs its own.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator().manual_seed(seed)


def put_values(tensor: Tensor, values: Any, name: str) -> None:
    """Copy given values of the same shape."""
    try:
        given = torch.as_tensor(values if isinstance(values, Tensor) else np.asarray(values)).to(tensor)
    except (TypeError, ValueError) as error:
        raise InputError(f"initialize_: {name}: these values are no array of numbers ({error})") from None
    if given.shape != tensor.shape:
        raise InputError(f"initialize_: {name} has shape {tuple(tensor.shape)}, the values {tuple(given.shape)}")
    tensor.copy_(given)


def edit(tensor: Tensor, changes: Mapping[str, Any], name: str) -> None:
    """x <- multiply x + add, then single entries [row, column, value]."""
    for key in changes:
        if key not in EDITS:
            raise InputError(f"initialize_: {name}: {key} is no edit; allowed are {', '.join(EDITS)}, or name: INIT")
    tensor.mul_(changes.get("multiply", 1)).add_(changes.get("add", 0))
    for entry in changes.get("entries", []):
        *index, value = entry
        if len(index) != tensor.ndim or not all(-n <= i < n for i, n in zip(index, tensor.shape)):
            raise InputError(f"initialize_: {name}: entry {list(entry)} is no [index, value] in {tuple(tensor.shape)}")
        tensor[tuple(index)] = value


# ------------------------------------------------------------------------------------------------ whole nets


def whole_net_rule(spec: Any) -> Mapping[str, Any] | None:
    """The spec as {name: ..., arguments} if it is an initializer that sees the whole net, else None."""
    given = dict(spec) if isinstance(spec, Mapping) and "name" in spec else {"name": spec}
    name = given["name"]
    if not isinstance(name, str) and not callable(name):
        return None
    if isinstance(name, str):
        from initbench.initializers.option_files import known, load_option

        option = load_option(name) if name in known() else {}
        given = {**{k: v for k, v in option.items() if k != "_target_"}, **given}
        name = option.get("_target_", name)
    function = resolve(name) if isinstance(name, str) else name
    return {**given, "name": function} if needs(function) != "nothing" else None


def fill_whole_net(
    module: nn.Module,
    rule: Mapping[str, Any],
    generator: Generator,
    activation: str,
    batch: tuple[Tensor, Tensor] | None,
    loss: Callable[[Tensor, Tensor], Tensor] | None,
) -> pd.DataFrame:
    """Fill every nn.Linear by an initializer that sees the net, a batch or gradients."""
    function = rule["name"]
    label = function.__name__.removesuffix("_")
    if needs(function) != "module" and batch is None:
        raise InputError(f"initialize_: {label} looks at data; give it batch=(inputs, targets)")
    places = all_places(module, activation)
    layers = {place.layer.index: place.layer for place in places if place.layer is not None}
    targets = torch.zeros(1)
    initialize_net(
        module,
        function_or_target=function,
        args={key: value for key, value in rule.items() if key not in ("name", "bias")},
        bias_rule=rule.get("bias", "zeros"),
        layers=[layers[index] for index in sorted(layers)],
        batch=batch or (torch.zeros(1), targets),
        loss=loss or nn.functional.mse_loss,
        generator=generator,
    )
    filled = {place.name for place in places if place.layer is not None}
    slots = {name: one.slot for one in stored_parameters(module) for name in one.names}
    rows = []
    for place in places:
        done = "filled" if slots[place.name] == place.name else f"tied to {slots[place.name]}, filled there"
        shape = tuple(dict(module.named_parameters(remove_duplicate=False))[place.name].shape)
        inside = place.name in filled
        rows.append((place.name, shape, "Linear" if inside else "", label, done if inside else "left alone"))
    return pd.DataFrame(rows, columns=COLUMNS)


__all__: Sequence[str] = ["initialize_"]
