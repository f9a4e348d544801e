"""One start: ``python -m perfkit.starting.worker ASKED``, a JSON object, as ``runs`` starts it.

Every moment is read from ``time.monotonic``, which on Linux is one clock for all processes: the
parent's moment before it started this one counts too. The first line that runs reads it.
"""

from __future__ import annotations

import time

_BEGAN = time.monotonic()


class Phases:
    """Seconds of each phase of a process since its parent started it; they leave no gap."""

    def __init__(self, spawned: float, began: float) -> None:
        """``spawned`` is the parent's moment; up to ``began`` the interpreter took."""
        self.seconds: dict[str, float] = {"interpreter": began - spawned}
        self._last = began

    def mark(self, name: str) -> None:
        """End a phase now."""
        now = time.monotonic()
        self.seconds[name], self._last = now - self._last, now


def main(text: str) -> None:
    """Import what the parent names, generate, and write the report to the file it names."""
    import importlib
    import json
    from pathlib import Path

    asked = json.loads(text)
    phases = Phases(asked["spawned"], _BEGAN)
    for name, module in asked["imports"].items():
        importlib.import_module(module)
        phases.mark(f"import_{name}")
    from perfkit.errors import UsageError
    from perfkit.starting.generation import generate

    try:
        report = generate(asked, phases)
    except UsageError as error:
        report = {"refused": str(error)}
    Path(asked["report"]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
