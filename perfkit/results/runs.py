"""From result files of runs to what a gate judges: figures, and what is not there."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perfkit import metrics
from perfkit.results import pairs
from perfkit.results.gate import INVALID, MISSING, NEW, SAME, Judgement, Rule, Series, is_suspect
from perfkit.results.pairs import Pairs
from perfkit.results.store import cells_of
from perfkit.results.validity import unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from perfkit.results.store import Document

    Reduce = Callable[[Sequence[float]], float]

T = TypeVar("T")
# Not measured because of what the machine is or has, not because something is wrong.
FACTS = frozenset({"unsupported", "oom"})
# What a gate judges unless told otherwise; a figure that a machine does not have is left out.
METRICS = ("ttft_s", "tpot_s", "output_tokens_per_s", "peak_allocated_bytes")
OF_ROUNDS = frozenset(
    {"ttft_s", "tpot_s", "e2e_s", "prefill_tokens_per_s", "decode_tokens_per_s",
     "output_tokens_per_s"}
)  # fmt: skip
HIGHER_IS_BETTER = frozenset({"output_tokens_per_s", "prefill_tokens_per_s", "decode_tokens_per_s"})
OF_RUNS = frozenset(
    {"peak_allocated_bytes", "peak_reserved_bytes", "peak_device_bytes", "peak_rss_bytes",
     "energy_j_per_token"}
)  # fmt: skip


@dataclass(frozen=True)
class RunSet:
    """A baseline: fresh-process runs, those that screen apart from those that confirm."""

    screening: tuple[Document, ...]
    confirming: tuple[Document, ...]

    @property
    def runs(self) -> tuple[Document, ...]:
        """All of them."""
        return self.screening + self.confirming


@dataclass(frozen=True)
class Compared(Generic[T]):
    """What can be judged of new runs, and what cannot: ``others`` are verdicts already."""

    figures: tuple[T, ...]
    others: tuple[Judgement, ...]


def compare(
    baseline: RunSet, new: Document, fresh: Sequence[Document], names: Sequence[str], rule: Rule
) -> Compared[Series]:
    """Set each cell's figures beside the baseline's; the fresh runs go to suspects alone."""
    return _gathered(
        _cells(baseline.runs, (new,), fresh),
        lambda cell, name: _series(cell, name, baseline, new, fresh, rule),
        names,
    )


def compare_pairs(
    screening: Sequence[tuple[Document, Document]],
    fresh: Sequence[tuple[Document, Document]],
    names: Sequence[str],
    rule: Rule,
) -> Compared[Pairs]:
    """Set each cell's figures of the new version beside the old one's, (old, new) pair by pair."""
    olds, news = [old for old, _ in screening], [new for _, new in screening]
    return _gathered(
        _cells(olds, news, [run for pair in fresh for run in pair]),
        lambda cell, name: _pairs(cell, name, screening, fresh, rule),
        names,
    )


def _gathered(
    cells: Iterable[tuple[str, Judgement | None]],
    figure: Callable[[str, str], T | None],
    names: Sequence[str],
) -> Compared[T]:
    """Return the figures of all cells, and a verdict for each cell that has none to compare."""
    gathered: list[T] = []
    others: list[Judgement] = []
    for cell, verdict in cells:
        if verdict is not None:
            others.append(verdict)
            continue
        try:
            found = [one for name in names if (one := figure(cell, name)) is not None]
        except ValueError as error:
            others.append(Judgement(cell, "", INVALID, str(error)))
            continue
        gathered += found
        if not found:
            others.append(Judgement(cell, "", INVALID, f"holds none of {', '.join(names)}"))
    return Compared(tuple(gathered), tuple(others))


def _pairs(
    cell: str,
    name: str,
    screening: Sequence[tuple[Document, Document]],
    fresh: Sequence[tuple[Document, Document]],
    rule: Rule,
) -> Pairs | None:
    """Return a figure's pairs; None where either version has none of it."""
    better = name in HIGHER_IS_BETTER
    screened, confirmed = (
        [both for pair in some if all(both := [_usable_rounds(run, cell, name) for run in pair])]
        for some in (screening, fresh)
    )
    if not screened:
        return None
    best: Reduce = max if better else min
    # By the screening alone: a suspect must stay one when its confirming pairs are there.
    reduce = steadiest([old for old, _ in screened], best)

    def cost(old: Sequence[float], new: Sequence[float]) -> float:
        below, above = (reduce(new), reduce(old)) if better else (reduce(old), reduce(new))
        return above / below if below else math.nan

    made = Pairs(
        cell,
        name,
        tuple(cost(*both) for both in screened),
        higher_is_better=better,
        statistic="best" if reduce is best else "median",
    )
    if not pairs.is_suspect(made, rule):
        return made
    return replace(made, fresh=tuple(cost(*both) for both in confirmed))


