"""Fused attention ablated: cells that differ in it alone, paired within a run. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import metrics
from perfkit.machine.kernels import attention_class
from perfkit.results.gate import CONFIDENCE, above
from perfkit.results.store import cells_of, section
from perfkit.results.validity import machine_key, settings, unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from perfkit.results.store import Document

FIGURES = (
    "ttft_s", "tpot_s", "e2e_s", "output_tokens_per_s", "peak_allocated_bytes",
)  # fmt: skip
PHASES = ("prefill", "decode")
_PLAIN, _UNFUSED = "nofmha", "materialised"
# What is often said of fused attention, less a fifth of it: "about".
QUOTED = "about 30 % lower latency per token, about 1.4 x tokens/s from fused attention"
_TPOT_AT_MOST, _RATE_AT_LEAST = -0.24, 1.32


@dataclass(frozen=True)
class Change:
    """A figure's change from nofmha to the fused arm: the median over runs of ratio - 1.

    ``interval`` is its 95 % interval over runs, None for a single run.
    """

    value: float
    interval: tuple[float, float] | None
    runs: int


def _decided(change: Change, holds: Callable[[float], bool]) -> bool | None:
    """Return what the whole interval says, the value where there is no interval; else None."""
    found = {holds(end) for end in change.interval or (change.value,)}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class Pair:
    """Two arms that differ in attention alone, on one machine.

    ``actual`` has, for each phase, the attention classes that ran: nofmha's, then the fused arm's.
    ``refused`` says why there are no ``changes``; ``prefill_share`` is nofmha's ttft over its e2e,
    ``decode_mbu`` the share of the copy ceiling at which it decoded, None where no run measured it.
    """

    machine: str
    plain: str
    fused: str
    case: Mapping[str, Any]
    actual: Mapping[str, tuple[str, str]]
    changes: Mapping[str, Change]
    prefill_share: float | None
    decode_mbu: float | None
    refused: str | None = None

    @property
    def lower_latency(self) -> bool | None:
        """Whether latency per token fell by about what is quoted; None where that is open."""
        change = self.changes.get("tpot_s")
        return None if change is None else _decided(change, lambda x: x <= _TPOT_AT_MOST)

    @property
    def more_tokens(self) -> bool | None:
        """Whether token/s rose by about what is quoted; None where that is open."""
        change = self.changes.get("output_tokens_per_s")
        return None if change is None else _decided(change, lambda x: 1 + x >= _RATE_AT_LEAST)


def ablate(documents: Sequence[Document]) -> list[Pair]:
    """Return every pair of the documents' cells; each document is a run, arms are paired within it.

    Runs of different machines are never put together. Sorted by machine, backend, model, shape.
    """
    machines = dict.fromkeys(machine_key(document) for document in documents)
    made = []
    for machine in machines:
        runs = [document for document in documents if machine_key(document) == machine]
        made += [_pair(machine, plain, fused, runs) for plain, fused in _partners(runs)]
    return sorted(made, key=_place)


def _place(pair: Pair) -> tuple[Any, ...]:
    names = ("backend", "model", "precision", "batch", "prompt_len", "new_tokens", "attention")
    return (pair.machine, *(pair.case[name] for name in names))


def _partners(runs: Sequence[Document]) -> Iterator[tuple[str, str]]:
    """Yield ids of cells with and without fused attention that are alike in all else."""
    cells = {name: cell["case"] for run in runs for name, cell in cells_of(run).items()}
    plain = {_rest(case): name for name, case in cells.items() if case["attention"] == _PLAIN}
    for name, case in cells.items():
        if case["attention"] != _PLAIN and _rest(case) in plain:
            yield plain[_rest(case)], name


def _rest(case: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((key, value) for key, value in case.items() if key != "attention"))


def _pair(machine: str, plain: str, fused: str, runs: Sequence[Document]) -> Pair:
    both = _runs_of_both(plain, fused, runs)
    usable = [run for run in both if not (unusable(run, plain) or unusable(run, fused))]
    if len(usable) == 1:
        usable = [run for run in usable if not (_unfit(run, plain) or _unfit(run, fused))]
    case = next(cells_of(run)[fused]["case"] for run in runs if fused in cells_of(run))
    actual = {phase: _classes(phase, plain, fused, usable or both) for phase in PHASES}
    refused = _not_alike(both) or _refusal(plain, fused, both, usable)
    changes: dict[str, Change] = {}
    share = mbu = None
    if refused is None:
        arms = [(cells_of(run)[plain], cells_of(run)[fused]) for run in usable]
        found = {name: _change(name, arms) for name in FIGURES}
        changes = {name: change for name, change in found.items() if change is not None}
        told = [section(cell, "metrics") for cell, _ in arms]
        share = metrics.median(
            [one["ttft_s"] / one["e2e_s"] for one in told if one.get("ttft_s") and one.get("e2e_s")]
        )
        mbu = metrics.median([one.get("mbu") for one in told])
    return Pair(machine, plain, fused, case, actual, changes, share, mbu, refused)


def _runs_of_both(plain: str, fused: str, runs: Sequence[Document]) -> list[Document]:
    """Return the runs that measured both arms in one session; a copy of a file is no second run."""
    found: dict[Any, Document] = {}
    for at, run in enumerate(runs):
        arms = [cells_of(run).get(name) for name in (plain, fused)]
        sessions = {arm.get("session") for arm in arms if arm is not None}
        if None not in arms and len(sessions) == 1:
            found[next(iter(sessions)) or at] = run
    return list(found.values())


def _not_alike(runs: Sequence[Document]) -> str | None:
    """Say why runs are no replicates: of several commits, or measured in several ways."""
    commits = {str(section(run, "commit_info").get("id") or "unknown")[:12] for run in runs}
    if len(commits) > 1:
        return f"runs of {len(commits)} commits ({', '.join(sorted(commits))}): give those of one"
    ways = {tuple(settings(run).values()) for run in runs}
    return f"runs measured in {len(ways)} ways: give those of one" if len(ways) > 1 else None


def _unfit(run: Document, cell_id: str) -> str | None:
    """Say why an arm of a lone run is not to be compared, also where its rounds vary too much.

    Of several runs the interval tells that.
    """
    cell = cells_of(run)[cell_id]
    if cell.get("verdict") == "unstable":
        return f"unstable: {cell.get('reason')}"
    return unusable(run, cell_id)


def _refusal(
    plain: str, fused: str, both: Sequence[Document], usable: Sequence[Document]
) -> str | None:
    """Say why a pair's figures must not stand side by side."""
    if not both:
        return "no session measured both arms"
    if not usable:
        arms = ((name, _unfit(both[0], name)) for name in (plain, fused))
        return "; ".join(f"{_attention(name)}: {reason}" for name, reason in arms if reason)
    kinds = {class_of(cells_of(run)[plain], "prefill") for run in usable} - {None, _UNFUSED}
    if kinds:
        return f"nofmha ran {', '.join(sorted(map(str, kinds)))}: it is not without fused attention"
    for run in usable:
        kernels = [[_kernels(cells_of(run)[name], phase) for phase in PHASES]
                   for name in (plain, fused)]  # fmt: skip
        if kernels[0] == kernels[1]:
            ran = sorted({name for phase in kernels[0] for name in phase})
            return f"both arms ran the same attention kernels: {', '.join(ran) or 'none known'}"
    return None


