"""Tie and untie the parameters of any module, in place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy

from torch import nn

from initbench.errors import InputError
from initbench.parameters.naming import layer, nearest, owner, parameter, stored_parameters


def share_(module: nn.Module, groups: Iterable[Sequence[str]]) -> nn.Module:
    """Tie the members of each group: the parameters of the first become those of all. Returns the module.

    A member is the dotted name of a layer (all its own parameters are tied, name by name) or of a parameter. Nothing
    is changed if anything is wrong: InputError names both members where shapes differ or one lacks a parameter. Make
    the optimizer afterwards: it should know a tied parameter once.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> net = share_(net, [["2", "4"]])
    >>> net[2].weight is net[4].weight and net[2].bias is net[4].bias
    True
    """
    ties: list[tuple[str, str]] = []
    taken: set[str] = set()
    for group in groups:
        found = ties_of(module, checked_group(group))
        members = {name for tie in found for name in tie}
        if twice := sorted(members & taken):
            raise InputError(f"share_: {twice[0]} is in two groups; put all its members into one")
        taken |= members
        ties += found
    for first, other in ties:
        part, last = owner(module, other)
        part._parameters[last] = parameter(module, first)
    return module


def checked_group(group: Sequence[str]) -> list[str]:
    """A group as a list of different names."""
    members = [str(name) for name in group] if not isinstance(group, str) else []
    if len(members) < 2 or len(set(members)) != len(members):
        raise InputError(f"share_: group {group}: two or more different names of layers or parameters, e.g. ['2', '4']")
    return members


def ties_of(module: nn.Module, group: Sequence[str]) -> list[tuple[str, str]]:
    """(name of the kept parameter, name that is tied to it) of a group; InputError where they do not fit."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    modules = dict(module.named_modules(remove_duplicate=False))
    for name in group:
        if name not in parameters and name not in modules:
            raise InputError(f"share_: {name} is not in this module; {nearest(name, [*parameters, *modules][1:])}")
    first, *others = group
    if first in parameters:
        for other in others:
            if other not in parameters:
                raise InputError(f"share_: {first} is a parameter and {other} a layer; tie like with like")
            same_shape(module, first, other)
        return [(first, other) for other in others]
    own = [name for name, _ in layer(module, first).named_parameters(remove_duplicate=False)]
    if not own:
        raise InputError(f"share_: layer {first} has no parameters")
    for other in others:
        if other not in modules:
            raise InputError(f"share_: {first} is a layer and {other} a parameter; tie like with like")
        theirs = [name for name, _ in layer(module, other).named_parameters(remove_duplicate=False)]
        if own != theirs:
            raise InputError(f"share_: layer {first} has {', '.join(own)} and layer {other} {', '.join(theirs)}")
        for name in own:
            same_shape(module, f"{first}.{name}", f"{other}.{name}")
    return [(f"{first}.{name}", f"{other}.{name}") for other in others for name in own]


def same_shape(module: nn.Module, first: str, other: str) -> None:
    """Refuse two parameters of unequal shapes, or types."""
    a, b = parameter(module, first), parameter(module, other)
    if a.shape != b.shape:
        raise InputError(
            f"share_: {first} has shape {tuple(a.shape)} and {other} {tuple(b.shape)}; tied parameters need one shape"
        )
    if (a.dtype, a.device) != (b.dtype, b.device):
        raise InputError(f"share_: {first} is {a.dtype} on {a.device} and {other} {b.dtype} on {b.device}")


def untie_(module: nn.Module, names: Iterable[str] | None = None) -> nn.Module:
    """Give each name of a tied parameter a copy of its own, equal at first. Returns the module.

    `names`: the layers or parameters that leave their ties; None: all, and the first name keeps the tensor. A layer
    object that stands at two places becomes two objects. A layer that one forward pass calls twice has one name only
    and stays. Gradients are not copied. Make the optimizer afterwards.

    >>> shared = nn.Linear(2, 2)
    >>> net = untie_(nn.Sequential(shared, nn.ReLU(), shared))
    >>> net[0] is net[2], bool((net[0].weight == net[2].weight).all())
    (False, True)
    """
    known = {name: one for one in stored_parameters(module) for name in one.names}
    leaving = set(known) if names is None else leaving_names(module, list(names))
    stays = {
        name for name, one in known.items() if name not in leaving or (name == one.slot and leaving >= {*one.names})
    }
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
    found: set[str] = set()
    for name in names:
        if name in parameters:
            found.add(name)
        elif name in modules:
            inner = modules[name].named_parameters(remove_duplicate=False)
            found |= {f"{name}.{last}" if name else last for last, _ in inner}
        else:
            raise InputError(f"untie_: {name} is not in this module; {nearest(name, [*parameters, *modules][1:])}")
    return found


def separate_objects(module: nn.Module, apart: set[str]) -> None:
    """A module object that stands at two places, with a parameter in `apart`, gets a copy at the later place."""
    seen: set[int] = set()

    def visit(part: nn.Module, path: str) -> None:
        for name, child in list(part._modules.items()):
            if child is None:
                continue
            here = f"{path}.{name}" if path else name
            if id(child) in seen and any(one.startswith(f"{here}.") for one in apart):
                child = deepcopy(child)
                part._modules[name] = child
            if id(child) not in seen:
                seen.add(id(child))
            visit(child, here)

    seen.add(id(module))
    visit(module, "")
