"""Initialize every nn.Linear of any module by an initializer that sees the whole net, a batch or gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from initbench.errors import refusal
from initbench.initializers.calling import Initializer, needs, resolve
from initbench.initializers.whole_net import initialize_net
from initbench.parameters.naming import stored_parameters
from initbench.parameters.patterns import all_places
from initbench.parameters.storage import check_writable, computed_tensors, memories

Generator = torch.Generator | None
COLUMNS = ["name", "shape", "rule", "what", "done"]


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
        raise refusal(f"initialize_: {label}", "it looks at data", "give it batch=(inputs, targets)")
    of_linear = {
        f"{path}.{last}" if path else last: getattr(part, last)
        for path, part in module.named_modules()
        if isinstance(part, nn.Linear)
        for last in ("weight", "bias")
        if getattr(part, last) is not None
    }
    for one in computed_tensors(module):
        if one.name in of_linear:
            raise refusal(f"initialize_: {label}", one, f"initialize before {one.how} is put on the layer")
    for name, tensor in of_linear.items():
        check_writable(name, tensor)
        if tensor.dtype not in (torch.float32, torch.float64):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise refusal(
                f"initialize_: {label}", f"{name} holds {kind}", "initialize in float32, then convert the module"
            )
    for (i, j), _ in memories(given := list({id(t): t for t in of_linear.values()}.values())).items():
        first, other = (next(n for n, t in of_linear.items() if t is given[k]) for k in (i, j))
        raise refusal(f"initialize_: {label}", f"{first} and {other} share memory", "tie them by ib.share_ instead")
    places = all_places(module, activation)
    layers = {place.layer.index: place.layer for place in places if place.layer is not None}
    args = {key: value for key, value in rule.items() if key not in ("name", "bias")}
    initialize_net(
        module,
        Initializer.of(function, args, rule.get("bias", "zeros")),
        layers=[layers[index] for index in sorted(layers)],
        batch=batch or (torch.zeros(1), torch.zeros(1)),
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
