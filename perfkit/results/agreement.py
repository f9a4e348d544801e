"""Agreement before comparison: whether two arms' times may stand side by side."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# A cell may be this much worse than the eager arm that materialises scores at the same precision.
FACTOR = 2.0
# At fp32 that arm is the reference itself, with error 0: two right orders of summation differ by
# about 4e-7 (2 layers) to 1e-5 (32 layers), planted faults by over 1e-2.
FLOOR = 1e-4
# A free run may leave the reference's where two tokens are nearly alike: with errors of the logits
# of ``limit`` rms, a token this many times that below the best is no accident.
GAP_FACTOR = 8.0


@dataclass(frozen=True)
class Agreement:
    """How far a cell's teacher-forced logits are from the fp32 reference.

    ``relative_l2`` is the worst row's ||logits - reference|| / ||reference|| over all its steps;
    ``first_divergence`` the first step (0-based) at which a free-running row differs from the
    reference's own greedy tokens, None where none did. ``divergence_gap`` is how far the reference
    has the token chosen there below its own, in rms of its logits: the worst row's.
    """

    status: str
    relative_l2: float | None
    limit: float | None
    baseline_relative_l2: float | None
    steps: int
    rows: int
    first_divergence: int | None
    divergence_gap: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the result file."""
        return asdict(self)


def limit_for(baseline: float) -> float:
    """Return the largest relative L2 that agrees: twice the eager arm's own, or the fp32 floor."""
    return max(FACTOR * baseline, FLOOR)


def judge(
    relative_l2: float,
    baseline: float,
    *,
    steps: int,
    rows: int,
    first_divergence: int | None,
    divergence_gap: float | None = None,
) -> Agreement:
    """Compare with the limits; a NaN never agrees, nor does a free run that went astray."""
    limit = limit_for(baseline)
    near = math.isfinite(relative_l2) and relative_l2 <= limit
    most = GAP_FACTOR * limit
    astray = divergence_gap is not None and not divergence_gap <= most
    reason = None
    if near and astray:
        reason = (
            "the logits agree, but the free run leaves the reference's at token "
            f"{first_divergence} or later for one {divergence_gap:.3g} rms of the logits below, "
            f"over {most:.3g}"
        )
    elif not near:
        place = "none" if first_divergence is None else str(first_divergence)
        reason = (
            f"relative L2 of logits {relative_l2:.3g} is over {limit:.3g} "
            f"(first differing free-running token: {place})"
        )
    return Agreement(
        "agrees" if reason is None else "diverged", relative_l2, limit, baseline, steps, rows,
        first_divergence, divergence_gap, reason,
    )  # fmt: skip


def unchecked(reason: str) -> Agreement:
    """Return an agreement that nobody could check; ratios never use it."""
    return Agreement("unchecked", None, None, None, 0, 0, None, None, reason)


def first_difference(
    rows: Sequence[Sequence[int]], reference: Sequence[Sequence[int]]
) -> int | None:
    """Return the first step at which any row differs from its reference row, or None."""
    places = [
        step
        for row, right in zip(rows, reference, strict=True)
        for step, (a, b) in enumerate(zip(row, right, strict=False))
        if a != b
    ]
    return min(places) if places else None
