"""The few operations that plain Numba lacks, emitted as LLVM vectors of 16 floats: a register tile of a matrix product,
a 16 x 16 transposition, the sum of a row; and the fused multiply-add, rounding and bits of a single float.

Addresses are byte addresses (`array.ctypes.data`), strides count floats. A <16 x float> is one AVX-512 register or two
of AVX2: every lane is added up in the same order in both, so a run's bits do not depend on which one the machine has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, Signature
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
I32, F32 = ir.IntType(32), ir.FloatType()
VECTOR = ir.VectorType(F32, LANES)


def element(builder: Any, base: Any, offset: Any) -> Any:
    """Pointer to float number `offset` after the byte address `base`."""
    return builder.gep(builder.inttoptr(base, F32.as_pointer()), [offset])


def load(builder: Any, base: Any, offset: Any) -> Any:
    """16 floats from there on; no alignment is assumed."""
    pointer = builder.bitcast(element(builder, base, offset), VECTOR.as_pointer())
    return builder.load(pointer, align=4)


def store(builder: Any, value: Any, base: Any, offset: Any) -> None:
    """16 floats to there."""
    pointer = builder.bitcast(element(builder, base, offset), VECTOR.as_pointer())
    builder.store(value, pointer, align=4)


def broadcast(builder: Any, scalar: Any) -> Any:
    """One float in all lanes."""
    one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(
        one, ir.Constant(VECTOR, ir.Undefined), ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    )


def fused(builder: Any, kind: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""
    name = f"llvm.fma.{'v16f32' if kind is VECTOR else 'f32'}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


@dataclass(frozen=True)
class Operands:
    """C[i, :] = start_i + sum_k A[i, k] B[k, :] or, if `add` is not 0, C + A B.

    A[i, k] stands at a + i row_step + k depth_step, B[k, :] at b + k ldb, C[i, :] at c + i ldc, start_i at start +
    i start_step; all LLVM values.
    """

    c: Any
    ldc: Any
    a: Any
    row_step: Any
    depth_step: Any
    b: Any
    ldb: Any
    depth: Any
    start: Any
    start_step: Any
    add: Any


def emit_tile(builder: Any, o: Operands, row: Any, column: Any, rows: int, vectors: int) -> None:
    """`rows` rows from `row` on and `vectors` vectors from float `column` on, every sum in a register of its own."""
    word = o.depth.type
    places = [(i, v) for i in range(rows) for v in range(vectors)]
    at_row = [builder.add(row, word(i)) for i in range(rows)]
    at_column = [builder.add(column, word(v * LANES)) for v in range(vectors)]
    c_at = {(i, v): builder.add(builder.mul(o.ldc, at_row[i]), at_column[v]) for i, v in places}
    a_at = [builder.mul(o.row_step, at_row[i]) for i in range(rows)]

    fresh, held, head, body, done = (
        builder.append_basic_block(name) for name in ("fresh", "held", "head", "body", "done")
    )
    builder.cbranch(builder.icmp_signed("!=", o.add, word(0)), held, fresh)
    builder.position_at_end(fresh)
    start_at = [element(builder, o.start, builder.mul(o.start_step, at_row[i])) for i in range(rows)]
    starts = [broadcast(builder, builder.load(at)) for at in start_at]
    builder.branch(head)
    builder.position_at_end(held)
    before = {place: load(builder, o.c, c_at[place]) for place in places}
    builder.branch(head)

    builder.position_at_end(head)
    k = builder.phi(word)
    sums = {place: builder.phi(VECTOR) for place in places}
    k.add_incoming(word(0), fresh)
    k.add_incoming(word(0), held)
    for i, v in places:
        sums[i, v].add_incoming(starts[i], fresh)
        sums[i, v].add_incoming(before[i, v], held)
    builder.cbranch(builder.icmp_signed("<", k, o.depth), body, done)

    builder.position_at_end(body)
    b_row, a_column = builder.mul(k, o.ldb), builder.mul(k, o.depth_step)
    right = [load(builder, o.b, builder.add(b_row, at)) for at in at_column]
    for i in range(rows):
        left = broadcast(builder, builder.load(element(builder, o.a, builder.add(a_column, a_at[i]))))
        for v in range(vectors):
            sums[i, v].add_incoming(fused(builder, VECTOR, left, right[v], sums[i, v]), body)
    k.add_incoming(builder.add(k, word(1)), body)
    builder.branch(head)

    builder.position_at_end(done)
    for place in places:
        store(builder, sums[place], o.c, c_at[place])


def emit_strip(builder: Any, counter: Any, limit: Any, size: int, body: Callable[[Any], None]) -> None:
    """`body(counter)` for as long as counter + size <= limit, the counter growing by `size`."""
    word = limit.type
    check, inside, after = (builder.append_basic_block(name) for name in ("check", "inside", "after"))
    builder.branch(check)
    builder.position_at_end(check)
    now = builder.load(counter)
    builder.cbranch(builder.icmp_signed("<=", builder.add(now, word(size)), limit), inside, after)
    builder.position_at_end(inside)
    body(now)
    builder.store(builder.add(now, word(size)), counter)
    builder.branch(check)
    builder.position_at_end(after)


def product_of(tile_rows: int, tile_vectors: int) -> Callable[..., None]:
    """The product of matrices in tiles of at most this size; the rest in tiles of half, quarter ... size."""

    @intrinsic
    def product(typing, c, ldc, a, row_step, depth_step, b, ldb, rows, depth, vectors, start, start_step, add):
        """C = start + A B (see Operands) for `rows` rows, 16 `vectors` columns and sums of `depth` terms."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            c, ldc, a, row_step, depth_step, b, ldb, rows, depth, vectors, start, start_step, add = args
            o = Operands(c, ldc, a, row_step, depth_step, b, ldb, depth, start, start_step, add)
            word = rows.type
            i, j = (cgutils.alloca_once(builder, word) for _ in range(2))
            builder.store(word(0), j)
            for width in halves(tile_vectors):

                def column(now: Any, width: int = width) -> None:
                    first = builder.mul(now, word(LANES))
                    builder.store(word(0), i)
                    for height in halves(tile_rows):
                        tile = partial(emit_tile, builder, o, column=first, rows=height, vectors=width)
                        emit_strip(builder, i, rows, height, tile)

                emit_strip(builder, j, vectors, width, column)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 13), codegen

    return product


