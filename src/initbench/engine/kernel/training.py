"""Steps and evaluations of runs, one run after another: each stays in cache while it trains, and none sees another.

`segment` takes the address of one array of int64, the plan: sizes, and addresses of arrays and buffers.
Python fills it (see run.py); so compiled code needs no Python object, and can be kept as plain machine code.
"""

from __future__ import annotations

import numpy as np
from numba import types

from initbench.engine.kernel import places as at
from initbench.engine.kernel.activations import INFINITY
from initbench.engine.kernel.elementary import ONE, F, fma
from initbench.engine.kernel.layout import BLOCK, FLOAT, LANES
from initbench.engine.kernel.net import DZ, ZERO, backward, forward, hits, layer_of, plain, transpose
from initbench.engine.kernel.rules import CONSTANTS
from initbench.engine.kernel.vector import (
    call_loss,
    call_probe,
    call_rule,
    floats,
    row_sum,
    sample_numbers,
    whole_numbers,
)

MARGIN = F(1e-6)  # as torch.nn.utils.clip_grad_norm_


@plain
def gather(x, n, index, count, mean, inverse, rows, ld, lanes):
    """Standardized samples (lanes, n) of the numbers `index`; lanes without a sample are zeros."""
    for b in range(lanes):
        row = floats(rows + b * ld * FLOAT)
        if b < count:
            sample = floats(x + np.int64(index[b]) * n * FLOAT)
            for j in range(n):
                row[j] = (sample[j] - mean[j]) * inverse
        else:
            for j in range(n):
                row[j] = ZERO


@plain
def answers(plan, seed, index, count, to_labels, to_targets, ld, lanes):
    """Labels (lanes,) and standardized targets (outputs, lanes) of samples."""
    labels, targets, n = floats(plan[at.LABELS]), floats(plan[at.TARGETS]), plan[at.OUTPUTS]
    if plan[at.CLASSES]:
        for b in range(lanes):
            to_labels[b] = labels[index[b]] if b < count else ZERO
    if plan[at.SQUARED]:
        mean, inverse = floats(plan[at.TARGET_MEAN] + seed * n * FLOAT), floats(plan[at.TARGET_INVERSE])[seed]
        for c in range(n):
            for b in range(lanes):
                value = targets[np.int64(index[b]) * n + c] if b < count else ZERO
                to_targets[c * ld + b] = (value - mean[c]) * inverse if b < count else ZERO


@plain
def mark(live, count, lanes, value):
    """`value` for the first `count` lanes, 0 for the others."""
    for b in range(lanes):
        live[b] = value if b < count else ZERO


