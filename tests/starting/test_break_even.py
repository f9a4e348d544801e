from __future__ import annotations

import pytest

from perfkit.starting.break_even import Figures, break_even, figures


def of(startup_s: float, tpot_s: float | None) -> Figures:
    return Figures(
        first_token_s=1.0, imports_s=0.5, startup_s=startup_s,
        startup_range_s=(startup_s - 0.5, startup_s + 0.25), ttft_s=0.1, tpot_s=tpot_s,
    )  # fmt: skip


EAGER = of(4.0, 0.5)


@pytest.mark.parametrize(
    ("startup_s", "tpot_s", "tokens", "words"),
    [
        (10.0, 0.25, 24, "starts later, and each token takes less"),  # 6 s at 0.25 s a token
        (10.125, 0.25, 25, "starts later"),  # 24.5, rounded up
        (4.5, 0.25, None, "not known: their starts overlap"),
        (3.5, 0.25, None, "not known: their starts overlap"),
        (3.0, 0.25, 0, "starts sooner"),
        (10.0, 0.5, None, "no less than torch-eager's"),
        (10.0, 0.75, None, "no less than torch-eager's"),
        (3.0, 0.75, None, "though it starts sooner"),
        (10.0, None, None, "one new token has no time per token"),
    ],
)
def test_break_even_by_hand(
    startup_s: float, tpot_s: float | None, tokens: int | None, words: str
) -> None:
    found = break_even(of(startup_s, tpot_s), EAGER)
    assert found.tokens == tokens
    assert words in found.why
    if tokens and tpot_s:
        # one token sooner the arm is still behind, now it is not
        assert startup_s + tokens * tpot_s <= 4.0 + tokens * 0.5
        assert startup_s + (tokens - 1) * tpot_s > 4.0 + (tokens - 1) * 0.5


def process(further_s: float, tpot_s: float | None) -> dict[str, dict[str, float | None]]:
    return {
        "phases": {
            "interpreter": 0.25, "import_torch": 1.0, "import_perfkit": 0.5, "load": 2.0,
            "first_token": 0.25, "further_tokens": further_s,
        },
        "steady": {"ttft_s": 0.125, "tpot_s": tpot_s},
    }  # fmt: skip


def test_what_the_second_token_compiles_is_a_cost_of_starting() -> None:
    # five tokens: the further four took 3 s, of which 4 * 0.25 s is what they always take
    one = [process(3.0, 0.25)]
    assert figures(one, one, new_tokens=5) == Figures(
        first_token_s=4.0, imports_s=1.5, startup_s=6.0, startup_range_s=(6.0, 6.0), ttft_s=0.125,
        tpot_s=0.25,
    )  # fmt: skip


def test_medians_are_over_the_processes_of_a_kind_and_steady_ones_over_the_arms() -> None:
    cold = [process(30.0, 8.0)]  # disturbed
    warm = [process(further, 0.25) for further in (3.0, 9.0, 2.0)]
    made = figures(warm, cold + warm, new_tokens=5)
    assert (made.startup_s, made.startup_range_s) == (6.0, (5.0, 12.0))
    found = figures(cold, cold + warm, new_tokens=5)
    assert (found.tpot_s, found.startup_s) == (0.25, 33.0)


def test_one_token_has_no_time_per_token() -> None:
    one = [process(0.0, None)]
    found = figures(one, one, new_tokens=1)
    assert (found.startup_s, found.tpot_s) == (4.0, None)
