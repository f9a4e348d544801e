"""A profile from a file of any kind that is read here, known by its content."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.profiling import ncu_csv, nsys_sqlite, nsys_stats, torch_trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.profiling.table import Profile

_HEAD_BYTES = 1 << 20  # a log may stand before the table
_REPORTS = (".nsys-rep", ".qdrep")
# How an object or an array of objects begins; lines of a log begin with brackets too.
_JSON = re.compile(r'\ufeff?\s*(\{\s*["}]|\[\s*[{\]])')
_EXPORT_LIMIT_S = 1800.0
EXPECTED = (
    "a SQLite export or nsys stats CSV of Nsight Systems, ncu --csv, or a trace of PyTorch's "
    "profiler (.json, .json.gz)"
)


def read(path: Path) -> Profile:
    """Read a profile; ``.nsys-rep`` and ``.qdrep`` are exported through nsys where it is found.

    Raises UsageError in one line: what came, what was expected, what to do.
    """
    head = _head(path)
    if head.startswith(b"SQLite format 3\0"):
        return nsys_sqlite.read(path)
    if path.suffix in _REPORTS:
        return _exported(path)
    if path.suffix == ".ncu-rep":
        raise UsageError(
            f"{path} is a report of ncu, which ncu alone reads: "
            f"ncu --import {path} --csv --page raw > {path.stem}.csv, then give that file"
        )
    reader = _by_text(head)
    if reader is None:
        raise UsageError(f"{path} is no profile that is read here: expected {EXPECTED}")
    return reader(path)


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file: expected {EXPECTED}")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if not head:
        raise UsageError(f"{path} is empty: expected {EXPECTED}")
    return head


def _by_text(head: bytes) -> Callable[[Path], Profile] | None:
    if head.startswith(b"\x1f\x8b"):
        # A gzip that is broken further on is the trace reader's to tell.
        unpacked = _unpacked(head)
        return torch_trace.read if _JSON.match(unpacked) or not unpacked else None
    text = head.decode("utf-16" if head[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8", "replace")
    if _JSON.match(text):
        return torch_trace.read
    if "\0" in text:
        return None
    if "Kernel Name" in text:
        return ncu_csv.read
    if any(word in text for word in ("Total Time", "Duration (", "Time (%)", "Time(%)")):
        return nsys_stats.read
    return None


def _unpacked(head: bytes) -> str:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES).decode("utf-8", "replace")
    except zlib.error:
        return ""


def _exported(path: Path) -> Profile:
    """Export a report into a folder that is gone afterwards, and read that."""
    options = ["--type", "sqlite", "--force-overwrite", "true"]
    nsys = shutil.which("nsys")
    if nsys is None:
        raise UsageError(
            f"{path} is a report of nsys, which nsys alone reads, and nsys is not found: export "
            f"it where nsys is, nsys export --type sqlite --output {path.stem}.sqlite {path.name}"
        )
    with tempfile.TemporaryDirectory(prefix="perfkit-nsys-") as folder:
        made = Path(folder, "export.sqlite")
        command = [nsys, "export", *options, "--output", str(made), str(path.absolute())]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False,
                stdin=subprocess.DEVNULL, timeout=_EXPORT_LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UsageError(f"nsys did not export {path} in {_EXPORT_LIMIT_S:.0f} s") from None
        except OSError as error:
            raise UsageError(f"cannot run {nsys}: {error.strerror}") from None
        if done.returncode or not made.is_file():
            said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
            raise UsageError(
                f"nsys could not export {path} (exit code {done.returncode}): {said[-1]}; a report "
                "of a newer nsys needs that one"
            )
        return dataclasses.replace(nsys_sqlite.read(made), source=str(path))
