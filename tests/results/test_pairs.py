from __future__ import annotations

import math
from dataclasses import replace

import pytest

from perfkit.results import gate, pairs
from perfkit.results.gate import Rule
from perfkit.results.pairs import Pairs, judge

RULE = Rule()
QUIET = Pairs("cell", "ttft_s", (1.001, 0.999, 1.0))
WORSE = (1.05, 1.051, 1.049, 1.052, 1.048, 1.053, 1.047, 1.05)


def test_equal_versions_are_the_same_after_three_pairs() -> None:
    (found,) = judge([QUIET], RULE)
    assert (found.verdict, found.runs, found.p) == (gate.SAME, (3, 3), None)


def test_a_slower_version_is_confirmed_by_eight_pairs() -> None:
    slow = replace(QUIET, screening=(1.04, 1.05, 1.06))
    assert pairs.is_suspect(slow, RULE)
    (found,) = judge([replace(slow, fresh=WORSE)], RULE)
    assert found.verdict == gate.REGRESSED
    # All eight signs alike: one of 2**8 orders.
    assert found.p == pytest.approx(1 / 256)
    assert found.change == pytest.approx(0.05)
    assert found.interval is not None
    assert 0.04 < found.interval[0] <= 0.05 <= found.interval[1] < 0.06


def test_a_falling_rate_has_a_negative_change() -> None:
    cost = replace(QUIET, screening=(1.04, 1.05, 1.06), fresh=WORSE, higher_is_better=True)
    (found,) = judge([cost], RULE)
    assert found.verdict == gate.REGRESSED
    assert found.change == pytest.approx(1 / 1.05 - 1)


def test_a_faster_version_is_improved() -> None:
    fast = replace(QUIET, screening=(0.95,) * 3, fresh=tuple(1 / x for x in WORSE))
    assert judge([fast], RULE)[0].verdict == gate.IMPROVED


def test_a_suspect_without_further_pairs_is_inconclusive() -> None:
    assert judge([replace(QUIET, screening=(1.05,) * 3)], RULE)[0].verdict == gate.INCONCLUSIVE


def test_figures_without_any_noise_are_judged_too() -> None:
    still = replace(QUIET, screening=(1.0,) * 3)
    assert judge([still], RULE)[0].verdict == gate.SAME
    grown = replace(QUIET, screening=(1.1,) * 3, fresh=(1.1,) * 8)
    assert judge([grown], RULE)[0].verdict == gate.REGRESSED
    back = replace(QUIET, screening=(1.1,) * 3, fresh=(1.0,) * 8)
    assert judge([back], RULE)[0].verdict == gate.SAME


def test_enough_pairs_confirm_that_a_lone_change_can_be_found() -> None:
    assert pairs.needed(1, RULE) == 8
    # 2**-8 is 0.05/12.8.
    assert pairs.needed(12, RULE) == 8
    assert pairs.needed(13, RULE) == 9


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (replace(QUIET, screening=(1.0,)), "1 screening pairs, expected 3"),
        (replace(QUIET, fresh=(1.0, math.nan)), "holds the ratio nan"),
    ],
)
def test_what_cannot_be_compared_is_invalid(made: Pairs, words: str) -> None:
    (found,) = judge([made], RULE)
    assert found.verdict == gate.INVALID
    assert words in str(found.reason)
