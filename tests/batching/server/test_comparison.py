from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.server.batcher import Answer
from perfkit.batching.server.comparison import (
    Table,
    calibrated,
    compare,
    fitted,
    measured,
    predicted,
)
from perfkit.batching.server.document import SCHEMA, Setup, read, rows
from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.reporting.validation import lines

RECORDED = Path(__file__).resolve().parents[3] / "data/batching/validation-cpu.json"
CASE = Case.parse("torch-eager/llama-tiny/fp32/fmha/b2/p32/n5/tp1")
# A batch of one takes 1 s and of two 1.4 s; the first token comes after 0.2 and 0.4 s.
TABLE = Table(np.array([0.0, 0.2, 0.4]), np.array([0.0, 1.0, 1.4]))


def timed(size: int, first: float, total: float) -> Answer:
    return Answer(10.0, 10.5, 10.5 + first, 10.5 + total, 0, size, "served")


def test_the_calibration_is_the_mean_of_each_batch_size_from_its_dispatch() -> None:
    found = calibrated([timed(1, 0.1, 1.0), timed(2, 0.4, 2.0), timed(1, 0.3, 1.5)], 2)
    np.testing.assert_allclose(found.prefill_s, [0.0, 0.2, 0.4])
    np.testing.assert_allclose(found.total_s, [0.0, 1.25, 2.0])


def test_a_calibration_without_a_batch_size_names_it() -> None:
    with pytest.raises(UsageError, match="no batch of 2: expected one at least of"):
        calibrated([timed(1, 0.1, 1.0), timed(3, 0.4, 2.0)], 3)


def test_a_prediction_by_hand() -> None:
    # The first goes alone at 0, the others together at 1.0, to end at 2.4; 4 steps after the first.
    found = predicted(Dynamic(2), [0.0, 0.5, 0.75], TABLE, 5)
    assert found["wait_s"]["mean"] == pytest.approx((0 + 0.5 + 0.25) / 3)
    assert found["ttft_s"]["mean"] == pytest.approx((0.2 + 0.9 + 0.65) / 3)
    assert found["tpot_s"]["mean"] == pytest.approx((0.2 + 0.25 + 0.25) / 3)
    assert found["e2e_s"] == pytest.approx(
        {"mean": (1.0 + 1.9 + 1.65) / 3, "p50": 1.65, "p90": None, "p99": None}
    )
    assert found["mean_batch"] == 1.5
    assert found["outcomes"] == {"served": 3}


def test_what_was_measured_by_hand_is_of_those_served() -> None:
    refused = Answer(1.0, math.nan, math.nan, 1.0, -1, 0, "queue_full")
    found = measured([Answer(1.0, 1.5, 2.0, 3.0, 0, 1, "served"), refused], 5)
    assert found["wait_s"]["mean"] == 0.5
    assert found["ttft_s"]["mean"] == 1.0
    assert found["tpot_s"]["mean"] == 0.25
    assert found["e2e_s"]["mean"] == 2.0
    assert found["outcomes"] == {"served": 1, "queue_full": 1}


def test_one_new_token_has_no_time_per_token() -> None:
    found = measured([Answer(1.0, 1.5, 2.0, 2.0, 0, 1, "served")], 1)
    assert found["tpot_s"] is None
    assert (
        predicted(OneByOne(), [0.0], Table(TABLE.total_s[:2], TABLE.total_s[:2]), 1)["tpot_s"]
        is None
    )


def test_a_linear_table_is_fitted_exactly_and_few_sizes_are_refused() -> None:
    case = CASE.but(batch=6)
    size = np.arange(7)
    first = np.where(size, 0.01 + 0.02 * size, 0.0)
    exact = Table(first, first + np.where(size, 4 * (0.03 + 0.001 * size), 0.0))
    found = fitted(exact, case)
    np.testing.assert_allclose(found.prefill_s, exact.prefill_s, rtol=1e-6)
    np.testing.assert_allclose(found.total_s, exact.total_s, rtol=1e-6)
    with pytest.raises(UsageError, match="needs over 3 cells"):
        fitted(TABLE, CASE)


def document(policy: Dynamic | Static, answers: list[Answer]) -> tuple[dict[str, object], Setup]:
    setup = Setup(CASE, policy, len(answers), 1, 0, "cpu")
    calibration = [timed(1, 0.2, 1.0), timed(2, 0.4, 1.4)]
    planned = [one.arrival_s - 0.001 for one in answers]
    load = {
        "load": 0.5, "rate_per_s": 1.0, "planned_s": planned, "rows": rows(answers),
        "calibration": rows(calibration),
    }  # fmt: skip
    made: dict[str, object] = {
        "perfkit_batching_validation": SCHEMA,
        "setup": setup.to_json(),
        "loads": [load],
    }
    return made, setup


def test_errors_are_predicted_over_measured_less_one_and_the_table_says_so() -> None:
    # Dispatched when predicted, but each batch took a tenth longer.
    answers = [
        Answer(0.0, 0.0, 0.2, 1.1, 0, 1, "served"),
        Answer(2.0, 2.0, 2.2, 3.1, 1, 1, "served"),
    ]
    (found,) = compare(*document(Dynamic(2), answers))
    assert found["table"]["error"]["e2e_s"]["mean"] == pytest.approx(1.0 / 1.1 - 1)
    assert found["table"]["error"]["ttft_s"]["mean"] == pytest.approx(0.0)
    assert found["table"]["error"]["wait_s"]["mean"] is None  # nobody waited: nothing to divide by
    assert found["service"] == pytest.approx(
        {"batches": 2, "measured_s": 1.1, "table_s": 1.0, "error": 1.0 / 1.1 - 1}
    )
    assert found["first"] == found["table"]
    assert found["own"]["error"]["e2e_s"]["mean"] == pytest.approx(0.0)
    assert found["sent_late_s"] == pytest.approx(0.001)
    assert "needs over 3 cells" in found["fit"]["absent"]
    text = "\n".join(lines([found]))
    assert "0.5 e2e          1100 ms    1000 ms   -9.09%" in text
    assert "0.5 a batch      1100 ms    1000 ms   -9.09%" in text
    assert "2 served; requests a batch: 1.00 and 1.00" in text
    assert "no fit: a fit of the prefill needs over 3 cells" in text


def test_the_recorded_validation_is_predicted_as_it_says() -> None:
    recorded, setup = read(RECORDED)
    for found, told in zip(compare(recorded, setup), recorded["compared"], strict=True):
        assert found["load"] == told["load"]
        for by in ("table", "fit", "first", "own"):
            for metric, figures in told[by]["predicted"].items():
                assert found[by]["predicted"][metric] == pytest.approx(figures, rel=1e-9)
