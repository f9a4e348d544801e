from __future__ import annotations

import pytest
import torch

from perfkit.attention.reference import accuracy, math_same_dtype, reference

SCALE = 0.25


def case(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(3)
    return tuple(torch.randn(1, 1, 40, 16).to(dtype) for _ in range(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_right_answer_rounded_passes_both_rules(dtype: torch.dtype) -> None:
    q, k, v = case(dtype)
    exact = reference(q, k, v, True, SCALE)
    judged = accuracy(exact.to(dtype), exact, math_same_dtype(q, k, v, True, SCALE))
    assert judged.ok
    assert judged.rel_l2 < 3e-3


def test_planted_faults_fail() -> None:
    q, k, v = case(torch.bfloat16)
    exact = reference(q, k, v, True, SCALE)
    rounded = math_same_dtype(q, k, v, True, SCALE)
    scaled = reference(q, k, v, True, SCALE * 1.05)
    shifted = exact.roll(1, dims=2)
    unmasked = reference(q, k, v, False, SCALE)
    unwritten = exact.clone()
    unwritten[0, 0, 7, 3] = float("nan")
    for wrong in (scaled, shifted, unmasked, unwritten):
        assert not accuracy(wrong.bfloat16(), exact, rounded).ok
    assert accuracy(unwritten.bfloat16(), exact, rounded).nan


def test_one_wrong_element_fails_the_rule_of_the_largest_error() -> None:
    q, k, v = case(torch.bfloat16)
    exact = reference(q, k, v, False, SCALE)
    off = exact.clone()
    off[0, 0, 0, 0] += 0.05
    judged = accuracy(off.bfloat16(), exact, math_same_dtype(q, k, v, False, SCALE))
    assert judged.rel_l2 < 1e-2
    assert not judged.ok


def test_grouped_heads_read_their_key_head() -> None:
    torch.manual_seed(5)
    q = torch.randn(1, 4, 3, 8)
    k, v = torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8)
    whole = reference(q, k, v, False, SCALE)
    third = reference(q[:, 2:3], k[:, 1:], v[:, 1:], False, SCALE)
    assert torch.equal(whole[:, 2:3], third)


def test_a_nan_among_the_inputs_is_not_hidden_where_some_rows_see_no_key() -> None:
    torch.manual_seed(7)
    q, k, v = torch.randn(1, 1, 5, 8), torch.randn(1, 1, 2, 8), torch.randn(1, 1, 2, 8)
    q[0, 0, 4, 0] = float("nan")
    out = reference(q, k, v, True, SCALE)
    assert (out[0, 0, :3] == 0).all()
    assert out[0, 0, 3].isfinite().all()
    assert out[0, 0, 4].isnan().all()
