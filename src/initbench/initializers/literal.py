"""Parameters read from a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initbench.config.checks import one_of
from initbench.config.groups import LayerSpec
from initbench.errors import inapplicable, refusal, shown
from initbench.initializers._draw import put_
from initbench.initializers.contract import Contract
from initbench.initializers.registry import catalogued
from initbench.own.code import line

Generator = torch.Generator | None


def read_arrays(file: str) -> dict[str, Tensor]:
    """The tensors of a file by name, in its order: .pt, .pth (a state_dict or tensors), .npz, .npy, .json, .csv.

    InputError if it cannot be read, NotApplicable if none is named; the message says why. A .json holds a mapping name -> nested lists, or
    one list.

    >>> read_arrays("nowhere.npz")
    Traceback (most recent call last):
    initbench.errors.InputError: init.file=nowhere.npz: no such file; name an existing file
    """
    path = Path(file).expanduser()
    if not file:
        raise inapplicable(
            "init=literal", "it needs init.file", "add init.file=FILE, a .pt, .npz, .npy, .json or .csv file"
        )
    if not path.is_file():
        raise refusal(f"init.file={shown(file)}", "no such file", "name an existing file")
    readers: dict[str, Any] = {
        ".pt": _torch,
        ".pth": _torch,
        ".npz": _npz,
        ".npy": np.load,
        ".json": _json,
        ".csv": _csv,
    }
    if path.suffix not in readers:
        raise refusal(
            f"init.file={shown(file)}",
            f"a file ending in {path.suffix or 'nothing'} is not read",
            f"must end in one of: {', '.join(readers)}",
        )
    try:
        content = readers[path.suffix](path)
        named = content if isinstance(content, dict) else {"0": content}
        return {str(k): torch.as_tensor(np.asarray(v), dtype=torch.float64) for k, v in named.items()}
    except Exception as error:  # your own file can be wrong in many ways
        raise refusal(f"init.file={shown(file)}", f"cannot be read ({line(error)})", "write the file again") from None


def _torch(path: Path) -> Any:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, (list, tuple)):
        content = {str(i): tensor for i, tensor in enumerate(content)}
    return {k: v.detach() for k, v in content.items()} if isinstance(content, dict) else content.detach()


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _csv(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", ndmin=2)


def _pick(arrays: dict[str, Tensor], key: str, dimensions: int, layer: LayerSpec, file: str) -> Tensor | None:
    """By name ({index} stands for the layer's number), or `auto`: the index-th array of that many dimensions."""
    if key != "auto":
        name = key.format(index=layer.index)
        if name not in arrays:
            raise refusal(f"init.key={shown(name)}", f"not in {file}", one_of(name, tuple(arrays)))
        return arrays[name]
    fitting = [array for array in arrays.values() if array.ndim == dimensions]
    if len(fitting) == 1 and dimensions == 2 and len(arrays) == 1:
        return fitting[0]  # one matrix: that of every layer it fits
    return fitting[layer.index] if layer.index < len(fitting) else None


@catalogued(
    formula="W (and b, if there) = the tensors of a file",
    source='"parameters can always be set directly" (Dive into Deep Learning 6.3)',
    meant_for="replaying a net trained or printed elsewhere",
    contract=Contract(
        "exactly the tensors of the file; refuses without one, and when shapes differ",
        refuses=lambda c: "add init.file=FILE, a .pt, .npz" if not c["file"] else None,
        deterministic=True,
        fills_bias=True,
    ),
)
def literal_(
    weight: Tensor,
    *,
    layer: LayerSpec,
    generator: Generator = None,
    bias: Tensor | None = None,
    file: str = "",
    key: str = "auto",
) -> Tensor:
    """Weights (and biases) from a file, the same for every seed; shapes (fan_out, fan_in) and (fan_out,).

    `key`: the array's name, where {index} is the layer's number, e.g. net.{index}.weight; or auto: the
    matrices of the file in order, and its vectors as biases in order (a state_dict fits). InputError if
    shapes differ.
    Source: "Dive into Deep Learning" 6.3.

    >>> literal_(torch.empty(2, 2), layer=LayerSpec(0, 0, 2, 2))
    Traceback (most recent call last):
    initbench.errors.NotApplicable: literal needs init.file=<path>: name a .pt, .npz, .npy, .json or .csv file
    """
    arrays = read_arrays(file)
    found = _pick(arrays, key, 2, layer, file)
    if found is None or found.shape != weight.shape:
        got = "no matrix" if found is None else f"shape {tuple(found.shape)}"
        raise refusal(
            f"init.file={shown(file)}",
            f"{got} for layer {layer.index}, which needs {tuple(weight.shape)}",
            "give each layer an array of its shape (fan_out, fan_in)",
        )
    vector = _pick(arrays, "auto", 1, layer, file) if key == "auto" else None
    if bias is not None and vector is not None and len(arrays) > 1:
        if vector.shape != bias.shape:
            raise refusal(
                f"init.file={shown(file)}",
                f"a bias of {len(vector)} for layer {layer.index}, which needs {len(bias)}",
                "give each unit one bias",
            )
        put_(bias, vector)
    return put_(weight, found)


literal_.files = ("file",)  # type: ignore[attr-defined]  # what it reads: its content is part of a run's key
