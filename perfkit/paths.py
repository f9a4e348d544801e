"""Where the files that come with perfkit are: in the repository, or in the installed package."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_H200 = "baselines/nvidia-h200_driver-580.159.04_cuda-13.0_torch-2.11.0/Linux-CPython-3.12-64bit"
_H100 = "baselines/nvidia-h100-80gb-hbm3_driver-580.159.04_cuda-13.0_torch-2.11.0"
_DEMO = (
    f"{_H200}/0001_llama2-7b.json",
    f"{_H200}/0003_oom.json",
    f"{_H100}/ablation-gpu",
    "data/profiles/llama2-7b-h100.json",
    "data/mock/metrics_trtllm_synthetic.json",
)


def shipped(relative: str) -> Path:
    """Return the path of a file that comes with perfkit, such as ``data/prompts.txt``."""
    inside = _PACKAGE / "shipped" / relative
    return inside if inside.exists() else _PACKAGE.parent / relative


def demo_results() -> list[Path]:
    """Return the result files that come with perfkit for ``perfkit demo``.

    Measured on an H200 and an H100, and a sample of TensorRT-LLM that is marked as synthetic.
    """
    return [shipped(relative) for relative in _DEMO]


def cache() -> Path:
    """Return the folder of what is costly to make again: PERFKIT_CACHE, or ~/.cache/perfkit."""
    return Path(os.environ.get("PERFKIT_CACHE") or Path.home() / ".cache" / "perfkit")


def engine_configs() -> dict[str, Path]:
    """Return the engine configs that come with perfkit, by name."""
    return {path.stem: path for path in sorted(shipped("configs").glob("*.json"))}


def matrices() -> dict[str, Path]:
    """Return the matrices that come with perfkit, by name."""
    return {path.stem: path for path in sorted(shipped("configs/matrices").glob("*.toml"))}
