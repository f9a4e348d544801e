"""How the process that holds TensorRT-LLM is started."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from perfkit.errors import UsageError

LAUNCHER = "PERFKIT_TRTLLM_LAUNCHER"
PYTHON = "PERFKIT_TRTLLM_PYTHON"


def python() -> str:
    """Return the interpreter that has TensorRT-LLM: PERFKIT_TRTLLM_PYTHON's, or this one.

    TensorRT-LLM fixes versions of torch and transformers that perfkit's other arms do not run on.
    """
    return os.environ.get(PYTHON) or sys.executable


def command(ranks: int) -> list[str]:
    """Return the worker's command, for several ranks behind what PERFKIT_TRTLLM_LAUNCHER names.

    Without one, TensorRT-LLM starts its other ranks by MPI itself; with
    ``mpirun -n 2 trtllm-llmapi-launch`` the launcher has started them. Raises UsageError for a
    launcher that is no command.
    """
    worker = [python(), "-m", "perfkit.backends.tensorrt_llm.worker"]
    text = os.environ.get(LAUNCHER, "")
    if ranks == 1:
        return worker
    try:
        return [*shlex.split(text), *worker]
    except ValueError as error:
        raise UsageError(f"{LAUNCHER}={text} is no command: {error}") from None


def environment() -> dict[str, str]:
    """Return what is added to the worker's environment.

    A log in which every rank tells of memory and kernels; and on PATH first the programs beside
    its interpreter, for launchers that start ``python3`` by name.
    """
    path = os.pathsep.join((str(Path(python()).parent), os.environ.get("PATH", "")))
    return {
        "TLLM_LOG_LEVEL": "INFO",
        "TLLM_LOG_FIRST_RANK_ONLY": "OFF",
        "PYTHONUNBUFFERED": "1",
        "PATH": path,
    }
