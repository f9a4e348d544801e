"""The Triton kernels' numbers, computed on the CPU by Triton's interpreter."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attention.interpreter import interpreted

PREFILL = [
    f"{dtype}/{mask}/{sizes}"
    for dtype in ("fp32", "bf16", "fp16")
    for mask in ("full", "causal")
    for sizes in (
        "b1/h2/kv2/q64/k64/d32",  # whole blocks
        "b2/h4/kv2/q33/k97/d16",  # odd lengths, grouped heads, more keys than rows
        "b1/h4/kv1/q50/k20/d64",  # more rows than keys: under a causal mask some see none
        "b1/h2/kv2/q1/k33/d32",  # one row
    )
]
DECODE = [
    f"{dtype}/full/{sizes}"
    for dtype in ("fp32", "bf16")
    for sizes in (
        "b1/h4/kv4/q1/k64/d32",
        "b2/h4/kv2/q1/k97/d16",
        "b1/h8/kv1/q1/k200/d64",
        "b3/h6/kv2/q1/k33/d32",
        "b2/h2/kv2/q1/k1/d16",
    )
]
CASES: dict[str, dict[str, Any]] = {
    **{f"triton {problem}": {"provider": "triton", "problem": problem} for problem in PREFILL},
    **{f"decode {p}": {"provider": "triton-decode", "problem": p} for p in DECODE},
    "descriptors": {
        "provider": "triton",
        "problem": "fp32/causal/b2/h4/kv2/q33/k97/d16",
        "config": {"rows": 32, "keys": 16, "warps": 4, "stages": 1, "descriptors": True},
    },
    "token-major memory": {
        "provider": "triton",
        "problem": "fp32/causal/b2/h4/kv2/q33/k97/d16",
        "layout": "bshd",
    },
    "token-major decode": {
        "provider": "triton-decode",
        "problem": "fp32/full/b2/h4/kv2/q1/k97/d16",
        "layout": "bshd",
    },
    "large scores": {
        "provider": "triton",
        "problem": "fp32/causal/b1/h2/kv2/q40/k40/d32",
        "times": 200.0,
    },
    "large scores in decode": {
        "provider": "triton-decode",
        "problem": "fp32/full/b1/h2/kv2/q1/k90/d32",
        "times": 200.0,
    },
    "a row that sees no key": {
        "provider": "triton",
        "problem": "fp32/causal/b1/h1/kv1/q40/k8/d16",
    },
    "a head of several groups of parts": {
        "provider": "triton-decode",
        "problem": "fp32/full/b1/h8/kv1/q1/k390/d16",
        "config": {"keys": 16, "warps": 1, "stages": 1, "per_sm": 7},
    },
    "several warps": {
        "provider": "triton-decode",
        "problem": "fp32/full/b1/h2/kv2/q1/k170/d16",
        "config": {"keys": 16, "warps": 2, "stages": 1, "per_sm": 7},
    },
}


@pytest.fixture(scope="module")
def results() -> dict[str, dict[str, Any]]:
    return dict(zip(CASES, interpreted(list(CASES.values())), strict=True))


LARGE = [name for name in CASES if name.startswith("large")]


@pytest.mark.parametrize("name", LARGE)
def test_large_scores_neither_overflow_nor_vanish(
    name: str, results: dict[str, dict[str, Any]]
) -> None:
    # Scores in the hundreds carry their own rounding of 1e-5 into the exponential.
    assert not results[name]["nan"]
    assert results[name]["rel_l2"] < 1e-4


@pytest.mark.parametrize("name", [name for name in CASES if name not in LARGE])
def test_the_kernel_agrees_with_fp32(name: str, results: dict[str, dict[str, Any]]) -> None:
    assert results[name]["ok"], results[name]


def test_a_row_that_sees_no_key_gives_zeros(results: dict[str, dict[str, Any]]) -> None:
    assert results["a row that sees no key"]["first_row"] == [0.0] * 16


@pytest.mark.parametrize("name", ["token-major memory", "token-major decode"])
def test_the_output_lies_in_memory_as_q_does(name: str, results: dict[str, dict[str, Any]]) -> None:
    assert results[name]["same_strides"]
