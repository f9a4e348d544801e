"""What starting costs, and after how many tokens an arm has earned that back (pure)."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from perfkit.metrics import median

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMPORT = "import_"
FURTHER = "further_tokens"


@dataclass(frozen=True)
class Figures:
    """Of one kind of start, medians over its processes, in seconds.

    ``first_token_s``: from the process's start, of which ``imports_s`` are imports alone.
    ``startup_s``: all that starting costs, code that the second token needs included. Formula: end
    of the first generation - (N - 1) * tpot, from the process's start; with N = 1 first_token_s.
    ``startup_range_s``: its least and its most over the processes.
    ``ttft_s``, ``tpot_s``: steady, over all processes of the arm; tpot_s is None at N = 1.
    """

    first_token_s: float
    imports_s: float
    startup_s: float
    startup_range_s: tuple[float, float]
    ttft_s: float
    tpot_s: float | None


@dataclass(frozen=True)
class BreakEven:
    """Tokens after the first at which an arm has caught up; None where it does not."""

    tokens: int | None
    why: str

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        return asdict(self)


def figures(
    started: Sequence[Mapping[str, Any]], arm: Sequence[Mapping[str, Any]], new_tokens: int
) -> Figures:
    """Return the medians over ``started``, the processes of one kind; at least one.

    Steady figures are medians over ``arm``, cold and warm ones alike: they run the same code.
    """
    tpot_s = median([one["steady"]["tpot_s"] for one in arm])
    steps_s = 0.0 if tpot_s is None else (new_tokens - 1) * tpot_s
    phases = [one["phases"] for one in started]
    first = [sum(of.values()) - of[FURTHER] for of in phases]
    startups = [sum(of.values()) - steps_s for of in phases]
    imports = [sum(s for name, s in of.items() if name.startswith(_IMPORT)) for of in phases]
    return Figures(
        first_token_s=statistics.median(first),
        imports_s=statistics.median(imports),
        startup_s=statistics.median(startups),
        startup_range_s=(min(startups), max(startups)),
        ttft_s=statistics.median(one["steady"]["ttft_s"] for one in arm),
        tpot_s=tpot_s,
    )


def break_even(arm: Figures, eager: Figures) -> BreakEven:
    """Return after how many tokens ``arm``, started anew, is level with ``eager``, started anew.

    Formula: (startup_s - eager's startup_s) / (eager's tpot_s - tpot_s), rounded up; 0 where the
    arm starts sooner. None where the ranges of both starts overlap: they do not differ by more than
    processes do.
    """
    if arm.tpot_s is None or eager.tpot_s is None:
        return BreakEven(None, "one new token has no time per token")
    extra_s, gain_s = arm.startup_s - eager.startup_s, eager.tpot_s - arm.tpot_s
    if gain_s <= 0:
        sooner = ", though it starts sooner" if extra_s < 0 else ""
        return BreakEven(None, f"never: a token takes no less than torch-eager's{sooner}")
    if arm.startup_range_s[0] <= eager.startup_range_s[1] and (
        eager.startup_range_s[0] <= arm.startup_range_s[1]
    ):
        return BreakEven(None, "not known: their starts overlap, and each token takes less")
    if extra_s <= 0:
        return BreakEven(0, "starts sooner, and each token takes less")
    return BreakEven(math.ceil(extra_s / gain_s), "starts later, and each token takes less")
