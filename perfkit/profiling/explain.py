"""Why one arm is faster: the time that moved between two, by kernel class. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.profiling.classes import CLASSES
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
    ran. They add up to ``wall_s``. ``shown`` is the profile's own window over ``wall_s``.
    """

    name: str
    wall_s: float
    classes: Mapping[str, float]
    shown: float


@dataclass(frozen=True)
class Moved:
    """What moved from A to B in one call of ``phase``; ``seconds`` by class, B less A.

    The classes are in the order of CLASSES, idle gaps last; they add up to ``b.wall_s - a.wall_s``.
    """

    phase: str
    a: Side
    b: Side
    seconds: Mapping[str, float]


def side(cell: Mapping[str, Any], name: str, phase: str) -> Side:
    """Return a measured cell's phase. Raises UsageError where it has no profile that explains it.

    Idle is the measured time less the time in which kernels ran: a profiler slows the host, so its
    own gaps would be too long.
    """
    told = section(cell, "profile", "phases", phase)
    wall_s = section(cell, "metrics").get(WALL[phase])
    if not told:
        why = section(cell, "profile").get("absent") or "perfkit profile takes one"
        raise UsageError(f"{name} has no profile of its {phase}: {why}")
    if not wall_s:
        raise UsageError(f"{name} has no measured {WALL[phase]}: verdict {cell.get('verdict')}")
    status = section(cell, "agreement").get("status")
    if status != "agrees":
        raise UsageError(f"{name}: its outputs were not shown to agree ({status}): nothing to set")
    shown, busy = told["window_s"] / wall_s, told["busy_s"] / wall_s
    if shown < LEAST_SHOWN:
        raise UsageError(
            f"{name}: the profile shows {shown:.0%} of the measured {wall_s * 1e3:.4g} ms of a "
            f"{phase}, and {LEAST_SHOWN:.0%} is needed: profile it again"
        )
    if busy > _MOST_BUSY:
        raise UsageError(
            f"{name}: under the profiler the kernels of a {phase} ran {busy:.0%} of the measured "
            f"{wall_s * 1e3:.4g} ms: it was not the same run; profile it again on a quiet machine"
        )
    classes = {kind: told["classes"][kind] for kind in CLASSES if kind in told["classes"]}
    return Side(name, wall_s, {**classes, IDLE: wall_s - told["busy_s"]}, shown)


def moved(a: Mapping[str, Any], b: Mapping[str, Any], phase: str) -> Moved:
    """Return what moved between two measured cells of one machine.

    Raises UsageError where they are of different work, or one explains nothing.
    """
    cases = a["case"], b["case"]
    unlike = [f"{name} {cases[0][name]} and {cases[1][name]}" for name in _ALIKE
              if cases[0][name] != cases[1][name]]  # fmt: skip
    if unlike:
        raise UsageError(f"not the same work: {', '.join(unlike)}")
    first, second = (side(cell, _named(cell["case"]), phase) for cell in (a, b))
    seconds = {
        kind: second.classes.get(kind, 0.0) - first.classes.get(kind, 0.0)
        for kind in (*CLASSES, IDLE)
        if kind in first.classes or kind in second.classes
    }
    return Moved(phase, first, second, seconds)


def _named(case: Mapping[str, Any]) -> str:
    return "/".join(str(case[name]) for name in ("backend", "precision", "attention"))
