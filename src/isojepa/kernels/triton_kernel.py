"""The same sums on a GPU, each element of x read once.

The powers z^p of z = exp(i step x) for p = 5, 10, 15, ... are multiplied with those for q = 0, 1, 2
and the products of their real and imaginary parts summed over the samples. The ten sums for
p - 2, ..., p + 2 follow from cos((p ± q) a) = c_p c_q ∓ s_p s_q and
sin((p ± q) a) = s_p c_q ± c_p s_q. A product is added up in the instruction that forms it: one
operation per element and sum, where the Chebyshev recurrence takes two and its rounding errors grow
with j^2 rather than j. The gradient is the transpose: the same products, each with a coefficient.

Programs own a block of columns and a range of samples and keep their sums in registers; the ranges
are added up afterwards in a fixed order, so that results are reproducible. More than 18 knots take
several launches, each starting from cosines and sines of its own.

Importing this module needs Triton, which comes with PyTorch for CUDA on Linux.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

_WARPS = 8
_TILE = 32 * _WARPS  # elements of x per program and iteration: one per thread
_GIANTS_PER_LAUNCH = 3  # 34 sums per thread: 17 knots in one launch, without spilling registers
_TAU = tl.constexpr(math.tau)


def sums(
    x: Float[Tensor, "... n m"], knots: int, step: float
) -> tuple[Float[Tensor, "... m k"], Float[Tensor, "... m k"]]:
    """Sums over the n samples of cos(t x) and sin(t x) at t = 0, step, ..., (knots - 1) step.

    In float64 for float64 input, else in float32. Reproducible on one model of GPU.
    """
    *leading, n, m = x.shape
    if x.numel() == 0:
        empty = x.new_zeros((*leading, m, knots), dtype=_maths_dtype(x))
        return empty, empty.clone()
    x = _as_batches(x)
    columns, column_blocks, splits, rows = _blocks(x)
    cos_sums = x.new_empty((splits, *leading, m, knots), dtype=_maths_dtype(x))
    sin_sums = torch.empty_like(cos_sums)
    with _on_device_of(x):
        for first, giants in _launches(knots):
            _sums_kernel[(column_blocks * splits * x.shape[0],)](
                x, cos_sums, sin_sums, n, m, knots, rows, column_blocks, splits, *x.stride()[:2],
                *_in_turns(step), first, *_in_turns(first * step),
                START=first == 0, GIANTS=giants, ROWS=_TILE // columns, COLUMNS=columns,
                num_warps=_WARPS, enable_fp_fusion=False,
            )  # fmt: skip
    return (cos_sums[0], sin_sums[0]) if splits == 1 else (cos_sums.sum(0), sin_sums.sum(0))


def gradient(
    x: Float[Tensor, "... n m"],
    grad_cos: Float[Tensor, "... m k"],
    grad_sin: Float[Tensor, "... m k"],
    step: float,
) -> Float[Tensor, "... n m"]:
    """Gradient by x of the sums, given those by the sums; in the dtype of x.

    sum_j t_j (grad_sin_j cos(t_j x) - grad_cos_j sin(t_j x)), t_j = j step.
    """
    shape, knots = x.shape, grad_cos.shape[-1]
    if x.numel() == 0 or knots < 2:
        return torch.zeros_like(x)
    x = _as_batches(x)
    b, n, m = x.shape
    columns, column_blocks, splits, rows = _blocks(x)
    grad_cos, grad_sin = (g.to(_maths_dtype(x)).reshape(b, m, knots) for g in (grad_cos, grad_sin))
    launches = list(_launches(knots))
    # Several launches add to one another, which must not round to the input's precision in between.
    grad_x = x.new_empty(x.shape, dtype=x.dtype if len(launches) == 1 else _maths_dtype(x))
    with _on_device_of(x):
        for first, giants in launches:
            _gradient_kernel[(column_blocks * splits * b,)](
                x, grad_cos, grad_sin, grad_x, n, m, knots, rows, column_blocks, splits,
                *x.stride()[:2], *grad_cos.stride(), *grad_sin.stride(),
                *_in_turns(step), first, *_in_turns(first * step),
                START=first == 0, GIANTS=giants, ROWS=_TILE // columns, COLUMNS=columns,
                num_warps=_WARPS, enable_fp_fusion=False,
            )  # fmt: skip
    return grad_x.to(x.dtype).reshape(shape)


def _maths_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _as_batches(x: Float[Tensor, "... n m"]) -> Float[Tensor, "b n m"]:
    """One leading axis; rows may be strided, columns are neighbours in memory."""
    x = x.reshape(-1, *x.shape[-2:])
    return x if x.stride(-1) == 1 else x.contiguous()


def _on_device_of(x: Tensor) -> AbstractContextManager[object]:
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _blocks(x: Float[Tensor, "b n m"]) -> tuple[int, int, int, int]:
    """Columns per program, blocks of columns, ranges of samples, and samples per range."""
    b, n, m = x.shape
    columns = min(32, triton.next_power_of_2(m))
    column_blocks = triton.cdiv(m, columns)
    processors = (
        torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 2
    )
    resident = 4 * processors  # programs of 64 registers per thread that run at once
    splits = max(
        # Fill the device, down to 64 samples per program...
        min(resident // (b * column_blocks), triton.cdiv(n, 64)),
        # ...several times over if programs stay long enough to hide their start and end...
        min(4 * resident // (b * column_blocks), n // 512),
        # ...and keep running sums in float32 short: rounding errors grow with their length.
        triton.cdiv(n, 2048),
    )
    rows = triton.cdiv(triton.cdiv(n, splits), _TILE // columns) * (_TILE // columns)
    return columns, column_blocks, triton.cdiv(n, rows), rows


def _launches(knots: int) -> Iterator[tuple[int, int]]:
    """First knot of a launch (0, or a giant step) and its number of giant steps of 5 knots."""
    giants = max(0, triton.cdiv(knots - 3, 5))
    yield 0, min(giants, _GIANTS_PER_LAUNCH)
    for done in range(_GIANTS_PER_LAUNCH, giants, _GIANTS_PER_LAUNCH):
        yield 5 * (done + 1), min(giants - done, _GIANTS_PER_LAUNCH)


def _in_turns(step: float) -> tuple[float, float]:
    """Step / 2 pi as a sum of two float32, the type in which Python floats reach a kernel."""
    turns = step / math.tau
    rounded = torch.tensor(turns, dtype=torch.float32).item()
    return rounded, turns - rounded


# The kernels are Triton's language, not Python: type checkers cannot read them. Multiply-adds are
# explicit because whether the compiler may form them itself depends on Triton's version.


@triton.jit
@no_type_check
def _unit(x, turns, rest):
    """cos(a) and sin(a) for a = 2 pi (turns + rest) x; bounded for every finite x."""
    if x.dtype == tl.float64:
        r = x * (tl.cast(turns, tl.float64) + tl.cast(rest, tl.float64))
        angle = _TAU * (r - tl.floor(r + 0.5))
        return tl.cos(angle), tl.sin(angle)
    r = tl.fma(x, turns, -tl.floor(tl.fma(x, turns, 0.5)))
    r = tl.fma(x, rest, r)
    r -= tl.floor(r + 0.5)
    # On [-1/2, 1/2] turn; with the roots divided out what is left is smooth and positive, and one
    # polynomial of least relative error each (2e-8 and 4e-9) spares telling quadrants apart.
    s = r * r
    c = tl.fma(s, -6.570379734039307, 25.584888458251953)
    c = tl.fma(s, c, -58.57512664794922)
    c = tl.fma(s, c, 81.789794921875)
    c = tl.fma(s, c, -59.827266693115234)
    c = tl.fma(s, c, 16.0)
    d = tl.fma(s, -3.148427724838257, 14.041325569152832)
    d = tl.fma(s, d, -38.494022369384766)
    d = tl.fma(s, d, 67.07645416259766)
    d = tl.fma(s, d, -64.8358154296875)
    d = tl.fma(s, d, 25.132741928100586)
    return (0.0625 - s) * c, r * (0.25 - s) * d


@triton.jit
@no_type_check
def _multiply(c, s, d, t):
    """Cosine and sine of the sum of two angles."""
    return tl.fma(c, d, -s * t), tl.fma(s, d, c * t)


@triton.jit
@no_type_check
def _fifth(c1, s1, c2, s2):
    c4, s4 = _multiply(c2, s2, c2, s2)
    return _multiply(c4, s4, c1, s1)


@triton.jit
@no_type_check
def _place(n, rows, column_blocks, splits, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """What this program works on: batch, range of samples (number, start, stop), rows, columns."""
    program = tl.program_id(0)
    split = program // column_blocks % splits
    batch = (program // column_blocks // splits).to(tl.int64)
    start = split * rows
    row = start + tl.arange(0, ROWS)[:, None]
    column = program % column_blocks * COLUMNS + tl.arange(0, COLUMNS)
    return batch, split, start, min(start + rows, n), row, column


_SCALARS = (
    *("n", "m", "knots", "rows", "column_blocks", "splits", "x_batch", "x_row"),
    *("turns", "rest", "first", "first_turns", "first_rest"),
)
_GRADIENT_SCALARS = (
    *_SCALARS,
    *("cos_batch", "cos_column", "cos_knot", "sin_batch", "sin_column", "sin_knot"),
)


@triton.jit(do_not_specialize=_SCALARS)
@no_type_check
def _sums_kernel(
    x_pointer, cos_pointer, sin_pointer, n, m, knots, rows, column_blocks, splits, x_batch, x_row,
    turns, rest, first, first_turns, first_rest,
    START: tl.constexpr, GIANTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    MATHS: tl.constexpr = cos_pointer.dtype.element_ty
    batch, split, start, stop, row, column = _place(n, rows, column_blocks, splits, ROWS, COLUMNS)
    inside = column < m
    x_pointer += batch * x_batch + row.to(tl.int64) * x_row + column[None, :]
    following = tl.load(x_pointer, mask=(row < stop) & inside[None, :], other=0.0)
    one = tl.full([ROWS, COLUMNS], 1.0, MATHS)
    totals = ()
    for product in tl.static_range(4 * START + 10 * GIANTS):  # noqa: B007
        totals = totals + (tl.zeros([ROWS, COLUMNS], MATHS),)  # noqa: RUF005
    for _ in range(start, stop, ROWS):
        x = following.to(MATHS)
        counts = row < stop
        # The next elements are on their way while these are worked on.
        row += ROWS
        x_pointer += ROWS * x_row.to(tl.int64)
        following = tl.load(x_pointer, mask=(row < stop) & inside[None, :], other=0.0)

        c1, s1 = _unit(x, turns, rest)
        c1, s1 = tl.where(counts, c1, 0.0), tl.where(counts, s1, 0.0)  # and so every power
        c2, s2 = _multiply(c1, s1, c1, s1)
        c5, s5 = _fifth(c1, s1, c2, s2)
        if START:
            left, right = (c1, s1, c2, s2), (one, one, one, one)
            c, s = c5, s5
        else:
            left, right = (), ()
            c, s = _unit(x, first_turns, first_rest)
            c, s = tl.where(counts, c, 0.0), tl.where(counts, s, 0.0)
        for step in tl.static_range(GIANTS):  # noqa: B007
            left = left + (c, s, c, s, s, c, c, s, s, c)  # noqa: RUF005
            right = right + (one, one, c1, s1, c1, s1, c2, s2, c2, s2)  # noqa: RUF005
            c, s = _multiply(c, s, c5, s5)
        added = ()
        for i in tl.static_range(4 * START + 10 * GIANTS):
            added = added + (tl.fma(left[i], right[i], totals[i]),)  # noqa: RUF005
        totals = added

    # To row (split, batch, column) of (splits, b, m, k).
    batches = tl.num_programs(0) // column_blocks // splits
    offsets = ((split * batches + batch) * m + column) * knots
    cos_pointer += offsets
    sin_pointer += offsets
    limit = tl.where(inside, knots, 0)
    if START:
        tl.store(cos_pointer, tl.zeros([COLUMNS], MATHS) + (stop - start), mask=inside)
        tl.store(sin_pointer, tl.zeros([COLUMNS], MATHS), mask=inside)
        for j in tl.static_range(1, 3):
            mask = j < limit
            tl.store(cos_pointer + j, tl.sum(totals[2 * j - 2], 0), mask=mask)
            tl.store(sin_pointer + j, tl.sum(totals[2 * j - 1], 0), mask=mask)
    for giant in tl.static_range(GIANTS):
        p = first + 5 * (giant + START)
        sums = totals[4 * START + 10 * giant : 4 * START + 10 * giant + 10]
        mask = p < limit
        tl.store(cos_pointer + p, tl.sum(sums[0], 0), mask=mask)
        tl.store(sin_pointer + p, tl.sum(sums[1], 0), mask=mask)
        for q in tl.static_range(1, 3):
            cc, ss = tl.sum(sums[4 * q - 2], 0), tl.sum(sums[4 * q - 1], 0)
            sc, cs = tl.sum(sums[4 * q], 0), tl.sum(sums[4 * q + 1], 0)
            mask = p - q < limit
            tl.store(cos_pointer + (p - q), cc + ss, mask=mask)
            tl.store(sin_pointer + (p - q), sc - cs, mask=mask)
            mask = p + q < limit
            tl.store(cos_pointer + (p + q), cc - ss, mask=mask)
            tl.store(sin_pointer + (p + q), sc + cs, mask=mask)


@triton.jit
@no_type_check
def _coefficients(cos_pointer, sin_pointer, cos_knot, sin_knot, j, limit, step):
    """Those of cos(j a) and sin(j a) in the gradient."""
    mask = j < limit
    c = tl.load(sin_pointer + j * sin_knot, mask=mask, other=0.0)
    s = tl.load(cos_pointer + j * cos_knot, mask=mask, other=0.0)
    return step * j * c, -step * j * s


@triton.jit(do_not_specialize=_GRADIENT_SCALARS)
@no_type_check
def _gradient_kernel(
    x_pointer, cos_pointer, sin_pointer, grad_pointer, n, m, knots, rows, column_blocks, splits,
    x_batch, x_row, cos_batch, cos_column, cos_knot, sin_batch, sin_column, sin_knot,
    turns, rest, first, first_turns, first_rest,
    START: tl.constexpr, GIANTS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    MATHS: tl.constexpr = cos_pointer.dtype.element_ty
    batch, _, start, stop, row, column = _place(n, rows, column_blocks, splits, ROWS, COLUMNS)
    inside = (column < m)[None, :]
    x_pointer += batch * x_batch + row.to(tl.int64) * x_row + column[None, :]
    following = tl.load(x_pointer, mask=(row < stop) & inside, other=0.0)
    grad_pointer += (batch * n + row) * m + column[None, :]
    cos_pointer += batch * cos_batch + column.to(tl.int64)[None, :] * cos_column
    sin_pointer += batch * sin_batch + column.to(tl.int64)[None, :] * sin_column
    limit = tl.where(inside, knots, 0)
    step = _TAU * (tl.cast(turns, MATHS) + tl.cast(rest, MATHS))

    # The coefficients of the products, which stay in registers.
    k = ()
    if START:
        for j in tl.static_range(1, 3):
            k = k + _coefficients(
                cos_pointer, sin_pointer, cos_knot, sin_knot, j, limit, step
            )  # fmt: skip
    for giant in tl.static_range(GIANTS):
        p = first + 5 * (giant + START)
        k = k + _coefficients(
            cos_pointer, sin_pointer, cos_knot, sin_knot, p, limit, step
        )  # fmt: skip
        for q in tl.static_range(1, 3):
            c_plus, s_plus = _coefficients(
                cos_pointer, sin_pointer, cos_knot, sin_knot, p + q, limit, step
            )
            c_minus, s_minus = _coefficients(
                cos_pointer, sin_pointer, cos_knot, sin_knot, p - q, limit, step
            )
            k = k + (c_minus + c_plus, c_minus - c_plus)  # noqa: RUF005
            k = k + (s_plus + s_minus, s_plus - s_minus)  # noqa: RUF005

    for _ in range(start, stop, ROWS):
        x = following.to(MATHS)
        written = (row < stop) & inside
        row += ROWS
        x_pointer += ROWS * x_row.to(tl.int64)
        following = tl.load(x_pointer, mask=(row < stop) & inside, other=0.0)

        c1, s1 = _unit(x, turns, rest)
        c2, s2 = _multiply(c1, s1, c1, s1)
        c5, s5 = _fifth(c1, s1, c2, s2)
        if START:
            total = tl.fma(c2, k[2], tl.fma(s2, k[3], tl.fma(c1, k[0], s1 * k[1])))
            c, s = c5, s5
        else:
            total = tl.load(grad_pointer, mask=written, other=0.0)
            c, s = _unit(x, first_turns, first_rest)
        for i in tl.static_range(GIANTS):
            a = k[4 * START + 10 * i : 4 * START + 10 * i + 10]
            by_c = tl.fma(c1, a[2], tl.fma(s1, a[5], a[0]))
            by_c = tl.fma(c2, a[6], tl.fma(s2, a[9], by_c))
            by_s = tl.fma(s1, a[3], tl.fma(c1, a[4], a[1]))
            by_s = tl.fma(s2, a[7], tl.fma(c2, a[8], by_s))
            total = tl.fma(c, by_c, tl.fma(s, by_s, total))
            c, s = _multiply(c, s, c5, s5)
        tl.store(grad_pointer, total.to(grad_pointer.dtype.element_ty), mask=written)
        grad_pointer += ROWS * m.to(tl.int64)
