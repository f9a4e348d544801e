"""Decode attention (one query row) in Triton: split over keys, GQA heads packed into one tile.

The keys of a key head are cut into equal chunks, one a program. Within it each warp keeps a softmax
of its own over its share of every block, so the loop holds no exchange between warps; they are
merged at the end. A head that one program reads alone is written at once; else each leaves its
sums, and the last to arrive adds them up.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.attention.decode``.
"""

import triton
import triton.language as tl


@triton.jit
def _dot(a, b, WIDEN: tl.constexpr):
    # The interpreter multiplies bf16 by its bits; widened operands give the products' true values.
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _together(x, INTERPRETED: tl.constexpr):
    # A barrier of the program's threads, so that one thread's counting follows all threads' stores.
    if not INTERPRETED:
        x = tl.inline_asm_elementwise("bar.sync 0; mov.b32 $0, $1;", "=r,r", [x], dtype=tl.int32,
                                      is_pure=False, pack=1)  # fmt: skip
    return x


@triton.jit
def _write(o_row, oh, row, total, product, G: tl.constexpr, D: tl.constexpr):
    d = tl.arange(0, D)
    tl.store(o_row + row[:, None] * oh + d[None, :],
             (product / total[:, None]).to(o_row.dtype.element_ty), mask=(row < G)[:, None])  # fmt: skip


@triton.jit
def _leave(sums_ptr, acc_ptr, place, row, top, total, product, G: tl.constexpr, D: tl.constexpr):
    at = place * G + row
    d = tl.arange(0, D)
    tl.store(sums_ptr + 2 * at, top, mask=row < G)
    tl.store(sums_ptr + 2 * at + 1, total, mask=row < G)
    tl.store(acc_ptr + at[:, None] * D + d[None, :], product, mask=(row < G)[:, None])


@triton.jit
def _add_up(sums_ptr, acc_ptr, base, parts, place, o_row, oh, G: tl.constexpr, D: tl.constexpr,
            FAN: tl.constexpr, TOGETHER: tl.constexpr):  # fmt: skip
    # Add up `parts` (at most FAN) parts; leave the sum at `place`, or write it where that is -1.
    # All parts of TOGETHER rows are loaded at once: each further turn would wait for memory again.
    part = tl.arange(0, FAN)
    d = tl.arange(0, D)
    for first in tl.static_range(0, G, TOGETHER):
        row = first + tl.arange(0, TOGETHER)
        at = (base + part)[:, None] * G + row[None, :]
        there = (part < parts)[:, None] & (row < G)[None, :]
        m = tl.load(sums_ptr + 2 * at, mask=there, other=-1.0e30, cache_modifier=".cg")
        l = tl.load(sums_ptr + 2 * at + 1, mask=there, other=1.0, cache_modifier=".cg")
        a = tl.load(acc_ptr + at[:, :, None] * D + d[None, None, :], mask=there[:, :, None],
                    other=0.0, cache_modifier=".cg")  # fmt: skip
        top = tl.max(m, 0)
        weight = tl.exp2(m - top[None, :])
        total = tl.sum(l * weight, 0)
        product = tl.sum(a * weight[:, :, None], 0)
        if place == -1:
            _write(o_row, oh, row, total, product, G, D)
        else:
            _leave(sums_ptr, acc_ptr, place, row, top, total, product, G, D)


@triton.jit
def _is_last(arrived, count, INTERPRETED: tl.constexpr):
    # The last to arrive leaves the counter at zero for the next call.
    before = tl.atomic_add(arrived + _together(0, INTERPRETED), 1, sem="acq_rel")
    last = before == count - 1
    if last:
        tl.store(arrived, 0)
    return last


