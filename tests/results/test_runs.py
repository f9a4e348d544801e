from __future__ import annotations

import statistics

import pytest

from perfkit.results import gate, runs
from perfkit.results.gate import Rule
from perfkit.results.runs import RunSet, compare, compare_pairs, rounds_of, steadiest
from tests.results.runs_made import CELL, run, stored

RULE = Rule()
BASE = RunSet(tuple(stored(5)), tuple(stored(10)))
TIMES = ("ttft_s", "tpot_s", "output_tokens_per_s")


def test_figures_of_rounds_follow_their_definitions() -> None:
    cell = run(e2e_s=(0.3, 0.5), ttft_s=0.1, peak=7)["perfkit"]["cells"][CELL]
    assert rounds_of(cell, "ttft_s") == [0.1, 0.1]
    assert rounds_of(cell, "tpot_s") == pytest.approx([0.1, 0.2])
    assert rounds_of(cell, "e2e_s") == pytest.approx([0.3, 0.5])
    # Two rows of three tokens.
    assert rounds_of(cell, "output_tokens_per_s") == pytest.approx([20, 12])
    assert rounds_of(cell, "peak_allocated_bytes") == [7]
    assert rounds_of(cell, "energy_j_per_token") == []


def test_the_statistic_is_the_one_that_varies_less_from_run_to_run() -> None:
    bursts = [[1.0, 1.0 + k, 2.0 + k] for k in range(4)]
    assert steadiest(bursts, min) is min
    lucky = [[1.0 - k / 10, 2.0, 2.0] for k in range(4)]
    assert steadiest(lucky, min) is statistics.median


def test_each_figure_that_there_is_becomes_a_series() -> None:
    found = compare(BASE, run(), (), runs.METRICS, RULE)
    assert [one.metric for one in found.figures] == list(TIMES)
    assert found.others == ()
    first = found.figures[0]
    assert (len(first.screening), len(first.confirming), first.fresh) == (5, 10, ())
    assert first.new == pytest.approx(0.1)


def test_fresh_runs_go_to_suspects_alone() -> None:
    slow = run(e2e_s=(0.4, 0.41))
    found = compare(BASE, slow, [slow] * 5, runs.METRICS, RULE)
    assert {one.metric: len(one.fresh) for one in found.figures} == {
        "ttft_s": 0, "tpot_s": 5, "output_tokens_per_s": 5,
    }  # fmt: skip


def test_missing_new_and_unusable_cells_have_their_verdicts() -> None:
    base = RunSet(tuple(stored(5, cells=("a", "b"))), tuple(stored(10, cells=("a", "b"))))
    found = compare(base, run(cells=("b", "c"), verdict="throttled"), (), TIMES, RULE)
    assert found.figures == ()
    assert [(one.cell, one.verdict) for one in found.others] == [
        ("a", gate.MISSING), ("b", gate.INVALID), ("c", gate.NEW),
    ]  # fmt: skip
    assert found.others[1].reason == "throttled: for a test"


def test_what_neither_side_could_measure_is_the_same() -> None:
    base = RunSet(tuple(stored(5, verdict="unsupported")), tuple(stored(10, verdict="unsupported")))
    (found,) = compare(base, run(verdict="unsupported"), (), TIMES, RULE).others
    assert (found.verdict, found.reason) == (
        gate.SAME, "not measured, as in the baseline: unsupported: for a test"
    )  # fmt: skip
    assert compare(base, run(), (), TIMES, RULE).others[0].verdict == gate.NEW
    assert compare(base, run(verdict="crash"), (), TIMES, RULE).others[0].verdict == gate.INVALID


@pytest.mark.parametrize("verdict", ["throttled", "diverged", "crash", "clock_mismatch"])
def test_what_is_wrong_on_both_sides_is_invalid_not_the_same(verdict: str) -> None:
    base = RunSet(tuple(stored(5, verdict=verdict)), tuple(stored(10, verdict=verdict)))
    (found,) = compare(base, run(verdict=verdict), (), TIMES, RULE).others
    assert found.verdict == gate.INVALID


def test_a_confirming_run_that_went_wrong_makes_its_cell_invalid() -> None:
    slow, wrong = run(e2e_s=(0.4, 0.41)), run(verdict="diverged")
    found = compare(BASE, slow, [slow, wrong], TIMES, RULE)
    assert [one.verdict for one in found.others] == [gate.INVALID]


