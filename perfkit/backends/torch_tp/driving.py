"""The ranks from perfkit's side: what runs here, how they start, what they tell of themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from perfkit.architectures import ARCHITECTURES
from perfkit.backends.apart.engine import ApartEngine
from perfkit.backends.apart.process import EngineProcess, Limits
from perfkit.backends.engine import ApartError, Loaded
from perfkit.backends.torch_common import implementation
from perfkit.backends.torch_tp.launch import command, environment
from perfkit.backends.torch_tp.logs import failure
from perfkit.machine import kernels
from perfkit.machine.identity import gpu_absence, gpus
from perfkit.machine.occupancy import used_in_all
from perfkit.machine.requirements import missing_gpus

if TYPE_CHECKING:
    from perfkit.architectures import Architecture
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

LIMITS = Limits()


def refused(case: Case, device: str) -> str | None:
    """Return why this machine cannot run the case on ``case.tp`` devices, or None."""
    if case.provider is not None:
        return (
            f"attention providers are checked on one device alone: at tp {case.tp} use nofmha or "
            f"fmha, not {case.attention}"
        )
    arch = ARCHITECTURES.get(case.model)
    reason = None if arch is None else indivisible(arch, case.tp)
    if reason is not None or device == "cpu":
        return reason
    found = gpus()
    missing = missing_gpus(found, gpu_absence() if not found else "", n=case.tp)
    return None if missing is None else f"tp {case.tp} {missing}"


def indivisible(arch: Architecture, tp: int) -> str | None:
    """Return which part of the model ``tp`` ranks cannot share evenly, or None."""
    for name in ("heads", "kv_heads", "intermediate", "vocab"):
        count = getattr(arch, name)
        if count % tp:
            return f"tp {tp} does not divide the model's {name}, {count}"
    return None


def named(case: Case, source: ModelSource, device: str) -> Loaded:
    """Return the source itself: each engine's ranks make their parts, and end with it.

    Raises ApartError for a local model that the ranks cannot share.
    """
    reason = indivisible(source.arch, case.tp)
    if reason is not None:
        raise ApartError("unsupported", reason)
    return Loaded(source, device)


def opened(loaded: Loaded, case: Case) -> ApartEngine:
    """Start the ranks and have them make the model. Raises ApartError for what keeps them."""
    before = used_in_all(gpu.uuid for gpu in gpus()[: case.tp])
    name, said = implementation(case)
    process, load_s = _started(loaded, case, name)

    def attention() -> dict[str, Any]:
        asked = {"new_tokens": min(2, case.new_tokens)}
        told, _ = process.call("kernels", LIMITS.call_s, asked)
        return kernels.describe(case.attention, *told["counts"])

    def memory() -> dict[str, object]:
        state, _ = process.call("state", LIMITS.call_s)
        # Where no GPU was used, nothing was in use before either.
        return {**state, **({"device_before_bytes": before} if loaded.device == "cuda" else {})}

    notes = {
        "cache": "dynamic",
        "compiled": False,
        **said,
        "ranks": case.tp,
        "process_group": "nccl" if loaded.device == "cuda" else "gloo",
        "ranks_load_s": load_s,
    }
    return ApartEngine(process, notes, attention, memory)


def _started(loaded: Loaded, case: Case, attention: str) -> tuple[EngineProcess, float]:
    """Return the ranks with their model made, and the seconds that took."""
    import torch

    source: ModelSource = loaded.model
    start = time.monotonic()
    threads = max(1, torch.get_num_threads() // case.tp)
    process = EngineProcess(
        command(loaded.device, case.tp), environment(loaded.device, threads), LIMITS, failure
    )
    asked = {
        "model": source.name,
        "path": None if source.path is None else str(source.path.resolve()),
        "seed": source.seed,
        "precision": case.precision,
        "attention": attention,
        "tp": case.tp,
    }
    try:
        process.call("load", LIMITS.load_s, asked)
    except BaseException:
        process.close()
        raise
    return process, time.monotonic() - start
