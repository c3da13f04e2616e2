"""The second protocol: initializers that see a whole net, and what they share.

`name_(module, *, generator, batch, loss, layers, <own arguments>)`: `module` is one run's plain nn.Module whose
nn.Linear layers are in forward order, `batch` = (inputs (B, features), targets), `loss(outputs, targets)` a mean.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable, refusal
from initbench.initializers.bias import fill_bias_
from initbench.initializers.calling import Initializer, catalogued_here, names
from initbench.initializers.contract import Contract, NetDraw
from initbench.initializers.option_files import base as base_of
from initbench.initializers.passes import counted
from initbench.initializers.registry import catalogued
from initbench.own.code import failed, guarded
from initbench.startup.late import stats

Generator = torch.Generator | None
Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


def linears(module: nn.Module) -> list[nn.Linear]:
    """The nn.Linear layers of a net, in forward order; of those that hold one weight, the first.

    NotApplicable if there are none.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> len(linears(net))
    2
    >>> net[2].weight = net[0].weight
    >>> len(linears(net))
    1
    """
    by_weight = {id(part.weight): part for part in reversed(all_linears(module))}
    found = list(reversed(by_weight.values()))
    if not found:
        raise inapplicable(
            type(module).__name__, "the net has no nn.Linear layer to initialize", "use a net with nn.Linear layers"
        )
    return found


def all_linears(module: nn.Module) -> list[nn.Linear]:
    """Every nn.Linear of a net in forward order, tied or not.

    >>> all_linears(nn.ReLU())
    []
    """
    return [part for part in module.modules() if isinstance(part, nn.Linear)]


def initialize_net(
    module: nn.Module,
    start: Initializer,
    *,
    layers: Sequence[LayerSpec],
    batch: Batch,
    loss: Loss,
    generator: Generator,
    weight_generators: Sequence[Generator] | None = None,
    bias_generators: Sequence[Generator] | None = None,
    targets: Tensor | Callable[[], Tensor] | None = None,
) -> float:
    """Fill one run's net in place by an initializer whose `needs` is module, data or gradient; returns the operations of
    its passes (see passes.py).

    First the bias rule fills every bias, then the function weights and, if its method says so, biases. It
    gets `batch`, `loss`, `layers`, `generator` and `generators` (one per layer, for its base) only if it names them;
    gradients are left at None. `targets`, all those of the training part, are for the bias rules that need them (else
    the batch's). `layers` are those that hold a weight of their own (of tied ones, the first).
    Raises NotApplicable where it does not fit the net.

    >>> net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> specs = [LayerSpec(0, 1, 2, 4), LayerSpec(1, 1, 4, 1)]
    >>> data = torch.randn(64, 2), torch.zeros(64, 1)
    >>> asked = {"batch": data, "loss": nn.functional.mse_loss, "generator": None}
    >>> flops = initialize_net(net, Initializer.of("lsuv", {}), layers=specs, **asked)
    >>> flops >= 2 * 2 * 64 * (2 * 4 + 4 * 1)  # a forward pass or more a layer
    True
    >>> bool(abs(net[0](data[0]).std() - 1) < 0.2)
    True
    """
    function, args, bias_rule = start
    if start.needs == "nothing":
        raise refusal(
            f"init={start.label}",
            "it fills one matrix, not a whole net",
            "use an initializer of whole nets, e.g. lsuv",
        )
    parts = linears(module)
    if len(parts) != len(layers):
        raise inapplicable(
            type(module).__name__,
            f"the net has {len(parts)} linear layers, the configuration {len(layers)}",
            "name every linear layer of the net once",
        )
    for part, layer, draws in zip(parts, layers, bias_generators or [generator] * len(parts)):
        if part.bias is not None:
            fill_bias_(
                part.bias, bias_rule, layer=layer, generator=draws, targets=batch[1] if targets is None else targets
            )
    given = {"generator": generator, "generators": weight_generators, "batch": batch, "loss": loss, "layers": layers}
    training = module.training
    module.eval()
    passed = {k: v for k, v in given.items() if names(function, k)}
    own = not catalogued_here(function)
    what = f"init={start.label}"
    shapes = [(part.weight, part.weight.shape) for part in parts]
    if own:  # what it leaves unfilled is seen
        with torch.no_grad():
            for part in parts:
                part.weight.fill_(math.nan)
    seed = generator.initial_seed() if generator is not None else 0
    with torch.enable_grad(), counted(module) as spent, guarded(what, seed=seed) if own else nullcontext():
        function(module, **passed, **args)  # engines start nets where no gradients are kept
    if any(part.weight is not weight or weight.shape != shape for part, (weight, shape) in zip(parts, shapes)):
        raise failed(what, "it replaced or resized a weight", "fill each layer's weight in place")
    module.train(training)
    module.zero_grad(set_to_none=True)
    if not all(bool(torch.isfinite(p).all()) for p in module.parameters()):
        do = "every weight holds NaN before the call: fill each one" if own else ""
        raise failed(what, "it left NaN or infinity in a weight", do)
    return spent.flops


def fill_base_(
    module: nn.Module,
    base: str | Mapping[str, Any],
    layers: Sequence[LayerSpec],
    generator: Generator,
    generators: Sequence[Generator] | None = None,
) -> None:
    """Fill all weights by an initializer of one matrix; biases keep what their rule gave unless it names them.

    `generators`, one per layer: the draws of the base alone, so that both start from the same matrices.

    >>> net = nn.Sequential(nn.Linear(1, 1))
    >>> fill_base_(net, "ones", [LayerSpec(0, 0, 1, 1)], None)
    >>> float(net[0].weight.detach())
    1.0
    """
    start = base_of(base)
    for part, layer, draws in zip(linears(module), layers, generators or [generator] * len(layers)):
        start.call_(part.weight, part.bias, layer=layer, generator=draws)


def output_of(module: nn.Module, part: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """(input, output) of one layer `(B, fan_in)`, `(B, fan_out)` when the net sees `inputs`, without a graph.

    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> [tuple(t.shape) for t in output_of(net, net[0], torch.zeros(5, 2))]
    [(5, 2), (5, 3)]
    """
    seen: list[tuple[Tensor, Tensor]] = []
    hook = part.register_forward_hook(lambda m, args, out: seen.append((args[0].detach(), out.detach())))
    with torch.no_grad():
        module(inputs)
    hook.remove()
    return seen[0]


def _balanced_pairs(d: NetDraw) -> bool:
    weights = [part.weight.detach().double() for part in d.linears]
    return all(torch.allclose(b.T @ b, a @ a.T, atol=1e-4) for a, b in pairwise(weights))


def _gaussian_product(d: NetDraw) -> bool:
    """Whether the sum of squares of the product is one that so many draws of N(0, scale^2/n) give."""
    product = torch.linalg.multi_dot([part.weight.detach().double() for part in reversed(d.linears)])
    law = stats.chi2(product.numel())
    sum_of_squares = float(product.square().sum()) * product.shape[1] / d.args["scale"] ** 2
    return law.ppf(1e-6) < sum_of_squares < law.isf(1e-6)


@catalogued(
    formula="A = scale N(0, 1/n0) = U S V^T; W_l = Q_{l+1} S^(1/N) Q_l^T, Q_0 = V, Q_N = U, others orthonormal",
    source="Arora et al. 2018, 2019",
    meant_for="deep linear nets, whose theory assumes W_{l+1}^T W_{l+1} = W_l W_l^T",
    note="not confirmed: from memory",
    needs="module",
    contract=Contract(
        "W_{l+1}^T W_{l+1} = W_l W_l^T; the product of all weights is one Gaussian matrix",
        net={"balanced": _balanced_pairs, "sum of squares of the product, of chi^2 law": _gaussian_product},
        variants=({"scale": 0.1},),
    ),
)
def balanced_(
    module: nn.Module, *, generator: Generator = None, layers: Sequence[LayerSpec], scale: float = 1.0
) -> nn.Module:
    """Balanced weights of a deep linear net from one SVD: W_{l+1}^T W_{l+1} = W_l W_l^T; biases as by their rule.

    A (m_last, n_first) ~ scale N(0, 1/n_first) = U S V^T; W_l = Q_{l+1} S^(1/N) Q_l^T with Q_0 = V, Q_N = U
    and random orthonormal (width, r) between, r = min(n_first, m_last). NotApplicable if a hidden width is
    below r.
    Source: Arora et al. (not confirmed: from memory).

    >>> net = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    >>> net = balanced_(net, layers=[LayerSpec(0, 1, 3, 4, "linear"), LayerSpec(1, 1, 4, 2, "linear")])
    >>> a, b = net[0].weight.detach(), net[1].weight.detach()
    >>> torch.allclose(b.T @ b, a @ a.T, atol=1e-5)
    True
    """
    if len(linears(module)) != len(all_linears(module)):
        raise inapplicable("init=balanced", "it gives each layer its own matrix", "use sharing=none")
    n, m, count = layers[0].fan_in, layers[-1].fan_out, len(layers)
    rank = min(n, m)
    narrow = [layer.fan_out for layer in layers[:-1] if layer.fan_out < rank]
    if narrow:
        raise inapplicable(
            "init=balanced",
            f"it needs hidden widths of at least min(inputs, outputs)={rank}, got {narrow[0]}",
            f"set model.width={rank} or more",
        )
    a = torch.randn(m, n, dtype=torch.float64, generator=generator) * (scale / n**0.5)
    u, s, v = torch.linalg.svd(a, full_matrices=False)
    between = [
        torch.linalg.qr(torch.randn(layer.fan_out, rank, dtype=torch.float64, generator=generator))[0]
        for layer in layers[:-1]
    ]
    frames = [v.T, *between, u]
    with torch.no_grad():
        for part, left, right in zip(linears(module), frames[1:], frames):
            part.weight.copy_(left * s ** (1 / count) @ right.T)
    return module
