"""model=module: how far the initializer reaches in a module, and what else to know before its results are trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from initbench.config.cautions import Caution
from initbench.errors import InputError, refusal
from initbench.grammar import listed
from initbench.own.code import OwnCodeFailed, guarded
from initbench.parameters.naming import stored_parameters
from initbench.parameters.storage import check_shaped, computed_tensors, memories
from initbench.parameters.uses import count_uses, quiet

NAMED = 6  # names that a sentence lists


@dataclass(frozen=True)
class Reach:
    """Parameters of a module by name with their entries: `filled` by the initializer, `kept` as the module made them;
    and the names of what is special."""

    filled: tuple[tuple[str, int], ...]
    kept: tuple[tuple[str, int], ...]
    frozen: tuple[str, ...] = ()  # never trained
    running: tuple[str, ...] = ()  # layers with running statistics
    elsewhere: tuple[str, ...] = ()  # weights of layers that the forward pass also uses without calling the layer
    untrained: tuple[str, ...] = ()  # trainable, but out of reach of every gradient
    probabilities: bool = False  # returned where logits are asked for
    repeats: bool = True  # two evaluations of the same inputs agree

    @property
    def line(self) -> str | None:
        """How many of the parameters the initializer fills, in words; None if all."""
        if not self.kept:
            return None
        weights, numbers = len(self.filled) + len(self.kept), sum(n for _, n in self.filled + self.kept)
        return (
            f"init fills {len(self.filled)} of {weights} parameter tensors "
            f"({sum(n for _, n in self.filled):,} of {numbers:,} numbers)"
        )

    @property
    def left(self) -> str:
        """The parameters that keep the module's own start, the largest first."""
        return listed([name for name, _ in sorted(self.kept, key=lambda one: -one[1])], NAMED)

    @property
    def cautions(self) -> tuple[Caution, ...]:
        """What follows for results, one caution for each kind."""
        found = []
        if (line := self.line) is not None:
            found.append(
                Caution(
                    line,
                    f"{self.left} keep{'s' * (len(self.kept) == 1)} the module's own start; initializers are compared, "
                    f"and layers measured, only in the nn.Linear layers that are called",
                )
            )
        if self.frozen:
            found.append(
                Caution(
                    "Frozen parameters",
                    f"{listed(self.frozen, NAMED)}: requires_grad=False, so training never changes them from their start",
                )
            )
        if self.untrained:
            found.append(
                Caution(
                    "Some parameters never train",
                    f"{listed(self.untrained, NAMED)}: no gradient reaches them (unused, detached, or under torch.no_grad)",
                )
            )
        if self.probabilities:
            found.append(
                Caution(
                    "The outputs are already probabilities",
                    "cross_entropy takes logits and applies softmax itself; leave the last softmax or sigmoid out",
                )
            )
        if self.running:
            found.append(
                Caution(
                    "Evaluated with running statistics",
                    f"{listed(self.running, NAMED)}: losses are taken in evaluation mode, where running averages stand in for "
                    f"the batch's, so the first evaluations lag behind training",
                )
            )
        if self.elsewhere:
            found.append(
                Caution(
                    "Layers are also used without being called",
                    f"{listed(self.elsewhere, NAMED)}: the forward pass also reads the parameter by itself; sharing and "
                    f"layer measures see calls of nn.Linear only",
                )
            )
        if not self.repeats:
            found.append(
                Caution(
                    "Evaluations do not repeat",
                    "two forward passes in evaluation mode on the same inputs differ: the module draws numbers, or "
                    "changes itself, there too; guard that by self.training",
                )
            )
        return tuple(found)


def check_storable(module: nn.Module, target: object) -> None:
    """Refuse a module whose nn.Linear weights cannot be filled and read as what they are."""
    where = f"model.target={target}"
    parameters = stored_parameters(module)
    try:
        check_shaped((parameter.slot, parameter.tensor) for parameter in parameters)
    except InputError:
        raise refusal(where, "it has lazy layers, without shapes yet", "give the layers their sizes") from None
    if meta := [parameter.slot for parameter in parameters if parameter.tensor.is_meta]:
        raise refusal(where, f"{listed(meta, NAMED)} on the meta device", "make the module with numbers")
    for one in computed_tensors(module):
        if isinstance(one.layer, nn.Linear):
            raise refusal(where, one, "an initializer fills stored weights only: leave that layer plain")
    for i, j in memories([parameter.tensor for parameter in parameters]):
        raise refusal(
            where,
            f"{parameters[i].slot} and {parameters[j].slot} are two parameters in one memory",
            f"tie them as one: let {parameters[j].slot} be the same nn.Parameter",
        )


