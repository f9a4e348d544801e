"""torch's fused attention, one back end at a time, so that torch raises rather than falls back."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from perfkit.attention.provider import Provider
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.attention.problem import Problem

_CC = (8, 0)


def _run(
    backend: SDPBackend,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    causal: bool,
    scale: float,
) -> torch.Tensor:
    if q.is_cuda and q.dtype == torch.float32 and backend is SDPBackend.FLASH_ATTENTION:
        raise UsageError("torch-flash computes in bf16 or fp16 on a GPU, got fp32")
    # One row sees every key; torch would align it at the top left, where it sees only the first.
    masked = causal and q.shape[2] > 1
    grouped = q.shape[1] != k.shape[1]
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(
            q, k, v, is_causal=masked, scale=scale, enable_gqa=grouped
        )


def _needs_cuda(device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"needs a CUDA GPU, got a {device.type} device"
    found = torch.cuda.get_device_capability(device)
    if found < _CC:
        return f"needs compute capability 8.0 or higher, found {found[0]}.{found[1]}"
    return None


def _flash_unavailable(device: torch.device) -> str | None:
    return None if device.type == "cpu" else _needs_cuda(device)


def _top_left(problem: Problem) -> str | None:
    if problem.causal and problem.q_len not in (1, problem.kv_len):
        return (
            f"torch aligns a causal mask at the top left, which differs for"
            f" q_len {problem.q_len} and kv_len {problem.kv_len}"
        )
    return None


def _flash(problem: Problem) -> str | None:
    if problem.head_dim > 256 or problem.head_dim % 8:
        return f"head_dim must be a multiple of 8 up to 256, got {problem.head_dim}"
    return _top_left(problem)


def _efficient(problem: Problem) -> str | None:
    if problem.heads != problem.kv_heads:
        return "has no grouped heads; expanding K and V would be a hidden copy"
    return _top_left(problem)


def _cudnn(problem: Problem) -> str | None:
    if problem.dtype == "fp32":
        return "computes in bf16 or fp16, got fp32"
    if problem.head_dim > 128 or problem.head_dim % 8:
        return f"head_dim must be a multiple of 8 up to 128, got {problem.head_dim}"
    return _top_left(problem)


PROVIDERS = (
    Provider(
        name="torch-flash",
        source="torch.nn.functional.scaled_dot_product_attention, FLASH_ATTENTION",
        layout="any",
        kernels=r"flash",
        unavailable=_flash_unavailable,
        unsupported=_flash,
        run=functools.partial(_run, SDPBackend.FLASH_ATTENTION),
    ),
    Provider(
        name="torch-efficient",
        source="torch.nn.functional.scaled_dot_product_attention, EFFICIENT_ATTENTION",
        layout="any",
        kernels=r"fmha_cutlass|mem_eff|efficient_attention|AttentionKernel",
        unavailable=_needs_cuda,
        unsupported=_efficient,
        run=functools.partial(_run, SDPBackend.EFFICIENT_ATTENTION),
    ),
    Provider(
        name="torch-cudnn",
        source="torch.nn.functional.scaled_dot_product_attention, CUDNN_ATTENTION",
        layout="any",
        kernels=r"cudnn",
        unavailable=_needs_cuda,
        unsupported=_cudnn,
        run=functools.partial(_run, SDPBackend.CUDNN_ATTENTION),
    ),
)
