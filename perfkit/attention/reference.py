"""math: attention written out in fp32, what every other provider is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from perfkit.attention.provider import Provider

if TYPE_CHECKING:
    from perfkit.attention.problem import Problem

_REL_L2 = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}


def _mask(q_len: int, kv_len: int, device: torch.device) -> torch.Tensor:
    """Return True where row i sees key j: j <= i + kv_len - q_len."""
    seen = torch.ones(q_len, kv_len, dtype=torch.bool, device=device)
    return seen.tril_(kv_len - q_len)


def _written_out(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    """Compute in the inputs' dtype, one (batch, head) at a time to bound the scores' memory."""
    batch, heads, q_len, _ = q.shape
    group = heads // k.shape[1]
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    hidden = ~_mask(q_len, k.shape[2], q.device) if causal else None
    for b in range(batch):
        for h in range(heads):
            scores = (q[b, h] @ k[b, h // group].T) * scale
            if hidden is not None:
                scores.masked_fill_(hidden, float("-inf"))
            weights = torch.softmax(scores, -1)
            if hidden is not None and q_len > k.shape[2]:
                weights[: q_len - k.shape[2]] = 0.0  # rows that see no key
            out[b, h] = weights @ v[b, h // group]
    return out


def reference(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    """Return the fp32 result for (B, H, S, D) inputs of any dtype, computed in true fp32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        return _written_out(q.float(), k.float(), v.float(), causal, scale)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def math_same_dtype(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    """Return the same formula computed in the inputs' own dtype: the error that rounding costs."""
    return _written_out(q, k, v, causal, scale)


@dataclass(frozen=True)
class Accuracy:
    """How far an output is from fp32: figures, their limits, and whether both rules hold."""

    max_abs: float
    max_abs_limit: float
    rel_l2: float
    rel_l2_limit: float
    nan: bool

    @property
    def ok(self) -> bool:
        """Both rules hold and no element is NaN."""
        near = self.max_abs <= self.max_abs_limit and self.rel_l2 <= self.rel_l2_limit
        return near and not self.nan


def accuracy(out: torch.Tensor, ref: torch.Tensor, same_dtype: torch.Tensor) -> Accuracy:
    """Judge ``out`` against fp32 ``ref`` by two rules.

    The rule of FlashAttention's tests: max|out - ref| ≤ 2 max|same_dtype - ref| + 2 max|ref + 0.3 -
    0.3 - ref|, the last in out's dtype (source: flash-attention tests/test_flash_attn.py). And
    ‖out - ref‖ ≤ 1e-2 ‖ref‖ for bf16 and fp16, 1e-5 for fp32. In fp32 the first rule's
    limit is at least 1e-6 times the largest value.
    """
    typed = ref.to(out.dtype)
    rounding = (typed + 0.3 - 0.3 - typed).abs().max().item()
    spread = (same_dtype.float() - ref).abs().max().item()
    difference = out.float() - ref
    size = ref.norm().item()
    limit = max(2 * spread + 2 * rounding, 1e-6 * ref.abs().max().item())
    return Accuracy(
        max_abs=difference.abs().max().item(),
        max_abs_limit=limit,
        rel_l2=difference.norm().item() / size if size else difference.norm().item(),
        rel_l2_limit=_REL_L2[out.dtype],
        nan=bool(out.isnan().any().item()),
    )


def _run(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, scale: float
) -> torch.Tensor:
    return reference(q, k, v, causal, scale).to(q.dtype)


def _always(_: object) -> str | None:
    return None


def _supported(_: Problem) -> str | None:
    return None


PROVIDERS = (
    Provider(
        name="math",
        source="perfkit/attention/reference.py (torch matmul and softmax in fp32)",
        layout="any",
        kernels=r"softmax",
        unavailable=_always,
        unsupported=_supported,
        run=_run,
    ),
)