def test_baseline_runs_that_went_wrong_are_left_out() -> None:
    broken = RunSet((*stored(2), run(verdict="throttled")), tuple(stored(10)))
    found = compare(broken, run(), (), TIMES, RULE)
    assert gate.judge(found.figures, RULE)[0].reason == (
        "2 screening runs in the baseline, expected 3 at least"
    )


def test_a_figure_that_is_gone_is_invalid() -> None:
    base = RunSet(tuple(stored(5, peak=100)), tuple(stored(10, peak=100)))
    found = compare(base, run(peak=None), (), ("peak_allocated_bytes",), RULE)
    (judged,) = gate.judge(found.figures, RULE)
    assert (judged.verdict, judged.reason) == (gate.INVALID, "the new run has no value of it")


def test_a_figure_that_only_the_new_run_has_is_left_out() -> None:
    found = compare(BASE, run(peak=100), (), runs.METRICS, RULE)
    assert [one.metric for one in found.figures] == list(TIMES)


def test_nan_in_the_baseline_is_invalid_in_words() -> None:
    torn = RunSet((*stored(4), run(ttft_s=float("nan"))), tuple(stored(10)))
    found = gate.judge(compare(torn, run(), (), ("ttft_s",), RULE).figures, RULE)
    assert (found[0].verdict, found[0].reason) == (
        gate.INVALID, "holds nan, expected positive numbers"
    )  # fmt: skip


def test_memory_that_grew_is_a_regression_without_any_noise() -> None:
    base = RunSet(tuple(stored(5, peak=100)), tuple(stored(10, peak=100)))
    more = run(peak=110)
    found = compare(base, more, [more] * 5, ("peak_allocated_bytes",), RULE)
    assert gate.judge(found.figures, RULE)[0].verdict == gate.REGRESSED


def test_a_cell_without_any_figure_is_invalid() -> None:
    found = compare(BASE, run(), (), ("energy_j_per_token",), RULE)
    assert [(one.verdict, one.reason) for one in found.others] == [
        (gate.INVALID, "holds none of energy_j_per_token")
    ]


def test_damaged_samples_are_invalid_not_a_crash() -> None:
    torn = run()
    torn["perfkit"]["cells"][CELL]["samples"] = {"ttft_s": [0.1]}
    found = compare(BASE, torn, (), TIMES, RULE)
    assert found.others[0].verdict == gate.INVALID
    assert "samples cannot be read" in str(found.others[0].reason)


def test_confirming_pairs_do_not_change_what_is_compared() -> None:
    # The screening's best rounds vary least; bursts in the confirming pairs would favour medians.
    screening = [
        (run(e2e_s=(0.3, 0.3 + k, 0.4 + k)), run(e2e_s=(0.36, 0.9, 0.9))) for k in range(3)
    ]
    fresh = [(run(e2e_s=(0.2 + k / 10, 2.0, 2.0)), run(e2e_s=(0.36, 2.0, 2.0))) for k in range(8)]
    (found,) = compare_pairs(screening, fresh, ("e2e_s",), RULE).figures
    assert found.statistic == "best"
    assert len(found.fresh) == 8


def test_a_pair_without_figures_is_left_out_of_its_part() -> None:
    slow, bare = (run(), run(e2e_s=(0.36, 0.36))), (run(), run(e2e_s=()))
    (found,) = compare_pairs([slow, bare, slow, slow], [slow] * 8, ("e2e_s",), RULE).figures
    assert (len(found.screening), len(found.fresh)) == (3, 8)


def test_pairs_are_ratios_of_cost() -> None:
    pair = (run(e2e_s=(0.3, 0.3)), run(e2e_s=(0.36, 0.36)))
    found = compare_pairs([pair] * 3, [pair] * 8, ("e2e_s", "output_tokens_per_s"), RULE)
    for one in found.figures:
        assert one.screening == pytest.approx((1.2,) * 3)
        assert len(one.fresh) == 8
    same = compare_pairs([(run(), run())] * 3, [pair] * 8, ("e2e_s",), RULE)
    assert same.figures[0].fresh == ()
