"""Tie and untie the parameters of any module, in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy

from torch import nn

from initbench.errors import InputError, refusal, shown
from initbench.parameters.naming import Stored, check_module, layer, nearest, owner, parameter, stored_parameters
from initbench.parameters.storage import check_shaped, computed_tensors, equal, memories


def share_(module: nn.Module, groups: Iterable[Sequence[str]]) -> nn.Module:
    """Tie the members of each group, in place: all of them get the parameters of the first.

    If anything is wrong, nothing is changed. Make the optimizer afterwards, so that it holds a tied parameter once.

    Formula:
        theta_j := theta_i, one tensor, for all j in the group of i; its gradient is the sum over its uses.

    Args:
        module: any nn.Module.
        groups: lists of two or more dotted names, of layers (all their own parameters are tied, name by name) or of
            parameters, each of one shape.

    Returns:
        The module.

    Raises:
        InputError: unknown names, or unequal members; the line names both where shapes differ or one lacks a parameter.

    Examples:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        >>> net = share_(net, [["2", "4"]])
        >>> net[2].weight is net[4].weight and net[2].bias is net[4].bias
        True

    Source:
        Dive into Deep Learning, 5.2.3 (tied parameters); Press & Wolf 2017.
    """
    check_module("share_", module)
    if isinstance(groups, (str, Mapping)) or not isinstance(groups, Iterable):
        raise refusal("share_", f"{shown(repr(groups))} is no list of groups", "name the layers, e.g. [['0', '2']]")
    ties: list[tuple[str, str]] = []
    taken: set[str] = set()
    for group in groups:
        found = ties_of(module, checked_group(group))
        members = {name for tie in found for name in tie}
        if twice := sorted(members & taken):
            raise refusal("share_", f"{twice[0]} is in two groups", "put all its members into one")
        taken |= members
        ties += found
    before = [(*owner(module, other), parameter(module, other)) for _, other in ties]
    for first, other in ties:
        part, last = owner(module, other)
        part._parameters[last] = parameter(module, first)
    try:
        check_computed(module, ties)
    except InputError:
        for part, last, old in before:
            part._parameters[last] = old
        raise
    return module


def check_computed(module: nn.Module, ties: Sequence[tuple[str, str]]) -> None:
    """Refuse ties of parts from which two layers compute different tensors: by other functions, masks or buffers."""
    by_part = {part: one for one in computed_tensors(module) for part in one.parts}
    for first, other in ties:
        one, two = by_part.get(first), by_part.get(other)
        if (one is None) != (two is None) or (one and two and not equal(two.value(), one.value())):
            raise refusal(
                "share_",
                f"{one or first} and {two or other}: tied parts do not make one tensor",
                "use one layer object at both places, or tie before they are put on",
            )


def known_names(module: nn.Module) -> list[str]:
    """Names of all parameters and layers, for a person to choose from."""
    parameters = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    return [*parameters, *(name for name, _ in module.named_modules(remove_duplicate=False) if name)]


def check_known(module: nn.Module, what: str, names: Iterable[str]) -> None:
    """Refuse a name that is neither a parameter's nor a layer's."""
    known = known_names(module)
    computed = {one.name: one for one in computed_tensors(module)}
    for name in names:
        if name in computed:
            raise refusal(what, f"{computed[name]}", f"name the layer {computed[name].path!r}, or these")
        if name and name not in known:
            raise refusal(what, f"{shown(name)} is not in this module", nearest(name, known))


def checked_group(group: Sequence[str]) -> list[str]:
    """A group as a list of different names."""
    members = [str(name) for name in group] if isinstance(group, Iterable) and not isinstance(group, str) else []
    if len(members) < 2 or len(set(members)) != len(members) or "" in members:
        raise refusal(
            f"share_: group {shown(repr(group))}",
            "not a group",
            "list two or more different names of layers or parameters, e.g. ['2', '4']",
        )
    return members


def ties_of(module: nn.Module, group: Sequence[str]) -> list[tuple[str, str]]:
    """(name of the kept parameter, name that is tied to it) of a group; InputError where they do not fit."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    modules = dict(module.named_modules(remove_duplicate=False))
    check_known(module, "share_", group)
    first, *others = group
    if first in parameters:
        for other in others:
            if other not in parameters:
                raise refusal("share_", f"{first} is a parameter and {other} a layer", "tie like with like")
            same_shape(module, first, other)
        return [(first, other) for other in others]
    own = [name for name, _ in layer(module, first).named_parameters(remove_duplicate=False)]
    if not own:
        raise refusal("share_", f"layer {first} has no parameters", "name a layer that has")
    for other in others:
        if other not in modules:
            raise refusal("share_", f"{first} is a layer and {other} a parameter", "tie like with like")
        theirs = [name for name, _ in layer(module, other).named_parameters(remove_duplicate=False)]
        if own != theirs:
            raise refusal(
                "share_",
                f"layer {first} has {', '.join(own)} and layer {other} {', '.join(theirs)}",
                "tie layers with the same parameters",
            )
        for name in own:
            same_shape(module, f"{first}.{name}", f"{other}.{name}")
    return [(f"{first}.{name}", f"{other}.{name}") for other in others for name in own]


