"""Which phase a launch belongs to: the range on the host that its launch call stands in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    import pandas as pd

# A phase's code is its place here; 0 is none.
PHASES = ("", "prefill", "decode")


@dataclass(frozen=True)
class Range:
    """One entry of a phase: its name, when (start included, end not), and on which thread."""

    phase: str
    start: float
    end: float
    thread: Hashable


def at_times(times: np.ndarray, ranges: Iterable[Range]) -> np.ndarray:
    """Return the codes of the phases at ``times``; of nested ranges the inner one counts."""
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    found = np.zeros(len(times), np.int8)
    for one in sorted(ranges, key=lambda one: (one.start, -one.end)):
        first, last = np.searchsorted(ordered, [one.start, one.end])
        found[first:last] = PHASES.index(one.phase)
    codes = np.empty_like(found)
    codes[order] = found
    return codes


def on_threads(
    times: np.ndarray, threads: np.ndarray, keys: Sequence[Hashable], ranges: Sequence[Range]
) -> np.ndarray:
    """Return the codes of phases at ``times`` on ``threads``, which are indices into ``keys``."""
    codes = np.zeros(len(times), np.int8)
    for index, key in enumerate(keys):
        mine = [one for one in ranges if one.thread == key]
        if mine:
            here = threads == index
            codes[here] = at_times(times[here], mine)
    return codes


def of_launches(
    ids: np.ndarray, starts: np.ndarray, call_ids: np.ndarray, call_codes: np.ndarray,
    ranges: Sequence[Range],
) -> np.ndarray:  # fmt: skip
    """Return the codes of work on a device: of its launch call, or of its own time without one.

    ``ids`` join the work to calls (``call_ids``; of two calls with one id the first counts).
    """
    if not len(call_ids):
        return at_times(starts, ranges)
    order = np.argsort(call_ids, kind="stable")
    ordered = call_ids[order]
    place = np.minimum(np.searchsorted(ordered, ids), len(ordered) - 1)
    known = ordered[place] == ids
    codes = np.zeros(len(ids), np.int8)
    codes[known] = call_codes[order[place[known]]]
    codes[~known] = at_times(starts[~known], ranges)
    return codes


def range_table(ranges: Iterable[Range], zero: float, unit_s: float) -> pd.DataFrame:
    """Return the columns of perfkit.profiling.table.RANGES, by start."""
    import pandas as pd

    ordered = sorted(ranges, key=lambda one: one.start)
    return pd.DataFrame(
        {
            "phase": [one.phase for one in ordered],
            "start_s": [(one.start - zero) * unit_s for one in ordered],
            "end_s": [(one.end - zero) * unit_s for one in ordered],
        }
    )
