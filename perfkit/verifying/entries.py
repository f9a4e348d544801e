"""pytest-benchmark's own entries: their statistics from their data, and their cells beside them."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from perfkit.results.store import cells_of, section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.results.store import Document
    from perfkit.verifying.findings import Findings


_MENDED = (5, 3, 1)
_PARTS_OF_AN_ID = 8
_NOTE = (
    "hd15iqr is the lowest datum above the fence, not the highest within it, as pytest-benchmark "
    "before 5.3.1 has it"
)


def verify_entries(document: Document, found: Findings) -> None:
    """Compare every entry's statistics with its data, and its data with its cell's samples."""
    entries = document.get("benchmarks")
    old = _is_old(str(document.get("version") or ""))
    seen: set[str] = set()
    for at, entry in enumerate(entries if isinstance(entries, list) else []):
        name = f"benchmarks[{at}]"
        try:
            name = str(entry.get("param") or entry.get("name") or name)
            # Other benchmarks of a suite may stand beside perfkit's, whose names are ids.
            ours = name.count("/") >= _PARTS_OF_AN_ID - 1
            if ours and name in seen:
                found.differ(name, "entries in benchmarks", "two", "one", "a cell has one entry")
            seen.add(name)
            _statistics(name, section(entry, "stats"), found, old=old)
            cell = cells_of(document).get(name)
            if cell is not None:
                _beside(name, entry, cell, found)
            elif ours and name not in section(document, "perfkit_attention", "cells"):
                found.differ(name, "cell", None, "one", "its entry stands in benchmarks")
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            found.differ(name, "entry", "not readable", "numbers", str(error)[:200])
    if seen:
        for name, cell in cells_of(document).items():
            if section(cell, "samples").get("device_s") and name not in seen:
                found.differ(name, "entry in benchmarks", None, "one", "its cell was timed")


def _is_old(version: str) -> bool:
    """Say whether a pytest-benchmark of this version has another hd15iqr."""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return numbers is not None and tuple(map(int, numbers.groups())) < _MENDED


def _statistics(name: str, stored: Mapping[str, Any], found: Findings, *, old: bool) -> None:
    """Compare by pytest-benchmark's own formulas; without data there is nothing to compare."""
    from pytest_benchmark.stats import Stats

    if not stored.get("data"):
        found.skipped[name] = "its entry has no data"
        return
    made = Stats()
    for seconds in stored["data"]:
        made.update(seconds)
    again = {key: value for key, value in made.as_dict().items() if key in stored}
    if "hd15iqr" in again:
        again["hd15iqr"] = _high_fence(made, old=old)
        if old and again["hd15iqr"] != _high_fence(made, old=False):
            found.notes[_NOTE] += 1
    for key, value in again.items():
        kept = stored[key]
        # A count of rounds stays an integer; a spread of nothing may be written as 0 or 0.0.
        number = isinstance(value, float) and isinstance(kept, int) and not isinstance(kept, bool)
        found.compare(name, f"stats.{key}", float(kept) if number else kept, value)


def _high_fence(made: Any, *, old: bool) -> float:
    """Return the highest datum within 1.5 IQR over Q3; of an old version the one above it."""
    data: list[float] = made.sorted_data
    place = bisect_right(data, made.q3 + 1.5 * made.iqr)
    return data[min(place, len(data) - 1)] if old else data[place - 1]


def _beside(name: str, entry: Mapping[str, Any], cell: Mapping[str, Any], found: Findings) -> None:
    """Compare an entry with its cell: as many rounds of the same clock, the same headline."""
    device = section(cell, "samples").get("device_s") or []
    data = section(entry, "stats")["data"]
    found.compare(name, "stats.data: rounds", len(data), len(device))
    if len(data) == len(device):
        for at, (stored, sample) in enumerate(zip(data, device, strict=True)):
            found.compare(name, f"stats.data[{at}]", stored, sample)
    headline = section(entry, "extra_info")
    made = found.made.get(name, {})
    metrics = section(cell, "metrics") | made | {"verdict": cell.get("verdict")}
    found.compare_all(name, headline, {key: metrics[key] for key in headline if key in metrics},
                      "extra_info.")  # fmt: skip
