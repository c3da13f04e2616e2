"""Light measures where the run stands: sums over activations, gradients and weights, taken while they are in cache.

The probe batch is the first of the evaluation samples, so an evaluation has made its forward pass already: `probe` goes
on from there, block by block. Python makes measures of the sums (measured.py).
"""

from __future__ import annotations

import numpy as np

from initbench.engine.kernel import places as at
from initbench.engine.kernel.activations import MAGNITUDE
from initbench.engine.kernel.elementary import ONE, F
from initbench.engine.kernel.layout import BLOCK, FLOAT, LANES
from initbench.engine.kernel.net import ZERO, backward, layer_of, plain, transpose
from initbench.engine.kernel.sums import (
    count_outside,
    dot,
    plain_sum,
    product_with_rest,
    square_deviation,
    square_distance,
)
from initbench.engine.kernel.tables import (
    CHANGE,
    COLUMNS_OF,
    D2,
    DEAD,
    DZ,
    FAN_IN,
    FAN_OUT,
    FIRST,
    FIRST_USE,
    G2,
    G_DEVIATION,
    H1,
    H2,
    LAYER_SUMS,
    LD_OF,
    MOVED2,
    OTHERS2,
    ROWS,
    SATURATED,
    SHARED_WEIGHT,
    SLOT_COLUMNS,
    SLOT_SUMS,
    USE2,
    USE_OTHERS,
    USES_OF,
    W1,
    W2,
    W_DEVIATION,
    Z2,
    H,
    Z,
)
from initbench.engine.kernel.vector import bits, call_pull, floats, whole_numbers


@plain
def forward_sums(plan, net, out, start_outputs, first, count, ld, keep):
    """What is summed over the samples of a block after the forward pass, added to `out`, layer by layer."""
    layers, alive, unit = plan[at.LAYERS], whole_numbers(plan[at.ALIVE]), 0
    low, high = floats(plan[at.BOUNDS])[0], floats(plan[at.BOUNDS])[1]
    ld_start = plan[at.LD_START]
    for index in range(layers):
        layer = layer_of(net, index)
        last = index + 1 == layers
        units, z = layer[FAN_OUT], layer[Z]
        h = z if last else layer[H]
        own = floats(out + index * LAYER_SUMS * FLOAT)
        own[Z2] += dot(z, ld, z, ld, units, count, ZERO, ZERO)
        own[H1] += plain_sum(h, ld, h, ld, units, count, ZERO, ZERO)
        own[H2] += dot(h, ld, h, ld, units, count, ZERO, ZERO)
        then = start_outputs + (unit * ld_start + first) * FLOAT
        if keep:
            for i in range(units):
                target, source = floats(then + i * ld_start * FLOAT), floats(h + i * ld * FLOAT)
                for b in range(count):
                    target[b] = source[b]
        else:
            own[CHANGE] += square_distance(h, ld, then, ld_start, units, count, ZERO, ZERO)
        if not last and plan[at.BOUNDED]:
            own[SATURATED] += count_outside(h, ld, h, ld, units, count, low, high)
        if not last and plan[at.KINKED]:
            slopes(plan, z, h, units, count, ld)
            for i in range(units):
                row, largest = floats(plan[at.SLOPES] + i * ld * FLOAT), np.int32(0)
                for b in range(count):
                    largest = max(largest, bits(row[b]) & MAGNITUDE)
                before = alive[unit + i] if first > 0 else 0
                alive[unit + i] = 1 if before != 0 or largest != 0 else 0
        unit += units


@plain
def slopes(plan, z, h, units, count, ld):
    """phi'(z) into SLOPES, (units, lanes)."""
    to = floats(plan[at.SLOPES])
    for i in range(units * ld):
        to[i] = ONE
    call_pull(plan[at.PULL_AT], to, floats(z), floats(h), units * ld)


@plain
def count_dead(plan, net, out):
    """Units of each hidden layer whose slope was 0 on all samples."""
    alive, unit = whole_numbers(plan[at.ALIVE]), 0
    for index in range(plan[at.LAYERS] - 1):
        units, dead = layer_of(net, index)[FAN_OUT], 0
        for i in range(units):
            dead += 1 - alive[unit + i]
        floats(out + index * LAYER_SUMS * FLOAT)[DEAD] = F(dead)
        unit += units


@plain
def add(to, source, n):
    """to += source, n floats."""
    for i in range(n):
        to[i] += source[i]


