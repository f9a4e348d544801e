"""TensorRT-LLM's Hopper kernels (fmha_v2, XQA) and flashinfer's FA3 template, built by flashinfer.

flashinfer compiles them from source at their first call, which takes from 10 s to 3 min and needs
nvcc. They read packed (tokens, heads, head_dim) tensors: views of (B, S, H, D) memory, no copies.
Lengths, page tables and workspaces of a shape are made once and kept.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING, Any

import torch

from perfkit.attention.provider import Provider

if TYPE_CHECKING:
    from perfkit.attention.problem import Problem

_CC = (9, 0)
_PAGE = 64  # tokens of a page of the KV cache, as TensorRT-LLM's default
_FMHA_WORKSPACE_BYTES = 128 << 20
_XQA_WORKSPACE_BYTES = 256 << 20
_FA3_WORKSPACE_BYTES = 256 << 20


@functools.cache
def _flashinfer() -> Any:
    """Import flashinfer, told to build for Hopper and to accept the torch that is there."""
    os.environ.setdefault("FLASHINFER_CUDA_ARCH_LIST", "9.0a")
    os.environ.setdefault("FLASHINFER_DISABLE_VERSION_CHECK", "1")
    import flashinfer
    import flashinfer.decode
    import flashinfer.prefill

    return flashinfer


@functools.cache
def _plain_fmha_only() -> None:
    """Build the 2 plain kernels instead of 88 of every feature and head size (15 s, not 10 min)."""
    from flashinfer.jit.attention.fmha_v2 import fmha_library

    every = fmha_library.is_kernel_spec_valid

    def plain(spec: Any) -> bool:
        extras = (
            spec.alibi,
            spec.enable_attn_logit_softcapping,
            spec.return_softmax_stats,
            spec.enable_skip_softmax,
        )
        return bool(every(spec)) and spec.head_size in (64, 128) and not any(extras)

    fmha_library.is_kernel_spec_valid = plain


@functools.lru_cache(maxsize=8)
def _workspace(size: int, device: torch.device) -> torch.Tensor:
    return torch.zeros(size, dtype=torch.uint8, device=device)


@functools.lru_cache(maxsize=128)
def _offsets(batch: int, length: int, device: torch.device) -> torch.Tensor:
    """Return where each of equally long sequences begins: (batch + 1,) int32."""
    return torch.arange(0, (batch + 1) * length, length, dtype=torch.int32, device=device)


@functools.lru_cache(maxsize=128)
def _lengths(batch: int, length: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.full((batch,), length, dtype=dtype, device=device)


@functools.lru_cache(maxsize=16)
def _pages(batch: int, pages: int, device: torch.device) -> torch.Tensor:
    return torch.arange(batch * pages, dtype=torch.int32, device=device).view(batch, pages)


def _packed(x: torch.Tensor) -> torch.Tensor:
    """See (B, H, S, D) over (B, S, H, D) memory as (B·S, H, D)."""
    batch, heads, length, head_dim = x.shape
    return x.transpose(1, 2).reshape(batch * length, heads, head_dim)


def _unpacked(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    batch, heads, length, head_dim = like.shape
    return x.view(batch, length, heads, head_dim).transpose(1, 2)


def _fmha(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    prefill = _flashinfer().prefill
    _plain_fmha_only()
    batch, _, q_len, _ = q.shape
    kv_len = k.shape[2]
    packed = tuple(_packed(x) for x in (q, k, v))
    out = torch.empty_like(packed[0])
    prefill.trtllm_fmha_v2_prefill(
        packed,
        "SEPARATE_Q_K_V",
        workspace_buffer=_workspace(_FMHA_WORKSPACE_BYTES, q.device),
        seq_lens=_lengths(batch, kv_len, torch.int32, q.device),
        max_q_len=q_len,
        max_kv_len=kv_len,
        bmm1_scale=scale,
        bmm2_scale=1.0,
        batch_size=batch,
        cum_seq_lens_q=_offsets(batch, q_len, q.device),
        cum_seq_lens_kv=_offsets(batch, kv_len, q.device),
        out=out,
        mask_mode="causal" if causal else "padding",
    )
    return _unpacked(out, q)


@functools.lru_cache(maxsize=64)
def _fa3_plan(
    shapes: tuple[int, ...], causal: bool, scale: float, dtype: torch.dtype, device: torch.device
) -> Any:
    """Plan once for (batch, heads, kv_heads, q_len, kv_len, head_dim)."""
    batch, heads, kv_heads, q_len, kv_len, head_dim = shapes
    workspace = torch.empty(_FA3_WORKSPACE_BYTES, dtype=torch.uint8, device=device)
    wrapper = _flashinfer().BatchPrefillWithRaggedKVCacheWrapper(workspace, "NHD", backend="fa3")
    wrapper.plan(
        _offsets(batch, q_len, device),
        _offsets(batch, kv_len, device),
        heads,
        kv_heads,
        head_dim,
        causal=causal,
        sm_scale=scale,
        q_data_type=dtype,
    )
    return wrapper


def _fa3(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    shapes = (q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3])
    wrapper = _fa3_plan(shapes, causal, scale, q.dtype, q.device)
    return _unpacked(wrapper.run(_packed(q), _packed(k), _packed(v)), q)


def _xqa(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    del causal
    batch, heads, _, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    pages = kv_len // _PAGE
    cache = tuple(x.transpose(1, 2).view(batch * pages, _PAGE, kv_heads, head_dim) for x in (k, v))
    query = q.reshape(batch, heads, head_dim)
    out = torch.empty_like(query)
    _flashinfer().decode.xqa_batch_decode_with_kv_cache(
        query,
        cache,
        _workspace(_XQA_WORKSPACE_BYTES, q.device),
        _pages(batch, pages, q.device),
        _lengths(batch, kv_len, torch.uint32, q.device),
        kv_len,
        bmm1_scale=scale,
        bmm2_scale=1.0,
        out=out,
        kv_layout="NHD",
    )
    return out.view(batch, heads, 1, head_dim)


def _unavailable(device: torch.device) -> str | None:
    if importlib.util.find_spec("flashinfer") is None:
        return "needs the flashinfer extra: pip install 'perfkit[flashinfer]'"
    if device.type != "cuda":
        return f"needs a Hopper GPU (compute capability 9.0), got a {device.type} device"
    found = torch.cuda.get_device_capability(device)
    if found != _CC:
        return f"needs compute capability 9.0 (Hopper), found {found[0]}.{found[1]}"
    return None


def _half(problem: Problem) -> str | None:
    if problem.dtype == "fp32":
        return "computes in bf16 or fp16, got fp32"
    if problem.head_dim not in (64, 128):
        return f"head_dim must be 64 or 128, got {problem.head_dim}"
    return None


def _prefill(problem: Problem) -> str | None:
    if problem.is_decode:
        return "is built for prompts, got q_len 1"
    if problem.causal and problem.q_len != problem.kv_len:
        return (
            "its causal mask was judged for equal lengths alone, got"
            f" q_len {problem.q_len} and kv_len {problem.kv_len}"
        )
    return _half(problem)


def _decode(problem: Problem) -> str | None:
    if not problem.is_decode:
        return f"computes one query row a sequence, got q_len {problem.q_len}"
    if problem.kv_len % _PAGE:
        return f"reads whole pages: kv_len must be a multiple of {_PAGE}, got {problem.kv_len}"
    return _half(problem)


PROVIDERS = (
    Provider(
        name="trtllm-fmha",
        source="TensorRT-LLM fmha_v2, from the sources in flashinfer-python",
        layout="bshd",
        kernels=r"fmha",
        unavailable=_unavailable,
        unsupported=_prefill,
        run=_fmha,
    ),
    Provider(
        name="flashinfer-fa3",
        source="flashinfer-python's FlashAttention-3 template",
        layout="bshd",
        kernels=r"flashinfer|prefill",
        unavailable=_unavailable,
        unsupported=_prefill,
        run=_fa3,
    ),
    Provider(
        name="trtllm-xqa",
        source="TensorRT-LLM XQA, from the sources in flashinfer-python",
        layout="bshd",
        kernels=r"mha|xqa",
        unavailable=_unavailable,
        unsupported=_decode,
        run=_xqa,
    ),
)
