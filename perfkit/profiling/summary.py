"""A profile as a result row carries it: each phase's time by kernel class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.profiling.phase_times import device_events, phase_times
from perfkit.profiling.reading import read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from perfkit.profiling.table import Profile


def summarised(told: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return what is known of a profile and its phases; where there are none, ``absent`` says why.

    A file that cannot be read costs the row nothing else.
    """
    try:
        return {**told, **summary(read(path))}
    except (UsageError, ImportError) as error:
        return {**told, "absent": str(error)}


def summary(profile: Profile) -> dict[str, Any]:
    """Return a profile's phases and notes as plain values."""
    found = phase_times(profile)
    if not found:
        why = "; ".join(profile.notes) or "no kernel lies in a range named prefill or decode"
        return {"absent": why}
    return {
        "device": str(device_events(profile)["device"].iloc[0]),
        "phases": {name: phase.to_json() for name, phase in found.items()},
        "notes": list(profile.notes),
    }
