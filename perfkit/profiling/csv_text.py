"""CSV as Nsight's tools print it: among lines of a log, with thousands separators and units."""

from __future__ import annotations

import codecs
import csv
import re
from itertools import dropwhile
from typing import TYPE_CHECKING

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_NUMBER = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d*)?([eE][+-]?\d+)?")
_LARGEST = 1e18
# Spelled as ncu spells them, today and before 2023, and as the headers of nsys stats do.
SECONDS = {
    "ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3,
    "s": 1.0, "second": 1.0, "sec": 1.0,
}  # fmt: skip


def rows(path: Path, head: tuple[str, ...]) -> Generator[list[str]]:
    """Yield the rows of a file from the first line on that holds a text of ``head``.

    Lines that ncu's log begins with "==" are left out. Raises UsageError where the file cannot be
    read, or ends within quotes.
    """
    try:
        with path.open(encoding=_encoding(path), errors="replace", newline="") as stream:
            lines = dropwhile(lambda line: not any(text in line for text in head), stream)
            printed = (line for line in lines if not line.startswith("=="))
            # strict: a file that was cut off within a text is an error, not a short last row.
            yield from csv.reader(printed, strict=True)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (csv.Error, UnicodeError) as error:
        raise UsageError(f"{path} is no whole CSV ({error}): was it cut off?") from None


def _encoding(path: Path) -> str:
    """Return UTF-8, or UTF-16 where the file says so, as files of PowerShell's ``>`` do."""
    with path.open("rb") as stream:
        head = stream.read(2)
    return "utf-16" if head in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "utf-8-sig"


def number(text: str, where: str) -> float:
    """Return the number in a cell; ``where`` names the file and row in the error."""
    found = text.strip()
    if not _NUMBER.fullmatch(found) or abs(value := float(found.replace(",", ""))) > _LARGEST:
        raise UsageError(
            f"{where}: {found[:40]!r} is no number; expected one such as 1,234.5, as the tool "
            "prints under LC_ALL=C"
        )
    return value


def whole(text: str) -> int | None:
    """Return the whole number that a cell is, None for anything else."""
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None
