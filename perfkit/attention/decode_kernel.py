"""Decode attention (one query row) in Triton: split over keys, GQA heads packed into one tile.

The key blocks of all sequences and key heads form one line that the programs cut into equal runs,
so none waits for another. A run may end one head and begin the next: it is one loop, so the loads
of the next head are in flight while this one ends. A head that one program reads alone is written
at once; else each leaves its sums, and the last to arrive adds them up.

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
def _program_of(unit, share, longer):
    # The first `longer` programs take share + 1 units each, the others share.
    edge = longer * (share + 1)
    return tl.where(unit < edge, unit // (share + 1), longer + (unit - edge) // share)


@triton.jit
def _together(x, INTERPRETED: tl.constexpr):
    # A barrier of the program's threads, so that one thread's counting follows all threads' stores.
    # tl.debug_barrier is the same instruction, but Triton pipelines no loop that holds one.
    if not INTERPRETED:
        x = tl.inline_asm_elementwise("bar.sync 0; mov.b32 $0, $1;", "=r,r", [x], dtype=tl.int32,
                                      is_pure=False, pack=1)  # fmt: skip
    return x


@triton.jit
def _combine(sums_ptr, acc_ptr, o_row, oh, base, parts, G: tl.constexpr, D: tl.constexpr,
             PARTS: tl.constexpr, TOGETHER: tl.constexpr):  # fmt: skip
    # All parts of TOGETHER rows at once: each further turn would wait for memory again.
    part = tl.arange(0, PARTS)
    d = tl.arange(0, D)
    for first in tl.static_range(0, G, TOGETHER):
        row = first + tl.arange(0, TOGETHER)
        at = (base + part)[:, None] * G + row[None, :]
        there = (part < parts)[:, None] & (row < G)[None, :]
        m = tl.load(sums_ptr + 2 * at, mask=there, other=-1.0e30, cache_modifier=".cg")
        l = tl.load(sums_ptr + 2 * at + 1, mask=there, other=1.0, cache_modifier=".cg")
        a = tl.load(acc_ptr + at[:, :, None] * D + d[None, None, :], mask=there[:, :, None],
                    other=0.0, cache_modifier=".cg")  # fmt: skip
        weight = tl.exp2(m - tl.max(m, 0)[None, :])
        out = tl.sum(a * weight[:, :, None], 0) / tl.sum(l * weight, 0)[:, None]
        tl.store(o_row + row[:, None] * oh + d[None, :], out.to(o_row.dtype.element_ty),
                 mask=(row < G)[:, None])  # fmt: skip


@triton.jit(do_not_specialize=["share", "longer", "Sk", "kv_heads"])
def decode_forward(q_ptr, k_ptr, v_ptr, o_ptr, sums_ptr, acc_ptr, arrived, scale, share, longer, Sk,
                   kv_heads, qb, qh, kb, kh, ks, vb, vh, vs, ob, oh,
                   G: tl.constexpr, GP: tl.constexpr, D: tl.constexpr, BN: tl.constexpr,
                   PARTS: tl.constexpr, TOGETHER: tl.constexpr, STAGES: tl.constexpr,
                   EVEN: tl.constexpr, WIDEN: tl.constexpr):  # fmt: skip
    program = tl.program_id(0)
    start = program * share + tl.minimum(program, longer)
    end = start + share + (program < longer).to(tl.int32)
    per_head = tl.cdiv(Sk, BN)
    r = tl.arange(0, GP)
    d = tl.arange(0, D)
    n = tl.arange(0, BN)
    head = start // per_head
    q_row = q_ptr + (head // kv_heads).to(tl.int64) * qb + (head % kv_heads) * G * qh
    q = tl.load(q_row + r[:, None] * qh + d[None, :], mask=(r < G)[:, None], other=0.0)
    m = tl.full([GP], -1.0e30, tl.float32)
    l = tl.zeros([GP], tl.float32)
    acc = tl.zeros([GP, D], tl.float32)
    for unit in tl.range(start, end, num_stages=STAGES):
        head = unit // per_head
        block = unit - head * per_head
        batch = (head // kv_heads).to(tl.int64)
        kv_head = head % kv_heads
        key = block * BN + n
        k_at = k_ptr + batch * kb + kv_head.to(tl.int64) * kh + key.to(tl.int64)[:, None] * ks
        v_at = v_ptr + batch * vb + kv_head.to(tl.int64) * vh + key.to(tl.int64)[:, None] * vs
        if EVEN:
            k = tl.load(k_at + d[None, :])
            v = tl.load(v_at + d[None, :])
        else:
            k = tl.load(k_at + d[None, :], mask=(key < Sk)[:, None], other=0.0)
            v = tl.load(v_at + d[None, :], mask=(key < Sk)[:, None], other=0.0)
        s = _dot(q, k.T, WIDEN) * scale
        if not EVEN:
            s = tl.where((key < Sk)[None, :], s, float("-inf"))
        m_new = tl.maximum(m, tl.max(s, 1))
        alpha = tl.exp2(m - m_new)
        p = tl.exp2(s - m_new[:, None])
        l = l * alpha + tl.sum(p, 1)
        acc = acc * alpha[:, None] + _dot(p.to(v.dtype), v, WIDEN)
        m = m_new
        if (block == per_head - 1) | (unit == end - 1):
            o_row = o_ptr + batch * ob + kv_head * G * oh
            opener = _program_of(head * per_head, share, longer)
            closer = _program_of(head * per_head + per_head - 1, share, longer)
            if opener == closer:
                out = acc / l[:, None]
                tl.store(o_row + r[:, None] * oh + d[None, :], out.to(o_ptr.dtype.element_ty),
                         mask=(r < G)[:, None])  # fmt: skip
            else:
                base = head.to(tl.int64) * PARTS
                at = (base + program - opener) * G + r
                tl.store(sums_ptr + 2 * at, m, mask=r < G)
                tl.store(sums_ptr + 2 * at + 1, l, mask=r < G)
                tl.store(acc_ptr + at[:, None] * D + d[None, :], acc, mask=(r < G)[:, None])
                before = tl.atomic_add(arrived + _together(head, WIDEN), 1, sem="acq_rel")
                if before == closer - opener:
                    _combine(sums_ptr, acc_ptr, o_row, oh, base, closer - opener + 1, G, D, PARTS,
                             TOGETHER)  # fmt: skip
                    tl.store(arrived + head, 0)
            following = head + 1
            q_row = q_ptr + (following // kv_heads).to(tl.int64) * qb
            q_row += (following % kv_heads) * G * qh
            q = tl.load(q_row + r[:, None] * qh + d[None, :],
                        mask=((r < G) & (unit < end - 1))[:, None], other=0.0)  # fmt: skip
            m = tl.full([GP], -1.0e30, tl.float32)
            l = tl.zeros([GP], tl.float32)
            acc = tl.zeros([GP, D], tl.float32)
