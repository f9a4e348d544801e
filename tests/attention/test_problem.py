from __future__ import annotations

import pytest

from perfkit.attention.problem import Problem
from perfkit.errors import UsageError

EXAMPLE = "bf16/causal/b8/h32/kv8/q2048/k2048/d128"


def test_an_id_reads_back() -> None:
    problem = Problem.parse(EXAMPLE)
    assert problem == Problem("bf16", True, 8, 32, 8, 2048, 2048, 128)
    assert problem.id == EXAMPLE


def test_flops_count_two_products_and_half_of_them_under_a_causal_mask() -> None:
    full = Problem.parse("bf16/full/b2/h3/kv3/q8/k8/d16")
    assert full.flops == 4 * 2 * 3 * 8 * 8 * 16
    assert Problem.parse("bf16/causal/b2/h3/kv3/q8/k8/d16").flops == full.flops / 2


@pytest.mark.parametrize(
    ("sizes", "pairs"),
    [
        ("q2/k5", 4 + 5),  # rows see 4 and 5 keys
        ("q5/k2", 1 + 2),  # three rows see none, the last two 1 and 2
        ("q1/k7", 7),
    ],
)
def test_unequal_lengths_count_the_pairs_that_a_bottom_right_mask_leaves(
    sizes: str, pairs: int
) -> None:
    assert Problem.parse(f"fp32/causal/b1/h1/kv1/{sizes}/d16").flops == 4 * 16 * pairs


def test_decode_is_one_row_and_reads_keys_and_values_once() -> None:
    problem = Problem.parse("bf16/full/b16/h32/kv8/q1/k8192/d128")
    assert problem.is_decode
    assert problem.kv_bytes == 2 * 16 * 8 * 8192 * 128 * 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bf16/causal/b8", "not an attention problem"),
        ("int8/full/b1/h1/kv1/q1/k1/d1", "not an attention problem"),
        ("bf16/full/b1/h6/kv4/q1/k1/d16", "heads 6 is no multiple of kv_heads 4"),
        ("bf16/full/b0/h1/kv1/q1/k1/d16", "batch 0"),
    ],
)
def test_what_is_no_problem_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Problem.parse(text)
