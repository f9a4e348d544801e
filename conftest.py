"""Wiring of this repository alone: the plugin without an install, and ``cpu`` as the default."""

from __future__ import annotations

import pytest

pytest_plugins = ("perfkit.pytest_plugin", "perfkit.attention_plugin", "pytester")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``cpu`` whatever asks for no other hardware."""
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("cpu", "gpu", "trt")):
            item.add_marker(pytest.mark.cpu)
