"""trtllm-engine: TensorRT-LLM's TensorRT engines, with fused context attention on or off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.backends.apart.engine import asked_logits
from perfkit.backends.engine import Loaded
from perfkit.backends.tensorrt_llm import building, driving
from perfkit.backends.tensorrt_llm.arguments import kv_tokens, to_run
from perfkit.backends.tensorrt_llm.driving import config_for
from perfkit.backends.tensorrt_llm.versions import Api, engine_api, installed
from perfkit.machine.identity import gpus
from perfkit.paths import cache

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from pathlib import Path

    import torch

    from perfkit.backends.apart.engine import ApartEngine
    from perfkit.backends.tensorrt_llm.config import EngineConfig
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

__all__ = ["before_rounds_s", "build", "load", "load_key", "uncheckable", "unsupported"]


def unsupported(case: Case, device: str) -> str | None:
    """Return why no engine can run the case on ``device``, or None."""
    if case.precision == "fp32" and case.fused:
        return "TensorRT-LLM has no fused attention for fp32"
    return driving.unsupported(engine_api(installed()), case, device)


def uncheckable(case: Case, source: ModelSource) -> str | None:
    """Return why the case's outputs cannot be compared, or None."""
    return driving.uncheckable(config_for(case), source)


def before_rounds_s() -> float:
    """Allow an engine and its twin to be built and loaded."""
    return 2 * (driving.LIMITS.build_s + driving.LIMITS.load_s)


def load_key(case: Case) -> Hashable:
    """One engine is built for an attention and a number of GPUs, and serves all its shapes."""
    weights = config_for(case).weights
    return ("trtllm-engine", case.model, case.precision, case.attention, case.tp, weights)


def load(case: Case, source: ModelSource, device: str) -> Loaded:
    """Return the folder of the weights that the engine is built from."""
    return Loaded(driving.model_folder(config_for(case), source, device), device)


def build(loaded: Loaded, case: Case) -> ApartEngine:
    """Build the engine or find it in the cache, and start a worker that has it loaded."""
    api = engine_api(installed())
    assert isinstance(api, Api)  # noqa: S101  (else the case is unsupported)
    config, model, gpu = config_for(case), loaded.model, gpus()[0]
    built = building.engine(api, config, model, gpu, cache(), limits=driving.LIMITS)
    pool = kv_tokens(api, case.batch, case.prompt_len + case.new_tokens)
    notes = {
        "version": api.version,
        "engine_config": config.model_dump(),
        "engine_build_s": built.build_s,
        "engine_cached": built.cached,
        "logits": "context logits of a twin that gathers them",
        "compiled": False,
    }

    def logits(ids: torch.Tensor, forced: torch.Tensor) -> Iterator[torch.Tensor]:
        yield from _twin_logits(api, config, model, ids, forced)

    arguments = to_run(api, config, str(built.folder), pool)
    return driving.opened(
        arguments, pool, case, notes, "engine config.json, and no fallback in the logs", logits
    )


def _twin_logits(
    api: Api, config: EngineConfig, model: Path, ids: torch.Tensor, forced: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Ask a twin that gathers context logits: gathering would slow the engine that is measured."""
    longer = forced.shape[1]
    twin = config.model_copy(
        update={
            "max_input_len": config.max_input_len + longer,
            "max_seq_len": config.max_seq_len + longer,
            "max_num_tokens": max(config.max_num_tokens, config.max_input_len + longer),
        }
    )
    built = building.engine(
        api, twin, model, gpus()[0], cache(), logits=True, limits=driving.LIMITS
    )
    pool = kv_tokens(api, ids.shape[0], ids.shape[1] + longer + 1)
    process, _ = driving.started(to_run(api, twin, str(built.folder), pool), pool)
    try:
        yield from asked_logits(process, ids, forced)
    finally:
        process.close()
