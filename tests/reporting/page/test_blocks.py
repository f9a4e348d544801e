from __future__ import annotations

import pytest

from perfkit.reporting.page.blocks import digits


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0123456, "0.01235"), (12.3, "12.3"), (9999.4, "9,999"), (9999.5, "10,000"),
     (1234567.8, "1,234,568"), (-10070.0, "-10,070"), (0.0, "0")],
)  # fmt: skip
def test_numbers_have_four_digits_and_no_exponent_where_large(value: float, words: str) -> None:
    assert digits(value) == words