def signature(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of a module's parameters, what must not depend on the seed.

    >>> signature(nn.Linear(1, 2))
    (('weight', (2, 1)), ('bias', (2,)))
    """
    return tuple((name, tuple(p.shape)) for name, p in module.named_parameters(remove_duplicate=False))


def check_same(module: nn.Module, expected: tuple[tuple[str, tuple[int, ...]], ...], target: object, seed: int) -> None:
    """Refuse a module that has other parameters than the first seed's: its runs would be no replicates."""
    got = signature(module)
    if got == expected:
        return
    other = sorted({*got} ^ {*expected})[0]
    raise refusal(
        f"model.target={target}",
        f"seed {seed} makes other parameters than the first seed ({other[0]} {other[1]})",
        "its structure must not depend on random numbers",
    )


@dataclass(frozen=True)
class Followed:
    """What a backward pass showed."""

    untrained: tuple[str, ...]
    probabilities: bool


def follow_gradients(module: nn.Module, x: Tensor, target: str) -> Followed:
    """Backward passes in evaluation and in training mode; InputError where nothing trains, or what is not registered.

    Leaves gradients behind, so the module is one to throw away.
    """
    where = f"model.target={target}"
    with guarded(where, "its backward pass failed: ", seed=0), quiet(module), torch.enable_grad():
        outputs = module(x)
        if outputs.requires_grad:
            outputs.sum().backward()
    with suppress(OwnCodeFailed), guarded(where, seed=0), quiet(module), torch.enable_grad():
        module.train()  # layers that work in training only; what fails there alone is told when it trains
        module(x).sum().backward()
    known = {id(p) for p in module.parameters()}
    if strays := [leaf for leaf in leaves(outputs) if id(leaf) not in known]:
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in strays[:NAMED])
        raise refusal(
            where,
            f"it uses parameters that it does not register, of shape{'s' * (len(strays) > 1)} {shapes}",
            "a plain list or dict hides layers: use nn.ModuleList, nn.ModuleDict, or an nn.Parameter attribute",
        )
    stored = stored_parameters(module)
    if all(one.tensor.grad is None for one in stored):
        do = "leave out torch.no_grad, detach and .data, and let parameters require gradients"
        raise refusal(where, "no parameter gets a gradient", do)
    untrained = tuple(one.slot for one in stored if one.tensor.requires_grad and one.tensor.grad is None)
    return Followed(untrained, are_probabilities(outputs))


def leaves(outputs: Tensor) -> list[Tensor]:
    """The tensors that require a gradient and that outputs are computed from, in order of the forward pass.

    >>> net = nn.Linear(2, 1)
    >>> [tuple(leaf.shape) for leaf in leaves(net(torch.ones(1, 2)))]
    [(1, 2), (1,)]
    """
    found: dict[int, Tensor] = {}
    seen: set[object] = set()
    ahead = [outputs.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found[id(leaf)] = leaf
        ahead += [before for before, _ in node.next_functions]
    return list(found.values())


def are_probabilities(outputs: Tensor) -> bool:
    """Whether outputs (B, k) are made by a sigmoid, or each row is a distribution.

    >>> are_probabilities(torch.ones(3, 2).softmax(1)), are_probabilities(torch.ones(3, 2))
    (True, False)
    """
    if type(outputs.grad_fn).__name__ == "SigmoidBackward0":
        return True
    values = outputs.detach()
    sums = values.sum(-1)
    return outputs.ndim == 2 and bool((values >= 0).all() and torch.allclose(sums, torch.ones_like(sums)))


def reach(
    module: nn.Module, layers: Iterable[nn.Linear], x: Tensor, followed: Followed, takes_logits: bool = False
) -> Reach:
    """What an initializer that fills `layers` reaches; `x`: inputs of a forward pass that is known to work."""
    layers = list(layers)
    filled = {id(p) for layer in layers for p in layer.parameters(recurse=False)}
    stored = stored_parameters(module)
    calls = Counter(id(p) for layer in layers for p in layer.parameters(recurse=False))
    uses = count_uses(module, x)
    return Reach(
        tuple((one.slot, one.tensor.numel()) for one in stored if id(one.tensor) in filled),
        tuple((one.slot, one.tensor.numel()) for one in stored if id(one.tensor) not in filled),
        frozen=tuple(one.slot for one in stored if not one.tensor.requires_grad),
        running=tuple(name for name, part in module.named_modules() if getattr(part, "running_mean", None) is not None),
        elsewhere=tuple(
            one.slot for one in stored if id(one.tensor) in filled and uses[one.slot] > calls[id(one.tensor)]
        ),
        untrained=followed.untrained,
        probabilities=takes_logits and followed.probabilities,
        repeats=repeats(module, x),
    )


def repeats(module: nn.Module, x: Tensor) -> bool:
    """Whether two evaluations of the same inputs, after other random numbers, are the same.

    >>> repeats(nn.Dropout(), torch.ones(100)), repeats(nn.RReLU(), torch.ones(100))
    (True, True)
    """
    with quiet(module):
        torch.manual_seed(1)
        first = module(x.clone())
        torch.manual_seed(2)
        second = module(x.clone())
    return torch.equal(torch.nan_to_num(first), torch.nan_to_num(second))
