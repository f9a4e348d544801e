"""A command run in this process: as a person has it, without the seconds of imports each time."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from pathlib import Path
from unittest import mock

from perfkit.cli import main


def perfkit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``perfkit`` with these arguments in ``folder``."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    back = Path.cwd()
    os.chdir(folder)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch("sys.argv", ["perfkit", *arguments]),
        ):
            main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        os.chdir(back)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
