"""triton-decode: one query row a sequence against a long K and V, split over the keys."""

from __future__ import annotations

import functools
import importlib.util
import math
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
_CPU_MULTIPROCESSORS = 3  # in the interpreter: enough that heads are split


@dataclass(frozen=True)
class Config:
    """Keys a warp takes of a block, warps, blocks in flight, programs per multiprocessor."""

    keys: int
    warps: int
    stages: int
    per_sm: int


def config(kv_bytes: int, row_bytes: int) -> Config:
    """Return the configuration measured best for so many bytes of K and V, and of one key's row."""
    keys = 32 if row_bytes <= 256 else 16  # wider rows would not fit shared memory
    if kv_bytes < _SMALL_BYTES:
        return Config(keys, warps=1, stages=4, per_sm=2)
    return Config(keys, warps=1, stages=3, per_sm=3)


@functools.lru_cache(maxsize=8)
def _arrivals(device: torch.device, stream: int, counters: int) -> torch.Tensor:
    """Counters that each call leaves at zero; one set a stream, so calls in flight do not meet."""
    import torch

    del stream
    return torch.zeros(counters, dtype=torch.int32, device=device)


def _multiprocessors(device: torch.device) -> int:
    import torch

    if device.type != "cuda":
        return _CPU_MULTIPROCESSORS
    return torch.cuda.get_device_properties(device).multi_processor_count


def _power_of_two(n: int) -> int:
    """Return the least power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def _tree(splits: int, rows: int) -> tuple[int, int]:
    """Return parts a group and groups a head, both powers of two; (0, 1) where nothing is split.

    One program adds up a group at once: 16 parts of one row, 8 where a part has more rows, more
    only where there would be more groups than parts in each.
    """
    if splits == 1:
        return 0, 1
    least = 16 if rows == 1 else 8
    fan = min(_power_of_two(splits), max(least, _power_of_two(math.isqrt(splits - 1) + 1)))
    return fan, _power_of_two(-(-splits // fan))


def _together(group: int, elements: int, warps: int) -> int:
    """Return how many rows are added up at once: a power of two, at most 128 registers a thread."""
    return min(_power_of_two(group), max(1, 4096 * warps // elements))


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
    chosen = chosen or config(2 * k.numel() * k.element_size(), head_dim * k.element_size())
    out = torch.empty_like(q)
    pairs = batch * kv_heads
    block = chosen.keys * chosen.warps
    cuda = q.device.type == "cuda"
    # As many programs as run at once, if that leaves each at least a block.
    wanted = max(1, _multiprocessors(q.device) * chosen.per_sm // pairs)
    chunk = block * -(-kv_len // (wanted * block))
    splits = -(-kv_len // chunk)
    fan, groups = _tree(splits, group)
    places = (fan + 1) * groups
    sums = torch.empty(pairs, places, group, 2, dtype=torch.float32, device=q.device)
    products = torch.empty(pairs, places, group, head_dim, dtype=torch.float32, device=q.device)
    stream = torch.cuda.current_stream(q.device).cuda_stream if cuda else 0
    decode_forward[(pairs * splits,)](
        q, k, v, out, sums, products, _arrivals(q.device, stream, pairs * (groups + 1)),
        scale * _LOG2E, kv_len, splits, chunk, kv_heads,
        q.stride(0), q.stride(1), k.stride(0), k.stride(1), k.stride(2),
        v.stride(0), v.stride(1), v.stride(2), out.stride(0), out.stride(1),
        G=group, GP=max(16, _power_of_two(group)), D=head_dim, BN=chosen.keys, W=chosen.warps,
        FAN=fan, GROUPS=groups, STAGES=chosen.stages,
        TOGETHER=_together(group, max(fan, groups) * head_dim, chosen.warps),
        EVEN=kv_len % block == 0, WIDEN=not cuda, num_warps=chosen.warps,
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
