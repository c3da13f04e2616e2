"""How the tensors of a module are stored, and how each can be assigned: the one answer that every other place asks for.

Most are parameters. Some are computed from parameters (weight_norm, orthogonal, spectral_norm, pruning): such a weight is
assigned through what computes it, and only if it then is what was assigned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initbench.errors import refusal

FILLED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Computed:
    """A tensor that a layer computes: `last` is its attribute, `how` what computes it, `parts` the names of the
    parameters that are stored instead."""

    path: str  # of the layer
    layer: nn.Module
    last: str
    how: str
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.path}.{self.last}" if self.path else self.last

    def __str__(self) -> str:
        return f"{self.name} is computed by {self.how} from {', '.join(self.parts)}"

    def value(self) -> Tensor:
        """The tensor as the forward pass sees it in evaluation mode."""
        hook = hook_of(self.layer, self.last)
        with torch.no_grad(), evaluating(self.layer):
            if isinstance(hook, WeightNorm):
                return hook.compute_weight(self.layer).detach().clone()
            if isinstance(hook, SpectralNorm):
                return hook.compute_weight(self.layer, do_power_iteration=False).detach().clone()
            if hook is not None:
                return hook.apply_mask(self.layer).detach().clone()
            return getattr(self.layer, self.last).detach().clone()

    def assign_(self, values: Tensor) -> Callable[[], None]:
        """Set the stored parameters so that the tensor is `values`; returns what takes it back. InputError, with
        nothing changed, where they cannot be set so."""
        stored = [t for part in parts_of(self.layer, self.last) for t in (*part.parameters(), *part.buffers())]
        before = [(tensor, tensor.detach().clone()) for tensor in stored]
        owners = [part for owner in parts_of(self.layer, self.last) for part in owner.modules()]
        buffers = [(part, dict(part._buffers)) for part in owners]

        def undo() -> None:
            for part, held in buffers:  # a parametrization may have put others in their place
                part._buffers.update(held)
            with torch.no_grad():
                for tensor, old in before:
                    tensor.copy_(old)

        try:
            with torch.no_grad(), evaluating(self.layer):
                put(self.layer, self.last, values)
            got, why = self.value(), "it would not be the drawn weight"
        except Exception as error:  # a parametrization may be anybody's code
            got, why = None, " ".join(str(error).split())[:160] or type(error).__name__
        if got is None or not equal(got, values):
            undo()
            raise refusal(
                f"initialize_: {self.name}",
                f"{self.how} computes it from {', '.join(self.parts)} and cannot be set to these values ({why})",
                f"initialize before {self.how} is put on the layer, or leave {self.name} out",
            )
        return undo


def equal(got: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor is another one up to what arithmetic in its precision leaves of a round trip.

    >>> equal(torch.ones(2) + 1e-5, torch.ones(2)), equal(torch.ones(2), torch.zeros(2))
    (True, False)
    """
    if got.shape != wanted.shape or not wanted.numel():
        return got.shape == wanted.shape
    bound = torch.finfo(wanted.dtype).eps ** 0.5 * float(wanted.abs().max())
    return bool(((got - wanted).abs() <= bound).all())


def computed_tensors(module: nn.Module) -> list[Computed]:
    """Every tensor of a module that is computed from parameters, under each of its names.

    >>> net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    >>> [str(one) for one in computed_tensors(net)]  # doctest: +NORMALIZE_WHITESPACE
    ['0.weight is computed by weight_norm from 0.parametrizations.weight.original0,
      0.parametrizations.weight.original1']
    """
    found = []
    for path, part in module.named_modules(remove_duplicate=False):
        dot = f"{path}." if path else ""
        if parametrize.is_parametrized(part):
            for last, steps in part.parametrizations.items():  # type: ignore[union-attr,operator]
                how = ", ".join(written(type(step).__name__) for step in steps)
                own = [name for name, _ in steps.named_parameters(recurse=False)]
                parts = tuple(f"{dot}parametrizations.{last}.{name}" for name in own)
                found.append(Computed(path, part, last, how, parts))
        for hook in part._forward_pre_hooks.values():
            last = name_of(hook)
            if last is None:
                continue
            ends = ("_g", "_v") if isinstance(hook, WeightNorm) else ("_orig",)
            how = written("pruning" if isinstance(hook, prune.BasePruningMethod) else type(hook).__name__)
            found.append(Computed(path, part, last, how, tuple(f"{dot}{last}{end}" for end in ends)))
    return found


def written(name: str) -> str:
    """A class of torch as the function that puts it on: _WeightNorm as weight_norm; others as they are.

    >>> written("_WeightNorm"), written("SpectralNorm"), written("Mine")
    ('weight_norm', 'spectral_norm', 'Mine')
    """
    known = {"WeightNorm": "weight_norm", "SpectralNorm": "spectral_norm", "Orthogonal": "orthogonal"}
    return known.get(name.lstrip("_"), name)


def name_of(hook: object) -> str | None:
    """The tensor that a forward pre-hook of torch.nn.utils computes; None for any other hook."""
    if isinstance(hook, (WeightNorm, SpectralNorm)):
        return hook.name
    return hook._tensor_name if isinstance(hook, prune.BasePruningMethod) else None


def hook_of(layer: nn.Module, last: str) -> WeightNorm | SpectralNorm | prune.BasePruningMethod | None:
    """The hook that computes a tensor of a layer, if a hook does."""
    return next((hook for hook in layer._forward_pre_hooks.values() if name_of(hook) == last), None)  # type: ignore[return-value]


def parts_of(layer: nn.Module, last: str) -> list[nn.Module]:
    """The modules whose own state an assignment of a computed tensor may change."""
    return [layer] if hook_of(layer, last) is not None else [layer.parametrizations[last]]  # type: ignore[index,list-item]


