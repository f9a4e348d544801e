"""The kernel table that every reader makes, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.profiling.classes import kernel_class
from perfkit.profiling.phases import PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

# One row a launch: seconds on one clock of the profile's own. ``device`` is a number as text,
# "cpu", or "" where the tool does not tell it; ``stream`` is a number (of a CPU, the thread's), -1
# where the tool does not tell it; ``phase`` is "prefill", "decode" or "" where no range says it.
EVENTS = ("name", "phase", "device", "stream", "start_s", "duration_s")
# One row for each of name, phase, device and stream, the longest total first. ``share`` is of the
# time of all rows.
KERNELS = ("name", "class", "phase", "device", "stream", "calls", "total_s", "mean_s", "share")
# One row for each time that a phase was entered, by the host's range, on the clock of the events. A
# device works after its host: its window is the first start to the last end of the phase's events.
RANGES = ("phase", "start_s", "end_s")


@dataclass(frozen=True)
class Profile:
    """What ran, as one reader found it.

    ``tool`` is "torch", "nsys", "nsys-stats" or "ncu"; ``source`` the file. ``kernels`` has the
    columns KERNELS. ``events`` (columns EVENTS, by start) and ``ranges`` (columns RANGES) are None
    where the tool tells sums alone. ``metrics`` is ncu's table of figures, a row a launch.
    ``notes`` say in words what was missing or left out.
    """

    tool: str
    source: str
    kernels: pd.DataFrame
    events: pd.DataFrame | None = None
    ranges: pd.DataFrame | None = None
    metrics: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()


def kernel_table(events: pd.DataFrame) -> pd.DataFrame:
    """Return the columns KERNELS of launches that have the columns EVENTS; none is lost."""
    groups = events.groupby(
        ["name", "phase", "device", "stream"], observed=True, sort=False, dropna=False
    )
    found = groups["duration_s"].agg(calls="size", total_s="sum").reset_index()
    return finished(found.astype(dict.fromkeys(("name", "phase", "device"), str)))


def event_table(
    names: tuple[Sequence[str], np.ndarray],
    devices: tuple[Sequence[str], np.ndarray],
    phases: np.ndarray,
    streams: np.ndarray,
    start_s: np.ndarray,
    duration_s: np.ndarray,
) -> pd.DataFrame:
    """Return the columns EVENTS, by start; what is text comes as distinct texts and codes.

    ``phases`` are indices into PHASES; all arrays are of one length.
    """
    import pandas as pd

    events = pd.DataFrame(
        {
            "name": pd.Categorical.from_codes(names[1], list(names[0])),
            "phase": pd.Categorical.from_codes(phases, list(PHASES)),
            "device": pd.Categorical.from_codes(devices[1], list(devices[0])),
            "stream": streams,
            "start_s": start_s,
            "duration_s": duration_s,
        }
    )
    return events.sort_values("start_s", kind="stable", ignore_index=True)


def finished(sums: pd.DataFrame) -> pd.DataFrame:
    """Add class, mean and share to rows that have the other columns of KERNELS, and sort them.

    A total that is not known (NaN) has no share, and stands last.
    """
    whole = float(sums["total_s"].sum())
    made = sums.assign(
        **{
            "class": [kernel_class(str(name)) for name in sums["name"]],
            "mean_s": sums["total_s"] / sums["calls"],
            "share": sums["total_s"] / (whole or 1.0),
        }
    )
    made = made.sort_values("total_s", ascending=False, kind="stable", ignore_index=True)
    return made[list(KERNELS)]
