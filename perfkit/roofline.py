"""What a case must cost at least: FLOPs, bytes, and memory, from the architecture alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.precisions import PRECISIONS, SCALE_BYTES

if TYPE_CHECKING:
    from perfkit.architectures import Architecture
    from perfkit.cases import Case
    from perfkit.precisions import Precision


@dataclass(frozen=True)
class Work:
    """FLOPs and device bytes that a phase needs, each counted once."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Forecast:
    """Predicted peak of device memory, in bytes, by what holds it."""

    weights_bytes: int
    kv_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """Sum of the parts."""
        return self.weights_bytes + self.kv_bytes + self.activation_bytes

    def to_json(self) -> dict[str, int]:
        """Return plain numbers for the result file."""
        return {
            "weights_bytes": self.weights_bytes,
            "kv_bytes": self.kv_bytes,
            "activation_bytes": self.activation_bytes,
            "total_bytes": self.total_bytes,
        }


def prefill_work(case: Case, arch: Architecture) -> Work:
    """Work from submission to the first token.

    FLOPs: 2 per weight and token in the layers, 2 per head weight and sequence (one position of
    logits is needed), attention at half for causal. Bytes: weights once, embedding rows as used,
    KV written.
    """
    kind = PRECISIONS[case.precision]
    tokens = case.batch * case.prompt_len
    matrices = 2.0 * arch.layers * arch.layer_matrix_params * tokens
    head = 2.0 * arch.head_params * case.batch
    pairs = case.prompt_len * (case.prompt_len + 1) / 2
    attention = 4.0 * arch.layers * arch.heads * arch.head_dim * pairs * case.batch
    moved = _weights_read(arch, kind) + kind.other_bytes * tokens * arch.hidden
    moved += kv_bytes(case, arch, tokens)
    return Work(matrices + head + attention, moved)


def decode_work(case: Case, arch: Architecture) -> Work:
    """Work of all N - 1 steps after the first token.

    Each step reads every weight and the KV of all earlier tokens once, writes the KV of one token,
    and attends over its context, itself included.
    """
    kind = PRECISIONS[case.precision]
    flops = moved = 0.0
    for step in range(1, case.new_tokens):
        context = case.prompt_len + step
        matrices = 2.0 * (arch.layers * arch.layer_matrix_params + arch.head_params)
        attention = 4.0 * arch.layers * arch.heads * arch.head_dim * context
        flops += case.batch * (matrices + attention)
        moved += _weights_read(arch, kind) + kind.other_bytes * case.batch * arch.hidden
        moved += kv_bytes(case, arch, case.batch * context)
    return Work(flops, moved)


def kv_bytes(case: Case, arch: Architecture, tokens: int) -> int:
    """Bytes of keys and values of ``tokens`` tokens over all layers."""
    size = PRECISIONS[case.precision].cache_bytes
    return 2 * arch.layers * arch.kv_heads * arch.head_dim * size * tokens


def weights_bytes(arch: Architecture, kind: Precision) -> int:
    """Bytes of all weights, with the scales of those that have any."""
    embeddings = arch.head_params * (0 if arch.tied_embeddings else 1)
    return _weights_read(arch, kind) + kind.other_bytes * embeddings


def _weights_read(arch: Architecture, kind: Precision) -> int:
    """Bytes of all weights but the embedding: what one step reads."""
    scales = 0 if kind.weights is None else SCALE_BYTES * arch.layer_matrix_rows
    matrices = kind.matrix_bytes * arch.layer_matrix_params + scales
    return arch.layers * matrices + kind.other_bytes * (arch.norm_params + arch.head_params)


def utilisation(work: float, seconds: float | None, ceiling: float | None) -> float | None:
    """Return work / seconds / ceiling; null when time or ceiling is unknown."""
    if seconds is None or ceiling is None or seconds <= 0 or ceiling <= 0:
        return None
    return work / seconds / ceiling


def phase_utilisation(
    case: Case,
    arch: Architecture,
    times_s: tuple[float, float],
    ceilings: tuple[float | None, float | None],
    devices: int,
) -> dict[str, float | None]:
    """Return mfu of the prefill and mbu of the decode: each phase against what bounds it.

    ``times_s`` are ttft and e2e; ``ceilings`` are one device's GEMM in FLOP/s and copy in bytes/s,
    while the work is shared among ``devices``.
    """
    ttft_s, e2e_s = times_s
    gemm, copy = ceilings
    decode_s = e2e_s - ttft_s if case.new_tokens > 1 else None
    return {
        "mfu": utilisation(prefill_work(case, arch).flops / devices, ttft_s, gemm),
        "mbu": utilisation(decode_work(case, arch).bytes / devices, decode_s, copy),
    }


def forecast(case: Case, arch: Architecture) -> Forecast:
    """Forecast the peak: weights, KV of P + N tokens, and the prefill's largest moment.

    That moment is the feed-forward (gate, up, product and residuals) or, where scores are
    materialised, the softmax. Bytes a score: fp32 before and after it (8); bf16 the scores, then
    the same in fp32 (10); fp16, whose softmax converts as it reads, the scores, fp32 after it and
    what it is rounded to (8). Weight-only quantisation widens one product's weights, at most gate
    and up, before it multiplies a prompt.
    """
    kind = PRECISIONS[case.precision]
    held = kind.other_bytes
    tokens = case.batch * case.prompt_len
    feed_forward = held * tokens * (3 * arch.intermediate + 3 * arch.hidden)
    per_score = {"fp32": 8, "fp16": 8}.get(kind.compute, 10)
    widened = 0 if kind.weights is None else held * 2 * arch.intermediate * arch.hidden
    scores = 0 if case.fused else per_score * case.batch * arch.heads * case.prompt_len**2
    logits = case.batch * arch.vocab * (held + 4)
    return Forecast(
        weights_bytes=weights_bytes(arch, kind),
        kv_bytes=kv_bytes(case, arch, case.batch * (case.prompt_len + case.new_tokens)),
        activation_bytes=max(feed_forward + widened, scores + held * tokens * 4 * arch.hidden)
        + logits,
    )
