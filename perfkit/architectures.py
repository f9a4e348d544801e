"""Named decoder architectures: the numbers from which FLOPs, bytes and models are made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Shape of a LLaMA-family decoder.

    Sizes are counts of elements; ``positions`` is the longest sequence in tokens.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    positions: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied_embeddings: bool = False
    head_size: int | None = None

    @property
    def head_dim(self) -> int:
        """Elements of one head."""
        return self.head_size or self.hidden // self.heads

    @property
    def layer_matrix_params(self) -> int:
        """Weights of one layer's seven matrices."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def layer_matrix_rows(self) -> int:
        """Rows of one layer's seven matrices: the outputs of each."""
        attention = self.head_dim * (self.heads + 2 * self.kv_heads) + self.hidden
        return attention + 2 * self.intermediate + self.hidden

    @property
    def head_params(self) -> int:
        """Weights of the language-model head."""
        return self.vocab * self.hidden

    @property
    def norm_params(self) -> int:
        """Weights of all RMSNorms."""
        return (2 * self.layers + 1) * self.hidden

    @property
    def params(self) -> int:
        """All weights that stand in memory."""
        embeddings = self.head_params * (1 if self.tied_embeddings else 2)
        return self.layers * self.layer_matrix_params + self.norm_params + embeddings


# Sources: the config.json published with each model (Llama 2 and 3: Meta; TinyLlama: its authors).
ARCHITECTURES: dict[str, Architecture] = {
    "llama-tiny": Architecture(
        hidden=128, intermediate=352, layers=2, heads=8, kv_heads=4, vocab=512, positions=1024
    ),
    # Deep for its width: one layer more is 5 % more work, in a cell of milliseconds.
    "llama-mini": Architecture(
        hidden=128, intermediate=352, layers=20, heads=8, kv_heads=4, vocab=512, positions=1024
    ),
    "tinyllama-1.1b": Architecture(
        hidden=2048, intermediate=5632, layers=22, heads=32, kv_heads=4, vocab=32_000,
        positions=2048,
    ),
    "llama2-7b": Architecture(
        hidden=4096, intermediate=11_008, layers=32, heads=32, kv_heads=32, vocab=32_000,
        positions=4096,
    ),
    "llama2-13b": Architecture(
        hidden=5120, intermediate=13_824, layers=40, heads=40, kv_heads=40, vocab=32_000,
        positions=4096,
    ),
    "llama3-8b": Architecture(
        hidden=4096, intermediate=14_336, layers=32, heads=32, kv_heads=8, vocab=128_256,
        positions=8192, rope_theta=500_000.0,
    ),
}  # fmt: skip
