"""The end of a step, in Triton: the likeliest token, its embedding as the next residual stream.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.decoding.step``.
"""

import triton
import triton.language as tl


@triton.jit
def argmax_feed(logits_ptr, embedding_ptr, gain_ptr, h_ptr, x_ptr, squares_ptr, pos_ptr, history_ptr,
                width, V: tl.constexpr, BV: tl.constexpr, K: tl.constexpr,
                KP: tl.constexpr, PARTS: tl.constexpr, PARTS_P: tl.constexpr, MP: tl.constexpr):  # fmt: skip
    # One program a row. The token goes to history[row, pos]; pos then counts the token to come.
    b = tl.program_id(0)
    v = tl.arange(0, BV)
    best = tl.full([], float("-inf"), tl.float32)
    token = tl.full([], 0, tl.int32)
    for start in tl.static_range(0, V, BV):
        x = tl.load(logits_ptr + b * V + start + v, mask=start + v < V, other=float("-inf"))
        top = tl.max(x, 0)
        where = tl.argmax(x, 0).to(tl.int32) + start
        token = tl.where(top > best, where, token)
        best = tl.maximum(top, best)
    pos = tl.load(pos_ptr + b)
    tl.store(history_ptr + b * width + pos, token.to(tl.int64))
    tl.store(pos_ptr + b, pos + 1)
    k = tl.arange(0, KP)
    h = tl.load(embedding_ptr + token.to(tl.int64) * K + k, mask=k < K, other=0.0).to(tl.float32)
    tl.store(h_ptr + b * K + k, h, mask=k < K)
    gain = tl.load(gain_ptr + k, mask=k < K, other=0.0).to(tl.float32)
    tl.store(x_ptr + b * K + k, (h * gain).to(x_ptr.dtype.element_ty), mask=k < K)
    # The whole sum is the first part, and the others are nothing.
    p = tl.arange(0, PARTS_P)
    total = tl.sum(h * h, 0)
    tl.store(squares_ptr + p * MP + b, tl.where(p == 0, total, 0.0), mask=p < PARTS)
