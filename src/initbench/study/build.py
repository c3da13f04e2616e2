"""The net of an arm as a plain nn.Module, to inspect it or to train it in your own loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from initbench.engine import module
from initbench.engine.material import Material, start_of_seed
from initbench.engine.netstart import PlainNet
from initbench.engine.oracle import MLP
from initbench.errors import refusal
from initbench.overrides.expand import expand
from initbench.overrides.read import completed
from initbench.study.plan import planned


def build(overrides: Sequence[str] = (), seed: int = 0, config_dirs: Sequence[str] = ()) -> nn.Module:
    """The net that a run of these overrides starts from, as a plain module.

    It has nn.Linear layers `layers.0`, `layers.1` ...; tied layers hold one Parameter. Where weights are computed (formula
    schemes, residual rules, parametrizations), it holds the stored tensors `tensors.weight_00` ... instead; with
    model=module it is that module.

    Formula:
        h_0 = x, z_l = W_l h_l + b_l, h_(l+1) = phi(z_l) for l = 0 to depth; the output is z_depth.

    Args:
        overrides: of one arm, e.g. `["init=orthogonal", "sharing=all"]`; `init` and `sharing` default to `torch_default`
            and `none`.
        seed: of the run whose start it is.
        config_dirs: folders with your own option files.

    Returns:
        A module that maps inputs (N, inputs of the data) to logits or values (N, outputs).

    Raises:
        InputError: wrong overrides, or a sweep of several arms.
        NotApplicable: the initializer or the scheme does not fit this net.

    Examples:
        >>> net = build(["init=eye", "sharing=all", "model.depth=3", "model.width=4"])
        >>> net.layers[1].weight is net.layers[2].weight, net(torch.zeros(2, 64)).shape
        (True, torch.Size([2, 10]))

    Source:
        The starts and schemes name theirs in docs/catalogue.md and docs/sharing.md.
    """
    arms = expand(completed(overrides, ["init=torch_default", "sharing=none"], [f"seeds=[{seed}]"]), config_dirs)
    if len(arms) != 1:
        raise refusal(
            "build", f"the overrides make {len(arms)} arms, and one net is built at a time", "give each key one value"
        )
    material = planned(arms[0]).material
    if isinstance(material, module.ModuleMaterial):
        return module.build(material, seed)
    return plain(material, seed) if material.net.is_plain and material.scheme.is_lookup else stored(material, seed)


def plain(material: Material, seed: int) -> nn.Module:
    """nn.Linear layers, each with its Parameter."""
    net = PlainNet(material.net).to(material.dtype)
    start = start_of_seed(material, seed)
    with torch.no_grad():
        for attribute, slot in material.scheme.by_attribute:
            getattr(net.layers[slot.layers[0]], attribute).copy_(start[slot.name])
    return net


def stored(material: Material, seed: int) -> nn.Module:
    """The stored tensors and the formulas over them."""
    return MLP(material, start_of_seed(material, seed))
