"""Warm-up: run until two rounds agree, and say so when they never did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE = 0.02


@dataclass(frozen=True)
class Warmup:
    """How warm-up went: seconds of each round, and whether the last two agreed."""

    seconds: tuple[float, ...]
    steady: bool
    cap: int
    tolerance: float = TOLERANCE

    def to_json(self) -> dict[str, object]:
        """Return plain values for the result file."""
        return {"rounds": len(self.seconds), **asdict(self), "seconds": list(self.seconds)}


def warm_up(once: Callable[[int], float], cap: int) -> Warmup:
    """Run ``once(k)``, which returns seconds, until two in a row differ by under 2 %.

    At most ``cap`` rounds; a capped warm-up is reported, not hidden.
    """
    seconds: list[float] = []
    while len(seconds) < cap:
        seconds.append(once(len(seconds)))
        if is_steady(seconds):
            return Warmup(tuple(seconds), steady=True, cap=cap)
    return Warmup(tuple(seconds), steady=False, cap=cap)


def is_steady(seconds: list[float], tolerance: float = TOLERANCE) -> bool:
    """Whether the last two rounds agree within ``tolerance``."""
    if len(seconds) < 2:
        return False
    before, last = seconds[-2:]
    return abs(last - before) <= tolerance * before
