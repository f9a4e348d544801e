"""triton: attention in plain Triton; the launch, its configurations and its limits."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.attention.provider import Provider

if TYPE_CHECKING:
    import torch

    from perfkit.attention.problem import Problem

_LOG2E = 1.4426950408889634
_CC = (8, 0)
_HOPPER = 9


@dataclass(frozen=True)
class Config:
    """Query rows and keys of a block, warps, stages, TMA descriptors, register cap (0: none)."""

    rows: int
    keys: int
    warps: int
    stages: int
    descriptors: bool
    registers: int = 0


def config(head_dim: int, causal: bool, q_len: int, device: torch.device) -> Config:
    """Return the configuration measured best; without a Hopper GPU, one that fits Ampere."""
    import torch

    if device.type == "cpu":
        return Config(32, 16, 4, 1, descriptors=False)
    if torch.cuda.get_device_capability(device)[0] < _HOPPER:
        return Config(128, 64 if head_dim <= 64 else 32, 4, 3, descriptors=False)
    if head_dim > 64:
        if causal:
            return Config(64, 64, 4, 3, descriptors=True, registers=160)
        return Config(128, 64, 4, 2, descriptors=True)
    if causal and q_len <= 1024:
        return Config(64, 64, 4, 2, descriptors=True, registers=112)
    return Config(64, 128, 4, 2, descriptors=True, registers=160)


def _descriptor(x: torch.Tensor, rows: int) -> Any:
    from triton.tools.tensor_descriptor import TensorDescriptor

    strides = [x.shape[3] if n == 1 else s for n, s in zip(x.shape, x.stride(), strict=True)]
    strides[3] = 1
    return TensorDescriptor(x, list(x.shape), strides, [1, 1, rows, x.shape[3]])


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    causal: bool,
    scale: float,
    chosen: Config | None = None,
) -> torch.Tensor:
    """Launch the kernel on checked tensors of (B, H, S, D); see ``perfkit.attention.sdpa``."""
    import torch

    from perfkit.attention.portable_kernel import portable_forward

    batch, heads, q_len, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    c = chosen or config(head_dim, causal, q_len, q.device)
    out = torch.empty_like(q)
    tiles = -(-q_len // c.rows)
    tensors = (q, k, v, out)
    if c.descriptors:
        sizes = (c.rows, c.keys, c.keys, c.rows)
        operands = [_descriptor(x, n) for x, n in zip(tensors, sizes, strict=True)]
    else:
        operands = list(tensors)
    strides = [stride for x in tensors for stride in x.stride()[:3]]
    options = {"maxnreg": c.registers} if c.registers else {}
    portable_forward[(tiles * batch * heads,)](
        *operands, scale * _LOG2E, heads, heads // kv_heads, q_len, kv_len, tiles, *strides,
        D=head_dim, BM=c.rows, BN=c.keys, STAGES=c.stages, CAUSAL=causal, DESC=c.descriptors,
        EVEN=q_len % c.rows == 0, WIDEN=q.device.type == "cpu", num_warps=c.warps,
        num_stages=c.stages, **options,
    )  # fmt: skip
    return out


def unavailable(device: torch.device) -> str | None:
    """Say why the kernel cannot run on this device, or None."""
    if importlib.util.find_spec("triton") is None:
        return "needs triton: pip install triton"
    if device.type == "cpu":
        if os.environ.get("TRITON_INTERPRET") == "1":
            return None
        return "on a CPU it runs in Triton's interpreter: set TRITON_INTERPRET=1"
    import torch

    found = torch.cuda.get_device_capability(device)
    if found < _CC:
        return f"needs compute capability 8.0 or higher, found {found[0]}.{found[1]}"
    return None


def unsupported(problem: Problem) -> str | None:
    """Say why this problem cannot run, or None."""
    if problem.head_dim not in (16, 32, 64, 128):
        return f"head_dim must be 16, 32, 64 or 128, got {problem.head_dim}"
    return None


PROVIDERS = (
    Provider(
        name="triton",
        source="perfkit/attention/portable_kernel.py (Triton)",
        layout="any",
        kernels=r"portable_forward",
        unavailable=unavailable,
        unsupported=unsupported,
        run=attention,
    ),
)
