"""model=module: your own nn.Module. How it is made, and what initbench sees of it.

One forward pass is observed: each call of an nn.Linear is a layer, in order, and a layer called twice (or two that hold
one Parameter) is one slot with two uses. So initializers, sharing, measures and costs mean the same as for the MLP.
Other parameters are trained too, from the start that the module gives them; `reach` says which.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import torch
from torch import Tensor, nn

from initbench import rng
from initbench.config.arm import ArmConfig
from initbench.config.cautions import Caution
from initbench.config.checks import one_of
from initbench.config.groups import LayerSpec, ModelConfig
from initbench.data import Dataset, inputs_of, split
from initbench.engine.material import Draws, Material
from initbench.engine.netstart import MEAN_LOSSES, training_batch, training_targets
from initbench.engine.reach import Reach, check_same, check_storable, follow_gradients, reach, signature
from initbench.errors import inapplicable, refusal
from initbench.initializers.whole_net import initialize_net, linears
from initbench.own import plugins
from initbench.own.code import OwnCodeFailed, advised, guarded, reasons
from initbench.parameters.ties import share_
from initbench.parameters.uses import quiet
from initbench.sharing import Scheme, Slot, scheme

PROBED = 2  # samples of the forward pass that is observed
FOLLOWED = 64  # of those whose gradients are followed: a branch may be taken by some samples only


@dataclass(frozen=True)
class Structure:
    """What one forward pass of a module showed."""

    layers: tuple[LayerSpec, ...]  # one for each call of an nn.Linear, in order
    names: tuple[str, ...]  # dotted name of the layer of each call
    scheme: Scheme
    by_sample: bool  # the module returns one number a batch, so it is called sample by sample
    others: int  # numbers in trained parameters that belong to no layer
    reach: Reach
    signature: tuple[tuple[str, tuple[int, ...]], ...]  # names and shapes of the parameters


class ModuleMaterial(Material):
    """An arm whose model is a module: layers and scheme are those of the module."""

    @cached_property
    def structure(self) -> Structure:
        return structure(self)

    @cached_property
    def starts(self) -> dict[int, tuple[dict[str, Tensor], float]]:
        """Of seeds whose start saw the whole net: the module's parameters, and the operations that it took."""
        return {}

    @cached_property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.structure.layers

    @property
    def scheme(self) -> Scheme:
        return self.structure.scheme

    @property
    def cautions(self) -> tuple[Caution, ...]:
        return (*super().cautions, *self.structure.reach.cautions)


def imported(target: str) -> Callable[..., nn.Module]:
    """The class or function of a dotted path, looked for in the current folder too; InputError in one line.

    >>> imported("torch.nn.Linear")
    <class 'torch.nn.modules.linear.Linear'>
    """
    allowed = "name a class or function that makes an nn.Module, e.g. model.target=my_module.MyNet"
    return cast("Callable[..., nn.Module]", plugins.imported("model.target", target, allowed))


def made(model: ModelConfig, data: Dataset, seed: int) -> nn.Module:
    """A new module of one seed, in the arm's dtype; `inputs` and `outputs` are passed if its signature names them.

    What it draws itself (constants, its own start) comes from the global generators, which are seeded for it.
    """
    target = str(model.target)
    make = imported(target)
    what = f"model.target={target}"
    if isinstance(make, nn.Module):
        raise refusal(what, f"an instance of {type(make).__name__}", "name the class, or a function that makes it")
    try:
        known = inspect.signature(make).parameters
    except (TypeError, ValueError):
        known = inspect.signature(lambda **kwargs: None).parameters
    variable = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    for key in model.args:
        if key not in known and not variable:
            own = [name for name in known if name not in ("inputs", "outputs")]
            raise refusal(f"model.args.{key}", f"{target} has no such argument", one_of(key, own))
    given = {"inputs": data.inputs, "outputs": data.outputs}
    args = {**{key: value for key, value in given.items() if key in known}, **model.args}
    try:
        with guarded(what, "making it failed: ", seed=rng.key(seed, "module")):
            torch.set_default_dtype(torch.float64 if model.dtype == "float64" else torch.float32)
            module = make(**args)
    except OwnCodeFailed as failure:
        if "before Module.__init__() call" in str(failure):
            raise advised(failure, "call super().__init__() first") from failure
        values = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        needed = {name for name, p in known.items() if p.kind in values and p.default is p.empty}
        if model.args or needed - {*args}:
            raise advised(failure, "set model.args.KEY=VALUE") from failure
        raise
    if not isinstance(module, nn.Module):
        raise refusal(f"model.target={target}", f"it makes a {type(module).__name__}", "return an nn.Module")
    return module


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """torch's global generator seeded for a while, then put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def build(material: ModuleMaterial, seed: int) -> nn.Module:
    """The module of one seed, shared and initialized as its arm says, on the arm's device."""
    arm = material.arm
    module = made(arm.model, material.data, seed)
    check_same(module, material.structure.signature, arm.model.target, seed)
    module = tied(module, material)
    start_(module, material, seed)
    return module.to(arm.engine.device)


