"""Decode attention (one query row) in Triton: split over keys, GQA heads packed into one tile.

The key blocks of all sequences and key heads form one line that the programs cut into equal runs,
so none waits for another; a run may end one head and begin the next. A head that one program reads
alone is written at once; else each leaves its sums, and the last to arrive adds them up.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.attention.decode``.
"""
# ruff: noqa: N803, N806, ANN001, ANN202, D103

import triton
import triton.language as tl


@triton.jit
def _program_of(unit, units, programs):
    # The program whose run [p·units/programs, (p+1)·units/programs) holds this unit.
    return ((unit.to(tl.int64) + 1) * programs - 1) // units


@triton.jit
def _dot(a, b, WIDEN: tl.constexpr):
    # The interpreter multiplies bf16 by its bits; widened operands give the products' true values.
    if WIDEN:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _combine(m_ptr, l_ptr, acc_ptr, o_row, head, parts, rows, GP: tl.constexpr, D: tl.constexpr,
             PARTS: tl.constexpr):  # fmt: skip
    r = tl.arange(0, GP)
    d = tl.arange(0, D)
    base = head.to(tl.int64) * PARTS
    top = tl.full([GP], -1.0e30, tl.float32)
    for part in range(parts):
        m = tl.load(m_ptr + (base + part) * GP + r, cache_modifier=".cg")
        top = tl.maximum(top, m)
    total = tl.zeros([GP], tl.float32)
    acc = tl.zeros([GP, D], tl.float32)
    for part in range(parts):
        m = tl.load(m_ptr + (base + part) * GP + r, cache_modifier=".cg")
        l = tl.load(l_ptr + (base + part) * GP + r, cache_modifier=".cg")
        at = (base + part) * GP * D + r[:, None] * D + d[None, :]
        a = tl.load(acc_ptr + at, mask=(r < rows)[:, None], other=0.0, cache_modifier=".cg")
        weight = tl.exp2(m - top)
        total += l * weight
        acc += a * weight[:, None]
    out = acc / total[:, None]
    tl.store(o_row + d[None, :], out.to(o_row.dtype.element_ty), mask=(r < rows)[:, None])


@triton.jit(do_not_specialize=["units", "kv_heads"])
def decode_forward(q_ptr, k_ptr, v_ptr, o_ptr, m_ptr, l_ptr, acc_ptr, arrived, scale, units, Sk,
                   kv_heads, qb, qh, kb, kh, ks, vb, vh, vs, ob, oh,
                   G: tl.constexpr, GP: tl.constexpr, D: tl.constexpr, BN: tl.constexpr,
                   PARTS: tl.constexpr, STAGES: tl.constexpr, EVEN: tl.constexpr,
                   WIDEN: tl.constexpr):  # fmt: skip
    program = tl.program_id(0)
    programs = tl.num_programs(0)
    unit = (program.to(tl.int64) * units // programs).to(tl.int32)
    end = ((program.to(tl.int64) + 1) * units // programs).to(tl.int32)
    per_head = tl.cdiv(Sk, BN)
    r = tl.arange(0, GP)
    d = tl.arange(0, D)
    n = tl.arange(0, BN)
    while unit < end:
        head = unit // per_head
        first = unit - head * per_head
        last = tl.minimum(per_head, first + end - unit)
        batch = head // kv_heads
        kv_head = head % kv_heads
        q_row = q_ptr + batch.to(tl.int64) * qb + (kv_head * G + r)[:, None] * qh
        q = tl.load(q_row + d[None, :], mask=(r < G)[:, None], other=0.0)
        k_tile = k_ptr + batch.to(tl.int64) * kb + kv_head.to(tl.int64) * kh
        v_tile = v_ptr + batch.to(tl.int64) * vb + kv_head.to(tl.int64) * vh
        m = tl.full([GP], -1.0e30, tl.float32)
        l = tl.zeros([GP], tl.float32)
        acc = tl.zeros([GP, D], tl.float32)
        for block in tl.range(first, last, num_stages=STAGES):
            key = block * BN + n
            k_at = k_tile + key.to(tl.int64)[:, None] * ks + d[None, :]
            v_at = v_tile + key.to(tl.int64)[:, None] * vs + d[None, :]
            if EVEN:
                k = tl.load(k_at)
            else:
                k = tl.load(k_at, mask=(key < Sk)[:, None], other=0.0)
            s = _dot(q, k.T, WIDEN) * scale
            if not EVEN:
                s = tl.where((key < Sk)[None, :], s, float("-inf"))
            m_new = tl.maximum(m, tl.max(s, 1))
            alpha = tl.exp2(m - m_new)
            p = tl.exp2(s - m_new[:, None])
            if EVEN:
                v = tl.load(v_at)
            else:
                v = tl.load(v_at, mask=(key < Sk)[:, None], other=0.0)
            l = l * alpha + tl.sum(p, 1)
            acc = acc * alpha[:, None] + _dot(p.to(v.dtype), v, WIDEN)
            m = m_new
        o_row = o_ptr + batch.to(tl.int64) * ob + (kv_head * G + r)[:, None] * oh
        if last - first == per_head:
            out = acc / l[:, None]
            tl.store(o_row + d[None, :], out.to(o_row.dtype.element_ty), mask=(r < G)[:, None])
        else:
            opener = _program_of(head * per_head, units, programs)
            closer = _program_of(head * per_head + per_head - 1, units, programs)
            part = head.to(tl.int64) * PARTS + program - opener
            tl.store(m_ptr + part * GP + r, m)
            tl.store(l_ptr + part * GP + r, l)
            at = part * GP * D + r[:, None] * D + d[None, :]
            tl.store(acc_ptr + at, acc, mask=(r < G)[:, None])
            tl.debug_barrier()
            before = tl.atomic_add(arrived + head, 1, sem="acq_rel")
            if before == closer - opener:
                parts = (closer - opener + 1).to(tl.int32)
                _combine(m_ptr, l_ptr, acc_ptr, o_row, head, parts, G, GP, D, PARTS)
                tl.store(arrived + head, 0)
        unit += last - first
