"""Steps and evaluations of runs, one run after another: each stays in cache while it trains, and none sees another."""

from __future__ import annotations

import numpy as np
from numba import njit, types

from initbench.engine.kernel.activations import INFINITY
from initbench.engine.kernel.elementary import F, ONE, fma
from initbench.engine.kernel.net import (
    BLOCK,
    FLOAT,
    PHI,
    POINTER,
    PULL,
    TWO,
    ZERO,
    backward,
    cross_entropy,
    forward,
    hits,
    plain,
    squared_error,
    transpose,
)
from initbench.engine.kernel.vector import LANES, caller, floats, row_sum

# places in the array of buffer addresses
X, X_ROWS, DZ, DZ_OTHER, H_ROWS, ZEROS, TOP, TOTAL, LOSS, LABELS, TARGETS, LIVE, HELD_X, HELD_LABELS, HELD_TARGETS = (
    range(15)
)
# places in the array of sizes
LD, LDX, LDR, LD_HELD, INPUTS, OUTPUTS, CUT, CLASSES, SQUARED, UPDATE_LAST, FIRST_STEP = range(11)
# places in the array of addresses of compiled functions
PHI_AT, PULL_AT, RULE_AT = range(3)

RULE = types.int32(*[POINTER] * 4, types.intp, types.float32, POINTER)
call_rule = caller(types.int32, *[POINTER] * 4, types.intp, types.float32, POINTER)
__all__ = ["BLOCK", "PHI", "PULL", "RULE", "segment"]


@plain
def gather(x, index, mean, inverse, rows, ld, lanes):  # type: ignore[no-untyped-def]
    """Standardized samples (lanes, inputs) of the numbers `index`; lanes without a sample are zeros."""
    for b in range(lanes):
        row = floats(rows + b * ld * FLOAT)
        if b < index.shape[0]:
            sample = x[index[b]]
            for j in range(x.shape[1]):
                row[j] = (sample[j] - mean[j]) * inverse
        else:
            for j in range(x.shape[1]):
                row[j] = ZERO


@plain
def answers(labels, targets, index, mean, inverse, to_labels, to_targets, ld, lanes):  # type: ignore[no-untyped-def]
    """Labels (lanes,) and standardized targets (outputs, lanes) of the same samples."""
    for b in range(lanes):
        there = b < index.shape[0]
        to_labels[b] = labels[index[b]] if there else ZERO
        for c in range(targets.shape[1]):
            to_targets[c * ld + b] = (targets[index[b], c] - mean[c]) * inverse if there else ZERO


@plain
def mark(live, count, lanes, value):  # type: ignore[no-untyped-def]
    """`value` for the first `count` lanes, 0 for the others."""
    for b in range(lanes):
        live[b] = value if b < count else ZERO


