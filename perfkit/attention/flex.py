"""flex: torch's flex_attention, compiled; the block mask of a shape is made once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo

from perfkit.attention.provider import Provider

if TYPE_CHECKING:
    from perfkit.attention.problem import Problem

_MOST_SHAPES = 1024


@functools.cache
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)


@functools.lru_cache(maxsize=64)
def _block_mask(q_len: int, kv_len: int, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    offset = kv_len - q_len

    def seen(_batch: Any, _head: Any, row: Any, key: Any) -> Any:
        return key <= row + offset

    return create_block_mask(seen, None, None, q_len, kv_len, device=str(device))


def _run(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    mask = _block_mask(q.shape[2], k.shape[2], q.device) if causal and q.shape[2] > 1 else None
    grouped = q.shape[1] != k.shape[1]
    # Every shape is compiled for itself; past the limit dynamo would run it unfused instead.
    with torch._dynamo.config.patch(recompile_limit=_MOST_SHAPES):  # noqa: SLF001
        out: torch.Tensor = _compiled()(q, k, v, block_mask=mask, scale=scale, enable_gqa=grouped)
    return out


def _unavailable(device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"needs a CUDA GPU, got a {device.type} device"
    return None


def _unsupported(problem: Problem) -> str | None:
    if problem.head_dim & (problem.head_dim - 1) or problem.head_dim < 16:
        return f"head_dim must be a power of two from 16, got {problem.head_dim}"
    if problem.causal and problem.q_len > problem.kv_len:
        return f"q_len {problem.q_len} over kv_len {problem.kv_len} leaves rows that see no key"
    return None


PROVIDERS = (
    Provider(
        name="flex",
        source="torch.nn.attention.flex_attention under torch.compile",
        layout="any",
        kernels=r"flex|triton_tem",
        unavailable=_unavailable,
        unsupported=_unsupported,
        run=_run,
    ),
)
