"""The parts between products by our kernels; the same functions as in ``plain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from typing import Any

    from perfkit.decoding.weights import Matrix


def power_of_two(n: int) -> int:
    """Return the least power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def rms_norm(x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
    """(R, hidden) -> the same, each row at root mean square 1, times ``gain``."""
    from perfkit.decoding.prompt_kernel import rms_norm_rows

    out = torch.empty_like(x)
    rows, hidden = x.shape
    kernel: Any = rms_norm_rows[(rows,)]
    kernel(x, gain, out, eps, K=hidden, KP=power_of_two(hidden), num_warps=8)
    return out


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """(R, 2 I) of gate, then up -> (R, I) of silu(gate) * up."""
    from perfkit.decoding import prompt_kernel

    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = gate_up.new_empty(rows, width)
    block = min(2048, power_of_two(width))
    kernel: Any = prompt_kernel.silu_mul[(rows, -(-width // block))]
    kernel(gate_up, out, I=width, BI=block, num_warps=8)
    return out


def widened(matrix: Matrix, dtype: torch.dtype) -> torch.Tensor:
    """Return a matrix's weights in ``dtype``, (out, in); themselves where they are of it."""
    from perfkit.decoding import prompt_kernel

    if matrix.scale is None:
        return matrix.values
    rows, columns = matrix.values.shape
    out = torch.empty_like(matrix.values, dtype=dtype)
    block = min(4096, power_of_two(columns))
    kernel: Any = prompt_kernel.widen[(rows, -(-columns // block))]
    kernel(matrix.values, matrix.scale, out, K=columns, BK=block, num_warps=8)
    return out


def rope_store(
    qkv: torch.Tensor,
    heads: int,
    keys: torch.Tensor,
    values: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
) -> torch.Tensor:
    """Rotate queries and keys, write keys and values; return the queries (B, heads, S, D).

    ``qkv`` is (B · S, (heads + 2 kv_heads) · D); ``keys`` and ``values`` are the rows of the cache
    to write, (B, kv_heads, S, D); ``cos`` and ``sin`` are (S, D), fp32. The queries lie in memory
    as (B, S, heads, D).
    """
    from perfkit.decoding import prompt_kernel

    batch, kv_heads, tokens, head_dim = keys.shape
    q = qkv.new_empty(batch, tokens, heads, head_dim)
    kernel: Any = prompt_kernel.rope_store[(batch * tokens,)]
    kernel(
        qkv, q, keys, values, cos, sin, tokens, keys.stride(1) // head_dim,
        H=heads, HP=power_of_two(heads), KV=kv_heads, KVP=power_of_two(kv_heads),
        D=head_dim, DP=power_of_two(head_dim) // 2, num_warps=4,
    )  # fmt: skip
    return q.transpose(1, 2)