@plain
def lanes_of(count):
    """Samples padded to whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@plain
def losses(plan, net, z, ld, lanes, labels, targets):
    """Sum of the lanes' losses; their gradients by the outputs go to the last layer's DZ."""
    live, loss, top, total = floats(plan[at.LIVE]), floats(plan[at.LOSS]), floats(plan[at.TOP]), floats(plan[at.TOTAL])
    dz = floats(layer_of(net, plan[at.LAYERS] - 1)[DZ])
    n = plan[at.OUTPUTS]
    call_loss(plan[at.LOSS_AT], floats(z), ld, n, lanes, floats(labels), floats(targets), live, top, total, loss, dz)
    return np.float64(row_sum(plan[at.LOSS], lanes // LANES))


@plain
def hold(plan, seed):
    """Put a seed's evaluation samples into their buffer, block after block of (inputs, lanes)."""
    n, ld, ldx = plan[at.INPUTS], plan[at.LD_HELD], plan[at.LDX]
    mean, inverse = floats(plan[at.MEAN] + seed * n * FLOAT), floats(plan[at.INVERSE])[seed]
    rows = lanes_of(n)
    for start in range(0, plan[at.HELD], BLOCK):
        index = sample_numbers(plan[at.HELD_INDEX] + (seed * plan[at.HELD] + start) * 4)
        count = min(BLOCK, plan[at.HELD] - start)
        lanes = lanes_of(count)
        block = (start // BLOCK) * ld * FLOAT
        gather(plan[at.X], n, index, count, mean, inverse, plan[at.X_ROWS], ldx, lanes)
        transpose(plan[at.X_ROWS], ldx, lanes, rows // LANES, plan[at.HELD_X] + block * rows, ld)
        to_labels, to_targets = (
            floats(plan[at.HELD_LABELS] + block),
            floats(plan[at.HELD_TARGETS] + block * plan[at.OUTPUTS]),
        )
        answers(plan, seed, index, count, to_labels, to_targets, ld, lanes)


@plain
def evaluate(plan, net, parameters, out, samples, r, number):
    """Loss and accuracy on the samples held: the first CUT of them are training ones. Returns the mean of all losses.

    out: loss/train, loss/val, accuracy/train, accuracy/val; untouched if only the first `samples` of those held are
    looked at. The probe of run r takes its sums on the way if this is a measured step, `number` of the segment.
    """
    ld, cut, rows = plan[at.LD_HELD], plan[at.CUT], lanes_of(plan[at.INPUTS])
    live, loss, top, where = floats(plan[at.LIVE]), floats(plan[at.LOSS]), floats(plan[at.TOP]), floats(plan[at.TOTAL])
    train, val = 0.0, 0.0
    right_train, right = 0, 0
    for start in range(0, samples, BLOCK):
        count = min(BLOCK, plan[at.HELD] - start)
        lanes = lanes_of(count)
        block = (start // BLOCK) * ld * FLOAT
        x, vectors = plan[at.HELD_X] + block * rows, lanes // LANES
        zeros, phi = plan[at.ZEROS], plan[at.PHI_AT]
        z = forward(net, plan[at.LAYERS], parameters, x, ld, vectors, zeros, plan[at.PRODUCT_AT], phi)
        labels, targets = plan[at.HELD_LABELS] + block, plan[at.HELD_TARGETS] + block * plan[at.OUTPUTS]
        mark(live, count, lanes, ONE)
        losses(plan, net, z, ld, lanes, labels, targets)
        if number >= 0 and start < plan[at.PROBED]:
            part = min(count, plan[at.PROBED] - start)
            call_probe(plan[at.PROBE_AT], plan[at.SELF], r, number, start, part, lanes, ld)
        for b in range(count):
            if start + b < cut:
                train += np.float64(loss[b])
            else:
                val += np.float64(loss[b])
        if plan[at.CLASSES]:
            right += hits(floats(z), ld, plan[at.OUTPUTS], lanes, floats(labels), live, top, where)
            mark(live, max(0, min(count, cut - start)), lanes, ONE)
            right_train += hits(floats(z), ld, plan[at.OUTPUTS], lanes, floats(labels), live, top, where)
    if samples < plan[at.HELD]:
        return ZERO
    rest = plan[at.HELD] - cut
    out[0], out[1] = F(train / cut), F(val / rest)
    if plan[at.CLASSES]:
        out[2], out[3] = F(right_train / cut), F((right - right_train) / rest)
    return F((train + val) / plan[at.HELD])


@plain
def batch(plan, net, parameters, gradients, seed, index, size, learn):
    """Mean loss of the samples `index` (size,), and its gradients if `learn`; at most BLOCK samples at once."""
    n, ld, ldx, layers = plan[at.INPUTS], plan[at.LD], plan[at.LDX], plan[at.LAYERS]
    mean, inverse = floats(plan[at.MEAN] + seed * n * FLOAT), floats(plan[at.INVERSE])[seed]
    total = 0.0
    for start in range(0, size, BLOCK):
        part = sample_numbers(index + start * 4)
        count = min(BLOCK, size - start)
        lanes = lanes_of(count)
        vectors = lanes // LANES
        gather(plan[at.X], n, part, count, mean, inverse, plan[at.X_ROWS], ldx, lanes)
        transpose(plan[at.X_ROWS], ldx, lanes, lanes_of(n) // LANES, plan[at.BATCH_X], ld)
        answers(plan, seed, part, count, floats(plan[at.BATCH_LABELS]), floats(plan[at.BATCH_TARGETS]), ld, lanes)
        mark(floats(plan[at.LIVE]), count, lanes, ONE / F(size))
        x, zeros, phi = plan[at.BATCH_X], plan[at.ZEROS], plan[at.PHI_AT]
        z = forward(net, layers, parameters, x, ld, vectors, zeros, plan[at.PRODUCT_AT], phi)
        total += losses(plan, net, z, ld, lanes, plan[at.BATCH_LABELS], plan[at.BATCH_TARGETS])
        if learn:
            x, rows, ldr, pull = plan[at.X_ROWS], plan[at.H_ROWS], plan[at.LDR], plan[at.PULL_AT]
            how = (ld, count, vectors, plan[at.ZEROS], plan[at.PRODUCT_AT], pull, start > 0)
            backward(net, layers, parameters, gradients, x, ldx, rows, ldr, *how)
    return F(total / size)


@plain
def scale(values, n, factor):
    """n floats times `factor`."""
    for i in range(n):
        values[i] *= factor


@plain
def copy(to, source, n):
    """n floats."""
    for i in range(n):
        to[i] = source[i]


@plain
def norm(values, n, lanes):
    """Euclidean norm of n floats, n a multiple of 16, added up lane by lane."""
    for j in range(LANES):
        lanes[j] = ZERO
    for i in range(0, n, LANES):
        for j in range(LANES):
            lanes[j] = fma(values[i + j], values[i + j], lanes[j])
    total = 0.0
    for j in range(LANES):
        total += np.float64(lanes[j])
    return F(np.sqrt(total))


@plain
def finite(value):
    """Whether a float is neither infinite nor NaN."""
    return value - value == ZERO


@plain
def update(plan, r, t):
    """One update of every stored tensor of run r at step t of the segment; whether all parameters are finite."""
    n, g = plan[at.PARAMETERS], floats(plan[at.GRADIENTS])
    own = r * n * FLOAT
    for u in range(plan[at.SHARED]):  # tensors whose gradient is the mean over their uses
        row = whole_numbers(plan[at.MEAN_OVER] + u * 3 * 8)
        scale(floats(plan[at.GRADIENTS] + row[0] * FLOAT), row[1], ONE / F(row[2]))
    clip = floats(plan[at.CLIP])[0]
    if clip > ZERO:
        factor = clip / (norm(g, n, floats(plan[at.TOP])) + MARGIN)
        if factor < ONE:
            scale(g, n, factor)
    p, s, v = floats(plan[at.STATE] + own), floats(plan[at.MOMENTS] + own), floats(plan[at.SQUARES] + own)
    rate = floats(plan[at.RATES])[r * plan[at.STEPS] + t]
    constants = floats(plan[at.CONSTANTS] + t * CONSTANTS * FLOAT)
    return call_rule(plan[at.RULE_AT], p, g, s, v, n, rate, constants) < INFINITY


@plain
def reached(values, which, goal):
    """Whether evaluation number `which` is at or past the goal: losses come first, then accuracies."""
    if which < 0:
        return False
    return values[which] <= goal if which < 2 else values[which] >= goal


def segment(address):
    """STEPS steps of RUNS runs: evaluate where asked, loss of the batch, gradients, update."""
    plan = whole_numbers(address)
    net, steps, size = plan[at.NET], plan[at.STEPS], plan[at.BATCH]
    diverged, broken = whole_numbers(plan[at.DIVERGED]), whole_numbers(plan[at.BROKEN])
    stopped, goal = whole_numbers(plan[at.STOPPED]), floats(plan[at.GOAL])[0]
    evaluated, measured = whole_numbers(plan[at.EVALUATED]), whole_numbers(plan[at.MEASURED])
    looked_at = plan[at.PROBE_NET] if plan[at.PROBED] else net
    floats_of_run = plan[at.PARAMETERS]
    batch_losses = floats(plan[at.BATCH_LOSSES])
    seed_held = -1
    for r in range(plan[at.RUNS]):
        seed = whole_numbers(plan[at.ROW])[r]
        p = plan[at.STATE] + r * floats_of_run * FLOAT
        for t in range(steps):
            if diverged[r] >= 0 or stopped[r] >= 0:
                break
            ok = broken[r] == 0
            learn = t + 1 < steps or plan[at.UPDATE_LAST] != 0
            if evaluated[t] != 0 or measured[t] >= 0:
                if seed_held != seed:
                    hold(plan, seed)
                    seed_held = seed
                values = floats(plan[at.EVALUATIONS] + (r * steps + t) * 4 * FLOAT)
                samples = plan[at.HELD] if evaluated[t] != 0 else plan[at.PROBED]
                ok &= finite(evaluate(plan, looked_at, p, values, samples, r, measured[t]))
                if evaluated[t] != 0 and learn and reached(values, plan[at.STOP], goal):
                    stopped[r] = plan[at.FIRST_STEP] + t
            index = plan[at.BATCH_INDEX] + (seed * steps + t) * size * 4
            loss = batch(plan, net, p, plan[at.GRADIENTS], seed, index, size, learn)
            batch_losses[r * steps + t] = loss
            if not (ok and finite(loss)):
                diverged[r] = plan[at.FIRST_STEP] + t
            elif learn:
                if measured[t + 1] >= 0:
                    copy(floats(plan[at.PREVIOUS] + r * floats_of_run * FLOAT), floats(p), floats_of_run)
                broken[r] = 0 if update(plan, r, t) else 1


SEGMENT = types.void(types.intp)
