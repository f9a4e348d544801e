"""Modules of tests run in a process of their own: Triton compiles or interprets, never both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def answer(module: str, given: object = None, *, interpret: bool) -> Any:
    """Return the JSON that a module writes, which reads ``given`` as JSON."""
    environment = {name: text for name, text in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(given),
        env=environment | ({"TRITON_INTERPRET": "1"} if interpret else {}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
