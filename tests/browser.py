"""A headless Chromium for tests: the system's own, driven by playwright."""

from __future__ import annotations

import contextlib
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Yield playwright's Browser; skips the test where there is no browser or no playwright."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"no browser found: expected one of {', '.join(_NAMES)}")
    with driver.sync_playwright() as started:
        made = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield made
        made.close()


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
