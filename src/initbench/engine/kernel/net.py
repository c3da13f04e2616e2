"""One net in cache: forward pass, losses, backward pass. All arguments are byte addresses and counts of floats.

Activations are (units, lanes): a row a unit, a lane a sample, at most BLOCK lanes at once, rows `ld` floats apart; a
weight is (fan_out, fan_in) with its rows padded to whole vectors by zeros. So samples run through the vectors in both
products with W, and fan_in does in dW = dZ H^T, for which H is transposed. Unused lanes carry no gradient.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from initbench.engine.kernel.elementary import F, ONE, exp, fma, log
from initbench.engine.kernel.vector import LANES, caller, floats, product_of, row_sum, transpose_tile

BLOCK = 128  # samples at once: activations of a wide layer stay in the second cache
FLOAT = 4  # bytes
ZERO, TWO = F(0), F(2)

# columns of the table of layers (int64); addresses of WEIGHT and BIAS are bytes from the start of a run's parameters,
# BIAS -1 where there is none; Z and H are addresses
FAN_OUT, FAN_IN, LDW, WEIGHT, BIAS, Z, H, LAST_USE, LAST_BIAS_USE = range(9)

POINTER = types.CPointer(types.float32)
PHI = types.void(POINTER, POINTER, types.intp)
PULL = types.void(POINTER, POINTER, POINTER, types.intp)
call_phi = caller(types.void, *[POINTER] * 2, types.intp)
call_pull = caller(types.void, *[POINTER] * 3, types.intp)
tiles = product_of(8, 2)
plain = njit(error_model="numpy", nogil=True)


@plain
def product(c, ldc, a, row_step, depth_step, b, ldb, rows, depth, vectors, start, start_step, add):  # type: ignore[no-untyped-def]
    """C = start + A B, compiled once for all that use it."""
    tiles(c, ldc, a, row_step, depth_step, b, ldb, rows, depth, vectors, start, start_step, add)


@plain
def transpose(source, lds, rows, vectors, target, ldt):  # type: ignore[no-untyped-def]
    """target (16 vectors, rows up to a multiple of 16) = source (rows, 16 vectors) transposed, the padding zeros."""
    for i in range(0, rows, LANES):
        for j in range(vectors):
            transpose_tile(
                source + (i * lds + j * LANES) * FLOAT,
                lds,
                rows - i,
                target + (j * LANES * ldt + i) * FLOAT,
                ldt,
            )


@plain
def forward(net, parameters, x, ld, vectors, zeros, phi):  # type: ignore[no-untyped-def]
    """Z_l = W_l H_l + b_l, H_{l+1} = phi(Z_l), the last layer linear; returns the address of the logits."""
    h = x
    for l in range(net.shape[0]):
        layer = net[l]
        bias = layer[BIAS] >= 0
        start, step = (parameters + layer[BIAS], 1) if bias else (zeros, 0)
        product(
            layer[Z],
            ld,
            parameters + layer[WEIGHT],
            layer[LDW],
            1,
            h,
            ld,
            layer[FAN_OUT],
            layer[FAN_IN],
            vectors,
            start,
            step,
            0,
        )
        if l + 1 < net.shape[0]:
            call_phi(phi, floats(layer[Z]), floats(layer[H]), layer[FAN_OUT] * ld)
            h = layer[H]
    return net[-1][Z]


@plain
def backward(net, parameters, gradients, x, x_rows, ldx, dz, other, rows, ldr, ld, count, vectors, zeros, pull, more):  # type: ignore[no-untyped-def]
    """dW_l = dZ_l H_l^T, db_l = row sums of dZ_l, dZ_{l-1} = phi'(Z_{l-1}) * W_l^T dZ_l.

    `dz` holds dZ of the last layer, `x` the inputs as (units, lanes) and `x_rows` as (lanes, units). Gradients of a
    stored tensor's uses add up; those of the block before are kept if `more`.
    """
    for l in range(net.shape[0] - 1, -1, -1):
        layer = net[l]
        fan_out, fan_in = layer[FAN_OUT], layer[FAN_IN]
        h_rows, ldh = x_rows, ldx
        if l > 0:
            transpose(net[l - 1][H], ld, fan_in, vectors, rows, ldr)
            h_rows, ldh = rows, ldr
        add = 1 if more or not layer[LAST_USE] else 0
        product(
            gradients + layer[WEIGHT],
            layer[LDW],
            dz,
            ld,
            1,
            h_rows,
            ldh,
            fan_out,
            count,
            (fan_in + LANES - 1) // LANES,
            zeros,
            0,
            add,
        )
        if layer[BIAS] >= 0:
            db = floats(gradients + layer[BIAS])
            keep = more or not layer[LAST_BIAS_USE]
            for i in range(fan_out):
                db[i] = (db[i] if keep else ZERO) + row_sum(dz + i * ld * FLOAT, vectors)
        if l > 0:
            product(
                other,
                ld,
                parameters + layer[WEIGHT],
                1,
                layer[LDW],
                dz,
                ld,
                fan_in,
                fan_out,
                vectors,
                zeros,
                0,
                0,
            )
            call_pull(pull, floats(other), floats(net[l - 1][Z]), floats(net[l - 1][H]), fan_in * ld)
            dz, other = other, dz


@plain
def cross_entropy(z, ld, classes, lanes, labels, live, top, total, loss, dz):  # type: ignore[no-untyped-def]
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


@plain
def squared_error(z, ld, outputs, lanes, targets, live, loss, dz):  # type: ignore[no-untyped-def]
    """loss = mean over outputs of (z - target)^2 of each lane, and dz = 2 (z - target) / outputs live."""
    share = ONE / F(outputs)
    for i in range(lanes):
        loss[i] = ZERO
    for c in range(outputs):
        for i in range(lanes):
            difference = z[c * ld + i] - targets[c * ld + i]
            loss[i] = fma(difference * share, difference, loss[i]) if live[i] > ZERO else ZERO
            dz[c * ld + i] = difference * (TWO * share) * live[i]


@plain
def hits(z, ld, classes, lanes, labels, live, top, where):  # type: ignore[no-untyped-def]
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
