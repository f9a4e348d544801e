"""Why one arm is faster: the time that moved between two, by kernel class. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.metrics import spread
from perfkit.profiling.classes import CLASSES
from perfkit.results.record import UNSTABLE_OVER
from perfkit.results.store import section

if TYPE_CHECKING:
    from collections.abc import Mapping

IDLE = "idle gaps"
# A profile that shows less of the measured time than this explains nothing.
LEAST_SHOWN = 0.9
# Kernels may take so much longer under a profiler than the whole phase did without.
_MOST_BUSY = 1.1
# The measured time of one call of a phase.
WALL = {"prefill": "ttft_s", "decode": "tpot_s"}
_ALIKE = ("model", "batch", "prompt_len", "tp")


@dataclass(frozen=True)
class Side:
    """One arm's phase: ``wall_s`` was measured without a profiler, ``classes`` with one.

    ``classes`` are seconds of one call, idle gaps among them: what of the measured time no kernel
    ran. They add up to ``wall_s``. ``shown`` is the profile's own window over ``wall_s``; the
    profile has so many ``calls``.
    """

    name: str
    wall_s: float
    classes: Mapping[str, float]
    shown: float
    calls: int


@dataclass(frozen=True)
class Moved:
    """What moved from A to B in one call of ``phase``; ``seconds`` by class, B less A.

    The classes are in the order of CLASSES, idle gaps last; they add up to ``b.wall_s - a.wall_s``.
    ``one_session``: both were measured in one. ``steps``: of decoding, in the measured generation.
    """

    phase: str
    a: Side
    b: Side
    seconds: Mapping[str, float]
    one_session: bool
    steps: int


def side(cell: Mapping[str, Any], name: str, phase: str) -> Side:
    """Return a measured cell's phase. Raises UsageError where it has no profile that explains it.

    Idle is the measured time less the time in which kernels ran: a profiler slows the host, so its
    own gaps would be too long.
    """
    told = section(cell, "profile", "phases", phase)
    if not (cell.get("verdict") == "ok" or _steady(cell, phase)):
        raise UsageError(f"{name} is {cell.get('verdict')}: {cell.get('reason')}; measure it again")
    status = section(cell, "agreement").get("status")
    if status != "agrees":
        raise UsageError(f"{name}: its outputs were not shown to agree ({status}): nothing to set")
    if not told:
        why = section(cell, "profile").get("absent") or "perfkit profile takes one"
        raise UsageError(f"{name} has no profile of its {phase}: {why}")
    wall_s = _seconds(section(cell, "metrics"), WALL[phase], name)
    window_s, busy_s = (_seconds(told, key, name) for key in ("window_s", "busy_s"))
    if window_s < LEAST_SHOWN * wall_s:
        raise UsageError(
            f"{name}: the profile shows {window_s / wall_s:.0%} of the measured "
            f"{wall_s * 1e3:.4g} ms of a {phase}, and {LEAST_SHOWN:.0%} is needed: profile it again"
        )
    if busy_s > _MOST_BUSY * wall_s:
        raise UsageError(
            f"{name}: under the profiler the kernels of a {phase} ran {busy_s / wall_s:.0%} of the "
            f"measured {wall_s * 1e3:.4g} ms: another run; profile it again on a quiet machine"
        )
    found = section(told, "classes")
    classes = {kind: _seconds(found, kind, name) for kind in CLASSES if kind in found}
    return Side(
        name, wall_s, {**classes, IDLE: wall_s - busy_s}, window_s / wall_s, told.get("calls", 1)
    )


def _steady(cell: Mapping[str, Any], phase: str) -> bool:
    """Return whether an unstable cell varies in its other phase alone."""
    if cell.get("verdict") != "unstable":
        return False
    samples = section(cell, "samples")
    if phase == "prefill":
        rounds = samples.get("ttft_s") or []
    else:
        rounds = [fmean(steps) for steps in samples.get("itl_s") or [] if steps]
    varies = spread(rounds)
    return varies is not None and varies <= UNSTABLE_OVER


def _seconds(told: Mapping[str, Any], key: str, name: str) -> float:
    value = told.get(key)
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"{name}: {key} is {value!r}, expected seconds over 0")
    return float(value)


def moved(a: Mapping[str, Any], b: Mapping[str, Any], phase: str) -> Moved:
    """Return what moved between two measured cells of one machine.

    Raises UsageError where they are of different work, or one explains nothing.
    """
    cases = section(a, "case"), section(b, "case")
    names = (*_ALIKE, "new_tokens") if phase == "decode" else _ALIKE
    unlike = [f"{name} {cases[0].get(name)} and {cases[1].get(name)}" for name in names
              if cases[0].get(name) != cases[1].get(name)]  # fmt: skip
    if unlike:
        raise UsageError(f"not the same work: {', '.join(unlike)}")
    first, second = (side(cell, _named(section(cell, "case")), phase) for cell in (a, b))
    seconds = {
        kind: second.classes.get(kind, 0.0) - first.classes.get(kind, 0.0)
        for kind in (*CLASSES, IDLE)
        if kind in first.classes or kind in second.classes
    }
    return Moved(
        phase,
        first,
        second,
        seconds,
        one_session=a.get("session") is not None and a.get("session") == b.get("session"),
        steps=cases[0].get("new_tokens", 1) - 1,
    )


def _named(case: Mapping[str, Any]) -> str:
    return "/".join(str(case.get(name)) for name in ("backend", "precision", "attention"))
