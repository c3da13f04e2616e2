"""Light measures on the kernel: room and tables for the compiled probe (probe.py), and measures of the sums it takes.

Formulas are those of initbench.measure, in sums. R: runs, times measured steps; k columns as in `measure.axis`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from initbench.config.activations import ACTIVATIONS
from initbench.engine.kernel import compiled
from initbench.engine.kernel import places as at
from initbench.engine.kernel import tables as col
from initbench.engine.kernel.layout import FLOAT, Place, padded, row_length
from initbench.engine.kernel.plan import Plan
from initbench.measure import axis, shared
from initbench.sharing import Scheme


@dataclass(frozen=True)
class Sums:
    """What the compiled probe found: `layers` (R, L, LAYER_SUMS), `slots` (R, slots, SLOT_SUMS) in float64,
    weights first; and the numbers that make means of sums."""

    scheme: Scheme
    layers: np.ndarray
    slots: np.ndarray
    units: np.ndarray  # (L,) fan_out
    samples: int
    activation: str

    @property
    def entries(self) -> np.ndarray:
        """Numbers in each stored tensor, (slots,)."""
        return np.array([np.prod(slot.shape) for slot in self.scheme.slots])

    @property
    def shrink(self) -> np.ndarray:
        """What makes a sum over samples and uses the stored gradient of the mean loss, (slots,)."""
        mean = self.scheme.reduce == "mean"
        return np.array([1 / (self.samples * (len(slot.layers) if mean else 1)) for slot in self.scheme.slots])

    @property
    def weights(self) -> slice:
        return slice(0, len(self.scheme.weights))

    @property
    def biases(self) -> slice:
        return slice(len(self.scheme.weights), None)

    def slot(self, column: int) -> np.ndarray:
        """A sum of each stored tensor, (R, slots)."""
        return self.slots[:, :, column]

    def layer(self, column: int) -> np.ndarray:
        """A sum of each layer, (R, L)."""
        return self.layers[:, :, column]

    def of_weight(self, values: np.ndarray) -> np.ndarray:
        """(R, slots) -> (R, L): that of the weight which each layer uses."""
        slots = [slot.name for slot in self.scheme.slots]
        return values[:, [slots.index(slot.name) for slot in self.scheme.weight_slot]]

    def hidden_share(self, column: int, per_unit: int) -> np.ndarray:
        """A count of each hidden layer, over the number of units times `per_unit`."""
        return self.layer(column)[:, :-1] / (self.units[:-1] * per_unit)

    def of_uses(self, column: int) -> list[np.ndarray]:
        """A sum of each use of each shared weight: (R, uses) a weight."""
        return [self.layers[:, list(slot.layers), column] for slot in shared(self.scheme)]


def per_layer(s: Sums, of_slots: Sequence[np.ndarray]) -> np.ndarray:
    """(R, uses) of each shared weight -> (R, layers that share), in the order of layers."""
    layers = [layer for slot in shared(s.scheme) for layer in slot.layers]
    return np.concatenate(of_slots, axis=1)[:, np.argsort(layers)]


def use_grad_norm(s: Sums) -> np.ndarray:
    shrink = [by for slot, by in zip(s.scheme.slots, s.shrink) if slot in shared(s.scheme)]
    return per_layer(s, [np.sqrt(squares) * by for squares, by in zip(s.of_uses(col.USE2), shrink)])


def use_grad_cosine(s: Sums) -> np.ndarray:
    parts = zip(*(s.of_uses(column) for column in (col.USE2, col.OTHERS2, col.USE_OTHERS)))
    return per_layer(s, [product / (np.sqrt(own) * np.sqrt(others)) for own, others, product in parts])


def use_grad_alignment(s: Sums) -> np.ndarray:
    return np.stack([np.sqrt(total) / norms.sum(1) for total, norms in together(s)], axis=1)


def use_grad_coherence(s: Sums) -> np.ndarray:
    columns = []
    for total, norms in together(s):
        squares = np.square(norms).sum(1)
        columns.append((total - squares) / (np.square(norms.sum(1)) - squares))
    return np.stack(columns, axis=1)


def together(s: Sums) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each shared weight: |sum of its uses' gradients|^2, (R,), and their norms, (R, uses)."""
    where = [s.scheme.slots.index(slot) for slot in shared(s.scheme)]
    return [(s.slot(col.G2)[:, i], np.sqrt(squares)) for i, squares in zip(where, s.of_uses(col.USE2))]


