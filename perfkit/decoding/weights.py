"""A model's weights with what is multiplied by the same rows fused, and never held twice."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


@dataclass(frozen=True)
class Shape:
    """Sizes of a LLaMA-family decoder, in elements."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    eps: float

    @property
    def qkv(self) -> int:
        """Rows of the fused query, key and value weights."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


@dataclass(frozen=True)
class Matrix:
    """Weights (out, in), row major; int8 and fp8 ones have a ``scale`` (out,) in fp32."""

    values: torch.Tensor
    scale: torch.Tensor | None = None

    def times(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) -> (…, out), computed in the type of ``x``."""
        from torch.nn.functional import linear

        from perfkit.inputs.weight_only import product

        return linear(x, self.values) if self.scale is None else product(x, self.values, self.scale)


@dataclass(frozen=True)
class Layer:
    """One layer: gains (hidden,), and its fused matrices.

    ``qkv`` holds the rows of queries, keys and values, ``gate_up`` those of gate, then up.
    """

    input_gain: torch.Tensor
    qkv: Matrix
    output: Matrix
    post_gain: torch.Tensor
    gate_up: Matrix
    down: Matrix


@dataclass(frozen=True)
class Weights:
    """Everything a forward pass reads; ``head`` and ``embedding`` are (vocab, hidden)."""

    shape: Shape
    embedding: torch.Tensor
    layers: tuple[Layer, ...]
    gain: torch.Tensor
    head: torch.Tensor


def fused(model: Any) -> Weights:
    """Fuse a LlamaForCausalLM's weights in place: its own become views of the fused ones.

    The model computes what it did before, and a second call finds the fused ones again. Beyond
    the weights, one layer's are held twice for a moment. Raises UsageError for what the kernels do
    not compute: biases, another activation than silu.
    """
    config = model.config
    if config.hidden_act != "silu":
        raise UsageError(f"activation {config.hidden_act!r}: the fused layers compute silu alone")
    biased = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    if biased:
        raise UsageError(f"{biased[0]}: the fused layers have no biases")
    shape = Shape(
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        vocab=config.vocab_size,
        eps=config.rms_norm_eps,
    )
    decoder = model.model
    return Weights(
        shape,
        decoder.embed_tokens.weight.detach(),
        tuple(_layer(layer) for layer in decoder.layers),
        decoder.norm.weight.detach(),
        model.lm_head.weight.detach(),
    )


def _layer(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        input_gain=layer.input_layernorm.weight.detach(),
        qkv=_joined((attention.q_proj, attention.k_proj, attention.v_proj)),
        output=_joined((attention.o_proj,)),
        post_gain=layer.post_attention_layernorm.weight.detach(),
        gate_up=_joined((mlp.gate_proj, mlp.up_proj)),
        down=_joined((mlp.down_proj,)),
    )


def _joined(linears: Sequence[Any]) -> Matrix:
    """Return the weights of these layers as one matrix, which they are made views of."""
    scaled = hasattr(linears[0], "scale")
    return Matrix(_fused(linears, "weight"), _fused(linears, "scale") if scaled else None)


def _fused(linears: Sequence[Any], name: str) -> torch.Tensor:
    """Return these parameters one after the other, as one tensor that they are made views of."""
    import torch

    parts = [getattr(linear, name).detach() for linear in linears]
    rows = [part.shape[0] for part in parts]
    first = parts[0]
    if _adjacent(parts):
        found: torch.Tensor = first.as_strided((sum(rows), *first.shape[1:]), first.stride())
        return found
    whole: torch.Tensor = torch.cat(parts)
    for linear, part in zip(linears, whole.split(rows), strict=True):
        setattr(linear, name, torch.nn.Parameter(part, requires_grad=False))
    return whole


def _adjacent(parts: Sequence[torch.Tensor]) -> bool:
    """Whether each begins where the one before ends, in one storage."""
    return all(
        a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
        and a.is_contiguous()
        and b.storage_offset() == a.storage_offset() + a.numel()
        for a, b in itertools.pairwise(parts)
    )


def rope_tables(model: Any, positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines (positions, head_dim) in fp32, as the model itself makes them."""
    import torch

    device = model.lm_head.weight.device
    places = torch.arange(positions, device=device)[None]
    cos, sin = model.model.rotary_emb(torch.empty(0, device=device), places)
    return cos[0].contiguous(), sin[0].contiguous()