def _cells(
    stored: Sequence[Document], new: Sequence[Document], fresh: Sequence[Document]
) -> Iterator[tuple[str, Judgement | None]]:
    """Yield every cell, with its verdict where there is nothing to compare."""
    known = {cell: None for run in stored for cell in cells_of(run)}
    made = {cell: None for run in new for cell in cells_of(run)}
    for cell in dict.fromkeys([*known, *made]):
        if cell not in known:
            yield cell, Judgement(cell, "", NEW, "not in the baseline")
        elif cell not in made:
            yield cell, Judgement(cell, "", MISSING, "in the baseline, not in the new run")
        else:
            yield cell, _unmeasured(cell, stored, (*new, *fresh))


def _unmeasured(cell: str, stored: Sequence[Document], new: Sequence[Document]) -> Judgement | None:
    """Return the verdict on a cell that either side has no figures of, None where both have."""
    reason = next(filter(None, (unusable(run, cell) for run in new)), None)
    had = [unusable(run, cell) for run in stored if cell in cells_of(run)]
    never = all(had)
    if reason is None:
        return Judgement(cell, "", NEW, "the baseline has no figures of it") if never else None
    # The reason's numbers, such as free memory, differ from run to run; its verdict does not.
    verdict = reason.partition(":")[0]
    if never and verdict in FACTS and all(why and why.startswith(verdict) for why in had):
        return Judgement(cell, "", SAME, f"not measured, as in the baseline: {reason}")
    return Judgement(cell, "", INVALID, reason)


def _series(
    cell: str, name: str, baseline: RunSet, new: Document, fresh: Sequence[Document], rule: Rule
) -> Series | None:
    """Return a figure's series; None where the baseline has none of it."""
    screening, confirming = (
        [found for run in runs if (found := _usable_rounds(run, cell, name))]
        for runs in (baseline.screening, baseline.confirming)
    )
    mine = _usable_rounds(new, cell, name)
    if not screening and not confirming:
        return None
    better: Reduce = max if name in HIGHER_IS_BETTER else min
    reduce = steadiest((*screening, *confirming), better)
    made = Series(
        cell,
        name,
        tuple(map(reduce, screening)),
        tuple(map(reduce, confirming)),
        reduce(mine) if mine else math.nan,
        higher_is_better=name in HIGHER_IS_BETTER,
        statistic="best" if reduce is better else "median",
    )
    if not is_suspect(made, rule):
        return made
    again = [found for run in fresh if (found := _usable_rounds(run, cell, name))]
    return replace(made, fresh=tuple(map(reduce, again)))


def values_of(runs: Sequence[Document], cell: str, name: str) -> tuple[float, ...]:
    """Return a figure's value in each run that has it, by the statistic that is steadiest."""
    rounds = [found for run in runs if (found := _usable_rounds(run, cell, name))]
    reduce = steadiest(rounds, max if name in HIGHER_IS_BETTER else min)
    return tuple(map(reduce, rounds))


def steadiest(runs: Sequence[Sequence[float]], best: Reduce) -> Reduce:
    """Return the statistic over rounds, best or median, that varies less from run to run.

    Chosen from baseline runs alone; their standard deviation over mean decides.
    """

    def varies(reduce: Reduce) -> float:
        values = [reduce(rounds) for rounds in runs]
        return (metrics.spread(values) or 0.0) if all(map(math.isfinite, values)) else math.inf

    middle: Reduce = statistics.median
    return min((best, middle), key=varies)


def _usable_rounds(run: Document, cell_id: str, name: str) -> list[float]:
    cell = cells_of(run).get(cell_id)
    return rounds_of(cell, name) if cell is not None and unusable(run, cell_id) is None else []


def rounds_of(cell: Mapping[str, Any], name: str) -> list[float]:
    """Return a figure's value in each round, or the one of the run; [] where it has none.

    Raises ValueError where the cell's samples cannot be read.
    """
    try:
        if name not in OF_ROUNDS:
            value = (cell.get("metrics") or {}).get(name)
            return [] if value is None else [float(value)]
        case, samples = cell["case"], cell["samples"]
        traces = [
            metrics.Trace(tuple(itertools.accumulate(itls, initial=ttft)))
            for ttft, itls in zip(samples["ttft_s"], samples["itl_s"], strict=True)
        ]
        values = [metrics.summarise((t,), case["batch"], case["prompt_len"])[name] for t in traces]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its samples cannot be read ({error!r})") from None
    return [value for value in values if value is not None]
