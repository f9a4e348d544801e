"""triton-hopper: attention for sm_90 in Gluon; the launch, its configurations and its limits."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.attention.problem import ELEMENT_BYTES, Problem
from perfkit.attention.provider import Provider
from perfkit.attention.schedule import Tiling, assign

if TYPE_CHECKING:
    import torch

_LOG2E = 1.4426950408889634
_CC = (9, 0)
_MAX_TILES, _MAX_HEADS, _MAX_BATCH = 1 << 10, 1 << 8, 1 << 13
# K and V of the heads in work share the L2 with Q and O on their way through.
_CACHE_SHARE = 0.5


@dataclass(frozen=True)
class Config:
    """Keys of a block, warpgroups of 64 rows, K and V slots, turns, registers of a thread."""

    keys: int
    groups: int
    stages: int
    turns: bool
    registers: tuple[int, int]


def config(problem: Problem) -> Config:
    """Return the configuration measured best for this kind of problem."""
    if problem.head_dim == 128:
        return Config(128, 2, 2, turns=False, registers=(240, 24))
    return Config(128, 2, 4, turns=False, registers=(240, 24))


@functools.lru_cache(maxsize=64)
def _lists(
    tiling: Tiling, batch: int, heads: int, head_bytes: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tiles of each program (programs, longest + 2) and how many there are."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    programs = min(properties.multi_processor_count, batch * heads * tiling.tiles)
    cache = int(properties.L2_cache_size * _CACHE_SHARE)
    lists = assign(tiling, batch * heads, programs, head_bytes, cache)
    width = max(map(len, lists)) + 2
    packed = torch.zeros(programs, width, dtype=torch.int32)
    for program, tiles in enumerate(lists):
        words = [(bh // heads) << 18 | (bh % heads) << 10 | tile for bh, tile in tiles]
        packed[program, : len(words)] = torch.tensor(words, dtype=torch.int32)
    counts = torch.tensor([len(tiles) for tiles in lists], dtype=torch.int32)
    return packed.to(device), counts.to(device)


def _descriptor(x: torch.Tensor, rows: int) -> Any:
    import torch
    from triton.experimental.gluon import language as gl
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    dtype = gl.bfloat16 if x.dtype == torch.bfloat16 else gl.float16
    block = [1, 1, rows, x.shape[3]]
    layout = gl.NVMMASharedLayout.get_default_for(block, dtype)
    strides = [x.shape[3] if n == 1 else s for n, s in zip(x.shape, x.stride(), strict=True)]
    strides[3] = 1
    return TensorDescriptor(x, list(x.shape), strides, block, layout)


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

    from perfkit.attention.hopper_kernel import attention_forward

    batch, heads, q_len, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    dtype = "bf16" if q.dtype == torch.bfloat16 else "fp16"
    problem = Problem(dtype, causal, batch, heads, kv_heads, q_len, kv_len, head_dim)
    chosen = chosen or config(problem)
    out = torch.empty_like(q)
    tiling = Tiling(64 * chosen.groups, chosen.keys, q_len, kv_len, causal)
    group = heads // kv_heads
    head_bytes = 2 * kv_len * head_dim * ELEMENT_BYTES[dtype] // group
    order, counts = _lists(tiling, batch, heads, head_bytes, q.device)
    diagonal = kv_len - q_len
    aligned = diagonal % chosen.keys == 0 and chosen.keys == tiling.rows
    attention_forward[(order.shape[0],)](
        _descriptor(q, 64),
        _descriptor(k, chosen.keys),
        _descriptor(v, chosen.keys),
        _descriptor(out, 64),
        order,
        counts,
        scale * _LOG2E,
        kv_len,
        diagonal,
        group,
        order.shape[1],
        D=head_dim,
        BN=chosen.keys,
        NC=chosen.groups,
        ST=chosen.stages,
        LOG_ST=chosen.stages.bit_length() - 1,
        CAUSAL=causal,
        TAIL=kv_len % chosen.keys != 0,
        MORE=causal and not aligned,
        PING=chosen.turns,
        CONSUMER_REGS=chosen.registers[0],
        PRODUCER_REGS=chosen.registers[1],
        num_warps=4,
    )
    return out


def unavailable(device: torch.device) -> str | None:
    """Say why the kernel cannot run on this device, or None."""
    if device.type != "cuda":
        return f"needs a Hopper GPU (compute capability 9.0), got a {device.type} device"
    if importlib.util.find_spec("triton") is None:
        return "needs triton: pip install triton"
    import torch

    found = torch.cuda.get_device_capability(device)
    if found != _CC:
        return f"needs compute capability 9.0 (Hopper), found {found[0]}.{found[1]}"
    return None


def unsupported(problem: Problem) -> str | None:
    """Say why this problem cannot run, or None."""
    if problem.dtype == "fp32":
        return "computes in bf16 or fp16, got fp32"
    if problem.head_dim not in (64, 128):
        return f"head_dim must be 64 or 128, got {problem.head_dim}"
    tiles = -(-problem.q_len // 128)
    if tiles > _MAX_TILES or problem.heads > _MAX_HEADS or problem.batch > _MAX_BATCH:
        return (
            f"at most {_MAX_TILES * 128} query rows, {_MAX_HEADS} heads and {_MAX_BATCH} sequences,"
            f" got {problem.q_len}, {problem.heads} and {problem.batch}"
        )
    return None


PROVIDERS = (
    Provider(
        name="triton-hopper",
        source="perfkit/attention/hopper_kernel.py (Gluon)",
        layout="any",
        kernels=r"attention_forward",
        unavailable=unavailable,
        unsupported=unsupported,
        run=attention,
    ),
)
