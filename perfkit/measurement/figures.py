"""From what was read off the clocks and meters to the figures of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit import metrics
from perfkit.machine.telemetry import THROTTLE_BITS, throttle_names
from perfkit.precisions import PRECISIONS
from perfkit.results.record import doubt
from perfkit.roofline import phase_utilisation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.architectures import Architecture
    from perfkit.cases import Case
    from perfkit.machine.telemetry import Window
    from perfkit.measurement.lab import Lab
    from perfkit.metrics import Trace


@dataclass(frozen=True)
class Measured:
    """The raw readings of all timed rounds, which took ``wall_s`` seconds in all.

    ``energy`` is joules before and after, ``cpu_wait`` seconds waited for a CPU, or reasons.
    """

    traces: tuple[Trace, ...]
    device_s: tuple[float, ...]
    host_s: tuple[float, ...]
    window: Window | None
    energy: tuple[float | str, float | str]
    cpu_wait: tuple[float | str, float | str]
    wall_s: float


def fill(
    case: Case, lab: Lab, arch: Architecture, measured: Measured, details: dict[str, Any]
) -> tuple[str, str | None]:
    """Write metrics, quantiles, samples and telemetry into ``details``; return the verdict."""
    absent: dict[str, str] = {}
    traces = measured.traces
    if not traces:
        details["absent"] = {"e2e_s": "not timed: pytest-benchmark is disabled"}
        return "ok", "not timed: pytest-benchmark is disabled"
    row: dict[str, Any] = dict(metrics.summarise(traces, case.batch, case.prompt_len))
    if case.new_tokens == 1:
        absent["tpot_s"] = absent["decode_tokens_per_s"] = "undefined at one new token"
    row |= _utilisation(case, lab, arch, row, details, absent)
    row |= _memory(case, lab, measured, details["memory"], absent)
    row |= _energy(case, measured, absent)
    phases = details["phases"]
    row |= {"load_s": phases["load_s"], "first_run_s": phases["first_run_s"]}
    row["compile_s"] = _compile_s(details, row, absent)
    details["metrics"] = row
    details["absent"] = absent | (measured.window.absent if measured.window else {})
    details["quantiles"] = metrics.latency_quantiles(traces)
    details["samples"] = {
        "ttft_s": [trace.ttft_s for trace in traces],
        "e2e_s": [trace.e2e_s for trace in traces],
        "itl_s": [list(trace.itl_s) for trace in traces],
        "device_s": list(measured.device_s),
        "host_e2e_s": list(measured.host_s),
    }
    details["telemetry"] = _telemetry(measured.window) | _contention(measured, details["absent"])
    bits = measured.window.throttle_bits if measured.window else None
    return doubt(
        throttled=throttle_names((bits or 0) & THROTTLE_BITS),
        host_s=sum(measured.host_s),
        device_s=sum(measured.device_s),
        spread=metrics.spread([trace.e2e_s for trace in traces]),
    )


def _utilisation(
    case: Case,
    lab: Lab,
    arch: Architecture,
    row: dict[str, Any],
    details: dict[str, Any],
    absent: dict[str, str],
) -> dict[str, float | None]:
    """Mfu of the prefill, mbu of the decode: each phase against what bounds it.

    The ceilings are one device's: several GPUs may do several times as much, while processes on a
    CPU share it.
    """
    devices = case.tp if lab.device == "cuda" else 1
    ceilings = lab.ceilings
    if ceilings is None or ceilings.verdict != "ok":
        why = "not measured" if ceilings is None else f"INVALID: {'; '.join(ceilings.reasons)}"
        absent["mfu"] = absent["mbu"] = f"ceilings {why}"
        return {"mfu": None, "mbu": None}
    products = PRECISIONS[case.precision].products
    gemm = ceilings.gemm_flop_per_s.get(products)
    details["ceilings"] = {
        "gemm_flop_per_s": gemm,
        "copy_bytes_per_s": ceilings.copy_bytes_per_s,
        "read_bytes_per_s": ceilings.read_bytes_per_s,
    }
    if gemm is None:
        absent["mfu"] = f"no GEMM ceiling for {products}"
    if case.new_tokens == 1:
        absent["mbu"] = "no decode at one new token"
    times = (row["ttft_s"], row["e2e_s"])
    return phase_utilisation(case, arch, times, (gemm, ceilings.copy_bytes_per_s), devices)


def _memory(
    case: Case, lab: Lab, measured: Measured, told: Mapping[str, Any], absent: dict[str, str]
) -> dict[str, int | None]:
    """Peaks: torch's own counters, or what an engine's process ``told``; and NVML's.

    NVML's is less what the devices held before the measured process began. Processes that tell of
    their own resident memory stand for perfkit's, which holds none of it.
    """
    row: dict[str, int | None] = dict.fromkeys(
        ("peak_allocated_bytes", "peak_reserved_bytes", "peak_device_bytes", "peak_rss_bytes")
    )
    if "device_before_bytes" in told:
        for name in ("peak_allocated_bytes", "peak_reserved_bytes"):
            row[name] = told.get(name)
            if row[name] is None:
                absent[name] = "the engine's process counts none: see peak_device_bytes"
    elif lab.device == "cuda":
        import torch

        row["peak_allocated_bytes"] = torch.cuda.max_memory_allocated()
        row["peak_reserved_bytes"] = torch.cuda.max_memory_reserved()
    else:
        absent["peak_allocated_bytes"] = absent["peak_reserved_bytes"] = (
            "torch counts no CPU memory: see peak_rss_bytes"
        )
    if measured.window is None:
        absent["peak_device_bytes"] = absent["peak_rss_bytes"] = "no sampler"
    else:
        row["peak_device_bytes"] = _less_earlier(
            measured.window.peak_device_bytes,
            lab.sampler.baseline_bytes(case.tp) if lab.sampler else None,
            told.get("device_before_bytes"),
        )
        row["peak_rss_bytes"] = measured.window.peak_rss_bytes
    if "peak_rss_bytes" in told:
        row["peak_rss_bytes"] = told["peak_rss_bytes"]
        absent.pop("peak_rss_bytes", None)
    return row


def _less_earlier(peak: int | None, first: int | None, before: int | None) -> int | None:
    """Return a peak over the session's ``first`` reading as one over the reading ``before``."""
    if peak is None or first is None or before is None:
        return peak
    return max(0, peak + first - before)


