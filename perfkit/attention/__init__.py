"""Attention: one signature, many providers.

from perfkit.attention import sdpa
out = sdpa(q, k, v, causal=True)                          # the fastest measured here
out = sdpa(q, k, v, causal=True, provider="torch-cudnn")  # this, or an error saying why
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["sdpa"]


def sdpa(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool,
    scale: float | None = None,
    provider: str = "auto",
) -> torch.Tensor:
    """Return softmax(q kᵀ · scale) v, shaped and typed like ``q``.

    ``q`` is (B, H, Sq, D); ``k`` and ``v`` are (B, Hkv, Sk, D) with H a multiple of Hkv: query head
    ``h`` reads key head ``h // (H / Hkv)``. All three are bf16, fp16 or fp32 (as the provider can)
    on one device, with a contiguous last dimension. ``causal`` aligns the mask at the bottom right:
    row ``i`` sees keys up to ``i + Sk - Sq``, and a row that sees none gives zeros. ``scale`` is
    1/√D if left out, and positive. ``provider`` is a name of ``perfkit.attention.registry``, or
    "auto": the fastest measured for the shape and device (``perfkit.attention.dispatch``).

    Raises UsageError (a ValueError) naming the argument and what it got, or the reason why the
    provider cannot compute this problem; UnavailableError when it cannot run on this machine.
    Nothing falls back in silence.
    """
    from perfkit.attention import dispatch, inputs, registry

    problem = inputs.problem_of(q, k, v, causal)
    scale = inputs.checked_scale(scale, problem.head_dim)
    name = dispatch.choose(problem, q.device) if provider == "auto" else provider
    chosen = registry.provider(name)
    inputs.require(chosen, problem, q.device)
    inputs.check_layout(chosen, q, k, v)
    return chosen.run(q, k, v, causal, scale)
