"""Initialize the parameters of any module by names, patterns, types or positions; each stored one is filled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from initbench.config.groups import LayerSpec
from initbench.errors import InputError, refusal
from initbench.errors import shown as brief
from initbench.initializers.bias import fill_bias_
from initbench.initializers.calling import Initializer, catalogued_here
from initbench.initializers.option_files import base
from initbench.parameters.given import EDITS, edit, put_values
from initbench.parameters.naming import check_module, nearest, stored_parameters
from initbench.parameters.patterns import Place, all_places, fits, names_parameter, pattern_text, same
from initbench.parameters.storage import (
    Computed,
    check_fits,
    check_shaped,
    check_writable,
    computed_tensors,
    equal,
    memories,
    scratch,
    write_,
)
from initbench.parameters.whole import COLUMNS, fill_whole_net, whole_net_rule

Generator = torch.Generator | None


@dataclass(frozen=True)
class Task:
    """A stored parameter that is filled. `alone`: its pattern names it, not the layer that it belongs to."""

    one: Unit
    place: Place
    rule: Any
    alone: bool
    values: Tensor  # what is drawn, before it is written


def initialize_(
    module: nn.Module,
    spec: Any,
    generator: Generator = None,
    *,
    activation: str = "relu",
    batch: tuple[Tensor, Tensor] | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> pd.DataFrame:
    """Initialize a module in place.

    If anything is refused, nothing is changed. A parameter with several names is filled once, at the first, and so is common
    memory; rules that disagree are an error. A weight that is computed (weight_norm, orthogonal, pruning) is set through what
    computes it, or refused. Half precision is drawn in float32 and rounded.

    The first pattern that fits a parameter gives its rule; a parameter that none fits is left alone. Patterns: a dotted name
    of a parameter or layer, or a glob of them (`0.block *.0`, `*.bias`); a type (nn.Linear); a position among the nn.Linear
    layers as in init=per_layer: 0, -1, first, hidden, last. Rules:

    - an initializer: an option's name, a function, or `{name: ..., bias: <rule>, <arguments>}`. Where the pattern names a
      layer, it fills the weight, and the bias by its bias rule (zeros). Where it names a weight, only that; where it
      names a bias, the rule is a bias rule
    - a number: the value of every entry; a tensor, array or nested list of the parameter's shape: its values
    - an edit of the present values: {multiply: 2, add: 1, entries: [[0, 0, 42]]}; where the pattern names a parameter, also
      a function of the tensor, in place

    Formula:
        W ~ the initializer's law at the layer's fans; W is (fan_out, fan_in), b (fan_out,). Each law: docs/catalogue.md.

    Args:
        module: any nn.Module.
        spec: one rule for every nn.Linear layer, or a mapping pattern -> rule.
        generator: of the random numbers; None: torch's global one.
        activation: phi of the net, for gains that follow it.
        batch: (inputs, targets), for initializers that see data, which must be the whole `spec`.
        loss: (outputs, targets) -> loss, for initializers that see gradients.

    Returns:
        What was done, one row per name of a parameter: `name`, `shape`, `rule` (the pattern), `what`, `done` (filled | tied
        to NAME, filled there | left alone).

    Raises:
        InputError: a pattern that fits nothing, an unknown rule, or a parameter that cannot be filled.

    Examples:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> initialize_(net, {"0": "xavier_uniform", "2": {"name": "constant", "value": 42}})[["name", "rule"]].values.tolist()
        [['0.weight', '0'], ['0.bias', '0'], ['2.weight', '2'], ['2.bias', '2']]
        >>> bool((net[2].weight == 42).all())
        True

    Source:
        Dive into Deep Learning, 5.2.2; the catalogue names the paper of each initializer.
    """
    check_module("initialize_", module)
    if generator is not None and not isinstance(generator, torch.Generator):
        wrong = f"generator={brief(repr(generator))} is no torch.Generator"
        raise refusal("initialize_", wrong, "give torch.Generator().manual_seed(0)")
    check_shaped(module.named_parameters())
    if (whole := whole_net_rule(spec)) is not None:
        return fill_whole_net(module, whole, generator, activation, batch, loss)
    spec = spec if is_patterns(spec) else {nn.Linear: spec}
    places = {place.name: place for place in all_places(module, activation)}
    for pattern in spec:
        if not any(fits(pattern, place) for place in places.values()):
            raise refusal(f"initialize_: {pattern_text(pattern)}", "fits no parameter", nearest(str(pattern), places))
    units = all_units(module)
    through = {
        name: unit.slot
        for unit in units
        if unit.computed is not None and rule_of(unit, spec, places) is not None
        for path in unit.names
        for name in (part for one in computed_tensors(module) if one.name == path for part in one.parts)
    }
    rows = [line for unit in units for line in rows_of(unit, spec, places, through)]
    todo = tasks(units, spec, places)
    with torch.no_grad():
        for task in todo.values():
            fill(task, generator, todo)
    write(list(todo.values()))
    order: dict[Any, int] = {name: at for at, name in enumerate(places)}
    return pd.DataFrame(sorted(rows, key=lambda line: order[line[0]]), columns=COLUMNS)


def is_patterns(spec: Any) -> bool:
    """A mapping pattern -> rule, rather than one rule."""
    return isinstance(spec, Mapping) and "name" not in spec and not (spec and set(spec) <= set(EDITS))


# ------------------------------------------------------------------------------------------------ what is filled


@dataclass(frozen=True)
class Unit:
    """What is filled as one: the names of one tensor, and either the parameters that hold it or what computes it."""

    names: tuple[str, ...]
    tensor: Tensor
    computed: Computed | None = None

    @property
    def slot(self) -> str:
        return self.names[0]


def all_units(module: nn.Module) -> list[Unit]:
    """Every tensor that can be filled, once: parameters, those that are one memory together, and computed tensors."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    by_parts: dict[tuple[int, ...], list[Computed]] = {}
    for computed in computed_tensors(module):
        by_parts.setdefault(tuple(id(parameters[part]) for part in computed.parts), []).append(computed)
    units = [Unit(tuple(c.name for c in found), found[0].value(), found[0]) for found in by_parts.values()]
    stored = stored_parameters(module)
    same_as: dict[int, int] = {}
    for (i, j), how in memories([one.tensor for one in stored]).items():
        if how == "same":
            same_as.setdefault(j, same_as.get(i, i))
    for index, one in enumerate(stored):
        if index not in same_as:
            others = [name for j, i in same_as.items() if i == index for name in stored[j].names]
            units.append(Unit((*one.names, *others), one.tensor))
    return units


