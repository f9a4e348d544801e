"""trtllm-pytorch: TensorRT-LLM's PyTorch backend; it has no switch for fused attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.backends.engine import Loaded
from perfkit.backends.tensorrt_llm import driving
from perfkit.backends.tensorrt_llm.arguments import kv_tokens, to_serve
from perfkit.backends.tensorrt_llm.config import for_case
from perfkit.backends.tensorrt_llm.versions import Api, installed, pytorch_api

if TYPE_CHECKING:
    from collections.abc import Hashable

    from perfkit.backends.apart.engine import ApartEngine
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

__all__ = ["before_rounds_s", "build", "load", "load_key", "uncheckable", "unsupported"]


def unsupported(case: Case, device: str) -> str | None:
    """Return why the case cannot run on ``device``, or None."""
    if not case.fused:
        return (
            "TensorRT-LLM's PyTorch backend has no switch for fused attention: nofmha needs "
            "trtllm-engine"
        )
    return driving.unsupported(pytorch_api(installed()), case, device)


def uncheckable(case: Case, source: ModelSource) -> str | None:
    """Return why the case's outputs cannot be compared, or None."""
    return driving.uncheckable(for_case(case), source)


def before_rounds_s() -> float:
    """Allow the model to be loaded."""
    return driving.LIMITS.load_s


def load_key(case: Case) -> Hashable:
    """One folder of weights serves all shapes."""
    return ("trtllm-pytorch", case.model, case.precision, case.tp)


def load(case: Case, source: ModelSource, device: str) -> Loaded:
    """Return the folder of the weights."""
    return Loaded(driving.model_folder(for_case(case), source, device), device)


def build(loaded: Loaded, case: Case) -> ApartEngine:
    """Start a worker that has the model loaded; it compiles and captures as it pleases."""
    api = pytorch_api(installed())
    assert isinstance(api, Api)  # noqa: S101  (else the case is unsupported)
    config = for_case(case)
    pool = kv_tokens(api, case.batch, case.prompt_len + case.new_tokens)
    notes = {
        "version": api.version,
        "serving_config": config.model_dump(),
        "logits": "context logits of one prefill",
    }
    return driving.opened(to_serve(api, config, str(loaded.model), pool), pool, case, notes, None)