def call(module: nn.Module, x: Tensor, by_sample: bool) -> Tensor:
    """Outputs (B, k) of inputs (B, n); a module that returns one number a batch is called sample by sample.

    >>> call(nn.Flatten(0), torch.ones(3, 1), by_sample=False).shape
    torch.Size([3, 1])
    """
    with reasons(f"model.target={type(module).__module__}.{type(module).__qualname__}", "its forward pass failed: "):
        outputs = torch.stack([module(one).reshape(1) for one in x.split(1)]) if by_sample else module(x)
    return outputs.unsqueeze(1) if outputs.dim() == 1 else outputs


# ------------------------------------------------------------------------------------------------ what is seen


@dataclass
class Call:
    """One call of an nn.Linear: input (..., n) and output (..., m), the output as its own node of the graph."""

    layer: nn.Linear
    input: Tensor
    output: Tensor


@contextmanager
def observed(module: nn.Module) -> Iterator[list[Call]]:
    """Inside: every call of an nn.Linear layer, in order.

    What follows sees a copy of the output, so that a module which changes it in place (x /= 2) changes nothing here.
    """
    calls: list[Call] = []

    def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear)
        calls.append(Call(layer, args[0].detach().clone(), output))
        return output.clone()

    hooks = [part.register_forward_hook(hook) for part in module.modules() if is_layer(part)]
    try:
        yield calls
    finally:
        for one in hooks:
            one.remove()


def is_layer(part: nn.Module) -> bool:
    """An nn.Linear, with its own forward pass, that stores its weight (a computed one is no matrix to fill)."""
    plain = isinstance(part, nn.Linear) and type(part).forward is nn.Linear.forward
    return plain and isinstance(part._parameters.get("weight"), nn.Parameter)


def structure(material: ModuleMaterial) -> Structure:
    """Observe a forward pass of the first seed's module; InputError if it fails or its outputs do not fit the data."""
    arm, data = material.arm, material.data
    seed = arm.seeds[0]
    module = made(arm.model, data, seed)
    check_storable(module, arm.model.target)
    shape = signature(module)
    if len(arm.seeds) > 1:
        check_same(made(arm.model, data, arm.seeds[-1]), shape, arm.model.target, arm.seeds[-1])
    its = split(data, seed)
    probe = torch.from_numpy(inputs_of(data, its, its.train[:FOLLOWED])).to(material.dtype)
    x = probe[:PROBED]
    calls, by_sample = forward_calls(module, x, arm, data)
    followed = follow_gradients(module, x[:1] if by_sample else probe, str(arm.model.target))
    if not calls:
        raise refusal(
            f"model.target={arm.model.target}",
            "its forward pass calls no nn.Linear, so there is nothing to initialize",
            "name a module with nn.Linear layers",
        )
    if arm.sharing.name != "none":
        share_calls_(module, calls, arm)
    names = {id(part): name for name, part in module.named_modules()}
    depth = len(calls) - 1
    layers = tuple(
        LayerSpec(index, depth, one.in_features, one.out_features, arm.model.activation)
        for index, one in enumerate(calls)
    )
    shapes = tuple(layer.shape for layer in layers)
    found = Scheme(slots(calls, "weight"), slots(calls, "bias"), arm.sharing.reduce, shapes=shapes)
    trained = {id(p): p.numel() for p in module.parameters() if p.requires_grad}
    of_layers = {id(p) for one in calls for p in one.parameters(recurse=False)}
    others = sum(n for key, n in trained.items() if key not in of_layers)
    its_reach = reach(module, calls, x[:1] if by_sample else x, followed, material.loss == "cross_entropy")
    return Structure(layers, tuple(names[id(one)] for one in calls), found, by_sample, others, its_reach, shape)


def forward_calls(module: nn.Module, x: Tensor, arm: ArmConfig, data: Dataset) -> tuple[list[nn.Linear], bool]:
    """The nn.Linear layers in order of their calls, and whether the module returns one number a batch."""
    where = f"model.target={arm.model.target}"
    failing = f"its forward pass on inputs {tuple(x.shape)} failed: "
    with guarded(where, failing, seed=0), quiet(module), observed(module) as calls:
        outputs = module(x)
        by_sample = isinstance(outputs, Tensor) and outputs.dim() == 0
        if by_sample:
            calls.clear()
            outputs = call(module, x[:1], by_sample=True).expand(len(x), 1)
    if not isinstance(outputs, Tensor):
        raise refusal(where, f"its forward pass returns a {type(outputs).__name__}", "return a tensor")
    shape = tuple(outputs.shape)
    if shape != (len(x), data.outputs) and not (data.outputs == 1 and shape == (len(x),)):
        came = "one number a batch" if by_sample else f"outputs {shape}"
        raise refusal(
            where, f"{came} for inputs {tuple(x.shape)}", f"return a tensor of shape {(len(x), data.outputs)}"
        )
    if outputs.dtype != x.dtype:
        kinds = [str(one.dtype).removeprefix("torch.") for one in (outputs, x)]
        raise refusal(where, f"it returns {kinds[0]} for {kinds[1]} inputs", "return outputs.to(inputs.dtype)")
    return [one.layer for one in calls], by_sample