def rule_of(unit: Unit, spec: Mapping[Any, Any], places: Mapping[str, Place]) -> tuple[str, Any] | None:
    """(name, pattern) by which a unit is filled, None if no pattern fits; InputError where its names have two rules."""
    matched = {name: next((p for p in spec if fits(p, places[name])), None) for name in unit.names}
    found = [(name, pattern) for name, pattern in matched.items() if pattern is not None]
    for name, pattern in found[1:]:
        if not same(spec[pattern], spec[found[0][1]]):
            raise refusal(
                "initialize_",
                f"{found[0][0]} and {name} are one parameter under two rules, {pattern_text(found[0][1])} and {pattern_text(pattern)}",
                "give both the same",
            )
    return found[0] if found else None


def rows_of(
    unit: Unit, spec: Mapping[Any, Any], places: Mapping[str, Place], through: Mapping[str, str]
) -> list[tuple[Any, ...]]:
    """What is done with a unit, one row per name. `through`: part of a computed tensor that is filled -> that tensor."""
    chosen = rule_of(unit, spec, places)
    shape = tuple(unit.tensor.shape)
    if chosen is None:
        names = unit.names if unit.computed is None else ()
        return [(n, shape, "", "", f"set through {through[n]}" if n in through else "left alone") for n in names]
    name, pattern = chosen
    what = described(spec[pattern], places[name], names_parameter(pattern, places[name]))
    done = "filled" if unit.computed is None else f"filled, through {unit.computed.how}"
    return [
        (name, shape, pattern_text(pattern), what, done if name == unit.slot else f"tied to {unit.slot}, filled there")
        for name in unit.names
    ]