def put(layer: nn.Module, last: str, values: Tensor) -> None:
    """Set what is stored from the tensor that should come of it."""
    hook = hook_of(layer, last)
    if hook is None:
        setattr(layer, last, values)
    elif isinstance(hook, WeightNorm):
        getattr(layer, f"{last}_v").copy_(values)
        getattr(layer, f"{last}_g").copy_(torch.norm_except_dim(values, 2, hook.dim))
        setattr(layer, last, hook.compute_weight(layer))
    elif isinstance(hook, SpectralNorm):
        raise ValueError("it divides by an estimate of the norm")
    else:
        getattr(layer, f"{last}_orig").copy_(values)
        setattr(layer, last, hook.apply_mask(layer))


@contextmanager
def evaluating(layer: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while: reading a weight of spectral_norm takes a step of its power iteration otherwise."""
    training = [(part, part.training) for part in layer.modules()]
    layer.eval()
    try:
        yield
    finally:
        for part, was in training:
            part.training = was


# ------------------------------------------------------------------------------------------------ what can be written


def check_shaped(parameters: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse a parameter that has no shape yet."""
    for name, tensor in parameters:
        if is_lazy(tensor):
            raise refusal(f"parameter {name}", "has no shape yet", "run one batch through the module first")


def check_writable(name: str, tensor: Tensor) -> None:
    """Refuse, by name, a parameter that cannot hold what is drawn for it.

    >>> check_writable("0.weight", torch.empty(2, device="meta"))
    Traceback (most recent call last):
    initbench.errors.InputError: initialize_: 0.weight: is on the meta device and has no numbers; \
materialize it first, e.g. module.to_empty(device="cpu")
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    wrong = do = ""
    if tensor.is_meta:
        wrong, do = (
            "is on the meta device and has no numbers",
            'materialize it first, e.g. module.to_empty(device="cpu")',
        )
    elif tensor.layout != torch.strided:
        wrong, do = (
            f"is stored as {str(tensor.layout).removeprefix('torch.')}",
            "make it dense first, or set it yourself",
        )
    elif tensor.dtype not in FILLED:
        wrong, do = (
            f"holds {kind}",
            "float16, bfloat16, float32 and float64 can be filled; initialize before converting",
        )
    elif overlaps_itself(tensor):
        wrong, do = (
            "is an expanded view, whose entries share memory",
            "clone() it into an nn.Parameter of its own first",
        )
    if wrong:
        raise refusal(f"initialize_: {name}", wrong, do)


def scratch(tensor: Tensor) -> Tensor:
    """A copy to draw in: contiguous, and float32 where half precision is stored (no decomposition knows that)."""
    wide = torch.float32 if tensor.dtype in (torch.float16, torch.bfloat16) else tensor.dtype
    return tensor.detach().to(wide, copy=True).contiguous()


def check_fits(name: str, tensor: Tensor, values: Tensor) -> None:
    """Refuse values that leave the range of a parameter's precision."""
    if bool((torch.isfinite(values) & ~torch.isfinite(values.to(tensor.dtype))).any()):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise refusal(f"initialize_: {name}", f"its values do not fit {kind}", "use smaller ones, or another dtype")


def write_(tensor: Tensor, values: Tensor) -> None:
    """Copy drawn values into a parameter, rounded to its precision; one made in inference mode is written there."""
    with torch.inference_mode(tensor.is_inference()), torch.no_grad():
        tensor.copy_(values)


# ------------------------------------------------------------------------------------------------ shared memory


def entries(tensor: Tensor) -> Tensor:
    """Offsets in bytes of all entries of a tensor in its storage."""
    span = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride()))
    offsets = torch.arange(span).as_strided(tensor.shape, tensor.stride()).flatten()
    return (offsets + int(tensor.storage_offset())) * int(tensor.element_size())


def has_memory(tensor: Tensor) -> bool:
    """Whether a tensor has entries in memory of its own or of another."""
    return not is_lazy(tensor) and not tensor.is_meta and tensor.layout == torch.strided and tensor.numel() > 0


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether several entries of a tensor are one number in memory.

    >>> overlaps_itself(torch.zeros(1, 2).expand(3, 2)), overlaps_itself(torch.zeros(3, 2).T)
    (True, False)
    """
    return has_memory(tensor) and not tensor.is_contiguous() and len(entries(tensor).unique()) < tensor.numel()


def one_memory(a: Tensor, b: Tensor) -> str:
    """ "same" if two tensors are the same entries of one memory, "part" if they have some in common, else "".

    >>> w = torch.zeros(4, 2)
    >>> one_memory(w, w[:]), one_memory(w, w[1:]), one_memory(w[:, :1], w[:, 1:])
    ('same', 'part', '')
    """
    if not (has_memory(a) and has_memory(b)) or a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return ""
    if (a.dtype, a.shape, a.stride(), a.storage_offset()) == (b.dtype, b.shape, b.stride(), b.storage_offset()):
        return "same"
    return "part" if bool(torch.isin(entries(a), entries(b)).any()) else ""


def memories(tensors: Sequence[Tensor]) -> dict[tuple[int, int], str]:
    """(i, j), i < j -> how two of these tensors share memory, for those that do."""
    by_storage: dict[int, list[int]] = {}
    for index, tensor in enumerate(tensors):
        if has_memory(tensor):
            by_storage.setdefault(tensor.untyped_storage().data_ptr(), []).append(index)
    pairs = ((i, j) for found in by_storage.values() for at, i in enumerate(found) for j in found[at + 1 :])
    return {(i, j): how for i, j in pairs if (how := one_memory(tensors[i], tensors[j]))}
