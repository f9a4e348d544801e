"""What holds for all tests, also for those that xdist runs beside one another."""

from __future__ import annotations

import os

import pytest

# pytest-benchmark takes any session with this in its environment for one of xdist's workers, and
# measures nothing: those that tests start are none.
os.environ.pop("PYTEST_XDIST_WORKER", None)


@pytest.fixture
def no_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the pytest runs that a test starts the seconds in which they measure ceilings."""
    monkeypatch.setenv("PYTEST_ADDOPTS", "--perfkit-no-ceilings")
