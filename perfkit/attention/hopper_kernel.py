"""Attention forward for Hopper in Gluon: TMA, asynchronous wgmma, producer and consumer warps.

After the algorithm of FlashAttention-3 (arXiv 2407.08608), written anew. One producer warp streams
Q, K and V; two or three warpgroups of 64 query rows each keep the QK product of the next key block
and the PV product of this one in flight while their softmax runs. The grid is persistent: each
program walks its own list of tiles, and the stream of key blocks runs on over the border of two
tiles, so the first QK of the next tile and its softmax hide under the last PV of this one.
Key blocks go from right to left: only the first ones of a tile can need a mask.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.attention.hopper``.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

# A tile is one int32: batch, head, row tile.
TILE_BITS = gl.constexpr(10)
HEAD_BITS = gl.constexpr(8)

# Named barriers 8.. for taking turns on the tensor cores; Triton's own are 0, 1 and 2 + partition.
_TAKE = [gl.constexpr(f"bar.sync {8 + i}, 256; mov.b32 $0, $1;") for i in range(3)]
_GIVE = [gl.constexpr(f"bar.arrive {8 + i}, 256; mov.b32 $0, $1;") for i in range(3)]
_TAKE0, _TAKE1, _TAKE2 = _TAKE
_GIVE0, _GIVE1, _GIVE2 = _GIVE

# ptxas hoists the wait for PV above the softmax, which undoes the overlap. A store that depends on
# the row sums and never happens (they stay below 1e38) keeps the softmax before the wait.
_PIN = gl.constexpr(
    "{ .reg .pred p; .reg .b32 a; mov.b32 a, 0; setp.gt.f32 p, $1, 0f7E967699;"
    " @p st.shared.f32 [a], $1; mov.b32 $0, $1; }"
)


@gluon.jit
def _pin(x):
    return gl.inline_asm_elementwise(_PIN, "=f,f", [x], dtype=gl.float32, is_pure=False, pack=1)


def _rescaling(n: int) -> str:
    """PTX: n accumulators times their rows' factors, passed over where all of a warp's are one."""
    factors = [f"${2 * n + i}" for i in range(n)]
    move = " ".join(f"mov.b32 ${i}, ${n + i};" for i in range(n))
    multiply = " ".join(f"mul.f32 ${i}, ${i}, {factors[i]};" for i in range(n))
    return (
        "{ .reg .pred p; .reg .pred q; "
        f"setp.neu.f32 p, {factors[0]}, 0f3F800000; setp.neu.or.f32 p, {factors[2]}, 0f3F800000, p; "
        f"vote.sync.any.pred q, p, 0xffffffff; {move} @!q bra.uni SAME; {multiply} SAME: }}"
    )


_RESCALE = gl.constexpr(_rescaling(32))
_RESCALE_CONSTRAINTS = gl.constexpr(",".join(["=f"] * 32 + ["f"] * 64))


@gluon.jit
def _rescale(acc, alpha, LAZY: gl.constexpr):
    factor = _row_factor(alpha, acc)
    if LAZY:
        # A thread's accumulators lie in two rows, in turns of two: _RESCALE tests one of each.
        _, factor = gl.broadcast(acc, factor)
        acc = gl.inline_asm_elementwise(_RESCALE, _RESCALE_CONSTRAINTS, [acc, factor],
                                        dtype=gl.float32, is_pure=True, pack=32)  # fmt: skip
    else:
        acc = acc * factor
    return acc


@gluon.jit
def _turn(t, asm: gl.constexpr):
    return gl.inline_asm_elementwise(asm, "=r,r", [t], dtype=gl.int32, is_pure=False, pack=1)


@gluon.jit
def _take(t, WG: gl.constexpr):
    if WG == 0:
        t = _turn(t, _TAKE0)
    elif WG == 1:
        t = _turn(t, _TAKE1)
    else:
        t = _turn(t, _TAKE2)
    return t


@gluon.jit
def _give(t, WG: gl.constexpr):
    if WG == 0:
        t = _turn(t, _GIVE0)
    elif WG == 1:
        t = _turn(t, _GIVE1)
    else:
        t = _turn(t, _GIVE2)
    return t


@gluon.jit
def _unpack(tile, BM: gl.constexpr):
    row = (tile & ((1 << TILE_BITS) - 1)) * BM
    head = (tile >> TILE_BITS) & ((1 << HEAD_BITS) - 1)
    return row, head, tile >> (TILE_BITS + HEAD_BITS)


@gluon.jit
def _blocks(row, Sk, diagonal, BM: gl.constexpr, BN: gl.constexpr, CAUSAL: gl.constexpr):
    n = gl.cdiv(Sk, BN)
    if CAUSAL:
        n = gl.maximum(1, gl.minimum(n, gl.cdiv(row + BM + diagonal, BN)))
    return n


@gluon.jit
def _own_blocks(n, row, diagonal, BN: gl.constexpr, SKIP: gl.constexpr):
    # Of a tile's n key blocks, those that this warpgroup's 64 rows see: the rightmost may be none.
    own = n
    if SKIP:
        own = gl.maximum(1, gl.minimum(n, gl.cdiv(row + 64 + diagonal, BN)))
    return own


@gluon.jit
def _pass_by(kf, vf, free, skip, ST: gl.constexpr, LOG_ST: gl.constexpr):
    # Give back the first key blocks unread. Step i frees K of block i and V of the block before.
    for i in range(skip):
        mbarrier.wait(kf.index(i & (ST - 1)), (i >> LOG_ST) & 1)
        if i > 0:
            mbarrier.wait(vf.index((i - 1) & (ST - 1)), ((i - 1) >> LOG_ST) & 1)
        mbarrier.arrive(free.index(i & (ST - 1)), count=1)


@gluon.jit
def _producer(qd, kd, vd, order, counts, q_s, k_s, v_s, qf, qe, kf, vf, free, Sk, diagonal, G, L,
              BM: gl.constexpr, BN: gl.constexpr, NC: gl.constexpr, ST: gl.constexpr,
              LOG_ST: gl.constexpr, CAUSAL: gl.constexpr):  # fmt: skip
    order += gl.program_id(0) * L
    tiles = gl.load(counts + gl.program_id(0))
    it = 0
    v_col = 0
    v_head = 0
    v_batch = 0
    for j in range(tiles):
        row, head, batch = _unpack(gl.load(order + j), BM)
        n = _blocks(row, Sk, diagonal, BM, BN, CAUSAL)
        slot = j & 1
        for w in gl.static_range(NC):
            mbarrier.wait(qe.index(slot * NC + w), ((j >> 1) & 1) ^ 1)
            mbarrier.expect(qf.index(slot * NC + w), qd.block_type.nbytes)
            tma.async_copy_global_to_shared(
                qd,
                [batch, head, row + w * 64, 0],
                qf.index(slot * NC + w),
                q_s.index(slot * NC + w),
            )
        head_kv = head // G
        for i in range(n):
            st = it & (ST - 1)
            # A slot's step frees its K and the V before it, so V follows K by one block.
            mbarrier.wait(free.index(st), ((it >> LOG_ST) & 1) ^ 1)
            mbarrier.expect(kf.index(st), kd.block_type.nbytes)
            col = (n - 1 - i) * BN
            tma.async_copy_global_to_shared(
                kd, [batch, head_kv, col, 0], kf.index(st), k_s.index(st)
            )
            if it > 0:
                pt = (it - 1) & (ST - 1)
                mbarrier.expect(vf.index(pt), vd.block_type.nbytes)
                tma.async_copy_global_to_shared(
                    vd, [v_batch, v_head, v_col, 0], vf.index(pt), v_s.index(pt)
                )
            v_col = col
            v_head = head_kv
            v_batch = batch
            it += 1
    if it > 0:
        pt = (it - 1) & (ST - 1)
        mbarrier.wait(free.index(it & (ST - 1)), ((it >> LOG_ST) & 1) ^ 1)
        mbarrier.expect(vf.index(pt), vd.block_type.nbytes)
        tma.async_copy_global_to_shared(
            vd, [v_batch, v_head, v_col, 0], vf.index(pt), v_s.index(pt)
        )


@gluon.jit
def _masked(s, row, col, Sk, diagonal, BN: gl.constexpr, CAUSAL: gl.constexpr, TAIL: gl.constexpr,
            SL: gl.constexpr):  # fmt: skip
    c = gl.expand_dims(col + gl.arange(0, BN, gl.SliceLayout(0, SL)), 0)
    if CAUSAL:
        r = gl.expand_dims(row + diagonal + gl.arange(0, 64, gl.SliceLayout(1, SL)), 1)
        s = gl.where(c <= r, s, float("-inf"))
    if TAIL:
        s = gl.where(c < Sk, s, float("-inf"))
    return s


@gluon.jit
def _partial_sums(p, BN: gl.constexpr):
    # A thread adds up its own columns (pairs, eight apart); the four lanes of a row meet at the end.
    parts = gl.reshape(p, [64, BN // 8, 4, 2])
    return gl.sum(gl.sum(parts, 3), 1)


@gluon.jit
def _row_factor(x, like):
    return gl.expand_dims(gl.convert_layout(x, gl.SliceLayout(1, like.type.layout)), 1)


@gluon.jit
def _first_softmax(s, scale, BN: gl.constexpr):
    m = gl.maximum(gl.max(s, 1) * scale, -1.0e30)
    p = gl.exp2(s * scale - gl.expand_dims(m, 1))
    return p, m, _partial_sums(p, BN)


@gluon.jit
def _softmax(s, m, l, scale, BN: gl.constexpr, LAZY: gl.constexpr):
    m_new = gl.maximum(m, gl.max(s, 1) * scale)
    if LAZY:  # a maximum behind by up to 8 leaves p below 2^8, and most steps without a rescale
        m_new = gl.where(m_new > m + 8.0, m_new, m)
    alpha = gl.exp2(m - m_new)
    p = gl.exp2(s * scale - gl.expand_dims(m_new, 1))
    return p, alpha, m_new, l * _row_factor(alpha, l) + _partial_sums(p, BN)


@gluon.jit
def _step(q, k_s, v_s, kf, vf, free, acc, p16, m, l, it, use_acc, row, col, scale, Sk, diagonal,
          turn, WG: gl.constexpr, NC: gl.constexpr, BN: gl.constexpr, ST: gl.constexpr,
          LOG_ST: gl.constexpr, MASK: gl.constexpr, CAUSAL: gl.constexpr, TAIL: gl.constexpr,
          PING: gl.constexpr, SL: gl.constexpr, PL: gl.constexpr, LAZY: gl.constexpr):  # fmt: skip
    sk = it & (ST - 1)
    sv = (it - 1) & (ST - 1)
    mbarrier.wait(kf.index(sk), (it >> LOG_ST) & 1)
    if PING:
        turn = _take(turn, WG)
    zero = gl.zeros([64, BN], gl.float32, SL)
    k = k_s.index(sk).reshape([BN, q.shape[1]])
    s_t = warpgroup_mma(q, k.permute((1, 0)), zero, use_acc=False, is_async=True)
    mbarrier.wait(vf.index(sv), ((it - 1) >> LOG_ST) & 1)
    v = v_s.index(sv).reshape([BN, q.shape[1]])
    o_t = warpgroup_mma(p16, v, acc, use_acc=use_acc, is_async=True)
    if PING:
        turn = _give(turn, (WG + 1) % NC)
    s = warpgroup_mma_wait(1, deps=[s_t])
    if MASK:
        s = _masked(s, row, col, Sk, diagonal, BN, CAUSAL, TAIL, SL)
    p, alpha, m, l = _softmax(s, m, l, scale, BN, LAZY)
    l = _pin(l)
    acc = warpgroup_mma_wait(0, deps=[o_t])
    mbarrier.arrive(free.index(sk), count=1)
    acc = _rescale(acc, alpha, LAZY)
    p16 = gl.convert_layout(p.to(q.dtype), PL)
    return acc, p16, m, l, turn


@gluon.jit
def _consumer(od, order, counts, q_s, k_s, v_s, o_s, qf, qe, kf, vf, free, scale, Sk, diagonal, L,
              WG: gl.constexpr, NC: gl.constexpr, D: gl.constexpr, BM: gl.constexpr,
              BN: gl.constexpr, ST: gl.constexpr, LOG_ST: gl.constexpr, CAUSAL: gl.constexpr,
              TAIL: gl.constexpr, MORE: gl.constexpr, SKIP: gl.constexpr,
              PING: gl.constexpr, LAZY: gl.constexpr):  # fmt: skip
    SL: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BN, 16])
    OL: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    PL: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=OL, k_width=2)
    MASK: gl.constexpr = CAUSAL or TAIL
    order += gl.program_id(0) * L
    tiles = gl.load(counts + gl.program_id(0))
    row, head, batch = _unpack(gl.load(order), BM)
    following = gl.load(order + 1)
    every = _blocks(row, Sk, diagonal, BM, BN, CAUSAL)
    n = _own_blocks(every, row + WG * 64, diagonal, BN, SKIP)
    it = every - n  # key blocks gone by; PV is one behind QK
    if SKIP:
        _pass_by(kf, vf, free, it, ST, LOG_ST)
    acc = gl.zeros([64, D], gl.float32, OL)
    zero = gl.zeros([64, BN], gl.float32, SL)
    turn = 0
    if PING:
        if WG == NC - 1:
            turn = _give(turn, 0)
    mbarrier.wait(qf.index(WG), 0)
    first = it & (ST - 1)
    mbarrier.wait(kf.index(first), (it >> LOG_ST) & 1)
    if PING:
        turn = _take(turn, WG)
    q = q_s.index(WG).reshape([64, D])
    k = k_s.index(first).reshape([BN, D])
    s_t = warpgroup_mma(q, k.permute((1, 0)), zero, use_acc=False, is_async=True)
    if PING:
        turn = _give(turn, (WG + 1) % NC)
    s = warpgroup_mma_wait(0, deps=[s_t])
    if SKIP:
        if it > 0:
            mbarrier.wait(vf.index((it - 1) & (ST - 1)), ((it - 1) >> LOG_ST) & 1)
    mbarrier.arrive(free.index(first), count=1)
    if MASK:
        s = _masked(s, row + WG * 64, (n - 1) * BN, Sk, diagonal, BN, CAUSAL, TAIL, SL)
    p, m, l = _first_softmax(s, scale, BN)
    p16 = gl.convert_layout(p.to(q.dtype), PL)
    it += 1
    for j in range(tiles):
        q = q_s.index((j & 1) * NC + WG).reshape([64, D])
        unmasked = 1
        if MORE:  # further blocks that cross the diagonal of these 64 rows
            unmasked = gl.maximum(1, n - gl.maximum(0, row + WG * 64 + diagonal + 1) // BN)
            unmasked = gl.minimum(unmasked, n)
            for i in range(1, unmasked):
                acc, p16, m, l, turn = _step(
                    q, k_s, v_s, kf, vf, free, acc, p16, m, l, it, i > 1, row + WG * 64,
                    (n - 1 - i) * BN, scale, Sk, diagonal, turn, WG, NC, BN, ST, LOG_ST,
                    True, CAUSAL, False, PING, SL, PL, LAZY)  # fmt: skip
                it += 1
        for i in range(unmasked, n):
            acc, p16, m, l, turn = _step(
                q, k_s, v_s, kf, vf, free, acc, p16, m, l, it, i > 1, row, 0, scale, Sk, diagonal,
                turn, WG, NC, BN, ST, LOG_ST, False, CAUSAL, False, PING, SL, PL, LAZY)  # fmt: skip
            it += 1

        # The border: the next tile's first QK and softmax under this tile's last PV. After the
        # last tile the product reads what lies in shared memory and its result is dropped.
        mbarrier.arrive(qe.index((j & 1) * NC + WG), count=1)
        more = j + 1 < tiles
        row_next, head_next, batch_next = _unpack(following, BM)
        following = gl.load(order + j + 2)
        every = _blocks(row_next, Sk, diagonal, BM, BN, CAUSAL)
        n_next = _own_blocks(every, row_next + WG * 64, diagonal, BN, SKIP)
        sv = (it - 1) & (ST - 1)
        v_phase = ((it - 1) >> LOG_ST) & 1
        skip = 0
        if SKIP:
            skip = gl.where(more, every - n_next, 0)
            for i in range(it, it + skip):
                mbarrier.wait(kf.index(i & (ST - 1)), (i >> LOG_ST) & 1)
        before = it
        it += skip
        sk = it & (ST - 1)
        mbarrier.wait(qf.index(((j + 1) & 1) * NC + WG), ((j + 1) >> 1) & 1, pred=more)
        mbarrier.wait(kf.index(sk), (it >> LOG_ST) & 1, pred=more)
        if PING:
            turn = _take(turn, WG)
        q = q_s.index(((j + 1) & 1) * NC + WG).reshape([64, D])
        k = k_s.index(sk).reshape([BN, D])
        zero = gl.zeros([64, BN], gl.float32, SL)
        s_t = warpgroup_mma(q, k.permute((1, 0)), zero, use_acc=False, is_async=True)
        mbarrier.wait(vf.index(sv), v_phase)
        v = v_s.index(sv).reshape([BN, D])
        o_t = warpgroup_mma(p16, v, acc, use_acc=n > 1, is_async=True)
        if PING:
            turn = _give(turn, (WG + 1) % NC)
        s = warpgroup_mma_wait(1, deps=[s_t])
        if MASK:
            s = _masked(
                s, row_next + WG * 64, (n_next - 1) * BN, Sk, diagonal, BN, CAUSAL, TAIL, SL
            )
        total = gl.sum(l, 1)
        p, m, l = _first_softmax(s, scale, BN)
        l = _pin(l)
        acc = warpgroup_mma_wait(0, deps=[o_t])
        if SKIP:
            for i in range(before, it):
                mbarrier.arrive(free.index(i & (ST - 1)), count=1)
                mbarrier.wait(vf.index(i & (ST - 1)), (i >> LOG_ST) & 1)
        mbarrier.arrive(free.index(sk), count=1)
        p16 = gl.convert_layout(p.to(q.dtype), PL)
        it += 1

        o = o_s.index(WG).reshape([64, D])
        tma.store_wait(0)
        inverse = 1.0 / gl.where(total > 0, total, 1.0)
        o.store((acc * _row_factor(inverse, acc)).to(q.dtype))
        fence_async_shared()
        tma.async_copy_shared_to_global(od, [batch, head, row + WG * 64, 0], o_s.index(WG))
        row = row_next
        head = head_next
        batch = batch_next
        n = n_next
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["Sk", "diagonal", "G", "L"])
def attention_forward(qd, kd, vd, od, order, counts, scale, Sk, diagonal, G, L,
                      D: gl.constexpr, BN: gl.constexpr, NC: gl.constexpr, ST: gl.constexpr,
                      LOG_ST: gl.constexpr, CAUSAL: gl.constexpr, TAIL: gl.constexpr,
                      MORE: gl.constexpr, SKIP: gl.constexpr, PING: gl.constexpr, LAZY: gl.constexpr,
                      CONSUMER_REGS: gl.constexpr, PRODUCER_REGS: gl.constexpr):  # fmt: skip
    BM: gl.constexpr = 64 * NC
    q_s = gl.allocate_shared_memory(qd.dtype, [2 * NC, 1, 1, 64, D], qd.layout)
    k_s = gl.allocate_shared_memory(kd.dtype, [ST, 1, 1, BN, D], kd.layout)
    v_s = gl.allocate_shared_memory(vd.dtype, [ST, 1, 1, BN, D], vd.layout)
    o_s = gl.allocate_shared_memory(od.dtype, [NC, 1, 1, 64, D], od.layout)
    BL: gl.constexpr = mbarrier.MBarrierLayout()
    qf = gl.allocate_shared_memory(gl.int64, [2 * NC, 1], BL)
    qe = gl.allocate_shared_memory(gl.int64, [2 * NC, 1], BL)
    kf = gl.allocate_shared_memory(gl.int64, [ST, 1], BL)
    vf = gl.allocate_shared_memory(gl.int64, [ST, 1], BL)
    free = gl.allocate_shared_memory(gl.int64, [ST, 1], BL)
    for i in gl.static_range(2 * NC):
        mbarrier.init(qf.index(i), count=1)
        mbarrier.init(qe.index(i), count=1)
    for i in gl.static_range(ST):
        mbarrier.init(kf.index(i), count=1)
        mbarrier.init(vf.index(i), count=1)
        mbarrier.init(free.index(i), count=NC)
    fence_async_shared()
    if NC == 2:
        gl.warp_specialize([
            (_consumer, (od, order, counts, q_s, k_s, v_s, o_s, qf, qe, kf, vf, free, scale, Sk, diagonal, L, 0, NC, D, BM, BN, ST, LOG_ST, CAUSAL, TAIL, MORE, SKIP, PING, LAZY)),
            (_consumer, (od, order, counts, q_s, k_s, v_s, o_s, qf, qe, kf, vf, free, scale, Sk, diagonal, L, 1, NC, D, BM, BN, ST, LOG_ST, CAUSAL, TAIL, MORE, SKIP, PING, LAZY)),
            (_producer, (qd, kd, vd, order, counts, q_s, k_s, v_s, qf, qe, kf, vf, free, Sk, diagonal, G, L, BM, BN, NC, ST, LOG_ST, CAUSAL)),
        ], [4, 1], [CONSUMER_REGS, PRODUCER_REGS])  # fmt: skip
    else:
        gl.warp_specialize([
            (_consumer, (od, order, counts, q_s, k_s, v_s, o_s, qf, qe, kf, vf, free, scale, Sk, diagonal, L, 0, NC, D, BM, BN, ST, LOG_ST, CAUSAL, TAIL, MORE, SKIP, PING, LAZY)),
            (_consumer, (od, order, counts, q_s, k_s, v_s, o_s, qf, qe, kf, vf, free, scale, Sk, diagonal, L, 1, NC, D, BM, BN, ST, LOG_ST, CAUSAL, TAIL, MORE, SKIP, PING, LAZY)),
            (_consumer, (od, order, counts, q_s, k_s, v_s, o_s, qf, qe, kf, vf, free, scale, Sk, diagonal, L, 2, NC, D, BM, BN, ST, LOG_ST, CAUSAL, TAIL, MORE, SKIP, PING, LAZY)),
            (_producer, (qd, kd, vd, order, counts, q_s, k_s, v_s, qf, qe, kf, vf, free, Sk, diagonal, G, L, BM, BN, NC, ST, LOG_ST, CAUSAL)),
        ], [4, 4, 1], [CONSUMER_REGS, CONSUMER_REGS, PRODUCER_REGS])  # fmt: skip
