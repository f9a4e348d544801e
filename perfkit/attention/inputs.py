"""What may be passed to ``sdpa``: tensors checked one by one, then against a provider."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from perfkit.attention.problem import Problem
from perfkit.errors import UsageError

if TYPE_CHECKING:
    import torch

    from perfkit.attention.provider import Provider

_RANK = 4
_ALIGNMENT_BYTES = 16


class UnavailableError(UsageError):
    """The provider cannot run on this machine; the message says why."""


def _check_type(name: str, x: object) -> None:
    import torch

    if not isinstance(x, torch.Tensor):
        raise UsageError(f"{name} is of type {type(x).__name__}: expected a torch.Tensor")


def _check_tensor(name: str, x: torch.Tensor, q: torch.Tensor) -> None:
    if x.dim() != _RANK:
        raise UsageError(
            f"{name} has shape {tuple(x.shape)}: expected 4 dimensions,"
            " (batch, heads, length, head_dim)"
        )
    if x.dtype != q.dtype:
        raise UsageError(f"{name} is {x.dtype} and q is {q.dtype}: expected one dtype")
    if x.device != q.device:
        raise UsageError(f"{name} is on {x.device} and q on {q.device}: expected one device")
    if x.stride(-1) != 1:
        raise UsageError(
            f"{name} has stride {x.stride(-1)} in its last dimension: call .contiguous()"
        )
    if x.numel() == 0:
        raise UsageError(f"{name} has shape {tuple(x.shape)}: expected no empty dimension")


def problem_of(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> Problem:
    """Check q (B, H, Sq, D) against k and v (B, Hkv, Sk, D); return the problem they pose."""
    import torch

    names = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
    for name, x in (("q", q), ("k", k), ("v", v)):
        _check_type(name, x)
    if not isinstance(causal, bool):
        raise UsageError(f"causal {causal!r}: expected True or False")
    if q.dtype not in names:
        raise UsageError(f"q is {q.dtype}: expected bfloat16, float16 or float32")
    for name, x in (("q", q), ("k", k), ("v", v)):
        _check_tensor(name, x, q)
    if k.shape != v.shape:
        raise UsageError(f"v has shape {tuple(v.shape)} and k {tuple(k.shape)}: expected the same")
    if k.shape[0] != q.shape[0]:
        raise UsageError(f"k has batch {k.shape[0]} and q {q.shape[0]}: expected the same")
    if k.shape[3] != q.shape[3]:
        raise UsageError(f"k has head_dim {k.shape[3]} and q {q.shape[3]}: expected the same")
    batch, heads, q_len, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    if heads % kv_heads:
        raise UsageError(f"q has {heads} heads and k {kv_heads}: expected a multiple")
    return Problem(names[q.dtype], causal, batch, heads, kv_heads, q_len, kv_len, head_dim)


def checked_scale(scale: float | None, head_dim: int) -> float:
    """Return the scale, 1/√head_dim where none is given."""
    if scale is None:
        return 1 / math.sqrt(head_dim)
    number = isinstance(scale, (int, float))
    if not (number and math.isfinite(scale) and scale > 0):
        raise UsageError(f"scale {scale!r}: expected a positive finite number")
    return float(scale)


def require(provider: Provider, problem: Problem, device: torch.device) -> None:
    """Raise UnavailableError or UsageError with the provider's own reason."""
    absent = provider.unavailable(device)
    if absent is not None:
        raise UnavailableError(f"attention provider {provider.name} cannot run here: {absent}")
    refused = provider.unsupported(problem)
    if refused is not None:
        raise UsageError(f"attention provider {provider.name} cannot compute this: {refused}")


def check_layout(provider: Provider, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Refuse a memory order that the provider could only read through a hidden copy."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if fits_layout(x, provider.layout):
            continue
        whole = _ALIGNMENT_BYTES // x.element_size()
        if provider.layout == "any" and x.shape[-1] % whole:
            raise UsageError(
                f"{name} has head_dim {x.shape[-1]} in {x.dtype}: {provider.name} reads rows of"
                f" whole {_ALIGNMENT_BYTES} bytes, so expected a multiple of {whole}"
            )
        raise UsageError(
            f"{name} has strides {x.stride()} for shape {tuple(x.shape)}: {provider.name} reads"
            f" {_WANTED[provider.layout]}; convert it with perfkit.attention.inputs.laid_out"
        )


_WANTED = {
    "bhsd": "contiguous (B, H, S, D) memory",
    "bshd": "(B, S, H, D) memory seen as (B, H, S, D)",
    "any": "any order whose strides are multiples of 16 bytes",
}


def fits_layout(x: torch.Tensor, layout: str) -> bool:
    """Say whether (B, H, S, D) tensor ``x`` lies in memory as ``layout`` asks."""
    if layout == "bhsd":
        return x.is_contiguous()
    if layout == "bshd":
        return x.transpose(1, 2).is_contiguous()
    aligned = x.data_ptr() % _ALIGNMENT_BYTES == 0
    steps = [step * x.element_size() for n, step in zip(x.shape, x.stride(), strict=True) if n > 1]
    return aligned and all(step % _ALIGNMENT_BYTES == 0 for step in steps[:-1])


def laid_out(x: torch.Tensor, layout: str) -> torch.Tensor:
    """Return ``x`` itself where its memory order fits, else a copy that does."""
    if fits_layout(x, layout):
        return x
    if layout == "bshd":
        return x.transpose(1, 2).contiguous().transpose(1, 2)
    import torch

    # contiguous() would hand back a contiguous view that begins between two multiples of 16 bytes.
    return x.clone(memory_format=torch.contiguous_format)
