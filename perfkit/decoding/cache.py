"""Keys and values of all layers, and how long they can get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from perfkit.decoding.weights import Weights


@dataclass(frozen=True)
class Cache:
    """``keys[i]`` and ``values[i]`` are (B, kv_heads, length, head_dim) of layer ``i``."""

    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    length: int

    @classmethod
    def empty(cls, weights: Weights, batch: int, length: int) -> Cache:
        """Take the memory of ``length`` tokens a sequence.

        It holds zeros: attention under a mask multiplies what is not written yet by zero, which
        leaves nothing of a number alone.
        """
        import torch

        shape, head = weights.shape, weights.head
        size = (batch, shape.kv_heads, length, shape.head_dim)

        def made() -> tuple[torch.Tensor, ...]:
            return tuple(
                torch.zeros(size, dtype=head.dtype, device=head.device) for _ in weights.layers
            )

        return cls(made(), made(), length)
