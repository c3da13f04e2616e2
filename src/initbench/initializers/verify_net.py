"""Does an initializer that fills a whole net keep its contract? On small nets and a batch with fixed seeds."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from initbench.config.groups import LayerSpec, ModelConfig
from initbench.initializers.calling import Initializer, options
from initbench.initializers.contract import NetDraw
from initbench.initializers.registry import Entry
from initbench.initializers.whole_net import fill_base_, initialize_net, linears

INPUTS, WIDTH, OUTPUTS, DEPTH, SAMPLES = 8, 12, 4, 3, 300
# fewer steps than a study takes: the statements hold after any number of them
QUICK: dict[str, dict[str, Any]] = {
    "metainit": {"steps": 5},
    "gradinit": {"iterations": 10, "lr": 0.01},
    "nio": {"iterations": 10},
}
KINDS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "linear": nn.Identity}


def plain_net(
    depth: int = DEPTH,
    width: int = WIDTH,
    inputs: int = INPUTS,
    outputs: int = OUTPUTS,
    activation: str = "relu",
    dtype: torch.dtype = torch.float64,
) -> tuple[nn.Sequential, tuple[LayerSpec, ...]]:
    """A net of nn.Linear layers, and its layers as data.

    >>> net, layers = plain_net(depth=1)
    >>> net[0], layers[0].shape
    (Linear(in_features=8, out_features=12, bias=True), (12, 8))
    """
    parts: list[nn.Module] = []
    for n, m in pairwise([inputs, *[width] * depth, outputs]):
        parts += [nn.Linear(n, m), KINDS[activation]()]
    layers = ModelConfig(depth=depth, width=width, activation=activation).layers(inputs, outputs)
    return nn.Sequential(*parts[:-1]).to(dtype), layers


def sample(
    samples: int = SAMPLES, inputs: int = INPUTS, outputs: int = OUTPUTS, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """A batch of shifted Gaussian inputs and uniform labels, always the same.

    >>> [tuple(part.shape) for part in sample(5)]
    [(5, 8), (5,)]
    """
    draws = torch.Generator().manual_seed(7)
    x = 3 * torch.randn(samples, inputs, dtype=dtype, generator=draws) + 1
    return x, torch.randint(outputs, (samples,), generator=draws)


def _stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _base_streams(seed: int) -> list[torch.Generator]:
    """One generator per layer, for what a base draws."""
    return [_stream(100 + seed + layer) for layer in range(DEPTH + 1)]


def filled(
    entry: Entry,
    args: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    bias_rule: Any = 0.1,
    batch: tuple[Tensor, Tensor] | None = None,
    dtype: torch.dtype = torch.float64,
    **shape: Any,
) -> tuple[nn.Sequential, tuple[LayerSpec, ...]]:
    """A net after the initializer; no global random state is touched by building it.

    >>> from initbench.initializers.registry import REGISTRY
    >>> len(filled(REGISTRY["lsuv"])[1])
    4
    """
    with torch.random.fork_rng():
        module, layers = plain_net(dtype=dtype, **shape)
    initialize_net(
        module,
        Initializer.of(entry.function, {**QUICK.get(entry.name, {}), **(args or {})}, bias_rule),
        layers=layers,
        batch=sample(dtype=dtype) if batch is None else batch,
        loss=nn.functional.cross_entropy,
        generator=_stream(seed),
        weight_generators=_base_streams(seed),
    )
    return module, layers


def cases(entry: Entry) -> Iterator[tuple[dict[str, Any], str]]:
    """(arguments, activation) of the nets a contract is tested on: defaults and variants.

    >>> from initbench.initializers.registry import REGISTRY
    >>> [activation for _, activation in cases(REGISTRY["balanced"])]
    ['linear', 'linear']
    """
    for variant in ({}, *entry.contract.variants):
        for activation in ("linear",) if entry.name == "balanced" else ("relu", "tanh"):
            yield dict(variant), activation


def drawn(entry: Entry, args: Mapping[str, Any], activation: str, dtype: torch.dtype = torch.float64) -> NetDraw:
    """What the statements of a contract are asked about: the filled net, and what its base had left."""
    module, layers = filled(entry, args, activation=activation, dtype=dtype)
    own = options(entry.function)
    before: list[Tensor] = []
    if "base" in own:
        base, _ = plain_net(activation=activation, dtype=dtype)
        fill_base_(base, "kaiming_normal", layers, None, _base_streams(0))
        before = [part.weight.detach() for part in linears(base)]
    return NetDraw(
        module, linears(module), before, sample(dtype=dtype)[0], {**own, **QUICK.get(entry.name, {}), **args}
    )


def violations(entry: Entry, args: Mapping[str, Any], activation: str, dtype: torch.dtype = torch.float64) -> list[str]:
    """What of the contract does not hold on this net, in words; an empty list if all holds.

    >>> from initbench.initializers.registry import REGISTRY
    >>> violations(REGISTRY["weight_norm_ddi"], {}, "relu")
    []
    """
    found = drawn(entry, args, activation, dtype)
    where = f"on a {activation} net" + (f" ({', '.join(f'{k}={v}' for k, v in args.items())})" if args else "")
    return [f"not true: {words} {where}" for words, holds in entry.contract.net.items() if not holds(found)]


def use_of_generator(entry: Entry, args: Mapping[str, Any] | None = None) -> list[str]:
    """Whether one generator repeats, another differs, and the global one stays as it was; in words what does not.

    >>> from initbench.initializers.registry import REGISTRY
    >>> use_of_generator(REGISTRY["lsuv"])
    []
    """
    before = torch.get_rng_state()
    activation = next(cases(entry))[1]
    nets = [filled(entry, args, seed=seed, activation=activation)[0] for seed in (1, 1, 2)]
    first, again, other = ([part.weight for part in linears(net)] for net in nets)
    found = []
    if not torch.equal(before, torch.get_rng_state()):
        found.append("a global random generator was used")
    if not all(torch.equal(a, b) for a, b in zip(first, again)):
        found.append("the same generator state gave other numbers")
    if any(torch.equal(a, b) for a, b in zip(first, other)):
        found.append("the generator is not used: every seed gives the same weights")
    if any(p.grad is not None for net in nets for p in net.parameters()):
        found.append("it leaves gradients behind")
    return found


def check(entry: Entry, args: Mapping[str, Any] | None = None) -> list[str]:
    """All violations of an entry's contract over its nets; with `args`, only with those arguments."""
    asked = [(dict(args), activation) for _, activation in cases(entry)] if args else list(cases(entry))
    broken = [words for own, activation in asked for words in violations(entry, own, activation)]
    return broken + use_of_generator(entry, args)