def same_shape(module: nn.Module, first: str, other: str) -> None:
    """Refuse two parameters of unequal shapes, or types."""
    a, b = parameter(module, first), parameter(module, other)
    check_shaped([(first, a), (other, b)])
    if a.shape != b.shape:
        raise refusal(
            "share_", f"{first} has shape {tuple(a.shape)} and {other} {tuple(b.shape)}", "tie parameters of one shape"
        )
    if (a.dtype, a.device) != (b.dtype, b.device):
        raise refusal(
            "share_",
            f"{first} is {a.dtype} on {a.device} and {other} {b.dtype} on {b.device}",
            "convert one of them first",
        )


def untie_(module: nn.Module, names: str | Iterable[str] | None = None) -> nn.Module:
    """Give each name of a tied parameter its own copy, equal at first, in place.

    The first name keeps the tensor. Parameters that share memory get their own memory too. A layer object at two places
    becomes two objects. A layer that one forward pass calls twice has only one name and stays. Gradients are not copied.
    Make the optimizer afterwards.

    Formula:
        theta_j := a copy of theta_i, for every later name j of the tensor theta_i.

    Args:
        module: any nn.Module.
        names: the layers or parameters (or one of them) to untie; None: all.

    Returns:
        The module.

    Raises:
        InputError: unknown names, or a layer that cannot be copied.

    Examples:
        >>> shared = nn.Linear(2, 2)
        >>> net = untie_(nn.Sequential(shared, nn.ReLU(), shared))
        >>> net[0] is net[2], bool((net[0].weight == net[2].weight).all())
        (False, True)

    Source:
        Tied first, then free: Yang et al. 2021.
    """
    check_module("untie_", module)
    if names is not None and not isinstance(names, Iterable):
        raise refusal(f"untie_: {shown(repr(names))}", "a name or a list of names is needed", "e.g. ['2']")
    known = {name: one for one in stored_parameters(module) for name in one.names}
    check_shaped((name, one.tensor) for name, one in known.items())
    names = [names] if isinstance(names, str) else names
    leaving = set(known) if names is None else leaving_names(module, [str(name) for name in names])
    stays = {
        name for name, one in known.items() if name not in leaving or (name == one.slot and leaving >= {*one.names})
    }
    stays -= beside_others(list({id(one.tensor): one for one in known.values()}.values()), leaving)
    apart = {name for name, one in known.items() if leaving & {*one.names}}
    separate_objects(module, apart)
    for name, one in known.items():
        part, last = owner(module, name)
        copy = nn.Parameter(one.tensor.detach().clone(), requires_grad=one.tensor.requires_grad)
        part._parameters[last] = one.tensor if name in stays else copy
    return module


def leaving_names(module: nn.Module, names: Sequence[str]) -> set[str]:
    """Every parameter name that is meant by names of layers and parameters."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    modules = dict(module.named_modules(remove_duplicate=False))
    check_known(module, "untie_", names)
    found: set[str] = set()
    for name in names:
        if name in parameters:
            found.add(name)
        elif name in modules:
            inner = modules[name].named_parameters(remove_duplicate=False)
            found |= {f"{name}.{last}" if name else last for last, _ in inner}
    return found


def beside_others(stored: Sequence[Stored], leaving: set[str]) -> set[str]:
    """Names of parameters that leave and share memory with another one, the first of which keeps it."""
    out: set[str] = set()
    for i, j in memories([one.tensor for one in stored]):
        later = stored[j] if leaving & {*stored[j].names} else stored[i]
        if leaving & {*later.names}:
            out |= {*later.names}
    return out


def separate_objects(module: nn.Module, apart: set[str]) -> None:
    """A module object that stands at two places, with a parameter in `apart`, gets a copy at the later place."""
    seen: set[int] = set()

    def visit(part: nn.Module, path: str) -> None:
        for name, child in list(part._modules.items()):
            if child is None:
                continue
            here = f"{path}.{name}" if path else name
            if id(child) in seen and any(one.startswith(f"{here}.") for one in apart):
                try:
                    child = deepcopy(child)
                except (RuntimeError, TypeError) as error:  # a weight that a hook left in the graph, an open file
                    raise refusal(
                        f"untie_: {here}",
                        f"cannot be copied ({' '.join(str(error).split())[:120]})",
                        "make a layer of its own there",
                    ) from None
                part._modules[name] = child
            seen.add(id(child))
            visit(child, here)

    seen.add(id(module))
    visit(module, "")
