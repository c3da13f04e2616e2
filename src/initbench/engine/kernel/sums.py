"""Sums over the entries of a matrix that stands in rows of floats: what measures are made of, in one pass each.

Rows are `ld` floats apart and only their first `count` floats are read into the sum: what pads them does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from initbench.engine.kernel.vector import I32, LANES, VECTOR, broadcast, emit_strip, lane_sum, load

ROWS = 4  # at once, each with a sum of its own: additions need not wait for each other
INDEX = ir.VectorType(I32, LANES)


def sum_of(term: Callable[[Any, Any, Any, Any, Any], Any]) -> Callable[..., Any]:
    """`total(a, lda, b, ldb, rows, count, low, high)` = sum over i < rows, j < count of term(a_ij, b_ij, low, high)."""

    @intrinsic
    def total(typing, a, lda, b, ldb, rows, count, low, high):
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, lda, b, ldb, rows, count, low, high = args
            low, high = broadcast(builder, low), broadcast(builder, high)
            word, zeros = rows.type, ir.Constant(VECTOR, [0.0] * LANES)
            sums = [cgutils.alloca_once_value(builder, zeros) for _ in range(ROWS)]
            i, j = (cgutils.alloca_once(builder, word) for _ in range(2))
            ends = broadcast_index(builder, builder.trunc(count, I32))

            def column(now: Any) -> None:
                lanes = builder.add(
                    broadcast_index(builder, builder.trunc(now, I32)), ir.Constant(INDEX, list(range(LANES)))
                )
                inside = builder.icmp_signed("<", lanes, ends)
                builder.store(word(0), i)
                for height in (ROWS, 1):

                    def strip(row: Any, height: int = height) -> None:
                        for k in range(height):
                            at = builder.add(row, word(k))
                            left = load(builder, a, builder.add(builder.mul(lda, at), now))
                            right = load(builder, b, builder.add(builder.mul(ldb, at), now))
                            value = builder.select(inside, term(builder, left, right, low, high), zeros)
                            builder.store(builder.fadd(builder.load(sums[k]), value), sums[k])

                    emit_strip(builder, i, rows, height, strip)

            # the last vector of a row may be wider than what is left of `count`
            up = builder.add(count, word(LANES - 1))
            builder.store(word(0), j)
            emit_strip(builder, j, up, LANES, column)
            found = [builder.load(one) for one in sums]
            return lane_sum(builder, builder.fadd(builder.fadd(found[0], found[1]), builder.fadd(found[2], found[3])))

        return types.float32(*[types.intp] * 6, types.float32, types.float32), codegen

    return total


def broadcast_index(builder: Any, scalar: Any) -> Any:
    """One int32 in all lanes."""
    one = builder.insert_element(ir.Constant(INDEX, ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(one, ir.Constant(INDEX, ir.Undefined), ir.Constant(INDEX, [0] * LANES))


def squared(builder: Any, x: Any) -> Any:
    """x^2."""
    return builder.fmul(x, x)


def outside(builder: Any, a: Any, b: Any, low: Any, high: Any) -> Any:
    """1 where a < low or a > high, else 0."""
    out = builder.or_(builder.fcmp_ordered("<", a, low), builder.fcmp_ordered(">", a, high))
    one, zero = (ir.Constant(VECTOR, [value] * LANES) for value in (1.0, 0.0))
    return builder.select(out, one, zero)


plain_sum = sum_of(lambda builder, a, b, low, high: a)
dot = sum_of(lambda builder, a, b, low, high: builder.fmul(a, b))
square_distance = sum_of(lambda builder, a, b, low, high: squared(builder, builder.fsub(a, b)))
square_deviation = sum_of(lambda builder, a, b, low, high: squared(builder, builder.fsub(a, low)))
product_with_rest = sum_of(lambda builder, a, b, low, high: builder.fmul(a, builder.fsub(b, a)))
count_outside = sum_of(outside)
