"""Names of what is in a module: every parameter once, with all the dotted names that lead to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from torch import Tensor, nn

from initbench.errors import refusal, shown
from initbench.grammar import listed
from initbench.parameters.storage import computed_tensors


@dataclass(frozen=True)
class Stored:
    """One stored parameter: the tensor, and its dotted names in nesting order; the first is its slot."""

    tensor: nn.Parameter
    names: tuple[str, ...]

    @property
    def slot(self) -> str:
        return self.names[0]


def check_module(what: str, module: object) -> None:
    """Refuse what is no module.

    >>> check_module("share_", nn.Linear)
    Traceback (most recent call last):
    initbench.errors.InputError: share_: the class Linear is no nn.Module; make an instance of it
    """
    if isinstance(module, nn.Module):
        return
    if isinstance(module, type):
        raise refusal(what, f"the class {module.__name__} is no nn.Module", "make an instance of it")
    raise refusal(what, f"{shown(repr(module))} is no nn.Module", "give the net itself, e.g. nn.Linear(4, 2)")


def stored_parameters(module: nn.Module) -> list[Stored]:
    """Every parameter once, in order of first mention.

    >>> shared = nn.Linear(2, 2)
    >>> [one.names for one in stored_parameters(nn.Sequential(shared, nn.ReLU(), shared))]
    [('0.weight', '2.weight'), ('0.bias', '2.bias')]
    """
    names: dict[int, list[str]] = {}
    tensors: dict[int, nn.Parameter] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
        tensors[id(parameter)] = parameter
    return [Stored(tensors[key], tuple(found)) for key, found in names.items()]


def parameter(module: nn.Module, name: str) -> nn.Parameter:
    """The parameter with a dotted name or alias.

    Args:
        module: any nn.Module.
        name: as in `module.named_parameters()`, e.g. `"2.bias"`; of a tied parameter any of its names.

    Returns:
        The parameter itself, no copy, in its own shape.

    Raises:
        InputError: no such parameter; the line suggests the nearest names.

    Examples:
        >>> parameter(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), "2.bias").shape
        torch.Size([1])

    Source:
        Dive into Deep Learning, 5.2.1 (targeted parameters).
    """
    check_module("parameter", module)
    known = dict(module.named_parameters(remove_duplicate=False))
    if name not in known:
        for one in computed_tensors(module):
            if one.name == name:
                raise refusal(f"parameter {shown(name)}", str(one).removeprefix(f"{name} "), "name one of these")
        raise refusal(f"parameter {shown(name)}", "not in this module", nearest(name, known))
    return known[name]


def layer(module: nn.Module, name: str) -> nn.Module:
    """The submodule of a dotted name; the empty name is the module itself.

    >>> layer(nn.Sequential(nn.Linear(1, 2)), "0").out_features
    2
    """
    known = dict(module.named_modules(remove_duplicate=False))
    if name not in known:
        raise refusal(f"layer {shown(name)}", "not in this module", nearest(name, [n for n in known if n]))
    return known[name]


def nearest(name: object, known: Iterable[str], most: int = 12) -> str:
    """The known names, the nearest first, in words.

    >>> nearest("2.wieght", ["0.weight", "2.weight"])
    'did you mean 2.weight? must be one of: 2.weight, 0.weight'
    """
    known = list(known)
    near = get_close_matches(str(name), known, n=3, cutoff=0.6)
    names = [*near, *(one for one in known if one not in near)]
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}must be one of: {listed(names, most) or 'none'}"


def constants(module: nn.Module) -> Iterator[tuple[str, str, Tensor]]:
    """(dotted name, kind, tensor) of what is no parameter: buffers, and tensors that are plain attributes.

    >>> net = nn.BatchNorm1d(2)
    >>> net.scale = Tensor([3.0])
    >>> [(name, kind) for name, kind, _ in constants(net)][-2:]
    [('num_batches_tracked', 'buffer'), ('scale', 'attribute')]
    """
    computed = {one.name for one in computed_tensors(module)}
    for prefix, part in module.named_modules():
        dot = f"{prefix}." if prefix else ""
        for name, buffer in part.named_buffers(recurse=False):
            yield dot + name, "buffer", buffer
        for name, value in vars(part).items():
            if isinstance(value, Tensor) and dot + name not in computed:
                yield dot + name, "attribute", value


def owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The submodule that holds a parameter or submodule of this dotted name, and its last part.

    >>> owner(nn.Sequential(nn.Linear(1, 2)), "0.weight")
    (Linear(in_features=1, out_features=2, bias=True), 'weight')
    """
    path, _, last = name.rpartition(".")
    return layer(module, path), last
