"""tensorrt-llm: its cells stand in every matrix, and say here why they are not measured.

perfkit does not drive TensorRT-LLM yet, so each of them is ``unsupported``; what loads, builds and
generates comes with that.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from perfkit.cases import Case


def unsupported(case: Case, device: str) -> str | None:
    """Return why no case runs: no TensorRT-LLM, no GPU, or no driving of it by perfkit."""
    del case
    if importlib.util.find_spec("tensorrt_llm") is None:
        return "needs TensorRT-LLM: no module tensorrt_llm found"
    if device != "cuda":
        return "TensorRT-LLM needs a GPU"
    return f"TensorRT-LLM {metadata.version('tensorrt_llm')} is here, perfkit does not drive it yet"


def load_key(case: Case) -> Hashable:
    """One engine is built for an attention and a number of GPUs, and serves all its shapes."""
    return ("tensorrt-llm", case.model, case.precision, case.attention, case.tp)
