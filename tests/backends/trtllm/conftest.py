from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.backends import trtllm_engine
from perfkit.backends.tensorrt_llm import driving
from perfkit.machine.identity import Gpu
from tests.tensorrt_llm import standin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GPU = Gpu(0, "GPU-1", "NVIDIA H100 80GB HBM3", 80 * 2**30, (9, 0))


@pytest.fixture
def trtllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes one version of the stand-in importable, on a machine with two GPUs."""

    def install(version: str, trouble: str = "", gpus: int = 2) -> None:
        folder = tmp_path / f"standin-{version}"
        standin.make(folder, version)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
        monkeypatch.setenv("STANDIN_TROUBLE", trouble)
        monkeypatch.setenv("PERFKIT_CACHE", str(tmp_path / "cache"))
        found = tuple(Gpu(k, f"GPU-{k}", GPU.name, GPU.memory_bytes, (9, 0)) for k in range(gpus))
        monkeypatch.setattr(driving, "gpus", lambda: found)
        monkeypatch.setattr(trtllm_engine, "gpus", lambda: found)

    return install
