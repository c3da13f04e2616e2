"""Which parameters a pattern means: a name, a glob, a type, or a position among the nn.Linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from torch import Tensor, nn

from initbench.config.groups import LayerSpec
from initbench.parameters.storage import computed_tensors


@dataclass(frozen=True)
class Place:
    """One name of a stored parameter: the submodule that owns it, and that submodule's place among the nn.Linear."""

    name: str
    path: str  # of the owner
    owner: nn.Module
    layer: LayerSpec | None  # None outside of nn.Linear layers
    whole: Place | None = None  # of a part of a computed tensor: that tensor, which patterns of layers mean

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def all_places(module: nn.Module, activation: str) -> list[Place]:
    """Every name of every parameter, with its owner; nn.Linear layers are numbered in order of first mention."""
    parts = dict(module.named_modules(remove_duplicate=False))
    linears = list({id(part): part for part in parts.values() if isinstance(part, nn.Linear)}.values())
    depth = len(linears) - 1
    specs = {
        id(part): LayerSpec(index, depth, part.in_features, part.out_features, activation)
        for index, part in enumerate(linears)
    }
    wholes = {
        part: Place(one.name, one.path, one.layer, specs.get(id(one.layer)))
        for one in computed_tensors(module)
        for part in one.parts
    }
    found: dict[str, Place] = {}
    for name, _ in module.named_parameters(remove_duplicate=False):
        if (whole := wholes.get(name)) is not None:
            found.setdefault(whole.name, whole)
        path = name.rpartition(".")[0]
        found[name] = Place(name, path, parts[path], specs.get(id(parts[path])), whole)
    return list(found.values())


def fits(pattern: Any, place: Place) -> bool:
    """Whether a pattern names this parameter.

    >>> place = Place("0.block 1.weight", "0.block 1", nn.Linear(2, 2), LayerSpec(1, 3, 2, 2))
    >>> [fits(p, place) for p in ("0.block 1", "0.block *.weight", "*.bias", nn.Linear, 1, "hidden", "last")]
    [True, True, False, True, True, True, False]
    """
    if place.whole is not None:
        by_name = isinstance(pattern, str) and fnmatchcase(place.name, pattern)
        return by_name and not fits(pattern, place.whole)
    if isinstance(pattern, type):
        return isinstance(place.owner, pattern)
    if isinstance(pattern, int) and not isinstance(pattern, bool):
        return place.layer is not None and place.layer.called(pattern)
    if pattern in (place.name, place.path):
        return True
    if pattern in ("first", "hidden", "last") and place.layer is not None:
        return place.layer.called(pattern)
    return any(fnmatchcase(text, str(pattern)) for text in (place.name, place.path))


def names_parameter(pattern: Any, place: Place) -> bool:
    """Whether a pattern that fits names the parameter itself: 0.weight, *.bias; not 0, first, nn.Linear."""
    return isinstance(pattern, str) and fnmatchcase(place.name, pattern) and not fnmatchcase(place.path, pattern)


def pattern_text(pattern: Any) -> str:
    """A pattern as a person would write it."""
    return pattern.__name__ if isinstance(pattern, type) else str(pattern)


def same(a: Any, b: Any) -> bool:
    """Whether two rules are one."""
    return a is b or (not isinstance(a, (Tensor, np.ndarray)) and not isinstance(b, (Tensor, np.ndarray)) and a == b)
