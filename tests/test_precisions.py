from __future__ import annotations

import pytest

from perfkit.cases import Case, reference_of
from perfkit.precisions import PRECISIONS


@pytest.mark.parametrize(
    ("precision", "reference"),
    [("bf16", "fp32"), ("fp8", "fp32"), ("bf16-int8", "fp32-int8"), ("bf16-fp8", "fp32-fp8"),
     ("fp32-int8", "fp32-int8")],
)  # fmt: skip
def test_a_reference_has_the_weights_that_it_judges(precision: str, reference: str) -> None:
    case = Case.parse(f"torch-triton/llama-tiny/{precision}/fmha/b1/p5/n2/tp1")
    assert reference_of(case).precision == reference


def test_weight_only_quantisation_multiplies_what_it_computes_in() -> None:
    assert PRECISIONS["bf16-int8"].products == "bf16"
    assert PRECISIONS["bf16-int8"].cache_bytes == 2
    assert PRECISIONS["fp8"].products == "fp8"
    assert PRECISIONS["fp8"].cache_bytes == 1