MEASURES: dict[str, Callable[[Sums], np.ndarray | None]] = {
    "weight_mean": lambda s: s.of_weight(s.slot(col.W1) / s.entries),
    "weight_std": lambda s: s.of_weight(np.sqrt(s.slot(col.W_DEVIATION) / s.entries)),
    "weight_norm": lambda s: s.of_weight(np.sqrt(s.slot(col.W2))),
    "bias_norm": lambda s: np.sqrt(s.slot(col.W2))[:, s.biases],
    "grad_norm": lambda s: (np.sqrt(s.slot(col.G2)) * s.shrink)[:, s.weights],
    "grad_std": lambda s: (np.sqrt(s.slot(col.G_DEVIATION) / s.entries) * s.shrink)[:, s.weights],
    "bias_grad_norm": lambda s: (np.sqrt(s.slot(col.G2)) * s.shrink)[:, s.biases],
    "use_grad_norm": use_grad_norm,
    "use_grad_cosine": use_grad_cosine,
    "use_grad_alignment": use_grad_alignment,
    "use_grad_coherence": use_grad_coherence,
    "update_ratio": lambda s: np.sqrt(s.slot(col.MOVED2) / s.slot(col.W2))[:, s.weights],
    "preactivation_msq": lambda s: s.layer(col.Z2) / (s.units * s.samples),
    "activation_msq": lambda s: s.layer(col.H2) / (s.units * s.samples),
    "activation_mean": lambda s: s.layer(col.H1) / (s.units * s.samples),
    "dead_fraction": lambda s: s.hidden_share(col.DEAD, 1) if ACTIVATIONS[s.activation].kinked else None,
    "saturated_fraction": lambda s: (
        s.hidden_share(col.SATURATED, s.samples) if ACTIVATIONS[s.activation].range else None
    ),
    "backward_msq": lambda s: s.layer(col.D2) / (s.units * s.samples),
    "activation_change_msq": lambda s: s.layer(col.CHANGE) / (s.units * s.samples),
}
SINCE_THE_START = ("update_ratio", "activation_change_msq")  # absent at step 0