@plain
def slot_sums(plan, parameters, previous, out):
    """What is summed over the entries of each stored tensor, and over each use of a shared weight."""
    for s in range(plan[at.SLOTS]):
        row = whole_numbers(plan[at.SLOT_TABLE] + s * SLOT_COLUMNS * 8)
        own = floats(out + (plan[at.LAYERS] * LAYER_SUMS + s * SLOT_SUMS) * FLOAT)
        rows, columns, ld, uses = row[ROWS], row[COLUMNS_OF], row[LD_OF], row[USES_OF]
        w, before = parameters + row[FIRST] * FLOAT, previous + row[FIRST] * FLOAT
        entries = F(rows * columns)
        own[W1] = plain_sum(w, ld, w, ld, rows, columns, ZERO, ZERO)
        own[W2] = dot(w, ld, w, ld, rows, columns, ZERO, ZERO)
        own[W_DEVIATION] = square_deviation(w, ld, w, ld, rows, columns, own[W1] / entries, ZERO)
        own[MOVED2] = square_distance(w, ld, before, ld, rows, columns, ZERO, ZERO)
        where = whole_numbers(plan[at.USES] + row[FIRST_USE] * 2 * 8)  # pairs: bytes to the gradient, layer
        g = plan[at.PROBE_GRADIENTS] + where[0]
        if uses > 1:
            total = floats(plan[at.TOGETHER])
            for i in range(rows * ld):
                total[i] = ZERO
            for u in range(uses):
                add(total, floats(plan[at.PROBE_GRADIENTS] + where[2 * u]), rows * ld)
            g = plan[at.TOGETHER]
        own[G2] = dot(g, ld, g, ld, rows, columns, ZERO, ZERO)
        mean = plain_sum(g, ld, g, ld, rows, columns, ZERO, ZERO) / entries
        own[G_DEVIATION] = square_deviation(g, ld, g, ld, rows, columns, mean, ZERO)
        if row[SHARED_WEIGHT]:
            for u in range(uses):
                use = plan[at.PROBE_GRADIENTS] + where[2 * u]
                of_use = floats(out + where[2 * u + 1] * LAYER_SUMS * FLOAT)
                of_use[USE2] = dot(use, ld, use, ld, rows, columns, ZERO, ZERO)
                of_use[OTHERS2] = square_distance(g, ld, use, ld, rows, columns, ZERO, ZERO)
                of_use[USE_OTHERS] = product_with_rest(use, ld, g, ld, rows, columns, ZERO, ZERO)


def probe(address, r, number, first, count, lanes, ld):
    """Sums of run r at measured step `number` of the segment, from samples `first` on; its forward pass is done."""
    plan = whole_numbers(address)
    net, layers = plan[at.PROBE_NET], plan[at.LAYERS]
    parameters = plan[at.STATE] + r * plan[at.PARAMETERS] * FLOAT
    previous = plan[at.PREVIOUS] + r * plan[at.PARAMETERS] * FLOAT
    out = plan[at.LOOKS] + (r * plan[at.PROBES] + number) * plan[at.SUMS] * FLOAT
    start_outputs = plan[at.START] + r * plan[at.UNITS] * plan[at.LD_START] * FLOAT
    at_start = plan[at.FIRST_STEP] == 0 and number == 0  # step 0 is always measured
    forward_sums(plan, net, out, start_outputs, first, count, ld, at_start)
    top = layer_of(net, layers - 1)
    for c in range(top[FAN_OUT]):  # evaluation samples after those of the probe have no part in its gradients
        row = floats(top[DZ] + c * ld * FLOAT)
        for b in range(count, lanes):
            row[b] = ZERO
    inputs, vectors = layer_of(net, 0)[FAN_IN], lanes // LANES
    x, rows = plan[at.X_ROWS], plan[at.H_ROWS]
    held = plan[at.HELD_X] + (first // BLOCK) * ld * ((inputs + LANES - 1) // LANES * LANES) * FLOAT
    transpose(held, ld, inputs, vectors, x, plan[at.LDX])
    how = (ld, count, vectors, plan[at.ZEROS], plan[at.PRODUCT_AT], plan[at.PULL_AT], first > 0)
    backward(net, layers, parameters, plan[at.PROBE_GRADIENTS], x, plan[at.LDX], rows, plan[at.LDR], *how)
    for index in range(layers):
        layer = layer_of(net, index)
        dz = layer[DZ]
        floats(out + index * LAYER_SUMS * FLOAT)[D2] += dot(dz, ld, dz, ld, layer[FAN_OUT], count, ZERO, ZERO)
    if first + count == plan[at.PROBED]:
        count_dead(plan, net, out)
        slot_sums(plan, parameters, previous, out)
