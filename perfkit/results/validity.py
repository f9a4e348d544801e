"""Whether a run may be compared at all: its machine, its canaries, and each cell's own verdict."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.results.store import Document

# Rounds that vary are no reason against a run: what is judged is how runs vary.
ACCEPTED = frozenset({"ok", "unstable"})
# How sure the band of a canary is to hold one more reading, and its least half width.
_BAND = 0.999
_LEAST_BAND = 0.05
_ENDS = ("before", "after")


def cells_of(document: Document) -> dict[str, dict[str, Any]]:
    """Return the document's cells by id."""
    found: dict[str, dict[str, Any]] = document["perfkit"]["cells"]
    return found


def machine_key(document: Document) -> str:
    """Return the key of the machine that a document was measured on."""
    return str((document["perfkit"].get("machine") or {}).get("key"))


def unusable(run: Document, cell_id: str) -> str | None:
    """Say why a run's cell must not be compared, None where it may be or is not there."""
    cell = cells_of(run).get(cell_id)
    if cell is None:
        return None
    if cell.get("verdict") not in ACCEPTED:
        return f"{cell.get('verdict')}: {cell.get('reason')}"
    agreement = cell.get("agreement") or {}
    if agreement.get("status") != "agrees":
        return f"outputs not shown to agree: {agreement.get('reason') or 'no agreement recorded'}"
    return None


def run_problems(run: Document, stored: Sequence[Document]) -> list[str]:
    """Say why a whole run must not be compared: another machine, or one that was not itself."""
    keys = sorted({machine_key(one) for one in stored})
    if keys != [machine_key(run)]:
        return [f"measured on {machine_key(run)}, the baseline on {', '.join(keys)}"]
    bands = canary_bands(stored)
    readings = canaries(run)
    if len(readings) < len(_ENDS) or not bands:
        have = f"{len(readings)} canary readings, {len(bands)} canaries in the baseline"
        return [f"{have}: expected readings before and after the cells (--perfkit-canaries)"]
    return [
        f"the {name} canary took {reading[name] * 1e3:.2f} ms {end} the cells, in the baseline "
        f"{low * 1e3:.2f} to {high * 1e3:.2f}"
        for name, (low, high) in bands.items()
        for end, reading in zip(_ENDS, readings, strict=True)
        if not low <= reading.get(name, math.nan) <= high
    ]


def canaries(run: Document) -> list[dict[str, float]]:
    """Return the seconds of each canary, medians over its windows, before and after the cells."""
    readings = run["perfkit"].get("canaries") or []
    return [
        {name: statistics.median(times) for name, times in reading.items()} for reading in readings
    ]


def canary_bands(stored: Sequence[Document]) -> dict[str, tuple[float, float]]:
    """Return where each canary is expected, in seconds, from the readings of baseline runs.

    Formula: Student's t over the logarithms, 99.9 % for one reading; 5 % either way at least.
    """
    from scipy import stats

    found: dict[str, list[float]] = {}
    for reading in (reading for run in stored for reading in canaries(run)):
        for name, value in reading.items():
            found.setdefault(name, []).append(math.log(value))
    bands = {}
    for name, logs in found.items():
        n = len(logs)
        if n < len(_ENDS):
            continue
        half = stats.t.ppf((1 + _BAND) / 2, n - 1) * statistics.stdev(logs) * math.sqrt(1 + 1 / n)
        half = max(half, math.log1p(_LEAST_BAND))
        middle = statistics.fmean(logs)
        bands[name] = (math.exp(middle - half), math.exp(middle + half))
    return bands
