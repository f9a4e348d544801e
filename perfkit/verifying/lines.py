"""What perfkit verify says of a file."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from perfkit.reporting.mark import mark_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perfkit.results.store import Document
    from perfkit.verifying.findings import Findings


def lines(path: Path, document: Document, found: Findings) -> Iterator[str]:
    """Yield a line a figure that does not match, what could not be told, and the sum of it all."""
    if mark := mark_of([document]):
        yield f"{path}: {mark}; that its sums are right makes none of them a measurement"
    for one in found.mismatches:
        note = f" ({one.note})" if one.note else ""
        yield (
            f"{path}: {_short(one.cell)}: {one.figure}: stored {_shown(one.stored)}, recomputed "
            f"{_shown(one.recomputed)}{note}"
        )
    for why, count in Counter(found.skipped.values()).items():
        yield f"{path}: {count} cells not recomputed: {why}"
    for note, count in found.notes.items():
        yield f"{path}: {count} entries: {note}"
    told = f"{len(found.mismatches)} do not match" if found.mismatches else "all match"
    yield f"{path}: {found.compared} figures recomputed, {told}"


def _shown(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else _short(str(value))


def _short(text: str) -> str:
    """Return a text as a terminal may have it."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[:161])
    return plain if len(plain) <= 160 else f"{plain[:159]}…"
