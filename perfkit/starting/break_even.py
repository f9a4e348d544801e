"""What starting costs, and after how many tokens an arm has earned that back (pure)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from perfkit.metrics import median

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMPORT = "import_"
FIRST, FURTHER = "first_token", "further_tokens"


@dataclass(frozen=True)
class Figures:
    """Of one kind of start, medians over its processes, in seconds.

    ``first_token_s``: from the process's start, of which ``imports_s`` are imports alone.
    ``startup_s``: all that starting costs, code that the second token needs included. Formula: end
    of the first generation - (N - 1) * tpot, from the process's start; with N = 1 first_token_s.
    ``ttft_s``, ``tpot_s``: steady; tpot_s is None at N = 1.
    """

    first_token_s: float
    imports_s: float
    startup_s: float
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


def figures(processes: Sequence[Mapping[str, Any]], new_tokens: int) -> Figures:
    """Return the medians over processes of one kind; at least one."""
    made = [_of_one(one["phases"], one["steady"], new_tokens) for one in processes]

    def middle(values: Sequence[float | None]) -> float:
        found = median(values)
        assert found is not None  # noqa: S101  (each process has it)
        return found

    return Figures(
        first_token_s=middle([one.first_token_s for one in made]),
        imports_s=middle([one.imports_s for one in made]),
        startup_s=middle([one.startup_s for one in made]),
        ttft_s=middle([one.ttft_s for one in made]),
        tpot_s=median([one.tpot_s for one in made]),
    )


def _of_one(
    phases: Mapping[str, float], steady: Mapping[str, float | None], new_tokens: int
) -> Figures:
    total, further = sum(phases.values()), phases[FURTHER]
    tpot, ttft = steady["tpot_s"], steady["ttft_s"]
    assert ttft is not None  # noqa: S101  (a generation has a first token)
    return Figures(
        first_token_s=total - further,
        imports_s=sum(s for name, s in phases.items() if name.startswith(_IMPORT)),
        startup_s=total - further if tpot is None else total - (new_tokens - 1) * tpot,
        ttft_s=ttft,
        tpot_s=tpot,
    )


def break_even(arm: Figures, eager: Figures) -> BreakEven:
    """Return after how many tokens ``arm``, started anew, is level with ``eager``, started anew.

    Formula: (startup_s - eager's startup_s) / (eager's tpot_s - tpot_s), rounded up; 0 where the
    arm starts sooner.
    """
    if arm.tpot_s is None or eager.tpot_s is None:
        return BreakEven(None, "one new token has no time per token")
    extra_s, gain_s = arm.startup_s - eager.startup_s, eager.tpot_s - arm.tpot_s
    if gain_s <= 0:
        sooner = ", though it starts sooner" if extra_s < 0 else ""
        return BreakEven(None, f"never: a token takes no less than torch-eager's{sooner}")
    if extra_s <= 0:
        return BreakEven(0, "starts sooner, and each token takes less")
    return BreakEven(math.ceil(extra_s / gain_s), "starts later, and each token takes less")
