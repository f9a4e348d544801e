"""triton-decode: one query row a sequence against a long K and V, split over the keys."""

from __future__ import annotations

import functools
import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.attention.provider import Provider

if TYPE_CHECKING:
    import torch

    from perfkit.attention.problem import Problem

_LOG2E = 1.4426950408889634
_CC = (8, 0)
_SMALL_BYTES = 200 << 20
_CPU_PROGRAMS = 3  # in the interpreter: enough that a head is split and a program crosses heads


@dataclass(frozen=True)
class Config:
    """Keys of a block, warps, blocks in flight, programs per multiprocessor."""

    keys: int
    warps: int
    stages: int
    per_sm: int


def config(group: int, kv_bytes: int) -> Config:
    """Return the configuration measured best for so many query heads a key head and bytes."""
    if group > 1 and kv_bytes > _SMALL_BYTES:
        return Config(keys=128, warps=8, stages=3, per_sm=1)
    return Config(keys=64, warps=4, stages=3, per_sm=2)


@functools.lru_cache(maxsize=8)
def _arrivals(device: torch.device, stream: int, heads: int) -> torch.Tensor:
    """Counters that each call leaves at zero; one set a stream, so calls in flight do not meet."""
    import torch

    del stream
    return torch.zeros(heads, dtype=torch.int32, device=device)


def _multiprocessors(device: torch.device) -> int:
    import torch

    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def _together(group: int, elements: int, warps: int) -> int:
    """Return how many rows are added up at once: a power of two, at most 128 registers a thread."""
    return min(1 << (group - 1).bit_length(), max(1, 4096 * warps // elements))


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    causal: bool,
    scale: float,
    chosen: Config | None = None,
) -> torch.Tensor:
    """Launch the kernel on checked tensors of (B, H, 1, D); one row sees every key."""
    import torch

    from perfkit.attention.decode_kernel import decode_forward

    del causal
    batch, heads, _, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    group = heads // kv_heads
    chosen = chosen or config(group, 2 * k.numel() * k.element_size())
    out = torch.empty_like(q)
    pairs = batch * kv_heads
    per_head = -(-kv_len // chosen.keys)
    units = pairs * per_head
    cuda = q.device.type == "cuda"
    wanted = _multiprocessors(q.device) * chosen.per_sm if cuda else _CPU_PROGRAMS
    programs = min(units, wanted)
    share, longer = divmod(units, programs)
    touching = min(per_head, -(-per_head // share) + 1)
    parts = 1 << (touching - 1).bit_length()
    padded = max(16, 1 << (group - 1).bit_length())
    sums = torch.empty(pairs, parts, group, 2, dtype=torch.float32, device=q.device)
    products = torch.empty(pairs, parts, group, head_dim, dtype=torch.float32, device=q.device)
    stream = torch.cuda.current_stream(q.device).cuda_stream if cuda else 0
    decode_forward[(programs,)](
        q, k, v, out, sums, products, _arrivals(q.device, stream, pairs),
        scale * _LOG2E, share, longer, kv_len, kv_heads,
        q.stride(0), q.stride(1), k.stride(0), k.stride(1), k.stride(2),
        v.stride(0), v.stride(1), v.stride(2), out.stride(0), out.stride(1),
        G=group, GP=padded, D=head_dim, BN=chosen.keys, PARTS=parts,
        TOGETHER=_together(group, parts * head_dim, chosen.warps), STAGES=chosen.stages,
        EVEN=kv_len % chosen.keys == 0, WIDEN=not cuda, num_warps=chosen.warps,
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
    if not problem.is_decode:
        return f"computes one query row a sequence, got q_len {problem.q_len}"
    if problem.head_dim not in (16, 32, 64, 128, 256):
        return f"head_dim must be 16, 32, 64, 128 or 256, got {problem.head_dim}"
    if problem.heads // problem.kv_heads > 64:
        return f"at most 64 heads a key head, got {problem.heads // problem.kv_heads}"
    return None


PROVIDERS = (
    Provider(
        name="triton-decode",
        source="perfkit/attention/decode_kernel.py (Triton)",
        layout="any",
        kernels=r"decode_forward",
        unavailable=unavailable,
        unsupported=unsupported,
        run=attention,
    ),
)