@plain
def lanes_of(count):  # type: ignore[no-untyped-def]
    """Samples padded to whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@plain
def losses(z, ld, lanes, at, labels, targets, size):  # type: ignore[no-untyped-def]
    """Sum of the lanes' losses; their gradients by the outputs go to DZ."""
    live, loss, dz = floats(at[LIVE]), floats(at[LOSS]), floats(at[DZ])
    if size[SQUARED]:
        squared_error(floats(z), ld, size[OUTPUTS], lanes, floats(targets), live, loss, dz)
    else:
        cross_entropy(
            floats(z), ld, size[OUTPUTS], lanes, floats(labels), live, floats(at[TOP]), floats(at[TOTAL]), loss, dz
        )
    return np.float64(row_sum(at[LOSS], lanes // LANES))


@plain
def hold(x, labels, targets, index, mean, inverse, target_mean, target_inverse, at, size):  # type: ignore[no-untyped-def]
    """Put a seed's evaluation samples into their buffer, block after block of (inputs, lanes)."""
    ld = size[LD_HELD]
    rows = (size[INPUTS] + LANES - 1) // LANES * LANES
    block = 0
    for start in range(0, index.shape[0], BLOCK):
        part = index[start : start + BLOCK]
        lanes = lanes_of(part.shape[0])
        gather(x, part, mean, inverse, at[X_ROWS], size[LDX], lanes)
        to = at[HELD_X] + block * rows * ld * FLOAT
        # (lanes, inputs) to (inputs, lanes); its rows of padding are overwritten by nothing that matters
        transpose(at[X_ROWS], size[LDX], lanes, rows // LANES, to, ld)
        answers(
            labels,
            targets,
            part,
            target_mean,
            target_inverse,
            floats(at[HELD_LABELS] + block * ld * FLOAT),
            floats(at[HELD_TARGETS] + block * size[OUTPUTS] * ld * FLOAT),
            ld,
            lanes,
        )
        block += 1


@plain
def evaluate(net, parameters, samples, phi, at, size, out):  # type: ignore[no-untyped-def]
    """Loss and accuracy on the samples held: the first CUT of them are training ones. Returns the mean of all losses.

    out: loss/train, loss/val, accuracy/train, accuracy/val.
    """
    ld = size[LD_HELD]
    rows = (size[INPUTS] + LANES - 1) // LANES * LANES
    live, loss = floats(at[LIVE]), floats(at[LOSS])
    sums = (0.0, 0.0)
    right = (0, 0)
    block = 0
    for start in range(0, samples, BLOCK):
        count = min(BLOCK, samples - start)
        lanes = lanes_of(count)
        z = forward(net, parameters, at[HELD_X] + block * rows * ld * FLOAT, ld, lanes // LANES, at[ZEROS], phi)
        labels = at[HELD_LABELS] + block * ld * FLOAT
        mark(live, count, lanes, ONE)
        losses(z, ld, lanes, at, labels, at[HELD_TARGETS] + block * size[OUTPUTS] * ld * FLOAT, size)
        train, val = 0.0, 0.0
        for b in range(count):
            if start + b < size[CUT]:
                train += loss[b]
            else:
                val += loss[b]
        sums = (sums[0] + train, sums[1] + val)
        if size[CLASSES]:
            head = max(0, min(count, size[CUT] - start))
            mark(live, head, lanes, ONE)
            first = hits(floats(z), ld, size[OUTPUTS], lanes, floats(labels), live, floats(at[TOP]), floats(at[TOTAL]))
            mark(live, count, lanes, ONE)
            both = hits(floats(z), ld, size[OUTPUTS], lanes, floats(labels), live, floats(at[TOP]), floats(at[TOTAL]))
            right = (right[0] + first, right[1] + both - first)
        block += 1
    rest = samples - size[CUT]
    out[0], out[1] = F(sums[0] / size[CUT]), F(sums[1] / rest)
    if size[CLASSES]:
        out[2], out[3] = F(right[0] / size[CUT]), F(right[1] / rest)
    return F((sums[0] + sums[1]) / samples)


@plain
def batch(
    net,
    parameters,
    gradients,
    x,
    labels,
    targets,
    index,
    mean,
    inverse,
    target_mean,
    target_inverse,
    at,
    size,
    to,
    learn,
):  # type: ignore[no-untyped-def]
    """Mean loss of one batch, and its gradients if `learn`; in blocks of samples."""
    total, ld = 0.0, size[LD]
    for start in range(0, index.shape[0], BLOCK):
        part = index[start : start + BLOCK]
        count, lanes = part.shape[0], lanes_of(part.shape[0])
        gather(x, part, mean, inverse, at[X_ROWS], size[LDX], lanes)
        transpose(at[X_ROWS], size[LDX], lanes, (size[INPUTS] + LANES - 1) // LANES, at[X], ld)
        answers(labels, targets, part, target_mean, target_inverse, floats(at[LABELS]), floats(at[TARGETS]), ld, lanes)
        mark(floats(at[LIVE]), count, lanes, ONE / F(index.shape[0]))
        z = forward(net, parameters, at[X], ld, lanes // LANES, at[ZEROS], to[PHI_AT])
        total += losses(z, ld, lanes, at, at[LABELS], at[TARGETS], size)
        if learn:
            backward(
                net,
                parameters,
                gradients,
                at[X],
                at[X_ROWS],
                size[LDX],
                at[DZ],
                at[DZ_OTHER],
                at[H_ROWS],
                size[LDR],
                ld,
                count,
                lanes // LANES,
                at[ZEROS],
                to[PULL_AT],
                start > 0,
            )
    return F(total / index.shape[0])


@plain
def scale(values, n, factor):  # type: ignore[no-untyped-def]
    """n floats times `factor`."""
    for i in range(n):
        values[i] *= factor


@plain
def norm(values, n, lanes):  # type: ignore[no-untyped-def]
    """Euclidean norm of n floats, n a multiple of 16, added up lane by lane."""
    for j in range(LANES):
        lanes[j] = ZERO
    for i in range(0, n, LANES):
        for j in range(LANES):
            lanes[j] = fma(values[i + j], values[i + j], lanes[j])
    total = 0.0
    for j in range(LANES):
        total += lanes[j]
    return F(np.sqrt(total))


@plain
def finite(value):  # type: ignore[no-untyped-def]
    """Whether a float is neither infinite nor NaN."""
    return value - value == ZERO


@njit(
    types.void(
        *(types.int64[:, ::1], types.float32[:, ::1], types.float32[:, ::1], types.float32[:, ::1], types.float32[::1]),
        *(types.float32[:, ::1], types.float32[::1], types.float32[:, ::1], types.int64[::1]),
        *(types.float32[:, ::1], types.float32[::1], types.float32[:, ::1], types.float32[::1]),
        *(types.int32[:, :, ::1], types.int32[:, ::1], types.boolean[::1]),
        *(types.float32[:, ::1], types.float32[:, ::1], types.int64[:, ::1], types.float32),
        *(types.int64[::1], types.int64[::1], types.int64[::1]),
        *(types.float32[:, ::1], types.float32[:, :, ::1], types.boolean[::1], types.int64[::1]),
    ),
    error_model="numpy",
    nogil=True,
    cache=True,
)
def segment(
    net,  # (layers, 9), see net.py
    parameters,  # (R, P) of each run, updated
    first,  # (R, P) optimizer state
    second,  # (R, P)
    gradients,  # (P,)
    x,  # (N, inputs) as the data came
    labels,  # (N,) class numbers
    targets,  # (N, outputs)
    row,  # (R,) number of each run's seed
    mean,  # (S, inputs) and all below of each seed's split
    inverse,  # (S,)
    target_mean,  # (S, outputs)
    target_inverse,  # (S,)
    batches,  # (S, T, B) sample numbers
    held,  # (S, E) samples to evaluate
    evaluated,  # (T,) whether step t is evaluated
    rates,  # (R, T) learning rate
    constants,  # (T, 8), see rules.py
    uses,  # (shared tensors, 3): first float, floats, by how many uses the gradient is divided
    clip,  # largest norm of a run's gradient, 0: none
    at,  # addresses of buffers
    size,  # sizes
    to,  # addresses of functions
    batch_losses,  # (R, T) out
    evaluations,  # (R, T, 4) out
    broken,  # (R,) whether the last update left a parameter that is not finite
    diverged,  # (R,) out: step of divergence, -1 for runs that stayed finite
):  # type: ignore[no-untyped-def]
    """T steps of R runs: evaluate where asked, loss of the batch, gradients, update."""
    seed_held = -1
    steps = batches.shape[1]
    for r in range(parameters.shape[0]):
        s = row[r]
        p = parameters[r].ctypes.data
        if diverged[r] >= 0:
            continue
        for t in range(steps):
            ok = not broken[r]
            if evaluated[t]:
                if seed_held != s:
                    hold(x, labels, targets, held[s], mean[s], inverse[s], target_mean[s], target_inverse[s], at, size)
                    seed_held = s
                ok &= finite(evaluate(net, p, held.shape[1], to[PHI_AT], at, size, evaluations[r, t]))
            learn = t + 1 < steps or size[UPDATE_LAST] != 0
            batch_losses[r, t] = batch(
                net,
                p,
                gradients.ctypes.data,
                x,
                labels,
                targets,
                batches[s, t],
                mean[s],
                inverse[s],
                target_mean[s],
                target_inverse[s],
                at,
                size,
                to,
                learn,
            )
            ok &= finite(batch_losses[r, t])
            if not ok:
                diverged[r] = size[FIRST_STEP] + t
                break
            if not learn:
                continue
            g = gradients.ctypes.data
            n = gradients.shape[0]
            for u in range(uses.shape[0]):
                scale(floats(g + uses[u, 0] * FLOAT), uses[u, 1], ONE / F(uses[u, 2]))
            if clip > ZERO:
                factor = clip / (norm(floats(g), n, floats(at[TOP])) + F(1e-6))
                if factor < ONE:
                    scale(floats(g), n, factor)
            largest = call_rule(
                to[RULE_AT],
                floats(p),
                floats(g),
                floats(first[r].ctypes.data),
                floats(second[r].ctypes.data),
                n,
                rates[r, t],
                floats(constants[t].ctypes.data),
            )
            broken[r] = largest >= INFINITY
