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
_REGISTERS = {2: (240, 24), 3: (160, 32)}  # of a consumer's and the producer's threads
_TILE_BITS, _HEAD_BITS, _BATCH_BITS = 10, 8, 13  # of one int32: see hopper_kernel


@dataclass(frozen=True)
class Config:
    """How a problem is cut.

    ``keys`` of a block, warpgroups (``groups``) of 64 query rows, ``stages`` of K and V in shared
    memory, whether the warpgroups take ``turns`` on the tensor cores, how many ``waves`` of tiles
    the heads at work make up, whether a ``single`` tile a program makes lists superfluous, and
    whether the rescale of the accumulators is ``lazy``.
    """

    keys: int
    groups: int
    stages: int
    turns: bool = False
    waves: float = 1.0
    single: bool = False
    lazy: bool = False


def config(problem: Problem, multiprocessors: int) -> Config:
    """Return the configuration measured best for this kind of problem; see docs/attention.md."""
    tiles = problem.batch * problem.heads * -(-problem.q_len // 128)
    aligned = not problem.causal or (problem.kv_len - problem.q_len) % 64 == 0
    stages = 2 if problem.head_dim == 128 else 4
    if tiles <= multiprocessors and aligned:
        return Config(128, 2, stages, single=True)
    if not aligned:
        return Config(128, 2, stages, lazy=problem.head_dim == 128)
    if problem.head_dim == 128:
        return _wide(problem, tiles / multiprocessors)
    return _narrow(problem)


def _wide(problem: Problem, waves: float) -> Config:
    """head_dim 128: shared memory holds two stages of 128 keys."""
    if not problem.causal:
        waves = 0.5 if problem.q_len <= 4096 else 1.0
        return Config(128, 2, 2, turns=True, waves=waves, lazy=True)
    grouped = problem.heads > problem.kv_heads
    if problem.q_len <= 512:
        return Config(64, 2, 4, waves=2.0, lazy=grouped)
    if problem.q_len <= 1024:
        return Config(128, 2, 2, waves=2.0, lazy=True)
    if problem.q_len <= 2048:
        return Config(128, 2, 2, waves=4.0 if grouped or waves >= 8 else 2.0, lazy=True)
    return Config(128, 2, 2, waves=1.0, lazy=True)


def _narrow(problem: Problem) -> Config:
    """head_dim 64: the softmax weighs more, and a third warpgroup hides it on longer rows."""
    if not problem.causal:
        if problem.q_len <= 512:
            return Config(128, 2, 4, turns=True)
        return Config(128, 3, 4, turns=problem.q_len <= 4096, lazy=True)
    for q_len, waves in ((512, 1.0), (1024, 0.5), (2048, 4.0)):
        if problem.q_len <= q_len:
            return Config(128, 2, 4, waves=waves)
    return Config(128, 3, 4, waves=0.5 if problem.q_len <= 4096 else 4.0, lazy=True)


@functools.lru_cache(maxsize=64)
def _lists(
    tiling: Tiling, batch: int, heads: int, waves: float, head_bytes: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the tiles of each program (programs, longest + 2) and how many there are."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    programs = min(properties.multi_processor_count, batch * heads * tiling.tiles)
    together = min(
        round(waves * properties.multi_processor_count / tiling.tiles) + 1,
        properties.L2_cache_size // (2 * head_bytes),
    )
    lists = assign(tiling, batch * heads, programs, max(1, together))
    width = max(map(len, lists)) + 2
    packed = torch.zeros(programs, width, dtype=torch.int32)
    for program, tiles in enumerate(lists):
        words = [
            (bh // heads) << (_HEAD_BITS + _TILE_BITS) | (bh % heads) << _TILE_BITS | tile
            for bh, tile in tiles
        ]
        packed[program, : len(words)] = torch.tensor(words, dtype=torch.int32)
    counts = torch.tensor([len(tiles) for tiles in lists], dtype=torch.int32)
    return packed.to(device), counts.to(device)


@functools.lru_cache(maxsize=32)
def _layout(rows: int, head_dim: int, dtype: torch.dtype) -> Any:
    import torch
    from triton.experimental.gluon import language as gl

    element = gl.bfloat16 if dtype == torch.bfloat16 else gl.float16
    return gl.NVMMASharedLayout.get_default_for([1, 1, rows, head_dim], element)


def _descriptor(x: torch.Tensor, rows: int) -> Any:
    """Describe (B, H, S, D) memory to TMA, in blocks of ``rows``; what lies outside reads as 0."""
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    strides = [x.shape[3] if n == 1 else s for n, s in zip(x.shape, x.stride(), strict=True)]
    strides[3] = 1
    layout = _layout(rows, x.shape[3], x.dtype)
    return TensorDescriptor(x, list(x.shape), strides, [1, 1, rows, x.shape[3]], layout)


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

    batch, heads, q_len, head_dim = q.shape
    kv_heads, kv_len = k.shape[1:3]
    dtype = "bf16" if q.dtype == torch.bfloat16 else "fp16"
    problem = Problem(dtype, causal, batch, heads, kv_heads, q_len, kv_len, head_dim)
    if chosen is None:
        sms = torch.cuda.get_device_properties(q.device).multi_processor_count
        chosen = config(problem, sms)
    out = torch.empty_like(q)
    descriptors = [
        _descriptor(x, rows) for x, rows in ((q, 64), (k, chosen.keys), (v, chosen.keys), (out, 64))
    ]
    launch = _launch_single if chosen.single else _launch_persistent
    launch(descriptors, problem, scale * _LOG2E, chosen, q.device)
    return out


def _launch_single(
    descriptors: list[Any], problem: Problem, scale: float, chosen: Config, device: torch.device
) -> None:
    from perfkit.attention.hopper_single_kernel import attention_forward_single

    del device
    attention_forward_single[(problem.batch * problem.heads * -(-problem.q_len // 128),)](
        *descriptors,
        scale,
        problem.heads,
        problem.q_len,
        problem.kv_len,
        problem.kv_len - problem.q_len,
        problem.heads // problem.kv_heads,
        D=problem.head_dim,
        BN=chosen.keys,
        ST=chosen.stages,
        LOG_ST=chosen.stages.bit_length() - 1,
        PAIR=problem.causal,
        TAIL=not problem.causal and problem.kv_len % chosen.keys != 0,
        num_warps=4,
    )


def _launch_persistent(
    descriptors: list[Any], problem: Problem, scale: float, chosen: Config, device: torch.device
) -> None:
    from perfkit.attention.hopper_kernel import attention_forward

    group = problem.heads // problem.kv_heads
    tiling = Tiling(64 * chosen.groups, chosen.keys, problem.q_len, problem.kv_len, problem.causal)
    head_bytes = 2 * problem.kv_len * problem.head_dim * ELEMENT_BYTES[problem.dtype] // group
    order, counts = _lists(tiling, problem.batch, problem.heads, chosen.waves, head_bytes, device)
    diagonal = problem.kv_len - problem.q_len
    # On a diagonal that falls between stretches of 64 rows, a stretch has one block to mask.
    aligned = diagonal % 64 == 0
    consumer, producer = _REGISTERS[chosen.groups]
    attention_forward[(order.shape[0],)](
        *descriptors,
        order,
        counts,
        scale,
        problem.kv_len,
        diagonal,
        group,
        order.shape[1],
        D=problem.head_dim,
        BN=chosen.keys,
        NC=chosen.groups,
        ST=chosen.stages,
        LOG_ST=chosen.stages.bit_length() - 1,
        CAUSAL=problem.causal,
        TAIL=problem.kv_len % chosen.keys != 0 and not (problem.causal and aligned),
        MORE=problem.causal and not aligned,
        SKIP=problem.causal and aligned and tiling.rows != chosen.keys,
        PING=chosen.turns and not problem.causal,
        LAZY=chosen.lazy,
        CONSUMER_REGS=consumer,
        PRODUCER_REGS=producer,
        num_warps=4,
    )


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
    most = (128 << _TILE_BITS, 1 << _HEAD_BITS, 1 << _BATCH_BITS)
    if problem.q_len > most[0] or problem.heads > most[1] or problem.batch > most[2]:
        return (
            f"at most {most[0]} query rows, {most[1]} heads and {most[2]} sequences,"
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
