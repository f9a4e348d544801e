from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

from perfkit.machine import guard

if TYPE_CHECKING:
    from pathlib import Path


def test_what_begins_as_the_guard_already_kills_does_not_outlive_it(tmp_path: Path) -> None:
    """As one whose environment is not to be seen yet, since it was just begun."""
    folder = tmp_path / "mine"
    folder.mkdir()
    name, value = "PERFKIT_TEST_MARK", uuid.uuid4().hex
    watching = subprocess.Popen(
        [sys.executable, "-S", "-E", guard.__file__, f"{name}={value}", str(folder)],
        stdin=subprocess.PIPE,
    )
    assert watching.stdin is not None
    watching.stdin.close()
    time.sleep(0.3)
    late = subprocess.Popen(["sleep", "60"], env=os.environ | {name: value})
    assert late.wait(30) == -9
    assert watching.wait(30) == 0
    assert not folder.exists()