@triton.jit(do_not_specialize=["splits", "Sk", "kv_heads"])
def decode_forward(q_ptr, k_ptr, v_ptr, o_ptr, sums_ptr, acc_ptr, arrived, scale, Sk, splits, chunk,
                   kv_heads, qb, qh, kb, kh, ks, vb, vh, vs, ob, oh,
                   G: tl.constexpr, GP: tl.constexpr, D: tl.constexpr, BN: tl.constexpr,
                   W: tl.constexpr, FAN: tl.constexpr, GROUPS: tl.constexpr, TOGETHER: tl.constexpr,
                   STAGES: tl.constexpr, EVEN: tl.constexpr, WIDEN: tl.constexpr):  # fmt: skip
    PARTS: tl.constexpr = FAN * GROUPS
    program = tl.program_id(0)
    head = program // splits
    part = program - head * splits
    batch = (head // kv_heads).to(tl.int64)
    kv_head = (head % kv_heads).to(tl.int64)
    w = tl.arange(0, W)
    r = tl.arange(0, GP)
    n = w[:, None] * BN + tl.arange(0, BN)[None, :]
    d = tl.arange(0, D)
    first = part * chunk
    last = tl.minimum(first + chunk, Sk)
    k_at = k_ptr + batch * kb + kv_head * kh + n.to(tl.int64)[:, :, None] * ks + d[None, None, :]
    v_at = v_ptr + batch * vb + kv_head * vh + n.to(tl.int64)[:, :, None] * vs + d[None, None, :]
    q_at = q_ptr + batch * qb + kv_head * G * qh + r[None, :, None] * qh + d[None, None, :]
    # The same rows for every warp: the batch of a product over (W, GP, D) goes to the warps.
    real = (r < G)[None, :, None] & (w >= 0)[:, None, None]
    q = tl.load(q_at + w[:, None, None] * 0, mask=real, other=0.0)
    m = tl.full([W, GP], -1.0e30, tl.float32)
    l = tl.zeros([W, GP], tl.float32)
    acc = tl.zeros([W, GP, D], tl.float32)
    for at in tl.range(first, last, W * BN, num_stages=STAGES):
        start = tl.cast(at, tl.int64)
        if EVEN:
            k = tl.load(k_at + start * ks)
            v = tl.load(v_at + start * vs)
        else:
            k = tl.load(k_at + start * ks, mask=(at + n < last)[:, :, None], other=0.0)
            v = tl.load(v_at + start * vs, mask=(at + n < last)[:, :, None], other=0.0)
        s = _dot(q, tl.permute(k, (0, 2, 1)), WIDEN) * scale
        if not EVEN:
            s = tl.where((at + n < last)[:, None, :], s, float("-inf"))
        m_new = tl.maximum(m, tl.max(s, 2))
        alpha = tl.exp2(m - m_new)
        p = tl.exp2(s - m_new[:, :, None])
        l = l * alpha + tl.sum(p, 2)
        acc = acc * alpha[:, :, None] + _dot(p.to(v.dtype), v, WIDEN)
        m = m_new
    top = tl.max(m, 0)
    weight = tl.exp2(m - top[None, :])
    total = tl.sum(l * weight, 0)
    product = tl.sum(acc * weight[:, :, None], 0)
    o_row = o_ptr + batch * ob + kv_head * G * oh
    if FAN == 0:
        _write(o_row, oh, r, total, product, G, D)
    else:
        # FAN parts make a group; one program adds up a group, one the groups of a head.
        base = head.to(tl.int64) * (PARTS + GROUPS)
        _leave(sums_ptr, acc_ptr, base + part, r, top, total, product, G, D)
        group = part // FAN
        counters = arrived + head * (GROUPS + 1)
        if _is_last(counters + group, tl.minimum(FAN, splits - group * FAN), WIDEN):
            parts = splits - group * FAN
            if GROUPS == 1:
                _add_up(sums_ptr, acc_ptr, base, parts, -1, o_row, oh, G, D, FAN, TOGETHER)
            else:
                _add_up(sums_ptr, acc_ptr, base + group * FAN, parts, base + PARTS + group, o_row,
                        oh, G, D, FAN, TOGETHER)  # fmt: skip
                groups = tl.cdiv(splits, FAN)
                if _is_last(counters + GROUPS, groups, WIDEN):
                    _add_up(sums_ptr, acc_ptr, base + PARTS, groups, -1, o_row, oh, G, D, GROUPS,
                            TOGETHER)  # fmt: skip
