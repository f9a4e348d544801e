"""What both TensorRT-LLM backends share: what runs here, which config a case takes, its engine."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.backends.apart.engine import ApartEngine
from perfkit.backends.apart.process import EngineProcess, Limits
from perfkit.backends.engine import ApartError
from perfkit.backends.tensorrt_llm import logs
from perfkit.backends.tensorrt_llm.config import PRECISIONS, EngineConfig, for_case
from perfkit.backends.tensorrt_llm.launch import command, environment
from perfkit.inputs import checkpoint
from perfkit.machine.identity import gpu_absence, gpus
from perfkit.machine.occupancy import used_in_all
from perfkit.machine.requirements import missing_gpus
from perfkit.paths import cache, engine_configs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

    from perfkit.backends.tensorrt_llm.arguments import Arguments
    from perfkit.backends.tensorrt_llm.versions import Api
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

CONFIGS = "PERFKIT_ENGINE_CONFIGS"
_NEEDS = {"bf16": (8, 0), "fp8": (8, 9)}
LIMITS = Limits()


def unsupported(api: Api | str, case: Case, device: str) -> str | None:
    """Return why this machine cannot run the case by this API, or None."""
    if case.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        return f"{case.precision} is for PyTorch's arms: TensorRT-LLM's are built in {known}"
    if isinstance(api, str):
        return api
    if device != "cuda":
        return "TensorRT-LLM needs a GPU"
    if case.provider is not None:
        return f"TensorRT-LLM chooses its own kernels: nofmha or fmha, not {case.attention}"
    found = gpus()
    absent = gpu_absence() if not found else ""
    reason = missing_gpus(found, absent, n=case.tp, min_cc=_NEEDS.get(case.precision))
    return None if reason is None else f"{case.precision} at tp {case.tp} {reason}"


def config_for(case: Case) -> EngineConfig:
    """Return the first config that fits: named ones, then those that come along, then its own.

    PERFKIT_ENGINE_CONFIGS names files, separated as in PATH.
    """
    configs = _configs(os.environ.get(CONFIGS, ""))
    return next((config for config in configs if config.fits(case)), None) or for_case(case)


@functools.cache
def _configs(named: str) -> tuple[EngineConfig, ...]:
    paths = [Path(one) for one in named.split(os.pathsep) if one]
    return tuple(EngineConfig.read(path) for path in (*paths, *engine_configs().values()))


def uncheckable(config: EngineConfig, source: ModelSource) -> str | None:
    """Return why outputs cannot be compared: made-up weights are nobody else's."""
    if source.path is None and config.weights == "dummy":
        return "dummy weights: TensorRT-LLM makes up its own, so no outputs can be compared"
    return None


def model_folder(config: EngineConfig, source: ModelSource, device: str) -> Path:
    """Return the folder of a config's model, made if the cache has none."""
    return checkpoint.folder(
        source,
        device,
        cache(),
        dummy=config.weights == "dummy",
        fp8=config.precision == "fp8",
    )


def started(arguments: Arguments, pool: int) -> tuple[EngineProcess, float]:
    """Start a worker that has loaded these; return it and the seconds that took.

    Raises ApartError for what keeps it from loading, and for a KV pool smaller than ``pool``.
    """
    start = time.monotonic()
    process = EngineProcess(
        command(arguments.llm["tensor_parallel_size"]), environment(), LIMITS, logs.failure
    )
    try:
        process.call("load", LIMITS.load_s, {"arguments": arguments.to_json()})
        _whole_pool(process.read_log(), pool)
    except ApartError as error:
        told = logs.mismatch(process.read_log())
        process.close()
        if told is not None:
            raise ApartError("crash", f"the engine fits another version or GPU: {told}") from None
        raise error from None
    except BaseException:
        process.close()
        raise
    return process, time.monotonic() - start


def _whole_pool(log: str, needed: int) -> None:
    """Raise ApartError where free memory has cut the KV pool: sequences would wait for room."""
    found = logs.kv_tokens(log)
    if found is not None and found < needed:
        raise ApartError("oom", f"the KV pool holds {found} tokens, the case needs {needed}")


def opened(
    arguments: Arguments,
    pool: int,
    case: Case,
    notes: Mapping[str, object],
    seen_by: str | None,
    logits: Callable[[torch.Tensor, torch.Tensor], Iterator[torch.Tensor]] | None = None,
) -> ApartEngine:
    """Return the engine of a case: its worker started, and what the log says as it is asked.

    ``seen_by`` says what shows that the attention asked for is the engine's, None if nothing does.
    """
    before = used_in_all(gpu.uuid for gpu in gpus()[: case.tp])
    process, load_s = started(arguments, pool)

    def attention() -> dict[str, Any]:
        return _attention(case, process.read_log(), seen_by)

    def memory() -> dict[str, object]:
        return {
            "device_before_bytes": before,
            "peak_rss_bytes": "TensorRT-LLM's processes are not asked",
            **logs.memory(process.read_log(), case.tp),
        }

    told = {**notes, "llm_load_s": load_s, "kv_pool_tokens": pool}
    return ApartEngine(process, told, attention, memory, logits)


def _attention(case: Case, log: str, seen_by: str | None) -> dict[str, Any]:
    """Return requested against effective attention; no kernel is profiled in that process."""
    fell_back = logs.fell_back(log)
    if case.fused and fell_back is not None:
        raise ApartError(
            "unsupported", f"asked for fused attention, TensorRT-LLM says: {fell_back}"
        )
    ran = "trtllm-fmha" if case.fused else "materialised"
    phase: dict[str, object] = {"attention_kernels": {}, "top_kernels": {}, "launches": None}
    return {
        "requested": case.attention,
        "source": seen_by or "not profiled; no fallback in the log",
        "prefill": {"class": ran if seen_by else "unknown", **phase},
        "decode": {"class": "trtllm-decode" if seen_by else "unknown", **phase},
    }