def tasks(units: Sequence[Unit], spec: Mapping[Any, Any], places: Mapping[str, Place]) -> dict[int, Task]:
    """What is to do, by the id of the tensor; InputError, before anything is changed, where it cannot be."""
    todo: dict[int, Task] = {}
    asked = {unit.slot: chosen for unit in units if (chosen := rule_of(unit, spec, places)) is not None}
    of_whole = {part: unit for unit in units if unit.computed is not None for part in unit.computed.parts}
    for unit in units:
        if unit.slot not in asked:
            continue
        name, pattern = asked[unit.slot]
        whole = of_whole.get(unit.slot)
        if whole is not None and whole.slot in asked:
            raise refusal(
                "initialize_",
                f"{whole.computed}, and {pattern_text(asked[whole.slot][1])} and {pattern_text(pattern)} fill both",
                "give a rule to only one of them",
            )
        place, rule, alone = places[name], spec[pattern], names_parameter(pattern, places[name])
        if whole is not None and not is_plain(rule):
            raise refusal(
                "initialize_",
                f"{whole.computed}, and a part is not a matrix to draw",
                f"name {whole.slot}, or give it numbers",
            )
        check_writable(unit.slot, unit.tensor)
        todo[id(unit.tensor)] = Task(unit, place, rule, alone, scratch(unit.tensor))
    tensors = [unit.tensor for unit in units]
    for (i, j), how in memories(tensors).items():
        if how == "part" and (id(tensors[i]) in todo or id(tensors[j]) in todo):
            raise refusal(
                "initialize_",
                f"{units[i].slot} and {units[j].slot} overlap in memory, so filling one changes the other",
                "clone() one into an nn.Parameter of its own first",
            )
    return todo


def is_plain(rule: Any) -> bool:
    """A number, values, or an edit: what draws nothing."""
    edits = isinstance(rule, Mapping) and "name" not in rule
    return edits or isinstance(rule, (int, float, Tensor, np.ndarray, list, tuple))


def write(todo: Sequence[Task]) -> None:
    """Put what was drawn in its place: all of it, or nothing and an InputError."""
    undo: list[Callable[[], None]] = []
    try:
        for task in todo:
            if task.one.computed is not None:
                undo.append(task.one.computed.assign_(task.values.to(task.one.tensor.dtype)))
        for one, values in ((task.one.computed, task.values) for task in todo):
            if one is not None and not equal(one.value(), values.to(one.value().dtype)):
                raise refusal(f"initialize_: {one.name}", "shares some of its parts with another layer", "untie_ them")
        for task in todo:
            check_fits(task.one.slot, task.one.tensor, task.values)
    except InputError:
        for back in reversed(undo):
            back()
        raise
    for task in todo:
        if task.one.computed is None:
            write_(task.one.tensor, task.values)


# ------------------------------------------------------------------------------------------------ rules


def described(rule: Any, place: Place, alone: bool) -> str:
    """A rule in words, for the parameter that it fills."""
    if isinstance(rule, (int, float)):
        return f"constant {rule:g}"
    if isinstance(rule, (Tensor, np.ndarray, list, tuple)):
        return "given values"
    if isinstance(rule, Mapping) and "name" not in rule:
        return "edit " + ", ".join(f"{key} {value}" for key, value in rule.items())
    given = dict(rule) if isinstance(rule, Mapping) else {"name": rule}
    name, bias = given.pop("name"), given.pop("bias", None)
    if place.last == "bias" and not alone:
        return f"bias {initializer(rule).bias_rule if bias is None else bias}"
    inner = ", ".join(f"{key}={value}" for key, value in given.items())
    label = getattr(name, "__name__", str(name))
    return f"{label}({inner})" if inner else label


