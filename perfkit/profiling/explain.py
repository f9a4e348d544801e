"""Why one arm is faster: the time that moved between two, by kernel class. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.metrics import spread
from perfkit.profiling.classes import CLASSES
from perfkit.profiling.phase_times import CPU
from perfkit.results.record import UNSTABLE_OVER
from perfkit.results.store import section
from perfkit.results.validity import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Mapping

# The measured time in which no kernel ran; on a CPU, in which no operator did: Python, mostly.
IDLE, OUTSIDE = "idle gaps", "outside operators"
# A profile that shows less of the measured time, or fewer of the launches, explains nothing.
LEAST_SHOWN = 0.9
# Kernels may take so much longer under a profiler than the whole phase did without.
_MOST_BUSY = 1.1
# The measured time of one call of a phase.
WALL = {"prefill": "ttft_s", "decode": "tpot_s"}
_ALIKE = ("model", "batch", "prompt_len", "tp")


@dataclass(frozen=True)
class Side:
    """One arm's phase: ``wall_s`` was measured without a profiler, ``classes`` with one.

    ``classes`` are seconds of one call, the rest (IDLE, or OUTSIDE on a CPU) among them. They add
    up to ``wall_s``. ``window_s`` is the profile's own, which a profiler makes longer;
    ``launches`` of one call, ``counted`` those that the cell's count of kernels had, None without
    one. The profile has so many ``calls``.
    """

    name: str
    wall_s: float
    classes: Mapping[str, float]
    window_s: float
    launches: float
    counted: int | None
    calls: int

    @property
    def rest(self) -> str:
        """What the time without kernels or operators is called."""
        return OUTSIDE if OUTSIDE in self.classes else IDLE


@dataclass(frozen=True)
class Moved:
    """What moved from A to B in one call of ``phase``; ``seconds`` by class, B less A.

    The classes are in the order of CLASSES, the rest last; they add up to ``b.wall_s - a.wall_s``.
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
    _check_steady(cell, name, phase)
    status = section(cell, "agreement").get("status")
    if status != "agrees":
        raise UsageError(f"{name}: its outputs were not shown to agree ({status}): nothing to set")
    profile = section(cell, "profile")
    told = section(profile, "phases", phase)
    if not told:
        why = profile.get("absent") or "perfkit profile takes one"
        raise UsageError(f"{name} has no profile of its {phase}: {why}")
    wall_s = _number(section(cell, "metrics"), WALL[phase], name)
    classes = _classes(told, name)
    rest = OUTSIDE if profile.get("device") == CPU else IDLE
    found = Side(
        name,
        wall_s,
        {**classes, rest: wall_s - sum(classes.values())},
        _number(told, "window_s", name),
        _number(told, "launches", name),
        section(cell, "attention", phase).get("launches"),
        int(_number(told, "calls", name)),
    )
    _check_shown(found, phase)
    return found


def _check_steady(cell: Mapping[str, Any], name: str, phase: str) -> None:
    """Refuse a cell whose figures are not to be used, or whose rounds vary in this phase.

    ``unstable`` tells of the whole generation: what varied may have been the other phase.
    """
    verdict = cell.get("verdict")
    if verdict not in ACCEPTED:
        raise UsageError(f"{name} is {verdict}: {cell.get('reason')}; measure it again")
    samples = section(cell, "samples")
    if phase == "prefill":
        rounds = samples.get("ttft_s") or []
    else:
        rounds = [fmean(steps) for steps in samples.get("itl_s") or [] if steps]
    varies = spread(rounds)
    if varies is None and verdict != "ok":
        raise UsageError(f"{name} is {verdict}: {cell.get('reason')}; measure it again")
    if varies is not None and varies > UNSTABLE_OVER:
        raise UsageError(
            f"{name}: the {phase} of its rounds varies by {varies:.1%} (sd over mean), over "
            f"{UNSTABLE_OVER:.0%}; measure it again"
        )


def _classes(told: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return the seconds of each class, in the order of CLASSES, as they add up."""
    found = section(told, "classes")
    strange = sorted(set(found) - set(CLASSES))
    if strange:
        raise UsageError(
            f"{name}: its profile has the class {strange[0]!r}, which is none of "
            f"{', '.join(CLASSES)}: profile it again"
        )
    classes = {kind: _number(found, kind, name) for kind in CLASSES if kind in found}
    busy_s = _number(told, "busy_s", name)
    if not math.isclose(sum(classes.values()), busy_s, rel_tol=1e-6):
        raise UsageError(
            f"{name}: its profile's classes add up to {sum(classes.values())} s, and busy_s is "
            f"{busy_s}: damaged; profile it again"
        )
    return classes


def _check_shown(found: Side, phase: str) -> None:
    """Refuse a profile that shows too little of what was measured, or another run."""
    wall_s, name = found.wall_s, found.name
    busy_s = wall_s - found.classes[found.rest]
    measured = f"the measured {wall_s * 1e3:.4g} ms of a {phase}"
    again = f"and {LEAST_SHOWN:.0%} is needed: profile it again"
    if found.rest == OUTSIDE:
        if busy_s < LEAST_SHOWN * wall_s:
            raise UsageError(
                f"{name}: operators account for {busy_s / wall_s:.0%} of {measured}, the rest is "
                f"Python and no kernel's; {LEAST_SHOWN:.0%} is needed: take a larger model"
            )
    elif found.window_s < LEAST_SHOWN * wall_s:
        raise UsageError(
            f"{name}: the profile's window is {found.window_s / wall_s:.0%} of {measured}, {again}"
        )
    elif found.counted and found.launches < LEAST_SHOWN * found.counted:
        raise UsageError(
            f"{name}: the profile has {found.launches:g} of the {found.counted} launches that were "
            f"counted in a {phase}, {again}"
        )
    if busy_s > _MOST_BUSY * wall_s:
        raise UsageError(
            f"{name}: under the profiler the kernels of a {phase} ran {busy_s / wall_s:.0%} of "
            f"{measured}: another run; profile it again on a quiet machine"
        )


def _number(told: Mapping[str, Any], key: str, name: str) -> float:
    value = told.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"{name}: {key} is {value!r}, expected a number over 0")
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
    titles = [_named(case) for case in cases]
    if titles[0] == titles[1]:
        titles = [f"{titles[0]} ({letter})" for letter in "AB"]
    first, second = (side(cell, title, phase) for cell, title in zip((a, b), titles, strict=True))
    seconds = {
        kind: second.classes.get(kind, 0.0) - first.classes.get(kind, 0.0)
        for kind in (*CLASSES, IDLE, OUTSIDE)
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
