"""Predicted against measured: the simulator on the arrivals that were, by calibrated times."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.batching import service
from perfkit.batching.record import OUTCOMES
from perfkit.batching.server.batcher import Answer
from perfkit.batching.server.document import answers
from perfkit.errors import UsageError
from perfkit.metrics import quantiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.batching.policies import Policy
    from perfkit.batching.server.document import Document, Setup
    from perfkit.cases import Case

METRICS = ("wait_s", "ttft_s", "tpot_s", "e2e_s")


@dataclass(frozen=True)
class Table:
    """Seconds from dispatch to the first token and to the end, by batch size; of size 0 they are 0.

    Both are (largest + 1,).
    """

    prefill_s: NDArray[np.float64]
    total_s: NDArray[np.float64]


def calibrated(timed: Sequence[Answer], most: int) -> Table:
    """Return the mean of each batch size: work that arrives adds up, so a queue sees means.

    A median would leave out the stalls that those who wait have to sit through.
    """
    prefill, total = np.zeros(most + 1), np.zeros(most + 1)
    for size in range(1, most + 1):
        of = [one for one in timed if one.size == size]
        if not of:
            raise UsageError(
                f"the calibration has no batch of {size}: expected one at least of each size up to "
                f"{most}; measure again"
            )
        prefill[size] = statistics.fmean(one.first_token_s - one.dispatch_s for one in of)
        total[size] = statistics.fmean(one.finish_s - one.dispatch_s for one in of)
    return Table(prefill, total)


def fitted(table: Table, case: Case) -> Table:
    """Return ``service.fit``'s model of a table. Raises UsageError for too few batch sizes."""
    steps = case.new_tokens - 1
    samples = [
        service.Sample(
            size, case.prompt_len, case.new_tokens, float(first),
            float(total - first) / steps if steps else None,
        )
        for size, (first, total) in enumerate(zip(table.prefill_s, table.total_s, strict=True))
        if size
    ]  # fmt: skip
    found = service.fit(samples)
    sizes = range(1, case.batch + 1)
    first = np.array([0.0, *(found.prefill_s(size, case.prompt_len) for size in sizes)])
    return Table(first, found.table(case.batch, case.prompt_len, case.new_tokens))


def measured(found: Sequence[Answer], new_tokens: int) -> Document:
    """Return the figures of what happened: of those served, and how many ended in which way."""
    done = [one for one in found if one.outcome == "served"]
    batches = len({one.batch for one in done})
    samples: dict[str, list[Any]] = {
        "wait_s": [one.dispatch_s - one.arrival_s for one in done],
        "ttft_s": [one.first_token_s - one.arrival_s for one in done],
        "tpot_s": [_per_step(one.finish_s - one.first_token_s, new_tokens) for one in done],
        "e2e_s": [one.finish_s - one.arrival_s for one in done],
    }
    return _figures(samples, [one.outcome for one in found], batches)


def predicted(
    policy: Policy, arrival_s: Sequence[float], table: Table, new_tokens: int
) -> Document:
    """Return the same figures of the simulator's, for these arrivals. Needs numba."""
    from perfkit.batching.dynamic import simulate

    run = simulate(policy, arrival_s, table.total_s)
    done = run.outcome == OUTCOMES.index("served")
    _, at, sizes = np.unique(run.batch[done], return_inverse=True, return_counts=True)
    size = sizes[at]
    decode = table.total_s[size] - table.prefill_s[size]
    samples = {
        "wait_s": run.wait_s[done],
        "ttft_s": run.wait_s[done] + table.prefill_s[size],
        "tpot_s": [_per_step(one, new_tokens) for one in decode],
        "e2e_s": run.finish_s[done] - run.arrival_s[done],
    }
    outcomes = [OUTCOMES[code] for code in run.outcome]
    return _figures({name: list(one) for name, one in samples.items()}, outcomes, len(sizes))


def compare(document: Document, setup: Setup) -> list[Document]:
    """Return each load's measured and predicted figures, and the relative errors.

    Predicted by the means of the calibration before it ("table"), by the fit to them ("fit", which
    may be absent with a reason), and by the means of the first load's calibration ("first"). "own"
    takes the means of the very batches that were served: no prediction, but it shows what the rule
    of batching alone is off. ``service`` sets the batches that ran beside the table at their sizes.
    """
    case = setup.case
    compared: list[Document] = []
    first: Table | None = None
    for one in document["loads"]:
        found = answers(one["rows"])
        table = calibrated(answers(one["calibration"]), case.batch)
        first = first or table
        own = _own(found, table)
        happened = measured(found, case.new_tokens)
        arrival_s = [answer.arrival_s for answer in found]
        told: Document = {"load": one["load"], "measured": happened}
        tables = {"table": table, "fit": _or_reason(table, case), "first": first, "own": own}
        for name, times in tables.items():
            if isinstance(times, str):
                told[name] = {"absent": times}
                continue
            expected = predicted(setup.policy, arrival_s, times, case.new_tokens)
            told[name] = {"predicted": expected, "error": _errors(expected, happened)}
        told["service"] = _service(found, table)
        told["sent_late_s"] = max(
            got - planned for got, planned in zip(arrival_s, one["planned_s"], strict=True)
        )
        compared.append(told)
    return compared


def _own(found: Sequence[Answer], table: Table) -> Table:
    """Return the means of the batches that were served; the table's for sizes that none had."""
    seen = {one.size for one in found if one.outcome == "served"}
    both = enumerate(zip(table.prefill_s, table.total_s, strict=True))
    lacking = [
        Answer(0.0, 0.0, float(first), float(total), -1, size, "served")
        for size, (first, total) in both
        if size not in seen
    ]
    return calibrated([*found, *lacking], len(table.total_s) - 1)


def _or_reason(table: Table, case: Case) -> Table | str:
    try:
        return fitted(table, case)
    except UsageError as error:
        return str(error)


def _per_step(seconds: float, new_tokens: int) -> float | None:
    return float(seconds) / (new_tokens - 1) if new_tokens > 1 else None


def _figures(samples: dict[str, list[Any]], outcomes: list[str], batches: int) -> Document:
    figures: Document = {name: _summary(values) for name, values in samples.items()}
    served = outcomes.count("served")
    figures["mean_batch"] = served / batches if batches else None
    figures["outcomes"] = {name: outcomes.count(name) for name in OUTCOMES if name in outcomes}
    return figures


def _summary(values: Sequence[float | None]) -> Document | None:
    there = [float(value) for value in values if value is not None]
    return {"mean": statistics.fmean(there), **quantiles(there)} if there else None


def _errors(expected: Document, happened: Document) -> Document:
    """Return predicted over measured, less 1; null where either is missing or 0 was measured."""
    errors: Document = {}
    for name in METRICS:
        pair = expected[name], happened[name]
        errors[name] = None if None in pair else {
            key: _relative(pair[0][key], value) for key, value in pair[1].items()
        }  # fmt: skip
    return errors


def _relative(expected: float | None, happened: float | None) -> float | None:
    return expected / happened - 1 if expected is not None and happened else None


def _service(found: Sequence[Answer], table: Table) -> Document:
    """Return the mean seconds of a batch of this replay, and the table's of the same batches."""
    ran = {one.batch: one for one in found if one.outcome == "served"}
    if not ran:
        return {"batches": 0}
    real = statistics.fmean(one.finish_s - one.dispatch_s for one in ran.values())
    by_table = statistics.fmean(float(table.total_s[one.size]) for one in ran.values())
    return {
        "batches": len(ran), "measured_s": real, "table_s": by_table,
        "error": _relative(by_table, real),
    }  # fmt: skip
