"""Initializers that look at the layer's place in the net, or are made of others: mirrored nets, zero heads, edits."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from initbench.config.checks import unknown
from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable, refusal, shown
from initbench.initializers._draw import fans, gaussian, put_
from initbench.initializers.calling import Initializer, options
from initbench.initializers.contract import Case, Contract
from initbench.initializers.laws import sphere_entry
from initbench.initializers.option_files import base as base_of
from initbench.initializers.orthogonal import orthogonal_
from initbench.initializers.registry import catalogued, entry_of
from initbench.startup.late import stats

Generator = torch.Generator | None


def _half_shape(weight: Tensor, layer: LayerSpec, name: str) -> tuple[int, int]:
    """(m, n) of the half of a mirrored layer: hidden widths halved, inputs and outputs whole."""
    n, m = fans(weight)
    if layer.first and layer.last:
        raise inapplicable(f"init={name}", "it needs a hidden layer to mirror", "use a net with hidden layers")
    for size, whole, side in ((n, layer.first, "fan_in"), (m, layer.last, "fan_out")):
        if not whole and size % 2:
            raise inapplicable(
                f"init={name}", f"it needs even hidden widths, got {side}={size}", "set an even model.width"
            )
    return (m if layer.last else m // 2), (n if layer.first else n // 2)


def _odd(c: Case) -> str | None:
    odd = (c.m % 2 and not c.layer.last) or (c.n % 2 and not c.layer.first)
    return "even hidden widths" if odd else None


def _half(c: Case) -> tuple[int, int]:
    return (c.m if c.layer.last else c.m // 2), (c.n if c.layer.first else c.n // 2)


def _mirrored(c: Case, w: Tensor) -> bool:
    m, n = _half(c)
    rows = c.layer.last or torch.equal(w[:m], -w[m:])
    return bool(rows and (c.layer.first or torch.equal(w[:, :n], -w[:, n:])))


def _half_is_isometry(c: Case, w: Tensor) -> bool:
    m, n = _half(c)
    if c["block"] != "orthogonal":
        return True
    u = w[:m, :n]
    gram = u @ u.T if m < n else u.T @ u
    return torch.allclose(gram, torch.eye(len(gram), dtype=w.dtype), atol=1e-5)


def _block_law(c: Case) -> object:
    m, n = _half(c)
    if c["block"] == "orthogonal":
        return sphere_entry(max(m, n))
    return stats.norm(0, math.sqrt(1 / c.n if c.layer.first else 2 / c.n))


@catalogued(
    formula="first [U; -U], hidden [[W0, -W0], [-W0, W0]], last [V, -V], halves orthogonal (gsm: N(0, 2/n))",
    source="Balduzzi et al. 2017; Burkholz & Dubatovka 2019 (gsm)",
    meant_for="plain ReLU nets that start exactly linear: V W0 ... W0 U x",
    note="the variance of gsm is derived here",
    contract=Contract(
        "mirrored blocks; orthogonal halves; hidden singular values 2 and 0, rank half",
        checks={
            "mirrored blocks": lambda c, w, b: _mirrored(c, w),
            "halves are isometries": lambda c, w, b: _half_is_isometry(c, w),
        },
        law=_block_law,
        independent="one",
        rank=lambda c: min(_half(c)),
        spectral_norm=lambda c: (
            (1.0 if c.layer.first else math.sqrt(2)) * (1.0 if c.layer.last else math.sqrt(2))
            if c["block"] == "orthogonal"
            else None
        ),
        refuses=_odd,
        positions=("first", "hidden", "last"),
        variants=({"block": "gaussian"},),
    ),
)
def looks_linear_(
    weight: Tensor, *, layer: LayerSpec, generator: Generator = None, block: str = "orthogonal"
) -> Tensor:
    """A ReLU net that is exactly linear at the start, by mirrored blocks; shape (fan_out, fan_in), bias 0.

    First [U; -U], hidden [[W0, -W0], [-W0, W0]], last [V, -V]; then relu nets compute V W0 ... W0 U x.
    `block`: orthogonal halves, or gaussian (GSM): U ~ N(0, 1/n), W0 and V ~ N(0, 2/n), n = fan_in of the
    whole.
    Source: Balduzzi et al. 2017; Burkholz & Dubatovka 2019. NotApplicable for odd hidden widths.

    >>> looks_linear_(torch.empty(2, 1), layer=LayerSpec(0, 1, 1, 2)).abs()
    tensor([[1.],
            [1.]])
    """
    m, n = _half_shape(weight, layer, "looks_linear")
    if block == "orthogonal":
        part = orthogonal_(weight.new_empty(m, n), generator=generator)
    elif block == "gaussian":
        part = gaussian(weight, m, n, generator=generator) / math.sqrt(n)
    else:
        raise unknown("init.block", block, ("orthogonal", "gaussian"))
    if not layer.first:
        part = torch.cat([part, -part], 1)
    return put_(weight, part if layer.last else torch.cat([part, -part], 0))


def _twins(c: Case, w: Tensor, b: Tensor) -> bool:
    m, n = _half(c)
    if c.layer.last:
        return torch.equal(w[:, :n], -w[:, n:]) and bool((b == 0).all())
    same = torch.equal(b[:m], b[m:])
    if c.layer.first:
        return same and torch.equal(w[:m], w[m:])
    return same and torch.equal(w[:m, :n], w[m:, n:]) and not bool(w[:m, n:].any() or w[m:, :n].any())


def _twin_law(c: Case) -> object:
    _, n = _half(c)  # lecun_normal of the half, the last over sqrt 2
    return stats.norm(0, 1 / math.sqrt(n) / (math.sqrt(2) if c.layer.last else 1.0))


@catalogued(
    formula="two copies of one half-width net: first [U; U], hidden diag(W0, W0), last [V, -V]/sqrt 2",
    source="Zhang et al. 2020 (ASI); Chizat et al. 2019 (doubling)",
    meant_for="output exactly 0 at the start, with the tangent kernel unchanged",
    note="not confirmed: derived here; the papers were not read",
    contract=Contract(
        "twin copies, so that the output is exactly 0",
        checks={"twin copies, bias too": _twins},
        law=_twin_law,
        independent="one",
        zeros=lambda c: 0 if c.layer.first or c.layer.last else c.n * c.m // 2,
        refuses=_odd,
        fills_bias=True,
        positions=("first", "hidden", "last"),
    ),
)
def asi_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    base: str | Mapping[str, Any] = "lecun_normal",
) -> Tensor:
    """Antisymmetric start: two equal nets of half width, f = (f_A - f_B)/sqrt 2 = 0; (fan_out, fan_in).

    First [U; U], hidden [[W0, 0], [0, W0]], last [V, -V]/sqrt 2 with U, W0, V from `base` on the half
    shapes; hidden biases are doubled, the last is 0. Source: Zhang et al. 2020; Chizat's doubling (not
    confirmed: derived here).
    NotApplicable for odd hidden widths.

    >>> asi_(torch.empty(2, 1), layer=LayerSpec(0, 1, 1, 2), base="ones")
    tensor([[1.],
            [1.]])
    """
    m, n = _half_shape(weight, layer, "asi")
    part = weight.new_empty(m, n)
    half_bias = None if bias is None else (bias if layer.last else bias[:m].clone())
    base_of(base).call_(part, half_bias, layer=replace(layer, fan_in=n, fan_out=m), generator=generator)
    if bias is not None and half_bias is not None:
        put_(bias, torch.zeros_like(bias) if layer.last else torch.cat([half_bias, half_bias]))
    if layer.last:
        return put_(weight, torch.cat([part, -part], 1) / math.sqrt(2))
    return put_(weight, torch.cat([part, part]) if layer.first else torch.block_diag(part, part))


def _of_base(c: Case, statement: str) -> Any:
    """What the contract of the base states here."""
    start = base_of(c["base"])
    entry = entry_of(start.function)
    stated = None if entry is None else getattr(entry.contract, statement)
    return None if stated is None else stated(Case(c.layer, {**options(start.function), **start.args}))


@catalogued(
    formula="any base; last layer W = 0 (its bias follows the bias rule)",
    source="timm, muP practice; with base eye: zero-asymmetric (Wu et al. 2019)",
    meant_for="a net that starts with equal probabilities for any body",
    contract=Contract(
        "the contract of the base (kaiming_normal), the last layer exactly 0",
        law=lambda c: None if c.layer.last else _of_base(c, "law"),
        zeros=lambda c: c.n * c.m if c.layer.last else _of_base(c, "zeros"),
        values=lambda c: torch.zeros(c.m, c.n).numpy() if c.layer.last else _of_base(c, "values"),
        variants=({"base": "eye"}, {"base": {"name": "normal", "std": 0.3}}),
        positions=("first", "hidden", "last"),
        fills_bias=True,
        checks={"the bias is left to its rule": lambda c, w, b: bool((b == 1).all())},
    ),
)
def zero_head_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    base: str | Mapping[str, Any] = "kaiming_normal",
) -> Tensor:
    """Any base initializer, but the last layer's weight is 0; shape (fan_out, fan_in).

    `base`: an option's name, module.function, or {name: ..., <arguments>}. The last bias follows the bias rule: zeros,
    or neg_log_classes for sigmoid heads. Source: timm (vision transformer, mixer). zas = zero_head with base eye.

    >>> zero_head_(torch.ones(1, 2), layer=LayerSpec(1, 1, 2, 1))
    tensor([[0., 0.]])
    """
    start = base_of(base)
    if layer.last:
        return put_(weight, torch.zeros_like(weight))
    return start.call_(weight, bias, layer=layer, generator=generator)


@catalogued(
    formula="W = multiply * base + add, then W[i, j] = value for each [i, j, value] of entries",
    source='"parameters can always be set directly" (Dive into Deep Learning 6.3)',
    meant_for="an in-place edit of another initializer, e.g. weight += 1, weight[0, 0] = 42",
    contract=Contract(
        "the base law (normal, std .01), multiplied, shifted, single entries set",
        law=lambda c: stats.norm(c["add"], 0.01 * abs(c["multiply"])) if not c["entries"] else None,
        variants=({"multiply": 3.0, "add": 1.0}, {"entries": [[0, 0, 42.0]]}),
        checks={"W[0, 0] = 42": lambda c, w, b: not c["entries"] or float(w[0, 0]) == 42.0},
        fills_bias=True,
    ),
)
def edited_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    base: str | Mapping[str, Any] = "normal",
    multiply: float = 1.0,
    add: float = 0.0,
    entries: Sequence[Sequence[float]] = (),
) -> Tensor:
    """Another initializer, then an edit in place: W = multiply W + add, single entries set; (fan_out, fan_in).

    `entries`: a list of [row, column, value]; InputError if one lies outside the matrix.
    Source: "Dive into Deep Learning" 6.3: net[0].weight.data[:] += 1, net[0].weight.data[0, 0] = 42.

    >>> edited_(torch.empty(1, 2), layer=LayerSpec(0, 0, 2, 1), base="zeros", add=1, entries=[[0, 0, 42]])
    tensor([[42.,  1.]])
    """
    base_of(base).call_(weight, bias, layer=layer, generator=generator)
    put_(weight, multiply * weight + add)
    for entry in entries:
        if len(entry) != 3:
            raise refusal(f"init.entries={shown(list(entry))}", "not an entry", "must be [row, column, value]")
        row, column, value = int(entry[0]), int(entry[1]), float(entry[2])
        if not (-weight.shape[0] <= row < weight.shape[0] and -weight.shape[1] <= column < weight.shape[1]):
            raise refusal(
                f"init.entries={shown(list(entry))}",
                f"it lies outside layer {layer.index} of shape {tuple(weight.shape)}",
                "name a row and a column of every layer",
            )
        with torch.no_grad():
            weight[row, column] = value
    return weight


def _pattern_fits(pattern: Any, layer: LayerSpec) -> bool:
    """Whether a key of `map` names this layer: first, last, hidden, 2, -1, "1-3", or a glob of layer_03."""
    text = str(pattern)
    if text in ("first", "last", "hidden"):
        return layer.called(text)
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        return layer.called(int(text))
    if re.fullmatch(r"[0-9]{1,9}-[0-9]{1,9}", text):
        low, high = text.split("-")
        return int(low) <= layer.index <= int(high)
    if not text.startswith("layer") and "*" not in text:
        allowed = "must be one of: first, hidden, last, 2, -1, 1-3, layer_0* (all other layers take init.default)"
        raise refusal(f"init.map.{shown(text)}", "no layer has this name", allowed)
    return fnmatchcase(f"layer_{layer.index:02d}", text)


def _mapped_values(c: Case) -> Any:
    if not c["map"] or not (c.layer.first or c.layer.last):
        return None
    return torch.full((c.m, c.n), 42.0 if c.layer.last else 0.0).numpy()


def _mapped_law(c: Case) -> object:
    if not c["map"]:
        return stats.norm(0, math.sqrt(2 / c.n))
    bound = math.sqrt(6 / (c.n + c.m))
    return None if c.layer.first or c.layer.last else stats.uniform(-bound, 2 * bound)


def choose(map: Mapping[Any, Any], default: Any, layer: LayerSpec) -> Any:
    """The spec of the first key of `map` that names this layer, else the default.

    >>> choose({"last": "zeros", 0: "ones"}, "eye", LayerSpec(0, 3, 4, 4))
    'ones'
    """
    fitting = [spec for pattern, spec in map.items() if _pattern_fits(pattern, layer)]
    return fitting[0] if fitting else default


def check_keys(map: Mapping[Any, Any], layers: Sequence[LayerSpec]) -> None:
    """Refuse keys of `map` that no layer follows: it is not there, or an earlier key has it.

    >>> check_keys({99: "zeros"}, [LayerSpec(0, 1, 4, 4), LayerSpec(1, 1, 4, 4)])
    Traceback (most recent call last):
    initbench.errors.InputError: init.map.99: no such layer; name one of layers 0 to 1
    """
    left = list(layers)
    for pattern in map:
        named = [layer for layer in layers if _pattern_fits(pattern, layer)]
        if not named:
            refused = inapplicable if str(pattern) == "hidden" else refusal
            raise refused(f"init.map.{shown(pattern)}", "no such layer", f"name one of {extent(layers)}")
        if not any(layer in left for layer in named) and len(layers) > 1:
            raise refusal(
                f"init.map.{shown(pattern)}", "earlier keys name all its layers", "put it first, or leave it out"
            )
        left = [layer for layer in left if layer not in named]


def extent(layers: Sequence[LayerSpec]) -> str:
    """The layers there are, in words.

    >>> extent([LayerSpec(0, 0, 2, 2)])
    'layers 0 to 0'
    """
    return f"layers 0 to {len(layers) - 1}"


def _delegate(
    *,
    layer: LayerSpec,
    bias_rule: Any,
    map: Mapping[Any, Any],
    default: Any = "kaiming_normal",
) -> Initializer:
    return base_of(choose(map, default, layer), bias_rule)


@catalogued(
    formula="layer pattern -> initializer; the first pattern that fits, else default",
    source='"first layer xavier_uniform, third constant 42" (Dive into Deep Learning 6.3)',
    meant_for="different laws in different layers",
    contract=Contract(
        "each layer has the law its pattern names, and the bias rule that comes with it",
        values=_mapped_values,
        law=_mapped_law,
        positions=("first", "hidden", "last"),
        variants=({"map": {"first": "zeros", -1: {"name": "constant", "value": 42.0}}, "default": "xavier_uniform"},),
    ),
)
def per_layer_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    map: Mapping[Any, Any] | None = None,
    default: str | Mapping[str, Any] = "kaiming_normal",
) -> Tensor:
    """Another initializer for each layer: the first key of `map` that names the layer, else `default`.

    Keys: first, hidden, last, a number (0-based, -1 the last), a range 1-3, a glob layer_0*. Values: an
    option's name, module.function, or {name: ..., bias: <rule>, <arguments>}. With init.bias null each
    brings its own bias rule.
    Source: "Dive into Deep Learning" 6.3. Shape (fan_out, fan_in).

    >>> first = LayerSpec(0, 3, fan_in=2, fan_out=1)
    >>> per_layer_(torch.empty(1, 2), layer=first, map={"first": {"name": "constant", "value": 42}})
    tensor([[42., 42.]])
    """
    start = _delegate(layer=layer, bias_rule=None, map=map or {}, default=default)
    return start.call_(weight, bias, layer=layer, generator=generator)


per_layer_.delegate = lambda *, layer, bias_rule, map=None, default="kaiming_normal": _delegate(  # type: ignore
    layer=layer, bias_rule=bias_rule, map=map or {}, default=default
)
per_layer_.check_keys = check_keys  # type: ignore[attr-defined]