def halves(n: int) -> list[int]:
    """n, n / 2, ... 1.

    >>> halves(8)
    [8, 4, 2, 1]
    """
    return [n, *halves(n // 2)] if n > 1 else [n]


@intrinsic
def transpose_tile(typing, source, lds, rows, target, ldt):
    """target[j, i] = source[i, j] for i, j < 16; rows of the source from `rows` on count as zeros and are not read."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, lds, rows, target, ldt = args
        word = lds.type
        index = ir.VectorType(I32, LANES)
        low = ir.Constant(index, [j // 2 + LANES * (j % 2) for j in range(LANES)])
        high = ir.Constant(index, [j // 2 + LANES // 2 + LANES * (j % 2) for j in range(LANES)])
        zeros = ir.Constant(VECTOR, [0.0] * LANES)
        held = []
        for i in range(LANES):
            there = builder.icmp_signed("<", word(i), rows)
            row = load(builder, source, builder.mul(lds, builder.select(there, word(i), word(0))))
            held.append(builder.select(there, row, zeros))
        for _ in range(4):  # four perfect shuffles of the rows' halves transpose
            mixed = []
            for i in range(LANES // 2):
                mixed += [builder.shuffle_vector(held[i], held[i + LANES // 2], how) for how in (low, high)]
            held = mixed
        for j in range(LANES):
            store(builder, held[j], target, builder.mul(ldt, word(j)))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), codegen


def lane_sum(builder: Any, value: Any) -> Any:
    """Sum of a vector's lanes, in halves."""
    width = LANES
    while width > 1:
        width //= 2
        upper = ir.Constant(ir.VectorType(I32, LANES), [(j + width) % LANES for j in range(LANES)])
        value = builder.fadd(value, builder.shuffle_vector(value, value, upper))
    return builder.extract_element(value, I32(0))


@intrinsic
def row_sum(typing, row, vectors):
    """Sum of 16 `vectors` floats from `row` on: lane by lane, then the lanes in halves."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, vectors = args
        word = vectors.type
        total = cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0.0] * LANES))
        with cgutils.for_range(builder, vectors) as loop:
            more = load(builder, row, builder.mul(loop.index, word(LANES)))
            builder.store(builder.fadd(builder.load(total), more), total)
        return lane_sum(builder, builder.load(total))

    return types.float32(types.intp, types.intp), codegen


# ---------------------------------------------------------------------------------------------- single floats


@intrinsic
def fma(typing, a, b, c):
    """a b + c, rounded once."""
    f = types.float32
    return f(f, f, f), lambda context, builder, signature, args: fused(builder, F32, *args)


@intrinsic
def bits(typing, x):
    """The 32 bits of a float."""
    return types.int32(types.float32), lambda context, builder, signature, args: builder.bitcast(args[0], I32)


@intrinsic
def from_bits(typing, x):
    """The float of 32 bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(args[0], F32)


@intrinsic
def low_bits(typing, x):
    """The low 32 bits of a double."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.trunc(builder.bitcast(args[0], ir.IntType(64)), I32)

    return types.int32(types.float64), codegen


@intrinsic
def root(typing, x):
    """Square root."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(F32, [F32]), "llvm.sqrt.f32")
        return builder.call(function, args)

    return types.float32(types.float32), codegen


# ---------------------------------------------------------------------------------------------- addresses


@intrinsic
def floats(typing, address):
    """The float32 numbers at an address, to be indexed."""
    return types.CPointer(types.float32)(types.intp), as_pointer(F32)


@intrinsic
def whole_numbers(typing, address):
    """The int64 numbers at an address."""
    return types.CPointer(types.int64)(types.intp), as_pointer(ir.IntType(64))


@intrinsic
def sample_numbers(typing, address):
    """The int32 numbers at an address."""
    return types.CPointer(types.int32)(types.intp), as_pointer(I32)


def as_pointer(kind: Any) -> Callable[..., Any]:
    """Code for an address as a pointer."""
    return lambda context, builder, signature, args: builder.inttoptr(args[0], kind.as_pointer())


def caller(signature: Any) -> Callable[..., Any]:
    """`call(address, ...)`: the compiled function of this signature at an address, in Numba's own convention.

    What is chosen for a net (activation, loss, rule) and what is large (the product) is called this way, so each is
    compiled once and only where it is needed.
    """

    def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
        kind = context.call_conv.get_function_type(signature.return_type, signature.args)
        function = builder.inttoptr(args[0], kind.as_pointer())
        # the status is not looked at: these functions raise nothing
        return context.call_conv.call_function(builder, function, signature.return_type, signature.args, args[1:])[1]

    def typed(typing: Any, *given: Any) -> Any:
        return signature.return_type(types.intp, *signature.args), codegen

    names = ["typing", "address", *(f"x{i}" for i in range(len(signature.args)))]
    typed.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in names])
    return intrinsic(typed)


POINTER = types.CPointer(types.float32)
PRODUCT = types.void(*[types.intp] * 13)
PHI = types.void(POINTER, POINTER, types.intp)
PULL = types.void(POINTER, POINTER, POINTER, types.intp)
LOSS = types.void(POINTER, types.intp, types.intp, types.intp, *[POINTER] * 7)
RULE = types.int32(*[POINTER] * 4, types.intp, types.float32, POINTER)
PROBE = types.void(*[types.intp] * 7)
call_product, call_phi, call_pull, call_loss, call_rule, call_probe = map(
    caller, (PRODUCT, PHI, PULL, LOSS, RULE, PROBE)
)
