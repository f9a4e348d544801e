"""The Hopper kernel for problems of one wave: a program computes one tile and is gone.

No list of tiles to fetch and no border of two tiles: what counts here is the time from the launch
to the end of the longest program. Under a causal mask a program therefore takes a short and a long
stretch of 64 rows, one a warpgroup, so that all programs have as much to do.

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

from perfkit.attention.hopper_kernel import (
    _first_softmax,
    _masked,
    _own_blocks,
    _pass_by,
    _row_factor,
    _step,
)


@gluon.jit
def _stretches(H, Sq, Sk, diagonal, BN: gl.constexpr, PAIR: gl.constexpr):
    """Return batch, head, the first rows of both warpgroups, and the key blocks to stream."""
    tiles = gl.cdiv(Sq, 128)
    tile = gl.program_id(0) % tiles
    head = gl.program_id(0) // tiles
    low = tile * 128
    high = low + 64
    n = gl.cdiv(Sk, BN)
    if PAIR:
        low = tile * 64
        high = (gl.cdiv(Sq, 64) - 1 - tile) * 64
        n = gl.maximum(1, gl.minimum(n, gl.cdiv(high + 64 + diagonal, BN)))
    return head // H, head % H, low, high, n


@gluon.jit
def _producer(qd, kd, vd, q_s, k_s, v_s, qf, kf, vf, free, H, Sq, Sk, diagonal, G,
              BN: gl.constexpr, ST: gl.constexpr, LOG_ST: gl.constexpr,
              PAIR: gl.constexpr):  # fmt: skip
    batch, head, low, high, n = _stretches(H, Sq, Sk, diagonal, BN, PAIR)
    mbarrier.expect(qf.index(1), qd.block_type.nbytes)
    tma.async_copy_global_to_shared(qd, [batch, head, high, 0], qf.index(1), q_s.index(1))
    for i in range(n + 1):
        st = i & (ST - 1)
        mbarrier.wait(free.index(st), ((i >> LOG_ST) & 1) ^ 1)
        if i < n:
            mbarrier.expect(kf.index(st), kd.block_type.nbytes)
            at = [batch, head // G, (n - 1 - i) * BN, 0]
            tma.async_copy_global_to_shared(kd, at, kf.index(st), k_s.index(st))
        if i == 0:
            mbarrier.expect(qf.index(0), qd.block_type.nbytes)
            tma.async_copy_global_to_shared(qd, [batch, head, low, 0], qf.index(0), q_s.index(0))
        else:
            pt = (i - 1) & (ST - 1)
            mbarrier.expect(vf.index(pt), vd.block_type.nbytes)
            before = [batch, head // G, (n - i) * BN, 0]
            tma.async_copy_global_to_shared(vd, before, vf.index(pt), v_s.index(pt))


@gluon.jit
def _consumer(od, q_s, k_s, v_s, qf, kf, vf, free, scale, H, Sq, Sk, diagonal,
              WG: gl.constexpr, D: gl.constexpr, BN: gl.constexpr, ST: gl.constexpr,
              LOG_ST: gl.constexpr, PAIR: gl.constexpr, TAIL: gl.constexpr):  # fmt: skip
    SL: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BN, 16])
    OL: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, D, 16])
    PL: gl.constexpr = gl.DotOperandLayout(operand_index=0, parent=OL, k_width=2)
    batch, head, low, high, every = _stretches(H, Sq, Sk, diagonal, BN, PAIR)
    row = low
    if WG == 1:
        row = high
    n = _own_blocks(every, row, diagonal, BN, PAIR)
    it = every - n
    _pass_by(kf, vf, free, it, ST, LOG_ST)
    st = it & (ST - 1)
    acc = gl.zeros([64, D], gl.float32, OL)
    zero = gl.zeros([64, BN], gl.float32, SL)
    q = q_s.index(WG).reshape([64, D])
    mbarrier.wait(qf.index(WG), 0)
    mbarrier.wait(kf.index(st), (it >> LOG_ST) & 1)
    k = k_s.index(st).reshape([BN, D])
    s_t = warpgroup_mma(q, k.permute((1, 0)), zero, use_acc=False, is_async=True)
    s = warpgroup_mma_wait(0, deps=[s_t])
    if it > 0:
        mbarrier.wait(vf.index((it - 1) & (ST - 1)), ((it - 1) >> LOG_ST) & 1)
    mbarrier.arrive(free.index(st), count=1)
    if PAIR or TAIL:
        s = _masked(s, row, (n - 1) * BN, Sk, diagonal, BN, PAIR, TAIL, SL)
    p, m, l = _first_softmax(s, scale, BN)
    p16 = gl.convert_layout(p.to(q.dtype), PL)
    it += 1
    turn = 0
    for i in range(1, n):
        acc, p16, m, l, turn = _step(
            q, k_s, v_s, kf, vf, free, acc, p16, m, l, it, i > 1, row, 0, scale, Sk, diagonal,
            turn, WG, 2, BN, ST, LOG_ST, False, PAIR, False, False, SL, PL, False)  # fmt: skip
        it += 1
    st = (it - 1) & (ST - 1)
    mbarrier.wait(vf.index(st), ((it - 1) >> LOG_ST) & 1)
    v = v_s.index(st).reshape([BN, D])
    o_t = warpgroup_mma(p16, v, acc, use_acc=n > 1, is_async=True)
    total = gl.sum(l, 1)
    inverse = 1.0 / gl.where(total > 0, total, 1.0)
    acc = warpgroup_mma_wait(0, deps=[o_t])
    q.store((acc * _row_factor(inverse, acc)).to(q.dtype))  # no product reads Q any more
    fence_async_shared()
    tma.async_copy_shared_to_global(od, [batch, head, row, 0], q_s.index(WG))
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["H", "Sq", "Sk", "diagonal", "G"])
def attention_forward_single(qd, kd, vd, od, scale, H, Sq, Sk, diagonal, G,
                             D: gl.constexpr, BN: gl.constexpr, ST: gl.constexpr,
                             LOG_ST: gl.constexpr, PAIR: gl.constexpr,
                             TAIL: gl.constexpr):  # fmt: skip
    q_s = gl.allocate_shared_memory(qd.dtype, [2, 1, 1, 64, D], qd.layout)
    k_s = gl.allocate_shared_memory(kd.dtype, [ST, 1, 1, BN, D], kd.layout)
    v_s = gl.allocate_shared_memory(vd.dtype, [ST, 1, 1, BN, D], vd.layout)
    BL: gl.constexpr = mbarrier.MBarrierLayout()
    qf = gl.allocate_shared_memory(gl.int64, [2, 1], BL)
    kf = gl.allocate_shared_memory(gl.int64, [ST, 1], BL)
    vf = gl.allocate_shared_memory(gl.int64, [ST, 1], BL)
    free = gl.allocate_shared_memory(gl.int64, [ST, 1], BL)
    for i in gl.static_range(2):
        mbarrier.init(qf.index(i), count=1)
    for i in gl.static_range(ST):
        mbarrier.init(kf.index(i), count=1)
        mbarrier.init(vf.index(i), count=1)
        mbarrier.init(free.index(i), count=2)
    fence_async_shared()
    gl.warp_specialize([
        (_consumer, (od, q_s, k_s, v_s, qf, kf, vf, free, scale, H, Sq, Sk, diagonal, 0, D, BN, ST, LOG_ST, PAIR, TAIL)),
        (_consumer, (od, q_s, k_s, v_s, qf, kf, vf, free, scale, H, Sq, Sk, diagonal, 1, D, BN, ST, LOG_ST, PAIR, TAIL)),
        (_producer, (qd, kd, vd, q_s, k_s, v_s, qf, kf, vf, free, H, Sq, Sk, diagonal, G, BN, ST, LOG_ST, PAIR)),
    ], [4, 1], [240, 24])  # fmt: skip
