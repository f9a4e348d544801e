"""What holds for all tests, also for those that xdist runs beside one another."""

from __future__ import annotations

import os

# pytest-benchmark takes any session with this in its environment for one of xdist's workers, and
# measures nothing: those that tests start are none.
os.environ.pop("PYTEST_XDIST_WORKER", None)