def fill(task: Task, generator: Generator, todo: Mapping[int, Task]) -> None:
    """Draw the values of one task by its rule. `todo`: all that are filled, by the id of the tensor."""
    values, rule, name = task.values, task.rule, task.one.slot
    named = rule.get("name") if isinstance(rule, Mapping) else rule
    layer = task.place.layer
    if isinstance(rule, (int, float)) and not isinstance(rule, bool):
        values.fill_(rule)
    elif isinstance(rule, (Tensor, np.ndarray, list, tuple)):
        put_values(values, rule, name)
    elif isinstance(rule, Mapping) and "name" not in rule:
        edit(values, rule, name)
    elif not isinstance(named, str) and not callable(named):
        raise refusal(f"initialize_: {name}", f"{rule!r} is not a rule", "see help(initbench.initialize_)")
    elif not values.numel():
        return
    elif callable(named) and not catalogued_here(named) and task.alone:
        initializer(rule).call_(values, layer=layer, generator=child(generator), edit=True)
    elif values.ndim == 1 and task.place.last == "bias":
        weight = beside(task, "weight", todo)
        if task.alone or weight is None or not weight.values.numel():  # else it is filled together with its weight
            bias_rule = bias_alone(rule) if task.alone else initializer(rule).bias_rule
            fill_bias_(values, bias_rule, layer=layer or anywhere(values), generator=generator)
    elif values.ndim == 2:
        fill_matrix(task, generator, todo)
    else:
        raise refusal(
            f"initialize_: {name}",
            f"has shape {tuple(values.shape)}, and initializers fill (fan_out, fan_in) matrices",
            "give it a number, values or, by its own name, a function",
        )


def beside(task: Task, name: str, todo: Mapping[int, Task]) -> Task | None:
    """The task of the same layer's other parameter, if one rule for the layer covers both."""
    return next(
        (
            other
            for other in todo.values()
            if other.place.owner is task.place.owner
            and (other.place.last, other.alone, task.alone) == (name, False, False)
            and same(other.rule, task.rule)
        ),
        None,
    )


def fill_matrix(task: Task, generator: Generator, todo: Mapping[int, Task]) -> None:
    """A weight by an initializer, first its layer's bias by the bias rule that comes with it."""
    values = task.values
    start = initializer(task.rule)
    layer = task.place.layer or LayerSpec(0, 0, values.shape[1], values.shape[0])
    with_bias = beside(task, "bias", todo)
    # a law that draws weight and bias together gets a bias to fill, if only a passing one
    bias = torch.zeros_like(values[:, 0]) if with_bias is None else with_bias.values
    if with_bias is not None:
        fill_bias_(bias, start.bias_rule, layer=layer, generator=generator)
    own = not catalogued_here(start.function)
    if not own:
        values.fill_(torch.nan)  # an entry that it leaves alone shows
    start.call_(values, bias, layer=layer, generator=child(generator) if own else generator)
    if not bool(torch.isfinite(values).all() and torch.isfinite(bias).all()):
        raise refusal(
            f"initialize_: {task.one.slot}", f"{start.function.__name__} left NaN or infinity", "choose another rule"
        )


def initializer(rule: Any) -> Initializer:
    """The initializer that a rule names."""
    if isinstance(rule, Mapping) and callable(rule["name"]):
        given = {key: value for key, value in rule.items() if key not in ("name", "bias")}
        return Initializer(rule["name"], given, rule.get("bias", "zeros"))
    return Initializer(rule, {}, "zeros") if callable(rule) else base(rule)


def bias_alone(rule: Any) -> Any:
    """A bias rule for a pattern that names a bias: its name, or {name: ..., <arguments>}."""
    if isinstance(rule, Mapping):
        return {"rule": rule["name"], **{key: value for key, value in rule.items() if key != "name"}}
    return rule


def anywhere(bias: Tensor) -> LayerSpec:
    """A layer for a bias that stands in no nn.Linear: neither first nor last."""
    return LayerSpec(1, 2, len(bias), len(bias))


def child(generator: Generator) -> torch.Generator:
    """A generator seeded by one draw: your own function may draw from the global ones, which are seeded from it,
    so each parameter needs its own.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator().manual_seed(seed)
