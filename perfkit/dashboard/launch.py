"""The server of the dashboard, a process of its own."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = "127.0.0.1"
USUAL = ("results", "data", "baselines")
_NEEDS = ("streamlit", "altair")
# A browser's name for this machine; any other name is refused, so that no web page can reach the
# server by a name of its own that leads here.
_NAMES = (HERE, "localhost")


def places(given: Sequence[Path]) -> list[Path]:
    """Return what to show: the folders and files given, else the usual ones that are here.

    Raises UsageError where there is none.
    """
    if missing := [str(path) for path in given if not path.exists()]:
        raise UsageError(f"no such folder or file: {', '.join(missing)}")
    found = list(given) or [path for name in USUAL if (path := Path(name)).is_dir()]
    if not found:
        raise UsageError(
            f"nothing to show: this folder holds none of {', '.join(USUAL)}; give a folder of "
            "result files, or measure with perfkit run"
        )
    return found


def command(
    found: Sequence[Path], *, address: str = HERE, port: int | None = None, headless: bool = False
) -> list[str]:
    """Return the server's command. Raises UsageError where the extra is not installed."""
    if missing := [name for name in _NEEDS if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"perfkit dashboard needs {' and '.join(missing)}: pip install 'perfkit[dashboard]'"
        )
    options = {
        "server.address": address,
        "browser.gatherUsageStats": "false",
        "server.showEmailPrompt": "false",
        "server.fileWatcherType": "none",
        "server.runOnSave": "false",
        "runner.magicEnabled": "false",
        "client.toolbarMode": "viewer",
    }
    if port is not None:
        options["server.port"] = str(port)
    if headless:
        options["server.headless"] = "true"
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    if address in _NAMES:
        flags += [part for name in _NAMES for part in ("--server.allowedHosts", name)]
    shown = [str(path.resolve()) for path in found]
    return [sys.executable, "-m", "perfkit.dashboard.server", *flags, "--", *shown]


def serve(line: Sequence[str]) -> int:
    """Run the server until it ends; whoever ends this process ends it too."""
    with subprocess.Popen(line) as server:
        before = signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            return server.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
            if server.poll() is None:
                server.terminate()
