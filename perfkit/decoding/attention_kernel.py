"""Attention of one new token a sequence, in Triton: rope, the cache's new row, and split-KV attention.

The keys that are valid, and no others, are cut into SPLITS chunks, one a program of one
warp; the last chunk's program also has the new token. Query heads of one key head make one tile. The last program of
a head to arrive adds the parts up, in a fixed order.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.decoding.step``.
"""

import triton
import triton.language as tl

from perfkit.decoding.linear_kernel import _dot, together


@triton.jit
def _rotated(at, mask, d, cos, sin, D: tl.constexpr):
    # Each element with its partner half a head away: x * cos -+ partner * sin, in fp32.
    x = tl.load(at + d, mask=mask, other=0.0).to(tl.float32)
    partner = tl.load(at + (d + D // 2) % D, mask=mask, other=0.0).to(tl.float32)
    return x * cos + tl.where(d < D // 2, -partner, partner) * sin


@triton.jit
def attention_step(qkv_ptr, k_ptr, v_ptr, cos_ptr, sin_ptr, pos_ptr, sums_ptr, acc_ptr, arrived,
                   o_ptr, scale, length, KV: tl.constexpr, G: tl.constexpr,
                   GP: tl.constexpr, D: tl.constexpr, BN: tl.constexpr,
                   SPLITS: tl.constexpr,
                   STAGES: tl.constexpr, WIDEN: tl.constexpr):  # fmt: skip
    # qkv: (B, (KV * G + 2 * KV) * D); k, v: (B, KV, length, D); pos: (B,), tokens in the cache.
    head = tl.program_id(0) // SPLITS
    part = tl.program_id(0) % SPLITS
    b = head // KV
    kv = head % KV
    r = tl.arange(0, GP)
    d = tl.arange(0, D)
    n = tl.arange(0, BN)
    pos = tl.load(pos_ptr + b)
    chunk = tl.cdiv(tl.cdiv(pos, SPLITS), BN) * BN
    first = tl.minimum(part * chunk, pos)
    last = tl.minimum(first + chunk, pos)
    row = qkv_ptr + b * ((KV * G + 2 * KV) * D)
    cos = tl.load(cos_ptr + pos * D + d)
    sin = tl.load(sin_ptr + pos * D + d)
    heads = (kv * G + r)[:, None] * D
    real = (r < G)[:, None]
    q = _rotated(row + heads, real, d[None, :], cos[None, :], sin[None, :], D)
    q = q.to(qkv_ptr.dtype.element_ty)
    base = head.to(tl.int64) * length * D
    k_at = k_ptr + base + n[:, None] * D + d[None, :]
    v_at = v_ptr + base + n[:, None] * D + d[None, :]
    m = tl.full([GP], -1.0e30, tl.float32)
    l = tl.zeros([GP], tl.float32)
    acc = tl.zeros([GP, D], tl.float32)
    for start in tl.range(first, last, BN, num_stages=STAGES):
        there = start + n < last
        k = tl.load(k_at + start * D, mask=there[:, None], other=0.0)
        v = tl.load(v_at + start * D, mask=there[:, None], other=0.0)
        s = _dot(q, tl.trans(k), tl.zeros([GP, BN], tl.float32), WIDEN) * scale
        s = tl.where(there[None, :], s, float("-inf"))
        m_new = tl.maximum(m, tl.max(s, 1))
        alpha = tl.exp2(m - m_new)
        p = tl.exp2(s - m_new[:, None])
        l = l * alpha + tl.sum(p, 1)
        acc = _dot(p.to(v.dtype), v, acc * alpha[:, None], WIDEN)
        m = m_new
    if part == SPLITS - 1:
        k_row = row + (KV * G + kv) * D
        new = _rotated(k_row, d < D, d, cos, sin, D).to(k_ptr.dtype.element_ty)
        v_new = tl.load(k_row + KV * D + d)
        tl.store(k_ptr + base + pos * D + d, new)
        tl.store(v_ptr + base + pos * D + d, v_new)
        s_new = tl.sum(q.to(tl.float32) * new.to(tl.float32)[None, :], 1) * scale
        m_new = tl.maximum(m, s_new)
        alpha = tl.exp2(m - m_new)
        p_new = tl.exp2(s_new - m_new)
        l = l * alpha + p_new
        acc = acc * alpha[:, None] + p_new[:, None] * v_new.to(tl.float32)[None, :]
        m = m_new
    out = o_ptr + head * (G * D)
    if SPLITS == 1:
        tl.store(out + r[:, None] * D + d[None, :],
                 (acc / l[:, None]).to(o_ptr.dtype.element_ty), mask=real)  # fmt: skip
    else:
        at = (head * SPLITS + part) * G + r
        tl.store(sums_ptr + 2 * at, m, mask=r < G)
        tl.store(sums_ptr + 2 * at + 1, l, mask=r < G)
        tl.store(acc_ptr + at[:, None] * D + d[None, :], acc, mask=real)
        before = tl.atomic_add(arrived + head + together(0, WIDEN), 1, sem="acq_rel")
        if before == SPLITS - 1:
            tl.store(arrived + head, 0)
            parts = head * SPLITS + tl.arange(0, SPLITS)
            for g in tl.static_range(0, G):
                tops = tl.load(sums_ptr + 2 * (parts * G + g), cache_modifier=".cg")
                totals = tl.load(sums_ptr + 2 * (parts * G + g) + 1, cache_modifier=".cg")
                products = tl.load(acc_ptr + (parts * G + g)[:, None] * D + d[None, :],
                                   cache_modifier=".cg")  # fmt: skip
                weight = tl.exp2(tops - tl.max(tops, 0))
                y = tl.sum(products * weight[:, None], 0) / tl.sum(totals * weight, 0)
                tl.store(out + g * D + d, y.to(o_ptr.dtype.element_ty))
