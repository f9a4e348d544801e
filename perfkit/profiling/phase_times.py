"""What a phase's time was: kernels by class, and the window on the device that they lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.profiling.classes import CLASSES, kernel_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from perfkit.profiling.table import Profile

_IN_ORDER = ("prefill", "decode")
CPU = "cpu"  # the device of operators


@dataclass(frozen=True)
class PhaseTime:
    """One call of a phase, the mean over ``calls``: a prefill, or a step of decoding.

    ``window_s``: on the device, from the end of what went before (of a prefill: from its
    submission) to the end of its last kernel. ``classes``: seconds in which a kernel of that class
    ran, each moment counted once, so that they add up to the time in which anything ran.
    """

    calls: int
    launches: float
    window_s: float
    classes: Mapping[str, float]

    @property
    def busy_s(self) -> float:
        """Seconds in which anything ran."""
        return sum(self.classes.values())

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the busy time and each class's share of it too."""
        busy = self.busy_s
        return {
            "calls": self.calls,
            "launches": self.launches,
            "window_s": self.window_s,
            "busy_s": busy,
            "classes": dict(self.classes),
            "shares": {name: value / busy for name, value in self.classes.items()} if busy else {},
        }


def phase_times(profile: Profile) -> dict[str, PhaseTime]:
    """Return the phases that ranges named, by name, of the device that was busy longest.

    Empty where a profile has no events, or no event lies in a phase.
    """
    if profile.events is None or profile.ranges is None or profile.events.empty:
        return {}
    events = device_events(profile)
    alone = exclusive(events)
    kinds = np.array([kernel_class(str(name)) for name in events["name"]])
    ends = (events["start_s"] + events["duration_s"]).to_numpy()
    found: dict[str, PhaseTime] = {}
    before_s: float | None = None
    for name in _IN_ORDER:
        mine = (events["phase"] == name).to_numpy()
        entered = profile.ranges[profile.ranges["phase"] == name]
        if not mine.any() or entered.empty:
            continue
        begin_s = float(entered["start_s"].min()) if before_s is None else before_s
        before_s = float(ends[mine].max())
        calls = len(entered)
        sums = {kind: float(alone[mine & (kinds == kind)].sum()) / calls for kind in CLASSES}
        found[name] = PhaseTime(
            calls=calls,
            launches=int(mine.sum()) / calls,
            window_s=(before_s - begin_s) / calls,
            classes={kind: value for kind, value in sums.items() if value},
        )
    return found


def exclusive(events: pd.DataFrame) -> np.ndarray:
    """Return the seconds that each launch, in order of start, ran and no earlier one did, (n,).

    They add up to the time in which anything ran. Operators on a CPU have self times already, which
    lie between those of what they called.
    """
    if (events["device"] == CPU).all():
        own: np.ndarray = events["duration_s"].to_numpy(float)
        return own
    start = events["start_s"].to_numpy(float)
    end = start + events["duration_s"].to_numpy(float)
    covered = np.concatenate(([-np.inf], np.maximum.accumulate(end)[:-1]))
    added: np.ndarray = np.clip(end - np.maximum(start, covered), 0.0, None)
    return added


def device_events(profile: Profile) -> pd.DataFrame:
    """Return the launches, by start, of the device that was busy longest."""
    events = profile.events
    assert events is not None  # noqa: S101  (its callers looked)
    sums = events.groupby("device", observed=True)["duration_s"].sum()
    mine = events[events["device"] == sums.idxmax()]
    return mine.sort_values("start_s", kind="stable", ignore_index=True)
