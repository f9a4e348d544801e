"""The kernel table that every reader makes, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.profiling.classes import kernel_class

if TYPE_CHECKING:
    import pandas as pd

# One row a launch: seconds on one clock of the profile's own. ``device`` is a number as text, or
# "cpu"; ``stream`` is a number, -1 where the tool does not tell it; ``phase`` is "prefill",
# "decode" or "" where no range says it.
EVENTS = ("name", "phase", "device", "stream", "start_s", "duration_s")
# One row for each of name, phase, device and stream, the longest total first. ``share`` is of the
# time of all rows.
KERNELS = ("name", "class", "phase", "device", "stream", "calls", "total_s", "mean_s", "share")
# One row for each time that a phase was entered, on the clock of the events.
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
    return finished(found)


def finished(sums: pd.DataFrame) -> pd.DataFrame:
    """Add class, mean and share to rows that have the other columns of KERNELS, and sort them."""
    whole = float(sums["total_s"].sum())
    made = sums.assign(
        **{
            "class": [kernel_class(str(name)) for name in sums["name"]],
            "mean_s": sums["total_s"] / sums["calls"],
            "share": sums["total_s"] / whole if whole else 0.0,
        }
    )
    made = made.sort_values("total_s", ascending=False, kind="stable", ignore_index=True)
    return made[list(KERNELS)]
