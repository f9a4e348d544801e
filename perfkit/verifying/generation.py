"""A generation cell's figures from its samples, by the formulas that measured them."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from perfkit import metrics
from perfkit.architectures import ARCHITECTURES
from perfkit.cases import Case
from perfkit.machine.telemetry import THROTTLE_BITS, throttle_names
from perfkit.reporting.frame import METRICS
from perfkit.results.record import DOUBTFUL, WITHOUT_FIGURES, doubt
from perfkit.results.store import cells_of, section
from perfkit.roofline import phase_utilisation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.results.store import Document
    from perfkit.verifying.findings import Findings

_LISTS = ("ttft_s", "e2e_s", "itl_s", "device_s", "host_e2e_s")
# The clock of the rounds and the token times are of the same rounds: further apart is another unit.
_CLOCKS_APART = 2.0


def verify_cells(document: Document, found: Findings) -> None:
    """Compare every cell of a result document."""
    session = section(document, "perfkit", "session")
    on_gpu = session.get("device") == "cuda"
    for name, cell in cells_of(document).items():
        try:
            mine = cell.get("session") in {None, session.get("id")}
            rounds = session.get("rounds") if mine else None
            _cell(name, cell, found, rounds=rounds, on_gpu=on_gpu)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            found.differ(name, "samples", "not readable", "numbers", str(error)[:200])


def _cell(
    name: str, cell: Mapping[str, Any], found: Findings, *, rounds: int | None, on_gpu: bool
) -> None:
    told, samples = section(cell, "metrics"), section(cell, "samples")
    if cell.get("verdict") in WITHOUT_FIGURES:
        if any(told.get(key) is not None for key in ("ttft_s", "e2e_s", "output_tokens_per_s")):
            found.differ(name, "metrics", "figures", "none", f"its verdict is {cell['verdict']}")
        return
    case = Case(**cell["case"])
    found.compare(name, "id", name, case.id)
    for key in sorted(set(told) - set(METRICS)):
        found.differ(name, key, told[key], "no such figure", "unknown name, or its unit is wrong")
    if "imported" in cell:
        found.skipped[name] = "imported: its statistics are another tool's"
    elif not any(samples.get(key) for key in _LISTS):
        found.skipped[name] = "it has no samples"
    elif _whole(name, case, samples, found, rounds):
        _figures(name, cell, case, found, on_gpu=on_gpu)


def _whole(
    name: str, case: Case, samples: Mapping[str, Any], found: Findings, rounds: int | None
) -> bool:
    """Compare how many samples there are; say whether figures can be made of them."""
    counts = {key: len(samples.get(key) or []) for key in _LISTS}
    most = max(counts.values())
    expected = most if rounds is None else rounds
    for key, count in counts.items():
        found.compare(name, f"samples.{key}: rounds", count, expected)
    for at, steps in enumerate(samples.get("itl_s") or []):
        if len(steps) != case.new_tokens - 1:
            found.differ(
                name, f"samples.itl_s[{at}]: steps", len(steps), case.new_tokens - 1,
                "a step between each two of the new tokens",
            )  # fmt: skip
    return counts["ttft_s"] == counts["itl_s"] == counts["e2e_s"] > 0


def _figures(
    name: str, cell: Mapping[str, Any], case: Case, found: Findings, *, on_gpu: bool
) -> None:
    samples, told = section(cell, "samples"), section(cell, "metrics")
    traces = [
        metrics.Trace(tuple(itertools.accumulate(steps, initial=first)))
        for first, steps in zip(samples["ttft_s"], samples["itl_s"], strict=True)
    ]
    for at, (trace, e2e) in enumerate(zip(traces, samples["e2e_s"], strict=True)):
        found.compare(name, f"samples.e2e_s[{at}]", e2e, trace.e2e_s)
    made = metrics.summarise(traces, case.batch, case.prompt_len)
    found.compare_all(name, told, made)
    found.made[name] = dict(made)
    again = metrics.latency_quantiles(traces)
    for key, stored in section(cell, "quantiles").items():
        made_up = set(stored) - set(again[key]) if isinstance(again.get(key), dict) else {key}
        for one in sorted(made_up - set(again)):
            found.differ(name, f"quantiles.{key}", one, "no such quantile", "nobody computes it")
    for key, value in again.items():
        stored = section(cell, "quantiles").get(key)
        if key == "method":
            found.compare(name, "quantiles.method", stored, value)
        else:
            found.compare_all(name, stored or {}, value, f"quantiles.{key}.")
    _utilisation(name, cell, case, made, found, on_gpu=on_gpu)
    _clocks(name, samples, [trace.e2e_s for trace in traces], found)
    _verdict(name, cell, traces, found)


def _utilisation(
    name: str,
    cell: Mapping[str, Any],
    case: Case,
    made: Mapping[str, float | None],
    found: Findings,
    *,
    on_gpu: bool,
) -> None:
    """Compare mfu and mbu, where the ceilings and the model's shape are at hand."""
    ceilings, arch = section(cell, "ceilings"), ARCHITECTURES.get(case.model)
    ttft, e2e = made["ttft_s"], made["e2e_s"]
    if arch is None or not ceilings or ttft is None or e2e is None:
        return
    roofs = (ceilings.get("gemm_flop_per_s"), ceilings.get("copy_bytes_per_s"))
    again = phase_utilisation(case, arch, (ttft, e2e), roofs, case.tp if on_gpu else 1)
    found.compare_all(name, section(cell, "metrics"), again)
    found.made[name] |= again


def _clocks(name: str, samples: Mapping[str, Any], e2e_s: Sequence[float], found: Findings) -> None:
    """Hold the rounds' clocks against the token times."""
    whole = sum(e2e_s)
    for key in ("device_s", "host_e2e_s"):
        total = sum(samples.get(key) or [])
        if total and whole and abs(math.log(total / whole)) > math.log(_CLOCKS_APART):
            found.differ(
                name, f"samples.{key}: total", total, whole,
                "over twice or under half of the token times: another unit?",
            )  # fmt: skip


def _verdict(
    name: str, cell: Mapping[str, Any], traces: Sequence[metrics.Trace], found: Findings
) -> None:
    """Compare the verdict with what spread, clocks and throttle bits say."""
    samples = section(cell, "samples")
    if cell["verdict"] not in DOUBTFUL | {"ok"} or not samples.get("device_s"):
        return
    bits = section(cell, "telemetry").get("throttle_bits") or 0
    verdict, _ = doubt(
        throttled=throttle_names(bits & THROTTLE_BITS),
        host_s=sum(samples["host_e2e_s"]),
        device_s=sum(samples["device_s"]),
        spread=metrics.spread([trace.e2e_s for trace in traces]),
    )
    found.compare(name, "verdict", cell["verdict"], verdict)
