"""One decode step by our kernels: five launches a layer, every position and token on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from perfkit.decoding import cuts
from perfkit.decoding.elementwise import power_of_two
from perfkit.decoding.linear import Ahead, Product, Stream, Tile, ahead, padded, room
from perfkit.decoding.weights import Matrix

if TYPE_CHECKING:
    from perfkit.decoding.cache import Cache
    from perfkit.decoding.weights import Layer, Weights

_LOG2E = 1.4426950408889634
_VOCAB_BLOCK = 32_768
_CPU_MULTIPROCESSORS = 3  # in the interpreter: enough that heads are split


# Bytes that a product of one row asks L2 for ahead of the next, and the head ahead of the next
# step: measured, 4.79 to 4.69 ms a token at one row; with several it costs more than it brings.
_AHEAD = 4 << 20
_AHEAD_OF_STEP = 12 << 20


class Step:
    """The buffers of B sequences, and the launches that make a step of them.

    ``positions`` (B,) int32 counts the tokens in the cache; ``history`` (B, length + 1) int64 has
    at ``[row, p]`` the token chosen after ``p + 1`` tokens; ``logits`` (B, vocab) fp32 are those of
    the last step.
    """

    def __init__(
        self,
        weights: Weights,
        cache: Cache,
        tables: tuple[torch.Tensor, torch.Tensor],
    ) -> None:
        """Take the memory of everything a step writes, and lay out its launches."""
        self._weights, self._cache, self._tables = weights, cache, tables
        shape, dtype = weights.shape, weights.head.dtype
        batch, self._device = cache.keys[0].shape[0], weights.head.device
        most = power_of_two(shape.hidden)  # parts of the squares, where a tile has one row

        def made(*size: int, of: torch.dtype = dtype) -> torch.Tensor:
            return torch.zeros(size, dtype=of, device=self._device)

        self.positions = made(batch, of=torch.int32)
        self.history = made(batch, cache.length + 1, of=torch.int64)
        self.logits = made(batch, shape.vocab, of=torch.float32)
        floats, counters = self._room(batch)
        self._stream = Stream(
            h=made(batch, shape.hidden, of=torch.float32),
            x=made(batch, shape.hidden),
            squares=made(most, padded(batch), of=torch.float32),
            sums=made(floats, of=torch.float32),
            arrived=made(counters, of=torch.int32),
        )
        self._qkv = made(batch, shape.qkv)
        self._seen = made(batch, shape.heads * shape.head_dim)
        self._act = made(batch, shape.intermediate)
        pairs, row_bytes = batch * shape.kv_heads, shape.head_dim * weights.head.element_size()
        self._cut = cuts.attention(pairs, cache.length, row_bytes, _multiprocessors(self._device))
        parts = pairs * self._cut.splits * (shape.heads // shape.kv_heads)
        self._sums = made(parts * 2, of=torch.float32)
        self._products = made(parts, shape.head_dim, of=torch.float32)
        self._arrived = made(pairs, of=torch.int32)
        self._layers = [self._layer(i) for i in range(len(weights.layers))]
        self._head = self._product(
            self._stream.x, Matrix(weights.head), self.logits,
            parts=self._added(shape.intermediate),
            then=ahead(weights.layers[0].qkv.values, _AHEAD_OF_STEP, 512),
        )  # fmt: skip

    @property
    def state(self) -> tuple[torch.Tensor, ...]:
        """What a step goes on from, besides the cache, whose rows it writes anew."""
        stream = self._stream
        return (self.positions, self.history, stream.h, stream.x, stream.squares)

    def place(self, tokens: int) -> None:
        """Say on the device how many tokens are in the cache."""
        self.positions.fill_(tokens)

    def span(self, tokens: int) -> int:
        """Return one span for all steps: the kernels read what is valid, by the positions."""
        del tokens
        return self._cache.length

    def launch(self, span: int) -> None:
        """Enqueue a whole step: the fed tokens' logits, the next tokens, and their embedding."""
        del span
        for i, (qkv, output, gate_up, down) in enumerate(self._layers):
            qkv.launch()
            self._attend(i)
            output.launch()
            gate_up.launch()
            down.launch()
        self._head.launch()
        self.choose()

    def choose(self) -> None:
        """Enqueue the choice of the likeliest tokens by ``logits``, and feed them."""
        from perfkit.decoding.token_kernel import argmax_feed

        weights, stream = self._weights, self._stream
        batch, vocab = self.logits.shape
        hidden, parts = weights.shape.hidden, self._added(weights.shape.intermediate)
        kernel: Any = argmax_feed[(batch,)]
        kernel(
            self.logits, weights.embedding, weights.layers[0].input_gain, stream.h, stream.x,
            stream.squares, self.positions, self.history, self.history.shape[1],
            V=vocab, BV=min(_VOCAB_BLOCK, power_of_two(vocab)), K=hidden, KP=power_of_two(hidden),
            PARTS=parts, PARTS_P=power_of_two(parts), MP=stream.squares.shape[1],
            num_warps=16,
        )  # fmt: skip

    def feed(self, tokens: torch.Tensor) -> None:
        """Let the next step take these (B,) tokens in the place of those chosen."""
        weights, stream = self._weights, self._stream
        rows = weights.embedding[tokens].float()
        stream.h.copy_(rows)
        stream.x.copy_(rows * weights.layers[0].input_gain.float())
        stream.squares.zero_()
        stream.squares[0, : len(rows)] = rows.square().sum(dim=-1)

    def _tile(self, n: int, k: int, values: torch.Tensor, *, dual: bool = False) -> Tile:
        batch = self.positions.shape[0]
        return cuts.tile(n, k, batch, values.element_size(), dual=dual, cuda=values.is_cuda)

    def _added(self, k: int) -> int:
        """Return how many parts the squares have after a product of ``k`` columns was added."""
        hidden = self._weights.shape.hidden
        return -(-hidden // self._tile(hidden, k, self._weights.layers[0].down.values).rows)

    def _product(
        self,
        x: torch.Tensor,
        matrix: Matrix,
        out: torch.Tensor,
        *,
        parts: int = 0,
        gain: torch.Tensor | None = None,
        dual: bool = False,
        then: Ahead | None = None,
    ) -> Product:
        n, k = out.shape[1], matrix.values.shape[1]
        cut = self._tile(n, k, matrix.values, dual=dual)
        eps = self._weights.shape.eps
        return Product(x, matrix, out, self._stream, cut, eps, parts, dual, gain, then)

    def _layer(self, i: int) -> tuple[Product, Product, Product, Product]:
        weights, stream, shape = self._weights, self._stream, self._weights.shape
        layer, after = weights.layers[i], _after(weights, i)
        gain = weights.gain if after is None else after.input_gain
        first = Matrix(weights.head) if after is None else after.qkv
        queries = shape.heads * shape.head_dim

        def soon(matrix: Matrix) -> Ahead | None:
            return ahead(matrix.values, _AHEAD, 256)

        return (
            self._product(stream.x, layer.qkv, self._qkv, parts=self._added(shape.intermediate),
                          then=soon(layer.output)),
            self._product(self._seen, layer.output, stream.x, gain=layer.post_gain,
                          then=soon(layer.gate_up)),
            self._product(stream.x, layer.gate_up, self._act, parts=self._added(queries), dual=True,
                          then=soon(layer.down)),
            self._product(self._act, layer.down, stream.x, gain=gain, then=soon(first)),
        )  # fmt: skip

    def _attend(self, i: int) -> None:
        from perfkit.decoding.attention_kernel import attention_step

        shape, cache = self._weights.shape, self._cache
        group = shape.heads // shape.kv_heads
        programs = self._arrived.numel() * self._cut.splits
        kernel: Any = attention_step[(programs,)]
        kernel(
            self._qkv, cache.keys[i], cache.values[i], *self._tables, self.positions, self._sums,
            self._products, self._arrived, self._seen,
            shape.head_dim**-0.5 * _LOG2E, cache.length, KV=shape.kv_heads, G=group,
            GP=max(16, power_of_two(group)), D=shape.head_dim, BN=self._cut.keys,
            SPLITS=self._cut.splits, STAGES=self._cut.stages, WIDEN=not self._qkv.is_cuda,
            num_warps=1,
        )  # fmt: skip

    def _room(self, batch: int) -> tuple[int, int]:
        """Return the floats and counters in which the programs of any product's tile meet."""
        shape = self._weights.shape
        layer = self._weights.layers[0]
        queries = shape.heads * shape.head_dim
        sizes = [
            (shape.qkv, shape.hidden, layer.qkv, False),
            (shape.hidden, queries, layer.output, False),
            (shape.intermediate, shape.hidden, layer.gate_up, True),
            (shape.hidden, shape.intermediate, layer.down, False),
            (shape.vocab, shape.hidden, Matrix(self._weights.head), False),
        ]
        rooms = [
            room(self._tile(n, k, matrix.values, dual=dual), n, batch)
            for n, k, matrix, dual in sizes
        ]
        return max(floats for floats, _ in rooms), max(counters for _, counters in rooms)


def _after(weights: Weights, i: int) -> Layer | None:
    return weights.layers[i + 1] if i + 1 < len(weights.layers) else None


def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return _CPU_MULTIPROCESSORS
    return torch.cuda.get_device_properties(device).multi_processor_count
