from __future__ import annotations

import pytest

from perfkit.results.validity import canary_bands, run_problems, unusable
from tests.results.runs_made import CELL, run, stored

BASE = stored(6)


def test_a_run_like_the_baselines_has_no_problems() -> None:
    assert run_problems(run(), BASE) == []


def test_another_machine_is_named() -> None:
    assert run_problems(run(key="gpu-other"), BASE) == [
        "measured on gpu-other, the baseline on cpu-test_1-cores"
    ]


def test_a_canary_outside_its_band_is_named_with_the_end_it_was_seen_at() -> None:
    (told,) = run_problems(run(canary=(0.010, 0.013)), BASE)
    assert told.startswith("the gemm canary took 13.00 ms after the cells, in the baseline 9.")


def test_a_run_that_waited_for_a_cpu_is_not_compared() -> None:
    crowded = run()
    crowded["perfkit"]["cells"][CELL]["telemetry"] = {"cpu_wait_share": 0.31}
    (told,) = run_problems(crowded, BASE)
    assert told.startswith("other processes ran: 1 of 1 cells waited for a CPU over 5% of")
    assert told.endswith(f"{CELL} for 31%")
    crowded["perfkit"]["cells"][CELL]["telemetry"] = {"cpu_wait_share": 0.02}
    assert run_problems(crowded, BASE) == []


def test_a_run_without_canaries_cannot_be_compared() -> None:
    bare = run()
    bare["perfkit"]["canaries"] = []
    assert "0 canary readings" in run_problems(bare, BASE)[0]
    assert "expected readings before and after" in run_problems(run(), [bare, bare])[0]


def test_a_band_is_five_percent_wide_at_least() -> None:
    low, high = canary_bands([run(), run()])["gemm"]
    assert low == pytest.approx(0.010 / 1.05)
    assert high == pytest.approx(0.010 * 1.05)


def test_a_band_follows_the_readings_spread() -> None:
    # Logarithms 0 and ln 1.2, four readings: t(0.9995; 3) = 12.924.
    low, high = canary_bands([run(canary=(0.01, 0.012)), run(canary=(0.01, 0.012))])["gemm"]
    assert high / 0.012 > 1.5
    assert low * high == pytest.approx(0.01 * 0.012)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (run(), None),
        (run(verdict="unstable"), None),
        (run(verdict="throttled"), "throttled: for a test"),
        (run(verdict="diverged"), "diverged: for a test"),
        (run(agreement="unchecked"), "outputs not shown to agree: no agreement recorded"),
    ],
)
def test_which_cells_may_be_compared(made: dict[str, object], words: str | None) -> None:
    assert unusable(made, CELL) == words
    assert unusable(made, "another cell") is None
