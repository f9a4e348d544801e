"""What a gate was asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfkit.results import gate
from perfkit.results.gate import Judgement, Rule
from perfkit.results.runs import METRICS


@dataclass(frozen=True)
class Asked:
    """What to judge, and by which rule; ``retries`` is how often an invalid run is made again."""

    cells: tuple[str, ...]
    names: tuple[str, ...] = METRICS
    rule: Rule = field(default_factory=Rule)
    retries: int = 1


@dataclass(frozen=True)
class Outcome:
    """The verdicts; ``problems`` say why the runs could not be compared at all.

    ``cell_runs`` counts cells measured: over the cells asked for it is what the gate cost.
    """

    judgements: tuple[Judgement, ...]
    runs: int
    cell_runs: int
    problems: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """As ``gate.exit_code`` has it; 3 also where not one figure was compared."""
        if all(judgement.change is None for judgement in self.judgements):
            return gate.NOT_JUDGED
        return gate.exit_code(judgement.verdict for judgement in self.judgements)
