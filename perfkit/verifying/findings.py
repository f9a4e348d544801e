"""What a check of a result file finds: figures that match, that do not, and that cannot be told."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# Stored figures went through the same formulas; a sum in another order differs by less than this.
RELATIVE = 1e-9
_UNITS = {
    1e3: "1,000 times: ms for s?", 1e-3: "a thousandth: s for ms?",
    1e6: "a million times: µs for s?", 1e-6: "a millionth: s for µs?",
    1e9: "10^9 times: ns for s?", 1e-9: "10^-9: s for ns?",
    100.0: "100 times: a percentage for a share?", 0.01: "a hundredth: a share for a percentage?",
}  # fmt: skip


@dataclass(frozen=True)
class Mismatch:
    """A figure whose stored value is not what the samples give."""

    cell: str
    figure: str
    stored: Any
    recomputed: Any
    note: str = ""


@dataclass
class Findings:
    """What was compared.

    ``skipped`` has why a cell's figures could not be made again, ``notes`` what to know of figures
    that match, and of how many, ``made`` each cell's recomputed metrics.
    """

    compared: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    def compare(self, cell: str, figure: str, stored: Any, recomputed: Any) -> None:
        """Count one figure, and keep it where the two differ."""
        self.compared += 1
        if not same(stored, recomputed):
            self.mismatches.append(
                Mismatch(cell, figure, stored, recomputed, unit_note(stored, recomputed))
            )

    def compare_all(
        self, cell: str, stored: Mapping[str, Any], recomputed: Mapping[str, Any], head: str = ""
    ) -> None:
        """Compare every figure that was recomputed."""
        for name, value in recomputed.items():
            self.compare(cell, f"{head}{name}", stored.get(name), value)

    def differ(self, cell: str, figure: str, stored: Any, expected: Any, note: str) -> None:
        """Count one figure that is wrong by another rule than equality."""
        self.compared += 1
        self.mismatches.append(Mismatch(cell, figure, stored, expected, note))


def same(stored: Any, recomputed: Any) -> bool:
    """Say whether two values are one, floats up to rounding."""
    if _is_number(stored) and _is_number(recomputed):
        # A difference of two times carries their rounding, so that small ones differ by more.
        return math.isclose(stored, recomputed, rel_tol=RELATIVE, abs_tol=1e-12)
    return type(stored) is type(recomputed) and bool(stored == recomputed)


def unit_note(stored: Any, recomputed: Any) -> str:
    """Say of which unit a stored number looks like, where it is off by a round factor."""
    if not (_is_number(stored) and _is_number(recomputed)) or not recomputed or not stored:
        return ""
    quotient = stored / recomputed
    return next((words for factor, words in _UNITS.items()
                 if math.isclose(quotient, factor, rel_tol=1e-6)), "")  # fmt: skip


def _is_number(value: Any) -> bool:
    """Tell a number that a float can hold: JSON may hold larger integers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 1 << 1000
    return isinstance(value, float)
