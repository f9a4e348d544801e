"""Whether a run may be compared at all: its machine, its canaries, and each cell's own verdict."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.results import store
from perfkit.results.gate import above
from perfkit.results.store import cells_of, section

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.results.store import Document

# Rounds that vary are no reason against a run: what is judged is how runs vary.
ACCEPTED = frozenset({"ok", "unstable"})
# How sure the band of a canary is to hold one more reading, and its least half width.
_BAND = 0.999
_LEAST_BAND = 0.05
_ENDS = ("before", "after")
_CPU_WAIT_LIMIT = 0.05
# Of a session: what two runs that are compared must have in common.
SETTINGS = ("rounds", "max_warmup")


def machine_key(document: Document) -> str:
    """Return the key of the machine that a document was measured on, "unknown" without one."""
    return str(section(document, "perfkit", "machine").get("key") or "unknown")


def settings(run: Document) -> dict[str, Any]:
    """Return how a run was measured, as far as runs that are compared must be alike."""
    session = section(run, "perfkit", "session")
    return {name: session.get(name) for name in SETTINGS}


def read_run(path: Path) -> Document:
    """Read a run's result file. Raises UsageError naming one that is damaged or synthetic."""
    run = store.measured(store.read(path), path)
    try:
        readings = canaries(run)
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged: its canaries cannot be read ({error!r})") from None
    if any(not 0 < value < math.inf for reading in readings for value in reading.values()):
        raise UsageError(f"{path} is damaged: a canary is no positive number of seconds")
    return run


def unusable(run: Document, cell_id: str) -> str | None:
    """Say why a run's cell must not be compared, None where it may be or is not there."""
    cell = cells_of(run).get(cell_id)
    if cell is None:
        return None
    if cell.get("verdict") not in ACCEPTED:
        return f"{cell.get('verdict')}: {cell.get('reason')}"
    agreement = section(cell, "agreement")
    if agreement.get("status") != "agrees":
        return f"outputs not shown to agree: {agreement.get('reason') or 'no agreement recorded'}"
    return None


def run_problems(run: Document, stored: Sequence[Document]) -> list[str]:
    """Say why a whole run must not be compared: another machine, or one that was not itself."""
    keys = sorted({machine_key(one) for one in stored})
    if keys != [machine_key(run)]:
        return [f"measured on {machine_key(run)}, the baseline on {', '.join(keys)}"]
    mine, theirs = settings(run), settings(stored[0])
    if mine != theirs:
        return [f"measured with {mine}, the baseline with {theirs}"]
    if busy := crowded(run):
        return [busy]
    bands = canary_bands(stored)
    readings = canaries(run)
    if len(readings) != len(_ENDS) or not bands:
        have = f"{len(readings)} canary readings, {len(bands)} canaries in the baseline"
        return [f"{have}: expected readings before and after the cells (--perfkit-canaries)"]
    return [
        f"the {name} canary took {_ms(reading.get(name))} {end} the cells, in the baseline "
        f"{low * 1e3:.2f} to {high * 1e3:.2f}"
        for name, (low, high) in bands.items()
        for end, reading in zip(_ENDS, readings, strict=True)
        if not low <= reading.get(name, math.nan) <= high
    ]


def crowded(run: Document) -> str | None:
    """Say in which cells other processes took the CPU away; canaries miss what comes between."""
    shares = {
        name: share
        for name, cell in cells_of(run).items()
        if (share := section(cell, "telemetry").get("cpu_wait_share") or 0) > _CPU_WAIT_LIMIT
    }
    if not shares:
        return None
    worst = max(shares, key=lambda name: shares[name])
    return (
        f"other processes ran: {len(shares)} of {len(cells_of(run))} cells waited for a CPU over "
        f"{_CPU_WAIT_LIMIT:.0%} of their timed rounds, {worst} for {shares[worst]:.0%}"
    )


def _ms(seconds: float | None) -> str:
    return "no reading" if seconds is None else f"{seconds * 1e3:.2f} ms"


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
    found: dict[str, list[float]] = {}
    for reading in (reading for run in stored for reading in canaries(run)):
        for name, value in reading.items():
            found.setdefault(name, []).append(value)
    bands = {}
    for name, values in found.items():
        if len(values) < len(_ENDS):
            continue
        half = max(above((1 + _BAND) / 2, values, 1), math.log1p(_LEAST_BAND))
        middle = statistics.geometric_mean(values)
        bands[name] = (middle * math.exp(-half), middle * math.exp(half))
    return bands
