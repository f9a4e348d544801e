"""What stands between the products of a prompt, in Triton.

RMSNorm, rope with the cache, silu * up, and int8 or fp8 weights widened.

Import it lazily: a kernel's names are globals. The caller is ``perfkit.decoding.elementwise``.
"""

import triton
import triton.language as tl


@triton.jit
def rms_norm_rows(x_ptr, gain_ptr, out_ptr, eps, K: tl.constexpr, KP: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, KP)
    x = tl.load(x_ptr + row * K + k, mask=k < K, other=0.0).to(tl.float32)
    gain = tl.load(gain_ptr + k, mask=k < K, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, 0) / K + eps)
    tl.store(out_ptr + row * K + k, (x * scale * gain).to(out_ptr.dtype.element_ty), mask=k < K)


@triton.jit
def _rope(at, to, h, d, cos, sin, HEADS: tl.constexpr, D: tl.constexpr, stride):
    # Both halves of each head, in the order of transformers: element d pairs with d + D / 2.
    there = (h < HEADS)[:, None] & (d < D // 2)[None, :]
    low = at + h[:, None] * D + d[None, :]
    a = tl.load(low, mask=there, other=0.0).to(tl.float32)
    b = tl.load(low + D // 2, mask=there, other=0.0).to(tl.float32)
    place = to + h[:, None] * stride + d[None, :]
    tl.store(place, (a * cos - b * sin).to(to.dtype.element_ty), mask=there)
    tl.store(place + D // 2, (b * cos + a * sin).to(to.dtype.element_ty), mask=there)


@triton.jit
def rope_store(qkv_ptr, q_ptr, k_ptr, v_ptr, cos_ptr, sin_ptr, tokens, length,
               H: tl.constexpr, HP: tl.constexpr, KV: tl.constexpr, KVP: tl.constexpr,
               D: tl.constexpr, DP: tl.constexpr):  # fmt: skip
    # A program a token: q to (B * P, H, D), k and v to their rows of the cache (B, KV, length, D).
    row = tl.program_id(0).to(tl.int64)
    b = row // tokens
    pos = row % tokens
    d = tl.arange(0, DP)
    h = tl.arange(0, HP)
    kv = tl.arange(0, KVP)
    cos = tl.load(cos_ptr + pos * D + d, mask=d < D // 2, other=0.0)[None, :]
    sin = tl.load(sin_ptr + pos * D + d, mask=d < D // 2, other=0.0)[None, :]
    qkv = qkv_ptr + row * ((H + 2 * KV) * D)
    base = (b * KV * length + pos) * D
    _rope(qkv, q_ptr + row * (H * D), h, d, cos, sin, H, D, D)
    _rope(qkv + H * D, k_ptr + base, kv, d, cos, sin, KV, D, length * D)
    e = tl.arange(0, 2 * DP)
    there = (kv < KV)[:, None] & (e < D)[None, :]
    v = tl.load(qkv + (H + KV) * D + kv[:, None] * D + e[None, :], mask=there)
    tl.store(v_ptr + base + kv[:, None] * (length * D) + e[None, :], v, mask=there)


@triton.jit
def silu_mul(gate_up_ptr, out_ptr, I: tl.constexpr, BI: tl.constexpr):
    # Rows go along the first axis, which alone may be longer than 65,535.
    row = tl.program_id(0).to(tl.int64)
    i = tl.program_id(1) * BI + tl.arange(0, BI)
    gate = tl.load(gate_up_ptr + row * (2 * I) + i, mask=i < I, other=0.0).to(tl.float32)
    up = tl.load(gate_up_ptr + row * (2 * I) + I + i, mask=i < I, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * I + i, (gate / (1.0 + tl.exp(-gate)) * up).to(out_ptr.dtype.element_ty),
             mask=i < I)  # fmt: skip


@triton.jit
def widen(w_ptr, scale_ptr, out_ptr, K: tl.constexpr, BK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BK + tl.arange(0, BK)
    w = tl.load(w_ptr + row * K + k, mask=k < K, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * K + k, (w * tl.load(scale_ptr + row)).to(out_ptr.dtype.element_ty),
             mask=k < K)  # fmt: skip
