"""A Triton kernel that only reads: sums int32 words, one value a program; import it lazily.

This is the one file of the room that imports triton at its top: a kernel's names are globals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import triton
import triton.language as tl


@dataclass(frozen=True)
class ReadConfig:
    """One way to read: words a step, warps a program, programs, and how they share the words.

    `contiguous` gives each program one run of words; otherwise all programs stride together.
    """

    block: int
    warps: int
    programs: int
    contiguous: bool

    def __str__(self) -> str:
        """Return a short name such as `block8192_warps8_programs528_strided`."""
        order = "contiguous" if self.contiguous else "strided"
        return f"block{self.block}_warps{self.warps}_programs{self.programs}_{order}"


def _sum_words(  # a kernel takes all it needs as arguments
    words: tl.tensor,
    partial: tl.tensor,
    blocks: tl.tensor,
    blocks_per_program: tl.tensor,
    BLOCK: tl.constexpr,  # noqa: N803
    CONTIGUOUS: tl.constexpr,  # noqa: N803
) -> None:
    program = tl.program_id(0)
    if CONTIGUOUS:
        first = program * blocks_per_program
        last = tl.minimum(first + blocks_per_program, blocks)
        step = 1
    else:
        first = program
        last = blocks
        step = tl.num_programs(0)
    lanes = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.int32)
    for block in range(first, last, step):
        start = tl.cast(block, tl.int64) * BLOCK
        # Read once: keeping the words in the cache would only push others out.
        total += tl.load(words + start + lanes, eviction_policy="evict_first")
    tl.store(partial + program, tl.sum(total, axis=0))


# Called rather than used as a decorator, so that the types check where triton is absent.
sum_words: Any = triton.jit(_sum_words)


def configs(multiprocessors: int, words: int) -> tuple[ReadConfig, ...]:
    """Return the configurations worth trying for `words` int32 words on this many SMs."""
    shapes = ((4096, 4), (4096, 8), (8192, 4), (8192, 8), (16384, 8), (16384, 16))
    strided = [
        ReadConfig(block, warps, multiprocessors * per_sm, contiguous=False)
        for block, warps in shapes
        for per_sm in (2, 4, 8)
    ]
    contiguous = [
        ReadConfig(block, warps, max(1, words // (block * blocks_each)), contiguous=True)
        for block, warps in shapes
        for blocks_each in (4, 16)
    ]
    return tuple(c for c in (*strided, *contiguous) if words % c.block == 0)


def read(words: Any, partial: Any, config: ReadConfig) -> None:
    """Read all of the int32 tensor `words`; write one sum a program into the int32 `partial`."""
    blocks = words.numel() // config.block
    sum_words[(config.programs,)](
        words,
        partial,
        blocks,
        -(-blocks // config.programs),
        BLOCK=config.block,
        CONTIGUOUS=config.contiguous,
        num_warps=config.warps,
    )


def verify(words: Any, partial: Any, config: ReadConfig) -> bool:
    """Check the kernel's sums against torch's, modulo 2**32: int32 sums wrap by design."""
    import torch

    partial.fill_(1 << 30)
    read(words, partial, config)
    ours = int(partial[: config.programs].sum(dtype=torch.int64).item())
    theirs = int(words.sum(dtype=torch.int64).item())
    return (ours - theirs) % 2**32 == 0
