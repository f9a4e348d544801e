"""Attention forward in plain Triton: Ampere and later, and a CPU under TRITON_INTERPRET=1.

The published online softmax (arXiv 2205.14135, 2307.08691): one program a tile of query rows, key
blocks from left to right, those that every row sees first and without a mask.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.attention.portable``.
"""

import triton
import triton.language as tl


@triton.jit
def _rows(tensor, batch, head, row, sb, sh, ss, length, ROWS: tl.constexpr, D: tl.constexpr,
          DESC: tl.constexpr, MASK: tl.constexpr):  # fmt: skip
    if DESC:
        tile = tensor.load([batch, head, row, 0]).reshape(ROWS, D)
    else:
        r = row + tl.arange(0, ROWS)
        d = tl.arange(0, D)
        at = tensor + batch.to(tl.int64) * sb + head.to(tl.int64) * sh
        at += r.to(tl.int64)[:, None] * ss + d[None, :]
        if MASK:
            tile = tl.load(at, mask=(r < length)[:, None], other=0.0)
        else:
            tile = tl.load(at)
    return tile


@triton.jit
def _dot(a, b, WIDEN: tl.constexpr):
    # The interpreter multiplies bf16 by its bits; widened operands give the products' true values.
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _add(s, v, m, l, acc, scale, WIDEN: tl.constexpr):
    m_new = tl.maximum(m, tl.max(s, 1) * scale)
    alpha = tl.exp2(m - m_new)
    p = tl.exp2(s * scale - m_new[:, None])
    l = l * alpha + tl.sum(p, 1)
    acc = acc * alpha[:, None]
    if WIDEN:
        acc += _dot(p.to(v.dtype), v, WIDEN)
    else:
        acc = tl.dot(p.to(v.dtype), v, acc, input_precision="ieee")
    return m_new, l, acc


@triton.jit(do_not_specialize=["heads", "group", "Sq", "Sk", "tiles"])
def portable_forward(q_in, k_in, v_in, o_out, scale, heads, group, Sq, Sk, tiles,
                     qb, qh, qs, kb, kh, ks, vb, vh, vs, ob, oh, os,
                     D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, STAGES: tl.constexpr,
                     CAUSAL: tl.constexpr, DESC: tl.constexpr, EVEN: tl.constexpr,
                     WIDEN: tl.constexpr):  # fmt: skip
    pid = tl.program_id(0)
    bh = pid // tiles
    tile = pid % tiles
    if CAUSAL:
        tile = tiles - 1 - tile  # the longest first: they start while every multiprocessor is free
    batch = bh // heads
    head = bh % heads
    row = tile * BM
    diagonal = Sk - Sq
    q = _rows(q_in, batch, head, row, qb, qh, qs, Sq, BM, D, DESC, not EVEN)
    m = tl.full([BM], -1.0e30, tl.float32)  # finite: a row that sees no key gives 0, not NaN
    l = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, D], tl.float32)
    end = Sk
    whole = Sk // BN * BN
    if CAUSAL:
        end = tl.maximum(0, tl.minimum(Sk, row + BM + diagonal))
        whole = tl.maximum(0, tl.minimum(Sk, row + diagonal + 1)) // BN * BN
    for col in tl.range(0, whole, BN, num_stages=STAGES):
        k = _rows(k_in, batch, head // group, col, kb, kh, ks, Sk, BN, D, DESC, False)
        s = _dot(q, k.T, WIDEN)
        v = _rows(v_in, batch, head // group, col, vb, vh, vs, Sk, BN, D, DESC, False)
        m, l, acc = _add(s, v, m, l, acc, scale, WIDEN)
    for col in tl.range(whole, end, BN, num_stages=1):
        k = _rows(k_in, batch, head // group, col, kb, kh, ks, Sk, BN, D, DESC, True)
        s = _dot(q, k.T, WIDEN)
        c = col + tl.arange(0, BN)[None, :]
        seen = c < Sk
        if CAUSAL:
            seen = seen & (c <= row + diagonal + tl.arange(0, BM)[:, None])
        s = tl.where(seen, s, float("-inf"))
        v = _rows(v_in, batch, head // group, col, vb, vh, vs, Sk, BN, D, DESC, True)
        m, l, acc = _add(s, v, m, l, acc, scale, WIDEN)
    out = acc * (1.0 / tl.where(l > 0, l, 1.0))[:, None]
    if DESC:
        o_out.store([batch, head, row, 0], out.to(o_out.dtype).reshape(1, 1, BM, D))
    else:
        r = row + tl.arange(0, BM)
        at = o_out + batch.to(tl.int64) * ob + head.to(tl.int64) * oh
        at += r.to(tl.int64)[:, None] * os + tl.arange(0, D)[None, :]
        tl.store(at, out.to(o_out.dtype.element_ty), mask=(r < Sq)[:, None])
