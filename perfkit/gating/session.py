"""One gate: runs that screen, runs that confirm, and the verdicts on all cells."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from perfkit.gating.fresh import InvalidRunError
from perfkit.results import gate, pairs, runs
from perfkit.results.gate import INVALID, Judgement
from perfkit.results.outcome import Asked, Outcome
from perfkit.results.validity import crowded, run_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.results.runs import RunSet
    from perfkit.results.store import Document

    # Measures these cells once, in a fresh process; None where no further run is to be had.
    Measure = Callable[[Sequence[str]], Document | None]
    Say = Callable[[str], None]


T = TypeVar("T")


@dataclass
class Checked:
    """Makes runs, each again where it must not be compared, and counts them."""

    measure: Measure
    problems_of: Callable[[Document], Sequence[str]]
    retries: int
    say: Say
    runs: int = 0
    cell_runs: int = 0

    def __call__(self, cells: Sequence[str]) -> Document | None:
        """Return a run to compare, None where none is to be had. Raises InvalidRunError."""
        problems: Sequence[str] = ()
        for _ in range(self.retries + 1):
            try:
                run = self.measure(cells)
            except InvalidRunError as error:
                run, problems = None, error.problems
            else:
                if run is None:
                    break
                problems = self.problems_of(run)
            self.runs, self.cell_runs = self.runs + 1, self.cell_runs + len(cells)
            if run is not None and not problems:
                return run
            self.say(f"run {self.runs} is not to be compared: {'; '.join(problems)}")
        if problems:
            raise InvalidRunError(problems)
        return None


def against_baseline(asked: Asked, baseline: RunSet, measure: Measure, say: Say) -> Outcome:
    """Screen with one run, then confirm what looks changed with fresh runs of those cells alone."""
    made = Checked(measure, lambda run: run_problems(run, baseline.runs), asked.retries, say)
    try:
        judgements = _stored(asked, baseline, made, say)
    except InvalidRunError as error:
        return _refused(asked, error, made.runs, made.cell_runs)
    return Outcome(tuple(judgements), made.runs, made.cell_runs)


def _stored(asked: Asked, baseline: RunSet, made: Checked, say: Say) -> list[Judgement]:
    new = made(asked.cells)
    if new is None:
        raise InvalidRunError(["no run was made"])
    found = runs.compare(baseline, new, (), asked.names, asked.rule)
    suspects = [one for one in found.figures if gate.is_suspect(one, asked.rule)]
    if suspects:
        stored = min(len(one.confirming) for one in suspects)
        count = gate.fresh_runs(stored, len(suspects), asked.rule)
        cells = _cells(suspects, count, "runs", say)
        fresh = _until_none(count, lambda: made(cells))
        found = runs.compare(baseline, new, fresh, asked.names, asked.rule)
    return [*gate.judge(found.figures, asked.rule), *found.others]


def against_version(asked: Asked, old: Measure, new: Measure, seed: int, say: Say) -> Outcome:
    """Screen with interleaved pairs of both versions, then confirm what looks changed with more.

    Which of a pair runs first is drawn from ``seed``.
    """
    order = random.Random(seed)  # noqa: S311  (an order)
    # Drift meets both sides of a pair alike, so no canary speaks against a run; a burst does not.
    sides = [Checked(one, _crowded, asked.retries, say) for one in (old, new)]

    def pair(cells: Sequence[str]) -> tuple[Document, Document] | None:
        first = order.randrange(2)
        made = {side: sides[side](cells) for side in (first, 1 - first)}
        before, after = made[0], made[1]
        return None if before is None or after is None else (before, after)

    def cost() -> tuple[int, int]:
        return sum(side.runs for side in sides), sum(side.cell_runs for side in sides)

    try:
        judgements = _interleaved(asked, pair, say)
    except InvalidRunError as error:
        return _refused(asked, error, *cost())
    return Outcome(tuple(judgements), *cost())


def _interleaved(
    asked: Asked,
    pair: Callable[[Sequence[str]], tuple[Document, Document] | None],
    say: Say,
) -> list[Judgement]:
    screening = _until_none(pairs.SCREENING, lambda: pair(asked.cells))
    found = runs.compare_pairs(screening, (), asked.names, asked.rule)
    suspects = [one for one in found.figures if pairs.is_suspect(one, asked.rule)]
    if suspects:
        count = pairs.needed(len(suspects), asked.rule)
        cells = _cells(suspects, count, "pairs of runs", say)
        fresh = _until_none(count, lambda: pair(cells))
        found = runs.compare_pairs(screening, fresh, asked.names, asked.rule)
    return [*pairs.judge(found.figures, asked.rule), *found.others]


def _crowded(run: Document) -> list[str]:
    busy = crowded(run)
    return [] if busy is None else [busy]


def _cells(
    suspects: Sequence[gate.Series] | Sequence[pairs.Pairs], count: int, what: str, say: Say
) -> tuple[str, ...]:
    cells = tuple(dict.fromkeys(one.cell for one in suspects))
    say(f"{len(suspects)} figures of {len(cells)} cells look changed: {count} {what} confirm")
    return cells


def _until_none(count: int, make: Callable[[], T | None]) -> list[T]:
    made: list[T] = []
    while len(made) < count and (one := make()) is not None:
        made.append(one)
    return made


def _refused(asked: Asked, error: InvalidRunError, made: int, cell_runs: int) -> Outcome:
    judgements = tuple(Judgement(cell, "", INVALID, str(error)) for cell in asked.cells)
    return Outcome(judgements, made, cell_runs, error.problems)
