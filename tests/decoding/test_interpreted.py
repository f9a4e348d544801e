"""What the kernels of a decode step compute, on the CPU by Triton's interpreter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decoding.interpreter import interpreted

# Lengths and batches that are multiples of nothing; 17 rows make the kernels' 32.
QUICK = [
    "torch-triton/llama3-8b/fp32/fmha/b1/p5/n2/tp1",
    "torch-triton/llama2-13b/fp32/fmha/b3/p2/n2/tp1",
]
SLOW = [
    "torch-triton/tinyllama-1.1b/bf16/fmha/b3/p7/n3/tp1",
    "torch-triton/llama-tiny/fp32/fmha/b17/p3/n3/tp1",
    "torch-triton/llama3-8b/fp32-fp8/fmha/b1/p2/n2/tp1",
    "torch-triton/llama2-7b/fp32-fp8/fmha/b2/p2/n2/tp1",
    "torch-triton/llama2-7b/fp32-int8/fmha/b1/p2/n2/tp1",
    "torch-triton/llama2-7b/bf16-int8/fmha/b2/p2/n2/tp1",
]
THOROUGH = [
    "torch-triton/tinyllama-1.1b/fp32/fmha/b1/p101/n4/tp1",
    "torch-triton/llama2-7b/fp32/fmha/b1/p1/n5/tp1",
    "torch-triton/llama-mini/bf16/fmha/b1/p70/n3/tp1",
    "torch-triton/llama3-8b/fp32/fmha/b32/p2/n2/tp1",
    "torch-triton/llama3-8b/bf16/fmha/b5/p40/n1/tp1",
    "torch-triton/tinyllama-1.1b/bf16-int8/fmha/b1/p7/n3/tp1",
    "torch-triton/tinyllama-1.1b/bf16-fp8/fmha/b3/p7/n2/tp1",
]


def check(found: dict[str, Any], text: str) -> None:
    # The interpreter cuts off what does not fit bf16 instead of rounding it: twice the error.
    limit = 2e-6 if "/fp32" in text else 3 * found["eager"]
    assert found["error"] < limit
    assert "interpreter" in found["notes"]["fallback"]
    if "/fp32" in text:
        assert found["same tokens"]


@pytest.fixture(scope="module")
def quick() -> dict[str, dict[str, Any]]:
    return dict(zip(QUICK, interpreted(QUICK), strict=True))


@pytest.mark.parametrize("text", QUICK)
def test_the_kernels_give_eagers_logits(text: str, quick: dict[str, dict[str, Any]]) -> None:
    check(quick[text], text)


@pytest.fixture(scope="module")
def slow() -> dict[str, dict[str, Any]]:
    return dict(zip(SLOW, interpreted(SLOW), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("text", SLOW)
def test_the_kernels_give_eagers_logits_for_every_model(
    text: str, slow: dict[str, dict[str, Any]]
) -> None:
    check(slow[text], text)


@pytest.fixture(scope="module")
def thorough() -> dict[str, dict[str, Any]]:
    return dict(zip(THOROUGH, interpreted(THOROUGH), strict=True))


@pytest.mark.thorough
@pytest.mark.parametrize("text", THOROUGH)
def test_the_kernels_give_eagers_logits_at_other_sizes(
    text: str, thorough: dict[str, dict[str, Any]]
) -> None:
    check(thorough[text], text)