def class_of(cell: Mapping[str, Any], phase: str) -> str | None:
    """Return the kind of attention by the kernels' names; what a file says where it has none.

    Stored classes are of the rules of their time.
    """
    told = section(cell, "attention", phase)
    names = told.get("attention_kernels")
    kind: str | None = attention_class(names) if names else told.get("class")
    return kind


def _kernels(cell: Mapping[str, Any], phase: str) -> frozenset[str]:
    return frozenset(section(cell, "attention", phase, "attention_kernels"))


def _attention(cell_id: str) -> str:
    return cell_id.split("/")[3]


def _classes(phase: str, plain: str, fused: str, runs: Sequence[Document]) -> tuple[str, str]:
    def ran(name: str) -> str:
        found = (class_of(cells_of(run)[name], phase) for run in runs)
        return " or ".join(dict.fromkeys(kind for kind in found if kind)) or "not known"

    return ran(plain), ran(fused)


def _change(
    name: str, arms: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> Change | None:
    """Return a figure's change; None where no run has it in both arms."""
    values = (
        (section(cell, "metrics").get(name), section(other, "metrics").get(name))
        for cell, other in arms
    )
    ratios = [after / before for before, after in values if before and after]
    if not ratios:
        return None
    return change_of(ratios)


def change_of(ratios: Sequence[float]) -> Change:
    """Return the change that these ratios, one a run, tell of."""
    ends = interval_over_runs(ratios)
    around = None if ends is None else (ends[0] - 1, ends[1] - 1)
    return Change(statistics.median(ratios) - 1, around, len(ratios))


def interval_over_runs(values: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's 95 % interval of the runs' middle, of the logarithms of positive values.

    None of a single run.
    """
    if len(values) < 2:
        return None
    half = above((1 + CONFIDENCE) / 2, values, math.inf)
    middle = statistics.geometric_mean(values)
    return middle * math.exp(-half), middle * math.exp(half)
