"""What the kernels of a decode step compute, on the CPU by Triton's interpreter."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.decoding.interpreter import interpreted

# Lengths and batches that are multiples of nothing; 17 rows make the kernels' 32.
QUICK = (
    "torch-triton/llama3-8b/fp32/fmha/b1/p5/n2/tp1",
    "torch-triton/llama2-13b/fp32/fmha/b3/p2/n2/tp1",
)
SLOW = (
    "torch-triton/tinyllama-1.1b/bf16/fmha/b3/p7/n3/tp1",
    "torch-triton/llama-tiny/fp32/fmha/b17/p3/n3/tp1",
    "torch-triton/llama3-8b/fp32-fp8/fmha/b1/p2/n2/tp1",
    "torch-triton/llama2-7b/fp32-fp8/fmha/b2/p2/n2/tp1",
    "torch-triton/llama2-7b/fp32-int8/fmha/b1/p2/n2/tp1",
    "torch-triton/llama2-7b/bf16-int8/fmha/b2/p2/n2/tp1",
)
THOROUGH = (
    "torch-triton/tinyllama-1.1b/fp32/fmha/b1/p101/n4/tp1",
    "torch-triton/llama2-7b/fp32/fmha/b1/p1/n5/tp1",
    "torch-triton/llama-mini/bf16/fmha/b1/p70/n3/tp1",
    "torch-triton/llama3-8b/fp32/fmha/b32/p2/n2/tp1",
    "torch-triton/llama3-8b/bf16/fmha/b5/p40/n1/tp1",
    "torch-triton/tinyllama-1.1b/bf16-int8/fmha/b1/p7/n3/tp1",
    "torch-triton/tinyllama-1.1b/bf16-fp8/fmha/b3/p7/n2/tp1",
)


def check(found: dict[str, Any], text: str) -> None:
    # The interpreter cuts off what does not fit bf16 instead of rounding it: twice the error.
    limit = 2e-6 if "/fp32" in text else 3 * found["eager"]
    assert found["error"] < limit
    assert "interpreter" in found["notes"]["fallback"]
    if "/fp32" in text:
        assert found["same tokens"]


@functools.cache
def results(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Run cases in one process, once for all tests that look at them."""
    return dict(zip(texts, interpreted(list(texts)), strict=True))


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        *(pytest.param(QUICK, text, id=text) for text in QUICK),
        *(pytest.param(SLOW, text, id=text, marks=pytest.mark.slow) for text in SLOW),
        *(pytest.param(THOROUGH, text, id=text, marks=pytest.mark.thorough) for text in THOROUGH),
    ],
)
def test_the_kernels_give_eagers_logits(texts: tuple[str, ...], text: str) -> None:
    check(results(texts)[text], text)
