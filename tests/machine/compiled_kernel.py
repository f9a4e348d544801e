"""Compiles a kernel for a GPU that need not be there, with the cache that perfkit chooses."""

from __future__ import annotations

import json
import sys

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from perfkit.machine import compiled_cache
from perfkit.starting.generation import triton_compilations


@triton.jit  # type: ignore[untyped-decorator]
def doubled(x, y, B: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, N803
    i = tl.arange(0, B)
    tl.store(y + i, tl.load(x + i) * 2)


if __name__ == "__main__":
    block = json.load(sys.stdin)
    compiled_cache.use("cpu")
    counted = triton_compilations()
    signature = {"x": "*fp32", "y": "*fp32", "B": "constexpr"}
    source = ASTSource(doubled, signature, {(2,): block})
    triton.compile(source, target=GPUTarget("cuda", 90, 32))
    json.dump(counted, sys.stdout)
