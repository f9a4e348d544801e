"""The providers by name; a module is imported when one of its providers is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from perfkit.attention.provider import Provider

_MODULES = {
    "math": "reference",
    "torch-flash": "torch_sdpa",
    "torch-efficient": "torch_sdpa",
    "torch-cudnn": "torch_sdpa",
    "flex": "flex",
    "trtllm-fmha": "flashinfer_kernels",
    "flashinfer-fa3": "flashinfer_kernels",
    "trtllm-xqa": "flashinfer_kernels",
    "triton": "portable",
    "triton-hopper": "hopper",
    "triton-decode": "decode",
}
NAMES = tuple(_MODULES)
OURS = ("triton", "triton-hopper", "triton-decode")


def provider(name: str) -> Provider:
    """Return the provider of this name. Raises UsageError naming the nearest known one."""
    if name not in _MODULES:
        raise UsageError(unknown("attention provider", str(name), NAMES))
    module = importlib.import_module(f"perfkit.attention.{_MODULES[name]}")
    found: Provider = next(p for p in module.PROVIDERS if p.name == name)
    return found
