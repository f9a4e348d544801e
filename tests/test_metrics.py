from __future__ import annotations

import pytest

from perfkit import metrics
from perfkit.metrics import Trace

# Submitted at 0; tokens at 0.5 s, then 0.1 s, 0.1 s and 0.2 s later.
TRACE = Trace((0.5, 0.6, 0.7, 0.9))


def test_a_trace_by_hand() -> None:
    assert TRACE.ttft_s == 0.5
    assert TRACE.e2e_s == 0.9
    assert TRACE.itl_s == pytest.approx((0.1, 0.1, 0.2))
    assert TRACE.tpot_s == pytest.approx(0.4 / 3)


def test_throughput_by_hand() -> None:
    rates = metrics.throughput(TRACE, batch=8, prompt_len=100)
    assert rates["prefill_tokens_per_s"] == pytest.approx(8 * 100 / 0.5)
    assert rates["decode_tokens_per_s"] == pytest.approx(8 * 3 / 0.4)
    assert rates["output_tokens_per_s"] == pytest.approx(8 * 4 / 0.9)


def test_one_token_has_no_tpot_not_a_zero() -> None:
    single = Trace((0.5,))
    assert single.tpot_s is None
    assert single.itl_s == ()
    assert metrics.summarise([single], 1, 10)["decode_tokens_per_s"] is None


@pytest.mark.parametrize("times", [(), (0.5, 0.4), (-0.1,)])
def test_impossible_traces_are_refused(times: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="token"):
        Trace(times)


def test_quantiles_interpolate_linearly_and_need_samples() -> None:
    ten = [float(k) for k in range(1, 11)]
    assert metrics.quantile(ten, 0.5) == 5.5
    assert metrics.quantile(ten, 0.9) == pytest.approx(9.1)
    assert metrics.quantile(ten, 0.99) is None
    assert metrics.quantile(ten[:9], 0.9) is None
    hundred = [float(k) for k in range(100)]
    assert metrics.quantile(hundred, 0.99) == pytest.approx(98.01)


def test_spread_has_ddof_one() -> None:
    assert metrics.spread([1.0, 3.0]) == pytest.approx(2**0.5 / 2)
    assert metrics.spread([1.0]) is None


def test_figures_are_medians_over_rounds() -> None:
    rounds = [Trace((0.1, 0.2)), Trace((0.3, 0.5)), Trace((0.2, 0.9))]
    figures = metrics.summarise(rounds, 1, 10)
    assert figures["ttft_s"] == 0.2
    assert figures["e2e_s"] == 0.5
    assert figures["output_tokens_per_s"] == pytest.approx(2 / 0.5)


def test_quantiles_of_a_run_are_over_all_its_samples() -> None:
    found = metrics.latency_quantiles([Trace((1.0, 1.5, 2.5)), Trace((3.0, 3.5, 5.5))])
    assert found == {
        "method": "linear",
        "ttft_s": {"p50": 2.0, "p90": None, "p99": None},
        "e2e_s": {"p50": 4.0, "p90": None, "p99": None},
        "itl_s": {"p50": 0.75, "p90": None, "p99": None},
    }
    alone = metrics.latency_quantiles([Trace((1.0,))])
    assert alone["itl_s"] == {"p50": None, "p90": None, "p99": None}
