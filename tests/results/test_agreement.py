from __future__ import annotations

import math

import pytest

from perfkit.results import agreement


def test_twice_the_eager_arms_error_is_the_limit() -> None:
    assert agreement.judge(0.019, 0.01, steps=4, rows=2, first_divergence=None).status == "agrees"
    far = agreement.judge(0.021, 0.01, steps=4, rows=2, first_divergence=3)
    assert far.status == "diverged"
    assert far.reason is not None
    assert "0.021 is over 0.02" in far.reason
    assert "token: 3" in far.reason


def test_fp32_has_a_floor_since_the_reference_has_no_error() -> None:
    assert agreement.limit_for(0.0) == 1e-4


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_never_agrees(bad: float) -> None:
    judged = agreement.judge(bad, 0.01, steps=1, rows=1, first_divergence=0)
    assert judged.status == "diverged"


def test_the_first_difference_over_all_rows() -> None:
    assert agreement.first_difference([[1, 2, 3], [1, 9, 3]], [[1, 2, 3], [1, 2, 3]]) == 1
    assert agreement.first_difference([[1, 2]], [[1, 2]]) is None


def test_a_free_run_may_differ_where_tokens_are_nearly_alike_and_nowhere_else() -> None:
    near = agreement.judge(0.019, 0.01, steps=4, rows=2, first_divergence=3, divergence_gap=0.15)
    assert near.status == "agrees"
    far = agreement.judge(0.019, 0.01, steps=4, rows=2, first_divergence=3, divergence_gap=0.17)
    assert far.status == "diverged"
    # Eight times the limit of 0.02 is 0.16.
    assert "at token 3 or later for one 0.17 rms of the logits below, over 0.16" in str(far.reason)
    nan = agreement.judge(0.01, 0.01, steps=4, rows=2, first_divergence=0, divergence_gap=math.nan)
    assert nan.status == "diverged"
