"""Generation: every cell of the chosen matrices (``--perfkit-matrix``), one test each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.cases import Case
    from perfkit.results.record import Result


def test_generation(generation_case: Case, measured: Callable[[Case], Result]) -> None:
    """The cell runs and its outputs agree with the reference; its figures go to the JSON."""
    result = measured(generation_case)
    assert result.verdict not in {"timeout", "crash", "diverged"}, result.reason
