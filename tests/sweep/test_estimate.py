from __future__ import annotations

import pytest

from perfkit.cases import Case
from perfkit.suite import Measuring
from perfkit.sweep import estimate

WHAT = Measuring(
    matrices=(), model=None, device="gpu", prompts=None, rounds=3, max_warmup=1, seed=0
)


def case(tail: str) -> Case:
    return Case.parse(f"torch-eager/llama2-7b/bf16/fmha/{tail}/tp1")


def test_a_small_cell_is_bound_by_its_steps() -> None:
    # 4 runs of 31 steps of 25 ms, 32 forced or free steps, 2 s beside; the prefill is small.
    assert estimate.cell_s(case("b1/p128/n32"), WHAT) == pytest.approx(3.1 + 0.8 + 2.0, rel=0.05)


def test_larger_cells_take_longer_and_an_unknown_model_a_fixed_time() -> None:
    small, large = (estimate.cell_s(case(tail), WHAT) for tail in ("b1/p128/n32", "b64/p2048/n32"))
    assert large > 3 * small
    assert estimate.cell_s(case("b1/p1/n2").but(model="local:mine"), WHAT) == 10.0


@pytest.mark.parametrize(
    ("seconds", "words"), [(40, "40 s"), (89, "89 s"), (720, "12 min"), (12_000, "3 h 20 min")]
)
def test_times_read_as_people_say_them(seconds: float, words: str) -> None:
    assert estimate.words(seconds) == words
