from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numba

import perfkit
from perfkit.batching import compiling

if TYPE_CHECKING:
    import pytest

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
from perfkit.batching.histogram_kernel import bin_index
from perfkit.batching.continuous_kernel import note_gap
import numpy as np, perfkit
assert perfkit.__file__.startswith(sys.argv[1])
bins, seconds = np.zeros(40_000, np.int64), np.zeros(6)
note_gap(bins, seconds, 1.0, 1)
print(int(bins.argmax()))
"""


def binned(folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_a_changed_function_is_not_answered_from_an_older_compilation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that calls it lies in another file, which numba alone would look at."""
    monkeypatch.setenv("PERFKIT_CACHE", str(tmp_path / "cache"))
    here = Path(perfkit.__file__).parent
    shutil.copytree(here, tmp_path / "perfkit", ignore=shutil.ignore_patterns("__pycache__"))
    before = binned(tmp_path)
    kernel = tmp_path / "perfkit/batching/histogram_kernel.py"
    text = kernel.read_text().replace(
        "    if x < LEAST_S:\n        return 0\n", "    x = x * 2.0\n"
    )
    kernel.write_text(text)
    assert binned(tmp_path) > before


def test_numbas_own_setting_is_left_as_it_was() -> None:
    theirs = numba.config.CACHE_DIR
    compiling.njit(cache=True)(lambda: 1)
    assert theirs == numba.config.CACHE_DIR
