"""One net in cache: forward pass, losses, backward pass. All arguments are byte addresses and counts of floats.

Activations are (units, lanes): a row is a unit, a lane a sample; at most BLOCK lanes at once, rows `ld` floats apart. A
weight is (fan_out, fan_in) with its rows padded to whole vectors by zeros. So samples run through the vectors in both
products with W, and fan_in does in dW = dZ H^T, for which H is transposed. Unused lanes carry no gradient.
"""

from __future__ import annotations

from numba import njit

from initbench.engine.kernel.elementary import ONE, F, exp, fma, log
from initbench.engine.kernel.layout import FLOAT
from initbench.engine.kernel.tables import (
    BIAS,
    COLUMNS,
    DB,
    DW,
    DZ,
    FAN_IN,
    FAN_OUT,
    LAST_BIAS_USE,
    LAST_USE,
    LDW,
    WEIGHT,
    H,
    Z,
)
from initbench.engine.kernel.vector import (
    LANES,
    call_phi,
    call_product,
    call_pull,
    floats,
    product_of,
    row_sum,
    transpose_tile,
    whole_numbers,
)

ZERO, TWO = F(0), F(2)

tiles = product_of(8, 2)
# only called from one another: Python's wrappers would double the time to compile
plain = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


def product(c, ldc, a, row_step, depth_step, b, ldb, rows, depth, vectors, start, start_step, add):
    """C = start + A B, compiled once for all that use it."""
    tiles(c, ldc, a, row_step, depth_step, b, ldb, rows, depth, vectors, start, start_step, add)


@plain
def transpose(source, lds, rows, vectors, target, ldt):
    """target (16 vectors, rows up to a multiple of 16) = source (rows, 16 vectors) transposed, the padding zeros."""
    for i in range(0, rows, LANES):
        for j in range(vectors):
            there, to = source + (i * lds + j * LANES) * FLOAT, target + (j * LANES * ldt + i) * FLOAT
            transpose_tile(there, lds, rows - i, to, ldt)


@plain
def layer_of(net, index):
    """The row of a layer in the table at address `net`."""
    return whole_numbers(net + index * COLUMNS * 8)


@plain
def forward(net, layers, parameters, x, ld, vectors, zeros, product, phi):
    """Z_l = W_l H_l + b_l, H_{l+1} = phi(Z_l), the last layer linear; returns the address of the logits."""
    h = x
    for index in range(layers):
        layer = layer_of(net, index)
        fan_out, fan_in, w = layer[FAN_OUT], layer[FAN_IN], parameters + layer[WEIGHT]
        start, step = (parameters + layer[BIAS], 1) if layer[BIAS] >= 0 else (zeros, 0)
        call_product(product, layer[Z], ld, w, layer[LDW], 1, h, ld, fan_out, fan_in, vectors, start, step, 0)
        if index + 1 < layers:
            call_phi(phi, floats(layer[Z]), floats(layer[H]), layer[FAN_OUT] * ld)
            h = layer[H]
    return layer_of(net, layers - 1)[Z]


@plain
def backward(
    net, layers, parameters, gradients, x_rows, ldx, rows, ldr, ld, count, vectors, zeros, product, pull, more
):
    """dW_l = dZ_l H_l^T, db_l = row sums of dZ_l, dZ_{l-1} = phi'(Z_{l-1}) * W_l^T dZ_l.

    The last layer's dZ is there already; `x_rows` are the inputs as (lanes, units), `rows` is room for other layers'.
    Gradients of a stored tensor's uses add up; those of the block before are kept if `more`.
    """
    for index in range(layers - 1, -1, -1):
        layer, below = layer_of(net, index), layer_of(net, max(index - 1, 0))
        fan_out, fan_in, dz = layer[FAN_OUT], layer[FAN_IN], layer[DZ]
        h_rows, ldh = x_rows, ldx
        if index > 0:
            transpose(below[H], ld, fan_in, vectors, rows, ldr)
            h_rows, ldh = rows, ldr
        add = 1 if more or not layer[LAST_USE] else 0
        width = (fan_in + LANES - 1) // LANES
        call_product(
            product, gradients + layer[DW], layer[LDW], dz, ld, 1, h_rows, ldh, fan_out, count, width, zeros, 0, add
        )
        if layer[BIAS] >= 0:
            db = floats(gradients + layer[DB])
            keep = more or not layer[LAST_BIAS_USE]
            for i in range(fan_out):
                db[i] = (db[i] if keep else ZERO) + row_sum(dz + i * ld * FLOAT, vectors)
        if index > 0:
            g, w = below[DZ], parameters + layer[WEIGHT]
            call_product(product, g, ld, w, 1, layer[LDW], dz, ld, fan_in, fan_out, vectors, zeros, 0, 0)
            call_pull(pull, floats(g), floats(below[Z]), floats(below[H]), fan_in * ld)


def cross_entropy(z, ld, classes, lanes, labels, targets, live, top, total, loss, dz):
    """loss = ln sum_c e^z_c - z_label of each lane, and dz = (softmax(z) - onehot(label)) live.

    `live` is 1 / batch for lanes in use and 0 for others, whose loss is 0 too.
    """
    for i in range(lanes):
        top[i] = z[i]
        total[i] = ZERO
        loss[i] = ZERO
    for c in range(1, classes):
        for i in range(lanes):
            value = z[c * ld + i]
            top[i] = value if value > top[i] else top[i]
    for c in range(classes):
        number = F(c)
        for i in range(lanes):
            shifted = z[c * ld + i] - top[i]
            part = exp(shifted)
            dz[c * ld + i] = part
            total[i] += part
            loss[i] -= shifted if labels[i] == number else ZERO
    for i in range(lanes):
        loss[i] = loss[i] + log(total[i]) if live[i] > ZERO else ZERO
        total[i] = live[i] / total[i]
    for c in range(classes):
        number = F(c)
        for i in range(lanes):
            dz[c * ld + i] = dz[c * ld + i] * total[i] - (live[i] if labels[i] == number else ZERO)


def squared_error(z, ld, outputs, lanes, labels, targets, live, top, total, loss, dz):
    """loss = mean over outputs of (z - target)^2 of each lane, and dz = 2 (z - target) / outputs live."""
    share = ONE / F(outputs)
    for i in range(lanes):
        loss[i] = ZERO
    for c in range(outputs):
        for i in range(lanes):
            difference = z[c * ld + i] - targets[c * ld + i]
            loss[i] = fma(difference * share, difference, loss[i]) if live[i] > ZERO else ZERO
            dz[c * ld + i] = difference * (TWO * share) * live[i]


LOSSES = {"cross_entropy": cross_entropy, "squared_error": squared_error}


@plain
def hits(z, ld, classes, lanes, labels, live, top, where):
    """How many lanes in use have their label as the largest output (the first of equal ones)."""
    for i in range(lanes):
        top[i] = z[i]
        where[i] = ZERO
    for c in range(1, classes):
        number = F(c)
        for i in range(lanes):
            better = z[c * ld + i] > top[i]
            where[i] = number if better else where[i]
            top[i] = z[c * ld + i] if better else top[i]
    found = 0
    for i in range(lanes):
        found += 1 if live[i] > ZERO and where[i] == labels[i] else 0
    return found