def slots(calls: list[nn.Linear], attribute: str) -> tuple[Slot, ...]:
    """The stored tensors that the calls use, by object identity: who holds one Parameter shares it."""
    users: dict[int, list[int]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for index, one in enumerate(calls):
        parameter = getattr(one, attribute)
        if parameter is not None:
            users.setdefault(id(parameter), []).append(index)
            shapes[id(parameter)] = tuple(parameter.shape)
    return tuple(Slot(f"{attribute}_{at[0]:02d}", shapes[key], tuple(at)) for key, at in users.items())


# ------------------------------------------------------------------------------------------------ sharing and start


def share_calls_(module: nn.Module, calls: list[nn.Linear], arm: ArmConfig) -> None:
    """Tie a module's layers as a named scheme says; NotApplicable if it shares some already, or needs a formula."""
    own = arm.sharing.name
    names = {id(part): name for name, part in module.named_modules()}
    if len({id(one.weight) for one in calls}) < len(calls):
        raise inapplicable(f"sharing={own}", f"{arm.model.target} shares layers by itself", "use sharing=none")
    depth = len(calls) - 1
    specs = [LayerSpec(i, depth, one.in_features, one.out_features) for i, one in enumerate(calls)]
    asked = scheme(arm.sharing, specs, all(one.bias is not None for one in calls))
    if not asked.is_lookup:
        raise inapplicable(
            f"sharing={own}",
            "it computes weights by a formula, and a module's layers can only be tied",
            "use a scheme that ties layers, e.g. sharing=all",
        )
    for attribute, slot in asked.by_attribute:
        if len(slot.layers) > 1:
            share_(module, [[f"{names[id(calls[i])]}.{attribute}" for i in slot.layers]])


def tied(module: nn.Module, material: ModuleMaterial) -> nn.Module:
    """A new module with the ties of the structure, and the mean over uses where that is asked."""
    found = material.structure
    for attribute, slot in found.scheme.by_attribute:
        members = list(dict.fromkeys(f"{found.names[i]}.{attribute}" for i in slot.layers))
        if len(members) > 1:
            share_(module, [members])
        if material.arm.sharing.reduce == "mean" and len(slot.layers) > 1:
            parameter = getattr(module.get_submodule(found.names[slot.layers[0]]), attribute)
            parameter.register_hook(partial(mean_of_uses, len(slot.layers)))
    return module


def mean_of_uses(uses: int, gradient: Tensor) -> Tensor:
    """Autograd's sum over uses as their mean."""
    return gradient / uses


def start_(module: nn.Module, material: ModuleMaterial, seed: int) -> None:
    """Fill the layers of a module by the arm's initializer, each slot once with the fans of its first use."""
    found = material.structure
    if material.initializer.needs != "nothing":
        start_whole_(module, material, seed)
        return
    draws = Draws(material, seed)
    with torch.no_grad():
        for attribute, slot in found.scheme.by_attribute:
            first = slot.layers[0]
            values = draws(first) if attribute == "weight" else draws.bias(first)
            getattr(module.get_submodule(found.names[first]), attribute).copy_(values)


def start_whole_(module: nn.Module, material: ModuleMaterial, seed: int) -> None:
    """An initializer that sees the net, a batch or gradients: the module itself, if it calls each layer once, in order.

    Computed once per seed; all learning rates share it.
    """
    arm, found = material.arm, material.structure
    if seed in material.starts:
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(material.starts[seed][0][name])
        return
    if found.by_sample or [id(part) for part in linears(module)] != [
        id(module.get_submodule(name)) for name in found.names
    ]:
        raise inapplicable(
            f"init={arm.init.name}",
            "it needs a module that calls each nn.Linear once, in the order of definition",
            "use an initializer of single matrices, e.g. init=kaiming_normal",
        )
    x, y = training_batch(material.data, material.loss, seed)
    layers = range(len(found.layers))
    flops = initialize_net(
        module,
        material.initializer,
        layers=found.layers,
        batch=(x.to(material.dtype), y.to(material.dtype) if y.is_floating_point() else y),
        loss=MEAN_LOSSES[material.loss],
        generator=rng.stream(seed, "weight", "net"),
        weight_generators=[rng.stream(seed, "weight", index) for index in layers],
        bias_generators=[rng.stream(seed, "bias", index) for index in layers],
        targets=partial(training_targets, material.data, material.loss, seed),
    )
    material.starts[seed] = {name: p.detach().clone() for name, p in module.named_parameters()}, flops
