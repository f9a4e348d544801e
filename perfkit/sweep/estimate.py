"""How long cells will take, roughly: nominal rates, corrected by what has been measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.architectures import ARCHITECTURES
from perfkit.measurement.reference import free_run
from perfkit.roofline import decode_work, prefill_work

if TYPE_CHECKING:
    from perfkit.cases import Case
    from perfkit.suite import Measuring

_PREFILLS = 4  # untimed ones: first run, agreement, two profiles
_UNKNOWN_S = 10.0


@dataclass(frozen=True)
class Rates:
    """What a device does at a guess: FLOP/s, bytes/s, and seconds that cannot be avoided."""

    flop_per_s: float
    bytes_per_s: float
    step_s: float  # a decode step of an eager model is bound by the host
    cell_s: float
    start_s: float


RATES = {
    "gpu": Rates(350e12, 3e12, step_s=0.025, cell_s=2.0, start_s=40.0),
    "cpu": Rates(0.15e12, 30e9, step_s=0.001, cell_s=0.5, start_s=15.0),
}


def cell_s(case: Case, what: Measuring) -> float:
    """Return the seconds that a cell may take, its warm-up and untimed runs included."""
    arch, rates = ARCHITECTURES.get(case.model), RATES[what.device]
    if arch is None:
        return _UNKNOWN_S
    prefill_s = prefill_work(case, arch).flops / rates.flop_per_s / case.tp
    steps = case.new_tokens - 1
    decode_s = max(
        decode_work(case, arch).bytes / rates.bytes_per_s / case.tp, steps * rates.step_s
    )
    runs = what.max_warmup + what.rounds
    untimed_s = _PREFILLS * prefill_s + 2 * free_run(case) * decode_s / max(steps, 1)
    return rates.cell_s + runs * (prefill_s + decode_s) + untimed_s


def words(seconds: float) -> str:
    """Return a rough time as people say it: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