def _energy(case: Case, measured: Measured, absent: dict[str, str]) -> dict[str, float | None]:
    """Joules of the device over the timed rounds, per output token."""
    before, after = measured.energy
    if isinstance(before, str) or isinstance(after, str):
        absent["energy_j_per_token"] = str(before if isinstance(before, str) else after)
        return {"energy_j_per_token": None}
    tokens = len(measured.traces) * case.batch * case.new_tokens
    return {"energy_j_per_token": (after - before) / tokens}


def _compile_s(
    details: dict[str, Any], row: dict[str, Any], absent: dict[str, str]
) -> float | None:
    """Return the first run less a steady one of as many tokens: compiling and capturing."""
    if not details["engine"].get("compiled"):
        told = "compiled" in details["engine"]
        absent["compile_s"] = (
            "nothing is compiled" if told else "the engine does not tell what it compiles"
        )
        return None
    phases = details["phases"]
    steady_s = row["ttft_s"] + (phases["first_run_tokens"] - 1) * (row["tpot_s"] or 0.0)
    return max(0.0, float(phases["first_run_s"] - steady_s))


def _contention(measured: Measured, absent: dict[str, str]) -> dict[str, float | None]:
    """Return the share of the rounds' time in which the process waited for a CPU."""
    before, after = measured.cpu_wait
    if isinstance(before, str) or isinstance(after, str):
        absent["cpu_wait_share"] = str(after if isinstance(after, str) else before)
        return {"cpu_wait_share": None}
    return {"cpu_wait_share": (after - before) / measured.wall_s}


def _telemetry(window: Window | None) -> dict[str, Any]:
    if window is None:
        return {}
    return {
        "sm_clock_mhz": window.sm_clock_mhz,
        "mem_clock_mhz": window.mem_clock_mhz,
        "power_w": window.power_w,
        "temperature_c_max": window.temperature_c_max,
        "throttle_bits": window.throttle_bits,
        "samples": window.samples,
    }
