"""A decode step and a prompt in PyTorch alone, compiled a layer at a time: layers share code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import embedding, linear, rms_norm, scaled_dot_product_attention, silu

from perfkit.decoding.plain import rotated

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.decoding.cache import Cache
    from perfkit.decoding.weights import Layer, Shape, Weights

_LEAST_SPAN = 256


def materialised(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Attention with its scores in memory; ``mask`` is True where a row sees a key."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = (q @ k.transpose(2, 3)) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    shares: torch.Tensor = scores.softmax(dim=-1, dtype=torch.float32).to(q.dtype)
    return shares @ v


def _around(
    h: torch.Tensor, layer: Layer, shape: Shape, cos: torch.Tensor, sin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, S, hidden) -> rotated queries and keys, and values, (B, heads, S, D)."""
    batch, tokens, _ = h.shape
    rows = layer.qkv.times(rms_norm(h, (shape.hidden,), layer.input_gain, shape.eps))
    split = rows.view(batch, tokens, -1, shape.head_dim).transpose(1, 2)
    q, k, v = split.split((shape.heads, shape.kv_heads, shape.kv_heads), dim=1)
    return rotated(q, cos, sin), rotated(k, cos, sin), v


def _after(h: torch.Tensor, seen: torch.Tensor, layer: Layer, shape: Shape) -> torch.Tensor:
    """Add attention's output and the feed-forward's to the residual stream (B, S, hidden)."""
    batch, tokens, _ = h.shape
    h = h + layer.output.times(seen.transpose(1, 2).reshape(batch, tokens, -1))
    both = layer.gate_up.times(rms_norm(h, (shape.hidden,), layer.post_gain, shape.eps))
    gate, up = both.chunk(2, dim=-1)
    return h + layer.down.times(silu(gate) * up)


class Compiled:
    """Both phases over fused weights; see ``perfkit.decoding.loops.Stepping``.

    ``compiler`` is torch.compile with its options, or nothing where nothing can be compiled;
    ``fused`` asks for torch's attention kernels. A step reads the cache up to a span, one of four
    at most: a compiled kernel has fixed sizes, and each span costs a compilation.
    """

    def __init__(
        self,
        weights: Weights,
        cache: Cache,
        tables: tuple[torch.Tensor, torch.Tensor],
        *,
        fused: bool,
        compiler: Callable[[Any], Any],
    ) -> None:
        """Take the memory of what a step writes; the first calls compile."""
        self._weights, self._cache, self._tables, self._fused = weights, cache, tables, fused
        device, batch = weights.head.device, cache.keys[0].shape[0]
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._token = torch.zeros(batch, 1, dtype=torch.int64, device=device)
        self._places = torch.arange(cache.length, device=device)
        self.history = torch.zeros(batch, cache.length + 1, dtype=torch.int64, device=device)
        self.logits = torch.zeros(
            batch, weights.shape.vocab, dtype=weights.head.dtype, device=device
        )
        self._step_layer = compiler(self._layer_of_step())
        self._prompt_layer = compiler(self._layer_of_prompt())
        self._end = compiler(self._head())

    @property
    def state(self) -> tuple[torch.Tensor, ...]:
        """What a step goes on from; see Stepping."""
        return (self._position, self._token, self.history)

    def place(self, tokens: int) -> None:
        """Set the position; see Stepping."""
        self._position.fill_(tokens)

    def span(self, tokens: int) -> int:
        """Round up to a quarter of the cache, at least 256; see Stepping."""
        grain = max(_LEAST_SPAN, -(-self._cache.length // 4))
        return min(self._cache.length, -(-tokens // grain) * grain)

    def launch(self, span: int) -> None:
        """Run a step over the first ``span`` rows of the cache; see Stepping."""
        weights, cache, position = self._weights, self._cache, self._position
        cos, sin = (table[position] for table in self._tables)
        mask = (self._places[:span] <= position)[None, None, None]
        h = embedding(self._token, weights.embedding)
        for i, layer in enumerate(weights.layers):
            h = self._step_layer(
                h, layer, cache.keys[i], cache.values[i], cos, sin, mask, position, span
            )
        self.logits.copy_(self._end(h, weights.gain, weights.head))
        self.choose()

    def choose(self) -> None:
        """Choose by ``logits`` and go on; see Stepping."""
        token = self.logits.argmax(dim=-1, keepdim=True)
        self._token.copy_(token)
        self.history.index_copy_(1, self._position, token)
        self._position.add_(1)

    def feed(self, tokens: torch.Tensor) -> None:
        """Replace the chosen tokens; see Stepping."""
        self._token.copy_(tokens[:, None])

    def prompt(self, ids: torch.Tensor) -> torch.Tensor:
        """(B, P) ids -> (B, vocab) logits of the last position; fills the cache's first P rows."""
        weights, cache, tokens = self._weights, self._cache, ids.shape[1]
        cos, sin = (table[:tokens] for table in self._tables)
        h = embedding(ids, weights.embedding)
        for i, layer in enumerate(weights.layers):
            h = self._prompt_layer(h, layer, cache.keys[i], cache.values[i], cos, sin)
        logits: torch.Tensor = self._end(h[:, -1:], weights.gain, weights.head)
        return logits

    def _layer_of_step(self) -> Callable[..., torch.Tensor]:
        shape, fused = self._weights.shape, self._fused
        grouped = shape.heads != shape.kv_heads

        def step_layer(
            h: torch.Tensor, layer: Layer, keys: torch.Tensor, values: torch.Tensor,
            cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor, position: torch.Tensor,
            span: int,
        ) -> torch.Tensor:  # fmt: skip
            q, k, v = _around(h, layer, shape, cos, sin)
            keys.index_copy_(2, position, k)
            values.index_copy_(2, position, v)
            k, v = keys[:, :, :span], values[:, :, :span]
            if fused:
                seen = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)
            else:
                seen = materialised(q, k, v, mask)
            return _after(h, seen, layer, shape)

        return step_layer

    def _layer_of_prompt(self) -> Callable[..., torch.Tensor]:
        shape, fused = self._weights.shape, self._fused
        grouped = shape.heads != shape.kv_heads

        def prompt_layer(
            h: torch.Tensor, layer: Layer, keys: torch.Tensor, values: torch.Tensor,
            cos: torch.Tensor, sin: torch.Tensor,
        ) -> torch.Tensor:  # fmt: skip
            tokens = h.shape[1]
            q, k, v = _around(h, layer, shape, cos, sin)
            keys[:, :, :tokens] = k
            values[:, :, :tokens] = v
            if fused:
                seen = scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
            else:
                mask = torch.ones(tokens, tokens, dtype=torch.bool, device=h.device).tril()
                seen = materialised(q, k, v, mask)
            return _after(h, seen, layer, shape)

        return prompt_layer

    def _head(self) -> Callable[..., torch.Tensor]:
        shape = self._weights.shape

        def end(h: torch.Tensor, gain: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
            return linear(rms_norm(h[:, -1], (shape.hidden,), gain, shape.eps), head)

        return end
