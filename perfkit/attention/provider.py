"""What a provider of attention is: a name, where its kernel comes from, and three functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from perfkit.attention.problem import Problem


@dataclass(frozen=True)
class Provider:
    """One way to compute attention.

    ``unavailable(device)`` says why nothing can run here (a package, a capability), or None;
    ``unsupported(problem)`` why this problem cannot, or None. ``run(q, k, v, causal, scale)`` gets
    checked tensors of (B, H, S, D) and returns a new one of q's shape and dtype. ``layout`` is the
    memory order it reads without a copy: "bhsd" or "bshd" (either seen as (B, H, S, D)), or "any"
    whose last dimension is contiguous. ``kernels`` is a regular expression that the names of its
    kernels match, so that a fallback shows.
    """

    name: str
    source: str
    layout: Literal["bhsd", "bshd", "any"]
    kernels: str
    unavailable: Callable[[torch.device], str | None]
    unsupported: Callable[[Problem], str | None]
    run: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool, float], torch.Tensor]
