"""Tokens to the logits of the last of them, over fused weights: what every prompt goes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch.nn.functional import embedding, linear, scaled_dot_product_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from perfkit.decoding.cache import Cache
    from perfkit.decoding.weights import Matrix, Weights

    Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]


class Parts(Protocol):
    """What stands between the products: the module ``plain`` or ``elementwise``."""

    def rms_norm(self, x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
        """Scale each row to root mean square 1, times ``gain``."""
        ...

    def silu_mul(self, gate_up: torch.Tensor) -> torch.Tensor:
        """Return silu(gate) * up."""
        ...

    def widened(self, matrix: Matrix, dtype: torch.dtype) -> torch.Tensor:
        """Return a matrix's weights in ``dtype``, (out, in); themselves where they are of it."""
        ...

    def rope_store(
        self,
        qkv: torch.Tensor,
        heads: int,
        keys: torch.Tensor,
        values: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> torch.Tensor:
        """Rotate, write keys and values, return the queries."""
        ...


def torch_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool
) -> torch.Tensor:
    """Attention by torch's own choice of kernel; (B, H, S, D) and (B, KV, S, D)."""
    grouped = q.shape[1] != k.shape[1]
    return scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)


def last_logits(
    weights: Weights,
    cache: Cache,
    ids: torch.Tensor,
    start: int,
    tables: tuple[torch.Tensor, torch.Tensor],
    parts: Parts,
    attention: Attention,
) -> torch.Tensor:
    """(B, S) token ids at positions ``start``… -> (B, vocab) logits after the last of them.

    Writes the cache's rows ``start`` to ``start + S``. A prompt begins at 0; a later call has one
    token. What no later token reads is not computed: the last layer goes on with the last position
    alone, once its keys and values are written.
    """
    shape, (batch, tokens) = weights.shape, ids.shape
    end = start + tokens
    cos, sin = tables[0][start:end], tables[1][start:end]
    h = embedding(ids, weights.embedding).view(batch * tokens, shape.hidden)
    for i, layer in enumerate(weights.layers):
        keys, values = cache.keys[i], cache.values[i]
        x = parts.rms_norm(h, layer.input_gain, shape.eps)
        qkv = linear(x, parts.widened(layer.qkv, h.dtype))
        q = parts.rope_store(qkv, shape.heads, keys[:, :, start:end], values[:, :, start:end],
                             cos, sin)  # fmt: skip
        seen = attention(q, keys[:, :, :end], values[:, :, :end], tokens > 1)
        rows = seen.transpose(1, 2).reshape(batch, tokens, shape.heads * shape.head_dim)
        if i == len(weights.layers) - 1:
            rows = rows[:, -1:].contiguous()
            h = h.view(batch, tokens, shape.hidden)[:, -1].contiguous()
        # The residual is added where the product's sums still have all their digits.
        h.addmm_(rows.view(-1, rows.shape[-1]), parts.widened(layer.output, h.dtype).t())
        x = parts.rms_norm(h, layer.post_gain, shape.eps)
        gate_up = linear(x, parts.widened(layer.gate_up, h.dtype))
        h.addmm_(parts.silu_mul(gate_up), parts.widened(layer.down, h.dtype).t())
    return linear(parts.rms_norm(h, weights.gain, shape.eps), weights.head)
