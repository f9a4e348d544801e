"""The Result of a cell: a verdict always, figures where something was timed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perfkit.cases import Case

SCHEMA = 1
# Nothing was timed, or what was timed must not be used: no entry among the benchmarks.
WITHOUT_FIGURES = frozenset({"oom", "timeout", "crash", "unsupported", "diverged"})
# Timed, but no gate and no ratio accepts it.
# Rounds vary by more (standard deviation over mean of e2e): no figure to build on.
UNSTABLE_OVER = 0.10
DOUBTFUL = frozenset({"throttled", "clock_mismatch", "unstable"})
# These say that something is broken, so the test fails; the others are facts of the machine.
BROKEN = frozenset({"timeout", "crash", "diverged"})
VERDICTS = frozenset({"ok"}) | WITHOUT_FIGURES | DOUBTFUL


@dataclass(frozen=True)
class Result:
    """What became of one case on this machine; ``details`` are the JSON keys of docs/results.md."""

    case: Case
    verdict: str
    reason: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the result file."""
        return {
            "case": self.case.model_dump(),
            "verdict": self.verdict,
            "reason": self.reason,
            **self.details,
        }


def doubt(
    *,
    throttled: tuple[str, ...],
    host_s: float,
    device_s: float,
    spread: float | None,
    tolerance: float = 0.02,
) -> tuple[str, str | None]:
    """Return the verdict of a timed cell with its reason.

    ``throttled`` names thermal or hardware slowdowns seen; ``host_s`` and ``device_s`` are totals
    over the same rounds, in seconds; ``spread`` is the coefficient of variation of e2e.
    """
    if throttled:
        return "throttled", f"the GPU slowed itself down: {', '.join(throttled)}"
    if device_s > 0 and abs(host_s / device_s - 1) > tolerance:
        return "clock_mismatch", (
            f"host {host_s:.4f} s against device {device_s:.4f} s over the same rounds: "
            f"more than {tolerance:.0%} apart"
        )
    if spread is not None and spread > UNSTABLE_OVER:
        return "unstable", f"rounds vary by {spread:.1%} (sd over mean), over {UNSTABLE_OVER:.0%}"
    return "ok", None
