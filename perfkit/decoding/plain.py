"""The parts between products in plain torch: for a CPU, where no kernel is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from perfkit.decoding.weights import Matrix


def rms_norm(x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
    """(R, hidden) -> the same, each row at root mean square 1, times ``gain``."""
    return torch.nn.functional.rms_norm(x, (x.shape[-1],), gain, eps)


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """(R, 2 I) of gate, then up -> (R, I) of silu(gate) * up."""
    gate, up = gate_up.chunk(2, dim=-1)
    return torch.nn.functional.silu(gate) * up


def widened(matrix: Matrix, dtype: torch.dtype) -> torch.Tensor:
    """Return a matrix's weights in ``dtype``, (out, in); themselves where they are of it."""
    if matrix.scale is None:
        return matrix.values
    return (matrix.values.float() * matrix.scale[:, None]).to(dtype)


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
    to write, (B, kv_heads, S, D); ``cos`` and ``sin`` are (S, D), fp32.
    """
    batch, kv_heads, length, head_dim = keys.shape
    split = qkv.view(batch, length, heads + 2 * kv_heads, head_dim).transpose(1, 2)
    keys.copy_(rotated(split[:, heads : heads + kv_heads], cos, sin))
    values.copy_(split[:, heads + kv_heads :])
    return rotated(split[:, :heads], cos, sin)


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate (B, H, S, D) by (S, D) tables in fp32."""
    low, high = x.float().chunk(2, dim=-1)
    return (x.float() * cos + torch.cat((-high, low), dim=-1) * sin).to(x.dtype)
