"""``perfkit sweep`` run as a person types it."""

from __future__ import annotations

import csv
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAM = (sys.executable, "-c", "from perfkit.cli import main; main()")


def swept(
    folder: Path, matrix: str, before: Callable[[], None] | None = None
) -> tuple[str, dict[str, dict[str, str]]]:
    """Sweep a matrix in ``folder``, forecasts unheeded; return what was said, and the CSV by cell.

    ``before`` runs in the new process before its program.
    """
    (folder / "small.toml").write_text(matrix, encoding="utf-8")
    done = subprocess.run(
        [*PROGRAM, "sweep", "small.toml", "--rounds=2", "--no-forecast"],
        capture_output=True, text=True, check=False, cwd=folder, preexec_fn=before,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / "data" / "matrix_results.csv").open(encoding="utf-8", newline="") as stream:
        return done.stdout, {row["cell"]: row for row in csv.DictReader(stream)}