class Looks:
    """Room and tables of the compiled probe for R runs, and what it found."""

    def __init__(
        self, plan: Plan, scheme: Scheme, tensors: dict[str, Place], table: np.ndarray, activation: str, samples: int
    ) -> None:
        self.plan, self.scheme, self.activation, self.samples = plan, scheme, activation, samples
        self.units = table[:, col.FAN_OUT]
        runs, parameters = plan.values[at.RUNS], plan.values[at.PARAMETERS]
        lanes = max(plan.values[at.LD], plan.values[at.LD_HELD])
        low, high = ACTIVATIONS[activation].range or (0.0, 0.0)
        margin = 0.01 * (high - low)
        plan.put(at.BOUNDS, [low + margin, high - margin])
        plan.put(at.START, np.zeros((runs, self.units.sum(), padded(samples))))
        plan.put(at.PREVIOUS, np.zeros((runs, parameters)))
        plan.put(at.ALIVE, np.zeros(self.units.sum()), np.int64)
        widest = max(padded(int(n)) for n in self.units)
        plan.put(at.SLOPES, np.zeros(widest * lanes))
        plan.put(at.TOGETHER, np.zeros(max(place.size for place in tensors.values())))
        places = self.put_tables(table, tensors, lanes)
        plan.put(at.PROBE_GRADIENTS, np.zeros(places))
        plan.sizes(
            PROBED=samples,
            SUMS=len(table) * col.LAYER_SUMS + len(scheme.slots) * col.SLOT_SUMS,
            SLOTS=len(scheme.slots),
            KINKED=ACTIVATIONS[activation].kinked,
            BOUNDED=ACTIVATIONS[activation].range is not None,
            UNITS=int(self.units.sum()),
            LD_START=padded(samples),
        )
        plan.values[at.PROBE_AT] = compiled.address("probe")
        plan.values[at.SELF] = plan.values.ctypes.data

    def put_tables(self, table: np.ndarray, tensors: dict[str, Place], lanes: int) -> int:
        """The net with a gradient of its own for every use, the stored tensors, their uses; floats of all gradients."""
        own, end = table.copy(), 0
        for row in own:
            row[col.DW], end = end * FLOAT, end + row[col.FAN_OUT] * row[col.LDW]
            row[col.DB], end = end * FLOAT, end + row_length(int(row[col.FAN_OUT]))
        backward = self.plan.put(at.PROBE_DZ, np.zeros(sum(padded(int(n)) for n in self.units) * lanes))
        above = np.cumsum([0, *(padded(int(n)) * lanes * FLOAT for n in self.units[:-1])])
        own[:, col.DZ] = backward.ctypes.data + above
        own[:, [col.LAST_USE, col.LAST_BIAS_USE]] = 1
        self.plan.put(at.PROBE_NET, own, np.int64)
        slots: list[list[int]] = []
        uses: list[list[int]] = []
        for slot in self.scheme.slots:
            place, weight = tensors[slot.name], slot in self.scheme.weights
            rows, columns = (1, *place.shape)[-2:]
            is_shared = slot in shared(self.scheme)
            slots.append([place.first, rows, columns, place.ld, len(slot.layers), len(uses), is_shared])
            uses += [[own[layer, col.DW if weight else col.DB], layer] for layer in slot.layers]
        self.plan.put(at.SLOT_TABLE, slots, np.int64)
        self.plan.put(at.USES, uses, np.int64)
        return int(end)

    def expect(self, steps: Sequence[int], measured: Collection[int]) -> None:
        """Say which of the segment's steps, and the one after them, are measured."""
        taken = [t for t in steps if t in measured]
        where = {t: i for i, t in enumerate(taken)}
        numbers = [*(where.get(t, -1) for t in steps), 0 if steps[-1] + 1 in measured else -1]
        self.plan.put(at.MEASURED, numbers, np.int64)
        shape = (self.plan.values[at.RUNS], len(taken), self.plan.values[at.SUMS])
        self.found = self.plan.put(at.LOOKS, np.zeros(shape))
        self.plan.sizes(PROBES=len(taken))
        self.taken = taken

    def values(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Every measured step of the segment, and the measures that exist for this net and step: (R, k) each."""
        if not self.taken:
            return
        runs, steps, length = self.found.shape
        found = self.found.reshape(runs * steps, length).astype(np.float64)
        cut = len(self.units) * col.LAYER_SUMS
        layers = found[:, :cut].reshape(len(found), -1, col.LAYER_SUMS)
        slots = found[:, cut:].reshape(len(found), -1, col.SLOT_SUMS)
        sums = Sums(self.scheme, layers, slots, self.units, self.samples, self.activation)
        with np.errstate(all="ignore"):  # 0 / 0 is NaN, a value as any other
            asked = {name: MEASURES[name](sums) for name in names if axis(name, self.scheme)}
        values = {name: torch.from_numpy(v).unflatten(0, (runs, steps)) for name, v in asked.items() if v is not None}
        for i, step in enumerate(self.taken):
            yield step, {name: v[:, i] for name, v in values.items() if step > 0 or name not in SINCE_THE_START}
