"""Weights times one to a few rows, in Triton, with what stands around the product done with it.

W is (N, K), row major. Where SCALED, the rows are a residual stream that RMSNorm has still to scale:
they come times its gain, and ``squares`` holds what their squares add up to, in PARTS parts. Where
DUAL, W holds N gate rows, then N up rows, and the result is silu(gate) * up. Where QUANTISED, W is
int8 or fp8, and each of its rows has a scale. Where ADD, the result is
added to the residual stream ``h`` (fp32), and what the next product needs of it is left: ``out`` gets
h times the next norm's gain, ``squares`` a part from each tile. All sums have a fixed order.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.decoding.linear``.
"""

import triton
import triton.language as tl


@triton.jit
def _prefetch(at, SIZE: tl.constexpr):
    # One thread asks L2 for SIZE bytes, and nobody waits.
    tl.inline_asm_elementwise(
        """{
        .reg .pred p;
        .reg .u32 t;
        mov.u32 t, %tid.x;
        setp.eq.u32 p, t, 0;
        @p cp.async.bulk.prefetch.L2.global [$1], $2;
        mov.u32 $0, 0;
        }""",
        "=r,l,r", [at, SIZE], dtype=tl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@triton.jit
def prefetch(next_ptr, AHEAD: tl.constexpr, LAST: tl.constexpr):
    # The last LAST programs ask for AHEAD bytes each of what the next kernel reads first: memory
    # goes on working while this kernel ends and that one starts.
    if AHEAD > 0:
        place = tl.program_id(0) - (tl.num_programs(0) - LAST)
        if place >= 0:
            _prefetch(next_ptr.to(tl.int64) + place * AHEAD, AHEAD)


@triton.jit
def together(x, INTERPRETED: tl.constexpr):
    # A barrier of the program's threads, so that one thread's counting follows all threads' stores.
    if not INTERPRETED:
        x = tl.inline_asm_elementwise("bar.sync 0; mov.b32 $0, $1;", "=r,r", [x], dtype=tl.int32,
                                      is_pure=False, pack=1)  # fmt: skip
    return x


@triton.jit
def _tile(at, n, k, N: tl.constexpr, K: tl.constexpr, EVEN: tl.constexpr):
    if EVEN:
        return tl.load(at, eviction_policy="evict_first")
    return tl.load(at, mask=(n < N)[:, None] & (k < K)[None, :], other=0.0,
                   eviction_policy="evict_first")  # fmt: skip


@triton.jit
def _silu(x):
    return x / (1.0 + tl.exp(-x))


@triton.jit
def gemv_rows(x_ptr, w_ptr, scale_ptr, out_ptr, squares_ptr, h_ptr, gain_ptr, next_ptr, eps,
              N: tl.constexpr, K: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
              PARTS: tl.constexpr, PARTS_P: tl.constexpr, SCALED: tl.constexpr, DUAL: tl.constexpr,
              ADD: tl.constexpr, QUANTISED: tl.constexpr, AHEAD: tl.constexpr,
              LAST: tl.constexpr):  # fmt: skip
    # One row: multiplied on the ordinary units, the next tile of W loaded before this one is used.
    pid = tl.program_id(0)
    n = pid * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    at = w_ptr + n[:, None] * K + k[None, :]
    w = _tile(at, n, k, N, K, N % BN == 0 and BK <= K)
    if DUAL:
        u = _tile(at + N * K, n, k, N, K, N % BN == 0 and BK <= K)
        other = tl.zeros([BN, BK], tl.float32)
    acc = tl.zeros([BN, BK], tl.float32)
    for i in tl.static_range(0, (K + BK - 1) // BK):
        kk = k + i * BK
        if (i + 1) * BK <= K:
            x = tl.load(x_ptr + kk).to(tl.float32)
        else:
            x = tl.load(x_ptr + kk, mask=kk < K, other=0.0).to(tl.float32)
        now = w
        if DUAL:
            now_up = u
        if (i + 1) * BK < K:
            w = _tile(at + (i + 1) * BK, n, kk + BK, N, K, N % BN == 0 and (i + 2) * BK <= K)
            if DUAL:
                u = _tile(at + N * K + (i + 1) * BK, n, kk + BK, N, K,
                          N % BN == 0 and (i + 2) * BK <= K)  # fmt: skip
        acc += now.to(tl.float32) * x[None, :]
        if DUAL:
            other += now_up.to(tl.float32) * x[None, :]
    y = tl.sum(acc, 1)
    if QUANTISED:
        y = y * tl.load(scale_ptr + n, mask=n < N, other=0.0)
    if SCALED:
        p = tl.arange(0, PARTS_P)
        total = tl.sum(tl.load(squares_ptr + p, mask=p < PARTS, other=0.0), 0)
        scale = tl.rsqrt(total / K + eps)
        y = y * scale
    if DUAL:
        up = tl.sum(other, 1)
        if QUANTISED:
            up = up * tl.load(scale_ptr + N + n, mask=n < N, other=0.0)
        if SCALED:
            up = up * scale
        y = _silu(y) * up
    real = n < N
    if ADD:
        y += tl.load(h_ptr + n, mask=real, other=0.0)
        tl.store(h_ptr + n, y, mask=real)
        tl.store(squares_ptr + pid, tl.sum(y * y, 0))
        y = y * tl.load(gain_ptr + n, mask=real, other=0.0).to(tl.float32)
    tl.store(out_ptr + n, y.to(out_ptr.dtype.element_ty), mask=real)
    prefetch(next_ptr, AHEAD, LAST)


@triton.jit
def _dot(a, b, acc, WIDEN: tl.constexpr):
    # The interpreter multiplies bf16 by its bits; widened operands give the products' true values.
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision="ieee")


@triton.jit
def gemm_rows(x_ptr, w_ptr, scale_ptr, out_ptr, squares_ptr, h_ptr, gain_ptr, sums_ptr, arrived, eps,
              M: tl.constexpr, MP: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
              BN: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr, SPLITS: tl.constexpr,
              PARTS: tl.constexpr, PARTS_P: tl.constexpr, SCALED: tl.constexpr, DUAL: tl.constexpr,
              ADD: tl.constexpr, QUANTISED: tl.constexpr, WIDEN: tl.constexpr):  # fmt: skip
    # M rows of x, up to MP, on the matrix units: W's rows are the long side, x's the short one.
    # SPLITS programs share the columns of a tile; the last to arrive adds their sums up, in order.
    tile = tl.program_id(0) // SPLITS
    part = tl.program_id(0) % SPLITS
    n = tile * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    m = tl.arange(0, MP)
    CHUNK: tl.constexpr = ((K + SPLITS * BK - 1) // (SPLITS * BK)) * BK
    at = w_ptr + n[:, None] * K + k[None, :]
    x_at = x_ptr + m[None, :] * K + k[:, None]
    acc = tl.zeros([BN, MP], tl.float32)
    other = tl.zeros([BN, MP], tl.float32)
    for start in tl.range(part * CHUNK, tl.minimum(part * CHUNK + CHUNK, K), BK, num_stages=STAGES):
        w = _tile(at + start, n, start + k, N, K, N % BN == 0 and K % BK == 0)
        if K % BK == 0:
            x = tl.load(x_at + start, mask=(m < M)[None, :], other=0.0)
        else:
            x = tl.load(x_at + start, mask=(m < M)[None, :] & (start + k < K)[:, None], other=0.0)
        acc = _dot(w.to(x.dtype), x, acc, WIDEN)
        if DUAL:
            u = _tile(at + N * K + start, n, start + k, N, K, N % BN == 0 and K % BK == 0)
            other = _dot(u.to(x.dtype), x, other, WIDEN)
    if SPLITS == 1:
        _end(acc, other, tile, n, m, scale_ptr, out_ptr, squares_ptr, h_ptr, gain_ptr, eps, M, MP, N,
             K, PARTS, PARTS_P, SCALED, DUAL, ADD, QUANTISED)  # fmt: skip
    else:
        SIZE: tl.constexpr = BN * MP
        place = tl.arange(0, BN)[:, None] * MP + m[None, :]
        sums = sums_ptr + tile * (2 * SPLITS * SIZE)
        tl.store(sums + part * SIZE + place, acc)
        if DUAL:
            tl.store(sums + (SPLITS + part) * SIZE + place, other)
        before = tl.atomic_add(arrived + tile + together(0, WIDEN), 1, sem="acq_rel")
        if before == SPLITS - 1:
            tl.store(arrived + tile, 0)
            acc = tl.zeros([BN, MP], tl.float32)
            other = tl.zeros([BN, MP], tl.float32)
            for i in tl.static_range(0, SPLITS):
                acc += tl.load(sums + i * SIZE + place, cache_modifier=".cg")
                if DUAL:
                    other += tl.load(sums + (SPLITS + i) * SIZE + place, cache_modifier=".cg")
            _end(acc, other, tile, n, m, scale_ptr, out_ptr, squares_ptr, h_ptr, gain_ptr, eps, M, MP,
                 N, K, PARTS, PARTS_P, SCALED, DUAL, ADD, QUANTISED)  # fmt: skip


@triton.jit
def _end(acc, other, tile, n, m, scale_ptr, out_ptr, squares_ptr, h_ptr, gain_ptr, eps,
         M: tl.constexpr, MP: tl.constexpr, N: tl.constexpr, K: tl.constexpr, PARTS: tl.constexpr,
         PARTS_P: tl.constexpr, SCALED: tl.constexpr, DUAL: tl.constexpr, ADD: tl.constexpr,
         QUANTISED: tl.constexpr):  # fmt: skip
    if QUANTISED:
        acc = acc * tl.load(scale_ptr + n, mask=n < N, other=0.0)[:, None]
        if DUAL:
            other = other * tl.load(scale_ptr + N + n, mask=n < N, other=0.0)[:, None]
    if SCALED:
        p = tl.arange(0, PARTS_P)
        parts = tl.load(squares_ptr + p[:, None] * MP + m[None, :], mask=(p < PARTS)[:, None],
                        other=0.0)  # fmt: skip
        scale = tl.rsqrt(tl.sum(parts, 0) / K + eps)
        acc = acc * scale[None, :]
        other = other * scale[None, :]
    if DUAL:
        acc = _silu(acc) * other
    real = (n < N)[:, None] & (m < M)[None, :]
    place = m[None, :] * N + n[:, None]
    if ADD:
        acc += tl.load(h_ptr + place, mask=real, other=0.0)
        acc = tl.where(real, acc, 0.0)
        tl.store(h_ptr + place, acc, mask=real)
        tl.store(squares_ptr + tile * MP + m, tl.sum(acc * acc, 0))
        acc = acc * tl.load(gain_ptr + n, mask=n < N, other=0.0).to(tl.float32)[:, None]
    tl.store(out_ptr + place, acc.to(out_ptr.dtype.element_ty), mask=real)
