"""provider="auto": a small table of what was measured fastest, and the plain path elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from perfkit.attention.problem import Problem

_TRITON_CC = (8, 0)


@dataclass(frozen=True)
class Rule:
    """On ``capability``: decode or prefill of these head_dims goes to ``provider``."""

    capability: tuple[int, int]
    decode: bool
    head_dims: tuple[int, ...]
    provider: str


# Measured on an H200: docs/attention.md has the figures, baselines/ the JSON they come from.
RULES = (
    Rule((9, 0), False, (64, 128), "triton-hopper"),
    Rule((9, 0), True, (64, 128), "triton-decode"),
)


def choose(problem: Problem, device: torch.device) -> str:
    """Return the provider for this problem on this device.

    The first rule that fits and whose provider computes the problem; without one plain Triton on a
    GPU of capability 8.0 or higher, and "math" for what Triton's kernels do not take and on a CPU.
    """
    if device.type != "cuda":
        return "math"
    import torch

    return by_table(problem, torch.cuda.get_device_capability(device))


def by_table(problem: Problem, capability: tuple[int, int]) -> str:
    """Return the provider for a CUDA GPU of this compute capability."""
    if problem.dtype != "fp32":
        for rule in RULES:
            kind = rule.decode == problem.is_decode and problem.head_dim in rule.head_dims
            if rule.capability == capability and kind and _computes(rule.provider, problem):
                return rule.provider
    if capability >= _TRITON_CC:
        plain = "triton-decode" if problem.is_decode else "triton"
        if _computes(plain, problem):
            return plain
    return "math"


def _computes(name: str, problem: Problem) -> bool:
    from perfkit.attention.registry import provider

    return provider(name).unsupported(problem) is None
