"""Which TensorRT-LLM is installed, and how each of the two backends is reached in it."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata

from perfkit.backends.tensorrt_llm.launch import PYTHON, python
from perfkit.errors import UsageError

_VERSION = re.compile(r"(\d+)\.(\d+)")
ABSENT = "needs TensorRT-LLM: no module tensorrt_llm found"


@dataclass(frozen=True)
class Api:
    """How one backend is reached in one version.

    ``module`` holds its class ``LLM``. ``block_in_kv_config``: the KV cache's block is set there,
    no longer in the plugin config alone.
    """

    version: str
    backend: str
    module: str
    block_in_kv_config: bool = False


def installed() -> str | None:
    """Return the version that the interpreter for TensorRT-LLM has, or None; imports nothing of it.

    Raises UsageError where PERFKIT_TRTLLM_PYTHON names no interpreter.
    """
    if python() == sys.executable:
        return _version()
    return _version_of(python())


def _version() -> str | None:
    try:
        return metadata.version("tensorrt_llm")
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _version_of(interpreter: str) -> str | None:
    asked = "from importlib.metadata import version; print(version('tensorrt_llm'))"
    try:
        done = subprocess.run(
            [interpreter, "-c", asked], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{PYTHON}={interpreter} is no Python that answers ({error}): name the interpreter "
            "that has TensorRT-LLM"
        ) from None
    return done.stdout.strip() if done.returncode == 0 else None


def engine_api(version: str | None) -> Api | str:
    """Return how the TensorRT engine API is reached, or why it is not.

    0.16 and 0.17 have it as ``tensorrt_llm.LLM``, 1.0 to 1.2 as ``_tensorrt_engine.LLM``. Source:
    docs/tensorrt-llm.md.
    """
    if version is None:
        return ABSENT
    number = _number(version)
    if number is None:
        return f"TensorRT-LLM {version}: not a version perfkit can read"
    if number in {(0, 16), (0, 17)}:
        return Api(version, "trtllm-engine", "tensorrt_llm")
    if (1, 0) <= number <= (1, 2):
        module = "tensorrt_llm._tensorrt_engine"
        return Api(version, "trtllm-engine", module, block_in_kv_config=number == (1, 2))
    if number > (1, 2):
        return (
            f"TensorRT-LLM {version} dropped the TensorRT engine API, and with it FMHA on and off: "
            "trtllm-engine and the FMHA ablation need 0.16, 0.17 or 1.0 to 1.2 (newest: 1.2.1)"
        )
    return f"TensorRT-LLM {version}: trtllm-engine supports 0.16, 0.17 and 1.0 to 1.2"


def pytorch_api(version: str | None) -> Api | str:
    """Return how the PyTorch backend is reached, ``tensorrt_llm.LLM`` from 1.0 on, or why not."""
    if version is None:
        return ABSENT
    number = _number(version)
    if number is None:
        return f"TensorRT-LLM {version}: not a version perfkit can read"
    if number < (1, 0):
        return f"TensorRT-LLM {version}: trtllm-pytorch supports 1.0 and later"
    return Api(version, "trtllm-pytorch", "tensorrt_llm", block_in_kv_config=number >= (1, 2))


def _number(version: str) -> tuple[int, int] | None:
    match = _VERSION.match(version)
    return (int(match[1]), int(match[2])) if match else None
