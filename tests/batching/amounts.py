"""How many drawn cases the kernels are held against their oracles on."""

from __future__ import annotations

import pytest

# CI has time for the first 2,000 of the 10,000 that the docs tell of.
CASES = pytest.mark.parametrize(
    "cases",
    [pytest.param(2_000, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.thorough)],
)
