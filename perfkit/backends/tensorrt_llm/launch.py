"""How the process that holds TensorRT-LLM is started."""

from __future__ import annotations

import os
import shlex
import sys

LAUNCHER = "PERFKIT_TRTLLM_LAUNCHER"
PYTHON = "PERFKIT_TRTLLM_PYTHON"


def python() -> str:
    """Return the interpreter that has TensorRT-LLM: PERFKIT_TRTLLM_PYTHON's, or this one.

    TensorRT-LLM fixes versions of torch and transformers that perfkit's other arms do not run on.
    """
    return os.environ.get(PYTHON) or sys.executable


def command() -> list[str]:
    """Return the worker's command, behind the launcher that PERFKIT_TRTLLM_LAUNCHER names.

    Without one, TensorRT-LLM starts its other ranks by MPI itself; with
    ``mpirun -n 2 trtllm-llmapi-launch`` the launcher has started them.
    """
    launcher = shlex.split(os.environ.get(LAUNCHER, ""))
    return [*launcher, python(), "-m", "perfkit.backends.tensorrt_llm.worker"]


def environment() -> dict[str, str]:
    """Return what is added to the worker's environment: a log that tells of memory and kernels."""
    return {"TLLM_LOG_LEVEL": "INFO", "PYTHONUNBUFFERED": "1"}
